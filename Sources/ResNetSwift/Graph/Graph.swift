// The model as data: nodes in definition order, each naming what it reads. Nothing here computes.
//
// Names are PyTorch's: the module path of a node plus "weight", "bias", "running_mean", "running_var" is the key of its
// parameter in a checkpoint. Nodes are appended in execution order, so index order is a topological order.

/// What a node does. Sizes are of one image; the batch is no part of a graph.
public enum Operation: Sendable, Hashable {
    /// A picture of `channels` planes, (N, C, H, W).
    case input(channels: Int)
    /// (N, C, H, W) -> (N, K, OH, OW).
    case conv(ConvSpec)
    /// Affine, with running statistics. `momentum` is PyTorch's: running = (1 - momentum) * running + momentum * batch.
    case batchNorm(channels: Int, eps: Double, momentum: Double)
    /// max(x, 0).
    case relu
    /// 1 / (1 + exp(-x)).
    case sigmoid
    /// x held between two bounds: ReLU6 has 0 and 6.
    case clip(low: Float, high: Float)
    /// Elementwise sum of two inputs of one shape.
    case add
    /// The largest of each window; padding counts as -infinity.
    case maxPool(PoolSpec)
    /// The mean of each window; padding counts as zero, and in the divisor as the windows say.
    case averagePool(PoolSpec)
    /// Each channel blurred with (1, 2, 1) both ways, reflected at the edges, at every `stride`th pixel (arXiv:1904.11486).
    case blurPool(stride: Int)
    /// A frame around the map.
    case pad(PadSpec)
    /// Mean over height and width; (N, C, 1, 1).
    case globalAveragePool
    /// (N, C, H, W) -> (N, C * H * W), channel-major as PyTorch does it.
    case flatten
    /// (N, inFeatures) -> (N, outFeatures), x w^T + b.
    case linear(inFeatures: Int, outFeatures: Int, bias: Bool)
    /// Joins the inputs along the channels.
    case concat
    /// Each channel of the first input, (C, H, W), times its value in the second, (C, 1, 1): squeeze and excitation
    /// (arXiv:1709.01507).
    case gate
    /// Along the channels of (C, 1, 1), one filter `weight` (1, 1, kernel) with zeros beyond both ends: efficient channel
    /// attention (arXiv:1910.03151).
    case channelConv(kernel: Int)
    /// Active in training only.
    case dropout(probability: Double)
    /// Over the channels of each pixel, affine: (x - mean) / sqrt(variance + eps) * weight + bias.
    case layerNorm(channels: Int, eps: Double)
    /// Over the pixels and the channels of each of `groups` equal groups of an image, affine (arXiv:1803.08494).
    case groupNorm(groups: Int, channels: Int, eps: Double)
    /// x times the normal distribution's value at x: the exact form, not that with tanh.
    case gelu
    /// Attention of the pixels of each window, (N, 3 C, H, W) -> (N, C, H, W). The channels are the queries, then the keys,
    /// then the values, each of `heads` equal parts. Windows divide the map.
    case windowAttention(heads: Int, window: Size2)
    /// Attention between the channels of each part over all pixels, shaped as `windowAttention`: the softmax of keys times
    /// values weighs the queries (DaViT, arXiv:2204.03645).
    case channelAttention(heads: Int)
    /// Zeros below and to the right, up to the next multiple of these sizes.
    case padToMultiple(Size2)
    /// The upper left part of the first input, of the height and width of the second.
    case crop
    /// A factor `gamma` for each channel (CaiT, arXiv:2103.17239).
    case layerScale(channels: Int)
    /// Active in training only: leaves out whole images, and scales the others by 1 / (1 - p) (stochastic depth).
    case dropPath(probability: Double)

    package var hasParameters: Bool {
        switch self {
        case .conv, .batchNorm, .linear, .channelConv, .layerNorm, .groupNorm, .layerScale: true
        default: false
        }
    }
}

/// A convolution: torch.nn.Conv2d's parameters and defaults, but for `bias`.
public struct ConvSpec: Sendable, Hashable {
    /// C; a multiple of `groups`.
    public var inChannels: Int
    /// K; a multiple of `groups`.
    public var outChannels: Int
    /// In pixels.
    public var kernel: Size2
    /// Pixels from one window to the next.
    public var stride: Size2
    /// Zeros on every side, in pixels.
    public var padding: Size2
    /// Pixels from one tap to the next.
    public var dilation: Size2
    /// Channels are convolved in so many separate parts.
    public var groups: Int
    /// A parameter `bias` (K) is added; not usual before a batch norm.
    public var bias: Bool
    /// It is torch.nn.Linear over the channels of each pixel: a 1x1 convolution that prints so and whose weight is (K, C).
    public var isLinear = false
    /// Filters are standardized when they are read from a file, each to mean 0 and variance 1 (arXiv:1903.10520). What a model
    /// holds is what it computes with.
    public var isStandardized = false

    /// torch.nn.Linear over the channels of each pixel.
    public static func linear(_ inChannels: Int, _ outChannels: Int, bias: Bool = true) -> ConvSpec {
        var spec = ConvSpec(inChannels, outChannels, kernel: 1, bias: bias)
        spec.isLinear = true
        return spec
    }

    public init(
        _ inChannels: Int, _ outChannels: Int, kernel: Size2, stride: Size2 = 1, padding: Size2 = 0,
        dilation: Size2 = 1, groups: Int = 1, bias: Bool = false
    ) {
        self.inChannels = inChannels
        self.outChannels = outChannels
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        self.bias = bias
    }
}

/// The windows of a pooling layer: torch.nn.MaxPool2d's parameters.
public struct PoolSpec: Sendable, Hashable {
    /// In pixels.
    public var kernel: Size2
    /// Pixels from one window to the next.
    public var stride: Size2
    /// On every side, in pixels; up to half the kernel.
    public var padding: Size2
    /// The output size is rounded up (PyTorch's ceil_mode).
    public var ceilMode: Bool
    /// An average's divisor counts the padding (PyTorch's count_include_pad).
    public var countsPadding: Bool

    public init(
        kernel: Size2, stride: Size2, padding: Size2 = 0, ceilMode: Bool = false, countsPadding: Bool = true
    ) {
        self.countsPadding = countsPadding
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.ceilMode = ceilMode
    }
}

/// A frame around a map, in pixels.
public struct PadSpec: Sendable, Hashable {
    /// Rows above.
    public var top: Int
    /// Columns to the left.
    public var left: Int
    /// Rows below.
    public var bottom: Int
    /// Columns to the right.
    public var right: Int
    /// What it is filled with.
    public var value: Float

    public init(top: Int, left: Int, bottom: Int, right: Int, value: Float = 0) {
        self.top = top
        self.left = left
        self.bottom = bottom
        self.right = right
        self.value = value
    }
}

/// Height and width; an integer literal means both.
public struct Size2: Sendable, Hashable, ExpressibleByIntegerLiteral {
    /// In pixels, or rows.
    public var height: Int
    /// In pixels, or columns.
    public var width: Int

    /// Height, then width.
    public init(_ height: Int, _ width: Int) {
        self.height = height
        self.width = width
    }

    public init(integerLiteral value: Int) { self.init(value, value) }
}

/// A handle to a node while a graph is being written.
public struct Node: Sendable, Hashable {
    /// In `Graph.nodes`.
    public let index: Int

    package init(index: Int) { self.index = index }
}

/// An operation, what it reads and what it is called.
public struct GraphNode: Sendable, Hashable {
    /// Unique in the graph, e.g. `layer1.0.relu_1`.
    public let name: String
    /// The module that owns the parameters and prints in the tree, e.g. `layer1.0.relu`; two nodes may share one. Empty
    /// for what PyTorch writes as a function in `forward`: `x + y`, `torch.cat`, `torch.flatten`.
    public let module: String
    /// What it does.
    public package(set) var operation: Operation
    /// Indices of the nodes it reads; all smaller than its own.
    public let inputs: [Int]
}

/// A network as data: nodes in the order of execution, each naming what it reads. A node's module path plus `weight`,
/// `bias`, `running_mean` or `running_var` is the key of its parameter in a checkpoint. Nothing here computes.
public struct Graph: Sendable, Hashable {
    /// For printing, e.g. `ResNet`.
    public let modelName: String
    /// In the order of execution: a node reads earlier ones only.
    public package(set) var nodes: [GraphNode] = []
    /// Class names of the containers by module path, e.g. `layer1: Sequential`, `layer1.0: BasicBlock`.
    public private(set) var containers: [String: String] = [:]
    /// Container paths in definition order.
    public private(set) var containerOrder: [String] = []
    /// The node whose value is the result, (N, classes), before any sigmoid or softmax.
    public private(set) var logits: Int = -1
    /// The node whose value is the flattened feature vector h, (N, features); nil where a model has none.
    public private(set) var features: Int?
    /// The sigmoid of the logits where a model ends in one. Losses and top-k read the logits.
    public private(set) var probabilities: Int?
    /// Position of a module path among its siblings: the order of definition, which printing follows and which need not
    /// be the order of first use.
    private(set) var definitionOrder: [String: Int] = [:]
    private var nameUses: [String: Int] = [:]

    /// A graph without nodes; `GraphBuilder` is the comfortable way to write one.
    public init(modelName: String) { self.modelName = modelName }

    /// Appends a node. The first use of a module takes its name; later uses become `name_1`, `name_2`...
    @discardableResult
    public mutating func add(_ module: String, _ operation: Operation, _ inputs: Node...) -> Node {
        add(module, operation, inputs)
    }

    /// The same for inputs in an array.
    @discardableResult
    public mutating func add(_ module: String, _ operation: Operation, _ inputs: [Node]) -> Node {
        precondition(
            !operation.hasParameters || nameUses[module] == nil, "two layers with parameters are called \(module)")
        define(module)
        return append(name: module, module: module, operation, inputs)
    }

    /// Appends a node that owns parameters of a container, as PyTorch's modules may: they are called `container.parameter`, and
    /// the node does not print.
    @discardableResult
    public mutating func add(_ name: String, ownedBy container: String, _ operation: Operation, _ inputs: [Node])
        -> Node
    {
        append(name: name, module: container, operation, inputs)
    }

    /// Appends a node that is no module: it has a name, but neither parameters nor a line in the printed tree.
    @discardableResult
    public mutating func apply(_ name: String, _ operation: Operation, _ inputs: [Node]) -> Node {
        append(name: name, module: "", operation, inputs)
    }

    /// Names the class of a container module for the printed tree. `children` fixes the order in which its members print;
    /// those not listed follow in the order of first use, those listed and never used do not print.
    public mutating func container(_ path: String, _ className: String, children: [String] = []) {
        define(path)
        for child in children { define("\(path).\(child)") }
        if containers.updateValue(className, forKey: path) == nil { containerOrder.append(path) }
    }

    /// Says which nodes are the results; a graph is finished with it.
    public mutating func setOutputs(logits: Node, features: Node?, probabilities: Node? = nil) {
        self.logits = logits.index
        self.features = features?.index
        self.probabilities = probabilities?.index
    }

    /// The part of the graph that `node` depends on, without outputs, and the node in it.
    package func prefix(through node: Int) -> (graph: Graph, end: Node) {
        var needed: Set<Int> = [node]
        for index in stride(from: node, through: 0, by: -1) where needed.contains(index) {
            needed.formUnion(nodes[index].inputs)
        }
        var part = Graph(modelName: modelName)
        var moved: [Int: Int] = [:]
        for index in needed.sorted() {
            let old = nodes[index]
            moved[index] = part.nodes.count
            part.nameUses[old.name] = 1
            part.nodes.append(
                GraphNode(
                    name: old.name, module: old.module, operation: old.operation,
                    inputs: old.inputs.map { moved[$0]! }))
        }
        part.containers = containers.filter { path, _ in
            part.nodes.contains { $0.module.hasPrefix(path + ".") }
        }
        part.containerOrder = containerOrder.filter { part.containers[$0] != nil }
        // Positions keep their order; paths that are gone count as never defined.
        let members = Set(part.nodes.map(\.module)).union(part.containers.keys)
        let kept = definitionOrder.filter { members.contains($0.key) }.sorted { $0.value < $1.value }
        for (path, _) in kept { part.define(path) }
        return (part, Node(index: part.nodes.count - 1))
    }

    /// Equal graphs compute the same under the same names; in which order their modules print does not count.
    public static func == (a: Graph, b: Graph) -> Bool {
        a.modelName == b.modelName && a.nodes == b.nodes && a.containers == b.containers && a.logits == b.logits
            && a.features == b.features && a.probabilities == b.probabilities
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(modelName)
        hasher.combine(nodes)
    }

    private mutating func define(_ path: String) {
        if definitionOrder[path] == nil { definitionOrder[path] = definitionOrder.count }
    }

    private mutating func append(name wanted: String, module: String, _ operation: Operation, _ inputs: [Node]) -> Node
    {
        for input in inputs {
            precondition(nodes.indices.contains(input.index), "node \(wanted) reads a node of another graph")
        }
        var name = wanted
        var uses = nameUses[wanted] ?? 0
        while nameUses[name] != nil {
            name = "\(wanted)_\(uses)"
            uses += 1
        }
        if name != wanted { nameUses[wanted] = uses }
        nameUses[name] = 1
        nodes.append(GraphNode(name: name, module: module, operation: operation, inputs: inputs.map(\.index)))
        return Node(index: nodes.count - 1)
    }
}
