// The trainer on the kernels: runs that stop and go on, frozen parts, cached features, losses that are no number.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetTraining

final class TrainerPlanTests: XCTestCase {
    /// Stem and three stages of one block, 8, 16 and 16 channels; a head with dropout.
    private func model(_ freeze: FreezePolicy = .none, updatesStatistics: Bool = false) throws -> Model {
        let graph = try CIFARResNetConfig(nBlocks: [1, 1, 1], channels: [8, 16, 16]).graph(classes: 3)
        return try Model.initialized(graph, seed: 4, scheme: .resNet, zeroInitResidual: false)
            .replacingHead(
                with: Head { g, x in
                    let h = g.flatten(g.globalAveragePool(x, "avgpool"))
                    return g.finish(logits: g.linear(g.dropout(h, "dropout", 0.2), "fc", 3), features: h)
                }, seed: 5
            ).freezing(freeze, updatesStatistics: updatesStatistics)
    }

    private func backend(_ model: Model, optimizer: Optimizer = .adam(), size: Int = 8) throws -> TrainingPlan {
        try TrainingPlan(
            model: model, input: ImageShape(channels: 3, height: size, width: size), batchLimit: 4,
            plan: OptimizationPlan(
                loss: .crossEntropy(labelSmoothing: 0.05), optimizer: optimizer,
                groups: ParameterGroup.layerwiseDecay(model.graph, decay: 0.7, weightDecay: 1e-3, decaysAll: false),
                gradientNormLimit: 2, seed: 6),
            options: TrainingOptions(threads: 2))
    }

    // MARK: - Going on as if never stopped

    func testResumesBitForBitWithAugmentationDropoutAdamAndAverages() throws {
        let model = try model()
        try TrainerTests.assertResumesExactly(
            TrainerTests.Recipe(
                data: TrainerTests.data(augments: true, size: 8),
                settings: TrainingSettings(
                    epochs: 3, learningRate: 0.01, schedule: .init(.cosine(), warmUpUpdates: 2), accumulation: 2,
                    seed: 9, averageDecay: 0.9),
                callbacks: [EarlyStopping(patience: 3), ReduceLROnPlateau(factor: 0.5, patience: 1)],
                backend: { try self.backend(model) }),
            stops: [1, 4])
    }

    func testResumesBitForBitWithUnfreezingMixingAndMomentum() throws {
        let model = try model()
        try TrainerTests.assertResumesExactly(
            TrainerTests.Recipe(
                data: TrainerTests.data(
                    training: 21, augments: true, mixing: BatchMixing(mixup: 0.2, cutmix: 1), size: 8),
                settings: TrainingSettings(
                    epochs: 3, learningRate: 0.05, schedule: .init(.oneCycle()), seed: 2,
                    unfreezing: UnfreezeSchedule([0: .allButHead, 1: .upTo("layer2"), 2: .none]),
                    checkpointUpdates: 2),
                backend: { try self.backend(model, optimizer: .sgd(momentum: 0.9, nesterov: true)) }),
            stops: [2, 8])
    }

    // MARK: - Freezing

    private func run(
        _ model: Model, augments: Bool = false, cacheLimit: Int = 1 << 30, heard: ((TrainingEvent) -> Void)? = nil
    ) throws -> TrainingOutcome {
        try Trainer(
            backend: try backend(model), data: TrainerTests.data(augments: augments, size: 8),
            settings: TrainingSettings(epochs: 2, learningRate: 0.02, seed: 3, featureCacheLimit: cacheLimit),
            report: heard ?? { _ in }
        ).run()
    }

    private func changed(_ before: Model, _ after: [String: Tensor]) -> Set<String> {
        Set(before.parameters.keys.filter { before[$0].bits != after[$0]!.bits })
    }

    func testResumesBitForBitWithPicturesThatGrow() throws {
        let model = try model()
        try TrainerTests.assertResumesExactly(
            TrainerTests.Recipe(
                data: TrainerTests.data(augments: true, size: 8),
                settings: TrainingSettings(
                    epochs: 3, learningRate: 0.01, seed: 9, sizes: [4, 6, 8].map { Size2($0, $0) },
                    averageDecay: 0.9, checkpointUpdates: 2),
                backend: { try self.backend(model) }),
            stops: [3, 8])
    }

    func testAPlanOfAnotherSizeGoesOnFromTheSameState() throws {
        let model = try model()
        func batch(_ size: Int) throws -> TrainingBatch {
            let data = TrainerTests.data(augments: true, size: size)
            let loader = try BatchLoader(data.training, LoaderSettings(batchSize: 4, transform: data.transform))
            return try XCTUnwrap(loader.batches(epoch: 0).nextBatch()?.batch)
        }
        func settings(_ plan: TrainingPlan, _ step: Int) -> StepSettings {
            StepSettings(step: step, learningRates: plan.plan.groups.map { 0.01 * $0.learningRateScale })
        }
        let grown = try backend(model, size: 6)
        for step in 0..<2 { _ = try grown.train(try batch(6), settings(grown, step)) }
        let other = try backend(model, size: 8)
        try other.importState(grown.exportState())
        XCTAssertThrowsError(try grown.train(try batch(8), settings(grown, 2)))
        grown.input = ImageShape(channels: 3, height: 8, width: 8)
        for step in 2..<4 {
            let results = try [grown, other].map { try $0.train(try batch(8), settings($0, step)) }
            XCTAssertEqual(results[0].loss, results[1].loss)
        }
        let (found, wanted) = (grown.exportState(), other.exportState())
        for (name, tensor) in wanted.parameters { XCTAssert(found.parameters[name]!.values == tensor.values, name) }
        for (name, tensor) in wanted.optimizer { XCTAssert(found.optimizer[name]!.values == tensor.values, name) }
        XCTAssertFalse(grown.canRun(on: ImageShape(channels: 1, height: 8, width: 8)))
    }

    func testSizesThatDoNotFitAreErrors() throws {
        let model = try model()
        func assertRefused(_ sizes: [Int], epochs: Int = 3, augments: Bool = true, _ expected: String) throws {
            XCTAssertThrowsError(
                try Trainer(
                    backend: try backend(model), data: TrainerTests.data(augments: augments, size: 8),
                    settings: TrainingSettings(epochs: epochs, sizes: sizes.map { Size2($0, $0) }))
            ) { XCTAssert("\($0)".contains(expected), "\($0)") }
        }
        try assertRefused([4, 6], "the last size")
        try assertRefused([4, 8], augments: false, "the last size")
        try assertRefused([4, 6, 8], epochs: 2, "at most one for each of 2 epochs")
    }

    func testAFrozenBackboneIsComputedOnce() throws {
        let model = try model(.allButHead)
        var seen: [Int] = []
        let cached = try run(model) { if case .features(let done, let count) = $0 { seen.append(count - done) } }
        XCTAssertEqual(seen.last, 0, "the features of all samples")
        XCTAssertEqual(changed(model, cached.parameters), ["fc.weight", "fc.bias"])

        // The same head as where the backbone runs in every step; only the sizes of batches differ.
        let plain = try run(model, cacheLimit: 0) { if case .features = $0 { XCTFail("features are not wanted") } }
        for name in ["fc.weight", "fc.bias"] {
            for (a, b) in zip(cached.parameters[name]!.values, plain.parameters[name]!.values) {
                XCTAssertEqual(a, b, accuracy: 1e-5, name)
            }
        }
        for (a, b) in zip(cached.history.records, plain.history.records) {
            XCTAssertEqual(a.training.loss, b.training.loss, accuracy: 1e-5)
            XCTAssertEqual(a.validation!.loss, b.validation!.loss, accuracy: 1e-5)
        }
        // Pictures that change cannot be computed once.
        _ = try run(model, augments: true) { if case .features = $0 { XCTFail("augmented pictures") } }
    }

    func testFrozenBatchNormsDoNotChange() throws {
        let model = try model(.upTo("layer1"))
        let outcome = try run(model)
        let frozen = try model.graph.selection(of: .upTo("layer1"))
        XCTAssertTrue(frozen.contains("layer1.0.bn1.running_mean"))
        XCTAssertEqual(changed(model, outcome.parameters), Set(model.parameters.keys).subtracting(frozen))
    }

    func testFrozenBatchNormsThatUpdateStatisticsChangeNothingElse() throws {
        let model = try model(.upTo("layer1"), updatesStatistics: true)
        let outcome = try run(model)
        let frozen = try model.graph.selection(of: .upTo("layer1")).filter { !$0.contains("running_") }
        XCTAssertEqual(changed(model, outcome.parameters), Set(model.parameters.keys).subtracting(frozen))
    }

    // MARK: - Losses that are no number

    func testALossThatIsNoNumberKeepsTheLastGoodCheckpoint() throws {
        try PictureFixtures.withFolder { folder in
            let model = try model()
            let trainer = try Trainer(
                backend: try backend(model, optimizer: .sgd()), data: TrainerTests.data(size: 8),
                settings: TrainingSettings(
                    epochs: 3, learningRate: 0.01, schedule: .init(.milestones([1], factor: 1e32)), seed: 3,
                    folder: folder))
            do {
                _ = try trainer.run()
                XCTFail("a learning rate of 1e30")
            } catch TrainingError.notFinite(_, let epoch, let batch, let rate, let checkpoint) {
                XCTAssertEqual(epoch, 2)
                XCTAssertGreaterThan(batch, 1, "the first batch of the epoch is still a number")
                XCTAssertEqual(rate, 1e30, accuracy: 1e20)
                XCTAssertEqual(checkpoint, "\(folder)/last.safetensors")
            }
            let kept = try Model(graph: model.graph, from: WeightFile.open("\(folder)/last.safetensors"))
            for (name, tensor) in kept.parameters { XCTAssert(tensor.values.allSatisfy(\.isFinite), name) }
            XCTAssertEqual(
                try TrainingCheckpoint(
                    contentsOf: "\(folder)/last.safetensors",
                    shapes: Dictionary(uniqueKeysWithValues: model.graph.parameters.map { ($0.name, $0.shape) })
                ).state.epoch, 1)
        }
    }
}
