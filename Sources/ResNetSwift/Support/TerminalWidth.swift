// How many columns of a terminal text takes: names of files and classes come in every script. Terminals count code points as
// wcwidth does: two columns for wide ones (East Asian Width W and F in UAX #11, and emoji), none for marks that combine with
// what stands before.

extension StringProtocol {
    /// Columns of one line without control characters (`escapedForTerminal`).
    package var terminalWidth: Int { unicodeScalars.reduce(0) { $0 + $1.terminalWidth } }

    /// The longest end that takes at most `width` columns; whole characters.
    package func suffix(terminalWidth width: Int) -> SubSequence {
        var left = width
        var start = endIndex
        while start > startIndex {
            let before = index(before: start)
            left -= self[before..<start].terminalWidth
            guard left >= 0 else { break }
            start = before
        }
        return self[start...]
    }
}

extension Unicode.Scalar {
    fileprivate var terminalWidth: Int {
        guard value >= 0x300 else { return 1 }
        switch properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format: return 0
        default: return isWide ? 2 : 1
        }
    }

    /// Hangul, kana and ideographs with their punctuation, full-width forms, and emoji that are shown as pictures.
    private var isWide: Bool {
        switch value {
        case 0x1100...0x115f, 0x2e80...0x303e, 0x3041...0x4dbf, 0x4e00...0xa4cf, 0xa960...0xa97f, 0xac00...0xd7a3,
            0xf900...0xfaff,
            0xfe10...0xfe19, 0xfe30...0xfe6f, 0xff01...0xff60, 0xffe0...0xffe6, 0x16fe0...0x18dff, 0x1b000...0x1b2ff,
            0x20000...0x3fffd:
            true
        default: properties.isEmojiPresentation
        }
    }
}
