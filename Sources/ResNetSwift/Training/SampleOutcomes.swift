// What a network said about each sample of a data set: what scores, curves and the choice of pictures to look at are
// computed from.

import Glibc
import ResNetGraph

/// What a network said about each sample.
package struct SampleOutcomes: Sendable {
    /// A sample of which one class is right.
    package struct Answer: Sendable, Hashable {
        /// In the data set.
        package var sample: Int
        /// The right class.
        package var actual: Int
        /// The class with the largest logit.
        package var predicted: Int
        /// The probability of `predicted`.
        package var confidence: Float
        /// The probability of `actual`.
        package var share: Float
        /// The probability of the second best class.
        package var second: Float
    }

    /// Where one class is right; empty otherwise.
    package private(set) var answers: [Answer] = []
    /// In the data set, where samples have labels of their own; empty otherwise.
    package private(set) var samples: [Int] = []
    /// (N, labels), where samples have labels of their own.
    package private(set) var probabilities: [Double] = []
    /// (N, labels): whether a sample has a label.
    package private(set) var present: [Bool] = []

    package init() {}

    /// - Parameters:
    ///   - samples: N, in the data set.
    ///   - logits: (N, classes).
    mutating func add(_ samples: [Int], logits: Tensor, labels: BatchLabels) {
        let columns = logits.shape[1]
        switch labels {
        case .classes(let classes):
            logits.withUnsafeFloats { logits in
                for (row, actual) in classes.enumerated() where 0..<columns ~= Int(actual) {
                    let values = UnsafeBufferPointer(rebasing: logits[row * columns..<(row + 1) * columns])
                    answers.append(Self.answer(samples[row], Int(actual), values))
                }
            }
        case .multiHot(let wanted), .probabilities(let wanted):
            self.samples += samples
            probabilities += logits.values.map { 1 / (1 + exp(-Double($0))) }
            present += wanted.values.map { $0 > 0.5 }
        }
    }

    private static func answer(_ sample: Int, _ actual: Int, _ logits: UnsafeBufferPointer<Float>) -> Answer {
        let best = indexOfLargest(logits)
        var (sum, second) = (0.0, 0.0)
        for (index, value) in logits.enumerated() {
            let power = exp(Double(value) - Double(logits[best]))
            sum += power
            if index != best { second = max(second, power) }
        }
        func share(_ index: Int) -> Float { Float(exp(Double(logits[index]) - Double(logits[best])) / sum) }
        return Answer(
            sample: sample, actual: actual, predicted: best, confidence: share(best), share: share(actual),
            second: Float(second / sum))
    }
}
