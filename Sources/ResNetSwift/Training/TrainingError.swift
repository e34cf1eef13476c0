// What stops a training run.

/// What stops a training run. `description` names place, expected and found.
public enum TrainingError: Error, Sendable, Hashable, CustomStringConvertible {
    /// A loss that is no number, or a parameter that became none. Epoch and batch count from 1.
    case notFinite(what: String, epoch: Int, batch: Int, learningRate: Double, lastCheckpoint: String?)
    /// A checkpoint that this run cannot go on from.
    case checkpoint(path: String, expected: String, found: String)
    /// Settings that do not fit each other, the data or the network.
    case settings(field: String, expected: String, found: String)
    /// A backend that was given what it cannot work with.
    case backend(expected: String, found: String)
    /// Of several processes that train together, one that failed.
    case processes(rank: Int, what: String)
    /// A step that failed in one of them, in its own words.
    case failed(String)

    public var description: String {
        switch self {
        case .notFinite(let what, let epoch, let batch, let rate, let checkpoint):
            "\(what) in epoch \(epoch), batch \(batch), at a learning rate of \(rateText(rate)). "
                + (checkpoint.map { "The last good checkpoint is \($0). " } ?? "")
                + "Try a lower learning rate, a warm-up, or clipping of gradients"
        case .checkpoint(let path, let expected, let found): "\(path): expected \(expected), found \(found)"
        case .settings(let field, let expected, let found): "\(field): expected \(expected), found \(found)"
        case .failed(let what): what
        case .processes(let rank, let what): "process \(rank): \(what)"
        case .backend(let expected, let found): "training: expected \(expected), found \(found)"
        }
    }
}
