// The printed tree, the parameter list and the shapes of every model, against what PyTorch itself says.

import ResNetSwift
import XCTest

@testable import ResNetModels

final class ModelTreeTests: XCTestCase {
    private static let proteinAtlas = Result {
        let resnet34 = Model.initialized(ResNetConfig.resnet34.graph(inputChannels: 4), seed: 1)
        return try resnet34.replacingHead(with: .hidden(labels: 28), seed: 2).graph
    }

    private func graph(_ name: String) throws -> Graph {
        try name == "protein_atlas" ? Self.proteinAtlas.get() : ModelName(named: name).graph()
    }

    func testPrintsTheTreeByteForByteAsPyTorch() throws {
        let names = [
            "resnet18", "resnet50", "resnext50_32x4d", "cifar_resnet20", "alexnet_mini", "googlenet", "protein_atlas",
        ]
        for name in names {
            XCTAssertEqual("\(try graph(name))\n", try ModelFixtures.text("tree_\(name).txt"))
        }
    }

    func testTheReluOfABlockPrintsOnceAndRunsTwiceOrThrice() throws {
        let nodes = ResNetConfig.resnet50.graph().nodes
        let relus = nodes.filter { $0.module == "layer1.0.relu" }.map(\.name)
        XCTAssertEqual(relus, ["layer1.0.relu", "layer1.0.relu_1", "layer1.0.relu_2"])
        XCTAssertEqual(Set(nodes.map(\.name)).count, nodes.count, "names are unique")
    }

    func testNodeNamesStayUniqueWhateverTheModulesAreCalled() {
        var graph = Graph(modelName: "Test")
        let x = graph.add("x", .input(channels: 1))
        for module in ["relu_1", "relu", "relu", "relu", "relu_1"] { graph.add(module, .relu, x) }
        XCTAssertEqual(graph.nodes.map(\.name), ["x", "relu_1", "relu", "relu_2", "relu_3", "relu_1_1"])
    }

    func testContainersThatNobodyNamedPrintAsSequential() {
        var graph = Graph(modelName: "Net")
        let x = graph.add("input", .input(channels: 1))
        let y = graph.apply("flatten", .flatten, [graph.add("stage.1.relu", .relu, x)])
        graph.add("fc", .linear(inFeatures: 4, outFeatures: 2, bias: false), y)
        XCTAssertEqual(
            "\(graph)",
            """
            Net(
              (stage): Sequential(
                (1): Sequential(
                  (relu): ReLU(inplace=True)
                )
              )
              (fc): Linear(in_features=4, out_features=2, bias=False)
            )
            """)
    }

    func testNamesShapesAndOrderOfEveryTensorAreTorchvisions() throws {
        let fixtures = try ModelFixtures.parameters()
        // timm's ResNets have a file of their own; names of a DaViT or ConvNeXt show in its logits, which every tensor's name
        // decides.
        let pinned = ModelName.allCases.filter {
            $0.timm == nil && !$0.isPreActivated && $0.daViT(224) == nil && $0 != .convnext_tiny
        }
        XCTAssertEqual(Set(fixtures.keys), Set(pinned.map(\.rawValue)).union(["protein_atlas"]))
        for (name, expected) in fixtures {
            let graph = try graph(name)
            let lines = graph.parameters.map {
                "\($0.name) \($0.shape.map(String.init).joined(separator: "x"))"
            }
            if let all = expected.lines { XCTAssertEqual(lines, all, name) }
            XCTAssertEqual(lines.count, expected.tensors, name)
            XCTAssertEqual(ModelFixtures.fnv1a(lines.map { $0 + "\n" }.joined()), expected.fnv1a, name)
            XCTAssertEqual(graph.parameterCount, expected.count, name)
        }
    }

    func testParameterCounts() throws {
        let counts: [ModelName: Int] = [
            .resnet18: 11_689_512, .resnet34: 21_797_672, .resnet50: 25_557_032, .resnet101: 44_549_160,
            .resnet152: 60_192_808, .resnext50_32x4d: 25_028_904, .resnext101_32x8d: 88_791_336,
            .resnext101_64x4d: 83_455_272, .wide_resnet50_2: 68_883_240, .wide_resnet101_2: 126_886_696,
            .cifar_resnet20: 272_474, .alexnet_mini: 7_742_721, .davit_tiny: 28_360_168, .davit_tiny_keras: 27_591_937,
            .davit_small: 49_745_896, .davit_base: 87_954_408, .convnext_tiny: 28_589_128,
        ]
        for (name, count) in counts { XCTAssertEqual(try name.graph().parameterCount, count, name.rawValue) }
        XCTAssertEqual(try ModelName.davit_tiny.graph().parameters.count, 212)
        XCTAssertEqual(try ModelName.convnext_tiny.graph().parameters.count, 182)
        let inception3a = try ModelName.googlenet.graph().parameters.filter { $0.name.hasPrefix("inception3a.") }
        XCTAssertEqual(inception3a.reduce(0) { $0 + $1.count }, 163_696)
    }

    func testShapesAndMACsAtEverySizeAreTorchs() throws {
        for (name, sizes) in try ModelFixtures.shapes() {
            let graph = try graph(name)
            for (size, expected) in sizes {
                let sides = size.split(separator: "x").map { Int($0)! }
                let shapes = try graph.shapes(input: Size2(sides[0], sides[1]))
                XCTAssertEqual(graph.macs(shapes: shapes).reduce(0, +), expected.macs, "\(name) \(size)")
                guard let modules = expected.modules else { continue }
                // PyTorch keeps a module's last call, as the last node of a module does.
                var found: [String: [Int]] = [:]
                for (index, node) in graph.nodes.enumerated() where !node.module.isEmpty {
                    found[node.module] = "\(shapes[index])".split(separator: "x").map { Int($0)! }
                }
                // The models of E compute their sigmoid outside forward.
                found["sigmoid"] = nil
                XCTAssertEqual(found, modules, "\(name) \(size)")
            }
        }
    }
}
