// What happens between epochs, as values with a state that checkpoints carry: a resumed run is as patient as it was.

import ResNetSupport

/// Looks at each epoch and may act on the run.
public protocol TrainingCallback: Sendable {
    /// Unique among the callbacks of a run; the key of the state in a checkpoint.
    var name: String { get }
    /// Called after validation.
    mutating func epochEnded(_ epoch: FinishedEpoch) -> CallbackAction
    /// All that `epochEnded` remembers.
    var state: JSONValue { get }
    /// Takes up a state that a checkpoint carried.
    /// Takes up a state that a checkpoint carried.
    /// Takes up a state that a checkpoint carried.
    /// - Returns: false where the state is not one of this callback.
    mutating func restore(_ state: JSONValue) -> Bool
}

/// What a callback is informed of.
public struct FinishedEpoch: Sendable, Hashable {
    /// What the epoch came to.
    public let record: EpochRecord
    /// What the run watches, where a callback does not say itself.
    public let monitor: Monitor
    /// Of the next update before schedule and groups.
    public let learningRate: Double

    public init(record: EpochRecord, monitor: Monitor, learningRate: Double) {
        self.record = record
        self.monitor = monitor
        self.learningRate = learningRate
    }
}

/// What a callback wants.
public struct CallbackAction: Sendable, Hashable {
    /// The run ends after this epoch.
    public var stops: Bool
    /// The new learning rate in place of `FinishedEpoch.learningRate`.
    public var learningRate: Double?
    /// A sentence for the user.
    public var note: String?

    public init(stops: Bool = false, learningRate: Double? = nil, note: String? = nil) {
        self.stops = stops
        self.learningRate = learningRate
        self.note = note
    }

    /// Go on.
    public static let none = CallbackAction()
}

/// Stops when the monitored value has not become better for `patience` epochs, and leaves the best weights. Rules and
/// parameters of keras.callbacks.EarlyStopping, but that the best weights are restored unless told otherwise.
public struct EarlyStopping: TrainingCallback, Hashable {
    /// nil means that of the run.
    public var monitor: Monitor?
    /// Less than this is no improvement.
    public var minDelta: Double
    /// Epochs without improvement after which the run stops.
    public var patience: Int
    /// The run ends with the weights of its best epoch instead of the last.
    public var restoresBest: Bool
    /// Before this epoch, counted from 0, nothing is compared.
    public var startFromEpoch: Int

    private var best: Double?
    private var waited = 0

    public init(
        monitor: Monitor? = nil, minDelta: Double = 0, patience: Int = 0, restoresBest: Bool = true,
        startFromEpoch: Int = 0
    ) {
        precondition(patience >= 0 && startFromEpoch >= 0, "patience is a number of epochs")
        self.monitor = monitor
        self.minDelta = minDelta.magnitude
        self.patience = patience
        self.restoresBest = restoresBest
        self.startFromEpoch = startFromEpoch
    }

    public var name: String { "earlyStopping" }

    public mutating func epochEnded(_ epoch: FinishedEpoch) -> CallbackAction {
        let monitor = monitor ?? epoch.monitor
        guard epoch.record.epoch >= startFromEpoch, let value = monitor.value(in: epoch.record) else { return .none }
        waited += 1
        if monitor.isBetter(value, than: best, by: minDelta) {
            best = value
            waited = 0
            return .none
        }
        guard waited >= patience, epoch.record.epoch > 0 else { return .none }
        let epochs = waited == 1 ? "1 epoch" : "\(waited) epochs"
        return CallbackAction(stops: true, note: "stopping early: \(monitor) has not become better for \(epochs)")
    }

    public var state: JSONValue {
        .object([
            JSONMember(key: "best", value: best.map(JSONValue.number) ?? .null),
            JSONMember(key: "waited", value: .integer(waited)),
        ])
    }

    public mutating func restore(_ state: JSONValue) -> Bool {
        guard let waited = state["waited"]?.integerValue, let best = state["best"] else { return false }
        self.waited = waited
        self.best = best.doubleValue
        return true
    }
}

/// Lowers the learning rate when the monitored value stagnates. Rules and parameters of
/// keras.callbacks.ReduceLROnPlateau.
public struct ReduceLROnPlateau: TrainingCallback, Hashable {
    /// nil means that of the run.
    public var monitor: Monitor?
    /// What the rate is multiplied by, in 0..<1.
    public var factor: Double
    /// Epochs without improvement after which the rate is lowered.
    public var patience: Int
    /// Less than this is no improvement.
    public var minDelta: Double
    /// Epochs after a reduction in which nothing is counted.
    public var cooldown: Int
    /// The rate does not go below.
    public var minLR: Double

    private var best: Double?
    private var waited = 0
    private var cooldownLeft = 0

    public init(
        monitor: Monitor? = nil, factor: Double = 0.1, patience: Int = 10, minDelta: Double = 1e-4,
        cooldown: Int = 0, minLR: Double = 0
    ) {
        precondition(factor > 0 && factor < 1, "a factor of \(factor) does not lower the learning rate")
        precondition(patience >= 0 && cooldown >= 0 && minLR >= 0, "patience and cooldown are numbers of epochs")
        self.monitor = monitor
        self.factor = factor
        self.patience = patience
        self.minDelta = minDelta
        self.cooldown = cooldown
        self.minLR = minLR
    }

    public var name: String { "reduceLROnPlateau" }

    public mutating func epochEnded(_ epoch: FinishedEpoch) -> CallbackAction {
        let monitor = monitor ?? epoch.monitor
        guard let value = monitor.value(in: epoch.record) else { return .none }
        if cooldownLeft > 0 {
            cooldownLeft -= 1
            waited = 0
        }
        if monitor.isBetter(value, than: best, by: minDelta) {
            best = value
            waited = 0
            return .none
        }
        guard cooldownLeft == 0 else { return .none }
        waited += 1
        guard waited >= patience, epoch.learningRate > minLR else { return .none }
        let rate = max(epoch.learningRate * factor, minLR)
        cooldownLeft = cooldown
        waited = 0
        return CallbackAction(learningRate: rate, note: "\(monitor) stagnates: the learning rate is now \(rate)")
    }

    public var state: JSONValue {
        .object([
            JSONMember(key: "best", value: best.map(JSONValue.number) ?? .null),
            JSONMember(key: "waited", value: .integer(waited)),
            JSONMember(key: "cooldownLeft", value: .integer(cooldownLeft)),
        ])
    }

    public mutating func restore(_ state: JSONValue) -> Bool {
        guard let waited = state["waited"]?.integerValue, let best = state["best"],
            let cooldownLeft = state["cooldownLeft"]?.integerValue
        else { return false }
        self.waited = waited
        self.best = best.doubleValue
        self.cooldownLeft = cooldownLeft
        return true
    }
}
