// What a process tells the others about a batch that it has computed.

import ResNetData
import ResNetSupport

struct ScoredBatch: Sendable {
    /// In the epoch, from 0.
    var index: Int
    var scores: RunningScores
    /// What the batch counts in the gradient, and its samples. 0 where nothing of it could be read.
    var weight = 0.0
    var samples = 0
    var skipped: [SkippedSample] = []
    /// What failed; nil if nothing did.
    var failure: String?

    init(index: Int, scores: RunningScores) {
        self.index = index
        self.scores = scores
    }

    /// The batches of all processes, in the order of the epoch.
    static func gathered(_ own: [ScoredBatch], from processes: any ProcessGroup) throws(TrainingError) -> [ScoredBatch]
    {
        guard processes.size > 1 else { return own }
        var all: [ScoredBatch] = []
        for (rank, list) in try processes.gather(.array(own.map(\.json))).enumerated() {
            for item in list.arrayValue ?? [] {
                guard let batch = ScoredBatch(json: item) else {
                    throw .processes(rank: rank, what: "sent scores that cannot be understood")
                }
                all.append(batch)
            }
        }
        return all.sorted { $0.index < $1.index }
    }

    var json: JSONValue {
        .object([
            JSONMember(key: "index", value: .integer(index)),
            JSONMember(key: "scores", value: scores.json),
            JSONMember(key: "weight", value: .number(weight)),
            JSONMember(key: "samples", value: .integer(samples)),
            // JSON has no such numbers.
            JSONMember(key: "finite", value: .bool(scores.isFinite)),
            JSONMember(
                key: "skipped",
                value: .array(skipped.map { .array([.integer($0.sample), .string($0.reason)]) })),
            JSONMember(key: "failure", value: failure.map(JSONValue.string) ?? .null),
        ])
    }

    init?(json: JSONValue) {
        guard let index = json["index"]?.integerValue, let weight = json["weight"]?.doubleValue,
            let samples = json["samples"]?.integerValue, let isFinite = json["finite"]?.boolValue,
            let skipped = json["skipped"]?.arrayValue, let text = json["scores"],
            let scores = isFinite ? RunningScores(json: text) : RunningScores.notFinite
        else { return nil }
        self.init(index: index, scores: scores)
        self.weight = weight
        self.samples = samples
        failure = json["failure"]?.stringValue
        for item in skipped {
            guard let pair = item.arrayValue, pair.count == 2, let sample = pair[0].integerValue,
                let reason = pair[1].stringValue
            else { return nil }
            self.skipped.append(SkippedSample(sample: sample, reason: reason))
        }
    }
}
