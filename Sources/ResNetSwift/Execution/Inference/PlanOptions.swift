// What a caller may choose about a plan, and how it reaches the kernels.
import CKernels

/// How far results may stray from a direct convolution's for the sake of speed.
public enum Accuracy: String, Sendable, Hashable, CaseIterable {
    /// Direct sums only, no Winograd.
    case strict
    /// Winograd up to F(5x5, 3x3) with well-conditioned points.
    case `default`
    /// Whatever is fastest.
    case fast
}

/// What weights are stored and convolutions computed in.
public enum Precision: String, Sendable, Hashable, CaseIterable {
    /// 32-bit floating point.
    case float32
    /// Bytes, multiplied exactly and added in 32-bit integers: what a model is quantized for; all else in float32.
    case int8
    /// Weights of 1x1 convolutions and linear layers in bfloat16, rounded to the nearest once they hold their batch norm:
    /// half the memory to read. Products and sums, and all other weights, in float32.
    case bf16
}

/// A convolution algorithm of the kernel library.
public enum ConvAlgorithm: String, Sendable, Hashable, CaseIterable {
    /// `direct` and `gemm` take nearly every shape, `pointwise` is 1x1, `stem` and `stemWinograd` have few input channels,
    /// the latter 7 columns at stride 2, `winograd2`, `winograd4`, `winograd43` (tiles of 4 and 3) and `winograd54` are
    /// 3x3 at stride 1, `winogradStride2` is 3x3 at stride 2.
    case direct, pointwise, stem, stemWinograd, winograd2, winograd4, winograd43, winograd54, winogradStride2, gemm
}

/// What the caller's pictures look like in memory.
public enum InputKind: Sendable, Hashable {
    /// (N, C, H, W) floats, ready for the network.
    case floatNCHW
    /// (N, H, W, C) bytes, as decoded: the network sees byte * scale[c] + shift[c], and zero in the padding.
    case bytesNHWC(scale: [Float], shift: [Float])
}

/// What a caller may choose about a plan.
public struct PlanOptions: Sendable, Hashable {
    /// Threads of a run; 0 means the physical cores this process may use.
    public var threads = 0
    /// Whether Winograd may be used.
    public var accuracy = Accuracy.default
    /// nil: int8 for models that are quantized, float32 for all others. A plan of which nothing can be so is an error.
    public var precision: Precision?
    /// Floats or bytes.
    public var input = InputKind.floatNCHW
    /// Nodes whose values the caller wants besides logits and features.
    public var taps: [String] = []
    /// Every convolution that can runs this algorithm; for tests and comparisons.
    public var forcedAlgorithm: ConvAlgorithm?
    /// A file that remembers which algorithm is fastest on this machine. What it does not know yet is measured while
    /// the plan is made, some seconds for a network, and added to it. nil: a cost model decides, at once.
    public var wisdom: String?
    var schedule = SchedulePolicy()
    /// Maps are handed out as they are made, (N, C/c, H, W, c), not copied to planes.
    var keepsBlocked = false

    public init(
        threads: Int = 0, accuracy: Accuracy = .default, input: InputKind = .floatNCHW, taps: [String] = [],
        forcedAlgorithm: ConvAlgorithm? = nil, wisdom: String? = nil, precision: Precision? = nil
    ) {
        self.threads = threads
        self.accuracy = accuracy
        self.input = input
        self.taps = taps
        self.forcedAlgorithm = forcedAlgorithm
        self.wisdom = wisdom
        self.precision = precision
    }
}

extension Accuracy {
    var kernel: ck_accuracy {
        switch self {
        case .strict: CK_ACCURACY_STRICT
        case .default: CK_ACCURACY_DEFAULT
        case .fast: CK_ACCURACY_FAST
        }
    }
}

extension ConvAlgorithm {
    var kernel: ck_algorithm {
        switch self {
        case .direct: CK_DIRECT
        case .pointwise: CK_POINTWISE
        case .stem: CK_STEM
        case .stemWinograd: CK_STEM_WINOGRAD
        case .winograd2: CK_WINOGRAD_2
        case .winograd4: CK_WINOGRAD_4
        case .winograd43: CK_WINOGRAD_4_3
        case .winograd54: CK_WINOGRAD_5_4
        case .winogradStride2: CK_WINOGRAD_STRIDE_2
        case .gemm: CK_GEMM
        }
    }
}
