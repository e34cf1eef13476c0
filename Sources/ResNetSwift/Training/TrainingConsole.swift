// A run as people watch it: a bar with the time left while an epoch goes on (on a terminal only), a line for each epoch.
//
//     epoch   train loss   top-1   top-5     val loss   top-1   top-5       lr    time
//      3/10       0.4321  87.50%  99.10%       0.3987  88.10%  99.30%    0.007  1m 12s *
//      4/10  ███████████▌░░░░░░░░  57 %  loss 0.4102  top-1 88.02%  31s left, 7m 43s to the end
//
// A line fits into 80 columns for up to 999 epochs.

import Glibc
import ResNetSupport

/// A run as people watch it, on standard error: a line for each epoch, and on a terminal a bar with the time left.
public final class TrainingConsole {
    private let isTerminal: Bool
    private let write: (String) -> Void
    private let topK: Int
    private let clock: () -> Double
    private var epochs = 1
    /// Of the epochs that this run has finished.
    private var finished = (count: 0, seconds: 0.0)
    private var hasHeader = false
    private var shown = -1.0
    private var isVisible = false

    private static let barWidth = 20
    /// Seconds between two pictures of the bar.
    private static let interval = 0.1

    /// Writes to standard error.
    public convenience init(topK: Int = 5) {
        self.init(topK: topK, isTerminal: isatty(STDERR_FILENO) == 1, clock: monotonicSeconds) { text in
            var bytes = Array(text.utf8)[...]
            while !bytes.isEmpty {
                let written = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
                if written < 0 && errno != EINTR { return }
                bytes = bytes.dropFirst(max(written, 0))
            }
        }
    }

    init(topK: Int, isTerminal: Bool, clock: @escaping () -> Double, write: @escaping (String) -> Void) {
        self.topK = topK
        self.isTerminal = isTerminal
        self.clock = clock
        self.write = write
    }

    /// To be given to the trainer as its `report`.
    public func report(_ event: TrainingEvent) {
        switch event {
        case .started(let overview):
            epochs = overview.epochs
            let validation = overview.validationSamples > 0 ? ", \(overview.validationSamples.grouped) to validate" : ""
            line(
                "\(overview.trainingSamples.grouped) samples to train\(validation), "
                    + "\(overview.batchesPerEpoch) batches an epoch, "
                    + "\(overview.trainedParameters.grouped) of \(overview.parameters.grouped) parameters train")
            line("* marks the best epoch so far")
            if overview.firstEpoch > 0 { line("going on with epoch \(overview.firstEpoch + 1)") }
        case .features(let done, let count):
            bar("features", done, count, "\(done.grouped) of \(count.grouped)", isLast: done == count)
        case .progress(let progress):
            var text = progress.isValidation ? "val loss" : "loss"
            text += " \(fixed(progress.loss, 4))"
            if let top1 = progress.top1 { text += "  top-1 \(share(top1))" }
            if let left = progress.secondsLeft {
                text += "  \(durationText(left)) left"
                let later = epochs - progress.epoch - 1
                if finished.count > 0, later > 0 {
                    let whole = left + finished.seconds / Double(finished.count) * Double(later)
                    text += ", \(durationText(whole)) to the end"
                }
            }
            bar(
                title(progress.epoch), progress.batchesDone, progress.batches, text,
                isLast: progress.batchesDone == progress.batches)
        case .epochEnded(let record, let isBest):
            finished = (finished.count + 1, finished.seconds + record.seconds)
            if !hasHeader {
                line(header(record))
                hasHeader = true
            }
            line(text(record, isBest: isBest))
        case .note(let text): line(text)
        }
    }

    private func title(_ epoch: Int) -> String {
        let number = "\(epoch + 1)"
        return left(
            "epoch".count,
            String(repeating: " ", count: max("\(epochs)".count - number.count, 0))
                + "\(number)/\(epochs)")
    }

    /// Right-aligned in so many columns.
    private func left(_ width: Int, _ text: String) -> String {
        String(repeating: " ", count: max(width - text.count, 0)) + text
    }

    private func share(_ part: Double) -> String { fixed(part * 100, 2) + "%" }

    /// The titles of `text`'s columns, with what the star means.
    private func header(_ record: EpochRecord) -> String {
        func titles(_ scores: Scores, _ name: String) -> String {
            var text = left(13, "\(name) loss")
            if scores.top1 != nil { text += left(8, scores.macroF1 == nil ? "top-1" : "right") }
            if scores.topK != nil { text += left(8, "top-\(topK)") }
            if scores.macroF1 != nil { text += left(8, "F1") }
            return text
        }
        var text = left(title(record.epoch).count, "epoch") + titles(record.training, "train")
        if let validation = record.validation { text += titles(validation, "val") }
        return text + left(9, "lr") + left(8, "time")
    }

    private func text(_ record: EpochRecord, isBest: Bool) -> String {
        func values(_ scores: Scores) -> String {
            var text = left(13, fixed(scores.loss, 4))
            if let top1 = scores.top1 { text += left(8, share(top1)) }
            if let k = scores.topK { text += left(8, share(k)) }
            if let f1 = scores.macroF1 { text += left(8, fixed(f1, 4)) }
            return text
        }
        var text = title(record.epoch) + values(record.training)
        if let validation = record.validation { text += values(validation) }
        text += left(9, rateText(record.learningRate)) + left(8, fineDurationText(record.seconds))
        if record.skipped > 0 { text += "  \(record.skipped) skipped" }
        return text + (isBest ? " *" : "")
    }

    private func bar(_ title: String, _ done: Int, _ count: Int, _ text: String, isLast: Bool) {
        guard isTerminal else { return }
        let now = clock()
        guard isLast || now - shown >= Self.interval else { return }
        shown = now
        let part = count > 0 ? Double(done) / Double(count) : 1
        let eighths = Int(part * Double(Self.barWidth * 8))
        let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]
        let full = String(repeating: "█", count: eighths / 8) + rest
        let empty = String(repeating: "░", count: Self.barWidth - full.count)
        let percent = "\(Int(part * 100))"
        let space = String(repeating: " ", count: 3 - percent.count)
        write("\r\u{1b}[K\(title)  \(full)\(empty) \(space)\(percent) %  \(text)")
        isVisible = true
    }

    /// Takes the bar away, so that others may write.
    public func clear() {
        if isVisible { write("\r\u{1b}[K") }
        isVisible = false
    }

    private func line(_ text: String) {
        write((isVisible ? "\r\u{1b}[K" : "") + text + "\n")
        isVisible = false
    }
}
