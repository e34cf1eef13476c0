// From a data set to batches: order, decoding and augmentation in threads of its own, mixing, labels.
//
//     order of the epoch   7 2 9 | 4 0 1 | 8 5 6 | 3          batches of 3, a tail of 1
//     threads                      decode, transform          at most `prefetch` batches ahead of the caller
//     caller               next() -> batch 0, 1, 2, ...
//
// What a batch holds depends on (seed, epoch, sample) alone: not on the number of threads, on timing, or on whether the
// epoch was begun in the middle.

import ResNetGraph

/// How a `BatchLoader` makes batches.
public struct LoaderSettings: Sendable {
    /// Samples of a batch; the last of an epoch may have fewer.
    public var batchSize: Int
    /// What happens to every picture; random steps draw from (seed, epoch, sample).
    public var transform: ImageTransform
    /// Of each picture, side by side in the batch; transforms that draw random numbers and mixing have the usual one.
    package var views = [PictureView()]
    /// In which order the samples come.
    public var order: SampleOrder
    /// Mixup and cutmix; nil means neither.
    public var mixing: BatchMixing?
    /// Of order, augmentation and mixing.
    public var seed: UInt64
    /// Decoding threads.
    public var threads: Int
    /// Batches decoded ahead; bounds the memory.
    public var prefetch: Int
    /// A batch of one sample is left out: a batch norm that trains has no variance there.
    public var dropsSingleSample: Bool
    /// The run stops when more than this part of the samples cannot be read; one always may.
    public var skipLimit: Double

    public init(
        batchSize: Int, transform: ImageTransform, order: SampleOrder = .sequential, mixing: BatchMixing? = nil,
        seed: UInt64 = 0, threads: Int = 2, prefetch: Int = 4, dropsSingleSample: Bool = false,
        skipLimit: Double = 0.05
    ) {
        self.batchSize = batchSize
        self.transform = transform
        self.order = order
        self.mixing = mixing
        self.seed = seed
        self.threads = threads
        self.prefetch = prefetch
        self.dropsSingleSample = dropsSingleSample
        self.skipLimit = skipLimit
    }
}

/// A batch and where it comes from.
public struct LoadedBatch: Sendable {
    /// In the epoch, from 0.
    public let index: Int
    /// nil where nothing of it could be read, or only one sample and those are left out. Of several views of a picture all
    /// are inputs, one after the other; the labels are the picture's.
    public let batch: TrainingBatch?
    /// Indices in the data set, in the batch's order.
    public let samples: [Int]
    /// Samples of this batch that could not be read.
    public let skipped: [SkippedSample]

    package init(index: Int, batch: TrainingBatch?, samples: [Int], skipped: [SkippedSample]) {
        self.index = index
        self.batch = batch
        self.samples = samples
        self.skipped = skipped
    }
}

/// Batches of a slice of a data set, decoded ahead by threads. What an epoch's batches hold is a function of (seed,
/// epoch): any batch can be made again.
public final class BatchLoader: Sendable {
    /// The samples.
    public let slice: DatasetSlice
    /// How batches are made of them.
    public let settings: LoaderSettings
    /// Of every picture, (C, H, W).
    public let pictureShape: ImageShape

    /// Checks that the samples make batches; decodes nothing yet.
    /// - Throws: `DatasetError.request` where the pictures would not have one size, or the transform does not fit them.
    public init(_ slice: DatasetSlice, _ settings: LoaderSettings) throws(DatasetError) {
        precondition(settings.batchSize > 0 && settings.threads > 0 && settings.prefetch > 0, "sizes are positive")
        precondition(
            settings.views == [PictureView()] || settings.mixing == nil && !settings.transform.isRandom,
            "what is random has one view")
        guard slice.count > 0 else { throw .request(expected: "at least one sample", found: "none") }
        let transform = settings.transform
        switch slice.dataset.source {
        case .files, .stacks:
            guard let size = transform.fixedOutputSize else {
                throw .request(
                    expected: "a transform that gives all pictures one size",
                    found: "one without a crop or a resize to height and width")
            }
            pictureShape = ImageShape(channels: transform.channels, height: size.height, width: size.width)
        case .pictures(let images):
            let converts = [1, 3].contains(images.channels) && [1, 3].contains(transform.channels)
            guard images.channels == transform.channels || converts else {
                throw .request(
                    expected: "pictures of \(transform.channels) channels", found: "\(images.channels) channels")
            }
            let size = transform.outputSize(of: Size2(images.height, images.width))
            pictureShape = ImageShape(channels: transform.channels, height: size.height, width: size.width)
        case .floats(let tensor):
            guard !transform.isRandom else {
                throw .request(expected: "pictures of bytes to augment", found: "an array of floats")
            }
            pictureShape = ImageShape(channels: tensor.shape[1], height: tensor.shape[2], width: tensor.shape[3])
        }
        self.slice = slice
        self.settings = settings
    }

    /// Of the views of a picture.
    var bytesOfSample: Int { settings.views.count * pictureShape.count }

    /// Samples that may be skipped before `next` throws.
    public var skipLimit: Int { max(1, Int(Double(slice.count) * settings.skipLimit)) }

    /// The tail counts, unless it is a single sample that is left out.
    public var batchesPerEpoch: Int {
        let (full, tail) = slice.count.quotientAndRemainder(dividingBy: settings.batchSize)
        return full + (tail == 0 || (tail == 1 && dropsTail) ? 0 : 1)
    }

    /// Whether the last sample of an epoch is alone in its batch and left out.
    public var dropsTail: Bool {
        settings.dropsSingleSample && slice.count % settings.batchSize == 1
    }

    /// The samples of each batch of an epoch, as indices in the data set.
    public func plan(epoch: Int) -> [[Int]] {
        let positions = settings.order.positions(count: slice.count, epoch: epoch, seed: settings.seed)
        return (0..<batchesPerEpoch).map { batch in
            let start = batch * settings.batchSize
            return positions[start..<min(start + settings.batchSize, slice.count)].map { slice.samples[$0] }
        }
    }

    /// The batches of an epoch, from one on.
    public func batches(epoch: Int, from first: Int = 0) -> BatchStream {
        batches(epoch: epoch, Array(min(first, batchesPerEpoch)..<batchesPerEpoch))
    }

    /// Some batches of an epoch, by index.
    package func batches(epoch: Int, _ indices: [Int]) -> BatchStream {
        let plan = plan(epoch: epoch)
        return BatchStream(self, indices.map { PlannedBatch(index: $0, samples: plan[$0]) }, epoch: epoch)
    }
}

extension BatchLoader {
    /// What the network should say about samples, mixed if the batch is.
    package func labels(of samples: [Int], _ mixing: BatchMixing.Decision = .none) -> BatchLabels {
        let columns = slice.dataset.classNames.count
        func rows(_ labels: [[Int]]) -> Tensor {
            var values = [Float](repeating: 0, count: samples.count * columns)
            for (row, labels) in labels.enumerated() { for label in labels { values[row * columns + label] = 1 } }
            return Tensor(
                shape: [samples.count, columns], values: mixing.applied(toLabels: values, columns: columns))
        }
        switch slice.dataset.labels {
        case .multiLabel(let labels): return .multiHot(rows(samples.map { labels[$0] }))
        case .classes(let labels):
            if mixing == .none { return .classes(samples.map { Int32(labels[$0]) }) }
            return .probabilities(rows(samples.map { [labels[$0]] }))
        }
    }

    /// How a batch is mixed.
    func mixing(epoch: Int, batch: Int) -> BatchMixing.Decision {
        guard let mixing = settings.mixing else { return .none }
        var random = SampleRandom(seed: settings.seed, purpose: .mixing, epoch: epoch, sample: batch)
        return mixing.decision(height: pictureShape.height, width: pictureShape.width, &random)
    }

    /// The views of one picture as they enter the batch.
    func pictures(_ sample: Int, epoch: Int) -> Result<[Picture], SkippedSample.Reason> {
        do {
            let picture = try slice.dataset.picture(sample, for: settings.transform)
            var random = SampleRandom(seed: settings.seed, purpose: .augmentation, epoch: epoch, sample: sample)
            let results =
                settings.views == [PictureView()]
                ? [try settings.transform.apply(to: picture, random: &random)]
                : try settings.views.map { try settings.transform.apply(to: picture, view: $0) }
            let (height, width) = (pictureShape.height, pictureShape.width)
            guard results.allSatisfy({ $0.height == height && $0.width == width }) else {
                return .failure(.init(text: "\(slice.dataset.name(of: sample)): comes out with another size"))
            }
            return .success(results)
        } catch let error as PictureError {
            return .failure(.init(text: error.description))
        } catch {
            return .failure(.init(text: "\(slice.dataset.name(of: sample)): \(error)"))
        }
    }
}

extension SkippedSample {
    struct Reason: Error { let text: String }
}
