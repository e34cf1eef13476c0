// Graph -> layers: which nodes become one operation with one backward pass.
//
//     conv [-> relu]      batchNorm [-> add] [-> relu]      add [-> relu]      linear [-> relu]      others by themselves
//
// A node joins the one before it only if nobody else reads what lies between. An addition belongs to the batch norm that
// comes last before it; the other operand is its residual. A batch norm stays apart from its convolution here, as its
// statistics need the whole batch.

import ResNetGraph

struct TrainingLayer {
    enum Kind {
        case conv(ConvSpec, relu: Bool)
        /// The residual is the last input.
        case norm(relu: Bool, addsResidual: Bool)
        case linear(relu: Bool)
        case add(relu: Bool)
        case gate
        case channelConv(kernel: Int)
        case plain(PlainLayer)
        case flatten
        case concat
        case dropout(Double)
        case dropPath(Double)
        case layerNorm(eps: Double)
        case layerScale
    }

    let kind: Kind
    /// The node that owns the parameters.
    let node: Int
    /// Nodes read.
    let inputs: [Int]
    /// The node whose value it yields.
    let tail: Int
}

extension DataFlow {
    /// The live nodes as layers, in an order in which each reads only what those before it yield: that of the graph, but
    /// a projection shortcut comes right after the value that it shares with the block's first convolution.
    func layers() -> [TrainingLayer] {
        let additions = additions(rank: { $0 }) { operand in
            if case .batchNorm = operation(operand) { true } else { false }
        }
        var layers: [(layer: TrainingLayer, order: (Int, Int))] = []
        var isJoined: Set<Int> = []
        for index in live where !isJoined.contains(index) {
            let layer = layer(index, addition: additions[index], joined: &isJoined)
            let order = isProjection(layer, additions) ? (layer.inputs[0], 1) : (layer.tail, 0)
            layers.append((layer, order))
        }
        return layers.sorted { $0.order < $1.order }.map(\.layer)
    }

    private func layer(_ index: Int, addition: Int?, joined: inout Set<Int>) -> TrainingLayer {
        var tail = index
        var inputs = operands(index)
        func join(_ next: Int?) -> Bool {
            guard let next else { return false }
            joined.insert(next)
            tail = next
            return true
        }
        func joinRelu() -> Bool { join(fusableRelu(tail)) }
        let kind: TrainingLayer.Kind
        switch operation(index) {
        case .conv(let spec): kind = .conv(spec, relu: joinRelu())
        case .batchNorm:
            if let addition { inputs.append(operands(addition).first { $0 != index }!) }
            let addsResidual = join(addition)
            kind = .norm(relu: joinRelu(), addsResidual: addsResidual)
        case .linear: kind = .linear(relu: joinRelu())
        case .add: kind = .add(relu: joinRelu())
        case .gate: kind = .gate
        case .channelConv(let kernel): kind = .channelConv(kernel: kernel)
        case .concat: kind = .concat
        case .flatten: kind = .flatten
        case .dropout(let probability): kind = .dropout(probability)
        case .dropPath(let probability): kind = .dropPath(probability)
        case .layerNorm(_, let eps): kind = .layerNorm(eps: eps)
        case .layerScale: kind = .layerScale
        default:
            guard let plain = operation(index).plainLayer else { preconditionFailure("pictures are given") }
            kind = .plain(plain)
        }
        return TrainingLayer(kind: kind, node: index, inputs: inputs, tail: tail)
    }

    /// A convolution whose value, perhaps normalized, is somebody's residual.
    private func isProjection(_ layer: TrainingLayer, _ additions: [Int: Int]) -> Bool {
        guard case .conv = layer.kind, var next = soleReader(layer.tail) else { return false }
        if case .batchNorm = operation(next), additions[next] == nil {
            guard let after = soleReader(next) else { return false }
            next = after
        }
        return additions.values.contains(next)
    }
}
