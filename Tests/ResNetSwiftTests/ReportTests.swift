// What report.html is computed from, against scikit-learn's figures, and that the page is whole.

import Foundation
import XCTest

@testable import ResNetData
@testable import ResNetGraph
@testable import ResNetTraining

#if canImport(FoundationXML)
    import FoundationXML
#endif

final class ReportTests: XCTestCase {
    /// Made with sklearn.metrics 1.9: roc_auc_score, average_precision_score, roc_curve.
    func testRankingIsThatOfScikitLearn() {
        let scores = [0.9, 0.8, 0.8, 0.7, 0.55, 0.55, 0.5, 0.4, 0.3, 0.3, 0.2, 0.1]
        let isPositive = [1, 1, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0].map { $0 == 1 }
        let order = [7, 2, 11, 0, 5, 9, 3, 1, 8, 10, 4, 6]
        let curves = RankingCurves(scores: order.map { scores[$0] }, isPositive: order.map { isPositive[$0] })
        XCTAssertEqual(curves.area, 0.7857142857142857, accuracy: 1e-12)
        XCTAssertEqual(curves.averagePrecision, 0.7166666666666666, accuracy: 1e-12)
        let sevenths = [0.0, 0, 1, 1, 2, 3, 4, 5, 6, 7]
        let fifths = [0.0, 1, 2, 3, 4, 4, 4, 5, 5, 5]
        for (point, wanted) in zip(curves.roc, zip(sevenths, fifths)) {
            XCTAssertEqual(point.x, wanted.0 / 7, accuracy: 1e-12)
            XCTAssertEqual(point.y, wanted.1 / 5, accuracy: 1e-12)
        }
        XCTAssertEqual(curves.roc.count, 10)
        XCTAssertFalse(RankingCurves(scores: [1, 2], isPositive: [true, true]).isDefined)
        XCTAssertEqual(RankingCurves(scores: [.nan, 1, 0], isPositive: [true, true, false]).area, 1)
    }

    /// Made with NumPy: bins (low, high] of equal width.
    func testCalibrationError() {
        let confidences: [Float] = [0.05, 0.11, 0.15, 0.31, 0.35, 0.52, 0.58, 0.61, 0.77, 0.83, 0.91, 0.97, 1, 0]
        let isRight = [0, 1, 0, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0].map { $0 == 1 }
        func error(_ bins: Int) -> Double {
            Reliability(confidences: confidences, isRight: isRight, bins: bins).expectedError
        }
        XCTAssertEqual(error(15), 0.3457142857142857, accuracy: 1e-7)
        XCTAssertEqual(error(10), 0.20714285714285713, accuracy: 1e-7)
        XCTAssertEqual(Reliability(confidences: [], isRight: []).expectedError, 0)
        XCTAssertEqual(Reliability(confidences: [.nan, 1], isRight: [true, true]).expectedError, 0)
    }

    func testBase64() {
        XCTAssertEqual(
            [[], [0, 255, 1], [0, 255, 1, 7], [0, 255, 1, 7, 200]].map(base64), ["", "AP8B", "AP8BBw==", "AP8BB8g="])
        let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 * $0 >> 3) }
        XCTAssertEqual(base64(bytes), Data(bytes).base64EncodedString())
    }

    func testOutcomesOfAnswers() {
        var outcomes = SampleOutcomes()
        outcomes.add([5, 9], logits: Tensor(shape: [2, 3], values: [1, 3, 2, 0, 0, 1000]), labels: .classes([2, 2]))
        let first = outcomes.answers[0]
        XCTAssertEqual([first.sample, first.actual, first.predicted], [5, 2, 1])
        XCTAssertEqual(first.confidence, 0.66524096, accuracy: 1e-6)
        XCTAssertEqual(first.share, 0.24472847, accuracy: 1e-6)
        XCTAssertEqual(first.second, first.share)
        XCTAssertEqual(outcomes.answers[1].confidence, 1)
        XCTAssertEqual(outcomes.answers[1].second, 0)
    }

    // MARK: - The page

    /// Answers with the given (actual, predicted) and sureness.
    private func report(
        classes: Int, _ answers: [(actual: Int, predicted: Int, logit: Float)], name: (Int) -> String
    ) -> EvaluationReport {
        let names = (0..<classes).map(name)
        let pixels = (0..<answers.count * 8 * 8).map { UInt8(truncatingIfNeeded: $0) }
        let dataset = Dataset(
            classNames: names, labels: .classes(answers.map(\.actual)),
            source: .pictures(ByteImages(count: answers.count, height: 8, width: 8, channels: 1, pixels: pixels)))
        var outcomes = SampleOutcomes()
        var confusion = ConfusionMatrix(classNames: names)
        for (sample, answer) in answers.enumerated() {
            var logits = [Float](repeating: 0, count: classes)
            logits[answer.predicted] = answer.logit
            outcomes.add(
                [sample], logits: Tensor(shape: [1, classes], values: logits), labels: .classes([Int32(answer.actual)]))
            confusion.add(actual: answer.actual, predicted: answer.predicted)
        }
        let evaluation = Evaluation(
            classNames: names, isMultiLabel: false, scores: Scores(loss: 0.25, top1: confusion.accuracy),
            confusion: confusion, labels: names.indices.map { confusion.counts(of: $0) }, thresholds: nil, skipped: [],
            outcomes: outcomes)
        return EvaluationReport(
            title: "a <b> & \"c\"", lead: "lead", evaluation: evaluation, slice: dataset.all,
            transform: .digits(size: 8), topK: 5)
    }

    /// The page as XML, which it is but for its first line, the void elements and what is entered as `&lt;`.
    private func parse(_ html: String) throws -> XMLDocument {
        var text = html.replacingOccurrences(of: "<!DOCTYPE html>\n", with: "")
        for element in ["meta", "link", "img", "br"] {
            text = text.replacingOccurrences(
                of: "<\(element)([^>]*?)>", with: "<\(element)$1/>", options: .regularExpression)
        }
        return try XMLDocument(xmlString: text, options: [])
    }

    func testThePageIsWholeAndShowsTheWorst() throws {
        var report = report(
            classes: 3, [(0, 0, 4), (0, 1, 9), (1, 1, 5), (2, 1, 1), (2, 2, 0.1), (1, 1, 2)],
            name: { ["<cat>", "dog & co", "owl"][$0] })
        report.commands = ["resnet evaluate 'a & b'", "resnet train --lr 1"]
        report.facts = [("transform", "{\"a\":1}")]
        report.history = TrainingHistory(
            records: (0..<3).map {
                EpochRecord(epoch: $0, learningRate: 0.1, training: Scores(loss: 1 / Double($0 + 1), top1: 0.5))
            })
        let html = report.html
        let document = try parse(html)
        XCTAssertEqual(try document.nodes(forXPath: "//h1").first?.stringValue, "a <b> & \"c\"")
        XCTAssertEqual(
            try document.nodes(forXPath: "//h2").compactMap(\.stringValue),
            [
                "Training", "Confusions", "Scores by class", "Calibration", "Most wrong", "Least sure", "Settings",
                "How to repeat it",
            ])
        XCTAssertEqual(
            try document.nodes(forXPath: "//pre/span").compactMap(\.stringValue),
            ["resnet", "evaluate", "'a", "&", "b'", "resnet", "train", "--lr", "1"])
        XCTAssertTrue(html.contains("<span>b'</span>\n<span>resnet</span> <span>train</span>"), html)
        let captions = try document.nodes(forXPath: "//section[h2='Most wrong']//figcaption").compactMap(\.stringValue)
        XCTAssertEqual(captions.count, 2)
        XCTAssertTrue(captions[0].hasPrefix("dog & co 99.98 %is <cat>, 0.01 %"), captions[0])
        XCTAssertTrue(captions[1].hasPrefix("dog & co"), captions[1])
        let unsure = try document.nodes(forXPath: "//section[h2='Least sure']//figcaption").compactMap(\.stringValue)
        XCTAssertTrue(unsure[0].hasPrefix("owl"), unsure[0])
        XCTAssertEqual(
            try document.nodes(forXPath: "//svg").count, 5, "loss, accuracy, learning rate, matrix, calibration")
        for part in ["<script", "http://", "https://"] { XCTAssertFalse(html.contains(part), part) }
    }

    func testColorsStandBesideThePictures() throws {
        var report = report(classes: 2, [(0, 1, 3), (1, 1, 2)], name: { "class \($0)" })
        var asked: [Int] = []
        report.heat = { picture, index in
            asked.append(index)
            return picture.pixels[0] == 0 ? picture : nil  // of the first picture only
        }
        let document = try parse(report.html)
        let wrong = try document.nodes(forXPath: "//section[h2='Most wrong']//div[@class='views']/img")
        XCTAssertEqual(wrong.count, 2)
        XCTAssertEqual(try document.nodes(forXPath: "//section[h2='Least sure']//img").count, 3)
        XCTAssertEqual(asked, [1, 1, 1])
        let note = try document.nodes(forXPath: "//section[h2='Most wrong']/p").first?.stringValue
        XCTAssertTrue(note?.hasSuffix("In color: what speaks for the answer.") == true, note ?? "")
    }

    func testChoiceOfPicturesWithSeveralLabels() {
        var outcomes = SampleOutcomes()
        // Probabilities 0.5, 0.88, 0.05; 0.73, 0.5, 0.05; 0.02, 0.98, 0.05.
        outcomes.add(
            [4, 2, 7], logits: Tensor(shape: [3, 3], values: [0, 2, -3, 1, 0.004, -3, -4, 4, -3]),
            labels: .multiHot(Tensor(shape: [3, 3], values: [1, 0, 0, 0, 0, 0, 1, 1, 0])))
        let choice = ReportChoice(
            outcomes, classNames: ["cat", "dog", "owl"], thresholds: LabelThresholds([0.4, 0.6, 0.5]))
        XCTAssertEqual(choice.mostWrong.map(\.sample), [7, 2, 4])
        XCTAssertEqual(choice.mostWrong.map(\.said), ["not cat", "cat", "dog"])
        XCTAssertEqual(choice.mostWrong.map(\.index), [0, 0, 1])
        XCTAssertEqual(choice.mostWrong.map(\.shows), ["is cat, dog", "has no label", "is cat"])
        XCTAssertEqual(choice.leastSure.map(\.sample), [2, 4, 7])
        XCTAssertEqual(choice.leastSure.map(\.said), ["not dog", "cat", "not cat"])
        XCTAssertEqual(choice.leastSure.map(\.isRight), [true, true, false])
    }

    func testManyClassesAndTwo() throws {
        let two = report(classes: 2, [(0, 0, 2), (1, 1, 1), (1, 0, 1), (0, 1, 0.5)], name: { "class \($0)" })
        let ranking = try parse(two.html).nodes(forXPath: "//section[h2='Ranking']//svg")
        XCTAssertEqual(ranking.count, 2)
        let answers = (0..<90).map { (actual: $0, predicted: ($0 * 7) % 90, logit: Float(3)) }
        let many = try parse(report(classes: 90, answers, name: { "class \($0)" }).html)
        XCTAssertEqual(try many.nodes(forXPath: "//img[@class='matrix']").count, 1)
        XCTAssertEqual(try many.nodes(forXPath: "//details//tbody/tr").count, 90)
        XCTAssertEqual(try many.nodes(forXPath: "//section[h2='Most wrong']//img").count, 12)
    }
}
