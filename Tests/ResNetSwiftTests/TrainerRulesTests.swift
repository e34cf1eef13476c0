// Rules of a run that are easy to get slightly wrong: what a batch weighs, which epoch is the best, whose folder it is.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetTraining

final class TrainerRulesTests: XCTestCase {
    // MARK: - Weights

    /// One linear layer over mean colors, on the real plan: no batch norm, so that batches can be cut anywhere.
    private func trained(
        weights: [Float], batch: Int, accumulation: Int, labels: [Int], validation: Bool = false
    ) throws -> TrainedModel {
        var g = GraphBuilder("Means")
        let h = g.flatten(g.globalAveragePool(g.input(channels: 3), "avgpool"))
        let graph = g.finish(logits: g.linear(h, "fc", 3), features: nil)
        let random = CounterRandom(seed: 5)
        let pixels = (0..<labels.count * 12).map { UInt8(random.integer(below: 256, UInt64($0))) }
        let dataset = Dataset(
            classNames: ["a", "b", "c"], labels: .classes(labels),
            source: .pictures(ByteImages(count: labels.count, height: 2, width: 2, channels: 3, pixels: pixels)))
        let transform = ImageTransform(
            steps: [.toFloat, .normalize(mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25])])
        return try Model.initialized(graph, seed: 3, scheme: .torch, zeroInitResidual: false).trained(
            on: TrainingData(
                training: dataset.all, validation: validation ? dataset.all : nil, transform: transform,
                evaluationTransform: transform, batchSize: batch, order: .sequential),
            loss: .crossEntropy(labelSmoothing: validation ? 0.3 : 0, classWeights: weights), optimizer: .sgd(),
            settings: TrainingSettings(
                epochs: 2, learningRate: 0.5, accumulation: accumulation,
                monitor: Monitor(.loss, ofValidation: validation)))
    }

    /// Four small batches, accumulated, are one large batch, however unevenly the class weights fall on them.
    func testAccumulatedBatchesCountByTheirWeights() throws {
        let labels = [0, 0, 0, 0, 1, 1, 2, 2, 0, 1, 2, 2, 2, 2, 1, 2]
        let whole = try trained(weights: [1, 5, 0.1], batch: 16, accumulation: 1, labels: labels)
        let parts = try trained(weights: [1, 5, 0.1], batch: 4, accumulation: 4, labels: labels)
        for (a, b) in zip(whole.model["fc.weight"].values, parts.model["fc.weight"].values) {
            XCTAssertEqual(a, b, accuracy: 1e-5)
        }
    }

    /// A batch of classes of weight 0 has no mean. It changes nothing and counts nothing.
    func testABatchOfWeightZeroCountsNothing() throws {
        let outcome = try trained(weights: [0, 1, 1], batch: 2, accumulation: 1, labels: [1, 2, 0, 0, 2, 1])
        let loss = try XCTUnwrap(outcome.history.records.last?.training.loss)
        XCTAssert(loss.isFinite && loss > 0, "\(loss)")
        XCTAssert(outcome.model["fc.weight"].values.allSatisfy(\.isFinite))
    }

    /// Label smoothing and class weights belong to training: the validation loss is the one that evaluation reports.
    func testTheValidationLossIsThatOfEvaluation() throws {
        let labels = [0, 1, 2, 0, 1, 2, 2, 2]
        let outcome = try trained(weights: [1, 4, 2], batch: 8, accumulation: 1, labels: labels, validation: true)
        let record = try XCTUnwrap(outcome.history.records.last)
        let logits = try outcome.model.logits(
            of: evaluationSlice(labels),
            transform: ImageTransform(
                steps: [.toFloat, .normalize(mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25])]))
        let plain = Loss.crossEntropy().value(logits: logits, labels: .classes(labels.map(Int32.init)))
        XCTAssertEqual(try XCTUnwrap(record.validation).loss, plain.loss, accuracy: 1e-5)
        XCTAssertGreaterThan(record.training.loss, 0)
    }

    private func evaluationSlice(_ labels: [Int]) -> DatasetSlice {
        let random = CounterRandom(seed: 5)
        let pixels = (0..<labels.count * 12).map { UInt8(random.integer(below: 256, UInt64($0))) }
        return Dataset(
            classNames: ["a", "b", "c"], labels: .classes(labels),
            source: .pictures(ByteImages(count: labels.count, height: 2, width: 2, channels: 3, pixels: pixels))
        ).all
    }

    // MARK: - Learning rates

    /// torch.optim.lr_scheduler.OneCycleLR(max_lr=0.02, total_steps=3): the turn lies before the first update.
    func testOneCycleOfThreeUpdates() {
        let schedule = LearningRateSchedule(.oneCycle())
        let rates = (0..<3).map { schedule.rate(base: 0.02, update: $0, updatesPerEpoch: 3, epochs: 1) }
        XCTAssertEqual(rates[0], 0.019888, accuracy: 1e-6)
        XCTAssertEqual(rates[1], 0.009253, accuracy: 1e-6)
    }

    /// Epochs of a warm-up are those that train: a tail of one sample that batch norms cannot take is no update.
    func testAWarmUpInEpochsFollowsTheUpdates() {
        let schedule = LearningRateSchedule(.constant, warmUpEpochs: 2)
        let rates = (0..<3).map { schedule.rate(base: 0.01, update: $0, updatesPerEpoch: 1, epochs: 3) }
        for (rate, wanted) in zip(rates, [0.0001, 0.00505, 0.01]) { XCTAssertEqual(rate, wanted, accuracy: 1e-12) }
    }

    // MARK: - The best epoch

    /// An improvement of less than `minDelta` is none, for the weights that are restored as for the patience.
    func testRestoredWeightsAreThoseThatCountedAsBetter() throws {
        var settings = TrainingSettings(epochs: 6, learningRate: 0.01, topK: 2)
        settings.monitor = .validationLoss
        let strict = try Trainer(
            backend: ToyBackend(channels: 3), data: TrainerTests.data(training: 60), settings: settings,
            callbacks: [EarlyStopping(patience: 9)]
        ).run()
        let losses = strict.history.records.compactMap { $0.validation?.loss }
        XCTAssertEqual(losses, losses.sorted(by: >), "the loss falls in every epoch, or this test needs another rate")
        var parameters: [String: Tensor]?
        let trainer = try Trainer(
            backend: ToyBackend(channels: 3), data: TrainerTests.data(training: 60), settings: settings,
            callbacks: [EarlyStopping(minDelta: 1e3, patience: 9)],
            report: { event in
                if case .epochEnded(let record, true) = event { XCTAssertEqual(record.epoch, 0) }
            })
        parameters = try trainer.run().parameters
        let first = try Trainer(
            backend: ToyBackend(channels: 3), data: TrainerTests.data(training: 60),
            settings: TrainingSettings(epochs: 1, learningRate: 0.01, topK: 2)
        ).run().parameters
        XCTAssertEqual(parameters?["fc.weight"]?.values, first["fc.weight"]?.values)
    }

    // MARK: - The folder

    func testTwoRunsDoNotShareAFolder() throws {
        try PictureFixtures.withFolder { folder in
            let lock = try RunLock(folder)
            XCTAssertThrowsError(try RunLock(folder)) { error in
                XCTAssert("\(error)".contains("process \(getpid())"), "\(error)")
            }
            withExtendedLifetime(lock) {}
            let trainer = try Trainer(
                backend: ToyBackend(channels: 3), data: TrainerTests.data(),
                settings: TrainingSettings(epochs: 1, folder: folder))
            XCTAssertThrowsError(try trainer.run(), "somebody else's run") { error in
                XCTAssert("\(error)".contains("no other run"), "\(error)")
            }
        }
        try PictureFixtures.withFolder { folder in
            do { _ = try RunLock(folder) }
            XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder), [])
            XCTAssertNoThrow(try RunLock(folder))
        }
    }

    func testTheBestWeightsOfAnEarlierRunAreNotOverwritten() throws {
        try PictureFixtures.withFolder { folder in
            try "precious".write(toFile: "\(folder)/best.safetensors", atomically: true, encoding: .utf8)
            let trainer = try Trainer(
                backend: ToyBackend(channels: 3), data: TrainerTests.data(),
                settings: TrainingSettings(epochs: 1, folder: folder))
            XCTAssertThrowsError(try trainer.run())
            XCTAssertEqual(try String(contentsOfFile: "\(folder)/best.safetensors", encoding: .utf8), "precious")
        }
    }

    func testReplacedFilesKeepTheirPermissions() throws {
        try PictureFixtures.withFolder { folder in
            let path = "\(folder)/weights.npy"
            let tensor = Tensor(shape: [2], values: [1, 2])
            try WeightWriter.writeArray(tensor, to: path)
            XCTAssertEqual(chmod(path, 0o600), 0)
            try WeightWriter.writeArray(tensor, to: path)
            var about = stat()
            XCTAssertEqual(stat(path, &about), 0)
            XCTAssertEqual(about.st_mode & 0o777, 0o600)
        }
    }

    // MARK: - The data

    /// A copy of a folder under another name is the same data; another picture under the same name is not.
    func testDataAreKnownByTheirContents() throws {
        try PictureFixtures.withFolder { folder in
            let digits = "\(URL(fileURLWithPath: #filePath).deletingLastPathComponent().path)/../../demo/digits"
            for copy in ["pics", "copy"] {
                for (name, source) in [("a/1.png", "one_1.png"), ("a/2.png", "two_1.png"), ("b/1.png", "three_1.png")] {
                    let target = "\(folder)/\(copy)/\(name)"
                    try FileManager.default.createDirectory(
                        atPath: URL(fileURLWithPath: target).deletingLastPathComponent().path,
                        withIntermediateDirectories: true)
                    try FileManager.default.copyItem(atPath: "\(digits)/\(source)", toPath: target)
                }
            }
            func mark(_ path: String) throws -> String { try Dataset.imageFolder(path).all.fingerprint }
            let own = try mark("\(folder)/pics")
            XCTAssertEqual(try mark("\(folder)/pics/"), own)
            XCTAssertEqual(try mark("\(folder)/./pics"), own)
            XCTAssertEqual(try mark("\(folder)/copy"), own)
            try FileManager.default.removeItem(atPath: "\(folder)/copy/a/2.png")
            try FileManager.default.copyItem(atPath: "\(digits)/nine_1.png", toPath: "\(folder)/copy/a/2.png")
            XCTAssertNotEqual(try mark("\(folder)/copy"), own)
        }
    }

    func testValidationPicturesOfAnotherSizeAreFoundAtOnce() throws {
        var data = TrainerTests.data()
        data.validation = TrainerTests.data(size: 7).validation
        XCTAssertThrowsError(
            try Trainer(backend: ToyBackend(channels: 3), data: data, settings: TrainingSettings(epochs: 1))
        ) { error in XCTAssert("\(error)".contains("(3, 7, 7)"), "\(error)") }
    }
}
