// How well scores put positives before negatives, at every threshold: the ROC curve with the area below it, and precision
// against recall with its average.
//
// Thresholds lie between different scores only: equal ones are taken together. The area is that of trapezoids, the average
// precision the sum of (recall step) * precision, as scikit-learn has both.

/// ROC and precision-recall curves of a yes-no answer.
package struct RankingCurves: Sendable, Hashable {
    /// What is found above a threshold.
    package struct Point: Sendable, Hashable {
        /// Scores from here on are taken for yes.
        package var threshold: Double
        /// Positives found.
        package var truePositives: Int
        /// Negatives taken for positives.
        package var falsePositives: Int
    }

    /// Positives in all.
    package let positives: Int
    /// Negatives in all.
    package let negatives: Int
    /// From the highest threshold to the lowest.
    package let points: [Point]

    /// - Parameters:
    ///   - scores: the larger, the surer of a yes. Those that are no numbers do not count.
    ///   - isPositive: whether it was one.
    package init(scores: [Double], isPositive: [Bool]) {
        precondition(scores.count == isPositive.count, "an outcome for every score")
        let sorted = zip(scores, isPositive).filter { !$0.0.isNaN }.sorted { $0.0 > $1.0 }
        var points: [Point] = []
        var (found, wrong) = (0, 0)
        for (index, sample) in sorted.enumerated() {
            if sample.1 { found += 1 } else { wrong += 1 }
            if index + 1 < sorted.count && sorted[index + 1].0 == sample.0 { continue }
            points.append(Point(threshold: sample.0, truePositives: found, falsePositives: wrong))
        }
        positives = found
        negatives = wrong
        self.points = points
    }

    /// Whether there are positives and negatives: otherwise nothing can be ranked.
    package var isDefined: Bool { positives > 0 && negatives > 0 }

    /// (false positive rate, true positive rate), from (0, 0) to (1, 1).
    package var roc: [LineChart.Point] {
        [.init(0, 0)]
            + points.map {
                .init(Double($0.falsePositives) / Double(negatives), Double($0.truePositives) / Double(positives))
            }
    }

    /// (recall, precision).
    package var precisionRecall: [LineChart.Point] {
        points.map {
            .init(
                Double($0.truePositives) / Double(positives),
                Double($0.truePositives) / Double($0.truePositives + $0.falsePositives))
        }
    }

    /// The area below the ROC curve: the chance that a positive scores above a negative.
    package var area: Double {
        zip(roc, roc.dropFirst()).reduce(0) { $0 + ($1.1.x - $1.0.x) * ($1.1.y + $1.0.y) / 2 }
    }

    /// The mean of the precisions, weighted by the recall that each adds.
    package var averagePrecision: Double {
        var (sum, before) = (0.0, 0.0)
        for point in precisionRecall {
            sum += (point.x - before) * point.y
            before = point.x
        }
        return sum
    }
}
