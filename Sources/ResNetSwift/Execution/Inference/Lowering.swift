// Graph -> program, for inference: which nodes become one pass through memory.
//
//     conv -> batchNorm [-> add] [-> relu] [-> maxPool 3x3/2 | globalAveragePool]     one convolution
//     linear [-> batchNorm] [-> relu],  batchNorm [-> relu],  add [-> relu]           one step each
//     gate [-> add] [-> relu]                                                         one step
//     layerNorm [-> padToMultiple],  windowAttention [-> crop],  groupNorm [-> relu]
//
// A node is fused into the one before it only if nobody else reads what lies between, and no output taps it. Of the two
// convolutions that may end in an addition, the deeper one takes it: the projection shortcut runs first, right after the
// value it shares with the block's first convolution, and its result is the residual.

import ResNetGraph

struct Lowering {
    /// What the caller wants besides the graph.
    struct Wishes {
        var input = InputKind.floatNCHW
        /// Nodes whose values are wanted besides logits and features.
        var taps: [Int] = []
        var hasForcedAlgorithm = false
        /// Maps go to the outputs blocked, as they are made.
        var keepsBlocked = false
        /// Which convolutions compute in 8 bits.
        var quantization: Quantization?
        /// Weights are bfloat16 where a kernel reads such.
        var wantsBF16 = false
    }

    private let flow: DataFlow
    private let wishes: Wishes
    private let block: Int
    /// Tries a convolution: true if a kernel does all of it.
    private let accepts: (Convolution) -> Bool
    /// By node: convolutions on the longest path from the picture.
    private let depth: [Int]
    /// Additions by the conv (or its batch norm) that computes them in its epilogue.
    private let additionAfter: [Int: Int]

    private var graph: Graph { flow.graph }

    /// One step before values are numbered.
    private struct Draft {
        var operation: any StepOperation
        var nodes: [Int]
        /// Source nodes read, a residual last.
        var operands: [Int]
        /// (node position, turn among those at one position, index)
        var order = (0, 0, 0)

        var tail: Int { nodes[nodes.count - 1] }
    }

    static func program(
        graph: Graph, shapes: [NodeShape], wishes: Wishes, block: Int, accepts: @escaping (Convolution) -> Bool
    ) throws(GraphError) -> Program {
        let lowering = Lowering(graph, shapes, wishes, block, accepts)
        var emitter = Emitter(lowering)
        return try emitter.program(lowering.drafts())
    }

    /// Logits first, then h if the model has it.
    static func outputs(of graph: Graph) -> [Int] { [graph.logits] + (graph.features.map { [$0] } ?? []) }

    private init(
        _ graph: Graph, _ shapes: [NodeShape], _ wishes: Wishes, _ block: Int,
        _ accepts: @escaping (Convolution) -> Bool
    ) {
        let flow = DataFlow(
            graph: graph, shapes: shapes, outputs: Self.outputs(of: graph) + wishes.taps, skipsDropout: true
        ) { if case .input = graph.nodes[$0].operation { true } else { false } }
        self.flow = flow
        self.wishes = wishes
        self.block = block
        self.accepts = accepts
        var depth: [Int] = []
        for node in graph.nodes {
            var isConv = 0
            if case .conv = node.operation { isConv = 1 }
            depth.append((node.inputs.map { depth[$0] }.max() ?? 0) + isConv)
        }
        self.depth = depth
        additionAfter = flow.additions(rank: { Rank(depth: depth[$0], node: $0) }) { operand in
            guard !flow.isVector(operand) else { return false }
            switch flow.operation(operand) {
            case .conv, .gate: return true
            case .batchNorm:
                let before = flow.operands(operand)[0]
                guard case .conv = flow.operation(before) else { return false }
                return flow.soleReader(before) == operand
            default: return false
            }
        }
    }

    private struct Rank: Comparable {
        let depth: Int
        let node: Int
        static func < (a: Self, b: Self) -> Bool { (a.depth, a.node) < (b.depth, b.node) }
    }

    // MARK: - Choosing steps

    private func drafts() throws(GraphError) -> [Draft] {
        var drafts: [Draft] = []
        var isFused: Set<Int> = []
        for node in flow.live where !isFused.contains(node) {
            let draft = try draft(node)
            isFused.formUnion(draft.nodes)
            drafts.append(draft)
        }
        return ordered(withByteResults(drafts))
    }

    private func draft(_ index: Int) throws(GraphError) -> Draft {
        var nodes = [index]
        func fuse(_ next: Int?) -> Bool {
            if let next { nodes.append(next) }
            return next != nil
        }
        func fuseRelu() -> Bool { fuse(flow.fusableRelu(nodes[nodes.count - 1])) }
        let operation: any StepOperation
        switch flow.operation(index) {
        case .conv(let spec): return convolution(index, spec)
        case .linear(let inFeatures, let outFeatures, let bias):
            let isNormed = fuse(flow.fusableBatchNorm(index))
            operation = Linear(
                inFeatures: inFeatures, outFeatures: outFeatures, hasBias: bias || isNormed, isNormed: isNormed,
                relu: fuseRelu(), weights: wishes.wantsBF16 ? .bfloat16 : .float32)
        case .batchNorm:
            guard !flow.isVector(index) else {
                throw GraphError(
                    node: flow.name(index), expected: "a feature map, or a linear layer just before", found: "a vector")
            }
            operation = ScaleShift(relu: fuseRelu())
        case .add: operation = Add(relu: fuseRelu())
        case .gate: return gate(index)
        case .channelConv(let kernel): operation = ChannelConvolution(kernel: kernel)
        case .concat:
            guard !flow.isVector(index) else {
                throw GraphError(node: flow.name(index), expected: "feature maps to join", found: "vectors")
            }
            operation = Concat()
        case .flatten: operation = Flatten()
        case .layerNorm(let channels, let eps):
            let padding = flow.soleReader(index).flatMap { flow.isPadding($0) ? $0 : nil }
            operation = LayerNorm(channels: channels, eps: eps, pads: fuse(padding))
        case .groupNorm(let groups, _, let eps): operation = GroupNorm(groups: groups, eps: eps, relu: fuseRelu())
        case .windowAttention(let heads, let window):
            let crop = flow.soleReader(index).flatMap { flow.operation($0) == .crop ? $0 : nil }
            operation = Attention(shape: AttentionShape(heads: heads, window: window), crops: fuse(crop))
        case .layerScale: operation = LayerScale()
        default:
            guard let plain = flow.operation(index).plainLayer else {
                preconditionFailure("\(flow.name(index)) is given, not computed")
            }
            operation = plain.forward
        }
        return Draft(operation: operation, nodes: nodes, operands: flow.operands(index))
    }

    /// The convolution `node` with as much of what follows as a kernel takes: the picture read as it is and the pool
    /// fused if possible. A forced algorithm is tried first, and left aside where it does not apply.
    private func convolution(_ node: Int, _ spec: ConvSpec) -> Draft {
        var step = Convolution(spec: spec, input: flow.map(flow.operands(node)[0]))
        var draft = Draft(operation: step, nodes: [node], operands: flow.operands(node))
        if let batchNorm = flow.fusableBatchNorm(node) {
            step.isNormed = true
            draft.nodes.append(batchNorm)
        }
        step.addsResidual = fuseAddition(&draft)
        if let relu = flow.fusableRelu(draft.tail) {
            step.relu = true
            draft.nodes.append(relu)
        }

        if let int8 = int8Form(node, spec, draft.operands) {
            step.int8 = int8
            draft.operation = step
            return draft
        }
        var pools: [(FusedPool, Int?)] = [(.none, nil)]
        if let next = flow.soleReader(draft.tail) {
            switch flow.operation(next) {
            case .maxPool(PoolSpec(kernel: 3, stride: 2, padding: 1)): pools.insert((.max, next), at: 0)
            case .globalAveragePool: pools.insert((.globalAverage, next), at: 0)
            default: break
            }
        }
        let isPicture = flow.boundary.contains(draft.operands[0])
        for isForced in wishes.hasForcedAlgorithm ? [true, false] : [false] {
            for source in isPicture ? [wishes.input.storage, .blocked] : [.blocked] {
                for (pool, poolNode) in pools {
                    for weights in wishes.wantsBF16 ? [ValueElement.bfloat16, .float32] : [.float32] {
                        step.isForced = isForced
                        step.source = source
                        step.pool = pool
                        step.weights = weights
                        guard accepts(step) else { continue }
                        draft.operation = step
                        if let poolNode { draft.nodes.append(poolNode) }
                        return draft
                    }
                }
            }
        }
        // Nothing was accepted: leave the plainest form; making its plan reports why.
        draft.operation = step
        return draft
    }

    private func gate(_ node: Int) -> Draft {
        var draft = Draft(operation: Gate(), nodes: [node], operands: flow.operands(node))
        var step = Gate(addsResidual: fuseAddition(&draft))
        if let relu = flow.fusableRelu(draft.tail) {
            step.relu = true
            draft.nodes.append(relu)
        }
        draft.operation = step
        return draft
    }

    /// Takes the addition that the draft's last node feeds, if it falls to it; the other operand becomes the draft's last.
    private func fuseAddition(_ draft: inout Draft) -> Bool {
        guard let addition = additionAfter[draft.tail] else { return false }
        guard let residual = flow.operands(addition).first(where: { $0 != draft.tail }) else {
            preconditionFailure("an addition of a value to itself is no residual")
        }
        draft.nodes.append(addition)
        draft.operands.append(residual)
        return true
    }

    // MARK: - Bytes

    /// What the operands of a convolution stand for, where it can compute in 8 bits: nil where they have no scales, and for
    /// pictures, groups, and an input whose zero is not 0.
    private func int8Form(_ node: Int, _ spec: ConvSpec, _ operands: [Int]) -> Int8Form? {
        guard let quantization = wishes.quantization, spec.groups == 1,
            let weights = quantization.weights["\(graph.nodes[node].module).weight"],
            !operands.contains(where: flow.boundary.contains),
            let input = quantization.values[flow.name(operands[0])], input.zeroPoint == 0
        else { return nil }
        var form = Int8Form(input: input.scale, weights: weights)
        guard operands.count > 1 else { return form }
        form.residual = quantization.values[flow.name(operands[1])]
        return form.residual == nil ? nil : form
    }

    /// Results are bytes where a convolution reads them as bytes. A zero other than 0 only a convolution can write, for one
    /// reader: a convolution that adds any other such value computes in floats.
    private func withByteResults(_ drafts: [Draft]) -> [Draft] {
        func int8(_ draft: Draft) -> Int8Form? { (draft.operation as? Convolution)?.int8 }
        func canRead(_ draft: Draft, _ drafts: [Draft]) -> Bool {
            guard let zero = int8(draft)?.residual?.zeroPoint, zero != 0 else { return true }
            let residual = draft.operands[1]
            return flow.soleReader(residual) != nil && drafts.contains { $0.tail == residual && int8($0) != nil }
        }
        func setting(_ form: Int8Form?, in draft: Draft) -> any StepOperation {
            guard var convolution = draft.operation as? Convolution else { return draft.operation }
            convolution.int8 = form
            return convolution
        }
        guard let values = wishes.quantization?.values else { return drafts }
        var drafts = drafts
        while let index = drafts.firstIndex(where: { !canRead($0, drafts) }) {
            drafts[index].operation = setting(nil, in: drafts[index])
        }
        let bytes = Set(drafts.filter { int8($0) != nil }.flatMap(\.operands))
        for (index, draft) in drafts.enumerated() where bytes.contains(draft.tail) {
            guard var form = int8(draft) else { continue }
            form.result = values[flow.name(draft.tail)]
            drafts[index].operation = setting(form, in: draft)
        }
        return drafts
    }

    /// Each step where its last node stands, but projection shortcuts just before the step that adds them.
    private func ordered(_ drafts: [Draft]) -> [Draft] {
        var position: [Int: Int] = [:]
        for draft in drafts { for node in draft.nodes { position[node] = draft.tail } }
        func addsResidual(_ draft: Draft) -> Bool {
            (draft.operation as? Convolution)?.addsResidual == true || (draft.operation as? Gate)?.addsResidual == true
        }
        let residualTails = Set(drafts.filter(addsResidual).compactMap(\.operands.last))
        return drafts.enumerated().map { index, draft in
            var draft = draft
            draft.order = (draft.tail, 0, index)
            if draft.operation is Convolution, !addsResidual(draft), residualTails.contains(draft.tail),
                let addition = flow.soleReader(draft.tail), let adder = position[addition]
            {
                draft.order = (adder, -1, index)
            }
            return draft
        }.sorted { $0.order < $1.order }
    }

    // MARK: - Numbering values

    /// Turns drafts into steps over values.
    private struct Emitter {
        let lowering: Lowering
        let outputs: [Int]
        var program = Program()
        var valueOfNode: [Int: Int] = [:]
        var imported: [Int: Int] = [:]
        /// Bytes of values that are floats, and floats of those that are bytes.
        var convertedOfNode: [Int: Int] = [:]
        /// Scale and shift of byte pictures.
        var pictureConstants: [Int] = []

        private var flow: DataFlow { lowering.flow }
        private var graph: Graph { lowering.graph }

        init(_ lowering: Lowering) {
            self.lowering = lowering
            outputs = Lowering.outputs(of: lowering.graph) + lowering.wishes.taps
        }

        mutating func program(_ drafts: [Draft]) throws(GraphError) -> Program {
            program.ports = outputs.map { OutputPort(name: flow.name($0), shape: flow.shapes[$0], value: -1) }
            if case .bytesNHWC(let scale, let shift) = lowering.wishes.input {
                for contents in [scale, shift] {
                    let padding = roundedUp(contents.count, to: lowering.block) - contents.count
                    pictureConstants.append(
                        program.constant(contents + Array(repeating: 0, count: padding), "picture"))
                }
            }
            try takePicture()
            for draft in drafts { emit(draft) }
            return program
        }

        private mutating func takePicture() throws(GraphError) {
            for (index, node) in graph.nodes.enumerated() {
                guard case .input = node.operation else { continue }
                guard valueOfNode.isEmpty else {
                    throw GraphError(node: node.name, expected: "one input, the picture", found: "a second one")
                }
                let kind = lowering.wishes.input
                valueOfNode[index] = program.add(
                    Value(
                        name: node.name, shape: flow.map(index), storage: kind.storage, element: kind.element,
                        home: .picture))
                export(index)
            }
        }

        private mutating func newValue(
            _ node: Int, _ storage: ValueStorage, _ element: ValueElement = .float32, viewOf: Int? = nil
        ) -> Int {
            program.add(
                Value(
                    name: flow.name(node), shape: flow.map(node), storage: storage, element: element, viewOf: viewOf))
        }

        /// The value of `node` as floats or as bytes; it is converted once, when first needed so.
        private mutating func operand(_ node: Int, asBytes: Bool = false) -> Int {
            let value = operandAsMade(node)
            guard (program.values[value].element == .uint8) != asBytes else { return value }
            if let converted = convertedOfNode[node] { return converted }
            guard let scale = lowering.wishes.quantization?.values[flow.name(node)], scale.zeroPoint == 0 else {
                preconditionFailure("\(flow.name(node)) has no scale")
            }
            let converted = newValue(node, .blocked, asBytes ? .uint8 : .float32)
            let operation: any StepOperation = asBytes ? Quantize(scale: scale.scale) : Dequantize(scale: scale.scale)
            append(operation, [], [value], converted)
            convertedOfNode[node] = converted
            return converted
        }

        /// The value of `node`, not as a picture; that is converted once, when first needed so.
        private mutating func operandAsMade(_ node: Int) -> Int {
            guard flow.boundary.contains(node) else { return valueOfNode[node]! }
            if let value = imported[node] { return value }
            let value = newValue(node, .blocked)
            append(ToBlocked(), [node], [valueOfNode[node]!] + pictureConstants, value)
            imported[node] = value
            return value
        }

        private mutating func append(_ operation: any StepOperation, _ nodes: [Int], _ inputs: [Int], _ output: Int) {
            let bytes = operation.weights.bytes
            let weights = nodes.flatMap(graph.parameters(of:)).reduce(0) { $0 + $1.count * bytes }
            program.append(
                Step(operation: operation, nodes: nodes, inputs: inputs, outputs: [output], weightBytes: weights),
                block: lowering.block)
        }

        /// Exports the value of `node` to every output that takes it, right after it is made: what later overwrites the
        /// buffer does not matter. A linear layer, and whatever makes a map that stays blocked, writes to its first output
        /// directly.
        private mutating func export(_ node: Int) {
            let made = program.steps.last
            var isDirect = lowering.wishes.keepsBlocked && !flow.isVector(node) || made?.operation is Linear
            if made?.outputs.first != valueOfNode[node] { isDirect = false }
            for (port, output) in outputs.enumerated() where flow.source[output] == node {
                let value = operand(node)
                if isDirect {
                    program.values[value].home = .output(port: port)
                    program.ports[port].value = value
                } else {
                    program.ports[port].value = program.add(
                        Value(
                            name: program.ports[port].name, shape: flow.map(node), storage: .planes,
                            home: .output(port: port)))
                    append(Export(), [], [value], program.ports[port].value)
                }
                isDirect = false
            }
        }

        private mutating func emit(_ draft: Draft) {
            var inputs: [Int] = []
            let convolution = draft.operation as? Convolution
            for node in draft.operands {
                let isRead = inputs.isEmpty && convolution?.readsPicture == true
                inputs.append(isRead ? valueOfNode[node]! : operand(node, asBytes: convolution?.int8 != nil))
            }
            var view: Int?
            if draft.operation is Flatten {
                let value = program.values[inputs[0]]
                if value.storage != .blocked || (value.shape.height == 1 && value.shape.width == 1) { view = inputs[0] }
            }
            let tail = draft.tail
            let storage = flow.isVector(tail) ? ValueStorage.rows(stride: flow.map(tail).channels) : .blocked
            let value = newValue(
                tail, storage, convolution?.int8?.result != nil ? .uint8 : .float32, viewOf: view)
            valueOfNode[tail] = value
            if view == nil { append(draft.operation, draft.nodes, withConstants(draft, inputs), value) }
            export(tail)
        }

        // MARK: Constants

        /// The inputs of a step, with those that hold its parameters, folded and packed.
        private mutating func withConstants(_ draft: Draft, _ inputs: [Int]) -> [Int] {
            switch draft.operation {
            case let conv as Convolution:
                let fold = fold(draft, conv.spec.outChannels, conv.spec.bias)
                if let int8 = conv.int8 {
                    let operation = PackBytes(
                        form: int8, count: graph.parameters(of: draft.nodes[0])[0].count, fold: fold)
                    let width = wholeBlocks(conv.spec.outChannels)
                    return [inputs[0]] + constants(draft, operation, [nil, width, width]) + inputs.dropFirst()
                }
                let packed = constants(
                    draft, PackFilters(fold: fold), [nil] + (fold == nil ? [] : [wholeBlocks(conv.spec.outChannels)]))
                return [inputs[0]] + packed + inputs.dropFirst() + (conv.source == .pixels ? pictureConstants : [])
            case let linear as Linear:
                let fold = fold(draft, linear.outFeatures, lowering.hasOwnBias(draft.nodes[0]))
                let operation = FoldLinear(
                    inFeatures: linear.inFeatures, outFeatures: linear.outFeatures, fold: fold, weights: linear.weights)
                let sizes = [linear.inFeatures * linear.outFeatures] + (fold == nil ? [] : [linear.outFeatures])
                return inputs + constants(draft, operation, sizes, first: linear.weights)
            case is ScaleShift:
                guard case .batchNorm(let channels, let eps, _) = flow.operation(draft.nodes[0]) else { return inputs }
                let operation = FoldBatchNorm(channels: channels, eps: eps)
                return inputs + constants(draft, operation, [wholeBlocks(channels), wholeBlocks(channels)])
            case let conv as ChannelConvolution:
                return inputs + constants(draft, CopyParameters(counts: [conv.kernel]), [conv.kernel])
            case is LayerNorm, is GroupNorm, is LayerScale:
                let counts = graph.parameters(of: draft.nodes[0]).map(\.count)
                return inputs + constants(draft, CopyParameters(counts: counts), counts.map(wholeBlocks))
            default: return inputs
            }
        }

        private func wholeBlocks(_ channels: Int) -> Int { roundedUp(channels, to: lowering.block) }

        /// Makes constants of so many floats out of the parameters of the draft's nodes; the first may be of other elements.
        private mutating func constants(
            _ draft: Draft, _ operation: any StepOperation, _ sizes: [Int?], first: ValueElement = .float32
        ) -> [Int] {
            let name = flow.name(draft.nodes[0])
            let nodes = draft.nodes.filter { !graph.parameters(of: $0).isEmpty }
            let parameters = nodes.flatMap(graph.parameters(of:)).map { program.parameter($0) }
            let values = sizes.enumerated().map { index, size in
                program.constant(name, count: size, index == 0 ? first : .float32)
            }
            program.setup.append(Step(operation: operation, nodes: nodes, inputs: parameters, outputs: values))
            return values
        }

        /// What goes into a layer besides its weights; nil for nothing.
        private func fold(_ draft: Draft, _ channels: Int, _ hasBias: Bool) -> LayerFold? {
            var fold = LayerFold(channels: channels, hasBias: hasBias)
            for node in draft.nodes { if case .batchNorm(_, let eps, _) = flow.operation(node) { fold.eps = eps } }
            return fold.hasBias || fold.eps != nil ? fold : nil
        }
    }

    private func hasOwnBias(_ node: Int) -> Bool {
        if case .linear(_, _, let bias) = flow.operation(node) { bias } else { false }
    }
}

extension StepOperation {
    /// What the step's weights are.
    var weights: ValueElement {
        (self as? Convolution)?.weights ?? (self as? Linear)?.weights ?? .float32
    }
}

extension InputKind {
    var storage: ValueStorage {
        switch self {
        case .floatNCHW: .planes
        case .bytesNHWC: .pixels
        }
    }

    var element: ValueElement {
        switch self {
        case .floatNCHW: .float32
        case .bytesNHWC: .uint8
        }
    }
}
