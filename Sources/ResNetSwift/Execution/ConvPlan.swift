// A convolution of the kernel library, planned: the owner of a ck_conv_plan.
import CKernels
import ResNetGraph

final class ConvPlan: @unchecked Sendable {
    // Unchecked: a ck_conv_plan is immutable once made.
    let handle: OpaquePointer

    convenience init(
        _ step: ConvStep, batch: Int, threads: Int, options: PlanOptions, name: String
    ) throws(ExecutionError) {
        var description = Self.description(step, batch: batch, threads: threads, options: options)
        if options.wisdom != nil { description.selection = CK_MEASURE }
        try self.init(description, name: name)
    }

    init(_ description: ck_conv_desc, name: String) throws(ExecutionError) {
        var description = description
        var handle: OpaquePointer?
        try check(
            ck_conv_plan_create(&description, &handle),
            "planning \(name) for \(description.batch) x \(description.in_channels)x\(description.in_height)"
                + "x\(description.in_width)")
        guard let handle else { preconditionFailure("a plan without a plan") }
        self.handle = handle
    }

    deinit { ck_conv_plan_destroy(handle) }

    /// True if a kernel does the whole step.
    static func isSupported(_ step: ConvStep, batch: Int, threads: Int, options: PlanOptions) -> Bool {
        isSupported(description(step, batch: batch, threads: threads, options: options))
    }

    static func isSupported(_ description: ck_conv_desc) -> Bool {
        var description = description
        var handle: OpaquePointer?
        defer { ck_conv_plan_destroy(handle) }
        return ck_conv_plan_create(&description, &handle) == CK_OK
    }

    var packedBytes: Int { ck_conv_packed_size(handle) }
    var workspaceBytes: Int { ck_conv_workspace_size(handle) }

    /// Equal for plans that can run each other's packed filters.
    var packedFormat: UInt64 { ck_conv_packed_format(handle) }

    /// One line, e.g. `winograd f4x4 avx512 14x32, 2 threads`.
    var text: String {
        let length = ck_conv_plan_describe(handle, nil, 0)
        return String(unsafeUninitializedCapacity: length + 1) { buffer in
            buffer.withMemoryRebound(to: CChar.self) {
                min(ck_conv_plan_describe(handle, $0.baseAddress, $0.count), length)
            }
        }
    }

    /// The convolution alone: no epilogue, forward, blocked.
    static func description(
        _ spec: ConvSpec, input: ImageShape, batch: Int, threads: Int, accuracy: Accuracy
    ) -> ck_conv_desc {
        var description = ck_conv_desc()
        description.batch = Int32(batch)
        description.in_channels = Int32(spec.inChannels)
        description.in_height = Int32(input.height)
        description.in_width = Int32(input.width)
        description.out_channels = Int32(spec.outChannels)
        description.kernel_height = Int32(spec.kernel.height)
        description.kernel_width = Int32(spec.kernel.width)
        description.stride_height = Int32(spec.stride.height)
        description.stride_width = Int32(spec.stride.width)
        description.pad_height = Int32(spec.padding.height)
        description.pad_width = Int32(spec.padding.width)
        description.dilation_height = Int32(spec.dilation.height)
        description.dilation_width = Int32(spec.dilation.width)
        description.groups = Int32(spec.groups)
        description.threads = Int32(threads)
        description.pass = CK_FORWARD
        description.accuracy = accuracy.kernel
        return description
    }

    private static func description(
        _ step: ConvStep, batch: Int, threads: Int, options: PlanOptions
    ) -> ck_conv_desc {
        var description = description(
            step.spec, input: step.input, batch: batch, threads: threads, accuracy: options.accuracy)
        var epilogue = 0
        if step.hasBias { epilogue |= Int(CK_BIAS) }
        if step.addsResidual { epilogue |= Int(CK_RESIDUAL) }
        if step.relu { epilogue |= Int(CK_RELU) }
        switch step.pool {
        case .none: break
        case .max: epilogue |= Int(CK_MAX_POOL_3X3_S2)
        case .globalAverage: epilogue |= Int(CK_GLOBAL_AVERAGE)
        }
        description.epilogue = UInt32(epilogue)
        if step.readsPicture {
            switch options.input {
            case .floatNCHW: description.src_layout = CK_NCHW
            case .bytesNHWC: description.src_layout = CK_NHWC8
            }
        }
        if step.isForced, let algorithm = options.forcedAlgorithm { description.algorithm = algorithm.kernel }
        return description
    }
}
