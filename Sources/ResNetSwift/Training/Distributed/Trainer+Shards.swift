// Training on shards of every batch, by one process or several.
//
//     update     0                       1
//     shard      0  1  2  3              4  5  6  7         the loader's batches
//     process    0  0  1  1              0  0  1  1         each a whole branch of the tree
//
// Each process loads and computes its own shards; sums and scores of all reach every process, so that all take the same
// decisions. Rank 0 alone writes and reports.

import ResNetData
import ResNetExecution
import ResNetGraph
import ResNetSupport
import ResNetWeights

extension Trainer {
    /// Checks that the shards can be shared out so that every process computes whole branches of the tree.
    static func check(shards: Int?, _ processes: Int, _ backend: any TrainingBackend) throws(TrainingError) {
        func require(_ holds: Bool, _ expected: String, _ found: String) throws(TrainingError) {
            if !holds { throw .settings(field: "shards", expected: expected, found: found) }
        }
        guard let shards else {
            return try require(processes == 1, "a number of them for \(processes) processes", "none")
        }
        try require(backend is any ShardedBackend, "a backend that can compute them", "\(type(of: backend))")
        guard processes > 1 else { return }
        let each = shards / processes
        try require(
            shards % processes == 0 && each & (each - 1) == 0,
            "\(processes) for \(processes) processes, or that times 2, 4, 8 and so on", "\(shards)")
    }

    /// The rest of the epoch from `state.batch` on.
    /// - Returns: false where somebody asked to stop.
    func trainShardedEpoch() throws -> Bool {
        let (batches, shards) = (trainingLoader.batchesPerEpoch, settings.batchesPerUpdate)
        let each = shards / processes.size
        let own = (state.batch..<batches).filter { $0 % shards / each == processes.rank }
        let plan = trainingFeatures == nil ? [] : trainingLoader.plan(epoch: state.epoch)
        let stream = trainingFeatures == nil ? epochLoader.batches(epoch: state.epoch, own) : nil
        let (firstBatch, before, started) = (state.batch, state.seconds, monotonicSeconds())
        while state.batch < batches {
            let end = min(state.batch + shards, batches)
            let update = state.epoch * updatesPerEpoch + state.batch / shards
            let rate = scheduledRate(update: update) * state.rateFactor
            let loaded = (0..<each).map { place -> LoadedBatch? in
                let index = state.batch + processes.rank * each + place
                guard index < end else { return nil }
                if let stream { return stream.nextBatch() }
                return LoadedBatch(
                    index: index, batch: trainingFeatures?.batch(plan[index], trainingLoader), samples: [], skipped: [])
            }
            let stops = try updateFromShards(loaded, update: update, rate: rate)
            state.batch = end
            state.seconds = before + monotonicSeconds() - started
            reportProgress(
                rate, secondsLeft: (state.seconds - before) / Double(end - firstBatch) * Double(batches - end))
            if stops { return false }
            if let every = settings.checkpointUpdates, (update + 1) % every == 0, end < batches {
                try processes.agree { try keep(isBest: false) }
            }
        }
        try checkSamples()
        return true
    }

    /// One update. nil stands for a shard that the last batch of an epoch does not have.
    /// - Returns: whether somebody asked to stop, in any process.
    private func updateFromShards(_ loaded: [LoadedBatch?], update: Int, rate: Double) throws -> Bool {
        guard let backend = backend as? any ShardedBackend else { preconditionFailure("checked in init") }
        let step = state.epoch * trainingLoader.batchesPerEpoch
        let gradients = try backend.gradientCount()
        let tree = shardSum(of: try backend.contributionCount(), gradients: gradients)
        var (own, exchange) = ([ScoredBatch](), BucketExchange?.none)
        if settings.synchronizesBatchNorm {
            own = try contributeTogether(loaded, step: step, rate: rate, backend, to: tree)
        } else {
            // The last shard's gradients leave while its backward pass goes on.
            let overlaps = processes.size > 1 && settings.overlapsExchange
            for shard in overlaps ? loaded.dropLast() : loaded[...] {
                own += [contribute(shard, step: step, rate: rate, backend, to: tree)].compactMap { $0 }
            }
            if overlaps {
                let made = BucketExchange(
                    tree, try backend.gradientBuckets(startsAtFeatures: trainingFeatures != nil),
                    settings.gradientType, gradients: gradients, own: loaded.compactMap { $0.map(scored) }, processes)
                own += [contributeLast(loaded.last!, step: step, rate: rate, backend, to: tree, made)]
                    .compactMap { $0 }
                exchange = made
            }
        }
        let stepSettings = stepSettings(step: step + state.batch, update: update, rate: rate)
        var isUpdated = false
        if let exchange, backend.updatesInParts {
            // Behind the backward pass, which reads the parameters, and ahead of the gradients that are on their way.
            isUpdated = true
            try tree.endInParts { sum in
                try exchange.drain { bucket, weight, samples in
                    guard samples > 0 else { return }
                    try backend.update(bucket, fromSum: sum, weight: weight, samples: samples, stepSettings)
                }
            }
        }
        let all = try ScoredBatch.gathered(own, from: processes)
        if let failure = all.lazy.compactMap(\.failure).first { throw TrainingError.failed(failure) }
        for scored in all {
            try skip(scored.skipped)
            state.running.add(scored.scores)
        }
        let weight = all.reduce(0) { $0 + $1.weight }
        let samples = all.reduce(0) { $0 + $1.samples }
        if samples > 0 {
            if !isUpdated {
                try updateAtOnce(
                    from: tree, exchange, backend, gradients: gradients, weight: weight, samples: samples, stepSettings)
            }
            if average != nil { average!.add(try backend.exportParameters()) }
        }
        return try isStopRequested()
    }

    /// When the sums of all gradients are there.
    private func updateAtOnce(
        from tree: TreeSum, _ exchange: BucketExchange?, _ backend: any ShardedBackend, gradients: Int, weight: Double,
        samples: Int, _ settings: StepSettings
    ) throws {
        if let exchange {
            return try tree.endInParts { sum in
                try exchange.drain { _, _, _ in }
                try backend.update(fromSum: sum, weight: weight, samples: samples, settings)
            }
        }
        try tree.finish { sum in
            try processes.sum(UnsafeMutableBufferPointer(rebasing: sum[..<gradients]), self.settings.gradientType)
            try processes.sum(UnsafeMutableBufferPointer(rebasing: sum[gradients...]), .float32)
            try backend.update(fromSum: sum, weight: weight, samples: samples, settings)
        }
    }

    /// One shard, by itself.
    private func contribute(
        _ shard: LoadedBatch?, step: Int, rate: Double, _ backend: any ShardedBackend, to tree: TreeSum
    ) -> ScoredBatch? {
        var scored: ScoredBatch?
        tree.add { scored = contribute(shard, step: step, rate: rate, backend, to: $0, bucketIsWhole: nil) }
        return scored
    }

    /// The last one of this process, whose buckets go to the others as they become whole.
    private func contributeLast(
        _ shard: LoadedBatch?, step: Int, rate: Double, _ backend: any ShardedBackend, to tree: TreeSum,
        _ exchange: BucketExchange
    ) -> ScoredBatch? {
        let values = tree.addInParts()
        // The others wait for all buckets, whatever becomes of the shard.
        defer { exchange.postAll() }
        return contribute(shard, step: step, rate: rate, backend, to: values, bucketIsWhole: exchange.post)
    }

    private func contribute(
        _ shard: LoadedBatch?, step: Int, rate: Double, _ backend: any ShardedBackend,
        to values: UnsafeMutableBufferPointer<Float>, bucketIsWhole: ((Int) -> Void)?
    ) -> ScoredBatch? {
        var scored = shard.map(scored)
        guard let shard, let batch = shard.batch else {
            values.update(repeating: 0)
            return scored
        }
        do {
            let result = try backend.contribute(
                BatchShard(
                    batch: batch, step: step + shard.index, weight: scored!.weight, target: values,
                    bucketIsWhole: bucketIsWhole))
            score(result, batch.labels, rate: rate, in: &scored!)
        } catch { scored!.failure = "\(error)" }
        return scored
    }

    /// All shards of this process side by side, with the statistics of all shards.
    private func contributeTogether(
        _ loaded: [LoadedBatch?], step: Int, rate: Double, _ backend: any ShardedBackend, to tree: TreeSum
    ) throws -> [ScoredBatch] {
        var own = loaded.map { $0.map(scored) }
        try tree.add(loaded.count) { values in
            let places = loaded.indices.filter { loaded[$0]?.batch != nil }
            for index in loaded.indices where !places.contains(index) { values[index].update(repeating: 0) }
            let shards = places.map { index in
                BatchShard(
                    batch: loaded[index]!.batch!, step: step + loaded[index]!.index, weight: own[index]!.weight,
                    target: values[index])
            }
            do {
                let results = try backend.contribute(
                    together: shards, startsAtFeatures: trainingFeatures != nil, exchange: processes.sum)
                for (index, result) in zip(places, results) {
                    score(result, loaded[index]!.batch!.labels, rate: rate, in: &own[index]!)
                }
            } catch let error as TrainingError { throw error } catch {
                if let first = places.first {
                    own[first]!.failure = "\(error)"
                    return
                }
                // All processes hear of it, those without a shard too.
                own.append(ScoredBatch(index: Int.max, scores: RunningScores(k: topK)))
                own[own.count - 1]!.failure = "\(error)"
            }
        }
        return own.compactMap { $0 }
    }

    /// What is known of a shard before it is computed.
    private func scored(_ shard: LoadedBatch) -> ScoredBatch {
        var scored = ScoredBatch(index: shard.index, scores: RunningScores(k: topK))
        scored.skipped = shard.skipped
        if let batch = shard.batch {
            scored.weight = backend.plan.loss.weight(of: batch.labels)
            scored.samples = batch.input.count
        }
        return scored
    }

    private func score(_ result: StepResult, _ labels: BatchLabels, rate: Double, in scored: inout ScoredBatch) {
        scored.scores.add(result, labels: labels)
        guard !result.loss.isFinite, result.weight != 0 else { return }
        let what = "the loss is \(result.loss.isNaN ? "no number" : "infinite")"
        scored.failure = "\(notFinite(what, epoch: state.epoch, batch: scored.index, rate: rate))"
    }

    /// The memory of sums, of a large network a hundred megabytes: kept from update to update.
    private func shardSum(of count: Int, gradients: Int) -> TreeSum {
        let rounded = settings.gradientType == .bf16 ? 0..<gradients : 0..<0
        if let kept = shardSum, kept.count == count, kept.rounded == rounded {
            kept.reset()
            return kept
        }
        let made = TreeSum(count: count, rounded: rounded)
        shardSum = made
        return made
    }

    /// Whether somebody has asked any process to stop.
    private func isStopRequested() throws(TrainingError) -> Bool {
        try processes.size == 1
            ? stopRequested() : processes.gather([stopRequested() ? 1 : 0]).contains { $0 == [1] }
    }

    // MARK: - The start

    /// After rank 0 has started or resumed: every process gets its state, and has the same settings.
    func join() throws {
        guard processes.size > 1 else { return }
        try compareSettings()
        var draft: [UInt8] = []
        if processes.rank == 0 {
            draft = try checkpoint(of: backend.exportState()).bytes(order: parameterOrder, metadata: metadata)
        }
        let bytes = try processes.broadcast(draft)
        try processes.agree {
            if processes.rank > 0 {
                try restore(
                    try TrainingCheckpoint(bytes: bytes, shapes: parameterShapes), from: "the state of process 0")
            }
        }
    }

    /// Settings, data and library are the same in all processes.
    private func compareSettings() throws {
        var words = settingsInWords
        words["library"] = Machine.kernelVersion
        let own = JSONValue.object(
            words.sorted { $0.key < $1.key }.map { JSONMember(key: $0.key, value: .string($0.value)) })
        let all = try processes.gather(own)
        for (rank, other) in all.enumerated().dropFirst() {
            for key in words.keys.sorted() {
                let (first, found) = (all[0][key]?.stringValue, other[key]?.stringValue)
                guard first != found else { continue }
                if backend.computing.keys.contains(key) {
                    report(
                        .note(
                            "warning: \(key) is \(first ?? "?") in process 0 and \(found ?? "?") in process \(rank): the "
                                + "result is right, but its last bits depend on it"))
                    continue
                }
                throw TrainingError.settings(
                    field: key, expected: "the same in all processes, \(first ?? "nothing") in process 0",
                    found: "\(found ?? "nothing") in process \(rank)")
            }
        }
    }
}
