// Standard error: one-line messages, and progress for people who wait.

import Glibc
import ResNetSwift

enum Terminal {
    static let errorIsTerminal = isatty(STDERR_FILENO) == 1

    /// Where standard input, output or error is closed, the next file to be opened would get its number, and what is meant for
    /// people would be written into it. What stands there instead refuses to be written, which is then reported.
    static func openMissingDescriptors() {
        for descriptor in 0...2 as ClosedRange<Int32> where fcntl(descriptor, F_GETFD) < 0 {
            _ = open("/dev/null", O_RDONLY)
        }
    }

    /// To standard error as it is, unbuffered.
    static func write(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if written < 0 && errno != EINTR { return }
            bytes = bytes.dropFirst(max(written, 0))
        }
    }

    /// One line, whatever the text holds.
    static func note(_ text: String) { write("resnet: \(text.escapedForTerminal)\n") }
    static func warning(_ text: String) { note("warning: \(text)") }
    static func error(_ text: String) { note("error: \(text)") }
}

/// How far long work has come: on a terminal only, and only after a second.
///
///     resnet: 120 of 1000 pictures, 12%, 31.4 a second, 0:28 left
struct Progress {
    private let total: Int
    private let unit: String
    private let began = ProcessClock.now()
    private var shown = 0.0
    private var isVisible = false
    private(set) var done = 0

    init(total: Int, unit: String) {
        self.total = total
        self.unit = unit
    }

    mutating func advance(by count: Int = 1) {
        done += count
        let elapsed = ProcessClock.now() - began
        guard Terminal.errorIsTerminal, elapsed > 1, elapsed - shown > 0.1, done < total else { return }
        shown = elapsed
        let rate = Double(done) / elapsed
        let left = Int((Double(total - done) / rate).rounded(.up))
        let seconds = left % 60
        hide()
        Terminal.write(
            "resnet: \(done) of \(total) \(unit), \(100 * done / max(total, 1))%, \(fixed(rate, 1)) a second, "
                + "\(left / 60):\(seconds < 10 ? "0" : "")\(seconds) left")
        isVisible = true
    }

    /// Clears the line, so that others may write.
    mutating func hide() {
        if isVisible { Terminal.write("\r\u{1b}[K") }
        isVisible = false
    }
}
