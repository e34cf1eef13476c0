// Values of losses against PyTorch, the learning rate search, the console.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetTraining

final class TrainingLossTests: XCTestCase {
    private struct Pinned: Decodable {
        let logits, soft, several, weights: [Float]
        let labels: [Int32]
        let classes, classesWeighted, classesSmoothed, probabilities, probabilitiesSmoothed: Double
        let binary, binaryWeighted: Double
    }

    func testLossesAgainstPyTorch() throws {
        let pinned: Pinned = try TrainingFixtures.json("losses.json")
        func tensor(_ values: [Float]) -> Tensor { Tensor(shape: [6, 4], values: values) }
        func assertEqual(
            _ loss: Loss, _ labels: BatchLabels, _ expected: Double, weight: Double = 6, line: UInt = #line
        ) {
            let found = loss.value(logits: tensor(pinned.logits), labels: labels)
            XCTAssertEqual(found.loss, expected, accuracy: 2e-6, line: line)
            XCTAssertEqual(found.weight, weight, accuracy: 1e-6, line: line)
        }
        let classes = BatchLabels.classes(pinned.labels)
        assertEqual(.crossEntropy(), classes, pinned.classes, weight: 5)
        // Labels 0, 3, 2, 2, 1 weigh 0.5, 3, 1, 1, 2.
        assertEqual(.crossEntropy(classWeights: pinned.weights), classes, pinned.classesWeighted, weight: 7.5)
        assertEqual(
            .crossEntropy(labelSmoothing: 0.1, classWeights: pinned.weights), classes, pinned.classesSmoothed,
            weight: 7.5)
        assertEqual(.crossEntropy(), .probabilities(tensor(pinned.soft)), pinned.probabilities)
        assertEqual(
            .crossEntropy(labelSmoothing: 0.2, classWeights: pinned.weights), .probabilities(tensor(pinned.soft)),
            pinned.probabilitiesSmoothed)
        assertEqual(.binaryCrossEntropy(), .multiHot(tensor(pinned.several)), pinned.binary)
        assertEqual(
            .binaryCrossEntropy(positiveWeights: pinned.weights), .multiHot(tensor(pinned.several)),
            pinned.binaryWeighted)
        // Logits far out give no infinities.
        let far = Tensor(shape: [1, 2], values: [1000, -1000])
        let loss = Loss.binaryCrossEntropy().value(
            logits: far, labels: .multiHot(Tensor(shape: [1, 2], values: [0, 0])))
        XCTAssertEqual(loss.loss, 500, accuracy: 1e-9)
    }

    func testTheLearningRateSearchFindsASlopeAndLeavesNoTrace() throws {
        let backend = ToyBackend(channels: 3, optimizer: .sgd(momentum: 0.9))
        let before = try backend.exportState()
        var progress: [Int] = []
        let found = try LearningRateFinder.run(
            backend, data: TrainerTests.data(training: 45, validation: 0), from: 1e-5, to: 1e3, updates: 80
        ) { done, of in
            XCTAssertEqual(of, 80)
            progress.append(done)
        }
        XCTAssertEqual(progress, Array(1...found.points.count))
        XCTAssertEqual(found.points[0].learningRate, 1e-5, accuracy: 1e-12)
        XCTAssertLessThanOrEqual(found.points.count, 80)
        for (a, b) in zip(found.points, found.points.dropFirst()) {
            XCTAssertEqual(b.learningRate / a.learningRate, pow(1e8, 1.0 / 79), accuracy: 1e-9)
        }
        let suggestion = try XCTUnwrap(found.suggestion)
        XCTAssert((1e-3...10).contains(suggestion), "\(suggestion)")
        let after = try backend.exportState()
        XCTAssertEqual(after.parameters.mapValues(\.values), before.parameters.mapValues(\.values))
        XCTAssertEqual(after.optimizer.count, before.optimizer.count)
        XCTAssert(found.svg.contains("steepest"))
        XCTAssertEqual(found.table.split(separator: "\n").count, found.points.count + 1)
        XCTAssertThrowsError(try LearningRateFinder.run(backend, data: TrainerTests.data(), from: 1, to: 0.1))
        // No number ends the search; what was before it counts.
        backend.failsAtStep = 20
        XCTAssertEqual(
            try LearningRateFinder.run(backend, data: TrainerTests.data(), from: 1e-5, to: 1).points.count, 20)
    }

    func testSuggestionOfACurve() {
        func points(_ losses: [Double]) -> [LearningRateFinder.Point] {
            losses.enumerated().map {
                .init(learningRate: pow(10, Double($0.offset) - 5), loss: 0, smoothed: $0.element)
            }
        }
        XCTAssertEqual(
            LearningRateFinder(points: points([2, 2, 1.9, 1.5, 0.8, 0.7, 3])).suggestion ?? 0, 0.01, accuracy: 1e-9)
        XCTAssertNil(LearningRateFinder(points: points([1, 2, 3])).suggestion)
        XCTAssertNil(LearningRateFinder(points: []).suggestion)
    }

    func testRatesAsText() {
        XCTAssertEqual(
            [0.1, 0.01, 0.0031622, 3e-4, 1.2e-6, 9.99e-4, 1, 12.3, 0, 9.9999e19].map(rateText),
            ["0.1", "0.01", "0.0032", "0.0003", "1.2e-6", "0.001", "1", "12", "0.0", "1e20"])
    }

    func testTheConsole() {
        func run(isTerminal: Bool) -> String {
            var (text, time) = ("", 0.0)
            let console = TrainingConsole(
                topK: 2, isTerminal: isTerminal,
                clock: {
                    time += 0.06
                    return time
                }, write: { text += $0 })
            console.report(
                .started(
                    TrainingOverview(
                        trainingSamples: 1000, validationSamples: 50, batchesPerEpoch: 8, epochs: 10,
                        trainedParameters: 1026, parameters: 11_177_538, firstEpoch: 0)))
            for done in 1...8 {
                console.report(
                    .progress(
                        BatchProgress(
                            epoch: 0, epochs: 10, isValidation: false, batchesDone: done, batches: 8, loss: 0.5,
                            top1: 0.75,
                            learningRate: 0.1, seconds: 1, secondsLeft: Double(8 - done) * 10)))
            }
            console.report(
                .epochEnded(
                    EpochRecord(
                        epoch: 0, learningRate: 0.1, training: Scores(loss: 0.5, top1: 0.75, topK: 1),
                        validation: Scores(loss: 0.25, top1: 0.875, topK: 1), skipped: 3, seconds: 72),
                    isBest: true))
            console.report(.note("a word"))
            return text
        }
        let lines = """
            1,000 samples to train, 50 to validate, 8 batches an epoch, 1,026 of 11,177,538 parameters train
            * marks the best epoch so far
            epoch   train loss   top-1   top-2     val loss   top-1   top-2       lr    time
             1/10       0.5000  75.00% 100.00%       0.2500  87.50% 100.00%      0.1  1m 12s  3 skipped *
            a word

            """
        XCTAssertEqual(run(isTerminal: false), lines)
        let text = run(isTerminal: true)
        let bars = text.components(separatedBy: "\r\u{1b}[K")
        XCTAssertTrue(
            bars.contains(" 1/10  ████████████▌░░░░░░░  62 %  loss 0.5000  top-1 75.00%  30s left"), text)
        XCTAssertTrue(
            bars.contains(" 1/10  ████████████████████ 100 %  loss 0.5000  top-1 75.00%  0s left"), text)
        XCTAssertEqual(bars.count, 7, "a bar every tenth of a second and the last, cleared once")
        XCTAssertEqual(bars[0] + bars[bars.count - 1], lines)
    }
}
