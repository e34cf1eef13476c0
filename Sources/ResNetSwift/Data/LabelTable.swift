// The two columns of a table that matter, or the columns of zeros and ones that stand for the labels:
//
//     path,label          image,MEL,NV,BCC        of MEL, NV, BCC one is 1 in every row: classes, by these names;
//     a.jpg,cat           ISIC_1,1,0,0            with --multi-label any number of them
//     b.jpg,dog           ISIC_2,0,1,0

import ResNetSupport

/// What a table of pictures says of each of them.
struct LabelTable {
    struct Row {
        let line: Int
        let file: String
        /// The field of the label column.
        let label: String
        /// The columns of zeros and ones that hold a 1.
        let present: [Int]
        /// The field of the column that divides the table.
        let part: String
    }

    let path: String
    let rows: [Row]
    /// Names of the columns of zeros and ones; nil where one column holds the labels.
    let indicators: [String]?
    /// A column by a name such as `split` is there.
    let hasParts: Bool
    let notes: [String]

    private static let pathNames = [
        "path", "image", "file", "filename", "file_name", "image_path", "filepath", "file_path", "image_name", "img",
        "img_path", "image_file", "picture", "image_id", "imageid", "image index", "id", "id_code", "x:filename",
        "sample", "name",
    ]
    private static let labelNames = [
        "label", "labels", "class", "target", "targets", "class_name", "classname", "category", "y:class", "label_name",
        "class_id", "label_id", "diagnosis", "species", "breed", "primary_label", "finding",
        "findings", "finding labels", "tags",
    ]
    private static let partNames: Set<String> = [
        "split", "subset", "partition", "set", "phase", "part", "data set", "dataset",
    ]

    init(_ path: String, pathNames: [String] = pathNames, labelNames: [String] = labelNames) throws(DatasetError) {
        self.path = path
        let table = try CSVTable(text: try Self.text(of: path), path: path)
        let header = table.header.map { $0.lowercased() }
        guard header.count >= 2 else {
            throw .line(path: path, line: 1, expected: "a column of paths and one of labels", found: "\(table.header)")
        }
        if let file = table.header.first(where: PictureFiles.hasPictureName) {
            throw .line(path: path, line: 1, expected: "a header such as path,label", found: "'\(file)'")
        }
        guard !table.rows.isEmpty else { throw .line(path: path, line: 2, expected: "a picture", found: "the end") }
        func column(_ names: [String]) -> Int? { names.lazy.compactMap { header.firstIndex(of: $0) }.first }
        let label = column(labelNames)
        let file =
            column(pathNames)
            ?? header.indices.first { PictureFiles.hasPictureName(table.rows[0].fields[$0].trimmed) }
            ?? (label == 0 ? 1 : 0)
        let part = header.indices.first { $0 != file && $0 != label && Self.partNames.contains(header[$0]) }
        let others = header.indices.filter { $0 != file && $0 != part }
        let columns = try Self.labelColumns(label, others, in: table, path)
        let indicators = columns.count > 1 ? columns : []
        rows = table.rows.map { row in
            Row(
                line: row.line, file: row.fields[file].trimmed, label: row.fields[columns[0]].trimmed,
                present: indicators.indices.filter { Self.indicator(row.fields[indicators[$0]]) == true },
                part: part.map { row.fields[$0].trimmed } ?? "")
        }
        for row in rows where row.file.isEmpty {
            throw .line(path: path, line: row.line, expected: "a path", found: "an empty field")
        }
        self.indicators = indicators.isEmpty ? nil : indicators.map { table.header[$0] }
        hasParts = part != nil
        let unused = others.filter { !columns.contains($0) }.map { table.header[$0] }
        notes = unused.isEmpty ? [] : ["\(path): columns that are not used: \(unused.joined(separator: ", "))"]
    }

    private static func text(of path: String) throws(DatasetError) -> [UInt8] {
        do throws(FileFault) {
            let file = try MappedFile(path: path)
            return withExtendedLifetime(file) {
                // Of other bytes the table says in which line they are.
                String(textFile: file.bytes).map { Array($0.utf8) } ?? Array(file.bytes)
            }
        } catch {
            guard error != .isEmpty else { return [] }
            throw .cannotRead(path: path, reason: "\(error)")
        }
    }

    /// `1`, `0.0`, `True`; nil for anything else.
    private static func indicator(_ field: String) -> Bool? {
        switch field.trimmed.lowercased() {
        case "true": true
        case "false": false
        case let text: Double(text).flatMap { $0 == 1 ? true : $0 == 0 ? false : nil }
        }
    }

    /// The column of labels, or several of zeros and ones.
    private static func labelColumns(
        _ named: Int?, _ others: [Int], in table: CSVTable, _ path: String
    ) throws(DatasetError) -> [Int] {
        if let named { return [named] }
        if others.count == 1 { return others }
        let indicators = others.filter { column in
            table.rows.allSatisfy { Self.indicator($0.fields[column]) != nil }
        }
        guard indicators.count > 1 else {
            throw .line(
                path: path, line: 1, expected: "one column by the name label, or several of 0 and 1",
                found: table.header.joined(separator: ", "))
        }
        return indicators
    }
}

// MARK: - Labels

extension LabelTable {
    func labels(
        _ kind: Dataset.LabelColumn, _ known: [String]?
    ) throws(DatasetError) -> (names: [String], labels: DatasetLabels) {
        switch kind {
        case .classes:
            guard let indicators else { return try classes(known) }
            return try classes(of: indicators, known)
        case .multiLabel(let count):
            if let count, let known, count != known.count {
                throw .request(expected: "\(known.count) labels, as the network has", found: "\(count)")
            }
            guard let indicators else { return try severalLabels(count, known) }
            let order = try columns(of: indicators, known)
            if let count, count != order.count {
                throw .line(path: path, line: 1, expected: "\(count) columns of labels", found: "\(order.count)")
            }
            let places = order.places
            return (order.names, .multiLabel(rows.map { $0.present.map { places[$0] }.sorted() }))
        }
    }

    /// One column is 1 in every row.
    private func classes(
        of indicators: [String], _ known: [String]?
    ) throws(DatasetError) -> ([String], DatasetLabels) {
        for row in rows where row.present.count != 1 {
            throw .line(
                path: path, line: row.line, expected: "one 1 among \(indicators.joined(separator: ", "))",
                found: "\(row.present.count); --multi-label takes any number")
        }
        let order = try columns(of: indicators, known)
        let places = order.places
        return (order.names, .classes(rows.map { places[$0.present[0]] }))
    }

    /// Names in the order of the logits, and the place of each column among them.
    private func columns(
        of indicators: [String], _ known: [String]?
    ) throws(DatasetError) -> (names: [String], places: [Int], count: Int) {
        let names = known ?? indicators
        let places = indicators.compactMap { names.firstIndex(of: $0) }
        guard places.count == indicators.count, Set(places).count == names.count else {
            throw .line(
                path: path, line: 1, expected: "columns \(names.joined(separator: ", "))",
                found: indicators.joined(separator: ", "))
        }
        return (names, places, names.count)
    }

    private func classes(_ known: [String]?) throws(DatasetError) -> ([String], DatasetLabels) {
        let found = Set(rows.map(\.label))
        try refuseSeveral(in: found)
        let numbers = found.compactMap { Int($0) }
        let sorted =
            numbers.count == found.count
            ? found.sorted { (Int($0)!, $0) < (Int($1)!, $1) }
            : found.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        guard sorted.count <= Dataset.classLimit else {
            throw .line(
                path: path, line: 1, expected: "at most \(Dataset.classLimit) classes in the column of labels",
                found: "\(sorted.count)")
        }
        let names = known ?? sorted
        let index = Dictionary(names.enumerated().map { ($1, $0) }) { first, _ in first }
        var labels: [Int] = []
        for row in rows {
            guard !row.label.isEmpty, let label = index[row.label] else {
                throw .line(
                    path: path, line: row.line,
                    expected: known.map { "one of the classes \($0.prefix(20).joined(separator: ", "))" } ?? "a class",
                    found: row.label.isEmpty ? "an empty field" : "'\(row.label)'")
            }
            labels.append(label)
        }
        guard known != nil || names.count > 1 else {
            throw .line(path: path, line: 2, expected: "two classes or more", found: "one, '\(names[0])'")
        }
        return (names, .classes(labels))
    }

    /// Numbers with spaces between are no names of classes.
    private func refuseSeveral(in found: Set<String>) throws(DatasetError) {
        func numbers(_ label: String) -> [Int?] { label.split(separator: " ").map { Int($0) } }
        guard found.contains(where: { numbers($0).count > 1 }),
            found.allSatisfy({ !numbers($0).contains(nil) }),
            let row = rows.first(where: { numbers($0.label).count > 1 })
        else { return }
        throw .line(
            path: path, line: row.line, expected: "one class, or --multi-label for several labels a picture",
            found: "'\(row.label)'")
    }
}
