// Graph -> program: which nodes become one pass through memory.
//
//     conv -> batchNorm [-> add] [-> relu] [-> maxPool 3x3/2 | globalAveragePool]     one convolution
//     linear [-> batchNorm] [-> relu],  batchNorm [-> relu],  add [-> relu]           one step each
//
// A node is fused into the one before it only if nobody else reads what lies between, and no output taps it. Of the two
// convolutions that may end in an addition, the deeper one takes it: the projection shortcut runs first, right after the
// value it shares with the block's first convolution, and its result is the residual.

import ResNetGraph

struct Lowering {
    private let graph: Graph
    private let shapes: [NodeShape]
    /// Tries a convolution: true if a kernel does all of it.
    private let accepts: (ConvStep) -> Bool
    private let hasForcedAlgorithm: Bool
    private let keepsBlocked: Bool

    /// By node: the node whose value it is; another one where nothing is computed (dropout).
    private let source: [Int]
    /// By source node: the live nodes that read it, one entry per operand.
    private var readers: [[Int]]
    /// By node: an output takes its value.
    private var isTapped: [Bool]
    /// By node: convolutions on the longest path from the picture.
    private let depth: [Int]
    /// Additions by the conv (or its batch norm) that computes them in its epilogue.
    private var additionAfter: [Int: Int] = [:]

    /// One step before values are numbered.
    private struct Draft {
        var kind: StepKind
        var nodes: [Int]
        /// Source nodes read, a residual last.
        var operands: [Int]
        /// (node position, turn among those at one position, index)
        var order: (Int, Int, Int)

        var tail: Int { nodes[nodes.count - 1] }
    }

    /// Lowers `graph`. `taps` are nodes whose values the caller wants besides logits and features.
    static func program(
        graph: Graph, shapes: [NodeShape], taps: [Int], hasForcedAlgorithm: Bool = false, keepsBlocked: Bool = false,
        accepts: @escaping (ConvStep) -> Bool
    ) throws(GraphError) -> PlanProgram {
        let lowering = Lowering(
            graph, shapes, taps: taps, hasForcedAlgorithm: hasForcedAlgorithm, keepsBlocked: keepsBlocked,
            accepts: accepts)
        return try lowering.emit(lowering.drafts(), outputs: outputs(of: graph) + taps)
    }

    /// Logits first, then h if the model has it.
    static func outputs(of graph: Graph) -> [Int] { [graph.logits] + (graph.features.map { [$0] } ?? []) }

    private init(
        _ graph: Graph, _ shapes: [NodeShape], taps: [Int], hasForcedAlgorithm: Bool, keepsBlocked: Bool,
        accepts: @escaping (ConvStep) -> Bool
    ) {
        self.graph = graph
        self.shapes = shapes
        self.accepts = accepts
        self.hasForcedAlgorithm = hasForcedAlgorithm
        self.keepsBlocked = keepsBlocked
        let nodes = graph.nodes

        var source: [Int] = []
        var depth: [Int] = []
        for (index, node) in nodes.enumerated() {
            var own = index
            if case .dropout = node.operation { own = source[node.inputs[0]] }
            source.append(own)
            var isConv = 0
            if case .conv = node.operation { isConv = 1 }
            depth.append((node.inputs.map { depth[$0] }.max() ?? 0) + isConv)
        }
        self.source = source
        self.depth = depth

        isTapped = Array(repeating: false, count: nodes.count)
        for output in Self.outputs(of: graph) + taps { isTapped[source[output]] = true }
        readers = Array(repeating: [], count: nodes.count)
        var isLive = isTapped
        for index in nodes.indices.reversed() where isLive[index] {
            for input in nodes[index].inputs {
                isLive[source[input]] = true
                readers[source[input]].append(index)
            }
        }
        for index in nodes.indices where isLive[index] && nodes[index].operation == .add { assignAddition(index) }
    }

    /// Lets the deepest convolution that ends in the addition `add` compute it.
    private mutating func assignAddition(_ add: Int) {
        let candidates = operands(add).filter { operand in
            guard soleReader(operand) == add, !isVector(operand) else { return false }
            switch graph.nodes[operand].operation {
            case .conv: return true
            case .batchNorm:
                let before = operands(operand)[0]
                guard case .conv = graph.nodes[before].operation else { return false }
                return soleReader(before) == operand
            default: return false
            }
        }
        if let last = candidates.max(by: { (depth[$0], $0) < (depth[$1], $1) }) { additionAfter[last] = add }
    }

    private func operands(_ node: Int) -> [Int] { graph.nodes[node].inputs.map { source[$0] } }

    /// The one node that reads `node`, if nobody else needs its value.
    private func soleReader(_ node: Int) -> Int? {
        readers[node].count == 1 && !isTapped[node] ? readers[node][0] : nil
    }

    private func isVector(_ node: Int) -> Bool {
        if case .vector = shapes[node] { true } else { false }
    }

    private func map(_ node: Int) -> ImageShape {
        switch shapes[node] {
        case .map(let shape): shape
        case .vector(let features): ImageShape(channels: features, height: 1, width: 1)
        }
    }

    /// The sole reader of `node` if it is a ReLU.
    private func fusableRelu(_ node: Int) -> Int? {
        guard let next = soleReader(node), graph.nodes[next].operation == .relu else { return nil }
        return next
    }

    private func fusableBatchNorm(_ node: Int) -> Int? {
        guard let next = soleReader(node), case .batchNorm = graph.nodes[next].operation else { return nil }
        return next
    }

    // MARK: - Choosing steps

    private func drafts() throws(GraphError) -> [Draft] {
        var drafts: [Draft] = []
        var isFused = Array(repeating: false, count: graph.nodes.count)
        for (index, node) in graph.nodes.enumerated() {
            guard source[index] == index, isTapped[index] || !readers[index].isEmpty, !isFused[index] else { continue }
            var draft = Draft(kind: .importPicture, nodes: [index], operands: operands(index), order: (0, 0, 0))
            func fuseRelu() -> Bool {
                guard let relu = fusableRelu(draft.tail) else { return false }
                draft.nodes.append(relu)
                return true
            }
            switch node.operation {
            case .input, .dropout:
                continue
            case .conv(let spec):
                draft = convolution(index, spec)
            case .linear(let inFeatures, let outFeatures, let bias):
                var linear = LinearStep(node: index, inFeatures: inFeatures, outFeatures: outFeatures, bias: bias)
                linear.batchNorm = fusableBatchNorm(index)
                if let batchNorm = linear.batchNorm { draft.nodes.append(batchNorm) }
                linear.relu = fuseRelu()
                draft.kind = .linear(linear)
            case .batchNorm:
                guard !isVector(index) else {
                    throw GraphError(
                        node: node.name, expected: "a feature map, or a linear layer just before", found: "a vector")
                }
                draft.kind = .scaleShift(node: index, relu: fuseRelu())
            case .relu: draft.kind = .relu
            case .sigmoid: draft.kind = .sigmoid
            case .add: draft.kind = .add(relu: fuseRelu())
            case .maxPool(let spec): draft.kind = .maxPool(spec)
            case .averagePool(let spec): draft.kind = .averagePool(spec)
            case .globalAveragePool: draft.kind = .globalAveragePool
            case .concat: draft.kind = .concat
            case .flatten: draft.kind = .flatten
            }
            for fused in draft.nodes { isFused[fused] = true }
            drafts.append(draft)
        }
        return ordered(drafts)
    }

    /// The convolution `node` with as much of what follows as a kernel takes: the picture read as it is and the pool
    /// fused if possible. A forced algorithm is tried first, and left aside where it does not apply.
    private func convolution(_ node: Int, _ spec: ConvSpec) -> Draft {
        var step = ConvStep(node: node, spec: spec, input: map(operands(node)[0]))
        var draft = Draft(kind: .conv(step), nodes: [node], operands: operands(node), order: (0, 0, 0))
        if let batchNorm = fusableBatchNorm(node) {
            step.batchNorm = batchNorm
            draft.nodes.append(batchNorm)
        }
        if let addition = additionAfter[draft.tail] {
            let residual = operands(addition).first { $0 != draft.tail }
            guard let residual else { preconditionFailure("an addition of a value to itself is no residual") }
            step.addsResidual = true
            draft.nodes.append(addition)
            draft.operands.append(residual)
        }
        if let relu = fusableRelu(draft.tail) {
            step.relu = true
            draft.nodes.append(relu)
        }

        var pools: [(FusedPool, Int?)] = [(.none, nil)]
        if let next = soleReader(draft.tail) {
            switch graph.nodes[next].operation {
            case .maxPool(PoolSpec(kernel: 3, stride: 2, padding: 1)): pools.insert((.max, next), at: 0)
            case .globalAveragePool: pools.insert((.globalAverage, next), at: 0)
            default: break
            }
        }
        var isPicture = false
        if case .input = graph.nodes[draft.operands[0]].operation { isPicture = true }
        for isForced in hasForcedAlgorithm ? [true, false] : [false] {
            for readsPicture in isPicture ? [true, false] : [false] {
                for (pool, poolNode) in pools {
                    step.isForced = isForced
                    step.readsPicture = readsPicture
                    step.pool = pool
                    guard accepts(step) else { continue }
                    draft.kind = .conv(step)
                    if let poolNode { draft.nodes.append(poolNode) }
                    return draft
                }
            }
        }
        // Nothing was accepted: leave the plainest form; making its plan reports why.
        step.pool = .none
        step.readsPicture = false
        draft.kind = .conv(step)
        return draft
    }

    /// Each step where its last node stands, but projection shortcuts just before the step that adds them.
    private func ordered(_ drafts: [Draft]) -> [Draft] {
        var position: [Int: Int] = [:]
        for draft in drafts { for node in draft.nodes { position[node] = draft.tail } }
        let residualTails = Set(
            drafts.compactMap { draft -> Int? in
                if case .conv(let conv) = draft.kind, conv.addsResidual { draft.operands.last } else { nil }
            })
        return drafts.enumerated().map { index, draft in
            var draft = draft
            draft.order = (draft.tail, 0, index)
            if case .conv(let conv) = draft.kind, !conv.addsResidual, residualTails.contains(draft.tail),
                let addition = soleReader(draft.tail), let adder = position[addition]
            {
                draft.order = (adder, -1, index)
            }
            return draft
        }.sorted { $0.order < $1.order }
    }

    // MARK: - Numbering values

    private func emit(_ drafts: [Draft], outputs: [Int]) throws(GraphError) -> PlanProgram {
        var program = PlanProgram()
        program.ports = outputs.map { OutputPort(name: graph.nodes[$0].name, shape: shapes[$0], value: -1) }
        var valueOfNode: [Int: Int] = [:]
        var imported: [Int: Int] = [:]

        func newValue(_ node: Int, _ layout: ValueLayout, viewOf: Int? = nil) -> Int {
            program.values.append(
                PlanValue(name: graph.nodes[node].name, shape: map(node), layout: layout, viewOf: viewOf))
            return program.values.count - 1
        }
        func append(_ kind: StepKind, _ nodes: [Int], _ inputs: [Int], _ output: Int?) {
            program.steps.append(PlanStep(kind: kind, nodes: nodes, inputs: inputs, output: output))
        }
        /// The value of `node`, blocked or plain; the picture is converted once, when first needed so.
        func operand(_ node: Int) -> Int {
            guard case .input = graph.nodes[node].operation else { return valueOfNode[node]! }
            if let value = imported[node] { return value }
            let value = newValue(node, .blocked)
            append(.importPicture, [node], [valueOfNode[node]!], value)
            imported[node] = value
            return value
        }
        /// Exports the value of `node` to every output that takes it, right after it is made: what later overwrites the
        /// buffer does not matter. A linear layer, and whatever makes a map that stays blocked, writes to its first output
        /// directly.
        func export(_ node: Int) {
            var canBeDirect = keepsBlocked && !isVector(node)
            if case .linear? = program.steps.last?.kind { canBeDirect = true }
            if program.steps.last?.output != valueOfNode[node] { canBeDirect = false }
            for (port, output) in outputs.enumerated() where source[output] == node {
                let value = operand(node)
                program.ports[port].value = value
                program.ports[port].isDirect = canBeDirect
                if !canBeDirect { append(.export(port: port), [], [value], nil) }
                canBeDirect = false
            }
        }

        for (index, node) in graph.nodes.enumerated() {
            guard case .input = node.operation else { continue }
            guard valueOfNode.isEmpty else {
                throw GraphError(node: node.name, expected: "one input, the picture", found: "a second one")
            }
            valueOfNode[index] = newValue(index, .picture)
            export(index)
        }
        for draft in drafts {
            var inputs: [Int] = []
            for node in draft.operands {
                if inputs.isEmpty, case .conv(let conv) = draft.kind, conv.readsPicture {
                    inputs.append(valueOfNode[node]!)
                } else {
                    inputs.append(operand(node))
                }
            }
            let isPlain = isVector(draft.tail)
            var view: Int?
            if case .flatten = draft.kind {
                let value = program.values[inputs[0]]
                if value.layout == .plain || (value.shape.height == 1 && value.shape.width == 1) { view = inputs[0] }
            }
            if isPlain, case .concat = draft.kind {
                throw GraphError(
                    node: graph.nodes[draft.tail].name, expected: "feature maps to join", found: "vectors")
            }
            let value = newValue(draft.tail, isPlain ? .plain : .blocked, viewOf: view)
            valueOfNode[draft.tail] = value
            if view == nil { append(draft.kind, draft.nodes, inputs, value) }
            export(draft.tail)
        }
        return program
    }
}
