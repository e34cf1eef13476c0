// Which pictures a report shows: those the network is most wrong about, and those it is least sure about.

import ResNetGraph
import ResNetSupport

/// The pictures for a report, each with what the network says about it.
struct ReportChoice {
    /// A picture with a caption.
    struct Item {
        /// In the data set.
        var sample: Int
        /// The class or label that the network is asked about.
        var index: Int
        /// What it says, how sure it is, and what the picture shows.
        var said: String
        var probability: Double
        var isRight: Bool
        var shows: String
    }

    /// Wrong answers, the surest first.
    var mostWrong: [Item] = []
    /// The least sure answers first.
    var leastSure: [Item] = []

    /// Pictures of each kind.
    static let count = 12

    /// Of one class a picture: wrong answers with the smallest probability of the right class, and those whose two best
    /// classes are nearest to each other.
    init(_ outcomes: SampleOutcomes, classNames: [String]) {
        func item(_ answer: SampleOutcomes.Answer) -> Item {
            Item(
                sample: answer.sample, index: answer.predicted, said: classNames[answer.predicted],
                probability: Double(answer.confidence), isRight: answer.actual == answer.predicted,
                shows: "is \(classNames[answer.actual]), \(percent(Double(answer.share)))")
        }
        let wrong = outcomes.answers.filter { $0.actual != $0.predicted }
            .sorted { ($0.share, $0.sample) < ($1.share, $1.sample) }
        let unsure = outcomes.answers.sorted {
            ($0.confidence - $0.second, $0.sample) < ($1.confidence - $1.second, $1.sample)
        }
        mostWrong = wrong.prefix(Self.count).map(item)
        leastSure = unsure.prefix(Self.count).map(item)
    }

    /// Of several labels a picture: for each picture the label whose probability is farthest on the wrong side of its
    /// threshold, and the one whose probability is nearest to it.
    init(_ outcomes: SampleOutcomes, classNames: [String], thresholds: LabelThresholds?) {
        let labels = classNames.count
        guard labels > 0 else { return }
        let limits = thresholds?.values ?? Array(repeating: 0.5, count: labels)
        var wrong: [(distance: Double, item: Item)] = []
        var unsure: [(distance: Double, item: Item)] = []
        for (row, sample) in outcomes.samples.enumerated() {
            let places = row * labels..<(row + 1) * labels
            let (probabilities, present) = (outcomes.probabilities[places], outcomes.present[places])
            let names = zip(classNames, present).filter(\.1).map(\.0)
            let shows = names.isEmpty ? "has no label" : "is \(names.joined(separator: ", "))"
            let answers = zip(probabilities, present).enumerated().map { index, answer -> (Double, Item) in
                let isSaid = answer.0 >= limits[index]
                return (
                    abs(answer.0 - limits[index]),
                    Item(
                        sample: sample, index: index, said: (isSaid ? "" : "not ") + classNames[index],
                        probability: answer.0, isRight: isSaid == answer.1, shows: shows)
                )
            }
            if let worst = answers.filter({ !$0.1.isRight }).max(by: { $0.0 < $1.0 }) { wrong.append(worst) }
            if let nearest = answers.min(by: { $0.0 < $1.0 }) { unsure.append(nearest) }
        }
        wrong.sort { ($1.distance, $0.item.sample) < ($0.distance, $1.item.sample) }
        unsure.sort { ($0.distance, $0.item.sample) < ($1.distance, $1.item.sample) }
        mostWrong = wrong.prefix(Self.count).map(\.item)
        leastSure = unsure.prefix(Self.count).map(\.item)
    }
}
