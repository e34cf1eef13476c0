import ResNetSwift
import XCTest

@testable import ResNetExecution

final class LoweringTests: XCTestCase {
    /// A convolution + batch norm, as every model writes them.
    private func convNorm(
        _ graph: inout Graph, _ x: Node, _ name: String, _ inChannels: Int, _ outChannels: Int, kernel: Int = 3,
        stride: Int = 1
    ) -> Node {
        let padding = kernel / 2
        let y = graph.add(
            "conv\(name)",
            .conv(
                ConvSpec(
                    inChannels, outChannels, kernel: Size2(kernel, kernel), stride: Size2(stride, stride),
                    padding: Size2(padding, padding))), x)
        return graph.add("bn\(name)", .batchNorm(channels: outChannels, eps: 1e-5, momentum: 0.1), y)
    }

    /// Stem, a block with a projection shortcut (written after the main branch, as torchvision runs it), a block without.
    private func smallResNet() -> Graph {
        var graph = Graph(modelName: "Small")
        let x = graph.add("input", .input(channels: 3))
        let stem = graph.add("relu", .relu, convNorm(&graph, x, "1", 3, 16, kernel: 7, stride: 2))
        let pooled = graph.add("maxpool", .maxPool(PoolSpec(kernel: 3, stride: 2, padding: 1)), stem)
        var a = graph.add("a.relu", .relu, convNorm(&graph, pooled, "a1", 16, 32, stride: 2))
        a = convNorm(&graph, a, "a2", 32, 32)
        let shortcut = convNorm(&graph, pooled, "ads", 16, 32, kernel: 1, stride: 2)
        a = graph.add("a.relu", .relu, graph.add("a.add", .add, a, shortcut))
        var b = graph.add("b.relu", .relu, convNorm(&graph, a, "b1", 32, 32))
        b = convNorm(&graph, b, "b2", 32, 32)
        b = graph.add("b.relu", .relu, graph.add("b.add", .add, b, a))
        let h = graph.add("flatten", .flatten, graph.add("avgpool", .globalAveragePool, b))
        let logits = graph.add("fc", .linear(inFeatures: 32, outFeatures: 10, bias: true), h)
        graph.setOutputs(logits: logits, features: h)
        return graph
    }

    private func lower(
        _ graph: Graph, taps: [String] = [], isForced: Bool = false, size: Int = 32,
        accepts: @escaping (Convolution) -> Bool = { _ in true }
    ) throws -> Program {
        let shapes = try graph.shapes(input: ImageShape(channels: 3, height: size, width: size))
        let wishes = Lowering.Wishes(
            taps: taps.map { name in graph.nodes.firstIndex { $0.name == name }! }, hasForcedAlgorithm: isForced)
        return try Lowering.program(graph: graph, shapes: shapes, wishes: wishes, block: 8, accepts: accepts)
    }

    /// Steps as `conv1+bn1+relu`.
    private func text(_ program: Program, _ graph: Graph) -> [String] {
        program.steps.map { step in
            switch step.operation {
            case is Export: "export \(program.values[step.outputs[0]].name)"
            case is ToBlocked: "import"
            default: step.nodes.map { graph.nodes[$0].name }.joined(separator: "+")
            }
        }
    }

    func testResNetBecomesSevenSteps() throws {
        let graph = smallResNet()
        let program = try lower(graph)
        XCTAssertEqual(
            text(program, graph),
            [
                "conv1+bn1+relu+maxpool", "conva1+bna1+a.relu", "convads+bnads", "conva2+bna2+a.add+a.relu_1",
                "convb1+bnb1+b.relu", "convb2+bnb2+b.add+b.relu_1+avgpool", "export flatten", "fc",
            ])
        XCTAssertEqual(
            program.steps.last?.outputs, [program.ports[0].value],
            "the linear layer writes the logits where the caller wants them")
        XCTAssertEqual(program.values[program.ports[0].value].home, .output(port: 0))
    }

    func testWhatKernelsDeclineBecomesAStepOfItsOwn() throws {
        let graph = smallResNet()
        let program = try lower(graph) { $0.pool == .none && !$0.readsPicture }
        XCTAssertEqual(
            text(program, graph),
            [
                "import", "conv1+bn1+relu", "maxpool", "conva1+bna1+a.relu", "convads+bnads",
                "conva2+bna2+a.add+a.relu_1", "convb1+bnb1+b.relu", "convb2+bnb2+b.add+b.relu_1", "avgpool",
                "export flatten", "fc",
            ])
    }

    func testTappedNodesAreNotFusedAway() throws {
        let graph = smallResNet()
        let program = try lower(graph, taps: ["bn1", "conva1", "b.add", "relu"])
        XCTAssertEqual(
            text(program, graph),
            [
                "conv1+bn1", "export bn1", "relu", "export relu", "maxpool", "conva1", "export conva1", "bna1+a.relu",
                "convads+bnads", "conva2+bna2+a.add+a.relu_1", "convb1+bnb1+b.relu", "convb2+bnb2+b.add",
                "export b.add",
                "b.relu_1", "avgpool", "export flatten", "fc",
            ])
    }

    func testAForcedAlgorithmIsTriedFirst() throws {
        let graph = smallResNet()
        let program = try lower(graph, isForced: true) {
            $0.isForced ? $0.spec.kernel == 3 && $0.pool == .none && !$0.readsPicture : true
        }
        let forced = program.steps.compactMap { ($0.operation as? Convolution)?.isForced }
        XCTAssertEqual(forced, [false, true, false, true, true, true])
    }

    func testDropoutAndDeadBranchesCostNothing() throws {
        var graph = Graph(modelName: "Dropout")
        let x = graph.add("input", .input(channels: 3))
        let conv = graph.add("conv", .conv(ConvSpec(3, 8, kernel: 3, padding: 1, bias: true)), x)
        graph.add("aux", .conv(ConvSpec(8, 8, kernel: 1)), conv)
        let relu = graph.add("relu", .relu, graph.add("drop", .dropout(probability: 0.5), conv))
        let pooled = graph.add("drop2", .dropout(probability: 0.5), graph.add("pool", .globalAveragePool, relu))
        let h = graph.add("flatten", .flatten, pooled)
        graph.setOutputs(
            logits: graph.add("fc", .linear(inFeatures: 8, outFeatures: 2, bias: true), h), features: nil)
        XCTAssertEqual(text(try lower(graph), graph), ["conv+relu+pool", "fc"])
    }

    func testUnsupportedGraphsNameTheNode() throws {
        var graph = Graph(modelName: "Norm of a vector")
        let x = graph.add("input", .input(channels: 3))
        let flat = graph.add("flatten", .flatten, graph.add("pool", .globalAveragePool, x))
        let norm = graph.add("norm", .batchNorm(channels: 3, eps: 1e-5, momentum: 0.1), flat)
        graph.setOutputs(logits: norm, features: nil)
        XCTAssertThrowsError(try lower(graph)) { XCTAssertEqual(($0 as? GraphError)?.node, "norm") }
    }

    /// Steps mean what the graph means: each value's expression, unrolled from the steps, is its node's expression.
    func testStepsMeanWhatTheGraphMeans() throws {
        for seed in 0..<400 as Range<UInt64> {
            let random = RandomGraph(seed: seed)
            let graph = random.graph
            let shapes = try graph.shapes(input: random.image)
            var decline = SplitMix(state: seed ^ 77)
            let program = try Lowering.program(
                graph: graph, shapes: shapes, wishes: Lowering.Wishes(taps: random.taps), block: 8
            ) { $0.pool == .none && !$0.readsPicture || decline.chance(60) }
            var meaning: [UInt64] = []
            for node in graph.nodes { meaning.append(expression(node, node.inputs.map { meaning[$0] })) }

            var known: [Int: UInt64] = [0: meaning[0]]
            func read(_ value: Int) -> UInt64 {
                if let base = program.values[value].viewOf { return mix(flattenTag, read(base)) }
                return known[value]!
            }
            for step in program.steps {
                let output = step.outputs[0]
                XCTAssertNil(known[output], "seed \(seed): a value is made twice")
                if step.operation is ToBlocked || step.operation is Export {
                    known[output] = read(step.inputs[0])
                    continue
                }
                var inputs = step.inputs.filter { program.values[$0].home != .constant }.map(read)
                let residual = (step.operation as? Convolution)?.addsResidual == true ? inputs.removeLast() : nil
                for (position, node) in step.nodes.enumerated() {
                    if position > 0, graph.nodes[node].operation == .add { inputs.append(residual!) }
                    inputs = [expression(graph.nodes[node], inputs)]
                }
                known[output] = inputs[0]
            }
            for (port, node) in zip(program.ports, Lowering.outputs(of: graph) + random.taps) {
                XCTAssertEqual(read(port.value), meaning[node], "seed \(seed): \(port.name)")
                XCTAssertEqual(port.name, graph.nodes[node].name)
            }
        }
    }

    private let flattenTag: UInt64 = 0xF1A7

    private func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        var random = SplitMix(state: a &* 31 &+ b)
        return random.next()
    }

    private func expression(_ node: GraphNode, _ inputs: [UInt64]) -> UInt64 {
        switch node.operation {
        case .dropout: inputs[0]
        case .flatten: mix(flattenTag, inputs[0])
        case .add: mix(0xADD, inputs[0] &+ inputs[1])
        default: inputs.reduce(node.name.utf8.reduce(5) { mix($0, UInt64($1)) }, mix)
        }
    }
}
