// Which class was taken for which: rows are what the samples are, columns what the network said.
//
//              cat   dog
//       cat     48     2
//       dog      5    45

/// Which class was taken for which: rows are what the samples are, columns what the network said.
public struct ConfusionMatrix: Sendable, Hashable {
    /// Of rows and columns.
    public let classNames: [String]
    /// (actual, predicted), row-major.
    public private(set) var counts: [Int]

    /// All zeros.
    public init(classNames: [String]) {
        self.classNames = classNames
        counts = Array(repeating: 0, count: classNames.count * classNames.count)
    }

    /// Rows, and columns.
    public var classCount: Int { classNames.count }

    /// Counts a sample.
    public mutating func add(actual: Int, predicted: Int) { counts[actual * classCount + predicted] += 1 }

    /// Samples of class `actual` taken for `predicted`.
    public subscript(actual: Int, predicted: Int) -> Int { counts[actual * classCount + predicted] }

    /// Samples.
    public var total: Int { counts.reduce(0, +) }

    /// Part of the samples on the diagonal, 0...1: top-1.
    public var accuracy: Double {
        total == 0 ? 0 : Double((0..<classCount).reduce(0) { $0 + self[$1, $1] }) / Double(total)
    }

    /// One class against all others.
    public func counts(of label: Int) -> LabelCounts {
        let hits = self[label, label]
        let predicted = (0..<classCount).reduce(0) { $0 + self[$1, label] }
        let actual = (0..<classCount).reduce(0) { $0 + self[label, $1] }
        return LabelCounts(
            truePositives: hits, falsePositives: predicted - hits, falseNegatives: actual - hits,
            trueNegatives: total - predicted - actual + hits)
    }

    /// The pairs that are confused most, the most frequent first.
    public func confusions(limit: Int = 10) -> [(actual: Int, predicted: Int, count: Int)] {
        counts.indices.filter { counts[$0] > 0 && $0 / classCount != $0 % classCount }
            .sorted { (-counts[$0], $0) < (-counts[$1], $1) }.prefix(limit)
            .map { ($0 / classCount, $0 % classCount, counts[$0]) }
    }
}
