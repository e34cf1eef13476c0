// Several labels in one column: numbers or names, with spaces, `|`, `;` or `,` between.
//
//     Id,Target           Image Index,Finding Labels
//     0007,16 0           1.png,Mass|Edema
//     0008,7              2.png,No Finding

extension LabelTable {
    /// - Parameters:
    ///   - count: labels there are; nil means as many as the network has, else the largest number and one, or all names.
    ///   - known: names of a network's outputs in their order.
    func severalLabels(_ count: Int?, _ known: [String]?) throws(DatasetError) -> ([String], DatasetLabels) {
        let parts = rows.map { row in row.label.split { " |;,".contains($0) } }
        if parts.allSatisfy({ $0.allSatisfy { Int($0) != nil } }) {
            return try numbers(parts.map { $0.compactMap { Int($0) } }, count ?? known?.count, known)
        }
        let separator = "|;,".first { mark in rows.contains { $0.label.contains(mark) } }
        let ofRows = rows.map { row -> [String] in
            let parts = separator.map { row.label.split(separator: $0).map(String.init) } ?? [row.label]
            return parts.map(\.trimmed).filter { !$0.isEmpty }
        }
        // Words with spaces may be several labels or a name of two words.
        if separator == nil, known == nil, let row = rows.first(where: { $0.label.contains(" ") }) {
            throw .line(
                path: path, line: row.line,
                expected: "label numbers with spaces between, or names with | between", found: "'\(row.label)'")
        }
        return try names(ofRows, count, known)
    }

    private func numbers(
        _ ofRows: [[Int]], _ count: Int?, _ known: [String]?
    ) throws(DatasetError) -> ([String], DatasetLabels) {
        let limit = count ?? Dataset.classLimit
        for (row, labels) in zip(rows, ofRows) {
            guard let odd = labels.first(where: { !(0..<limit).contains($0) }) else { continue }
            throw .line(
                path: path, line: row.line, expected: "label numbers in 0..<\(limit), with spaces between",
                found: "'\(odd)'")
        }
        let total = count ?? (ofRows.compactMap { $0.max() }.max() ?? -1) + 1
        return (known ?? (0..<total).map(String.init), .multiLabel(ofRows.map { Set($0).sorted() }))
    }

    private func names(
        _ ofRows: [[String]], _ count: Int?, _ known: [String]?
    ) throws(DatasetError) -> ([String], DatasetLabels) {
        let all = known ?? Set(ofRows.joined()).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        if let count, count != all.count {
            throw .line(path: path, line: 1, expected: "\(count) labels in the column of labels", found: "\(all.count)")
        }
        let places = Dictionary(all.enumerated().map { ($1, $0) }) { first, _ in first }
        var labels: [[Int]] = []
        for (row, names) in zip(rows, ofRows) {
            var present: Set<Int> = []
            for name in names {
                guard let place = places[name] else {
                    throw .line(
                        path: path, line: row.line,
                        expected: "labels among \(all.prefix(20).joined(separator: ", "))", found: "'\(name)'")
                }
                present.insert(place)
            }
            labels.append(present.sorted())
        }
        return (all, .multiLabel(labels))
    }
}
