// A convolution of the kernel library, planned: the owner of a ck_conv_plan.
import CKernels
import ResNetGraph

final class ConvPlan: @unchecked Sendable {
    // Unchecked: a ck_conv_plan is immutable once made.
    let handle: OpaquePointer

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

    /// True if a kernel does all of it.
    static func isSupported(_ description: ck_conv_desc) -> Bool {
        var description = description
        var handle: OpaquePointer?
        defer { ck_conv_plan_destroy(handle) }
        return ck_conv_plan_create(&description, &handle) == CK_OK
    }

    /// `packed`: the value that holds the filters.
    func preparation(packed: Int?) -> Preparation {
        Preparation(
            plan: self, scratchBytes: ck_conv_workspace_size(handle),
            sizes: packed.map { [$0: ck_conv_packed_size(handle)] } ?? [:], text: text,
            packedFormat: ck_conv_packed_format(handle))
    }

    /// How `images` of a run divide among the plan's threads; nil for what is another library's.
    func balance(images: Int) -> WorkBalance? {
        var balance = ck_balance()
        guard ck_conv_balance(handle, Int32(images), &balance) == CK_OK else { return nil }
        return WorkBalance(work: balance.work, longest: balance.longest, waits: Int(balance.regions))
    }

    /// One line, e.g. `winograd f4x4 avx512 14x32, 2 threads`.
    private var text: String {
        let length = ck_conv_plan_describe(handle, nil, 0)
        return String(unsafeUninitializedCapacity: length + 1) { buffer in
            buffer.withMemoryRebound(to: CChar.self) {
                min(ck_conv_plan_describe(handle, $0.baseAddress, $0.count), length)
            }
        }
    }
}

extension ConvSpec {
    /// The convolution alone: no epilogue, forward, blocked.
    func description(input: ImageShape, batch: Int, _ settings: KernelSettings) -> ck_conv_desc {
        var description = ck_conv_desc()
        description.batch = Int32(batch)
        description.in_channels = Int32(inChannels)
        description.in_height = Int32(input.height)
        description.in_width = Int32(input.width)
        description.out_channels = Int32(outChannels)
        description.kernel_height = Int32(kernel.height)
        description.kernel_width = Int32(kernel.width)
        description.stride_height = Int32(stride.height)
        description.stride_width = Int32(stride.width)
        description.pad_height = Int32(padding.height)
        description.pad_width = Int32(padding.width)
        description.dilation_height = Int32(dilation.height)
        description.dilation_width = Int32(dilation.width)
        description.groups = Int32(groups)
        description.threads = Int32(settings.threads)
        description.pass = CK_FORWARD
        description.accuracy = settings.accuracy.kernel
        return description
    }
}

extension ValueStorage {
    /// Of what a convolution reads.
    var pictureLayout: ck_layout {
        switch self {
        case .planes: CK_NCHW
        case .pixels: CK_NHWC8
        default: CK_NCHWC
        }
    }
}

/// `3x3`, `3x3/2`.
func windowText(_ kernel: Size2, _ stride: Size2) -> String {
    let text = "\(kernel.height)x\(kernel.width)"
    guard stride != 1 else { return text }
    return text + (stride.height == stride.width ? "/\(stride.height)" : "/\(stride.height)x\(stride.width)")
}
