// Forward and backward through a graph, node by node, with the naive reference operations: what a training plan must agree
// with. Values are rounded to float between nodes.
import CReference
import ResNetSwift

struct ReferenceTraining {
    let model: Model
    let size: ImageShape
    let images: Int

    struct Result {
        var loss: Double
        /// By key: gradients of what trains, and running statistics after the step.
        var gradients: [String: [Float]] = [:]
        var statistics: [String: [Float]] = [:]
    }

    private struct Moments {
        var mean: [Double]
        var variance: [Double]
    }

    func step(_ pictures: [Float], labels: [Int32]) throws -> Result {
        let graph = model.graph
        let shapes = try graph.shapes(input: size)
        var values: [[Float]] = []
        var moments: [Int: Moments] = [:]
        var offsets: [Int: [Int32]] = [:]
        var result = Result(loss: 0)
        for (index, node) in graph.nodes.enumerated() {
            let inputs = node.inputs.map { values[$0] }
            let before = node.inputs.map { shapes[$0] }
            switch node.operation {
            case .batchNorm(let channels, let eps, let momentum) where usesBatch(node):
                var y = [Double](repeating: 0, count: inputs[0].count)
                var own = Moments(
                    mean: Array(repeating: 0, count: channels), variance: Array(repeating: 0, count: channels))
                var runningMean = parameter(node, "running_mean").map(Double.init)
                var runningVariance = parameter(node, "running_var").map(Double.init)
                cr_bn_training(
                    inputs[0], Int32(images), Int32(channels), shapes[index].count / channels,
                    parameter(node, "weight"), parameter(node, "bias"), eps, momentum, &y, &own.mean, &own.variance,
                    &runningMean, &runningVariance)
                values.append(y.map { Float($0) })
                moments[index] = own
                result.statistics["\(node.module).running_mean"] = runningMean.map { Float($0) }
                result.statistics["\(node.module).running_var"] = runningVariance.map { Float($0) }
            case .maxPool(let spec):
                var pool = pooling(spec, map(before[0]))
                var y = [Double](repeating: 0, count: images * shapes[index].count)
                var places = [Int32](repeating: 0, count: y.count)
                cr_max_pool(&pool, inputs[0], &y, &places)
                values.append(y.map { Float($0) })
                offsets[index] = places
            default:
                values.append(
                    ReferenceNetwork(model: model).value(
                        node, inputs, before, shapes[index], images, pictures))
            }
        }
        let classes = shapes[graph.logits].count
        var gradients: [[Double]] = values.map { Array(repeating: 0, count: $0.count) }
        var top = [Double](repeating: 0, count: images * classes)
        result.loss = cr_cross_entropy(
            values[graph.logits], labels, Int32(images), Int32(classes), nil, 0, -100, &top)
        gradients[graph.logits] = top
        for (index, node) in graph.nodes.enumerated().reversed() {
            let dy = gradients[index].map { Float($0) }
            let inputs = node.inputs.map { values[$0] }
            let before = node.inputs.map { shapes[$0] }
            let passed = backward(
                node, dy, inputs, values[index], before, shapes[index], moments[index], offsets[index],
                &result.gradients)
            for (input, dx) in zip(node.inputs, passed) {
                for position in dx.indices { gradients[input][position] += dx[position] }
            }
        }
        result.gradients = result.gradients.filter { !model.frozen.contains($0.key) }
        return result
    }

    private func usesBatch(_ node: GraphNode) -> Bool { !model.frozen.contains("\(node.module).running_mean") }

    private func parameter(_ node: GraphNode, _ key: String) -> [Float] { model["\(node.module).\(key)"].values }

    private func map(_ shape: NodeShape) -> ImageShape {
        switch shape {
        case .map(let map): map
        case .vector(let count): ImageShape(channels: count, height: 1, width: 1)
        }
    }

    private func pooling(_ spec: PoolSpec, _ map: ImageShape) -> cr_pool {
        cr_pool(
            planes: Int32(images * map.channels), h: Int32(map.height), w: Int32(map.width),
            kernel_h: Int32(spec.kernel.height), kernel_w: Int32(spec.kernel.width),
            stride_h: Int32(spec.stride.height), stride_w: Int32(spec.stride.width),
            pad_h: Int32(spec.padding.height), pad_w: Int32(spec.padding.width), ceil_mode: spec.ceilMode ? 1 : 0)
    }

    /// The gradient of every input; those of parameters go to `parameters`.
    private func backward(
        _ node: GraphNode, _ dy: [Float], _ inputs: [[Float]], _ y: [Float], _ before: [NodeShape], _ shape: NodeShape,
        _ moments: Moments?, _ offsets: [Int32]?, _ parameters: inout [String: [Float]]
    ) -> [[Double]] {
        guard let x = inputs.first else { return [] }
        var dx = [Double](repeating: 0, count: x.count)
        let source = map(before[0])
        let n = Int32(images)
        func keep(_ key: String, _ values: [Double]) {
            parameters["\(node.module).\(key)"] = values.map { Float($0) }
        }
        switch node.operation {
        case .input: return []
        case .dropout, .dropPath, .flatten: return [dy.map(Double.init)]
        case .conv(let spec):
            var geometry = cr_conv(
                n: n, c: Int32(spec.inChannels), h: Int32(source.height), w: Int32(source.width),
                k: Int32(spec.outChannels), kernel_h: Int32(spec.kernel.height), kernel_w: Int32(spec.kernel.width),
                stride_h: Int32(spec.stride.height), stride_w: Int32(spec.stride.width),
                pad_h: Int32(spec.padding.height), pad_w: Int32(spec.padding.width),
                dilation_h: Int32(spec.dilation.height), dilation_w: Int32(spec.dilation.width),
                groups: Int32(spec.groups))
            let weight = parameter(node, "weight")
            var dw = [Double](repeating: 0, count: weight.count)
            cr_conv_data_gradient(&geometry, dy, weight, &dx, nil)
            cr_conv_weight_gradient(&geometry, x, dy, &dw, nil)
            keep("weight", dw)
            if spec.bias {
                let plane = shape.count / spec.outChannels
                var db = [Double](repeating: 0, count: spec.outChannels)
                for (index, value) in dy.enumerated() { db[index / plane % spec.outChannels] += Double(value) }
                keep("bias", db)
            }
        case .batchNorm(let channels, let eps, _):
            var (dgamma, dbeta) = ([Double](repeating: 0, count: channels), [Double](repeating: 0, count: channels))
            let plane = shape.count / channels
            if let moments {
                cr_bn_training_backward(
                    x, dy, n, Int32(channels), plane, parameter(node, "weight"), moments.mean, moments.variance, eps,
                    &dx, &dgamma, &dbeta)
            } else {
                cr_bn_inference_backward(
                    x, dy, n, Int32(channels), plane, parameter(node, "weight"), parameter(node, "running_mean"),
                    parameter(node, "running_var"), eps, &dx, &dgamma, &dbeta)
            }
            keep("weight", dgamma)
            keep("bias", dbeta)
        case .layerNorm(let channels, let eps):
            var (dgamma, dbeta) = ([Double](repeating: 0, count: channels), [Double](repeating: 0, count: channels))
            cr_layer_norm_backward(
                x, dy, n, Int32(channels), source.height * source.width, parameter(node, "weight"), eps, &dx, &dgamma,
                &dbeta)
            keep("weight", dgamma)
            keep("bias", dbeta)
        case .layerScale(let channels):
            let (gamma, plane) = (parameter(node, "gamma"), source.height * source.width)
            var dgamma = [Double](repeating: 0, count: channels)
            for index in x.indices {
                let channel = index / plane % channels
                dx[index] = Double(dy[index]) * Double(gamma[channel])
                dgamma[channel] += Double(dy[index]) * Double(x[index])
            }
            keep("gamma", dgamma)
        case .groupNorm: preconditionFailure("group norms do not train")
        case .gelu: cr_gelu_backward(x, dy, dy.count, &dx)
        case .windowAttention(let heads, let window):
            var size = ReferenceNetwork(model: model).attention(source, images, heads, window)
            cr_window_attention_backward(&size, x, dy, &dx)
        case .channelAttention(let heads):
            let whole = Size2(source.height, source.width)
            var size = ReferenceNetwork(model: model).attention(source, images, heads, whole)
            cr_channel_attention_backward(&size, x, dy, &dx)
        case .padToMultiple, .crop:
            let passed = ReferenceNetwork(model: model).canvas(dy, map(shape), to: before[0], images)
            return [passed.map(Double.init)]
        case .relu: cr_relu_backward(y, dy, dy.count, &dx)
        case .sigmoid: cr_sigmoid_backward(y, dy, dy.count, &dx)
        case .add: return [dy.map(Double.init), dy.map(Double.init)]
        case .gate:
            let plane = source.height * source.width
            var dgate = [Double](repeating: 0, count: inputs[1].count)
            for index in dx.indices {
                dx[index] = Double(dy[index]) * Double(inputs[1][index / plane])
                dgate[index / plane] += Double(dy[index]) * Double(x[index])
            }
            return [dx, dgate]
        case .channelConv(let kernel):
            let weight = parameter(node, "weight")
            var dw = [Double](repeating: 0, count: kernel)
            for index in dy.indices {
                for tap in 0..<kernel {
                    let channel = index % source.channels + tap - kernel / 2
                    guard 0..<source.channels ~= channel else { continue }
                    let read = index + tap - kernel / 2
                    dx[read] += Double(weight[tap]) * Double(dy[index])
                    dw[tap] += Double(dy[index]) * Double(x[read])
                }
            }
            keep("weight", dw)
        case .maxPool(let spec):
            var pool = pooling(spec, source)
            cr_max_pool_backward(&pool, offsets!, dy, &dx)
        case .clip(let low, let high):
            for index in dx.indices where y[index] > low && y[index] < high { dx[index] = Double(dy[index]) }
        case .blurPool(let stride):
            cr_blur_pool_backward(
                dy, n * Int32(source.channels), Int32(source.height), Int32(source.width), Int32(stride), &dx)
        case .pad(let spec):
            let network = ReferenceNetwork(model: model)
            for index in dy.indices {
                if let read = network.source(of: index, spec, source) { dx[read] += Double(dy[index]) }
            }
        case .averagePool(let spec):
            var pool = pooling(spec, source)
            (spec.countsPadding ? cr_average_pool_backward : cr_average_pool_inside_backward)(&pool, dy, &dx)
        case .globalAveragePool:
            cr_global_average_pool_backward(dy, n * Int32(source.channels), source.height * source.width, &dx)
        case .linear(let inFeatures, let outFeatures, let bias):
            let weight = parameter(node, "weight")
            var (dw, db) = ([Double](repeating: 0, count: weight.count), [Double](repeating: 0, count: outFeatures))
            cr_linear_backward(x, weight, dy, n, Int32(inFeatures), Int32(outFeatures), &dx, &dw, &db)
            keep("weight", dw)
            if bias { keep("bias", db) }
        case .concat:
            var parts = before.map { [Double](repeating: 0, count: $0.count * images) }
            var offset = 0
            for image in 0..<images {
                for (part, shape) in before.enumerated() {
                    for index in 0..<shape.count {
                        parts[part][image * shape.count + index] = Double(dy[offset])
                        offset += 1
                    }
                }
            }
            return parts
        }
        return [dx]
    }
}
