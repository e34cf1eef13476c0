// What a run tells while it goes on; who listens decides what becomes of it.

import ResNetData
import ResNetGraph

/// What a run tells while it goes on.
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

/// What a run is about to do.
public struct TrainingOverview: Sendable, Hashable {
    /// Samples of an epoch.
    public let trainingSamples: Int
    /// 0 without validation data.
    public let validationSamples: Int
    /// Of training.
    public let batchesPerEpoch: Int
    /// Of the whole run.
    public let epochs: Int
    /// Trainable now, and in all.
    public let trainedParameters: Int
    /// Values, buffers not counted.
    public let parameters: Int
    /// 0 in a new run.
    public let firstEpoch: Int
}

/// How far an epoch is.
public struct BatchProgress: Sendable, Hashable {
    /// From 0.
    public let epoch: Int
    /// Of the whole run.
    public let epochs: Int
    /// The epoch has trained and is being validated.
    public let isValidation: Bool
    /// Of this pass over the data.
    public let batchesDone: Int
    /// Of this pass over the data.
    public let batches: Int
    /// Of the epoch until now.
    public let loss: Double
    /// Of the epoch until now, 0...1.
    public let top1: Double?
    /// Of the last update, before the scales of groups; 0 in validation.
    public let learningRate: Double
    /// Of the epoch, without pauses between runs.
    public let seconds: Double
    /// To the end of this pass over the data, as it goes; nil where nothing can be told yet.
    public let secondsLeft: Double?
}

/// How a run ended and what it leaves.
public struct TrainingOutcome: Sendable {
    /// Why a run ended.
    public enum Reason: Sendable, Hashable {
        /// All epochs are done.
        case completed
        /// A callback stopped the run.
        case stoppedEarly
        /// Somebody asked for it; the run can be resumed.
        case interrupted
    }

    /// Why it ended.
    public let reason: Reason
    /// Those of the best epoch where early stopping restores them, otherwise the last; averages where those are kept.
    public let parameters: [String: Tensor]
    /// By epoch.
    public let history: TrainingHistory
    /// Samples that could not be read, each once.
    public let skipped: [SkippedSample]
    /// Its path; nil where nothing was written.
    public let lastCheckpoint: String?
    /// Its path; nil where nothing was written.
    public let bestCheckpoint: String?
}
