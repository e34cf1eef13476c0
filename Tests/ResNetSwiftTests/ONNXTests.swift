// ONNX in and out: what PyTorch's exporters write gives PyTorch's logits, what leaves comes back, damage is an error.

import Foundation
import XCTest

@testable import ResNetONNX
@testable import ResNetSwift

final class ONNXTests: XCTestCase {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../Fixtures/onnx").standardized.path

    private func logits(_ model: Model, _ x: Tensor) throws -> [Float] {
        let input = ImageShape(channels: x.shape[1], height: x.shape[2], width: x.shape[3])
        return try InferencePlan(
            model: model, input: input, batch: x.shape[0], options: PlanOptions(accuracy: .strict)
        ).predict(x).logits.values
    }

    /// `torchscript` has folded batch norms and a computed shape, `unfolded` batch norms and a fixed batch, `dynamo` its weights
    /// in a file beside it.
    func testFilesOfPyTorchGiveItsLogits() throws {
        let x = try WeightFile.open("\(Self.folder)/x.npy").tensor("array")
        let wanted = try WeightFile.open("\(Self.folder)/logits.npy").tensor("array").values
        let largest = wanted.map(\.magnitude).max()!
        for name in ["torchscript", "unfolded", "dynamo"] {
            XCTAssertTrue(Model.isONNX("\(Self.folder)/\(name).onnx"))
            let model = try Model(onnx: "\(Self.folder)/\(name).onnx")
            let found = try logits(model, x)
            XCTAssertEqual(found.count, wanted.count)
            for (a, b) in zip(found, wanted) { XCTAssertEqual(a, b, accuracy: 2e-6 * largest, name) }
        }
        let named = try Model(onnx: "\(Self.folder)/unfolded.onnx")
        XCTAssertNotNil(named.parameters["layer1.1.bn2.running_var"], "names survive")
        XCTAssertEqual(named.graph.features.map { named.graph.nodes[$0].name }, nil, "the head has two layers")
    }

    func testModelsThatLeaveComeBack() throws {
        try PictureFixtures.withFolder { folder in
            for name: ModelName in [.resnet18, .resnext50_32x4d, .cifar_resnet14, .googlenet, .alexnet_mini] {
                var model = try name.model(classes: 3, seed: 4)
                model.metadata[MetadataKey.classes] = "[\"a\",\"b\",\"c\"]"
                let path = "\(folder)/\(name).onnx"
                try model.writeONNX(to: path)
                let back = try Model(onnx: path)
                XCTAssertEqual(back.classNames, ["a", "b", "c"])
                XCTAssertEqual(Set(back.parameters.keys), Set(model.parameters.keys), "\(name)")
                for (key, tensor) in model.parameters { XCTAssertEqual(back[key].values, tensor.values, key) }
                func operations(_ graph: Graph) -> [ResNetSwift.Operation] {
                    graph.nodes.map(\.operation).filter { if case .dropout = $0 { false } else { true } }
                }
                XCTAssertEqual(operations(back.graph), operations(model.graph), "\(name)")
                XCTAssertEqual(
                    back.graph.features.map { back.graph.nodes[$0].operation },
                    model.graph.features.map { model.graph.nodes[$0].operation })
                XCTAssertEqual(back.graph.probabilities == nil, model.graph.probabilities == nil)
            }
        }
    }

    /// What PyTorch exports with its batch norms and names is one of this library's models; folded, it is not.
    func testAKnownNetworkIsRecognized() throws {
        try PictureFixtures.withFolder { folder in
            let path = "\(folder)/own.onnx"
            var model = try ModelName.cifar_resnet14.model(classes: 4, inputChannels: 1, seed: 3)
            try model.writeONNX(to: path)
            XCTAssertEqual(try Model(onnx: path).graph, model.graph)
            XCTAssertEqual(try Model(onnx: path).metadata[MetadataKey.model], "cifar_resnet14")
            model = try model.replacingHead(with: .hidden(6, dropout: 0.3), classes: 2, seed: 1)
            try model.writeONNX(to: path)
            XCTAssertEqual(try Model(onnx: path).graph, model.graph)
            XCTAssertEqual(try Model(onnx: path).headKind, .hidden(6, dropout: 0.3))
        }
        let foreign = try Model(onnx: "\(Self.folder)/unfolded.onnx")
        XCTAssertNil(foreign.metadata[MetadataKey.model])
    }

    /// Yes or no: a sigmoid at the end of the file, as its only output or beside the logits, is the model's.
    func testTheSigmoidOfALastLayer() throws {
        try PictureFixtures.withFolder { folder in
            let model = try ModelName.alexnet_mini.model(inputSize: 64, seed: 2)
            try model.writeONNX(to: "\(folder)/one.onnx")
            let back = try Model(onnx: "\(folder)/one.onnx")
            let end = try XCTUnwrap(back.graph.probabilities)
            XCTAssertEqual(back.graph.nodes[end].inputs, [back.graph.logits])
        }
    }

    /// The words of this library mean something in its own files only.
    func testForeignMetadataIsNotOurs() throws {
        func read(_ metadata: [String: String]) throws -> [String: String] {
            let bytes = file(metadata: metadata) { $0.node("GlobalAveragePool", ["x"], "out") }
            return try Model(onnx: bytes, name: "m").metadata
        }
        XCTAssertEqual(try read(["head": "mlp", "model": "resnet50", "author": "somebody"]), ["author": "somebody"])
        XCTAssertEqual(try read(["classes": "[\"a\"]", MetadataKey.marker: "1"]), ["classes": "[\"a\"]"])
    }

    /// One weight that many layers share would be as many copies.
    func testWeightsThatAreUsedAThousandTimes() throws {
        let weight = (name: "w", shape: [64, 64, 1, 1])
        func chain(_ count: Int) -> [UInt8] {
            file(initializers: [weight], channels: 64) { graph in
                for index in 0..<count {
                    let last = index == count - 1
                    graph.node("Conv", [index == 0 ? "x" : "y\(index - 1)", "w"], last ? "maps" : "y\(index)")
                }
                graph.node("GlobalAveragePool", ["maps"], "out")
            }
        }
        XCTAssertEqual(try Model(onnx: chain(2), name: "twice").parameters.count, 2)
        XCTAssertThrowsError(try Model(onnx: chain(1000), name: "often")) { error in
            XCTAssert("\(error)".contains("weights in a file of this size"), "\(error)")
        }
    }

    func testChannelsDoNotGrowWithoutEnd() {
        let doubled = file(initializers: [], channels: 3) { graph in
            for index in 0..<80 {
                let x = index == 0 ? "x" : "y\(index - 1)"
                graph.node("Concat", [x, x], "y\(index)")
            }
            graph.node("GlobalAveragePool", ["y79"], "out")
        }
        XCTAssertThrowsError(try Model(onnx: doubled, name: "m"), "3 * 2^80 channels") { error in
            XCTAssert("\(error)".contains("channels"), "\(error)")
        }
    }

    // MARK: - What is refused

    /// A model with a picture `x` of so many channels, 8x8, and an output `out`.
    private func file(
        initializers: [(name: String, shape: [Int])] = [], channels: Int = 3, metadata: [String: String] = [:],
        _ nodes: (inout ProtobufWriter) -> Void
    ) -> [UInt8] {
        ProtobufWriter.onnxFile(opset: 13, x: [1, channels, 8, 8], out: [1, 3], metadata: metadata) { graph in
            nodes(&graph)
            for (name, shape) in initializers {
                graph.tensor(name, shape, kind: 1, Array(repeating: 0, count: 4 * shape.reduce(1, *)))
            }
        }
    }

    private func file(_ operation: String, _ inputs: [String] = ["x"], name: String = "the node") -> [UInt8] {
        file { $0.node(operation, inputs, "out", name: name) }
    }

    func testAnUnknownOperatorIsNamedWithItsNode() {
        XCTAssertThrowsError(try Model(onnx: file("LSTM", name: "encoder/lstm"), name: "m.onnx")) { error in
            XCTAssert("\(error)".hasPrefix("m.onnx: node encoder/lstm (LSTM): expected"), "\(error)")
        }
        XCTAssertThrowsError(try Model(onnx: file("Relu", ["nobody"]), name: "m.onnx")) { error in
            XCTAssert("\(error)".contains("\"nobody\""), "\(error)")
        }
        XCTAssertThrowsError(try Model(onnx: file("Conv", ["x"]), name: "m.onnx"))
    }

    func testExternalDataStaysInTheFolder() throws {
        for location in ["../secret", "/etc/passwd", "a/../../b", ""] {
            let files = ONNXExternalFiles(folder: Self.folder)
            XCTAssertThrowsError(try files.bytes(location, offset: 0, length: 1, tensor: "w"), location)
        }
        XCTAssertThrowsError(
            try ONNXExternalFiles(folder: Self.folder).bytes("dynamo.data", offset: 1 << 40, length: 4, tensor: "w"))
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: "\(Self.folder)/dynamo.onnx")))
        XCTAssertThrowsError(try Model(onnx: bytes, name: "m"), "bytes have no neighbors") { error in
            XCTAssert("\(error)".contains("external data"), "\(error)")
        }
    }

    /// Cut anywhere, or with bytes changed: an error or a model, never the end of the process.
    func testDamageIsAnError() throws {
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: "\(Self.folder)/unfolded.onnx")))
        for length in stride(from: 0, to: bytes.count, by: 97) {
            XCTAssertThrowsError(try Model(onnx: Array(bytes[..<length]), name: "cut at \(length)"))
        }
        let random = CounterRandom(seed: 11)
        for round in 0..<600 {
            var damaged = bytes
            for change in 0..<3 {
                let place = random.integer(below: 4000, UInt64(8 * round + change))
                damaged[bytes.count - 1 - place % bytes.count] ^= UInt8(
                    1 + random.integer(below: 255, UInt64(8 * round + 4 + change)))
                damaged[place % bytes.count] = UInt8(random.integer(below: 256, UInt64(8 * round + change)))
            }
            _ = try? Model(onnx: damaged, name: "round \(round)")
        }
        XCTAssertThrowsError(try Model(onnx: Array("<html>".utf8), name: "page"))
        XCTAssertFalse(Model.isONNX("\(Self.folder)/x.npy"))
    }
}
