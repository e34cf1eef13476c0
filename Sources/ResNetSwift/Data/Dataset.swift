// Samples with labels, as a value: where the pictures are, and what each of them shows. Nothing is decoded until a loader
// asks for a sample.

import ResNetGraph

/// What the samples of a data set show.
public enum DatasetLabels: Sendable, Hashable {
    /// One class index a sample.
    case classes([Int])
    /// The indices of the labels that a sample has: none, one or several, ascending.
    case multiLabel([[Int]])

    /// Samples.
    public var count: Int {
        switch self {
        case .classes(let labels): labels.count
        case .multiLabel(let labels): labels.count
        }
    }
}

/// Where the samples are.
public enum SampleSource: Sendable {
    /// One picture file a sample.
    case files([String])
    /// Several gray picture files a sample, one a channel.
    case stacks([[String]])
    /// Bytes in memory, (N, H, W, C).
    case pictures(ByteImages)
    /// Floats in memory, (N, C, H, W), given to the network as they are: no transform applies to them.
    case floats(Tensor)

    /// Samples.
    public var count: Int {
        switch self {
        case .files(let paths): paths.count
        case .stacks(let stacks): stacks.count
        case .pictures(let images): images.count
        case .floats(let tensor): tensor.shape[0]
        }
    }
}

/// Pictures of one size in memory, (N, H, W, C).
public struct ByteImages: Sendable {
    /// N.
    public let count: Int
    /// H, in pixels.
    public let height: Int
    /// W, in pixels.
    public let width: Int
    /// C: 1 gray, 3 RGB, or any other number.
    public let channels: Int
    /// (N, H, W, C), row-major.
    public let pixels: [UInt8]

    /// (N, H, W, C) bytes.
    /// - Precondition: `pixels` holds exactly that many bytes.
    public init(count: Int, height: Int, width: Int, channels: Int, pixels: [UInt8]) {
        precondition(
            pixels.count == count * height * width * channels, "\(pixels.count) bytes are not \(count) such pictures")
        self.count = count
        self.height = height
        self.width = width
        self.channels = channels
        self.pixels = pixels
    }
}

/// Samples with labels: where the pictures are, and what each of them shows. Nothing is decoded until a loader asks
/// for a sample.
public struct Dataset: Sendable {
    /// In the order of the logits.
    public let classNames: [String]
    /// What each sample shows.
    public let labels: DatasetLabels
    /// Where the samples are.
    public let source: SampleSource
    /// What was passed over while the data set was put together, and what was assumed; usually empty.
    public let notes: [String]
    /// Pictures of kinds that are not read, and folders that could not be searched.
    public let skipped: [SkippedFile]

    /// A data set of your own making.
    /// - Precondition: every sample has a label, and every label a class name.
    public init(
        classNames: [String], labels: DatasetLabels, source: SampleSource, notes: [String] = [],
        skipped: [SkippedFile] = []
    ) {
        precondition(labels.count == source.count, "\(labels.count) labels for \(source.count) samples")
        let largest =
            switch labels {
            case .classes(let labels): labels.max()
            case .multiLabel(let labels): labels.joined().max()
            }
        precondition(largest ?? -1 < classNames.count, "label \(largest ?? -1) of \(classNames.count) classes")
        self.classNames = classNames
        self.labels = labels
        self.source = source
        self.notes = notes
        self.skipped = skipped
    }

    /// More classes or labels than that are refused: a network for them would not fit into memory, and such a number is
    /// usually no class.
    public static let classLimit = 65_536

    func adding(notes more: [String]) -> Dataset {
        Dataset(classNames: classNames, labels: labels, source: source, notes: more + notes, skipped: skipped)
    }

    /// Samples.
    public var count: Int { labels.count }

    /// Samples have none, one or several labels instead of one class.
    public var isMultiLabel: Bool { if case .multiLabel = labels { true } else { false } }

    /// Samples are arrays of floats, which no transform applies to.
    public var isFloats: Bool { if case .floats = source { true } else { false } }

    /// The same samples with one label, whether they are of the second class: for networks of one output. nil unless there
    /// are two classes.
    public func yesNo() -> Dataset? {
        guard case .classes(let labels) = labels, classNames.count == 2 else { return nil }
        return Dataset(
            classNames: [classNames[1]], labels: .multiLabel(labels.map { $0 == 1 ? [0] : [] }), source: source,
            notes: notes, skipped: skipped)
    }

    /// A file's path, or the place in an array.
    public func name(of sample: Int) -> String {
        switch source {
        case .files(let paths): paths[sample]
        case .stacks(let stacks): stacks[sample].first ?? "sample \(sample)"
        case .pictures, .floats: "picture \(sample)"
        }
    }

    /// The picture of a sample before any step of the transform.
    /// - Precondition: the samples are pictures, not floats.
    package func picture(_ sample: Int, for transform: ImageTransform) throws(PictureError) -> Picture {
        switch source {
        case .files(let paths): return try transform.picture(contentsOf: paths[sample])
        case .stacks(let stacks):
            var parts: [Picture] = []
            for path in stacks[sample] {
                let part = try Picture(contentsOf: path, exif: transform.exif, channels: 1)
                if let first = parts.first, first.height != part.height || first.width != part.width {
                    throw PictureError(
                        path: path,
                        fault: .corrupt(
                            "\(part.width) x \(part.height), its first channel \(first.width) x \(first.height)"))
                }
                parts.append(part)
            }
            return Picture(stacking: parts)
        case .pictures(let images):
            let size = images.height * images.width * images.channels
            let picture = Picture(
                height: images.height, width: images.width, channels: images.channels,
                pixels: Array(images.pixels[sample * size..<(sample + 1) * size]))
            return picture.converted(toChannels: transform.channels) ?? picture
        case .floats: preconditionFailure("samples of floats are no pictures")
        }
    }

    /// All samples in order.
    public var all: DatasetSlice { DatasetSlice(dataset: self, samples: Array(0..<count)) }
}

/// Some samples of a data set: a training split, say.
public struct DatasetSlice: Sendable {
    /// What the samples are of.
    public let dataset: Dataset
    /// Indices in the data set.
    public let samples: [Int]

    /// Any samples, in any order, some twice if you like.
    /// - Precondition: the data set has these samples.
    public init(dataset: Dataset, samples: [Int]) {
        precondition(samples.allSatisfy { 0..<dataset.count ~= $0 }, "a sample that the data set does not have")
        self.dataset = dataset
        self.samples = samples
    }

    /// Samples.
    public var count: Int { samples.count }
}
