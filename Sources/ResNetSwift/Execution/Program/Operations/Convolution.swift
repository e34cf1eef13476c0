// The convolution, forward, with all that a kernel does in the same pass:
//
//     y = x * w [+ bias] [+ residual] [then ReLU] [then a pool]
//
// In inference the filters and the bias are constants that hold a batch norm too; in training PackFilters makes the filters
// anew in every pass.
import CKernels
import ResNetGraph

/// What follows a convolution in the same pass, once more than elementwise.
enum FusedPool: Sendable, Hashable {
    case none
    /// 3x3, stride 2, padding 1
    case max
    case globalAverage
}

/// x, filters, [bias], [residual], [scale, shift of byte pictures] -> y
struct Convolution: StepOperation, Hashable {
    let spec: ConvSpec
    /// Of one image.
    let input: ImageShape
    /// The filters and the bias hold a batch norm.
    var isNormed = false
    var addsResidual = false
    var relu = false
    var pool = FusedPool.none
    /// How x lies: a picture may be read as it is.
    var source = ValueStorage.blocked
    /// Runs the algorithm that the options force.
    var isForced = false
    /// x, the filters and the residual are bytes; the inputs then are x, filters, shift, scale, [residual].
    var int8: Int8Form?
    /// Of the packed filters: float32 or bfloat16.
    var weights = ValueElement.float32

    /// A folded batch norm always leaves a shift.
    var hasBias: Bool { spec.bias || isNormed }
    var readsPicture: Bool { source != .blocked }
    /// Position among the inputs.
    var residual: Int? { addsResidual ? (int8 != nil ? 4 : hasBias ? 3 : 2) : nil }

    var text: String {
        var parts = ["conv \(windowText(spec.kernel, spec.stride))"]
        if isNormed { parts.append("bn") }
        if addsResidual { parts.append("add") }
        if relu { parts.append("relu") }
        switch pool {
        case .none: break
        case .max: parts.append("max pool 3x3/2")
        case .globalAverage: parts.append("global average")
        }
        return parts.joined(separator: " + ") + (int8 == nil ? weights.note : ", int8")
    }

    /// The residual becomes the result, where both are of one size.
    var overwritable: [Int] { pool == .none ? [residual].compactMap { $0 } : [] }

    func description(batch: Int, _ settings: KernelSettings) -> ck_conv_desc {
        var description = spec.description(input: input, batch: batch, settings)
        if hasBias { description.epilogue |= UInt32(CK_BIAS) }
        if addsResidual { description.epilogue |= UInt32(CK_RESIDUAL) }
        if relu { description.epilogue |= UInt32(CK_RELU) }
        switch pool {
        case .none: break
        case .max: description.epilogue |= UInt32(CK_MAX_POOL_3X3_S2)
        case .globalAverage: description.epilogue |= UInt32(CK_GLOBAL_AVERAGE)
        }
        description.src_layout = source.pictureLayout
        if weights == .bfloat16 { description.packed_type = CK_BF16 }
        if isForced, let algorithm = settings.forcedAlgorithm { description.algorithm = algorithm.kernel }
        return description
    }

    /// True if a kernel does all of it.
    func isSupported(_ settings: KernelSettings) -> Bool {
        ConvPlan.isSupported(description(batch: settings.batch, settings))
    }

    func prepare(_ step: StepContext) throws(ExecutionError) -> Preparation {
        if let int8 { return try prepare(int8, step) }
        var description = description(batch: step.chunk, step.settings)
        if step.settings.measures { description.selection = CK_MEASURE }
        return try ConvPlan(description, name: step.name).preparation(packed: step.step.inputs[1])
    }

    func compile(_ step: StepContext) -> Kernel {
        if let int8 { return compile(int8, step) }
        let plan = step.preparation.plan!
        let (x, packed, y) = (step.input(0), step.input(1), step.output(0))
        let bias = hasBias ? step.input(2) : nil
        let residual = residual.map(step.input)
        let count = step.step.inputs.count
        let picture = source == .pixels ? (scale: step.input(count - 2), shift: step.input(count - 1)) : nil
        return { run, start, count in
            var arguments = ck_conv_args()
            arguments.batch = Int32(count)
            arguments.src = UnsafeRawPointer(x.pointer(run, start))
            arguments.packed = UnsafeRawPointer(packed.pointer(run, 0))
            if let bias { arguments.bias = UnsafePointer(bias(run)) }
            if let residual { arguments.residual = UnsafePointer(residual(run, start)) }
            if let picture {
                arguments.src_scale = UnsafePointer(picture.scale(run))
                arguments.src_shift = UnsafePointer(picture.shift(run))
            }
            arguments.dst = y(run, start)
            arguments.workspace = run.scratch
            return ck_conv_run(plan.handle, &arguments)
        }
    }
}

/// weight -> filters; in inference weight, [bias], [gamma, beta, mean, variance] -> filters, [bias]: as the kernel of the
/// convolution that reads them wants them.
struct PackFilters: StepOperation {
    /// What goes into the filters besides the weights; nil where no bias is written either.
    var fold: LayerFold?

    var text: String { "pack" }
    var isPerImage: Bool { false }
    var isHoisted: Bool { true }

    func compile(_ step: StepContext) -> Kernel {
        let plan = step.readerOfResult.plan!
        let (weight, packed) = (step.input(0), step.output(0))
        guard let fold = fold?.compiled(step) else {
            return { run, _, _ in ck_conv_pack(plan.handle, weight(run), nil, packed.pointer(run, 0)) }
        }
        return { run, _, _ in
            let (status, scale) = fold(run)
            return status == CK_OK ? ck_conv_pack(plan.handle, weight(run), scale, packed.pointer(run, 0)) : status
        }
    }
}
