// The pen for the whiteboard: writes nodes one after another and remembers how many channels each yields, so that a layer
// is told only what it makes.

import ResNetGraph

/// Writes a graph node by node, and remembers how many channels each yields. Every method takes the node it reads and
/// the module path, and returns the node it wrote.
public struct GraphBuilder: Sendable {
    /// What is written so far.
    public private(set) var graph: Graph
    /// Channels that each node yields; for a flat vector its features, if they are known without a picture size.
    private var channels: [Int]

    /// Begins a graph of that model name.
    public init(_ modelName: String) {
        graph = Graph(modelName: modelName)
        channels = []
    }

    /// Continues a graph, e.g. with another head.
    init(continuing graph: Graph) {
        self.graph = graph
        channels = []
        for node in graph.nodes { channels.append(yield(of: node.operation, node.inputs.map { channels[$0] })) }
    }

    /// Channels of a map; features of a flat vector.
    public func channelCount(of node: Node) -> Int { channels[node.index] }

    private func yield(of operation: Operation, _ inputs: [Int]) -> Int {
        switch operation {
        case .input(let channels): channels
        case .conv(let spec): spec.outChannels
        case .linear(_, let outFeatures, _): outFeatures
        case .concat: inputs.reduce(0, +)
        case .windowAttention, .channelAttention: inputs[0] / 3
        default: inputs[0]
        }
    }

    private mutating func record(_ node: Node) -> Node {
        let written = graph.nodes[node.index]
        channels.append(yield(of: written.operation, written.inputs.map { channels[$0] }))
        return node
    }

    // MARK: modules

    /// The picture, (N, channels, H, W).
    public mutating func input(channels: Int) -> Node {
        precondition(channels > 0, "a picture has at least one channel, not \(channels)")
        return record(graph.apply("input", .input(channels: channels), []))
    }

    /// A convolution from as many channels as `x` has to `outChannels`.
    public mutating func conv(
        _ x: Node, _ name: String, _ outChannels: Int, kernel: Size2, stride: Size2 = 1, padding: Size2 = 0,
        groups: Int = 1, bias: Bool = false, isStandardized: Bool = false
    ) -> Node {
        var spec = ConvSpec(
            channelCount(of: x), outChannels, kernel: kernel, stride: stride, padding: padding, groups: groups,
            bias: bias)
        spec.isStandardized = isStandardized
        return record(graph.add(name, .conv(spec), x))
    }

    /// Along the channels of (N, C, 1, 1), zeros beyond both ends; `kernel` is odd.
    public mutating func channelConv(_ x: Node, _ name: String, kernel: Int) -> Node {
        record(graph.add(name, .channelConv(kernel: kernel), x))
    }

    /// PyTorch's defaults: eps 1e-5, momentum 0.1.
    public mutating func batchNorm(_ x: Node, _ name: String) -> Node {
        record(graph.add(name, .batchNorm(channels: channelCount(of: x), eps: 1e-5, momentum: 0.1), x))
    }

    /// max(x, 0).
    public mutating func relu(_ x: Node, _ name: String) -> Node { record(graph.add(name, .relu, x)) }

    /// 1 / (1 + exp(-x)).
    public mutating func sigmoid(_ x: Node, _ name: String) -> Node { record(graph.add(name, .sigmoid, x)) }

    /// The largest of each window.
    public mutating func maxPool(
        _ x: Node, _ name: String, kernel: Size2, stride: Size2, padding: Size2 = 0, ceilMode: Bool = false
    ) -> Node {
        let spec = PoolSpec(kernel: kernel, stride: stride, padding: padding, ceilMode: ceilMode)
        return record(graph.add(name, .maxPool(spec), x))
    }

    /// The mean of each window; a window that hangs over the end in ceil mode counts only what is there.
    public mutating func averagePool(
        _ x: Node, _ name: String, kernel: Size2, stride: Size2, padding: Size2 = 0, ceilMode: Bool = false
    ) -> Node {
        let spec = PoolSpec(kernel: kernel, stride: stride, padding: padding, ceilMode: ceilMode)
        return record(graph.add(name, .averagePool(spec), x))
    }

    /// Each channel blurred with (1, 2, 1) both ways, at every `stride`th pixel.
    public mutating func blurPool(_ x: Node, _ name: String, stride: Int) -> Node {
        record(graph.add(name, .blurPool(stride: stride), x))
    }

    /// A frame around the map.
    public mutating func pad(_ x: Node, _ name: String, _ spec: PadSpec) -> Node {
        record(graph.add(name, .pad(spec), x))
    }

    /// The mean of every channel: (N, C, 1, 1).
    public mutating func globalAveragePool(_ x: Node, _ name: String) -> Node {
        record(graph.add(name, .globalAveragePool, x))
    }

    /// Zeroes values with that probability and scales the others by 1 / (1 - p); in training only.
    public mutating func dropout(_ x: Node, _ name: String, _ probability: Double) -> Node {
        record(graph.add(name, .dropout(probability: probability), x))
    }

    /// nn.Flatten, which prints.
    public mutating func flattenModule(_ x: Node, _ name: String) -> Node { record(graph.add(name, .flatten, x)) }

    /// `inFeatures` is needed after flattening planes larger than 1x1, whose size depends on the picture.
    public mutating func linear(
        _ x: Node, _ name: String, _ outFeatures: Int, inFeatures: Int? = nil, bias: Bool = true
    ) -> Node {
        let operation = Operation.linear(
            inFeatures: inFeatures ?? channelCount(of: x), outFeatures: outFeatures, bias: bias)
        return record(graph.add(name, operation, x))
    }

    /// torch.nn.Linear over the channels of each pixel of a map.
    public mutating func pixelLinear(_ x: Node, _ name: String, _ outChannels: Int, bias: Bool = true) -> Node {
        record(graph.add(name, .conv(.linear(channelCount(of: x), outChannels, bias: bias)), x))
    }

    /// A convolution of each channel by itself, padded to keep the size, with a bias.
    public mutating func depthwise(_ x: Node, _ name: String, kernel: Int) -> Node {
        let channels = channelCount(of: x)
        return conv(
            x, name, channels, kernel: Size2(kernel, kernel), padding: Size2(kernel / 2, kernel / 2), groups: channels,
            bias: true)
    }

    /// Over the channels of each pixel.
    public mutating func layerNorm(_ x: Node, _ name: String, eps: Double = 1e-5) -> Node {
        record(graph.add(name, .layerNorm(channels: channelCount(of: x), eps: eps), x))
    }

    /// Over the pixels and channels of each group of an image.
    public mutating func groupNorm(_ x: Node, _ name: String, groups: Int, eps: Double = 1e-5) -> Node {
        record(graph.add(name, .groupNorm(groups: groups, channels: channelCount(of: x), eps: eps), x))
    }

    /// A group norm of so many groups, or a batch norm.
    mutating func norm(_ x: Node, _ name: String, groups: Int?) -> Node {
        groups.map { groupNorm(x, name, groups: $0) } ?? batchNorm(x, name)
    }

    /// x times the normal distribution's value at x.
    public mutating func gelu(_ x: Node, _ name: String) -> Node { record(graph.add(name, .gelu, x)) }

    /// timm's Mlp, for each pixel: fc2(GELU(fc1(x))), with four times the channels between them.
    mutating func mlp(_ x: Node, _ name: String) -> Node {
        let channels = channelCount(of: x)
        let inner = pixelLinear(x, "\(name).fc1", 4 * channels)
        return pixelLinear(gelu(inner, "\(name).act"), "\(name).fc2", channels)
    }

    /// Attention of the pixels of each window; `qkv` has three times the channels of the result, and whole windows.
    public mutating func windowAttention(_ qkv: Node, _ name: String, heads: Int, window: Size2) -> Node {
        record(graph.apply(name, .windowAttention(heads: heads, window: window), [qkv]))
    }

    /// Attention between the channels of each head; `qkv` has three times the channels of the result.
    public mutating func channelAttention(_ qkv: Node, _ name: String, heads: Int) -> Node {
        record(graph.apply(name, .channelAttention(heads: heads), [qkv]))
    }

    /// Leaves out whole images with that probability and scales the others by 1 / (1 - p); in training only.
    public mutating func dropPath(_ x: Node, _ name: String, _ probability: Double) -> Node {
        record(graph.add(name, .dropPath(probability: probability), x))
    }

    // MARK: functions

    /// Zeros below and to the right, up to a multiple of `size`.
    public mutating func padToMultiple(_ x: Node, of size: Size2, _ name: String) -> Node {
        record(graph.apply(name, .padToMultiple(size), [x]))
    }

    /// The upper left part of `x`, as large as `other`.
    public mutating func crop(_ x: Node, like other: Node, _ name: String) -> Node {
        record(graph.apply(name, .crop, [x, other]))
    }

    /// A factor for each channel, the parameter `module.gamma`.
    public mutating func layerScale(_ x: Node, _ module: String) -> Node {
        let operation = Operation.layerScale(channels: channelCount(of: x))
        return record(graph.add("\(module).gamma", ownedBy: module, operation, [x]))
    }

    /// x + shortcut, of one shape: a function, not a module, so that it does not print.
    public mutating func add(_ x: Node, _ shortcut: Node, _ name: String) -> Node {
        record(graph.apply(name, .add, [x, shortcut]))
    }

    /// Each channel of `x` times its factor, (N, C, 1, 1); does not print.
    public mutating func gate(_ x: Node, by factors: Node, _ name: String) -> Node {
        record(graph.apply(name, .gate, [x, factors]))
    }

    /// All parts along the channels, one after the other; does not print.
    public mutating func concat(_ parts: [Node], _ name: String) -> Node { record(graph.apply(name, .concat, parts)) }

    /// torch.flatten(x, 1), which does not print.
    public mutating func flatten(_ x: Node, _ name: String = "flatten") -> Node {
        record(graph.apply(name, .flatten, [x]))
    }

    // MARK: structure

    /// Names the class of a container; `children` fixes the order in which its members print.
    public mutating func container(_ path: String, _ className: String, children: [String] = []) {
        graph.container(path, className, children: children)
    }

    /// The finished graph. Mutating so that `self` is read after the arguments: they may still write nodes.
    public mutating func finish(logits: Node, features: Node?, probabilities: Node? = nil) -> Graph {
        graph.setOutputs(logits: logits, features: features, probabilities: probabilities)
        return graph
    }
}
