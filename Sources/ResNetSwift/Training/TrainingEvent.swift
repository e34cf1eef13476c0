// What a run tells while it goes on; who listens decides what becomes of it.

public enum TrainingEvent: Sendable {
    /// Before the first step.
    case started(TrainingOverview)
    /// A frozen backbone's features are being computed, once.
    case features(done: Int, of: Int)
    /// After each batch of training or validation.
    case progress(BatchProgress)
    /// After validation, callbacks and checkpoints.
    case epochEnded(EpochRecord, isBest: Bool)
    /// A sentence for the user.
    case note(String)
}

public struct TrainingOverview: Sendable, Hashable {
    public let trainingSamples: Int
    public let validationSamples: Int
    public let batchesPerEpoch: Int
    public let epochs: Int
    /// Trainable now, and in all.
    public let trainedParameters: Int
    public let parameters: Int
    /// 0 in a new run.
    public let firstEpoch: Int
}

public struct BatchProgress: Sendable, Hashable {
    /// From 0.
    public let epoch: Int
    public let epochs: Int
    public let isValidation: Bool
    public let batchesDone: Int
    public let batches: Int
    /// Of the epoch until now.
    public let loss: Double
    public let top1: Double?
    public let learningRate: Double
    /// Of the epoch, without pauses between runs.
    public let seconds: Double
    /// To the end of this pass over the data, as it goes; nil where nothing can be told yet.
    public let secondsLeft: Double?
}

/// How a run ended and what it leaves.
public struct TrainingOutcome: Sendable {
    public enum Reason: Sendable, Hashable {
        /// All epochs are done.
        case completed
        /// A callback stopped the run.
        case stoppedEarly
        /// Somebody asked for it; the run can be resumed.
        case interrupted
    }

    public let reason: Reason
    /// Those of the best epoch where early stopping restores them, otherwise the last; averages where those are kept.
    public let parameters: [String: Tensor]
    public let history: TrainingHistory
    public let skipped: [SkippedSample]
    public let lastCheckpoint: String?
    public let bestCheckpoint: String?
}
