// What an epoch came to, and the history of a run: values that checkpoints carry and logs are written from.

import ResNetSupport

/// Scores over a data set. What a data set does not have is nil.
public struct Scores: Sendable, Hashable {
    /// The mean over the samples, as the loss takes it.
    public var loss: Double
    /// Part of the samples whose best logit is the right class; with one or several labels a sample, part of the labels
    /// that are right at a threshold of 0.5.
    public var top1: Double?
    /// Part of the samples whose class is among the best k logits.
    public var topK: Double?
    /// Several labels a sample: the mean of the labels' F1 at a threshold of 0.5.
    public var macroF1: Double?

    public init(loss: Double, top1: Double? = nil, topK: Double? = nil, macroF1: Double? = nil) {
        self.loss = loss
        self.top1 = top1
        self.topK = topK
        self.macroF1 = macroF1
    }
}

/// What an epoch came to.
public struct EpochRecord: Sendable, Hashable {
    /// From 0; people read it from 1.
    public var epoch: Int
    /// Of the epoch's last update, before the scales of groups.
    public var learningRate: Double
    /// While it trained: the network changed in between.
    public var training: Scores
    /// At its end; nil without validation data.
    public var validation: Scores?
    /// Samples of this epoch that could not be read.
    public var skipped: Int
    /// Training and validation.
    public var seconds: Double

    public init(
        epoch: Int, learningRate: Double, training: Scores, validation: Scores? = nil, skipped: Int = 0,
        seconds: Double = 0
    ) {
        self.epoch = epoch
        self.learningRate = learningRate
        self.training = training
        self.validation = validation
        self.skipped = skipped
        self.seconds = seconds
    }
}

// MARK: - As JSON

extension Scores {
    var json: JSONValue {
        let fields = [("loss", Optional(loss)), ("top1", top1), ("topk", topK), ("f1", macroF1)]
        return .object(fields.compactMap { name, value in value.map { JSONMember(key: name, value: .number($0)) } })
    }

    init?(json: JSONValue) {
        guard let loss = json["loss"]?.doubleValue else { return nil }
        self.init(
            loss: loss, top1: json["top1"]?.doubleValue, topK: json["topk"]?.doubleValue,
            macroF1: json["f1"]?.doubleValue)
    }
}

extension EpochRecord {
    var json: JSONValue {
        var members = [
            JSONMember(key: "epoch", value: .integer(epoch + 1)),
            JSONMember(key: "lr", value: .number(learningRate)),
            JSONMember(key: "train", value: training.json),
        ]
        if let validation { members.append(JSONMember(key: "val", value: validation.json)) }
        members.append(JSONMember(key: "skipped", value: .integer(skipped)))
        members.append(JSONMember(key: "seconds", value: .number(seconds)))
        return .object(members)
    }

    init?(json: JSONValue) {
        guard let epoch = json["epoch"]?.integerValue, let rate = json["lr"]?.doubleValue,
            let training = json["train"].flatMap(Scores.init(json:)), let skipped = json["skipped"]?.integerValue,
            let seconds = json["seconds"]?.doubleValue
        else { return nil }
        self.init(
            epoch: epoch - 1, learningRate: rate, training: training,
            validation: json["val"].flatMap(Scores.init(json:)),
            skipped: skipped, seconds: seconds)
    }
}

extension JSONValue {
    /// A number, written with or without a fraction.
    var doubleValue: Double? {
        switch self {
        case .number(let value): value
        case .integer(let value): Double(value)
        default: nil
        }
    }

    var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
}
