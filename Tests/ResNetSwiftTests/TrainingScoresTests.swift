// Scores against scikit-learn, and their tables.

import ResNetSwift
import XCTest

@testable import ResNetTraining

final class TrainingScoresTests: XCTestCase {
    private struct Pinned: Decodable {
        struct OneOfMany: Decodable {
            let actual: [Int]
            let logits: [Float]
            let confusion, support: [Int]
            let precision, recall, f1, top: [Double]
            let macroF1, accuracy, crossEntropy: Double
        }
        struct Several: Decodable {
            let present: [Bool]
            let probabilities, f1AtHalf, bestF1: [Double]
            let macroF1AtHalf, accuracyAtHalf: Double
        }
        let oneOfMany: OneOfMany
        let several: Several
    }

    private func assertEqual(_ ours: [Double], _ theirs: [Double], file: StaticString = #filePath, line: UInt = #line) {
        XCTAssertEqual(ours.count, theirs.count, file: file, line: line)
        for (a, b) in zip(ours, theirs) { XCTAssertEqual(a, b, accuracy: 1e-12, file: file, line: line) }
    }

    func testClassScoresAgainstScikitLearn() throws {
        let pinned = try (TrainingFixtures.json("scores.json") as Pinned).oneOfMany
        var matrix = ConfusionMatrix(classNames: ["a", "b", "c", "d", "e"])
        for (row, actual) in pinned.actual.enumerated() {
            let logits = Array(pinned.logits[row * 5..<row * 5 + 5])
            matrix.add(actual: actual, predicted: logits.withUnsafeBufferPointer(indexOfLargest))
        }
        XCTAssertEqual((0..<25).map { matrix[$0 / 5, $0 % 5] }, pinned.confusion)
        XCTAssertEqual(matrix.total, 120)
        XCTAssertEqual(matrix.accuracy, pinned.accuracy, accuracy: 1e-12)
        let counts = (0..<5).map { matrix.counts(of: $0) }
        assertEqual(counts.map(\.precision), pinned.precision)
        assertEqual(counts.map(\.recall), pinned.recall)
        assertEqual(counts.map(\.f1), pinned.f1)
        XCTAssertEqual(counts.map(\.support), pinned.support)
        XCTAssertEqual(
            counts.map { $0.truePositives + $0.falsePositives + $0.falseNegatives + $0.trueNegatives },
            [120, 120, 120, 120, 120])
        XCTAssertEqual(counts.map(\.f1).reduce(0, +) / 5, pinned.macroF1, accuracy: 1e-12)
        for k in 1...4 {
            var running = RunningScores(k: k)
            // In two batches of different size.
            for rows in [0..<50, 50..<120] {
                let logits = Tensor(
                    shape: [rows.count, 5], values: Array(pinned.logits[rows.lowerBound * 5..<rows.upperBound * 5]))
                running.add(
                    StepResult(loss: Double(rows.count), weight: Double(rows.count), logits: logits),
                    labels: .classes(pinned.actual[rows].map(Int32.init)))
            }
            XCTAssertEqual(try XCTUnwrap(running.scores.topK), pinned.top[k - 1], accuracy: 1e-12)
            XCTAssertEqual(try XCTUnwrap(running.scores.top1), pinned.accuracy, accuracy: 1e-12)
            XCTAssertEqual(running.scores.loss, (50.0 * 50 + 70 * 70) / 120, accuracy: 1e-12)
            XCTAssertEqual(RunningScores(json: try JSONValue.parse(running.json.text)), running)
        }
    }

    func testLabelScoresAgainstScikitLearn() throws {
        let pinned = try (TrainingFixtures.json("scores.json") as Pinned).several
        var running = RunningScores(k: 5)
        let logits = pinned.probabilities.map { p -> Float in
            // The logit of one half must be 0 or more, as sklearn's >= has it; the threshold is on the logit's sign.
            let logit = Float(log(p / (1 - p)))
            return p == 0.5 ? Float.leastNormalMagnitude : logit
        }
        let present = pinned.present.map { $0 ? Float(1) : 0 }
        running.add(
            StepResult(loss: 1, weight: 80, logits: Tensor(shape: [80, 4], values: logits)),
            labels: .multiHot(Tensor(shape: [80, 4], values: present)))
        assertEqual(running.labels.map(\.f1), pinned.f1AtHalf)
        XCTAssertEqual(try XCTUnwrap(running.scores.macroF1), pinned.macroF1AtHalf, accuracy: 1e-12)
        XCTAssertEqual(try XCTUnwrap(running.scores.top1), pinned.accuracyAtHalf, accuracy: 1e-12)
        XCTAssertEqual(RunningScores(json: try JSONValue.parse(running.json.text)), running)

        let tuned = LabelThresholds.tuned(probabilities: pinned.probabilities, present: pinned.present, labels: 4)
        XCTAssertEqual(tuned.values[3], 0.5, "a label that no sample has")
        for label in 0..<4 {
            var counts = LabelCounts()
            for row in 0..<80 {
                let index = row * 4 + label
                counts.add(
                    predicted: pinned.probabilities[index] >= tuned.values[label], actual: pinned.present[index])
            }
            XCTAssertEqual(counts.f1, pinned.bestF1[label], accuracy: 1e-12, "label \(label)")
        }
    }

    func testThresholdsWithTiesAndExtremes() {
        // Equal probabilities cannot be parted: 0.4 holds a positive and a negative.
        let tuned = LabelThresholds.tuned(
            probabilities: [0.9, 0.4, 0.4, 0.1], present: [true, true, false, false], labels: 1)
        XCTAssertEqual(tuned.values[0], 0.25, accuracy: 1e-12)
        XCTAssertEqual(
            LabelThresholds.tuned(probabilities: [0.2, 0.1], present: [true, true], labels: 1).values[0], 0.05,
            accuracy: 1e-12)
        // Perfect order: the middle of the gap.
        XCTAssertEqual(
            LabelThresholds.tuned(probabilities: [0.8, 0.3, 0.2], present: [true, false, false], labels: 1).values[0],
            0.55, accuracy: 1e-12)
    }

    func testRankOfOddLogits() {
        func rank(_ target: Int, _ logits: [Float]) -> Int {
            logits.withUnsafeBufferPointer { ResNetSwift.rank(of: target, in: $0) }
        }
        XCTAssertEqual(rank(1, [2, 2, 1]), 1, "of equals the lower index is first")
        XCTAssertEqual(rank(0, [2, 2, 1]), 0)
        XCTAssertEqual(rank(2, [.nan, 1, .nan]), 3, "NaN is never among the best")
        XCTAssertEqual(rank(1, [.nan, 1, .nan]), 0)
        XCTAssertEqual([Float.nan, .nan].withUnsafeBufferPointer(indexOfLargest), 0)
        XCTAssertEqual([Float.nan, -3, -2].withUnsafeBufferPointer(indexOfLargest), 2)
    }

    func testTables() {
        var matrix = ConfusionMatrix(classNames: ["cat", "dog"])
        for (actual, predicted, count) in [(0, 0, 48), (0, 1, 2), (1, 0, 5), (1, 1, 45)] {
            for _ in 0..<count { matrix.add(actual: actual, predicted: predicted) }
        }
        XCTAssertEqual(
            matrix.table,
            """
            actual \\ predicted  cat  dog
            cat                  48    2
            dog                   5   45
            """)
        XCTAssertEqual(matrix.confusions().map(\.count), [5, 2])
        let evaluation = Evaluation(
            classNames: ["cat", "dog"], isMultiLabel: false, scores: Scores(loss: 0.25, top1: 0.93, topK: 1),
            confusion: matrix, labels: [matrix.counts(of: 0), matrix.counts(of: 1)], thresholds: nil, skipped: [])
        XCTAssertEqual(
            evaluation.table(),
            """
            loss 0.2500, top-1 93.00 %, macro F1 0.9299

            class  precision  recall      F1  samples
            cat       0.9057  0.9600  0.9320       50
            dog       0.9574  0.9000  0.9278       50
            """)
    }

    func testClassesThatNeverOccurAsScikitLearn() {
        // f1_score([0, 0, 1, 1], [0, 0, 1, 1], average="macro") is 1: labels are those that occur. With a prediction of
        // class 2 it is (1 + 2/3 + 0) / 3.
        func macroF1(_ pairs: [(Int, Int)], isMultiLabel: Bool = false) -> Double {
            var matrix = ConfusionMatrix(classNames: ["a", "b", "c"])
            for (actual, predicted) in pairs { matrix.add(actual: actual, predicted: predicted) }
            return Evaluation(
                classNames: matrix.classNames, isMultiLabel: isMultiLabel, scores: Scores(loss: 0), confusion: matrix,
                labels: (0..<3).map { matrix.counts(of: $0) }, thresholds: nil, skipped: []
            ).macroF1
        }
        XCTAssertEqual(macroF1([(0, 0), (0, 0), (1, 1), (1, 1)]), 1)
        XCTAssertEqual(macroF1([(0, 0), (0, 0), (1, 1), (1, 2)]), (1 + 2.0 / 3 + 0) / 3, accuracy: 1e-12)
        XCTAssertEqual(macroF1([]), 0)
        // Columns of several labels count all, occurring or not.
        XCTAssertEqual(macroF1([(0, 0), (1, 1)], isMultiLabel: true), 2.0 / 3, accuracy: 1e-12)
    }

    func testAMatrixOfManyClassesTakesNoSquare() {
        var matrix = ConfusionMatrix(classNames: (0..<65_536).map(String.init))
        matrix.add(actual: 65_535, predicted: 1)
        XCTAssertEqual(matrix[65_535, 1], 1)
        XCTAssertEqual(matrix.counts(of: 1).falsePositives, 1)
        XCTAssertEqual(matrix.confusions().count, 1)
    }

    func testDurations() {
        XCTAssertEqual(durationText(0.2), "0s")
        XCTAssertEqual(durationText(48.4), "48s")
        XCTAssertEqual(durationText(72), "1m 12s")
        XCTAssertEqual(durationText(59.7), "1m 00s")
        XCTAssertEqual(durationText(7509), "2h 05m 09s")
        XCTAssertEqual(durationText(.infinity), "?")
    }
}
