// What the loader gives and a training step takes: inputs and labels of some samples, side by side.

/// What a network reads for one batch.
public enum BatchInput: Sendable {
    /// Bytes (N, H, W, C) with the affine map of each channel.
    case pictures(PictureBatch)
    /// Floats (N, C, H, W).
    case floats(Tensor)
    /// What the graph's features node yields, (N, features): the backbone has been computed before.
    case features(Tensor)

    /// True where the backbone has been computed before.
    package var isFeatures: Bool { if case .features = self { true } else { false } }

    /// N.
    public var count: Int {
        switch self {
        case .pictures(let batch): batch.count
        case .floats(let tensor), .features(let tensor): tensor.shape[0]
        }
    }
}

/// What the network should have said.
public enum BatchLabels: Sendable {
    /// A class index for each sample; the loss's `ignoreIndex` marks samples that do not count.
    case classes([Int32])
    /// Probabilities (N, classes), rows of sum 1: mixup, cutmix.
    case probabilities(Tensor)
    /// 0 or 1 for every label of every sample, (N, labels); values between are allowed.
    case multiHot(Tensor)
}

/// Samples of a batch and their labels.
public struct TrainingBatch: Sendable {
    /// What the network reads.
    public var input: BatchInput
    /// What it should have said.
    public var labels: BatchLabels

    public init(input: BatchInput, labels: BatchLabels) {
        self.input = input
        self.labels = labels
    }

    /// N.
    public var count: Int { input.count }
}

/// Pictures of one size as a network takes them: bytes (N, H, W, C) and the affine map that makes them floats.
public struct PictureBatch: Sendable, Hashable {
    /// N.
    public let count: Int
    /// H, in pixels.
    public let height: Int
    /// W, in pixels.
    public let width: Int
    /// C.
    public let channels: Int
    /// (N, H, W, C).
    public let pixels: [UInt8]
    /// Input of the network = byte * scale[c] + shift[c].
    public let scale: [Float]
    /// Added to byte * scale[c].
    public let shift: [Float]

    /// Pixels that lie side by side already.
    /// - Precondition: `pixels` holds `count` pictures of that size; scale and shift have a value for each channel.
    package init(
        count: Int, height: Int, width: Int, channels: Int, pixels: [UInt8], scale: [Float], shift: [Float]
    ) {
        precondition(pixels.count == count * height * width * channels, "\(pixels.count) bytes are not the batch")
        precondition(scale.count == channels && shift.count == channels, "scale and shift are for each channel")
        self.count = count
        self.height = height
        self.width = width
        self.channels = channels
        self.pixels = pixels
        self.scale = scale
        self.shift = shift
    }
}
