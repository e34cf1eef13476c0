// Text of files for people's terminals. Names of tensors, classes and files and the metadata of weights can hold anything,
// also sequences that move the cursor, set the window's title or turn the text around. What a terminal would obey is shown
// as an escape instead, and so are bytes of file names that are no text (FileName.swift).

extension String {
    /// One line without characters that a terminal obeys: control characters (line feeds too) become `\n`, `\t`, `\x1b`, and
    /// those that change the direction of text `\u202e`.
    package var escapedForTerminal: String { escapedForTerminal(keepingLines: false) }

    /// - Parameter keepingLines: line feeds stay.
    package func escapedForTerminal(keepingLines: Bool) -> String {
        guard unicodeScalars.contains(where: { Self.isObeyed($0) && !(keepingLines && $0 == "\n") }) else {
            return self
        }
        var result = ""
        for scalar in unicodeScalars {
            if !Self.isObeyed(scalar) || keepingLines && scalar == "\n" {
                result.unicodeScalars.append(scalar)
                continue
            }
            switch scalar {
            case _ where Self.rawByte(scalar) != nil: result += "\\x" + String(Self.rawByte(scalar)!, radix: 16)
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            default:
                let digits = String(scalar.value, radix: 16)
                let width = scalar.value < 0x100 ? 2 : 4
                result +=
                    (width == 2 ? "\\x" : "\\u") + String(repeating: "0", count: max(width - digits.count, 0))
                    + digits
            }
        }
        return result
    }

    private static func isObeyed(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        // C0, delete and C1; line and paragraph separators; marks, embeddings, overrides and isolates of direction.
        case 0..<0x20, 0x7f..<0xa0, 0x2028...0x202e, 0x2066...0x2069, 0x200e...0x200f, 0x061c: true
        case 0x10fe00...0x10feff: true  // a raw byte
        default: false
        }
    }
}
