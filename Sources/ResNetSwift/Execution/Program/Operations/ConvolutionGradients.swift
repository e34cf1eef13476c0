// What a convolution passes back: to its input and to its weights.
import CKernels
import ResNetGraph

/// dy, filters -> dx; where it accumulates, dx is added to.
struct ConvolutionDataGradient: StepOperation {
    let spec: ConvSpec
    /// Of one image.
    let input: ImageShape
    let accumulates: Bool

    var text: String { "conv \(windowText(spec.kernel, spec.stride)) dx" }

    func prepare(_ step: StepContext) throws(ExecutionError) -> Preparation {
        var description = spec.description(input: input, batch: step.chunk, step.settings)
        description.pass = CK_DATA_GRADIENT
        if accumulates { description.epilogue = UInt32(CK_RESIDUAL) }
        return try ConvPlan(description, name: step.name).preparation(packed: step.step.inputs[1])
    }

    func compile(_ step: StepContext) -> Kernel {
        let plan = step.preparation.plan!
        let (dy, packed) = (step.input(0), step.input(1))
        let dx = accumulates ? step.update(0) : step.output(0)
        let accumulates = accumulates
        return { run, start, count in
            var arguments = ck_conv_args()
            arguments.batch = Int32(count)
            arguments.src = UnsafeRawPointer(dy.pointer(run, start))
            arguments.packed = UnsafeRawPointer(packed.pointer(run, 0))
            arguments.dst = dx(run, start)
            if accumulates { arguments.residual = UnsafePointer(dx(run, start)) }
            arguments.workspace = run.scratch
            return ck_conv_run(plan.handle, &arguments)
        }
    }
}

/// x, dy; dw. Over the whole batch: sums that are stored and added to a few images at a time cost more than they save.
struct ConvolutionWeightGradient: StepOperation {
    let spec: ConvSpec
    /// Of one image.
    let input: ImageShape
    /// How x lies.
    var source = ValueStorage.blocked

    var text: String { "conv \(windowText(spec.kernel, spec.stride)) dw" }
    var isPerImage: Bool { false }

    func description(batch: Int, _ settings: KernelSettings) -> ck_conv_desc {
        var description = spec.description(input: input, batch: batch, settings)
        description.pass = CK_WEIGHT_GRADIENT
        description.src_layout = source.pictureLayout
        return description
    }

    func prepare(_ step: StepContext) throws(ExecutionError) -> Preparation {
        try ConvPlan(description(batch: step.chunk, step.settings), name: step.name).preparation(packed: nil)
    }

    func compile(_ step: StepContext) -> Kernel {
        let plan = step.preparation.plan!
        let (x, dy, dw) = (step.input(0), step.input(1), step.update(0))
        return { run, start, count in
            var arguments = ck_conv_args()
            arguments.batch = Int32(count)
            arguments.src = UnsafeRawPointer(x.pointer(run, start))
            arguments.grad = UnsafePointer(dy(run, start))
            arguments.dst = dw(run)
            arguments.accumulate = run.pass!.accumulates ? 1 : 0
            arguments.workspace = run.scratch
            return ck_conv_run(plan.handle, &arguments)
        }
    }
}
