// A network on a data set it has not been trained on: the scores, by class or label too, as tables.

import ResNetData
import ResNetExecution
import ResNetGraph
import ResNetSupport

/// The scores of a network on samples whose classes or labels are known, in all and by class.
public struct Evaluation: Sendable {
    /// In the order of the logits.
    public let classNames: [String]
    /// Samples have none, one or several labels.
    public let isMultiLabel: Bool
    /// Over all samples.
    public let scores: Scores
    /// nil where samples have several labels.
    public let confusion: ConfusionMatrix?
    /// Of each class or label.
    public let labels: [LabelCounts]
    /// One for each label where samples have several.
    public let thresholds: LabelThresholds?
    /// Samples that could not be read; they count nowhere.
    public let skipped: [SkippedSample]
    /// What the network said about each sample.
    package var outcomes = SampleOutcomes()

    /// The mean of the classes' F1: each counts alike, however rare. As in scikit-learn a class that no sample has and none
    /// is taken for does not count; of several labels a sample all count.
    public var macroF1: Double {
        let counted = isMultiLabel ? labels : labels.filter { $0.support + $0.falsePositives > 0 }
        return counted.isEmpty ? 0 : counted.map(\.f1).reduce(0, +) / Double(counted.count)
    }

    /// Runs a network over a data set.
    /// - Parameters:
    ///   - evaluator: the network.
    ///   - loader: the samples, in batches.
    ///   - topK: the k of top-k; left out where there are no more classes than that.
    ///   - thresholds: for several labels a sample; nil means that they are tuned on these very samples, which flatters.
    ///   - progress: called after each batch with the samples done.
    /// - Throws: what the evaluator throws, and `DatasetError.tooManySkipped`.
    public static func run(
        _ evaluator: any BatchEvaluator, _ loader: BatchLoader, topK: Int = 5, thresholds: LabelThresholds? = nil,
        progress: (_ done: Int) -> Void = { _ in }
    ) throws -> Evaluation {
        let names = loader.slice.dataset.classNames
        var running = RunningScores(k: topK < names.count ? topK : 0)
        var confusion = ConfusionMatrix(classNames: names)
        var outcomes = SampleOutcomes()
        var skipped: [SkippedSample] = []
        var done = 0
        let batches = loader.batches(epoch: 0)
        while let loaded = batches.nextBatch() {
            skipped += loaded.skipped
            guard skipped.count <= loader.skipLimit else {
                throw DatasetError.tooManySkipped(limit: loader.skipLimit, of: loader.slice.count, skipped: skipped)
            }
            done += loaded.samples.count + loaded.skipped.count
            guard let batch = loaded.batch else { continue }
            let result = try evaluator.evaluate(batch)
            running.add(result, labels: batch.labels)
            outcomes.add(loaded.samples, logits: result.logits, labels: batch.labels)
            switch batch.labels {
            case .classes(let classes):
                let columns = result.logits.shape[1]
                result.logits.withUnsafeFloats { logits in
                    for (row, actual) in classes.enumerated() where 0..<columns ~= Int(actual) {
                        let values = UnsafeBufferPointer(rebasing: logits[row * columns..<(row + 1) * columns])
                        confusion.add(actual: Int(actual), predicted: indexOfLargest(values))
                    }
                }
            case .multiHot, .probabilities: break
            }
            progress(done)
        }
        guard loader.slice.dataset.isMultiLabel else {
            return Evaluation(
                classNames: names, isMultiLabel: false, scores: running.scores, confusion: confusion,
                labels: names.indices.map { confusion.counts(of: $0) }, thresholds: nil, skipped: skipped,
                outcomes: outcomes)
        }
        let limits =
            thresholds
            ?? .tuned(probabilities: outcomes.probabilities, present: outcomes.present, labels: names.count)
        precondition(limits.values.count == names.count, "\(limits.values.count) thresholds for \(names.count) labels")
        var labels = Array(repeating: LabelCounts(), count: names.count)
        for (index, probability) in outcomes.probabilities.enumerated() {
            let label = index % names.count
            labels[label].add(predicted: probability >= limits.values[label], actual: outcomes.present[index])
        }
        return Evaluation(
            classNames: names, isMultiLabel: true, scores: running.scores, confusion: nil, labels: labels,
            thresholds: limits, skipped: skipped, outcomes: outcomes)
    }
}

// MARK: - Tables

extension Evaluation {
    /// Loss and accuracy, then a line for each class: precision, recall, F1, samples.
    public func table(topK: Int = 5) -> String {
        var lines = ["loss \(fixed(scores.loss, 4))"]
        if let top1 = scores.top1 {
            lines[0] += ", \(isMultiLabel ? "labels right" : "top-1") \(percent(top1))"
        }
        if let k = scores.topK, topK < classNames.count { lines[0] += ", top-\(topK) \(percent(k))" }
        lines[0] += ", macro F1 \(fixed(macroF1, 4))"
        let limits = thresholds?.values
        var table = TextTable(
            [isMultiLabel ? "label" : "class", "precision", "recall", "F1", "samples"]
                + (limits == nil ? [] : ["threshold"]),
            rightAligned: [1, 2, 3, 4, 5])
        for (index, counts) in labels.enumerated() {
            table.rows.append(
                [
                    classNames[index], fixed(counts.precision, 4), fixed(counts.recall, 4), fixed(counts.f1, 4),
                    "\(counts.support)",
                ] + (limits.map { [fixed($0[index], 3)] } ?? []))
        }
        return (lines + ["", table.text]).joined(separator: "\n")
    }
}

extension ConfusionMatrix {
    /// Rows are the classes, columns what they were taken for; beyond 20 classes the most frequent confusions.
    public var table: String {
        guard classCount <= 20 else {
            var table = TextTable(["class", "taken for", "samples"], rightAligned: [2])
            for (actual, predicted, count) in confusions(limit: 20) {
                table.rows.append([classNames[actual], classNames[predicted], "\(count)"])
            }
            return table.text
        }
        var table = TextTable(["actual \\ predicted"] + classNames, rightAligned: Set(1...max(classCount, 1)))
        for actual in 0..<classCount {
            table.rows.append([classNames[actual]] + (0..<classCount).map { "\(self[actual, $0])" })
        }
        return table.text
    }
}

/// `98.50 %`
func percent(_ part: Double) -> String { fixed(part * 100, 2) + " %" }
