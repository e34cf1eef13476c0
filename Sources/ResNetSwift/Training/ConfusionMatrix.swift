// Which class was taken for which: rows are what the samples are, columns what the network said.
//
//              cat   dog
//       cat     48     2
//       dog      5    45

/// Which class was taken for which: rows are what the samples are, columns what the network said.
public struct ConfusionMatrix: Sendable, Hashable {
    /// Of rows and columns.
    public let classNames: [String]
    /// Cells that are not 0, by row * classes + column. Most are: a matrix of 20,000 classes would take 3 GB.
    private var cells: [Int: Int] = [:]
    /// Samples by class, those taken for each class, and those right.
    private var actual: [Int]
    private var predicted: [Int]
    private var hits: [Int]
    /// Samples.
    public private(set) var total = 0

    /// All zeros.
    public init(classNames: [String]) {
        self.classNames = classNames
        actual = Array(repeating: 0, count: classNames.count)
        (predicted, hits) = (actual, actual)
    }

    /// Rows, and columns.
    public var classCount: Int { classNames.count }

    /// Counts a sample.
    public mutating func add(actual row: Int, predicted column: Int) {
        cells[row * classCount + column, default: 0] += 1
        actual[row] += 1
        predicted[column] += 1
        if row == column { hits[row] += 1 }
        total += 1
    }

    /// Samples of class `actual` taken for `predicted`.
    public subscript(actual: Int, predicted: Int) -> Int { cells[actual * classCount + predicted] ?? 0 }

    /// Part of the samples on the diagonal, 0...1: top-1.
    public var accuracy: Double { total == 0 ? 0 : Double(hits.reduce(0, +)) / Double(total) }

    /// One class against all others.
    public func counts(of label: Int) -> LabelCounts {
        LabelCounts(
            truePositives: hits[label], falsePositives: predicted[label] - hits[label],
            falseNegatives: actual[label] - hits[label],
            trueNegatives: total - predicted[label] - actual[label] + hits[label])
    }

    /// The pairs that are confused most, the most frequent first.
    public func confusions(limit: Int = 10) -> [(actual: Int, predicted: Int, count: Int)] {
        cells.filter { $0.key / classCount != $0.key % classCount }
            .sorted { (-$0.value, $0.key) < (-$1.value, $1.key) }.prefix(limit)
            .map { ($0.key / classCount, $0.key % classCount, $0.value) }
    }
}
