// Where a run is: with the tensors of a checkpoint, all that it takes to go on as if it had never stopped.

import ResNetData
import ResNetSupport

struct RunState: Sendable, Equatable {
    /// The epoch in progress, from 0, and how many of its batches are done.
    var epoch = 0
    var batch = 0
    /// Product of what callbacks did to the learning rate.
    var rateFactor = 1.0
    /// Of the epoch in progress.
    var running: RunningScores
    var seconds = 0.0
    var skippedInEpoch = 0
    /// Over the run, by index in the training and the validation data.
    var skippedTraining: [SkippedSample] = []
    var skippedValidation: [SkippedSample] = []
    var history: [EpochRecord] = []
    /// The best monitored value and its epoch.
    var best: (epoch: Int, value: Double)?
    var callbacks: [String: JSONValue] = [:]
    /// A callback has stopped the run.
    var isStopped = false
    /// Updates of the moving average.
    var averageUpdates = 0

    init(k: Int) { running = RunningScores(k: k) }

    mutating func skip(_ samples: [SkippedSample], ofValidation: Bool) {
        let known = Set((ofValidation ? skippedValidation : skippedTraining).map(\.sample))
        let new = samples.filter { !known.contains($0.sample) }
        if ofValidation { skippedValidation += new } else { skippedTraining += new }
    }

    static func == (a: RunState, b: RunState) -> Bool { a.json == b.json }
}

extension RunState {
    var json: JSONValue {
        func list(_ samples: [SkippedSample]) -> JSONValue {
            .array(samples.map { .array([.integer($0.sample), .string($0.reason)]) })
        }
        return .object([
            JSONMember(key: "epoch", value: .integer(epoch)),
            JSONMember(key: "batch", value: .integer(batch)),
            JSONMember(key: "rateFactor", value: .number(rateFactor)),
            JSONMember(key: "running", value: running.json),
            JSONMember(key: "seconds", value: .number(seconds)),
            JSONMember(key: "skippedInEpoch", value: .integer(skippedInEpoch)),
            JSONMember(key: "skippedTraining", value: list(skippedTraining)),
            JSONMember(key: "skippedValidation", value: list(skippedValidation)),
            JSONMember(key: "history", value: .array(history.map(\.json))),
            JSONMember(
                key: "best", value: best.map { .array([.integer($0.epoch), .number($0.value)]) } ?? .null),
            JSONMember(
                key: "callbacks",
                value: .object(callbacks.sorted { $0.key < $1.key }.map { JSONMember(key: $0.key, value: $0.value) })),
            JSONMember(key: "isStopped", value: .bool(isStopped)),
            JSONMember(key: "averageUpdates", value: .integer(averageUpdates)),
        ])
    }

    /// nil where something is missing or of another kind.
    init?(json: JSONValue) {
        func samples(_ key: String) -> [SkippedSample]? {
            guard let items = json[key]?.arrayValue else { return nil }
            let samples = items.compactMap { item -> SkippedSample? in
                guard let pair = item.arrayValue, pair.count == 2, let sample = pair[0].integerValue,
                    let reason = pair[1].stringValue
                else { return nil }
                return SkippedSample(sample: sample, reason: reason)
            }
            return samples.count == items.count ? samples : nil
        }
        guard let epoch = json["epoch"]?.integerValue, let batch = json["batch"]?.integerValue, epoch >= 0, batch >= 0,
            let rateFactor = json["rateFactor"]?.doubleValue,
            let running = json["running"].flatMap(RunningScores.init(json:)),
            let seconds = json["seconds"]?.doubleValue, let skippedInEpoch = json["skippedInEpoch"]?.integerValue,
            let skippedTraining = samples("skippedTraining"), let skippedValidation = samples("skippedValidation"),
            let records = json["history"]?.arrayValue, case .object(let callbacks)? = json["callbacks"],
            let isStopped = json["isStopped"]?.boolValue, let averageUpdates = json["averageUpdates"]?.integerValue
        else { return nil }
        let history = records.compactMap(EpochRecord.init(json:))
        guard history.count == records.count else { return nil }
        if let pair = json["best"]?.arrayValue {
            guard pair.count == 2, let epoch = pair[0].integerValue, let value = pair[1].doubleValue else { return nil }
            best = (epoch, value)
        }
        self.epoch = epoch
        self.batch = batch
        self.rateFactor = rateFactor
        self.running = running
        self.seconds = seconds
        self.skippedInEpoch = skippedInEpoch
        self.skippedTraining = skippedTraining
        self.skippedValidation = skippedValidation
        self.history = history
        for member in callbacks { self.callbacks[member.key] = member.value }
        self.isStopped = isStopped
        self.averageUpdates = averageUpdates
    }
}
