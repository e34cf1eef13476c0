// The settings of a run: the data, how long, how fast, and what it keeps.

import ResNetData
import ResNetGraph

/// The data of a run and how a batch of it is made.
public struct TrainingData: Sendable {
    /// Samples to train on.
    public var training: DatasetSlice
    /// Samples to score after each epoch; nil means none.
    public var validation: DatasetSlice?
    /// For training; may be random.
    public var transform: ImageTransform
    /// For validation, and stored with the checkpoint; not random.
    public var evaluationTransform: ImageTransform
    /// Samples of a batch.
    public var batchSize: Int
    /// In which order the training samples come.
    public var order: SampleOrder
    /// Mixup and cutmix; nil means neither.
    public var mixing: BatchMixing?
    /// Decoding threads.
    public var threads: Int
    /// Batches decoded ahead.
    public var prefetch: Int
    /// The run stops when more than this part of the samples cannot be read.
    public var skipLimit: Double

    public init(
        training: DatasetSlice, validation: DatasetSlice? = nil, transform: ImageTransform,
        evaluationTransform: ImageTransform, batchSize: Int = 32, order: SampleOrder = .shuffled,
        mixing: BatchMixing? = nil, threads: Int = 2, prefetch: Int = 4, skipLimit: Double = 0.05
    ) {
        self.training = training
        self.validation = validation
        self.transform = transform
        self.evaluationTransform = evaluationTransform
        self.batchSize = batchSize
        self.order = order
        self.mixing = mixing
        self.threads = threads
        self.prefetch = prefetch
        self.skipLimit = skipLimit
    }
}

/// How long a run is, how fast it learns, and what it keeps.
public struct TrainingSettings: Sendable {
    /// Passes over the training samples.
    public var epochs: Int
    /// Before schedule and groups.
    public var learningRate: Double
    /// What becomes of the rate from update to update.
    public var schedule: LearningRateSchedule
    /// Batches whose gradients make one update.
    public var accumulation: Int
    /// Parts of every batch whose gradients and batch statistics are computed one by one and added in the order of a binary
    /// tree, by one process or several: with the same shards, 1, 2, 4 or 8 processes give the same bits. nil: the batch as
    /// it is. `TrainingData.batchSize` is then the size of a shard.
    public var shards: Int?
    /// Batch norms normalize with the statistics of all shards of a batch; false: each shard with its own.
    public var synchronizesBatchNorm: Bool
    /// In which numbers the gradients of shards are added and sent to other processes.
    public var gradientType: GradientType
    /// Gradients go to other processes while the backward pass goes on; false: when it has ended. The bits are the same.
    public var overlapsExchange: Bool
    /// Of the order, the augmentation and the mixing; the backend has its own in its plan.
    public var seed: UInt64
    /// What is frozen when; before its first entry the backend's own choice stands.
    public var unfreezing: UnfreezeSchedule?
    /// Progressive resizing: sizes of the training pictures, one after the other, each for an equal part of the epochs. The
    /// last one is that of the transform, whose lengths change in proportion, and of validation. Empty: one size.
    public var sizes: [Size2]
    /// Validate and keep the moving average of the parameters: its decay, e.g. 0.999.
    public var averageDecay: Double?
    /// Decides which epoch is the best.
    public var monitor: Monitor
    /// The k of top-k.
    public var topK: Int
    /// Where checkpoints and logs go; nil keeps everything in memory.
    public var folder: String?
    /// A checkpoint after every so many updates, besides that after every epoch.
    public var checkpointUpdates: Int?
    /// An earlier run in the folder is replaced; otherwise it is an error.
    public var replacesEarlierRun: Bool
    /// Bytes that features of a frozen backbone may take; 0 computes them anew in every epoch.
    public var featureCacheLimit: Int
    /// For the pictures of the curves.
    public var title: String

    public init(
        epochs: Int = 10, learningRate: Double = 0.01, schedule: LearningRateSchedule = .init(), accumulation: Int = 1,
        shards: Int? = nil, synchronizesBatchNorm: Bool = false,
        gradientType: GradientType = .float32, overlapsExchange: Bool = true, seed: UInt64 = 0,
        unfreezing: UnfreezeSchedule? = nil, sizes: [Size2] = [],
        averageDecay: Double? = nil,
        monitor: Monitor = .validationLoss, topK: Int = 5, folder: String? = nil, checkpointUpdates: Int? = nil,
        replacesEarlierRun: Bool = false, featureCacheLimit: Int = 1 << 30, title: String = "Training"
    ) {
        self.epochs = epochs
        self.learningRate = learningRate
        self.schedule = schedule
        self.accumulation = accumulation
        self.shards = shards
        self.synchronizesBatchNorm = synchronizesBatchNorm
        self.gradientType = gradientType
        self.overlapsExchange = overlapsExchange
        self.seed = seed
        self.unfreezing = unfreezing
        self.sizes = sizes
        self.averageDecay = averageDecay
        self.monitor = monitor
        self.topK = topK
        self.folder = folder
        self.checkpointUpdates = checkpointUpdates
        self.replacesEarlierRun = replacesEarlierRun
        self.featureCacheLimit = featureCacheLimit
        self.title = title
    }

    /// Whether the last sample of an epoch, if it is alone in its shard, shares its batch statistics with other shards.
    func hasNeighbors(_ data: TrainingData) -> Bool {
        synchronizesBatchNorm && shards.map { data.training.count % ($0 * data.batchSize) != 1 } ?? false
    }

    /// Batches of the loader that make one update.
    var batchesPerUpdate: Int { shards ?? accumulation }

    func check() throws(TrainingError) {
        func require(_ holds: Bool, _ field: String, _ expected: String, _ found: Any) throws(TrainingError) {
            if !holds { throw .settings(field: field, expected: expected, found: "\(found)") }
        }
        try require(1...1_000_000 ~= epochs, "epochs", "1 to 1000000", epochs)
        try require(learningRate > 0 && learningRate.isFinite, "learning rate", "a positive number", learningRate)
        try require(accumulation >= 1, "accumulation", "at least 1 batch", accumulation)
        try require(1...4096 ~= shards ?? 1, "shards", "1 to 4096", shards ?? 1)
        try require(shards == nil || accumulation == 1, "accumulation", "1 with shards", accumulation)
        try require(
            shards != nil || gradientType == .float32, "gradient type", "float32 without shards", gradientType.rawValue)
        try require(sizes.count <= epochs, "sizes", "at most one for each of \(epochs) epochs", sizes.count)
        try require(topK >= 1, "top-k", "at least 1", topK)
        try require(checkpointUpdates ?? 1 >= 1, "checkpoint interval", "at least 1 update", checkpointUpdates ?? 1)
        let decay = averageDecay ?? 0
        try require(decay >= 0 && decay < 1, "average decay", "0 or more, below 1", decay)
    }
}
