// Pools over windows and over the whole map, forward and backward.
import CKernels
import ResNetGraph

/// x -> y, [where each maximum was]
struct MaxPool: StepOperation {
    let spec: PoolSpec

    var text: String { "max pool \(windowText(spec.kernel, spec.stride))" }

    func compile(_ step: StepContext) -> Kernel {
        let (x, y, window) = (step.input(0), step.output(0), spec.window(of: step.inputShape(0)))
        let places = step.step.outputs.count > 1 ? step.output(1) : nil
        return { run, start, count in
            var description = window(run, count)
            return ck_max_pool(
                &description, x(run, start), y(run, start),
                places?.pointer(run, start).assumingMemoryBound(to: Int32.self))
        }
    }
}

/// where each maximum was, dy -> dx
struct MaxPoolGradient: StepOperation {
    let spec: PoolSpec

    var text: String { "max pool \(windowText(spec.kernel, spec.stride)) dx" }

    func compile(_ step: StepContext) -> Kernel {
        let (places, dy, dx) = (step.input(0), step.input(1), step.output(0))
        let window = spec.window(of: step.resultShape)
        return { run, start, count in
            var description = window(run, count)
            return ck_max_pool_backward(
                &description, dy(run, start), places.pointer(run, start).assumingMemoryBound(to: Int32.self),
                dx(run, start))
        }
    }
}

/// x -> y; as a gradient dy -> dx
struct AveragePool: StepOperation {
    let spec: PoolSpec
    var isGradient = false

    var text: String { "average pool \(windowText(spec.kernel, spec.stride))" + (isGradient ? " dx" : "") }

    func compile(_ step: StepContext) -> Kernel {
        let (x, y) = (step.input(0), step.output(0))
        let window = spec.window(of: isGradient ? step.resultShape : step.inputShape(0))
        let function =
            switch (isGradient, spec.countsPadding) {
            case (false, true): ck_average_pool
            case (false, false): ck_average_pool_inside
            case (true, true): ck_average_pool_backward
            case (true, false): ck_average_pool_inside_backward
            }
        return { run, start, count in
            var description = window(run, count)
            return function(&description, x(run, start), y(run, start))
        }
    }
}

/// x -> y; as a gradient dy -> dx
struct BlurPool: StepOperation {
    let stride: Int
    var isGradient = false

    var text: String { "blur 3x3/\(stride)" + (isGradient ? " dx" : "") }

    func compile(_ step: StepContext) -> Kernel {
        let (x, y, stride) = (step.input(0), step.output(0), Int32(stride))
        let size = (isGradient ? step.resultShape : step.inputShape(0)).kernelSize
        let function = isGradient ? ck_blur_pool_backward : ck_blur_pool
        return { run, start, count in
            function(x(run, start), Int32(count), size.c, size.h, size.w, stride, y(run, start), run.threads)
        }
    }
}

/// x -> y with a frame; as a gradient dy -> dx without it
struct Pad: StepOperation {
    let spec: PadSpec
    var isGradient = false

    var text: String { "pad" + (isGradient ? " dx" : "") }

    func compile(_ step: StepContext) -> Kernel {
        let (x, y, spec, isGradient) = (step.input(0), step.output(0), spec, isGradient)
        let size = (isGradient ? step.resultShape : step.inputShape(0)).kernelSize
        return { run, start, count in
            var description = ck_pad_desc(
                batch: Int32(count), channels: size.c, height: size.h, width: size.w, top: Int32(spec.top),
                left: Int32(spec.left), bottom: Int32(spec.bottom), right: Int32(spec.right), threads: run.threads)
            return isGradient
                ? ck_crop(&description, x(run, start), y(run, start))
                : ck_pad(&description, x(run, start), spec.value, y(run, start))
        }
    }
}

/// x -> y; as a gradient dy -> dx
struct GlobalAveragePool: StepOperation {
    var isGradient = false

    var text: String { "global average" + (isGradient ? " dx" : "") }

    func compile(_ step: StepContext) -> Kernel {
        let (x, y) = (step.input(0), step.output(0))
        let size = (isGradient ? step.resultShape : step.inputShape(0)).kernelSize
        let function = isGradient ? ck_global_average_pool_backward : ck_global_average_pool
        return { run, start, count in
            function(x(run, start), Int32(count), size.c, size.h, size.w, y(run, start), run.threads)
        }
    }
}

extension PoolSpec {
    /// Of so many images of maps of shape `map`.
    fileprivate func window(of map: ImageShape) -> @Sendable (Run, Int) -> ck_pool_desc {
        let (spec, size) = (self, map.kernelSize)
        return { run, count in
            ck_pool_desc(
                batch: Int32(count), channels: size.c, in_height: size.h, in_width: size.w,
                kernel_height: Int32(spec.kernel.height), kernel_width: Int32(spec.kernel.width),
                stride_height: Int32(spec.stride.height), stride_width: Int32(spec.stride.width),
                pad_height: Int32(spec.padding.height), pad_width: Int32(spec.padding.width),
                ceil_mode: spec.ceilMode ? 1 : 0, threads: run.threads)
        }
    }
}
