// Precision, recall and F1 by class or label, as scikit-learn defines them; a score without a denominator is 0.
//
//     precision = TP / (TP + FP)     recall = TP / (TP + FN)     F1 = 2 TP / (2 TP + FP + FN)

import ResNetGraph
import ResNetSupport

/// How often a class or label was predicted and present.
public struct LabelCounts: Sendable, Hashable {
    /// Predicted and present.
    public var truePositives = 0
    /// Predicted, not present.
    public var falsePositives = 0
    /// Present, not predicted.
    public var falseNegatives = 0
    /// Neither.
    public var trueNegatives = 0

    public init(truePositives: Int = 0, falsePositives: Int = 0, falseNegatives: Int = 0, trueNegatives: Int = 0) {
        self.truePositives = truePositives
        self.falsePositives = falsePositives
        self.falseNegatives = falseNegatives
        self.trueNegatives = trueNegatives
    }

    /// Counts a sample.
    public mutating func add(predicted: Bool, actual: Bool) {
        switch (predicted, actual) {
        case (true, true): truePositives += 1
        case (true, false): falsePositives += 1
        case (false, true): falseNegatives += 1
        case (false, false): trueNegatives += 1
        }
    }

    mutating func add(_ other: LabelCounts) {
        truePositives += other.truePositives
        falsePositives += other.falsePositives
        falseNegatives += other.falseNegatives
        trueNegatives += other.trueNegatives
    }

    /// Samples that have the label.
    public var support: Int { truePositives + falseNegatives }

    /// TP / (TP + FP), 0...1; 0 where that divides by 0.
    public var precision: Double { ratio(truePositives, truePositives + falsePositives) }
    /// TP / (TP + FN), 0...1; 0 where that divides by 0.
    public var recall: Double { ratio(truePositives, support) }
    /// 2 TP / (2 TP + FP + FN), 0...1; 0 where that divides by 0.
    public var f1: Double { ratio(2 * truePositives, 2 * truePositives + falsePositives + falseNegatives) }

    private func ratio(_ part: Int, _ whole: Int) -> Double { whole == 0 ? 0 : Double(part) / Double(whole) }
}

/// One threshold for each label: present where the probability is at least as large.
public struct LabelThresholds: Sendable, Hashable {
    /// Probabilities, 0...1, by label.
    public var values: [Double]

    /// By label.
    public init(_ values: [Double]) { self.values = values }

    /// The thresholds with the largest F1 of each label on these samples, tried between every two neighboring
    /// probabilities. Tune on validation data, never on the data that the score is reported for.
    ///
    /// A label that no sample has keeps 0.5. Of equal scores the threshold nearest to 0.5 wins.
    /// - Parameters:
    ///   - probabilities: (N, labels), row-major.
    ///   - present: (N, labels).
    ///   - labels: columns of both.
    public static func tuned(probabilities: [Double], present: [Bool], labels: Int) -> LabelThresholds {
        precondition(
            probabilities.count == present.count && labels > 0, "a probability for every label of every sample")
        let rows = probabilities.count / labels
        return LabelThresholds(
            (0..<labels).map { label in
                let samples = (0..<rows).map { row in
                    (p: probabilities[row * labels + label], isPresent: present[row * labels + label])
                }.filter { !$0.p.isNaN }.sorted { $0.p > $1.p }
                let positives = samples.count { $0.isPresent }
                guard positives > 0 else { return 0.5 }
                var best = (f1: 0.0, threshold: 0.5)
                var hits = 0
                for (index, sample) in samples.enumerated() {
                    if sample.isPresent { hits += 1 }
                    // A threshold cannot part equal probabilities.
                    let next = index + 1 < samples.count ? samples[index + 1].p : 0
                    if index + 1 < samples.count && next == sample.p { continue }
                    let f1 = 2 * Double(hits) / Double(index + 1 + positives)
                    let threshold = min(max((sample.p + next) / 2, next), sample.p)
                    let isNearer = (threshold - 0.5).magnitude < (best.threshold - 0.5).magnitude
                    if f1 > best.f1 || (f1 == best.f1 && isNearer) { best = (f1, threshold) }
                }
                return best.threshold
            })
    }
}

extension Model {
    /// From which probability on each label is taken to be present, kept in `metadata`; nil where there are none, or
    /// not one for each class.
    public var labelThresholds: LabelThresholds? {
        get {
            guard let text = metadata[MetadataKey.thresholds], let items = try? JSONValue.parse(text).arrayValue else {
                return nil
            }
            let values = items.compactMap(\.doubleValue)
            // What a file says need not be true.
            let classes = graph.parameters.last { $0.role == .linearWeight }?.shape[0]
            return values.count == items.count && values.count == classes ? LabelThresholds(values) : nil
        }
        set {
            metadata[MetadataKey.thresholds] = newValue.map { JSONValue.array($0.values.map(JSONValue.number)).text }
        }
    }
}
