// One update from several shards of a batch, computed one after the other or by several processes.
//
//     shard 0   shard 1   shard 2   shard 3        weight * gradient, samples * change of the running statistics
//          \   /               \   /
//           sum                 sum                a binary tree over the shards, whoever computes them
//               \             /
//                 sum / weights  -> update
//
// A shard changes neither parameters nor statistics, so its contribution depends on its samples alone. The tree depends on
// the number of shards alone. So 1, 2, 4 or 8 processes that share 8 shards give the same bits.
//
// Batch norms take their statistics from a shard, or from all shards of a batch. Then shards are computed side by side, and
// their sums are added in the same tree whenever a batch norm needs them (`contribute(together:)`).
import ResNetGraph

/// A part of a batch, and where its contribution goes.
public struct BatchShard {
    /// Its samples.
    public var batch: TrainingBatch
    /// Decides dropout, as `StepSettings.step`.
    public var step: Int
    /// What the shard counts: the gradient of its mean loss is multiplied by it.
    public var weight: Double
    /// `contributionCount()` floats.
    public var target: UnsafeMutableBufferPointer<Float>
    /// Called when the parts of the target that make a bucket are whole, with each number of `gradientBuckets` in order, on
    /// the thread that computes.
    public var bucketIsWhole: ((Int) -> Void)?

    public init(
        batch: TrainingBatch, step: Int, weight: Double, target: UnsafeMutableBufferPointer<Float>,
        bucketIsWhole: ((Int) -> Void)? = nil
    ) {
        self.batch = batch
        self.step = step
        self.weight = weight
        self.target = target
        self.bucketIsWhole = bucketIsWhole
    }
}

/// A backend whose update may come from several shards.
public protocol ShardedBackend: TrainingBackend {
    /// Floats of a contribution. Changes with `frozen`.
    func contributionCount() throws -> Int
    /// Floats of it that are gradients, at its start; running statistics follow.
    func gradientCount() throws -> Int
    /// A contribution in parts, in the order in which the backward pass makes them whole: ranges of it, which together are
    /// all of it.
    /// - Parameter startsAtFeatures: For batches of features.
    func gradientBuckets(startsAtFeatures: Bool) throws -> [[Range<Int>]]
    /// Forward and backward over one shard in training mode; changes neither parameters nor running statistics.
    /// - Throws: for a batch that the backend does not take.
    func contribute(_ shard: BatchShard) throws -> StepResult
    /// The same for all shards of this process at once, none or more, whose batch norms normalize with the statistics of
    /// all shards of all processes.
    /// - Parameters:
    ///   - startsAtFeatures: The batch is one of features, which no shard may be there to say.
    ///   - exchange: Replaces a vector by the sum of all processes' vectors, the same bits in all. Every process calls it
    ///     equally often with vectors of the same lengths, whatever fails.
    /// - Throws: for a batch that the backend does not take; what `exchange` throws.
    func contribute(
        together shards: [BatchShard], startsAtFeatures: Bool,
        exchange: (UnsafeMutableBufferPointer<Double>) throws -> Void
    ) throws -> [StepResult]
    /// One update from the sum of contributions, which is overwritten.
    /// - Parameters:
    ///   - weight: The sum of the shards' weights.
    ///   - samples: The sum of the shards' samples.
    /// - Throws: where memory for the optimizer runs short.
    func update(
        fromSum sum: UnsafeMutableBufferPointer<Float>, weight: Double, samples: Int, _ settings: StepSettings
    ) throws
    /// Whether an update may be made in parts: not where the norm of all gradients is limited.
    var updatesInParts: Bool { get }
    /// A part of an update: what one of `gradientBuckets` has the sums of. All parts, in any order and each once, are the
    /// update that `update(fromSum:)` makes, with the same bits.
    /// - Precondition: `updatesInParts`.
    /// - Throws: where memory for the optimizer runs short.
    func update(
        _ bucket: [Range<Int>], fromSum sum: UnsafeMutableBufferPointer<Float>, weight: Double, samples: Int,
        _ settings: StepSettings
    ) throws
}

extension TrainingPlan: ShardedBackend {
    public func contributionCount() throws(ExecutionError) -> Int {
        try withStore { (store) throws(ExecutionError) in store.changesCount }
    }

    public func gradientCount() throws(ExecutionError) -> Int {
        try withStore { (store) throws(ExecutionError) in store.count }
    }

    public func gradientBuckets(startsAtFeatures: Bool) throws(ExecutionError) -> [[Range<Int>]] {
        try withStore { (store) throws(ExecutionError) in
            try buckets(startsAtFeatures: startsAtFeatures).map(\.ranges) + [[store.count..<store.changesCount]]
        }
    }

    public func contribute(_ shard: BatchShard) throws(ExecutionError) -> StepResult {
        try withStore { (store) throws(ExecutionError) in
            begin(shard.target, store)
            var progress: PassProgress?
            if let bucketIsWhole = shard.bucketIsWhole {
                progress = PassProgress(
                    try buckets(startsAtFeatures: shard.batch.input.isFeatures), bucketIsWhole)
            }
            let result = try pass(
                shard.batch, mode: .training, dropoutSeed: shard.step, gradientScale: shard.weight,
                changes: UnsafeMutableRawPointer(shard.target.baseAddress!), progress: progress)
            end(shard, store)
            if let progress { progress.body(progress.count) }
            return result
        }
    }

    public func contribute(
        together shards: [BatchShard], startsAtFeatures: Bool,
        exchange: (UnsafeMutableBufferPointer<Double>) throws -> Void
    ) throws -> [StepResult] {
        try withoutActuallyEscaping(exchange) { exchange in
            let totals = TotalsExchange(exchange)
            let results = try withStore { (store) throws(ExecutionError) in
                for shard in shards { begin(shard.target, store) }
                let results = try pass(together: shards, startsAtFeatures: startsAtFeatures, exchange: totals)
                for shard in shards { end(shard, store) }
                return results
            }
            if let failure = totals.failure { throw failure }
            return results
        }
    }

    /// A contribution starts as zeros and the running statistics as they are.
    private func begin(_ target: UnsafeMutableBufferPointer<Float>, _ store: ParameterStore) {
        precondition(target.count == store.changesCount, "a contribution has another length")
        precondition(!store.hasGradients, "shards do not mix with accumulated batches")
        target.baseAddress?.update(repeating: 0, count: store.count)
        for (index, value) in store.runningStatistics.enumerated() { target[store.count + index] = value }
    }

    /// It ends with the change of the statistics, times the samples.
    private func end(_ shard: BatchShard, _ store: ParameterStore) {
        let samples = Float(shard.batch.input.count)
        for (index, before) in store.runningStatistics.enumerated() {
            shard.target[store.count + index] = samples * (shard.target[store.count + index] - before)
        }
    }

    public func update(
        fromSum sum: UnsafeMutableBufferPointer<Float>, weight: Double, samples: Int, _ settings: StepSettings
    ) throws(ExecutionError) {
        try withStore { (store) throws(ExecutionError) in
            take(0..<store.changesCount, of: sum, weight: weight, samples: samples, store)
            _ = try updateParameters(settings)
        }
    }

    public var updatesInParts: Bool { plan.gradientNormLimit == nil }

    public func update(
        _ bucket: [Range<Int>], fromSum sum: UnsafeMutableBufferPointer<Float>, weight: Double, samples: Int,
        _ settings: StepSettings
    ) throws(ExecutionError) {
        precondition(updatesInParts, "the norm of all gradients is limited")
        try withStore { (store) throws(ExecutionError) in
            for range in bucket {
                take(range, of: sum, weight: weight, samples: samples, store)
                try updateParameters(in: range, settings)
            }
        }
    }

    /// Gradients and running statistics of a range become those that the sum says.
    private func take(
        _ range: Range<Int>, of sum: UnsafeMutableBufferPointer<Float>, weight: Double, samples: Int,
        _ store: ParameterStore
    ) {
        precondition(sum.count == store.changesCount, "a sum has another length")
        let (gradients, statistics) = (store.allGradients, store.runningStatistics)
        let factor = weight > 0 ? 1 / weight : 0
        for index in range.clamped(to: gradients.indices) { gradients[index] = Float(Double(sum[index]) * factor) }
        guard samples > 0 else { return }
        for index in range.clamped(to: gradients.count..<sum.count) {
            statistics[index - gradients.count] += Float(Double(sum[index]) / Double(samples))
        }
    }
}
