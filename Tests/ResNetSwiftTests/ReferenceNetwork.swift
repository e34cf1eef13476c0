// A graph evaluated node by node with the naive reference operations: what a plan must agree with.
import CReference
import ResNetSwift

struct ReferenceNetwork {
    let model: Model

    /// Every node's value for `images` pictures (N, C, H, W), plain, rounded to float between nodes.
    func values(_ pictures: [Float], images: Int, size: ImageShape) throws -> [[Float]] {
        let shapes = try model.graph.shapes(input: size)
        var values: [[Float]] = []
        for (index, node) in model.graph.nodes.enumerated() {
            let inputs = node.inputs.map { values[$0] }
            let inputShapes = node.inputs.map { shapes[$0] }
            values.append(value(node, inputs, inputShapes, shapes[index], images, pictures))
        }
        return values
    }

    private func parameter(_ node: GraphNode, _ key: String) -> [Float] { model["\(node.module).\(key)"].values }

    func value(
        _ node: GraphNode, _ inputs: [[Float]], _ inputShapes: [NodeShape], _ shape: NodeShape, _ images: Int,
        _ pictures: [Float]
    ) -> [Float] {
        var y = [Double](repeating: 0, count: shape.count * images)
        let n = Int32(images)
        let x = inputs.first ?? pictures
        var map = ImageShape(channels: shape.count, height: 1, width: 1)
        if case .map(let inputMap)? = inputShapes.first { map = inputMap }
        let plane = map.height * map.width
        let channels = Int32(map.channels)
        switch node.operation {
        case .input: return pictures
        case .dropout, .dropPath, .flatten: return x
        case .conv(let spec):
            var geometry = cr_conv(
                n: n, c: Int32(spec.inChannels), h: Int32(map.height), w: Int32(map.width), k: Int32(spec.outChannels),
                kernel_h: Int32(spec.kernel.height), kernel_w: Int32(spec.kernel.width),
                stride_h: Int32(spec.stride.height), stride_w: Int32(spec.stride.width),
                pad_h: Int32(spec.padding.height), pad_w: Int32(spec.padding.width),
                dilation_h: Int32(spec.dilation.height), dilation_w: Int32(spec.dilation.width),
                groups: Int32(spec.groups))
            cr_conv_forward(&geometry, x, parameter(node, "weight"), &y, nil)
            if spec.bias {
                let outPlane = shape.count / spec.outChannels
                cr_epilogue(&y, n, Int32(spec.outChannels), outPlane, parameter(node, "bias"), nil, 0)
            }
        case .batchNorm(let channels, let eps, _):
            cr_bn_inference(
                x, n, Int32(channels), shape.count / channels, parameter(node, "weight"), parameter(node, "bias"),
                parameter(node, "running_mean"), parameter(node, "running_var"), eps, &y)
        case .relu: cr_relu(x, x.count, &y)
        case .sigmoid: cr_sigmoid(x, x.count, &y)
        case .add: for index in y.indices { y[index] = Double(x[index]) + Double(inputs[1][index]) }
        case .gate: for index in y.indices { y[index] = Double(x[index]) * Double(inputs[1][index / plane]) }
        case .channelConv(let kernel):
            let weight = parameter(node, "weight")
            for index in y.indices {
                for tap in 0..<kernel {
                    let channel = index % map.channels + tap - kernel / 2
                    guard 0..<map.channels ~= channel else { continue }
                    y[index] += Double(weight[tap]) * Double(x[index + tap - kernel / 2])
                }
            }
        case .maxPool(let spec):
            var pool = pooling(spec, map, images)
            cr_max_pool(&pool, x, &y, nil)
        case .clip(let low, let high): for index in y.indices { y[index] = Double(min(max(x[index], low), high)) }
        case .blurPool(let stride):
            cr_blur_pool(x, n * channels, Int32(map.height), Int32(map.width), Int32(stride), &y)
        case .pad(let spec):
            for index in y.indices { y[index] = Double(source(of: index, spec, map).map { x[$0] } ?? spec.value) }
        case .averagePool(let spec):
            var pool = pooling(spec, map, images)
            (spec.countsPadding ? cr_average_pool : cr_average_pool_inside)(&pool, x, &y)
        case .layerNorm(_, let eps):
            cr_layer_norm(x, n, channels, plane, parameter(node, "weight"), parameter(node, "bias"), eps, &y)
        case .groupNorm(let groups, let channels, let eps):
            cr_group_norm(
                x, n, Int32(channels), Int32(groups), plane, parameter(node, "weight"), parameter(node, "bias"), eps, &y
            )
        case .gelu: cr_gelu(x, x.count, &y)
        case .windowAttention(let heads, let window):
            var size = attention(map, images, heads, window)
            cr_window_attention(&size, x, &y)
        case .channelAttention(let heads):
            var size = attention(map, images, heads, Size2(map.height, map.width))
            cr_channel_attention(&size, x, &y)
        case .padToMultiple, .crop: return canvas(x, map, to: shape, images)
        case .layerScale:
            let gamma = parameter(node, "gamma")
            return x.indices.map { x[$0] * gamma[$0 / plane % gamma.count] }
        case .globalAveragePool: cr_global_average_pool(x.map(Double.init), n * channels, plane, &y)
        case .linear(let inFeatures, let outFeatures, let bias):
            let b = bias ? parameter(node, "bias") : [Float](repeating: 0, count: outFeatures)
            cr_linear(x, parameter(node, "weight"), b, n, Int32(inFeatures), Int32(outFeatures), &y, nil)
        case .concat:
            var joined: [Float] = []
            for image in 0..<images {
                for (part, partShape) in zip(inputs, inputShapes) {
                    joined += part[image * partShape.count..<(image + 1) * partShape.count]
                }
            }
            return joined
        }
        return y.map { Float($0) }
    }

    /// What a value of the padded map is a copy of; nil for the frame.
    func source(of index: Int, _ spec: PadSpec, _ map: ImageShape) -> Int? {
        let (height, width) = (map.height + spec.top + spec.bottom, map.width + spec.left + spec.right)
        let (row, column) = (index / width % height - spec.top, index % width - spec.left)
        guard 0..<map.height ~= row, 0..<map.width ~= column else { return nil }
        return (index / (height * width) * map.height + row) * map.width + column
    }

    /// Of a map of queries, keys and values.
    func attention(_ map: ImageShape, _ images: Int, _ heads: Int, _ window: Size2) -> cr_attention {
        let channels = map.channels / 3
        return cr_attention(
            n: Int32(images), c: Int32(channels), heads: Int32(heads), h: Int32(map.height), w: Int32(map.width),
            window_h: Int32(window.height), window_w: Int32(window.width),
            scale: 1 / Double(channels / heads).squareRoot())
    }

    /// The upper left of `x`, with zeros where the result is larger.
    func canvas(_ x: [Float], _ map: ImageShape, to shape: NodeShape, _ images: Int) -> [Float] {
        guard case .map(let result) = shape else { preconditionFailure("padding makes maps") }
        var y: [Float] = []
        for plane in 0..<images * map.channels {
            for row in 0..<result.height {
                for column in 0..<result.width {
                    let isInside = row < map.height && column < map.width
                    y.append(isInside ? x[(plane * map.height + row) * map.width + column] : 0)
                }
            }
        }
        return y
    }

    private func pooling(_ spec: PoolSpec, _ map: ImageShape, _ images: Int) -> cr_pool {
        cr_pool(
            planes: Int32(images * map.channels), h: Int32(map.height), w: Int32(map.width),
            kernel_h: Int32(spec.kernel.height), kernel_w: Int32(spec.kernel.width),
            stride_h: Int32(spec.stride.height), stride_w: Int32(spec.stride.width),
            pad_h: Int32(spec.padding.height), pad_w: Int32(spec.padding.width), ceil_mode: spec.ceilMode ? 1 : 0)
    }
}

extension Model {
    /// Parameters and running statistics as a trained network might have them, by a formula that
    /// scripts/make_parity_fixtures.py repeats: every tensor from `CounterRandom(seed: 7, name: key)`.
    static func random(_ graph: Graph) -> Model {
        var parameters: [String: Tensor] = [:]
        for spec in graph.parameters {
            let (low, high) = range(spec)
            let storage = FloatStorage(count: spec.count) { target in
                CounterRandom(seed: 7, name: spec.name).fillUniform(target, low: low, high: high)
            }
            parameters[spec.name] = Tensor(shape: spec.shape, storage: storage)
        }
        return Model(graph: graph, parameters: parameters)
    }

    private static func range(_ spec: ParameterSpec) -> (Float, Float) {
        switch spec.role {
        case .convWeight, .linearWeight:
            // He: variance 2 / fan in; a uniform distribution over -a...a has a^2 / 3.
            let fanIn = spec.shape.dropFirst().reduce(1, *)
            let bound = (6 / Float(fanIn)).squareRoot()
            return (-bound, bound)
        case .bias, .normBias, .runningMean, .layerScale: return (-0.2, 0.2)
        case .normWeight: return (0.4, 0.8)
        case .runningVar: return (0.5, 1.5)
        }
    }
}

/// Pictures (N, C, H, W), uniform in -2..<2, by the same formula under the name "pictures".
func randomPictures(_ images: Int, _ size: ImageShape, name: String = "pictures", seed: UInt64 = 7) -> Tensor {
    Tensor(
        shape: [images, size.channels, size.height, size.width],
        storage: FloatStorage(count: images * size.count) { target in
            CounterRandom(seed: seed, name: name).fillUniform(target, low: -2, high: 2)
        })
}

/// The largest difference, relative to the largest expected value.
func relativeDifference(_ actual: [Float], _ expected: [Float]) -> Float {
    guard actual.count == expected.count else { return .infinity }
    var scale: Float = 0
    var difference: Float = 0
    for (a, b) in zip(actual, expected) {
        scale = max(scale, b.magnitude)
        // A NaN anywhere makes the result infinite.
        difference = (a - b).magnitude <= difference ? difference : ((a - b).isNaN ? .infinity : (a - b).magnitude)
    }
    return difference / max(scale, .leastNormalMagnitude)
}
