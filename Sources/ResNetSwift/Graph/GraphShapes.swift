// What every node of a graph gives for one picture of a given size: shapes are derived, never stored in the graph.

/// The size of one picture or feature map, (C, H, W).
public struct ImageShape: Sendable, Hashable {
    public var channels: Int
    public var height: Int
    public var width: Int

    public init(channels: Int, height: Int, width: Int) {
        self.channels = channels
        self.height = height
        self.width = width
    }

    public var count: Int { channels * height * width }
}

/// What a node gives for one image; the batch comes in front.
public enum NodeShape: Sendable, Hashable {
    /// (C, H, W)
    case map(ImageShape)
    /// (features)
    case vector(Int)

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

/// A graph that cannot run on pictures of this size.
public struct ShapeError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The node that does not fit.
    public let node: String
    public let reason: String

    public init(node: String, reason: String) {
        self.node = node
        self.reason = reason
    }

    public var description: String { "\(node): \(reason)" }
}

extension Graph {
    /// The shape of every node's value, by node index, for one picture of shape `input`.
    public func shapes(input: ImageShape) throws(ShapeError) -> [NodeShape] {
        var shapes: [NodeShape] = []
        shapes.reserveCapacity(nodes.count)
        for node in nodes {
            shapes.append(try shape(of: node, inputs: node.inputs.map { shapes[$0] }, image: input))
        }
        return shapes
    }

    private func shape(
        of node: GraphNode, inputs: [NodeShape], image: ImageShape
    ) throws(ShapeError) -> NodeShape {
        func fail(_ reason: String) -> ShapeError { ShapeError(node: node.name, reason: reason) }
        func operand() throws(ShapeError) -> NodeShape {
            guard inputs.count == 1 else { throw fail("needs one input, has \(inputs.count)") }
            return inputs[0]
        }
        func map() throws(ShapeError) -> ImageShape {
            guard case .map(let shape) = try operand() else { throw fail("needs a feature map, is given a vector") }
            return shape
        }
        func map(channels: Int) throws(ShapeError) -> ImageShape {
            let shape = try map()
            guard shape.channels == channels else {
                throw fail("expects \(channels) channels, is given \(shape.channels)")
            }
            return shape
        }
        switch node.operation {
        case .input(let channels):
            guard image.channels == channels else {
                throw fail("the network takes \(channels) channels, the picture has \(image.channels)")
            }
            guard image.height > 0, image.width > 0 else {
                throw fail("a picture cannot be \(image.height)x\(image.width)")
            }
            return .map(image)
        case .conv(let spec):
            let source = try map(channels: spec.inChannels)
            guard
                let height = windows(source.height, spec, \.height), let width = windows(source.width, spec, \.width)
            else {
                throw fail(
                    "a map of \(source.height)x\(source.width) is smaller than the kernel, "
                        + "\(spec.kernel.height)x\(spec.kernel.width); the picture is too small")
            }
            return .map(ImageShape(channels: spec.outChannels, height: height, width: width))
        case .maxPool(let spec), .averagePool(let spec):
            let source = try map()
            guard
                let height = windows(source.height, spec, \.height), let width = windows(source.width, spec, \.width)
            else {
                throw fail(
                    "a map of \(source.height)x\(source.width) is smaller than the window, "
                        + "\(spec.kernel.height)x\(spec.kernel.width); the picture is too small")
            }
            return .map(ImageShape(channels: source.channels, height: height, width: width))
        case .batchNorm(let channels, _, _):
            if case .vector(let features) = try operand() {
                guard features == channels else { throw fail("expects \(channels) features, is given \(features)") }
                return .vector(features)
            }
            return .map(try map(channels: channels))
        case .relu, .sigmoid, .dropout:
            return try operand()
        case .add:
            guard inputs.count == 2 else { throw fail("needs two inputs, has \(inputs.count)") }
            guard inputs[0] == inputs[1] else { throw fail("cannot add \(inputs[0]) and \(inputs[1])") }
            return inputs[0]
        case .globalAveragePool:
            return .map(ImageShape(channels: try map().channels, height: 1, width: 1))
        case .flatten:
            return .vector(try operand().count)
        case .linear(let inFeatures, let outFeatures, _):
            guard case .vector(let features) = try operand() else {
                throw fail("needs a vector; flatten the map first")
            }
            guard features == inFeatures else {
                throw fail("expects \(inFeatures) features, is given \(features): another picture size")
            }
            return .vector(outFeatures)
        case .concat:
            guard case .map(var joined)? = inputs.first else { throw fail("joins feature maps") }
            for input in inputs.dropFirst() {
                guard case .map(let part) = input, part.height == joined.height, part.width == joined.width else {
                    throw fail("cannot join \(inputs[0]) and \(input)")
                }
                joined.channels += part.channels
            }
            return .map(joined)
        }
    }
}

/// Positions of a convolution's kernel along one axis; nil if it does not fit once.
private func windows(_ size: Int, _ spec: ConvSpec, _ axis: KeyPath<Size2, Int>) -> Int? {
    let extent = spec.dilation[keyPath: axis] * (spec.kernel[keyPath: axis] - 1) + 1
    let room = size + 2 * spec.padding[keyPath: axis] - extent
    return room < 0 ? nil : room / spec.stride[keyPath: axis] + 1
}

/// Positions of a pooling window along one axis. With ceilMode the last window may hang over the end, but must start
/// inside the map or its left padding (PyTorch's rule).
private func windows(_ size: Int, _ spec: PoolSpec, _ axis: KeyPath<Size2, Int>) -> Int? {
    let stride = spec.stride[keyPath: axis]
    let padding = spec.padding[keyPath: axis]
    let room = size + 2 * padding - spec.kernel[keyPath: axis]
    guard room >= 0 else { return nil }
    guard spec.ceilMode else { return room / stride + 1 }
    let count = (room + stride - 1) / stride + 1
    return (count - 1) * stride >= size + padding ? count - 1 : count
}
