// The value of a loss from logits, in double: for evaluation, where no gradient is needed.
//
// Formulas: torch.nn.CrossEntropyLoss (with label smoothing e, the target is (1 - e) one-hot + e / K, and class weights
// weigh every term of it), torch.nn.BCEWithLogitsLoss.

import Glibc
import ResNetGraph

extension Loss {
    /// The same without label smoothing and weights: what networks are scored by.
    public var plain: Loss {
        switch self {
        case .crossEntropy(_, _, let ignoreIndex): .crossEntropy(ignoreIndex: ignoreIndex)
        case .binaryCrossEntropy: .binaryCrossEntropy()
        }
    }

    /// What the loss of a batch is divided by, in samples: N, or the sum of the class weights of the samples that count.
    package func weight(of labels: BatchLabels) -> Double {
        guard case .crossEntropy(_, let weights, let ignoreIndex) = self, case .classes(let classes) = labels else {
            switch labels {
            case .classes(let classes): return Double(classes.count)
            case .probabilities(let targets), .multiHot(let targets): return Double(targets.shape[0])
            }
        }
        return classes.reduce(0.0) { sum, label in
            label == ignoreIndex ? sum : sum + (weights.map { Double($0[Int(label)]) } ?? 1)
        }
    }

    /// The loss of a batch and what it was divided by, computed in double precision.
    /// - Parameters:
    ///   - logits: (N, classes).
    ///   - labels: of N samples.
    /// - Precondition: the labels are of the loss's kind and of N samples.
    public func value(logits: Tensor, labels: BatchLabels) -> (loss: Double, weight: Double) {
        let (rows, columns) = (logits.shape[0], logits.shape[1])
        return logits.withUnsafeFloats { logits in
            func row(_ index: Int) -> [Double] { logits[index * columns..<(index + 1) * columns].map(Double.init) }
            switch (self, labels) {
            case (.crossEntropy(let smoothing, let weights, let ignoreIndex), .classes(let classes)):
                precondition(classes.count == rows, "\(classes.count) labels for \(rows) samples")
                var (sum, weightSum) = (0.0, 0.0)
                let (e, weights) = (Double(smoothing), classWeights(weights, columns))
                for (index, label) in classes.enumerated() where label != ignoreIndex {
                    let (own, terms) = (Int(label), logSoftmax(row(index)))
                    var others = 0.0
                    for column in 0..<columns { others += weights[column] * terms[column] }
                    sum -= (1 - e) * weights[own] * terms[own] + e / Double(columns) * others
                    weightSum += weights[own]
                }
                return (sum / weightSum, weightSum)
            case (.crossEntropy(let smoothing, let weights, _), .probabilities(let wanted)):
                let targets = wanted.values
                let (e, weights) = (Double(smoothing), classWeights(weights, columns))
                var sum = 0.0
                for index in 0..<rows {
                    let terms = logSoftmax(row(index))
                    for column in 0..<columns {
                        let target = (1 - e) * Double(targets[index * columns + column]) + e / Double(columns)
                        sum -= target * weights[column] * terms[column]
                    }
                }
                return (sum / Double(rows), Double(rows))
            case (.binaryCrossEntropy(let weights), .multiHot(let wanted)):
                let targets = wanted.values
                let weights = classWeights(weights, columns)
                var sum = 0.0
                for index in 0..<rows * columns {
                    let (x, y) = (Double(logits[index]), Double(targets[index]))
                    // log(1 + exp(-x)) without overflow; of x for the positives, of -x for the negatives.
                    let positive = max(-x, 0) + log1p(exp(-abs(x)))
                    sum += weights[index % columns] * y * positive + (1 - y) * (positive + x)
                }
                return (sum / Double(rows * columns), Double(rows))
            default: preconditionFailure("labels of another kind than the loss")
            }
        }
    }
}

private func classWeights(_ weights: [Float]?, _ count: Int) -> [Double] {
    weights?.map(Double.init) ?? Array(repeating: 1, count: count)
}

private func logSoftmax(_ row: [Double]) -> [Double] {
    let largest = row.max() ?? 0
    let logSum = log(row.reduce(0) { $0 + exp($1 - largest) })
    return row.map { $0 - largest - logSum }
}
