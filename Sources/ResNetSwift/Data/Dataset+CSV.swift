// Pictures and labels from a table with a header:
//
//     path,label            path,labels              Id,Target               (Kaggle's Human Protein Atlas)
//     a/1.jpg,cat           1.png,16 0               00070df0-bbc3,16 0
//     b/2.jpg,dog           2.png,                   000a6c98-bb9b,7 1 2 0
//
// Paths count from the folder of the table unless a root is given.

import ResNetSupport

extension Dataset {
    /// How the label column is read.
    public enum LabelColumn: Sendable, Hashable {
        /// One class a picture, by name or number. Classes are the distinct values, numbers in their order, names sorted.
        case classes
        /// Label numbers with spaces between; an empty field means none. `count` is the number of labels, nil means the
        /// largest number and one.
        case multiLabel(count: Int? = nil)
    }

    /// Picture files and their labels from a table.
    /// - Parameters:
    ///   - path: a table with a header, its columns `path,label` (or `image`, `file`, `Id`; `labels`, `class`,
    ///     `Target`).
    ///   - kind: whether a field of the label column is one class or several labels.
    ///   - root: the folder that paths count from; nil means that of the table.
    ///   - classNames: the classes in the order of a network's logits; nil means what the table holds.
    /// - Throws: `DatasetError.cannotRead`, and `DatasetError.line` for what cannot be understood.
    public static func csv(
        _ path: String, labels kind: LabelColumn, root: String? = nil, classNames: [String]? = nil
    ) throws(DatasetError) -> Dataset {
        let table = try LabelTable(
            path, pathNames: ["path", "image", "file", "filename", "image_path", "id"],
            labelNames: ["label", "labels", "class", "target", "targets"])
        for (line, file, _) in table.rows.prefix(1) where !PictureFiles.hasPictureName(file) {
            throw .line(path: path, line: line, expected: "the path of a picture file", found: "'\(file)'")
        }
        let folder = root ?? path.parentFolder
        let files = table.rows.map { $0.file.hasPrefix("/") ? $0.file : "\(folder)/\($0.file)" }
        let (names, labels) = try table.labels(kind, classNames)
        return Dataset(classNames: names, labels: labels, source: .files(files))
    }

    /// Kaggle's Human Protein Atlas: `train.csv` with `Id,Target`, and for each sample the gray pictures `<Id>_red.png`,
    /// `_green`, `_blue`, and `_yellow` if there are to be four channels.
    /// - Parameters:
    ///   - path: the table, `train.csv`.
    ///   - folder: where the pictures are.
    ///   - channels: 3 without the yellow stain, or 4.
    ///   - labelCount: labels there are; a number outside is an error.
    ///   - classNames: of the labels; nil means their numbers.
    public static func proteinAtlas(
        _ path: String, folder: String, channels: Int = 4, labelCount: Int = 28, classNames: [String]? = nil
    ) throws(DatasetError) -> Dataset {
        guard channels == 3 || channels == 4 else {
            throw .request(expected: "3 channels (red, green, blue) or 4 (and yellow)", found: "\(channels)")
        }
        let table = try LabelTable(path, pathNames: ["id"], labelNames: ["target"])
        let stains = ["red", "green", "blue", "yellow"].prefix(channels)
        let stacks = table.rows.map { row in stains.map { "\(folder)/\(row.file)_\($0).png" } }
        let (names, labels) = try table.labels(.multiLabel(count: labelCount), classNames)
        return Dataset(classNames: names, labels: labels, source: .stacks(stacks))
    }
}

/// Two columns of a table.
private struct LabelTable {
    let path: String
    let rows: [(line: Int, file: String, label: String)]

    /// The columns are those of the first known name, else the first and the second.
    init(_ path: String, pathNames: [String], labelNames: [String]) throws(DatasetError) {
        self.path = path
        let text: [UInt8]
        do {
            let file = try MappedFile(path: path)
            text = withExtendedLifetime(file) { Array(file.bytes) }
        } catch {
            throw .cannotRead(path: path, reason: "\(error)")
        }
        let table = try CSVTable(text: text, path: path)
        let header = table.header.map { $0.lowercased() }
        guard header.count >= 2 else {
            throw .line(path: path, line: 1, expected: "a column of paths and one of labels", found: "\(table.header)")
        }
        if let file = table.header.first(where: PictureFiles.hasPictureName) {
            throw .line(path: path, line: 1, expected: "a header such as path,label", found: "'\(file)'")
        }
        let fileColumn = pathNames.lazy.compactMap { header.firstIndex(of: $0) }.first ?? 0
        let labelColumn =
            labelNames.lazy.compactMap { header.firstIndex(of: $0) }.first ?? (fileColumn == 0 ? 1 : 0)
        rows = table.rows.map { ($0.line, $0.fields[fileColumn].trimmed, $0.fields[labelColumn].trimmed) }
        guard !rows.isEmpty else { throw .line(path: path, line: 2, expected: "a picture", found: "the end") }
        for row in rows where row.file.isEmpty {
            throw .line(path: path, line: row.line, expected: "a path", found: "an empty field")
        }
    }

    func labels(
        _ kind: Dataset.LabelColumn, _ classNames: [String]?
    ) throws(DatasetError) -> (names: [String], labels: DatasetLabels) {
        switch kind {
        case .classes: return try classes(classNames)
        case .multiLabel(let count): return try multiLabel(count ?? classNames?.count, classNames)
        }
    }

    private func classes(_ known: [String]?) throws(DatasetError) -> ([String], DatasetLabels) {
        let found = Set(rows.map(\.label))
        let numbers = found.compactMap { Int($0) }
        let sorted =
            numbers.count == found.count
            ? found.sorted { (Int($0)!, $0) < (Int($1)!, $1) }
            : found.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let names = known ?? sorted
        let index = Dictionary(names.enumerated().map { ($1, $0) }) { first, _ in first }
        var labels: [Int] = []
        for row in rows {
            guard !row.label.isEmpty, let label = index[row.label] else {
                throw .line(
                    path: path, line: row.line,
                    expected: known.map { "one of the classes \($0.joined(separator: ", "))" } ?? "a class",
                    found: row.label.isEmpty ? "an empty field" : "'\(row.label)'")
            }
            labels.append(label)
        }
        return (names, .classes(labels))
    }

    private func multiLabel(_ count: Int?, _ known: [String]?) throws(DatasetError) -> ([String], DatasetLabels) {
        var labels: [[Int]] = []
        for row in rows {
            var present: Set<Int> = []
            for part in row.label.split(separator: " ") {
                guard let label = Int(part), label >= 0, label < count ?? 1_000_000 else {
                    throw .line(
                        path: path, line: row.line,
                        expected: count.map { "label numbers in 0..<\($0)" } ?? "label numbers with spaces between",
                        found: "'\(part)'")
                }
                present.insert(label)
            }
            labels.append(present.sorted())
        }
        let total = count ?? (labels.compactMap(\.last).max() ?? -1) + 1
        return (known ?? (0..<total).map(String.init), .multiLabel(labels))
    }
}

extension String {
    /// `a/b` of `a/b/c.csv`, `.` of `c.csv`.
    package var parentFolder: String {
        guard let slash = utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == startIndex ? "/" : String(self[..<slash])
    }
}
