// Graph -> layers: which nodes become one operation with one backward pass.
//
//     conv [-> relu]      batchNorm [-> add] [-> relu]      add [-> relu]      linear [-> relu]      others by themselves
//
// A node joins the one before it only if nobody else reads what lies between. An addition belongs to the batch norm that
// comes last before it; the other operand is its residual. A batch norm stays apart from its convolution here, as its
// statistics need the whole batch.

import ResNetGraph

struct TrainingLayer: Sendable {
    enum Kind: Sendable, Hashable {
        case conv(ConvSpec, relu: Bool)
        /// The residual is the last input.
        case norm(relu: Bool, addsResidual: Bool)
        case linear(relu: Bool)
        case add(relu: Bool)
        case relu, sigmoid
        case maxPool(PoolSpec)
        case averagePool(PoolSpec)
        case globalAveragePool
        case flatten
        case concat
        case dropout(Double)
    }

    let kind: Kind
    /// The node that owns the parameters.
    let node: Int
    /// Nodes read.
    let inputs: [Int]
    /// The node whose value it yields.
    let tail: Int
}

extension TrainingScope {
    /// The live nodes as layers, in an order in which each reads only what those before it yield: that of the graph, but
    /// a projection shortcut comes right after the value that it shares with the block's first convolution.
    func layers() -> [TrainingLayer] {
        let additions = additionsByNorm()
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
        let node = graph.nodes[index]
        var tail = index
        var inputs = node.inputs
        func join(_ next: Int) {
            joined.insert(next)
            tail = next
        }
        func joinRelu() -> Bool {
            guard let next = soleReader(tail), graph.nodes[next].operation == .relu else { return false }
            join(next)
            return true
        }
        let kind: TrainingLayer.Kind
        switch node.operation {
        case .conv(let spec): kind = .conv(spec, relu: joinRelu())
        case .batchNorm:
            if let addition {
                inputs.append(graph.nodes[addition].inputs.first { $0 != index }!)
                join(addition)
            }
            kind = .norm(relu: joinRelu(), addsResidual: addition != nil)
        case .linear: kind = .linear(relu: joinRelu())
        case .add: kind = .add(relu: joinRelu())
        case .relu: kind = .relu
        case .sigmoid: kind = .sigmoid
        case .maxPool(let spec): kind = .maxPool(spec)
        case .averagePool(let spec): kind = .averagePool(spec)
        case .globalAveragePool: kind = .globalAveragePool
        case .flatten: kind = .flatten
        case .concat: kind = .concat
        case .dropout(let probability): kind = .dropout(probability)
        case .input: preconditionFailure("pictures are given, not computed")
        }
        return TrainingLayer(kind: kind, node: index, inputs: inputs, tail: tail)
    }

    /// By batch norm: the addition that it computes.
    private func additionsByNorm() -> [Int: Int] {
        var additions: [Int: Int] = [:]
        for index in live where graph.nodes[index].operation == .add {
            let candidates = graph.nodes[index].inputs.filter { operand in
                guard soleReader(operand) == index, live.contains(operand) else { return false }
                if case .batchNorm = graph.nodes[operand].operation { return true }
                return false
            }
            if let last = candidates.max() { additions[last] = index }
        }
        return additions
    }

    /// A convolution whose value, perhaps normalized, is somebody's residual.
    private func isProjection(_ layer: TrainingLayer, _ additions: [Int: Int]) -> Bool {
        guard case .conv = layer.kind, var next = soleReader(layer.tail) else { return false }
        if case .batchNorm = graph.nodes[next].operation, additions[next] == nil {
            guard let after = soleReader(next) else { return false }
            next = after
        }
        return additions.values.contains(next)
    }
}
