// What a graph must be given before it can run: the parameters and buffers by checkpoint key.

/// What a parameter is to its layer.
public enum ParameterRole: Sendable, Hashable {
    /// What the gradient is taken of, in convolutions and linear layers.
    case convWeight, linearWeight, bias
    /// A norm's gamma, beta, and the statistics a batch norm has gathered.
    case normWeight, normBias, runningMean, runningVar
    /// The factors of a layer scale.
    case layerScale

    /// Running statistics are buffers: they are saved, but no gradient changes them.
    public var isBuffer: Bool { self == .runningMean || self == .runningVar }
}

/// A parameter or buffer as a graph asks for it.
public struct ParameterSpec: Sendable, Hashable {
    /// The checkpoint key, e.g. `layer3.0.downsample.0.weight`.
    public let name: String
    /// OIHW for convolutions (I per group), (out, in) for linear layers, (C) otherwise.
    public let shape: [Int]
    /// What it is to its layer.
    public let role: ParameterRole
    /// Index of the node that uses it.
    public let node: Int

    /// Values.
    public var count: Int { shape.reduce(1, *) }
}

extension Graph {
    /// Parameters and buffers in definition order.
    public var parameters: [ParameterSpec] { nodes.indices.flatMap(parameters(of:)) }

    /// Parameters and buffers of one node, by its index.
    public func parameters(of index: Int) -> [ParameterSpec] {
        let node = nodes[index]
        func spec(_ key: String, _ shape: [Int], _ role: ParameterRole) -> ParameterSpec {
            ParameterSpec(name: "\(node.module).\(key)", shape: shape, role: role, node: index)
        }
        switch node.operation {
        case .conv(let c):
            let kernel = c.isLinear ? [] : [c.kernel.height, c.kernel.width]
            let shape = [c.outChannels, c.inChannels / c.groups] + kernel
            return [spec("weight", shape, .convWeight)] + (c.bias ? [spec("bias", [c.outChannels], .bias)] : [])
        case .batchNorm(let channels, _, _):
            return [
                spec("weight", [channels], .normWeight), spec("bias", [channels], .normBias),
                spec("running_mean", [channels], .runningMean), spec("running_var", [channels], .runningVar),
            ]
        case .layerNorm(let channels, _), .groupNorm(_, let channels, _):
            return [spec("weight", [channels], .normWeight), spec("bias", [channels], .normBias)]
        case .layerScale(let channels): return [spec("gamma", [channels], .layerScale)]
        case .linear(let input, let output, let bias):
            return [spec("weight", [output, input], .linearWeight)] + (bias ? [spec("bias", [output], .bias)] : [])
        case .channelConv(let kernel): return [spec("weight", [1, 1, kernel], .convWeight)]
        default:
            return []
        }
    }
}

extension Graph {
    /// Trainable values, buffers not counted: PyTorch's `sum(p.numel() for p in model.parameters())`.
    public var parameterCount: Int { parameters.filter { !$0.role.isBuffer }.reduce(0) { $0 + $1.count } }
}

/// A graph with a value for every parameter and buffer.
public struct Model: Sendable {
    /// The network.
    public let graph: Graph
    /// Every key of `graph.parameters`, with exactly that shape.
    public private(set) var parameters: [String: Tensor]
    /// Keys that training leaves alone.
    public var frozen: Set<String> = []
    /// What to do with a picture before the network sees it, class names and the like; travels with a checkpoint.
    public var metadata: [String: String] = [:]
    /// Which convolutions compute in 8 bits; nil: none. Changing a parameter takes it away.
    public var quantization: Quantization?

    /// A network with values for all its parameters and buffers.
    /// - Precondition: `parameters` has every key of the graph with its shape, and no other.
    public init(graph: Graph, parameters: [String: Tensor]) {
        let specs = graph.parameters
        precondition(specs.count == parameters.count, "a model needs \(specs.count) tensors, not \(parameters.count)")
        for spec in specs {
            precondition(
                parameters[spec.name]?.shape == spec.shape,
                "\(spec.name) must be \(spec.shape), not \(String(describing: parameters[spec.name]?.shape))")
        }
        self.graph = graph
        self.parameters = parameters
    }

    /// The value of a parameter or buffer, by its key.
    /// - Precondition: the key exists and the shape is equal.
    public subscript(name: String) -> Tensor {
        get {
            guard let tensor = parameters[name] else { preconditionFailure("the model has no parameter \(name)") }
            return tensor
        }
        set {
            precondition(parameters[name]?.shape == newValue.shape, "\(name): another shape: \(newValue.shape)")
            parameters[name] = newValue
            quantization = nil
        }
    }

    /// Trainable values, buffers not counted: PyTorch's `sum(p.numel() for p in model.parameters())`.
    public var parameterCount: Int { graph.parameterCount }
}
