// Training on shards of every batch: the same bits however many processes share them, and the right sums. Processes are
// threads here; scripts/test_mpi.sh does the same with Open MPI.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetTraining

final class ShardedTrainingTests: XCTestCase {
    private func backend(gradientNormLimit: Float? = 2) throws -> TrainingPlan {
        let graph = try CIFARResNetConfig(nBlocks: [1, 1, 1], channels: [8, 16, 16]).graph(classes: 3)
        let model = Model.initialized(graph, seed: 4, scheme: .resNet, zeroInitResidual: false)
        return try TrainingPlan(
            model: model, input: ImageShape(channels: 3, height: 8, width: 8), batchLimit: 8,
            plan: OptimizationPlan(
                loss: .crossEntropy(labelSmoothing: 0.05), optimizer: .adam(), groups: ParameterGroup.single(graph),
                gradientNormLimit: gradientNormLimit, seed: 6),
            options: TrainingOptions(threads: 1))
    }

    private func train(
        shards: Int, _ processes: any ProcessGroup, gradientNormLimit: Float? = 2,
        _ change: (inout TrainingSettings) -> Void = { _ in }
    ) throws -> TrainingOutcome {
        // 21 samples in shards of 2: the last update has three shards of four, one of a single sample.
        let data = TrainerTests.data(
            training: 21, batchSize: 2, augments: true, mixing: BatchMixing(mixup: 0.2, cutmix: 1), size: 8)
        var settings = TrainingSettings(epochs: 2, learningRate: 0.01, shards: shards, seed: 9, averageDecay: 0.9)
        change(&settings)
        return try Trainer(
            backend: backend(gradientNormLimit: gradientNormLimit), data: data, settings: settings,
            callbacks: [EarlyStopping(patience: 3)], processes: processes
        ).run()
    }

    func testOneTwoAndFourProcessesGiveTheSameBits() throws { try compareProcesses { _ in } }

    /// Without a limit of the norm the optimizer takes bucket after bucket; not without overlap.
    func testTheSameBitsBucketByBucket() throws {
        try compareProcesses(gradientNormLimit: nil) { _ in }
        try compareProcesses(gradientNormLimit: nil) { $0.gradientType = .bf16 }
        try compareProcesses(gradientNormLimit: nil) { $0.overlapsExchange = false }
    }

    /// In any order, and with a group of its own for the biases.
    func testPartsOfAnUpdateAreTheUpdate() throws {
        let (whole, parts) = (try backend(gradientNormLimit: nil), try backend(gradientNormLimit: nil))
        XCTAssertTrue(parts.updatesInParts)
        XCTAssertFalse(try backend().updatesInParts)
        let buckets = try parts.gradientBuckets(startsAtFeatures: false)
        XCTAssertEqual(
            buckets.flatMap { $0 }.reduce(0) { $0 + $1.count }, try parts.contributionCount(), "all, and each once")
        // Smaller than the buckets of a network so small: at the starts of parameters.
        let gradients = try parts.gradientCount()
        let cut = buckets[0].flatMap { range in
            [range.lowerBound..<range.lowerBound + 16, range.lowerBound + 16..<range.upperBound]
        }
        for step in 0..<3 {
            var sum = (0..<(try parts.contributionCount())).map { Float(($0 * 37 + step) % 101) / 100 - 0.5 }
            let settings = StepSettings(step: step, learningRates: [0.01])
            try sum.withUnsafeMutableBufferPointer { sum in
                try whole.update(fromSum: sum, weight: 3, samples: 4, settings)
                for range in cut.reversed() { try parts.update([range], fromSum: sum, weight: 3, samples: 4, settings) }
                for bucket in buckets.dropFirst().reversed() {
                    try parts.update(bucket, fromSum: sum, weight: 3, samples: 4, settings)
                }
            }
        }
        XCTAssertGreaterThan(gradients, 0)
        let (found, wanted) = (parts.exportState(), whole.exportState())
        for (name, tensor) in wanted.parameters { XCTAssertEqual(found.parameters[name]?.values, tensor.values, name) }
        for (name, tensor) in wanted.optimizer { XCTAssertEqual(found.optimizer[name]?.values, tensor.values, name) }
    }

    func testTheSameBitsWithoutOverlap() throws { try compareProcesses { $0.overlapsExchange = false } }

    /// Every sum of the tree is rounded, whoever computes it.
    func testTheSameBitsInBFloat16() throws {
        try compareProcesses { $0.gradientType = .bf16 }
        try compareProcesses {
            $0.gradientType = .bf16
            $0.synchronizesBatchNorm = true
        }
        let (exact, rounded) = (
            try train(shards: 4, SingleProcess()),
            try train(shards: 4, SingleProcess()) {
                $0.gradientType = .bf16
            }
        )
        XCTAssertNotEqual(
            exact.parameters["fc.weight"]?.values.map { $0 }, rounded.parameters["fc.weight"]?.values.map { $0 })
    }

    /// The last update has a shard of one sample, which has no statistics of its own, and one of none.
    func testSynchronizedBatchNormGivesTheSameBits() throws { try compareProcesses { $0.synchronizesBatchNorm = true } }

    private func compareProcesses(
        gradientNormLimit: Float? = 2, _ change: @escaping (inout TrainingSettings) -> Void
    ) throws {
        let alone = try train(shards: 4, SingleProcess(), gradientNormLimit: gradientNormLimit, change)
        for count in [2, 4] {
            let outcomes = try ThreadGroup.run(count) {
                try self.train(shards: 4, $0, gradientNormLimit: gradientNormLimit, change)
            }
            for (rank, outcome) in outcomes.enumerated() {
                XCTAssertEqual(outcome.parameters.keys.sorted(), alone.parameters.keys.sorted())
                for (name, tensor) in alone.parameters {
                    XCTAssertEqual(outcome.parameters[name]?.values, tensor.values, "\(name), \(rank) of \(count)")
                }
                XCTAssertEqual(
                    outcome.history.records.map(\.validation), alone.history.records.map(\.validation))
            }
        }
    }

    /// Shards that count by their weights make the gradient of the whole batch; running statistics are the mean of theirs.
    func testTheSumOfShardsIsTheMeanOverAllSamples() throws {
        let (whole, sharded) = (try backend(), try backend())
        let batch = TrainerTests.data(training: 6, batchSize: 6, size: 8)
        let loader = try BatchLoader(
            batch.training, LoaderSettings(batchSize: 6, transform: batch.evaluationTransform))
        let parts = try BatchLoader(
            batch.training, LoaderSettings(batchSize: 3, transform: batch.evaluationTransform))
        // Frozen batch norms: a sample's gradient does not depend on its neighbors.
        let norms = Set(
            whole.graph.parameters.filter { $0.name.contains("bn") || $0.name.contains("downsample.1.") }.map(\.name))
        (whole.frozen, sharded.frozen) = (norms, norms)
        let all = try XCTUnwrap(loader.batches(epoch: 0).nextBatch()?.batch)
        _ = try whole.train(all, StepSettings(step: 0, learningRates: [0], updates: false))
        let tree = TreeSum(count: try sharded.contributionCount())
        let stream = parts.batches(epoch: 0)
        var (losses, count) = (0.0, 0)
        while let part = stream.nextBatch()?.batch {
            try tree.add {
                losses += try sharded.contribute(BatchShard(batch: part, step: 0, weight: 3, target: $0)).loss
                count += 1
            }
        }
        XCTAssertEqual(count, 2)
        XCTAssertEqual(losses / 2, try whole.evaluate(all).loss, accuracy: 1e-5)
        let expected = whole.exportGradients()
        var found: [Float] = []
        tree.finish { found = $0.map { $0 / 6 } }
        let sum = expected.values.reduce(0.0) { $0 + $1.values.reduce(0.0) { $0 + Double($1) * Double($1) } }
        let own = found.reduce(0.0) { $0 + Double($1) * Double($1) }
        XCTAssertEqual(own / sum, 1, accuracy: 1e-4)
    }

    func testStatisticsAreTheMeanOfTheShards() throws {
        let backend = try backend()
        let data = TrainerTests.data(training: 4, batchSize: 2, size: 8)
        let loader = try BatchLoader(data.training, LoaderSettings(batchSize: 2, transform: data.evaluationTransform))
        let name = try XCTUnwrap(backend.graph.parameters.first { $0.role == .runningMean }?.name)
        let before = try XCTUnwrap(backend.exportParameters()[name]).values
        var means: [[Float]] = []
        let stream = loader.batches(epoch: 0)
        var batches: [TrainingBatch] = []
        while let batch = stream.nextBatch()?.batch { batches.append(batch) }
        for batch in batches {
            let alone = try self.backend()
            _ = try alone.train(batch, StepSettings(step: 0, learningRates: [0]))
            means.append(try XCTUnwrap(alone.exportParameters()[name]).values)
        }
        let tree = TreeSum(count: try backend.contributionCount())
        for batch in batches {
            try tree.add { _ = try backend.contribute(BatchShard(batch: batch, step: 0, weight: 2, target: $0)) }
        }
        XCTAssertEqual(backend.exportParameters()[name]?.values, before, "a contribution changes nothing")
        try tree.finish {
            try backend.update(fromSum: $0, weight: 4, samples: 4, StepSettings(step: 0, learningRates: [0]))
        }
        let after = try XCTUnwrap(backend.exportParameters()[name]).values
        for index in after.indices {
            XCTAssertEqual(after[index], (means[0][index] + means[1][index]) / 2, accuracy: 1e-6)
        }
    }

    /// A frozen beginning is run for one shard after the other; what it hands over to each must stay.
    func testSynchronizedShardsBehindAFrozenPart() throws {
        let (whole, sharded) = (try backend(), try backend())
        let frozen = Set(whole.graph.parameters.map(\.name).filter { $0.hasPrefix("conv1") || $0.hasPrefix("bn1") })
        XCTAssertFalse(frozen.isEmpty)
        (whole.frozen, sharded.frozen) = (frozen, frozen)
        let batch = floatBatch(7)
        _ = try whole.train(batch, StepSettings(step: 0, learningRates: [0], updates: false))
        let tree = TreeSum(count: try sharded.contributionCount())
        try tree.add(3) { targets in
            let shards = zip(batch.parts([3, 3, 1]), targets).map {
                BatchShard(batch: $0, step: 0, weight: Double($0.count), target: $1)
            }
            _ = try sharded.contribute(together: shards, startsAtFeatures: false) { _ in }
        }
        try tree.finish {
            try sharded.update(fromSum: $0, weight: 7, samples: 7, StepSettings(step: 0, learningRates: [0]))
        }
        let gradients = sharded.exportGradients()
        for (name, expected) in whole.exportGradients() {
            let size = expected.values.reduce(0) { max($0, abs($1)) }
            for (a, b) in zip(gradients[name]!.values, expected.values) {
                XCTAssertEqual(a, b, accuracy: 1e-4 * size + 1e-7, name)
            }
        }
    }

    /// A process whose shard is refused still adds its part, so that nobody waits for it; all others finish.
    func testARefusedShardKeepsNobodyWaiting() throws {
        let outcomes = try ThreadGroup.run(2) { group -> String in
            let backend = try self.backend()
            var batch = self.floatBatch(3)
            if group.rank == 1 { batch.labels = .classes([0, 1, 9]) }
            let target = UnsafeMutableBufferPointer<Float>.allocate(capacity: try backend.contributionCount())
            defer { target.deallocate() }
            do {
                _ = try backend.contribute(
                    together: [BatchShard(batch: batch, step: 0, weight: 3, target: target)], startsAtFeatures: false,
                    exchange: group.sum)
                return "done"
            } catch { return "\(error)" }
        }
        XCTAssertEqual(outcomes[0], "done")
        XCTAssertTrue(outcomes[1].contains("labels from 0 to 2"), outcomes[1])
    }

    func testFrozenParametersSendNothing() throws {
        let sent = try ThreadGroup.run(2) { group -> [Int] in
            let backend = try self.backend()
            backend.frozen = Set(backend.graph.parameters.map(\.name).filter { !$0.hasPrefix("fc") })
            _ = try Trainer(
                backend: backend, data: TrainerTests.data(training: 8, batchSize: 2, size: 8),
                settings: TrainingSettings(epochs: 1, shards: 2), processes: group
            ).run()
            return group.summed
        }
        // 3 x 16 weights and 3 biases, each up to whole cache lines; in each of two updates.
        XCTAssertEqual(sent[0], [64, 64])
        XCTAssertEqual(sent[1], sent[0])
    }

    /// Each process computes its share of the features and has all of them afterwards.
    func testFeaturesAreSharedOut() throws {
        let data = TrainerTests.data(training: 21, batchSize: 4)
        let loader = try BatchLoader(data.training, data.loaderSettings(seed: 0, forTraining: false))
        func compute(_ group: any ProcessGroup) throws -> (calls: Int, features: [Float]) {
            let backend = ToyBackend()
            let cache = try FeatureCache(loader, backend, group)
            guard case .features(let features) = cache.batch(data.training.samples, loader)?.input else {
                return (backend.featureCalls, [])
            }
            return (backend.featureCalls, features.values.map { $0 })
        }
        let alone = try compute(SingleProcess())
        XCTAssertEqual(alone.calls, 6)
        XCTAssertEqual(alone.features.count, 21 * 6)
        for other in try ThreadGroup.run(2, compute) {
            XCTAssertEqual(other.calls, 3)
            XCTAssertEqual(other.features, alone.features)
        }
        for stopping in try ThreadGroup.run(
            2,
            { group -> Bool in
                do {
                    _ = try FeatureCache(loader, ToyBackend(), group, stopRequested: { group.rank == 1 })
                    return false
                } catch is FeatureCache.Stopped { return true }
            })
        { XCTAssertTrue(stopping, "all processes stop where one is asked to") }
    }

    func testSynchronizedBatchNormNeedsBatchNorms() throws {
        let backend = try backend()
        backend.frozen = Set(backend.graph.parameters.map(\.name).filter { !$0.hasPrefix("fc") })
        XCTAssertThrowsError(
            try Trainer(
                backend: backend, data: TrainerTests.data(batchSize: 2, size: 8),
                settings: TrainingSettings(shards: 2, synchronizesBatchNorm: true))
        ) { XCTAssertTrue("\($0)".hasPrefix("synchronized batch norm: expected batch norms that train"), "\($0)") }
    }

    private func floatBatch(_ count: Int) -> TrainingBatch {
        TrainingBatch(
            input: .floats(randomPictures(count, ImageShape(channels: 3, height: 8, width: 8))),
            labels: .classes((0..<count).map { Int32($0 % 3) }))
    }

    func testSettingsThatDifferAreNamed() throws {
        XCTAssertThrowsError(
            try ThreadGroup.run(2) { group in
                try Trainer(
                    backend: self.backend(), data: TrainerTests.data(batchSize: 2, size: 8),
                    settings: TrainingSettings(epochs: 1, learningRate: group.rank == 0 ? 0.1 : 0.2, shards: 2),
                    processes: group
                ).run()
            }
        ) { error in
            XCTAssertEqual(
                "\(error)",
                "learning rate: expected the same in all processes, 0.1 in process 0, found 0.2 in process 1")
        }
    }

    func testShardsThatCannotBeSharedOut() throws {
        let backend = try backend()
        for (shards, processes) in [(3, 2), (6, 2), (1, 2), (12, 4)] {
            XCTAssertThrowsError(try Trainer.check(shards: shards, processes, backend), "\(shards), \(processes)")
        }
        for (shards, processes) in [(3, 1), (3, 3), (6, 3), (2, 2), (8, 4), (8, 1)] {
            XCTAssertNoThrow(try Trainer.check(shards: shards, processes, backend), "\(shards), \(processes)")
        }
        XCTAssertThrowsError(try Trainer.check(shards: 2, 1, ToyBackend()))
    }

    func testLaunchers() throws {
        func detect(_ variables: [String: String]) throws -> Launcher? { try Launcher.detect { variables[$0] } }
        XCTAssertNil(try detect([:]))
        XCTAssertEqual(try detect(["OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"])?.rank, 1)
        XCTAssertEqual(try detect(["PMI_RANK": "0", "PMI_SIZE": "2"])?.name, "MPICH")
        XCTAssertNil(try detect(["SLURM_PROCID": "0", "SLURM_NTASKS": "4"]), "a batch script")
        XCTAssertEqual(
            try detect(["SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_STEP_ID": "0"])?.size, 4)
        for broken in [
            ["OMPI_COMM_WORLD_RANK": "1"], ["OMPI_COMM_WORLD_RANK": "4", "OMPI_COMM_WORLD_SIZE": "4"],
            ["OMPI_COMM_WORLD_RANK": "x", "OMPI_COMM_WORLD_SIZE": "4"],
            ["OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2", "PMI_RANK": "0", "PMI_SIZE": "3"],
        ] {
            XCTAssertThrowsError(try detect(broken), "\(broken)")
        }
    }
}
