// Pictures and labels from a table with a header:
//
//     path,label            path,labels              Id,Target               (Kaggle's Human Protein Atlas)
//     a/1.jpg,cat           1.png,16 0               00070df0-bbc3,16 0
//     b/2.jpg,dog           2.png,                   000a6c98-bb9b,7 1 2 0
//
// Paths count from the folder of the table unless a root is given. LabelTable.swift says which columns are taken.

import ResNetSupport

extension Dataset {
    /// How the label column is read.
    public enum LabelColumn: Sendable, Hashable {
        /// One class a picture, by name or number. Classes are the distinct values, numbers in their order, names sorted. Or
        /// columns of zeros and a one, whose titles are the classes.
        case classes
        /// Label numbers with spaces between; an empty field means none. `count` is the number of labels, nil means the
        /// largest number and one. Or columns of zeros and ones, whose titles are the labels.
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
        try read(try LabelTable(path), kind, root, classNames)
    }

    /// The same in parts, where a column `split` (or `subset`, `set`, `partition`) says train, val or test of every row.
    /// - Throws: `DatasetError`, also for a row of another part.
    public static func csvParts(
        _ path: String, labels kind: LabelColumn, root: String? = nil, classNames: [String]? = nil
    ) throws(DatasetError) -> DatasetParts {
        let table = try LabelTable(path)
        let all = try read(table, kind, root, classNames)
        guard table.hasParts else { return DatasetParts(training: all) }
        var samples: [DatasetPart: [Int]] = [:]
        for (sample, row) in table.rows.enumerated() {
            guard let part = DatasetPart.named(row.part)?.part else {
                throw .line(
                    path: path, line: row.line, expected: "train, val or test in the column that splits the table",
                    found: "'\(row.part)'")
            }
            samples[part, default: []].append(sample)
        }
        guard let training = samples[.training] else {
            throw .line(path: path, line: 2, expected: "rows for training", found: "none")
        }
        let validation = samples[.validation] ?? samples[.test]
        return DatasetParts(
            training: all.keeping(training), validation: validation.map(all.keeping),
            test: samples[.validation] == nil ? nil : samples[.test].map(all.keeping))
    }

    private static func read(
        _ table: LabelTable, _ kind: LabelColumn, _ root: String?, _ classNames: [String]?
    ) throws(DatasetError) -> Dataset {
        let folder = root ?? table.path.parentFolder
        let ending = try ending(of: table, in: folder)
        let files = table.rows.map { row in
            (row.file.hasPrefix("/") ? row.file : "\(folder)/\(row.file)") + ending
        }
        let (names, labels) = try table.labels(kind, classNames)
        return Dataset(classNames: names, labels: labels, source: .files(files), notes: table.notes)
    }

    /// What the names in a table lack, as Kaggle's often do: `.jpg` where `0001.jpg` is there and `0001` is not.
    private static func ending(of table: LabelTable, in folder: String) throws(DatasetError) -> String {
        let first = table.rows[0]
        guard !PictureFiles.hasPictureName(first.file) else { return "" }
        let path = first.file.hasPrefix("/") ? first.file : "\(folder)/\(first.file)"
        if PictureFiles.isFile(path) { return "" }
        for ending in PictureFormat.extensions.sorted() {
            for spelled in [".\(ending)", ".\(ending.uppercased())"] where PictureFiles.isFile(path + spelled) {
                return spelled
            }
        }
        throw .line(
            path: table.path, line: first.line, expected: "the path of a picture file", found: "'\(first.file)'")
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
        return Dataset(classNames: names, labels: labels, source: .stacks(stacks), notes: table.notes)
    }
}
