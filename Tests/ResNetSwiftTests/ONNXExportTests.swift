// Networks with attention and norms of pixels or groups as ONNX: every value is made before it is read and once, each layer is there
// in operators of set 17, and a reader that lacks them names the first. scripts/check_against_onnx.py compares the logits with ONNX
// Runtime's.

import Foundation
import XCTest

@testable import ResNetONNX
@testable import ResNetSwift

final class ONNXExportTests: XCTestCase {
    /// Operators by how often they occur.
    private func written(_ model: Model, _ check: (ONNXFile) throws -> Void) throws -> [String: Int] {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/out.onnx"
        try model.writeONNX(to: path)
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        return try bytes.withUnsafeBytes { bytes in
            let file = try ONNXFile(bytes)
            XCTAssertEqual(file.operatorSet, 17)
            var known = Set(file.initializers.map(\.name))
            XCTAssertEqual(known.count, file.initializers.count, "an initializer is there twice")
            known.formUnion(file.inputs.map(\.name))
            for node in file.nodes {
                for input in node.inputs { XCTAssertTrue(known.contains(input), "\(node.name) reads \(input)") }
                for output in node.outputs { XCTAssertTrue(known.insert(output).inserted, "\(output) is made twice") }
            }
            for output in file.outputs { XCTAssertTrue(known.contains(output.name)) }
            try check(file)
            return Dictionary(file.nodes.map { ($0.operation, 1) }, uniquingKeysWith: +)
        }
    }

    private func count(_ graph: Graph, _ isCounted: (ResNetSwift.Operation) -> Bool) -> Int {
        graph.nodes.filter { isCounted($0.operation) }.count
    }

    private func shape(_ name: String, _ file: ONNXFile) -> [Int]? {
        file.initializers.first { $0.name == name }?.shape
    }

    func testDaViT() throws {
        let graph = DaViTConfig(depths: [1, 1, 1, 1], channels: [32, 64, 64, 64]).graph(classes: 5)
        let model = Model.initialized(graph, seed: 1)
        let found = try written(model) { file in
            XCTAssertEqual(shape("stages.0.blocks.0.0.attn.qkv.weight", file), [96, 32, 1, 1], "Conv wants four axes")
            XCTAssertEqual(file.outputs.map(\.name), ["logits"])
        }
        let norms = count(graph) { if case .layerNorm = $0 { true } else { false } }
        XCTAssertEqual(found["LayerNormalization"], norms)
        XCTAssertEqual(found["Softmax"], 8, "four windowed and four of channels")
        XCTAssertEqual(found["MatMul"], 16)
        XCTAssertEqual(found["Erf"], count(graph) { $0 == .gelu })
        XCTAssertEqual(found["Pad"], count(graph) { if case .padToMultiple = $0 { true } else { false } })
        XCTAssertEqual(found["Slice"], count(graph) { $0 == .crop })
    }

    func testConvNeXt() throws {
        var config = ConvNeXtConfig(depths: [1, 2], channels: [8, 16])
        config.dropPath = 0.1
        let graph = config.graph(classes: 5)
        let found = try written(Model.initialized(graph, seed: 1)) { file in
            XCTAssertEqual(shape("stages.1.blocks.1.gamma", file), [16, 1, 1], "a factor a channel")
        }
        XCTAssertEqual(found["Erf"], 3)
        XCTAssertEqual(found["LayerNormalization"], count(graph) { if case .layerNorm = $0 { true } else { false } })
    }

    func testGroupNorms() throws {
        var g = GraphBuilder("Groups")
        let x = g.groupNorm(g.conv(g.input(channels: 3), "conv", 8, kernel: 3), "norm", groups: 4)
        let h = g.flatten(g.globalAveragePool(g.relu(x, "relu"), "pool"))
        let graph = g.finish(logits: g.linear(h, "fc", 5), features: h)
        let found = try written(Model.initialized(graph, seed: 1)) { file in
            XCTAssertEqual(shape("norm.weight", file), [8, 1, 1])
            let norm = try XCTUnwrap(file.nodes.first { $0.operation == "InstanceNormalization" })
            guard case .float(let eps)? = norm.attributes["epsilon"] else { return XCTFail("no epsilon") }
            XCTAssertEqual(eps, 1e-5)
        }
        XCTAssertEqual(found["InstanceNormalization"], 1)
    }

    /// Attention is written and not read.
    func testWhatIsNotReadIsNamed() throws {
        let folder = try TemporaryFolder()
        let model = Model.initialized(ConvNeXtConfig(depths: [1], channels: [8]).graph(classes: 5), seed: 1)
        try model.writeONNX(to: "\(folder.path)/out.onnx")
        XCTAssertThrowsError(try Model(onnx: "\(folder.path)/out.onnx")) { error in
            XCTAssertTrue("\(error)".contains("node stem.1/pixels (Transpose): expected"), "\(error)")
        }
    }
}
