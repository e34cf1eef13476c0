// First values for every parameter, from a seed. A tensor's values depend on the seed and its own name only, so that two
// models share what they share by name.

import ResNetGraph
import ResNetSupport

/// How convolutions and linear layers start. Batch norms start as the identity (gamma 1, beta 0, mean 0, variance 1).
public enum InitializationScheme: Sendable, Hashable {
    /// torchvision's ResNets: convolutions normal with variance 2 / fan out (He et al., arXiv:1502.01852); linear
    /// layers as in `.torch`.
    case resNet
    /// PyTorch's layers: everything uniform in +-1 / sqrt(fan in), which is what kaiming_uniform with a = sqrt(5) comes to.
    case torch
    /// Keras' layers: weights uniform in +-sqrt(6 / (fan in + fan out)) (Glorot and Bengio, 2010), biases 0.
    case keras
    /// Vision transformers: linear layers normal with a standard deviation of 0.02 and biases 0; convolutions as in `.torch`.
    case transformer
}

extension Model {
    /// A model with first values.
    /// - Parameters:
    ///   - graph: its parameters and buffers get values.
    ///   - seed: the same seed gives the same bits everywhere.
    ///   - scheme: the distributions, by kind of layer.
    ///   - zeroInitResidual: gamma of the last batch norm of every residual block starts at 0, so that each block starts as
    ///     its shortcut (Goyal et al., arXiv:1706.02677).
    public static func initialized(
        _ graph: Graph, seed: UInt64, scheme: InitializationScheme = .resNet, zeroInitResidual: Bool = false
    ) -> Model {
        let zeroed = zeroInitResidual ? graph.lastNormsOfResidualBlocks : []
        var parameters = graph.firstValues(seed: seed, scheme)
        for spec in graph.parameters where spec.role == .normWeight && zeroed.contains(spec.node) {
            parameters[spec.name] = Tensor(shape: spec.shape, repeating: 0)
        }
        return Model(graph: graph, parameters: parameters)
    }
}

extension Graph {
    /// First values of all parameters and buffers but those of `known` keys.
    func firstValues(
        seed: UInt64, _ scheme: InitializationScheme, but known: Set<String> = []
    ) -> [String: Tensor] {
        var values: [String: Tensor] = [:]
        for spec in parameters where !known.contains(spec.name) {
            values[spec.name] = firstValue(of: spec, seed: seed, scheme)
        }
        return values
    }

    private func firstValue(of spec: ParameterSpec, seed: UInt64, _ scheme: InitializationScheme) -> Tensor {
        let random = CounterRandom(seed: seed, name: spec.name)
        func uniform(_ bound: Double) -> Tensor {
            Tensor(
                shape: spec.shape,
                storage: FloatStorage(count: spec.count) {
                    random.fillUniform($0, low: -Float(bound), high: Float(bound))
                })
        }
        func normal(_ std: Double) -> Tensor {
            let storage = FloatStorage(count: spec.count) { random.fillNormal($0, std: Float(std)) }
            return Tensor(shape: spec.shape, storage: storage)
        }
        let fanIn = fanIn(ofNode: spec.node)
        switch spec.role {
        case .layerScale: return Tensor(shape: spec.shape, repeating: 1e-6)
        case .normWeight, .runningVar: return Tensor(shape: spec.shape, repeating: 1)
        case .normBias, .runningMean: return Tensor(shape: spec.shape, repeating: 0)
        case .bias where scheme == .transformer && isLinear(spec.node): return Tensor(shape: spec.shape, repeating: 0)
        case .bias: return scheme == .keras ? Tensor(shape: spec.shape, repeating: 0) : uniform(1 / fanIn.squareRoot())
        case .convWeight, .linearWeight:
            // Of all outputs, grouped or not, as PyTorch counts it.
            let fanOut = Double(spec.shape[0] * spec.shape.dropFirst(2).reduce(1, *))
            switch scheme {
            case .resNet where spec.role == .convWeight: return normal((2 / fanOut).squareRoot())
            case .transformer where isLinear(spec.node): return normal(0.02)
            case .resNet, .torch, .transformer: return uniform(1 / fanIn.squareRoot())
            case .keras: return uniform((6 / (fanIn + fanOut)).squareRoot())
            }
        }
    }

    private func isLinear(_ node: Int) -> Bool {
        switch nodes[node].operation {
        case .conv(let spec): spec.isLinear
        case .linear: true
        default: false
        }
    }

    /// Values that one output sums over.
    private func fanIn(ofNode node: Int) -> Double {
        switch nodes[node].operation {
        case .conv(let c): Double(c.inChannels / c.groups * c.kernel.height * c.kernel.width)
        case .linear(let inFeatures, _, _): Double(inFeatures)
        case .channelConv(let kernel): Double(kernel)
        default: 1
        }
    }

    /// The batch norm that ends the residual branch, which is the first operand of a block's sum: bn2 or bn3.
    var lastNormsOfResidualBlocks: Set<Int> {
        var found: Set<Int> = []
        for node in nodes where node.operation == .add {
            // A gate scales what the norm before it yields.
            var last = node.inputs[0]
            if nodes[last].operation == .gate { last = nodes[last].inputs[0] }
            if case .batchNorm = nodes[last].operation { found.insert(last) }
        }
        return found
    }
}
