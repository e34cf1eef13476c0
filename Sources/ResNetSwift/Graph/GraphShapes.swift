// What every node of a graph gives for one picture of a given size, and the first thing that does not fit. Shapes are
// derived, never stored in the graph.
//
// Sizes of convolution and pooling are PyTorch's (torch.nn.Conv2d, torch.nn.MaxPool2d):
//     out = (in + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded down, or up in ceil mode.

/// The size of one picture or feature map, (C, H, W).
public struct ImageShape: Sendable, Hashable {
    /// C.
    public var channels: Int
    /// H, in pixels.
    public var height: Int
    /// W, in pixels.
    public var width: Int

    public init(channels: Int, height: Int, width: Int) {
        self.channels = channels
        self.height = height
        self.width = width
    }

    /// C * H * W.
    public var count: Int { channels * height * width }
}

/// What a node gives for one image; the batch comes in front.
public enum NodeShape: Sendable, Hashable {
    /// (C, H, W)
    case map(ImageShape)
    /// (features)
    case vector(Int)

    /// Values of one image.
    public var count: Int {
        switch self {
        case .map(let shape): shape.count
        case .vector(let features): features
        }
    }
}

extension NodeShape: CustomStringConvertible {
    /// `64x56x56` for a map, `512` for a vector.
    public var description: String {
        switch self {
        case .map(let shape): "\(shape.channels)x\(shape.height)x\(shape.width)"
        case .vector(let features): "\(features)"
        }
    }
}

extension Graph {
    /// Channels of the pictures that the network takes; nil for a graph without an input.
    public var inputChannels: Int? {
        for node in nodes { if case .input(let channels) = node.operation { return channels } }
        return nil
    }

    /// The shape of every node's value, by node index, for one picture of the network's own channels. Any size is
    /// accepted that every layer can take.
    /// - Throws: `GraphError` for the first node that cannot take what it is given.
    public func shapes(input: Size2) throws(GraphError) -> [NodeShape] {
        guard let channels = inputChannels else {
            throw GraphError(node: modelName, expected: "an input node", found: "none")
        }
        return try shapes(input: ImageShape(channels: channels, height: input.height, width: input.width))
    }

    /// The shape of every node's value, by node index, for one picture of shape `input`.
    /// - Throws: `GraphError` for the first node that cannot take what it is given.
    public func shapes(input: ImageShape) throws(GraphError) -> [NodeShape] {
        var shapes: [NodeShape] = []
        shapes.reserveCapacity(nodes.count)
        for index in nodes.indices { shapes.append(try shape(of: index, after: shapes, input: input)) }
        return shapes
    }

    /// The shape of one node's value, given those of all nodes before it.
    package func shape(of index: Int, after shapes: [NodeShape], input: ImageShape) throws(GraphError) -> NodeShape {
        let node = nodes[index]
        return try ShapeInference(node: node, inputs: node.inputs.map { shapes[$0] }, image: input).shape()
    }

    /// Checks that the graph can run on pictures of this size: every shape fits and the outputs are set.
    /// - Throws: `GraphError` for the first node that cannot take what it is given.
    public func validate(input: Size2) throws(GraphError) {
        _ = try shapes(input: input)
        guard nodes.indices.contains(logits) else {
            throw GraphError(node: modelName, expected: "a node for the logits", found: "none")
        }
    }

    /// Multiplications with accumulation for one picture, by node index: convolutions, linear layers and attention; the rest is 0.
    public func macs(shapes: [NodeShape]) -> [Int] {
        nodes.indices.map { index in
            switch nodes[index].operation {
            case .conv(let c): shapes[index].count * (c.inChannels / c.groups) * c.kernel.height * c.kernel.width
            case .linear(let inFeatures, let outFeatures, _): inFeatures * outFeatures
            case .channelConv(let kernel): shapes[index].count * kernel
            // Two products each: of queries and keys, and of that with the values.
            case .windowAttention(_, let window): 2 * shapes[index].count * window.height * window.width
            case .channelAttention(let heads):
                if case .map(let map) = shapes[index] { 2 * map.count * (map.channels / heads) } else { 0 }
            default: 0
            }
        }
    }
}

/// Pictures with longer sides are a mistake, and their counts would not fit into an integer.
private let longestSide = 1 << 20

/// The shape of one node, given those of its inputs.
private struct ShapeInference {
    let node: GraphNode
    let inputs: [NodeShape]
    let image: ImageShape

    func shape() throws(GraphError) -> NodeShape {
        switch node.operation {
        case .input(let channels):
            guard channels == image.channels else { throw misfit("\(channels) channels", "\(image.channels)") }
            guard channels > 0, 1...longestSide ~= image.height, 1...longestSide ~= image.width else {
                throw misfit("a picture of 1x1x1 up to \(longestSide) a side", "\(NodeShape.map(image))")
            }
            return .map(image)
        case .conv(let spec): return try convolved(spec)
        case .maxPool(let spec), .averagePool(let spec): return try pooled(spec)
        case .batchNorm(let channels, _, _):
            if case .vector(let features) = try operand() {
                guard features == channels else { throw misfit("\(channels) features", "\(features)") }
                return .vector(features)
            }
            return .map(try map(channels: channels))
        case .clip(let low, let high):
            guard low <= high else { throw misfit("a lower bound below the upper one", "\(low) to \(high)") }
            return try operand()
        case .blurPool(let stride):
            let source = try map()
            guard stride > 0, source.height > 1, source.width > 1 else {
                throw misfit("a map of at least 2x2 and a positive stride", "\(inputs[0]), stride \(stride)")
            }
            return .map(
                ImageShape(
                    channels: source.channels, height: (source.height - 1) / stride + 1,
                    width: (source.width - 1) / stride + 1))
        case .pad(let spec):
            let source = try map()
            guard [spec.top, spec.left, spec.bottom, spec.right].allSatisfy({ 0...longestSide ~= $0 }) else {
                throw misfit("a frame of 0 to \(longestSide) pixels", "\(spec)")
            }
            return .map(
                ImageShape(
                    channels: source.channels, height: source.height + spec.top + spec.bottom,
                    width: source.width + spec.left + spec.right))
        case .groupNorm(let groups, let channels, _):
            guard groups > 0, channels % groups == 0 else {
                throw misfit("groups that divide \(channels) channels", "\(groups)")
            }
            return .map(try map(channels: channels))
        case .layerNorm(let channels, _), .layerScale(let channels): return .map(try map(channels: channels))
        case .windowAttention(let heads, let window): return .map(try attended(heads, window))
        case .channelAttention(let heads): return .map(try attended(heads, nil))
        case .padToMultiple(let size):
            guard size.isPositive else { throw misfit("positive sizes", "\(size)") }
            let map = try map()
            return .map(
                ImageShape(
                    channels: map.channels, height: (map.height + size.height - 1) / size.height * size.height,
                    width: (map.width + size.width - 1) / size.width * size.width))
        case .crop: return .map(try cropped())
        case .relu, .sigmoid, .gelu: return try operand()
        case .dropout(let probability), .dropPath(let probability):
            guard probability >= 0, probability < 1 else { throw misfit("a probability in 0..<1", "\(probability)") }
            return try operand()
        case .add:
            guard inputs.count == 2 else { throw misfit("2 inputs", "\(inputs.count)") }
            guard inputs[0] == inputs[1] else { throw misfit("two equal shapes", "\(inputs[0]) and \(inputs[1])") }
            return inputs[0]
        case .gate:
            guard inputs.count == 2 else { throw misfit("2 inputs", "\(inputs.count)") }
            guard case .map(let map) = inputs[0] else { throw misfit("a map (C, H, W)", "a vector of \(inputs[0])") }
            let factors = NodeShape.map(ImageShape(channels: map.channels, height: 1, width: 1))
            guard inputs[1] == factors else { throw misfit("a factor a channel, \(factors)", "\(inputs[1])") }
            return inputs[0]
        case .channelConv(let kernel):
            let source = try map()
            guard source.height == 1, source.width == 1 else { throw misfit("channels alone, Cx1x1", "\(inputs[0])") }
            guard kernel > 0, kernel % 2 == 1 else { throw misfit("an odd number of taps", "\(kernel)") }
            return inputs[0]
        case .globalAveragePool: return .map(ImageShape(channels: try map().channels, height: 1, width: 1))
        case .flatten: return .vector(try operand().count)
        case .linear(let inFeatures, let outFeatures, _):
            guard case .vector(let features) = try operand() else {
                throw misfit("a vector (flatten the map first)", "\(inputs[0])")
            }
            guard features == inFeatures else {
                throw misfit("\(inFeatures) features", "\(features), perhaps of another picture size")
            }
            guard outFeatures > 0 else { throw misfit("at least 1 output", "\(outFeatures)") }
            return .vector(outFeatures)
        case .concat: return try joined()
        }
    }

    private func misfit(_ expected: String, _ found: String) -> GraphError {
        GraphError(node: node.name, expected: expected, found: found)
    }

    private func operand() throws(GraphError) -> NodeShape {
        guard inputs.count == 1 else { throw misfit("1 input", "\(inputs.count)") }
        return inputs[0]
    }

    private func map() throws(GraphError) -> ImageShape {
        guard case .map(let shape) = try operand() else {
            throw misfit("a map (C, H, W)", "a vector of \(inputs[0])")
        }
        return shape
    }

    private func map(channels: Int) throws(GraphError) -> ImageShape {
        let shape = try map()
        guard shape.channels == channels else { throw misfit("\(channels) channels", "\(shape.channels)") }
        return shape
    }

    /// Kernels read and write whole channel blocks, of at most 16 channels.
    private func attended(_ heads: Int, _ window: Size2?) throws(GraphError) -> ImageShape {
        var shape = try map()
        guard heads > 0, shape.channels % 3 == 0, shape.channels / 3 % heads == 0, shape.channels / 3 / heads % 16 == 0
        else {
            throw misfit(
                "queries, keys and values of \(heads) heads, of a multiple of 16 channels each",
                "\(shape.channels) channels")
        }
        if let window {
            guard window.isPositive, shape.height % window.height == 0, shape.width % window.width == 0 else {
                throw misfit("a map of whole windows of \(window)", "\(Size2(shape.height, shape.width))")
            }
        }
        shape.channels /= 3
        return shape
    }

    private func cropped() throws(GraphError) -> ImageShape {
        guard inputs.count == 2, case .map(let source) = inputs[0], case .map(let wanted) = inputs[1],
            wanted.height <= source.height, wanted.width <= source.width
        else { throw misfit("a map, and one that is no larger", "\(inputs)") }
        return ImageShape(channels: source.channels, height: wanted.height, width: wanted.width)
    }

    private func convolved(_ spec: ConvSpec) throws(GraphError) -> NodeShape {
        guard spec.groups > 0, spec.inChannels % spec.groups == 0, spec.outChannels % spec.groups == 0 else {
            throw misfit("channels in \(spec.groups) equal groups", "\(spec.inChannels) in, \(spec.outChannels) out")
        }
        guard spec.outChannels > 0, spec.kernel.isPositive, spec.stride.isPositive, spec.dilation.isPositive,
            spec.padding.height >= 0, spec.padding.width >= 0
        else { throw misfit("positive sizes", "\(spec)") }
        let source = try map(channels: spec.inChannels)
        let reach = Size2(
            spec.dilation.height * (spec.kernel.height - 1) + 1, spec.dilation.width * (spec.kernel.width - 1) + 1)
        return try slide(over: source, to: spec.outChannels, reach, spec.stride, spec.padding, ceilMode: false)
    }

    private func pooled(_ spec: PoolSpec) throws(GraphError) -> NodeShape {
        guard spec.kernel.isPositive, spec.stride.isPositive, spec.padding.height >= 0, spec.padding.width >= 0,
            2 * spec.padding.height <= spec.kernel.height, 2 * spec.padding.width <= spec.kernel.width
        else { throw misfit("positive sizes and padding of at most half the kernel", "\(spec)") }
        let source = try map()
        return try slide(
            over: source, to: source.channels, spec.kernel, spec.stride, spec.padding, ceilMode: spec.ceilMode)
    }

    private func slide(
        over source: ImageShape, to channels: Int, _ reach: Size2, _ stride: Size2, _ padding: Size2, ceilMode: Bool
    ) throws(GraphError) -> NodeShape {
        guard
            let height = windows(source.height, reach.height, stride.height, padding.height, ceilMode),
            let width = windows(source.width, reach.width, stride.width, padding.width, ceilMode)
        else {
            let least = Size2(max(1, reach.height - 2 * padding.height), max(1, reach.width - 2 * padding.width))
            throw misfit(
                "a map of at least \(least)", "\(Size2(source.height, source.width)): the picture is too small")
        }
        return .map(ImageShape(channels: channels, height: height, width: width))
    }

    private func joined() throws(GraphError) -> NodeShape {
        guard case .map(var joined)? = inputs.first else { throw misfit("maps to join", "\(inputs)") }
        for input in inputs.dropFirst() {
            guard case .map(let part) = input, part.height == joined.height, part.width == joined.width else {
                throw misfit("maps of \(Size2(joined.height, joined.width))", "\(input)")
            }
            joined.channels += part.channels
        }
        return .map(joined)
    }
}

/// Positions of a window along one axis; nil if it does not fit once. In ceil mode the last window may hang over the end,
/// but must start inside the map or its left padding (PyTorch's rule).
private func windows(_ size: Int, _ reach: Int, _ stride: Int, _ padding: Int, _ ceilMode: Bool) -> Int? {
    let room = size + 2 * padding - reach
    guard room >= 0 else { return nil }
    guard ceilMode else { return room / stride + 1 }
    let count = (room + stride - 1) / stride + 1
    return (count - 1) * stride >= size + padding ? count - 1 : count
}

extension Size2: CustomStringConvertible {
    public var description: String { "\(height)x\(width)" }

    var isPositive: Bool { height > 0 && width > 0 }
}

extension ConvSpec: CustomStringConvertible {
    public var description: String {
        "\(inChannels) to \(outChannels) channels, kernel \(kernel), stride \(stride), padding \(padding), "
            + "dilation \(dilation), groups \(groups)"
    }
}

extension PoolSpec: CustomStringConvertible {
    public var description: String { "kernel \(kernel), stride \(stride), padding \(padding)" }
}
