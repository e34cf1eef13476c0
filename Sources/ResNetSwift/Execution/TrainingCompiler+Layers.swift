// Steps -> kernels: batch norm, pooling, elementwise operations and rearrangements.
import CKernels
import Glibc
import ResNetGraph

extension TrainingCompiler {
    // MARK: - Batch norm

    private func settings(_ node: Int) -> (eps: Double, momentum: Double) {
        guard case .batchNorm(_, let eps, let momentum) = scope.graph.nodes[node].operation else { return (0, 0) }
        return (eps, momentum)
    }

    /// For a batch of as many images as a run has.
    private func description(_ node: Int, _ shape: ImageShape, usesBatch: Bool, relu: Bool) -> (TrainingRun) ->
        ck_bn_desc
    {
        var description = normDescription(shape, batch: 1, threads: Int(threads))
        description.training = usesBatch ? 1 : 0
        description.relu = relu ? 1 : 0
        (description.eps, description.momentum) = settings(node)
        let prepared = description
        return { run in
            var description = prepared
            description.batch = Int32(run.images)
            return description
        }
    }

    func norm(_ step: TrainingStep) -> TrainingKernel {
        let node = step.node
        let sums: TrainingAddress
        switch step.operation {
        case .normSums: sums = address(step.outputs[0])
        case .normFinish: sums = address((step.updates + step.outputs)[0])
        default: sums = address(step.updates.first ?? step.outputs[1])
        }
        let shape = scope.map(scope.graph.nodes[node].inputs[0])
        let saved = statistics(node, shape.channels)
        var prepared = ck_bn_forward_args()
        prepared.gamma = values(node, "weight")
        prepared.beta = values(node, "bias")
        prepared.mean = saved.mean
        prepared.invstd = saved.invstd
        switch step.operation {
        case .normSums:
            let x = address(step.inputs[0])
            let description = description(node, shape, usesBatch: true, relu: false)
            let arguments = prepared
            return holding { run, start, count in
                var description = description(run)
                var arguments = arguments
                arguments.x = UnsafePointer(x(run, start))
                arguments.workspace = sums.pointer(run, 0)
                return ck_bn_forward_sums(&description, &arguments, Int32(start), Int32(count))
            }
        case .normFinish(_, let usesBatch):
            let (mean, variance) = (scope.key(node, "running_mean"), scope.key(node, "running_var"))
            // Only read where the statistics are not the batch's.
            prepared.running_mean = store.statistic(mean) ?? UnsafeMutablePointer(mutating: store.values(mean))
            prepared.running_var = store.statistic(variance) ?? UnsafeMutablePointer(mutating: store.values(variance))
            let description = description(node, shape, usesBatch: usesBatch, relu: false)
            let arguments = prepared
            return holding { run, _, _ in
                var description = description(run)
                var arguments = arguments
                arguments.workspace = sums.pointer(run, 0)
                return ck_bn_forward_finish(&description, &arguments)
            }
        case .normApply(_, let relu, let addsResidual):
            let (x, y) = (address(step.inputs[0]), address(step.outputs[0]))
            let residual = addsResidual ? address(step.inputs[1]) : nil
            let description = description(node, shape, usesBatch: false, relu: relu)
            let arguments = prepared
            return holding { run, start, count in
                var description = description(run)
                var arguments = arguments
                arguments.x = UnsafePointer(x(run, start))
                if let residual { arguments.residual = UnsafePointer(residual(run, start)) }
                arguments.y = y(run, start)
                arguments.workspace = sums.pointer(run, 0)
                return ck_bn_forward_apply(&description, &arguments, Int32(count))
            }
        default: preconditionFailure("not a batch norm")
        }
    }

    func normGradient(_ step: TrainingStep) -> TrainingKernel {
        let gradient: NormGradient
        switch step.operation {
        case .normGradientSums(let g), .normGradientFinish(let g), .normGradientApply(let g): gradient = g
        default: preconditionFailure("not the gradient of a batch norm")
        }
        let node = gradient.node
        let shape = gradient.isBias ? scope.map(node) : scope.map(scope.graph.nodes[node].inputs[0])
        let channels = shape.channels
        let saved = statistics(node, channels)
        var prepared = ck_bn_backward_args()
        if !gradient.isBias {
            prepared.gamma = values(node, "weight")
            prepared.beta = values(node, "bias")
        }
        prepared.mean = UnsafePointer(saved.mean)
        prepared.invstd = UnsafePointer(saved.invstd)
        let dgamma = gradient.scaleTrains ? self.gradient(node, "weight") : nil
        let dbeta = gradient.shiftTrains ? self.gradient(node, "bias") : nil
        let threads = threads
        switch step.operation {
        case .normGradientSums:
            let masks = gradient.masksInPlace
            let dy = address(masks ? step.updates[0] : step.inputs[0])
            let y = masks ? address(step.inputs[0]) : nil
            let x = gradient.sumsReadX ? address(step.inputs[1]) : nil
            let sums = address(step.outputs[0])
            prepared.dgamma = dgamma
            prepared.dbeta = dbeta
            let description = description(node, shape, usesBatch: gradient.usesBatch, relu: gradient.relu)
            let arguments = prepared
            return holding { run, start, count in
                var description = description(run)
                var arguments = arguments
                arguments.dy = UnsafePointer(dy(run, start))
                if let x { arguments.x = UnsafePointer(x(run, start)) }
                if let y { arguments.y = UnsafePointer(y(run, start)) }
                if masks { arguments.dresidual = dy(run, start) }
                arguments.workspace = sums.pointer(run, 0)
                return ck_bn_backward_sums(&description, &arguments, Int32(start), Int32(count))
            }
        case .normGradientFinish:
            let sums = address((step.updates + step.outputs)[0])
            let description = description(node, shape, usesBatch: gradient.usesBatch, relu: false)
            let arguments = prepared
            return holding { run, _, _ in
                run.store(dgamma, channels, threads) { dgamma in
                    run.store(dbeta, channels, threads, at: Self.padded(channels)) { dbeta in
                        var description = description(run)
                        var arguments = arguments
                        arguments.dgamma = dgamma
                        arguments.dbeta = dbeta
                        arguments.workspace = sums.pointer(run, 0)
                        return ck_bn_backward_finish(&description, &arguments)
                    }
                }
            }
        default:
            let (dy, sums, dx) = (address(step.inputs[0]), address(step.inputs[1]), address(step.outputs[0]))
            let x = gradient.applyReadsX ? address(step.inputs[2]) : nil
            // What is masked already needs no mask.
            let description = description(
                node, shape, usesBatch: gradient.usesBatch, relu: gradient.relu && !gradient.masksInPlace)
            let arguments = prepared
            return holding { run, start, count in
                var description = description(run)
                var arguments = arguments
                arguments.dy = UnsafePointer(dy(run, start))
                if let x { arguments.x = UnsafePointer(x(run, start)) }
                arguments.dx = dx(run, start)
                arguments.workspace = sums.pointer(run, 0)
                return ck_bn_backward_apply(&description, &arguments, Int32(count))
            }
        }
    }

    // MARK: - Pooling

    func pool(_ step: TrainingStep) -> TrainingKernel {
        let isBackward = step.isBackward && step.operation.isPoolGradient
        let node = step.node
        let source = scope.map(scope.graph.nodes[node].inputs[0])
        let threads = threads
        let result = address(step.outputs[0])
        let (c, h, w) = (Int32(source.channels), Int32(source.height), Int32(source.width))
        func description(_ spec: PoolSpec) -> ck_pool_desc {
            ck_pool_desc(
                batch: 1, channels: c, in_height: h, in_width: w, kernel_height: Int32(spec.kernel.height),
                kernel_width: Int32(spec.kernel.width), stride_height: Int32(spec.stride.height),
                stride_width: Int32(spec.stride.width), pad_height: Int32(spec.padding.height),
                pad_width: Int32(spec.padding.width), ceil_mode: spec.ceilMode ? 1 : 0, threads: threads)
        }
        let input = address(step.inputs[isBackward ? step.inputs.count - 1 : 0])
        switch step.operation {
        case .maxPool(let spec):
            let prepared = description(spec)
            let offsets = step.outputs.count > 1 ? address(step.outputs[1]) : nil
            return { run, start, count in
                var description = prepared
                description.batch = Int32(count)
                return ck_max_pool(
                    &description, input(run, start), result(run, start),
                    offsets?.pointer(run, start).assumingMemoryBound(to: Int32.self))
            }
        case .maxPoolGradient(let spec):
            let prepared = description(spec)
            let offsets = address(step.inputs[0])
            return { run, start, count in
                var description = prepared
                description.batch = Int32(count)
                return ck_max_pool_backward(
                    &description, input(run, start),
                    offsets.pointer(run, start).assumingMemoryBound(to: Int32.self), result(run, start))
            }
        case .averagePool(let spec), .averagePoolGradient(let spec):
            let prepared = description(spec)
            let function = isBackward ? ck_average_pool_backward : ck_average_pool
            return { run, start, count in
                var description = prepared
                description.batch = Int32(count)
                return function(&description, input(run, start), result(run, start))
            }
        default:
            let function = isBackward ? ck_global_average_pool_backward : ck_global_average_pool
            return { run, start, count in
                function(input(run, start), Int32(count), c, h, w, result(run, start), threads)
            }
        }
    }

    // MARK: - Elementwise

    func elementwise(_ step: TrainingStep) throws(ExecutionError) -> TrainingKernel {
        let inputs = step.inputs.map(address)
        let y = address(step.outputs[0])
        let (x, floats, threads) = (inputs[0], y.floats, threads)
        switch step.operation {
        case .relu:
            return { run, start, count in ck_relu(x(run, start), y(run, start), count * floats, threads) }
        case .sigmoid: return try sigmoid(x, y, shape(step.outputs[0]), program.values[step.outputs[0]].storage)
        case .add(let relu):
            return { run, start, count in
                ck_add(
                    x(run, start), inputs[1](run, start), y(run, start), count * floats, relu ? 1 : 0, threads)
            }
        case .dropout(let node, let probability):
            return { run, start, count in
                ck_dropout(
                    x(run, start), y(run, start), count * floats, probability, run.dropoutSeed.bits(UInt64(node)),
                    UInt64(start * floats), threads)
            }
        default:
            let function = step.operation == .reluGradient ? ck_relu_backward : ck_sigmoid_backward
            return { run, start, count in
                function(x(run, start), inputs[1](run, start), y(run, start), count * floats, threads)
            }
        }
    }

    /// sigmoid(0) is a half: surplus channels go back to zero.
    private func sigmoid(
        _ x: TrainingAddress, _ y: TrainingAddress, _ shape: ImageShape, _ storage: TrainingValue.Storage
    ) throws(ExecutionError) -> TrainingKernel {
        let (floats, threads) = (y.floats, threads)
        guard storage == .blocked, shape.channels % block != 0 else {
            return { run, start, count in ck_sigmoid(x(run, start), y(run, start), count * floats, threads) }
        }
        let padded = Self.padded(shape.channels)
        let mask = try AlignedBuffer(bytes: 2 * padded * 4, for: "a mask")
        for channel in 0..<shape.channels { mask.floats(at: 0)[channel] = 1 }
        let (c, h, w) = (Int32(shape.channels), Int32(shape.height), Int32(shape.width))
        return { run, start, count in
            let status = ck_sigmoid(x(run, start), y(run, start), count * floats, threads)
            guard status == CK_OK else { return status }
            return ck_scale_shift(
                y(run, start), mask.floats(at: 0), mask.floats(at: padded * 4), Int32(count), c, h, w, y(run, start), 0,
                threads)
        }
    }

    // MARK: - Rearrangements

    func arrangement(_ step: TrainingStep) -> TrainingKernel {
        let inputs = step.inputs.map(address)
        let y = address(step.outputs[0])
        let threads = threads
        let node = step.node
        switch step.operation {
        case .concat:
            let whole = shape(step.outputs[0])
            let channels = step.inputs.map { Int32(shape($0).channels) }
            let (h, w) = (Int32(whole.height), Int32(whole.width))
            return { run, start, count in
                var offset: Int32 = 0
                for (input, channels) in zip(inputs, channels) {
                    let status = ck_concat_copy(
                        input(run, start), Int32(count), channels, h, w, y(run, start), Int32(whole.channels), offset,
                        threads)
                    guard status == CK_OK else { return status }
                    offset += channels
                }
                return CK_OK
            }
        case .concatSlice(let offset):
            let (whole, part) = (shape(step.inputs[0]), shape(step.outputs[0]))
            return { run, start, count in
                ck_concat_slice(
                    inputs[0](run, start), Int32(count), Int32(whole.channels), Int32(whole.height),
                    Int32(whole.width), Int32(offset), y(run, start), Int32(part.channels), threads)
            }
        default:
            let map = scope.map(scope.graph.nodes[node].inputs[0])
            let (c, h, w) = (Int32(map.channels), Int32(map.height), Int32(map.width))
            let function = step.operation == .flatten ? ck_blocked_to_nchw : ck_nchw_to_blocked
            return { run, start, count in
                function(inputs[0](run, start), Int32(count), c, h, w, y(run, start), threads)
            }
        }
    }

    func movement(_ step: TrainingStep) -> TrainingKernel {
        let threads = threads
        switch step.operation {
        case .loadPictures, .loadFeatures:
            let y = address(step.outputs[0])
            let map = shape(step.outputs[0])
            return { run, _, images in
                switch run.source {
                case .bytes(let bytes, let scale, let shift):
                    return ck_nhwc8_to_nchw(
                        bytes, Int32(images), Int32(map.channels), Int32(map.height), Int32(map.width), scale, shift,
                        y(run, 0), threads)
                case .floats(let floats):
                    memcpy(y(run, 0), floats, images * y.floats * 4)
                    return CK_OK
                }
            }
        case .importPlanes:
            let (x, y) = (address(step.inputs[0]), address(step.outputs[0]))
            let map = shape(step.outputs[0])
            let (c, h, w) = (Int32(map.channels), Int32(map.height), Int32(map.width))
            return { run, start, count in
                ck_nchw_to_blocked(x(run, start), Int32(count), c, h, w, y(run, start), threads)
            }
        case .accumulate:
            let (x, y) = (address(step.inputs[0]), address(step.updates[0]))
            return { run, start, count in ck_accumulate(x(run, start), y(run, start), count * y.floats, 1, threads) }
        default:
            let (x, y) = (address(step.inputs[0]), address(step.outputs[0]))
            return { run, start, count in
                memcpy(y(run, start), x(run, start), count * y.floats * 4)
                return CK_OK
            }
        }
    }
}

extension TrainingOperation {
    fileprivate var isPoolGradient: Bool {
        switch self {
        case .maxPoolGradient, .averagePoolGradient, .globalAveragePoolGradient: true
        default: false
        }
    }
}
