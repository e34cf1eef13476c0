// The convolution in 8 bits: the same step, on bytes. What the epilogue of the kernel multiplies and adds holds all scales:
//
//     y = (sum * scale[k] + shift[k] + residual * its scale) / y's scale
//     scale[k] = x's scale * the weights' * the batch norm's       shift[k] = bias, less what the residual's zero stands for
//
// Between steps on bytes and steps on floats stand Quantize and Dequantize.
import CKernels
import ResNetGraph

/// What the operands and the result of a convolution in 8 bits stand for.
struct Int8Form: Sendable, Hashable {
    /// x's, whose zero is 0.
    let input: Float
    let weights: Quantization.Weights
    var residual: Quantization.Scale?
    /// nil: the result is floats.
    var result: Quantization.Scale?

    private var perResult: Float { 1 / (result?.scale ?? 1) }
    /// What a unit of the residual is worth in the result.
    var residualFactor: Float { (residual?.scale ?? 0) * perResult }

    /// The epilogue's factors: `norm` are those of the batch norm; `shift` holds the bias and gets what is added.
    func fill(
        scale: UnsafeMutablePointer<Float>, shift: UnsafeMutablePointer<Float>, norm: [Float]?
    ) {
        let zero = Float(result?.zeroPoint ?? 0)
        let residualZero = Float(residual?.zeroPoint ?? 0) * residualFactor
        for channel in weights.scales.indices {
            scale[channel] = input * weights.scales[channel] * (norm?[channel] ?? 1) * perResult
            shift[channel] = shift[channel] * perResult + (zero - residualZero)
        }
    }
}

extension Convolution {
    func prepare(_ int8: Int8Form, _ step: StepContext) throws(ExecutionError) -> Preparation {
        var description = ck_int8_desc()
        description.conv = spec.description(input: input, batch: step.chunk, step.settings)
        if addsResidual { description.conv.epilogue |= UInt32(CK_RESIDUAL) }
        if int8.result == nil {
            description.float_result = 1
            if relu { description.conv.epilogue |= UInt32(CK_RELU) }
        }
        description.weight_sum = Int32(max(int8.weights.largestSum, 1))
        description.weight_pair = int8.weights.largestPair.map { Int32(max($0, 1)) } ?? 0
        return try Int8ConvPlan(description, name: step.name).preparation(packed: step.step.inputs[1])
    }

    func compile(_ int8: Int8Form, _ step: StepContext) -> Kernel {
        let plan = step.preparation.int8Plan!
        let (x, packed, y) = (step.input(0), step.input(1), step.output(0))
        let (shift, scale) = (step.input(2), step.input(3))
        let residual = residual.map(step.input)
        let residualFactor = int8.residualFactor
        return { run, start, count in
            var arguments = ck_int8_args()
            arguments.batch = Int32(count)
            arguments.src = UnsafePointer(x.bytes(run, start))
            arguments.packed = UnsafeRawPointer(packed.pointer(run, 0))
            arguments.scale = UnsafePointer(scale(run))
            arguments.shift = UnsafePointer(shift(run))
            if let residual { arguments.residual = UnsafePointer(residual.bytes(run, start)) }
            arguments.residual_scale = residualFactor
            arguments.dst = y.pointer(run, start)
            arguments.workspace = run.scratch
            return ck_int8_run(plan.handle, &arguments)
        }
    }
}

/// weight, [bias], [gamma, beta, mean, variance] -> filters in bytes, shift, scale
struct PackBytes: StepOperation {
    let form: Int8Form
    /// Values of the weight.
    let count: Int
    /// What goes into the epilogue besides the weights' scales; nil for nothing.
    let fold: LayerFold?

    var text: String { "pack" }
    var isPerImage: Bool { false }

    func compile(_ step: StepContext) -> Kernel {
        let plan = step.readerOfResult.int8Plan!
        let (packed, shift, scale) = (step.output(0), step.output(1), step.output(2))
        let (form, fold, bytes) = (form, fold?.compiled(step), bytes(step))
        return { run, _, _ in
            let (status, norm) = fold?(run) ?? (CK_OK, nil)
            guard status == CK_OK else { return status }
            form.fill(scale: scale(run), shift: shift(run), norm: norm)
            return bytes(run) { ck_int8_pack(plan.handle, $0, packed.pointer(run, 0)) }
        }
    }

    /// Hands out the weights' bytes: those of a file where they lie, or made from floats.
    private func bytes(_ step: StepContext) -> @Sendable (Run, (UnsafePointer<Int8>) -> ck_status) -> ck_status {
        let (form, count) = (form, count)
        if let stored = step.signedBytes(0), stored.scales == form.weights.scales {
            return { _, body in withExtendedLifetime(stored) { body(stored.values.baseAddress!) } }
        }
        let weight = step.input(0)
        return { run, body in
            body(form.weights.bytes(of: UnsafeBufferPointer(start: weight(run), count: count)))
        }
    }
}

/// Floats -> bytes; zero is 0.
struct Quantize: StepOperation {
    let scale: Float

    var text: String { "to bytes" }

    func compile(_ step: StepContext) -> Kernel {
        let (x, y, elements) = (step.input(0), step.output(0), step.blockedElements)
        let factor = 1 / scale
        return { run, start, count in
            ck_quantize(x(run, start), factor, count * elements, y.bytes(run, start), run.threads)
        }
    }
}

/// Bytes -> floats; zero is 0.
struct Dequantize: StepOperation {
    let scale: Float

    var text: String { "to floats" }

    func compile(_ step: StepContext) -> Kernel {
        let (x, y, elements, scale) = (step.input(0), step.output(0), step.blockedElements, scale)
        return { run, start, count in
            ck_dequantize(x.bytes(run, start), scale, count * elements, y(run, start), run.threads)
        }
    }
}

extension StepContext {
    /// Of one image of the result, the surplus channels counted.
    fileprivate var blockedElements: Int {
        roundedUp(resultShape.channels, to: settings.block) * resultShape.height * resultShape.width
    }
}

extension Address {
    fileprivate func bytes(_ run: Run, _ start: Int) -> UnsafeMutablePointer<UInt8> {
        pointer(run, start).assumingMemoryBound(to: UInt8.self)
    }
}

/// A convolution of bytes of the kernel library, planned: the owner of a ck_int8_plan.
final class Int8ConvPlan: @unchecked Sendable {
    // Unchecked: a ck_int8_plan is immutable once made.
    let handle: OpaquePointer

    init(_ description: ck_int8_desc, name: String) throws(ExecutionError) {
        var description = description
        var handle: OpaquePointer?
        try check(ck_int8_plan_create(&description, &handle), "planning \(name) in 8 bits")
        guard let handle else { preconditionFailure("a plan without a plan") }
        self.handle = handle
    }

    deinit { ck_int8_plan_destroy(handle) }

    /// `packed`: the value that holds the filters.
    func preparation(packed: Int) -> Preparation {
        Preparation(
            int8Plan: self, scratchBytes: ck_int8_workspace_size(handle), sizes: [packed: ck_int8_packed_size(handle)],
            text: text, packedFormat: ck_int8_packed_format(handle))
    }

    /// One line, e.g. `int8 direct avx2 6x16, 2 threads`.
    private var text: String {
        let length = ck_int8_plan_describe(handle, nil, 0)
        return String(unsafeUninitializedCapacity: length + 1) { buffer in
            buffer.withMemoryRebound(to: CChar.self) {
                min(ck_int8_plan_describe(handle, $0.baseAddress, $0.count), length)
            }
        }
    }
}
