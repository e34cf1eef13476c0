// Whether probabilities mean what they say: of the samples that a network is 80 % sure about, 80 % should be right.
//
//     bin         0.0-0.1   0.1-0.2  ...  0.9-1.0      by confidence
//     confidence  mean of what the network said
//     accuracy    part of them that was right
//     ECE = sum over bins of (samples in it / all samples) * |accuracy - confidence|
//
// Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks (2017). Bins of equal width, each with its upper
// end; a confidence of 0 falls into the first.

/// How far stated probabilities are from frequencies.
package struct Reliability: Sendable, Hashable {
    /// Samples of similar confidence.
    package struct Bin: Sendable, Hashable {
        /// Samples.
        package var count = 0
        /// Of them.
        package var right = 0
        /// Sum over them.
        package var confidenceSum = 0.0

        /// The mean of the confidences; 0 for an empty bin.
        package var confidence: Double { count == 0 ? 0 : confidenceSum / Double(count) }
        /// Part that was right; 0 for an empty bin.
        package var accuracy: Double { count == 0 ? 0 : Double(right) / Double(count) }
    }

    /// From low to high confidence.
    package private(set) var bins: [Bin]

    /// - Parameters:
    ///   - confidences: 0...1, of the answers given. Those that are no numbers do not count.
    ///   - isRight: whether each answer was right.
    package init(confidences: [Float], isRight: [Bool], bins count: Int = 15) {
        precondition(confidences.count == isRight.count && count > 0, "an outcome for every confidence")
        bins = Array(repeating: Bin(), count: count)
        for (confidence, isRight) in zip(confidences, isRight) where !confidence.isNaN {
            let place = (Double(confidence) * Double(count)).rounded(.up) - 1
            let bin = Int(min(max(place, 0), Double(count - 1)))
            bins[bin].count += 1
            bins[bin].right += isRight ? 1 : 0
            bins[bin].confidenceSum += Double(confidence)
        }
    }

    /// The expected calibration error, 0...1.
    package var expectedError: Double {
        let total = bins.reduce(0) { $0 + $1.count }
        guard total > 0 else { return 0 }
        return bins.reduce(0) { $0 + Double($1.count) / Double(total) * ($1.accuracy - $1.confidence).magnitude }
    }
}
