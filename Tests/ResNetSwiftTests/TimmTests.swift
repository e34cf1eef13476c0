// timm's relatives of ResNet: names, shapes and parameter counts of all that load, logits of small ones, the table of the
// documentation.

import Foundation
import XCTest

@testable import ResNetModels
@testable import ResNetSwift
@testable import ResNetWeights

final class TimmTests: XCTestCase {
    private static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../Fixtures/timm").standardized.path

    /// What stands in timm too: everything of stems for pictures of 224x224.
    private static let models = ModelName.allCases.filter { model in
        model.isPreActivated || model.resNet.map { $0.stem != .cifar } == true
    }

    private func read(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    func testNamesShapesAndCountsAreTimms() throws {
        let models = try JSONValue.parse(try read("\(Self.fixtures)/parameters.json"))
        guard case .object(let members) = models else { return XCTFail("no object") }
        for member in members {
            let graph = try ModelName(named: member.key).graph()
            // The classifier of timm's resnetv2 is a 1x1 convolution, head.fc.
            let isPreActivated = member.key.hasPrefix("resnetv2")
            let lines = graph.parameters.map { spec in
                let shape = spec.shape.map(String.init).joined(separator: "x")
                guard isPreActivated, spec.name.hasPrefix("fc.") else { return "\(spec.name) \(shape)" }
                return "head.\(spec.name) \(shape)" + (spec.role == .linearWeight ? "x1x1" : "")
            }.sorted()
            XCTAssertEqual(graph.parameterCount, member.value["count"]?.integerValue, member.key)
            XCTAssertEqual(lines.count, member.value["tensors"]?.integerValue, member.key)
            XCTAssertEqual(
                ModelFixtures.fnv1a(lines.map { $0 + "\n" }.joined()), member.value["fnv1a"]?.stringValue, member.key)
        }
        XCTAssertEqual(
            Set(Self.models.map(\.rawValue)),
            Set(members.map(\.key)),
            "scripts/make_timm_fixtures.py lists what is built")
    }

    /// Small networks of timm's blocks, whose depths and widths nobody published, recognized from their files.
    func testLogitsAreTimms() throws {
        let x = try WeightFile.open("\(Self.fixtures)/x.npy").tensor("array")
        let logits = try WeightFile.open("\(Self.fixtures)/logits.npz")
        for entry in logits.entries {
            let file = try WeightFile.open("\(Self.fixtures)/\(entry.key).safetensors")
            var x = x
            let model: Model
            // Weights do not show what stands where a plain network has a stride.
            if let smoothing = ["aa": ResNetConfig.Smoothing.average, "blur": .blur][entry.key] {
                let config = try XCTUnwrap(try file.guessModel().config()).with { $0.smoothing = smoothing }
                model = try Model(graph: config.graph(classes: 5), from: file)
                if smoothing == .average { x = cropped(x, to: 32) }
            } else {
                model = try Model(from: file)
            }
            let input = ImageShape(channels: 3, height: x.shape[2], width: x.shape[3])
            let plan = try InferencePlan(
                model: model, input: input, batch: x.shape[0], options: PlanOptions(accuracy: .strict))
            let wanted = try logits.tensor(entry.key).values
            let largest = wanted.map(\.magnitude).max()!
            for (a, b) in zip(try plan.predict(x).logits.values, wanted) {
                XCTAssertEqual(a, b, accuracy: 3e-6 * largest, entry.key)
            }
        }
        XCTAssertEqual(logits.entries.count, 8)
    }

    private func cropped(_ x: Tensor, to side: Int) -> Tensor {
        let (planes, height, width) = (x.shape[0] * x.shape[1], x.shape[2], x.shape[3])
        var values: [Float] = []
        for row in 0..<planes * side {
            let start = (row / side * height + row % side) * width
            values += x.values[start..<start + side]
        }
        return Tensor(shape: [x.shape[0], x.shape[1], side, side], values: values)
    }

    /// What only a name tells from a plain network: the file's, or the configuration's.
    func testTheNameTellsAveragingNetworks() throws {
        let folder = try TemporaryFolder()
        let model = try ModelName.resnetaa34d.model(classes: 2, seed: 3)
        try WeightWriter.write(
            model.graph.parameters.map { ($0.name, model[$0.name]) }, to: "\(folder.path)/resnetaa34d.a1.safetensors",
            format: .safetensors)
        XCTAssertEqual(try Model(from: WeightFile.open("\(folder.path)/resnetaa34d.a1.safetensors")).graph, model.graph)
        try model.save(to: "\(folder.path)/own.npz")
        XCTAssertEqual(try Model(from: WeightFile.open("\(folder.path)/own.npz")).graph, model.graph)
    }

    /// Pre-activation networks are recognized by names and shapes, under a prefix and after they were saved here.
    func testPreActivatedNetworksAreRecognized() throws {
        let folder = try TemporaryFolder()
        let model = try ModelName.resnetv2_18d.model(classes: 4, inputChannels: 1, seed: 3)
        let tensors = model.graph.parameters.map { spec in
            let tensor = model[spec.name]
            guard spec.name.hasPrefix("fc.") else { return (key: "model.\(spec.name)", tensor: tensor) }
            let shape = spec.role == .linearWeight ? spec.shape + [1, 1] : spec.shape
            return (key: "model.head.\(spec.name)", tensor: Tensor(shape: shape, storage: tensor.storage))
        }
        try WeightWriter.write(tensors, to: "\(folder.path)/timm.safetensors", format: .safetensors)
        let opened = try Model(from: WeightFile.open("\(folder.path)/timm.safetensors"))
        XCTAssertEqual(opened.graph, model.graph)
        XCTAssertEqual(opened["fc.weight"].values, model["fc.weight"].values)
        try opened.save(to: "\(folder.path)/own.npz")
        XCTAssertEqual(try Model(from: WeightFile.open("\(folder.path)/own.npz")).graph, model.graph)
    }

    func testTheDocumentedTableIsWhatLoads() throws {
        let text = try read("\(ToolFolderPath.repository)/docs/weights.md")
        let lines = text.split(separator: "\n").filter { $0.hasPrefix("| ") && $0.hasSuffix(" yes |") }
        let names = lines.flatMap { $0.split(separator: "|")[0].split(separator: ",") }.map {
            $0.trimmingCharacters(in: .whitespaces)
        }
        for model in Self.models {
            XCTAssertTrue(names.contains(model.rawValue), model.rawValue)
        }
        for name in names where name.contains("res") { XCTAssertNotNil(ModelName(rawValue: name), name) }
    }
}

private enum ToolFolderPath {
    static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../..").standardized.path
}
