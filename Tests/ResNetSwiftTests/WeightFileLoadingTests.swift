// Weights into a model: the report, the policies, adaptation, and that a model is never half loaded.

import ResNetSwift
import XCTest

@testable import ResNetWeights

final class WeightFileLoadingTests: XCTestCase {
    private func open(_ name: String) throws -> WeightFile { try WeightFile.open(WeightFixtures.path(name)) }

    /// A file in memory of the given tensors.
    private func file(_ tensors: [(String, [Int])], metadata: [String: String] = [:]) throws -> WeightFile {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/made.safetensors"
        try WeightWriter.write(
            tensors.map { (key: $0.0, tensor: Tensor(shape: $0.1, repeating: 7)) }, metadata: metadata, to: path,
            format: .safetensors)
        return try WeightFile.open(path)
    }

    private func assertUntouched(_ model: Model, _ value: Float, _ message: String = "") {
        for (name, tensor) in model.parameters {
            XCTAssertTrue(tensor.values.allSatisfy { $0 == value }, "\(name) changed; \(message)")
        }
    }

    func testStrictLoadsEveryContainer() throws {
        let graph = WeightFixtures.tinyGraph()
        let expected = try WeightFixtures.expected("tiny")
        for fixture in WeightFixtures.files where fixture.expected == "tiny" {
            var model = WeightFixtures.model(graph, value: 3)
            let report = try model.load(from: try open(fixture.name))
            XCTAssertTrue(report.isComplete)
            XCTAssertEqual(report.loaded, graph.parameters.map(\.name), fixture.name)
            for (name, tensor) in model.parameters {
                XCTAssertEqual(tensor.bits, expected[name]!.bits.map { UInt32($0, radix: 16)! }, fixture.name)
            }
            let fresh = try Model(graph: graph, from: try open(fixture.name))
            XCTAssertEqual(fresh["fc.bias"].bits, model["fc.bias"].bits)
        }
    }

    func testStrictRefusesAnotherHeadAndTouchesNothing() throws {
        let file = try open("tiny.pth")
        var model = WeightFixtures.model(WeightFixtures.tinyGraph(classes: 2), value: 3)
        XCTAssertThrowsError(try model.load(from: file)) { error in
            guard case .doesNotFit(let report)? = (error as? WeightFileError)?.fault else {
                return XCTFail("\(error)")
            }
            XCTAssertEqual(
                report.mismatched,
                [
                    ShapeMismatch(name: "fc.weight", fileShape: [5, 8], modelShape: [2, 8]),
                    ShapeMismatch(name: "fc.bias", fileShape: [5], modelShape: [2]),
                ])
            XCTAssertTrue("\(error)".contains("fc.weight is [5, 8] in the file, [2, 8] in the model"), "\(error)")
            XCTAssertTrue("\(error)".contains("tiny.pth"), "\(error)")
        }
        assertUntouched(model, 3)
    }

    func testSkipMismatchedLoadsTheRestAndSaysWhatItLeft() throws {
        let file = try open("tiny.npz")
        var model = WeightFixtures.model(WeightFixtures.tinyGraph(classes: 2), value: 3)
        model.frozen = ["conv1.weight"]
        let report = try model.load(from: file, policy: .skipMismatched)
        XCTAssertEqual(report.mismatched.map(\.name), ["fc.weight", "fc.bias"])
        XCTAssertEqual(report.loaded.count, model.parameters.count - 2)
        XCTAssertTrue(model["fc.weight"].values.allSatisfy { $0 == 3 })
        XCTAssertEqual(model["conv1.weight"].bits, try file.tensor("conv1.weight").bits)
        XCTAssertEqual(model.frozen, ["conv1.weight"])
    }

    func testMissingAndUnexpectedTensors() throws {
        let shapes = WeightFixtures.tinyGraph().parameters.map { ($0.name, $0.shape) }
        let changed = shapes.filter { $0.0 != "bn1.bias" } + [("aux.weight", [2, 2]), ("bn1.num_batches_tracked", [])]
        let file = try file(changed)
        var model = WeightFixtures.model(WeightFixtures.tinyGraph(), value: 3)
        XCTAssertThrowsError(try model.load(from: file)) { error in
            guard case .doesNotFit(let report)? = (error as? WeightFileError)?.fault else {
                return XCTFail("\(error)")
            }
            XCTAssertEqual(report.missing, ["bn1.bias"])
            XCTAssertEqual(report.unexpected, ["aux.weight"])
        }
        assertUntouched(model, 3)
        XCTAssertThrowsError(try Model(graph: model.graph, from: file))
        let report = try model.load(from: file, policy: .skipMismatched)
        XCTAssertEqual(report.missing, ["bn1.bias"])
        XCTAssertTrue(model["bn1.bias"].values.allSatisfy { $0 == 3 })
        XCTAssertTrue(model["conv1.weight"].values.allSatisfy { $0 == 7 })
    }

    func testNothingInCommonIsAnErrorUnderEitherPolicy() throws {
        let file = try file([("encoder.weight", [4, 4])])
        var model = WeightFixtures.model(WeightFixtures.tinyGraph(), value: 3)
        for policy in [LoadPolicy.strict, .skipMismatched] {
            XCTAssertThrowsError(try model.load(from: file, policy: policy))
        }
        assertUntouched(model, 3)
    }

    func testShapesAreNeverBroadcast() throws {
        var shapes = WeightFixtures.tinyGraph().parameters.map { ($0.name, $0.shape) }
        for index in shapes.indices where shapes[index].0.hasPrefix("bn1.") { shapes[index].1 = [1] }
        let conv = shapes.firstIndex { $0.0 == "layer1.0.conv1.weight" }!
        shapes[conv].1 = [4, 4, 9]
        var model = WeightFixtures.model(WeightFixtures.tinyGraph(), value: 3)
        let report = try model.load(from: try file(shapes), policy: .skipMismatched)
        XCTAssertEqual(report.mismatched.count, 5)
        XCTAssertTrue(model["bn1.weight"].values.allSatisfy { $0 == 3 })
    }

    func testIntegersAreNoWeights() throws {
        var bytes = try WeightFixtures.bytes("tiny.safetensors")
        // Both have four bytes an element: only the meaning changes.
        let entry = Array("\"fc.bias\":{\"dtype\":\"F32\"".utf8)
        let found = bytes.indices.first { bytes[$0...].starts(with: entry) }!
        bytes.replaceSubrange(found..<found + entry.count, with: Array("\"fc.bias\":{\"dtype\":\"I32\"".utf8))
        let file = try WeightFile.open(bytes: bytes, name: "integers.safetensors")
        var model = WeightFixtures.model(WeightFixtures.tinyGraph(), value: 3)
        XCTAssertThrowsError(try model.load(from: file)) {
            XCTAssertTrue("\($0)".contains("fc.bias is int32"), "\($0)")
        }
        assertUntouched(model, 3)
    }

    func testInputChannelsAreAdaptedAsTimmDoesIt() throws {
        let file = try open("tiny.safetensors")
        let rgb = try file.tensor("conv1.weight").values
        for channels in [1, 2, 3, 4, 7] {
            var model = WeightFixtures.model(WeightFixtures.tinyGraph(inputChannels: channels), value: 3)
            let report = try model.load(from: file)
            XCTAssertEqual(report.adapted.map(\.name), channels == 3 ? [] : ["conv1.weight"])
            let values = model["conv1.weight"].values
            for output in 0..<4 {
                for channel in 0..<channels {
                    for i in 0..<9 {
                        func source(_ c: Int) -> Float { rgb[(output * 3 + c) * 9 + i] }
                        let expected =
                            channels == 1
                            ? source(0) + source(1) + source(2)
                            : channels == 3 ? source(channel) : source(channel % 3) * (3 / Float(channels))
                        XCTAssertEqual(values[(output * channels + channel) * 9 + i], expected)
                    }
                }
            }
        }
    }

    func testTimmVariantsAreNamedWhereAPlainModelIsAsked() throws {
        let plain = WeightFixtures.tinyGraph().parameters.map { ($0.name, $0.shape) }
        let deepStem =
            plain.filter { $0.0 != "conv1.weight" }
            + [("conv1.0.weight", [2, 3, 3, 3]), ("conv1.1.weight", [2]), ("conv1.3.weight", [4, 2, 3, 3])]
        let averaged =
            plain.filter { !$0.0.contains("downsample") }
            + [("layer2.0.downsample.1.weight", [8, 4, 1, 1]), ("layer2.0.downsample.2.weight", [8])]
        for (tensors, words) in [(deepStem, "deep stem"), (averaged, "average-pooled shortcut")] {
            let file = try file(tensors)
            var model = WeightFixtures.model(WeightFixtures.tinyGraph(), value: 3)
            for policy in [LoadPolicy.strict, .skipMismatched] {
                XCTAssertThrowsError(try model.load(from: file, policy: policy)) {
                    XCTAssertTrue("\($0)".contains(words), "\($0)")
                }
            }
            assertUntouched(model, 3)
        }
    }

    func testMetadataComesAlongClassNamesOnlyWithTheirClassifier() throws {
        let shapes = WeightFixtures.tinyGraph().parameters.map { ($0.name, $0.shape) }
        let notes = ["model": "tiny", "classes": "[\"a\",\"b\",\"c\",\"d\",\"e\"]", "transform": "{\"resize\":256}"]
        let file = try file(shapes, metadata: notes)
        let whole = try Model(graph: WeightFixtures.tinyGraph(), from: file)
        XCTAssertEqual(whole.metadata, notes)
        XCTAssertEqual(whole.classNames, ["a", "b", "c", "d", "e"])
        var other = WeightFixtures.model(WeightFixtures.tinyGraph(classes: 2), value: 3)
        other.metadata = ["model": "mine"]
        try other.load(from: file, policy: .skipMismatched)
        XCTAssertEqual(other.metadata, ["model": "mine", "transform": "{\"resize\":256}"])
    }
}
