// The printed tree and the parameter list of every model, against what PyTorch itself says.

import XCTest

@testable import ResNetSwift

final class ModelTreeTests: XCTestCase {
    private let torchvision: [String: ResNetConfig] = [
        "resnet18": .resnet18, "resnet34": .resnet34, "resnet50": .resnet50, "resnet101": .resnet101,
        "resnet152": .resnet152, "resnext50_32x4d": .resnext50_32x4d, "resnext101_32x8d": .resnext101_32x8d,
        "resnext101_64x4d": .resnext101_64x4d, "wide_resnet50_2": .wide_resnet50_2,
        "wide_resnet101_2": .wide_resnet101_2,
    ]

    func testPrintsTheTreeByteForByteAsPyTorch() throws {
        for name in ["resnet18", "resnet50", "resnext50_32x4d"] {
            XCTAssertEqual("\(torchvision[name]!.graph())\n", try ModelFixtures.text("tree_\(name).txt"))
        }
    }

    func testNamesShapesAndOrderOfEveryTensorAreTorchvisions() throws {
        let fixtures = try ModelFixtures.parameters()
        for (name, config) in torchvision { try check(config.graph(), name, fixtures) }
    }

    private func check(_ graph: Graph, _ name: String, _ fixtures: [String: ModelFixtures.Parameters]) throws {
        let expected = try XCTUnwrap(fixtures[name], name)
        let specs = graph.parameters
        let lines = specs.map { "\($0.name) \($0.shape.map(String.init).joined(separator: "x"))" }
        if let all = expected.lines { XCTAssertEqual(lines, all, name) }
        XCTAssertEqual(lines.count, expected.tensors, name)
        XCTAssertEqual(ModelFixtures.fnv1a(lines.map { $0 + "\n" }.joined()), expected.fnv1a, name)
        XCTAssertEqual(graph.parameterCount, expected.count, name)
    }
}
