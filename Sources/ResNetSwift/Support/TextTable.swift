// Tables and numbers as people read them.

/// Columns aligned by spaces; a width is that of the longest cell. Cells come from files too: none can move the cursor.
package struct TextTable {
    package var rows: [[String]] = []
    /// Columns of numbers.
    package let rightAligned: Set<Int>

    package init(_ header: [String], rightAligned: Set<Int> = []) {
        rows = [header]
        self.rightAligned = rightAligned
    }

    /// Width of each column.
    package var widths: [Int] {
        (rows.first ?? []).indices.map { column in rows.map { Self.width($0[column]) }.max() ?? 0 }
    }

    /// Columns of the terminal that a cell takes.
    package static func width(_ cell: String) -> Int { cell.escapedForTerminal.terminalWidth }

    /// One row; cells that are too long push the rest to the right.
    package static func line(_ cells: [String], widths: [Int], rightAligned: Set<Int>) -> String {
        var line = ""
        for (column, text) in cells.enumerated() {
            let cell = text.escapedForTerminal
            let space = String(repeating: " ", count: max(widths[column] - cell.terminalWidth, 0))
            line += (column == 0 ? "" : "  ") + (rightAligned.contains(column) ? space + cell : cell + space)
        }
        while line.last == " " { line.removeLast() }
        return line
    }

    package var lines: [String] {
        let widths = widths
        return rows.map { Self.line($0, widths: widths, rightAligned: rightAligned) }
    }

    package var text: String { lines.joined(separator: "\n") }
}

/// Decimal text with `places` digits after the point, rounded to nearest; `nan` and `inf` as they are.
package func fixed(_ value: Double, _ places: Int) -> String {
    guard value.isFinite else { return "\(value)" }
    var scale = 1.0
    for _ in 0..<places { scale *= 10 }
    let scaled = (value.magnitude * scale).rounded()
    // Beyond 2^53 there are no digits after the point left to write.
    guard scaled < 0x1p53 else { return "\(value)" }
    let digits = String(Int(scaled))
    let padded = String(repeating: "0", count: max(places + 1 - digits.count, 0)) + digits
    let sign = value < 0 && scaled > 0 ? "-" : ""
    return places == 0 ? sign + padded : sign + padded.dropLast(places) + "." + padded.suffix(places)
}
