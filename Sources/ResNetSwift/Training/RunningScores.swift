// Scores summed up batch by batch: counts and a weighted loss, so that an epoch may be interrupted and go on.

import ResNetExecution
import ResNetGraph
import ResNetSupport

struct RunningScores: Sendable, Equatable {
    /// 0 where top-k is not asked for.
    let k: Int
    /// Sum of loss * weight, and of weight.
    private(set) var lossSum = 0.0
    private(set) var weightSum = 0.0
    private(set) var samples = 0
    private(set) var top1Hits = 0
    private(set) var topKHits = 0
    /// True and false positives and false negatives of each label at a threshold of 0.5; empty for classes.
    private(set) var labels: [LabelCounts] = []

    init(k: Int) { self.k = k }

    mutating func add(_ result: StepResult, labels: BatchLabels) {
        // A batch of weight 0 (class weights) has no mean: it counts nothing.
        if result.weight > 0 {
            lossSum += result.loss * result.weight
            weightSum += result.weight
        }
        let columns = result.logits.shape[1]
        let rows = result.logits.shape[0]
        result.logits.withUnsafeFloats { logits in
            func row(_ index: Int) -> UnsafeBufferPointer<Float> {
                UnsafeBufferPointer(rebasing: logits[index * columns..<(index + 1) * columns])
            }
            switch labels {
            case .classes(let classes):
                for index in 0..<rows where 0..<columns ~= Int(classes[index]) {
                    count(rank(of: Int(classes[index]), in: row(index)))
                }
            case .probabilities(let wanted):
                wanted.withUnsafeFloats { wanted in
                    for index in 0..<rows {
                        let target = UnsafeBufferPointer(rebasing: wanted[index * columns..<(index + 1) * columns])
                        count(rank(of: indexOfLargest(target), in: row(index)))
                    }
                }
            case .multiHot(let wanted):
                if self.labels.isEmpty { self.labels = Array(repeating: LabelCounts(), count: columns) }
                samples += rows
                wanted.withUnsafeFloats { wanted in
                    for index in 0..<rows * columns {
                        self.labels[index % columns].add(predicted: logits[index] > 0, actual: wanted[index] > 0.5)
                    }
                }
            }
        }
    }

    /// Sums that are no number, of nothing.
    static var notFinite: RunningScores {
        var scores = RunningScores(k: 0)
        scores.lossSum = .nan
        return scores
    }

    var isFinite: Bool { lossSum.isFinite && weightSum.isFinite }

    /// Adds the sums of batches that come after these.
    mutating func add(_ other: RunningScores) {
        lossSum += other.lossSum
        weightSum += other.weightSum
        samples += other.samples
        top1Hits += other.top1Hits
        topKHits += other.topKHits
        if labels.isEmpty { labels = Array(repeating: LabelCounts(), count: other.labels.count) }
        for (index, counts) in other.labels.enumerated() { labels[index].add(counts) }
    }

    private mutating func count(_ rank: Int) {
        samples += 1
        if rank == 0 { top1Hits += 1 }
        if rank < k { topKHits += 1 }
    }

    /// NaN where nothing was added.
    var scores: Scores {
        let loss = lossSum / weightSum
        guard samples > 0 else { return Scores(loss: loss) }
        guard labels.isEmpty else {
            let right = labels.reduce(0) { $0 + $1.truePositives + $1.trueNegatives }
            return Scores(
                loss: loss, top1: Double(right) / Double(samples * labels.count),
                macroF1: labels.map(\.f1).reduce(0, +) / Double(labels.count))
        }
        return Scores(
            loss: loss, top1: Double(top1Hits) / Double(samples),
            topK: k > 0 ? Double(topKHits) / Double(samples) : nil)
    }
}

/// How many logits are larger than that of a class; of equals, those of lower index count as larger. A class whose logit
/// is NaN comes last.
func rank(of target: Int, in logits: UnsafeBufferPointer<Float>) -> Int {
    let own = logits[target]
    guard !own.isNaN else { return logits.count }
    var rank = 0
    for index in logits.indices where logits[index] > own || (logits[index] == own && index < target) { rank += 1 }
    return rank
}

/// The first of the largest; 0 where all are NaN.
func indexOfLargest(_ values: UnsafeBufferPointer<Float>) -> Int {
    var best = 0
    for index in values.indices where values[index] > values[best] || (values[best].isNaN && !values[index].isNaN) {
        best = index
    }
    return best
}

// MARK: - As JSON

extension RunningScores {
    var json: JSONValue {
        .object([
            JSONMember(key: "k", value: .integer(k)),
            JSONMember(key: "lossSum", value: .number(lossSum)),
            JSONMember(key: "weightSum", value: .number(weightSum)),
            JSONMember(
                key: "counts", value: .array([samples, top1Hits, topKHits].map(JSONValue.integer))),
            JSONMember(
                key: "labels",
                value: .array(
                    labels.map {
                        .array(
                            [$0.truePositives, $0.falsePositives, $0.falseNegatives, $0.trueNegatives]
                                .map(JSONValue.integer))
                    })),
        ])
    }

    init?(json: JSONValue) {
        guard let k = json["k"]?.integerValue, let lossSum = json["lossSum"]?.doubleValue,
            let weightSum = json["weightSum"]?.doubleValue, let counts = json["counts"]?.integers, counts.count == 3,
            let labels = json["labels"]?.arrayValue
        else { return nil }
        self.init(k: k)
        self.lossSum = lossSum
        self.weightSum = weightSum
        (samples, top1Hits, topKHits) = (counts[0], counts[1], counts[2])
        for label in labels {
            guard let counts = label.integers, counts.count == 4 else { return nil }
            self.labels.append(
                LabelCounts(
                    truePositives: counts[0], falsePositives: counts[1], falseNegatives: counts[2],
                    trueNegatives: counts[3]))
        }
    }
}

extension JSONValue {
    /// A list of integers only.
    var integers: [Int]? {
        guard let items = arrayValue else { return nil }
        let integers = items.compactMap(\.integerValue)
        return integers.count == items.count ? integers : nil
    }
}
