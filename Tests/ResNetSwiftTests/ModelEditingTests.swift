// Other heads and other input channels: what is kept and what starts anew.

import ResNetSwift
import XCTest

final class ModelEditingTests: XCTestCase {
    private let model = Model.initialized(CIFARResNetConfig.resnet14.graph(), seed: 1)

    func testOtherClassesRenewTheLastLayerOnly() throws {
        var model = model
        model.metadata = ["note": "kept", "model": "cifar_resnet14", "classes": "[]"]
        model.frozen = ["conv1.weight", "fc.weight"]
        let changed = try model.replacingHead(classes: 2, seed: 9)
        for spec in changed.graph.parameters where !spec.name.hasPrefix("fc.") {
            XCTAssertEqual(changed[spec.name].values, model[spec.name].values, spec.name)
        }
        XCTAssertEqual(changed["fc.weight"].shape, [2, 64])
        XCTAssertEqual(changed["fc.bias"].shape, [2])
        XCTAssertEqual(changed.frozen, ["conv1.weight"], "a new layer is not frozen")
        XCTAssertEqual(changed.metadata, ["note": "kept", "model": "cifar_resnet14"])
        let rebuilt = try model.replacingHead(with: .linear(classes: 3), seed: 9)
        XCTAssertEqual(rebuilt.metadata, ["note": "kept"], "the name no longer tells the structure")
        XCTAssertEqual(changed.parameterCount, CIFARResNetConfig.resnet14.graph(classes: 2).parameterCount)
        XCTAssertEqual("\(changed)", "\(CIFARResNetConfig.resnet14.graph(classes: 2))")
        // As many classes as before: anew all the same.
        XCTAssertNotEqual(try model.replacingHead(classes: 10, seed: 9)["fc.weight"].values, model["fc.weight"].values)
        XCTAssertThrowsError(try model.replacingHead(classes: 0, seed: 9)) {
            XCTAssertEqual("\($0)", "CIFARResNet: classes must be at least 1, not 0")
        }
    }

    func testTheProteinAtlasHeadReplacesPoolAndLinear() throws {
        let changed = try model.replacingHead(with: .hidden(32, dropout: 0.25, labels: 28), seed: 4)
        XCTAssertNil(changed.parameters["fc.weight"])
        XCTAssertEqual(changed["head.2.weight"].shape, [32, 64])
        XCTAssertEqual(changed["head.5.weight"].shape, [28, 32])
        let operations = changed.graph.nodes.suffix(6).map(\.operation)
        XCTAssertEqual(
            operations,
            [
                .globalAveragePool, .flatten, .linear(inFeatures: 64, outFeatures: 32, bias: true), .relu,
                .dropout(probability: 0.25), .linear(inFeatures: 32, outFeatures: 28, bias: true),
            ])
        let shapes = try changed.graph.shapes(input: 40)
        XCTAssertEqual(shapes[changed.graph.logits], .vector(28))
        XCTAssertEqual(shapes[changed.graph.features!], .vector(64))
        for spec in changed.graph.parameters where !spec.name.hasPrefix("head.") {
            XCTAssertEqual(changed[spec.name].values, model[spec.name].values, spec.name)
        }
        XCTAssertEqual(
            changed.graph.headParameters, ["head.2.weight", "head.2.bias", "head.5.weight", "head.5.bias"])
        // And back to where it came from, node for node.
        let back = try changed.replacingHead(with: .linear(classes: 10), seed: 1)
        XCTAssertEqual(back.graph, model.graph)
        XCTAssertEqual("\(back)", "\(model)")
    }

    func testTheSigmoidUnit() throws {
        let changed = try model.replacingHead(with: .sigmoidUnit(dropout: 0.3), seed: 4)
        let graph = changed.graph
        XCTAssertEqual(changed["fc.weight"].shape, [1, 64])
        XCTAssertEqual(graph.nodes[graph.logits].operation, .linear(inFeatures: 64, outFeatures: 1, bias: true))
        XCTAssertEqual(graph.nodes[graph.probabilities!].inputs, [graph.logits])
    }

    func testAHeadOfOnesOwn() throws {
        let head = Head { g, x in
            let y = g.relu(g.conv(x, "extra", 5, kernel: 1, bias: true), "extra_relu")
            let h = g.flatten(g.globalAveragePool(y, "avgpool"))
            return g.finish(logits: g.linear(h, "fc", 3), features: h)
        }
        let changed = try model.replacingHead(with: head, seed: 0)
        XCTAssertEqual(changed["extra.weight"].shape, [5, 64, 1, 1])
        try changed.graph.validate(input: 32)
    }

    func testAlexNetsHeadIsAllAfterTheLastMap() throws {
        let graph = try AlexNetMini.graph()
        XCTAssertEqual(graph.nodes[try XCTUnwrap(graph.trunkEnd)].name, "pool5")
        XCTAssertEqual(graph.headParameters.count, 6)
        XCTAssertEqual(GoogLeNet.graph().headParameters, ["fc.weight", "fc.bias"])
    }

    func testAGraphWithoutAHeadSaysSo() {
        var g = GraphBuilder("Headless")
        let y = g.conv(g.input(channels: 3), "conv", 4, kernel: 1)
        let model = Model.initialized(g.finish(logits: y, features: nil), seed: 0)
        XCTAssertThrowsError(try model.replacingHead(classes: 2, seed: 0)) {
            XCTAssertEqual("\($0)", "conv: expected a linear layer that yields the logits, found Conv2d 1x1")
        }
        XCTAssertThrowsError(try model.replacingHead(with: .linear(classes: 2), seed: 0)) {
            XCTAssertEqual("\($0)", "Headless: expected a flatten node before the logits, found none")
        }
    }

    func testInputChannelsAreAdaptedAsTimmDoes() throws {
        let weight = model["conv1.weight"].values  // (16, 3, 3, 3)
        let one = try model.adaptingInputChannels(1)
        XCTAssertEqual(one["conv1.weight"].shape, [16, 1, 3, 3])
        XCTAssertEqual(one.graph.inputChannels, 1)
        let five = try model.adaptingInputChannels(5)
        XCTAssertEqual(five["conv1.weight"].shape, [16, 5, 3, 3])
        for output in [0, 15] {
            for i in 0..<9 {
                let rgb = (0..<3).map { weight[(output * 3 + $0) * 9 + i] }
                XCTAssertEqual(one["conv1.weight"].values[output * 9 + i], rgb[0] + rgb[1] + rgb[2])
                for channel in 0..<5 {
                    XCTAssertEqual(
                        five["conv1.weight"].values[(output * 5 + channel) * 9 + i], rgb[channel % 3] * Float(0.6))
                }
            }
        }
        XCTAssertEqual(five["bn1.weight"].values, model["bn1.weight"].values)
        try five.graph.validate(input: 32)
        XCTAssertEqual(try model.adaptingInputChannels(3)["conv1.weight"].values, weight)
        XCTAssertThrowsError(try five.adaptingInputChannels(4)) {
            XCTAssertEqual("\($0)", "input: expected 3 channels to adapt from, found 5")
        }
        XCTAssertThrowsError(try model.adaptingInputChannels(0))
    }

    func testHeadsByName() throws {
        for text in ["linear", "dropout:0.25", "hidden:512:0.5", "hidden:512,128,64:0.5"] {
            XCTAssertEqual(try XCTUnwrap(HeadKind(text)).description, text)
        }
        XCTAssertEqual(HeadKind("hidden:64"), .hidden(64, dropout: 0.5))
        XCTAssertEqual(HeadKind("hidden:64,8"), .layers([64, 8], dropout: 0.5))
        for text in ["hidden:8,", "hidden:8,0", "hidden:8,x:0.5", "hidden:" + String(repeating: "8,", count: 16) + "8"]
        {
            XCTAssertNil(HeadKind(text), text)
        }
        for text in ["", "dropout", "dropout:1", "dropout:nan", "hidden:0", "hidden:8:0.1:2", "fancy"] {
            XCTAssertNil(HeadKind(text), text)
        }
    }

    func testACheckpointWithAnotherHeadOpensAgain() throws {
        try PictureFixtures.withFolder { folder in
            let start = try ModelName.cifar_resnet14.model(seed: 1)
            for kind in [HeadKind.linear, .dropout(0.3), .hidden(20, dropout: 0.5), .layers([20, 9], dropout: 0.2)] {
                let model = try start.replacingHead(with: kind, classes: 7, seed: 2)
                try model.save(to: "\(folder)/model.safetensors")
                let opened = try Model(from: WeightFile.open("\(folder)/model.safetensors"))
                XCTAssertEqual(opened.graph, model.graph, "\(kind)")
                XCTAssertEqual(opened.headKind, kind)
                XCTAssertEqual(opened.metadata["model"], "cifar_resnet14")
            }
        }
    }
}
