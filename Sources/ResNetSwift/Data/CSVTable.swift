// Comma-separated values as RFC 4180 has them: fields with commas, quotes or line ends stand in quotes, a quote in quotes is
// doubled. Line ends are LF or CRLF, a byte order mark is passed over. A header without commas may have tabs or semicolons
// instead, as spreadsheets write them where the comma is for decimals.

package struct CSVTable: Sendable, Hashable {
    struct Row: Sendable, Hashable {
        /// Counted from 1, where the row begins.
        let line: Int
        let fields: [String]
    }

    let header: [String]
    /// Each with as many fields as the header.
    let rows: [Row]

    /// - Parameter path: stands in errors.
    init(text: [UInt8], path: String) throws(DatasetError) {
        var rows = try Self.parse(text, path)
        guard !rows.isEmpty else { throw .line(path: path, line: 1, expected: "a header", found: "an empty file") }
        header = rows.removeFirst().fields.map { $0.trimmed }
        for row in rows where row.fields.count != header.count {
            throw .line(
                path: path, line: row.line, expected: "\(header.count) fields", found: "\(row.fields.count)")
        }
        self.rows = rows
    }

    /// Rows of one empty field, empty lines, are left out.
    private static func parse(_ text: [UInt8], _ path: String) throws(DatasetError) -> [Row] {
        let (quote, newline, carriage) = (UInt8(ascii: "\""), UInt8(ascii: "\n"), UInt8(ascii: "\r"))
        let header = text.prefix { $0 != newline }
        let comma = ",\t;".utf8.first { header.contains($0) } ?? UInt8(ascii: ",")
        var rows: [Row] = []
        var fields: [String] = []
        var field: [UInt8] = []
        var (line, firstLine) = (1, 1)
        var isQuoted = false  // inside quotes
        var wasQuoted = false  // the field stood in quotes, which have ended
        func endField() throws(DatasetError) {
            guard let text = String(validating: field, as: UTF8.self) else {
                throw .line(path: path, line: line, expected: "UTF-8", found: "other bytes")
            }
            fields.append(text)
            field = []
            wasQuoted = false
        }
        func endRow() throws(DatasetError) {
            try endField()
            if fields != [""] { rows.append(Row(line: firstLine, fields: fields)) }
            fields = []
        }
        var index = text.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0
        while index < text.count {
            let byte = text[index]
            let next = index + 1 < text.count ? text[index + 1] : nil
            index += 1
            if isQuoted {
                if byte == quote, next == quote {
                    field.append(quote)
                    index += 1
                } else if byte == quote {
                    isQuoted = false
                    wasQuoted = true
                } else {
                    if byte == newline { line += 1 }
                    field.append(byte)
                }
                continue
            }
            switch byte {
            case comma: try endField()
            case carriage where next == newline || next == nil: break
            case newline:
                try endRow()
                line += 1
                firstLine = line
            case quote where field.isEmpty && !wasQuoted: isQuoted = true
            case _ where wasQuoted:
                throw .line(path: path, line: line, expected: "a comma after the quote", found: "other text")
            default: field.append(byte)
            }
        }
        guard !isQuoted else { throw .line(path: path, line: firstLine, expected: "a closing quote", found: "none") }
        if !field.isEmpty || !fields.isEmpty || wasQuoted { try endRow() }
        return rows
    }

    /// One field as it must be written.
    static func quoted(_ text: String) -> String {
        guard text.utf8.contains(where: { [0x2c, 0x22, 0x0a, 0x0d].contains($0) }) else { return text }
        return "\"" + text.replacing("\"", with: "\"\"") + "\""
    }

    package static func line(_ fields: [String]) -> String { fields.map(quoted).joined(separator: ",") + "\n" }
}

extension String {
    /// Without spaces and tabs at both ends.
    var trimmed: String {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        guard let first = firstIndex(where: { !isSpace($0) }), let last = lastIndex(where: { !isSpace($0) }) else {
            return ""
        }
        return String(self[first...last])
    }
}
