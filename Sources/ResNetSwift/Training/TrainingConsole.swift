// A run as people watch it: a bar with the time left while an epoch goes on (on a terminal only), a line for each epoch.
//
//     epoch  3/10  loss 0.4321  top-1 87.50 %  top-5 99.10 %  | val loss 0.3987  top-1 88.10 %  top-5 99.30 %  | 1m 12s *
//     epoch  4/10  ███████████▌░░░░░░░░  57 %  loss 0.4102  top-1 88.02 %  31s left, 7m 43s to the end

import Glibc

/// A run as people watch it, on standard error: a line for each epoch, and on a terminal a bar with the time left.
public final class TrainingConsole {
    private let isTerminal: Bool
    private let write: (String) -> Void
    private let topK: Int
    private let clock: () -> Double
    private var epochs = 1
    /// Of the epochs that this run has finished.
    private var finished = (count: 0, seconds: 0.0)
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
            if overview.firstEpoch > 0 { line("going on with epoch \(overview.firstEpoch + 1)") }
        case .features(let done, let count):
            bar("features", done, count, "\(done.grouped) of \(count.grouped)", isLast: done == count)
        case .progress(let progress):
            var text = progress.isValidation ? "val loss" : "loss"
            text += " \(fixed(progress.loss, 4))"
            if let top1 = progress.top1 { text += "  top-1 \(percent(top1))" }
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
            line(text(record, isBest: isBest))
        case .note(let text): line(text)
        }
    }

    private func title(_ epoch: Int) -> String {
        let number = "\(epoch + 1)"
        return "epoch " + String(repeating: " ", count: max("\(epochs)".count - number.count, 0))
            + "\(number)/\(epochs)"
    }

    private func text(_ record: EpochRecord, isBest: Bool) -> String {
        func scores(_ scores: Scores, _ prefix: String) -> String {
            var text = "\(prefix)loss \(fixed(scores.loss, 4))"
            if let top1 = scores.top1 { text += "  top-1 \(percent(top1))" }
            if let k = scores.topK { text += "  top-\(topK) \(percent(k))" }
            if let f1 = scores.macroF1 { text += "  macro F1 \(fixed(f1, 4))" }
            return text
        }
        var text = "\(title(record.epoch))  \(scores(record.training, ""))"
        if let validation = record.validation { text += "  | \(scores(validation, "val "))" }
        text += "  | lr \(rateText(record.learningRate))  \(fineDurationText(record.seconds))"
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
