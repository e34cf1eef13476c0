// Data sets on the command line: a folder, a table or arrays, and how a sample of it becomes input.

import ArgumentParser
import Glibc
import ResNetSwift

struct DataOptions: ParsableArguments {
    @Argument(
        help: ArgumentHelp(
            "A folder with a folder of pictures for each class (or `train` and `val` with those in them), a table .csv with "
                + "columns path and label or a column of 0 and 1 for each class, arrays .npz with images and labels, or the "
                + "folder of CIFAR-10.",
            valueName: "data"))
    var data: String

    @Option(
        help: ArgumentHelp("The folder that a table's paths are relative to; default: the table's.", valueName: "dir")
    )
    var root: String?

    @Flag(
        help: ArgumentHelp(
            "Several labels a picture: the table's are numbers separated by spaces, names separated by |, or columns of 0 and 1; "
                + "the array's are rows of those."))
    var multiLabel = false

    @Option(help: ArgumentHelp("Number of labels; default: the largest label plus one.", valueName: "n"))
    var labelCount: Int?

    @Option(
        help: ArgumentHelp(
            "Kaggle's Human Protein Atlas: the table has Id,Target, and this folder <Id>_red.png and so on; 3 or 4 channels.",
            valueName: "dir"))
    var stains: String?

    @Flag(help: "Two classes, one output: the second class means yes; the loss is binary cross-entropy.")
    var yesNo = false

    @Option(help: ArgumentHelp("Channels of the pictures: 1 (gray), 3 (RGB), with --stains 4.", valueName: "n"))
    var channels: Int?

    @Option(help: ArgumentHelp("Decoding threads.", valueName: "n"))
    var workers = 2

    func validate() throws {
        guard 1...256 ~= workers else { throw ValidationError("--workers must be 1 to 256, not \(workers).") }
        if let channels, !(1...16 ~= channels) {
            throw ValidationError("--channels must be 1 to 16, not \(channels).")
        }
        if yesNo && multiLabel { throw ValidationError("--yes-no has one label, --multi-label several.") }
        if stains != nil && !hasEnding("csv") { throw ValidationError("--stains needs a table .csv.") }
        if multiLabel && !hasEnding("csv") && !hasEnding("tsv") && !hasEnding("npz") {
            throw ValidationError("--multi-label needs a table .csv or arrays .npz.")
        }
        if let labelCount, !(1...Dataset.classLimit ~= labelCount) {
            throw ValidationError("--label-count must be 1 to \(Dataset.classLimit), not \(labelCount).")
        }
    }

    private func hasEnding(_ ending: String) -> Bool { data.lowercased().hasSuffix(".\(ending)") }

    /// The data set, in parts where the data come in such.
    /// - Parameters:
    ///   - classNames: those of a trained network, whose order decides.
    ///   - classCount: outputs of a trained network whose classes have no names, so that numbers are meant.
    ///   - severalLabels: the network has several labels a picture, so that rows of zeros and ones are such.
    func datasets(
        classNames: [String]? = nil, classCount: Int? = nil, severalLabels: Bool = false
    ) throws -> DatasetParts {
        var names = classNames
        if names == nil, hasEnding("npz") { names = classCount.map { (0..<$0).map(String.init) } }
        // A network of one output knows the name of the yes only.
        let parts = try read(classNames: yesNo ? nil : names, severalLabels: severalLabels)
        guard yesNo else { return parts }
        func answers(_ dataset: Dataset) throws -> Dataset {
            guard let result = dataset.yesNo() else {
                throw ToolError("\(data): expected two classes for --yes-no, found \(dataset.classNames.count)")
            }
            return result
        }
        return DatasetParts(
            training: try answers(parts.training), validation: try parts.validation.map(answers),
            test: try parts.test.map(answers))
    }

    private func read(classNames: [String]?, severalLabels: Bool) throws -> DatasetParts {
        guard let kind = fileKind(data) else { throw ToolError("\(data): no such file or folder") }
        if kind == S_IFDIR {
            if Dataset.hasCIFAR10(data) { return try Dataset.cifar10(data) }
            return try Dataset.imageFolders(data, classNames: classNames)
        }
        guard kind == S_IFREG else {
            throw ToolError(
                "\(data): expected a folder or a file, found a pipe or a device; data are read more than once")
        }
        if hasEnding("npz") {
            return try Dataset.arrays(
                npz: data, classNames: classNames, multiLabel: multiLabel || severalLabels ? true : nil)
        }
        guard hasEnding("csv") || hasEnding("tsv") else {
            throw ToolError("\(data): expected a folder, a table .csv or arrays .npz, found a file by another name")
        }
        if let stains {
            let dataset = try Dataset.proteinAtlas(
                data, folder: stains, channels: channels ?? 4, labelCount: labelCount ?? classNames?.count ?? 28,
                classNames: classNames)
            return DatasetParts(training: dataset)
        }
        let labels: Dataset.LabelColumn = multiLabel ? .multiLabel(count: labelCount) : .classes
        return try Dataset.csvParts(data, labels: labels, root: root, classNames: classNames)
    }

    /// Channels that a network for these data takes.
    func inputChannels(of dataset: Dataset) -> Int {
        switch dataset.source {
        case .files: channels ?? 3
        case .stacks(let stacks): stacks.first?.count ?? 4
        case .pictures(let images): channels ?? images.channels
        case .floats(let tensor): tensor.shape[1]
        }
    }
}

/// Which samples are held out of the data.
struct SplitOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Share of the data to validate on if the data have no validation part; the same share of every class.",
            valueName: "part"))
    var validation = 0.2

    @Option(help: ArgumentHelp("Seed of the split, the order, the augmentation and the first weights.", valueName: "n"))
    var seed: UInt64 = 0

    func validate() throws {
        guard (0..<1).contains(validation) else {
            throw ValidationError("--validation must be 0 or more and below 1, not \(validation).")
        }
    }

    func slices(_ parts: DatasetParts) throws -> (training: DatasetSlice, validation: DatasetSlice?) {
        if let validation = parts.validation { return (parts.training.all, validation.all) }
        let split = try parts.training.split(validation: self.validation, seed: seed)
        return (split.training, split.validation.count > 0 ? split.validation : nil)
    }
}

/// What the data sets hold besides, and what was assumed, to standard error.
func reportNotes(_ dataset: Dataset) {
    for note in dataset.notes { Terminal.note(note) }
}

/// Pictures that are in training and validation, or under two labels: scores of such data flatter, or cannot be good.
func warnOfDuplicates(_ training: DatasetSlice, _ validation: DatasetSlice?) {
    let found = PictureDuplicates(training: training, validation: validation)
    let examples = found.examples.isEmpty ? "" : ", e.g. \(found.examples.joined(separator: "; "))"
    if found.shared > 0, let validation {
        Terminal.warning(
            "\(found.shared) of \(validation.count) validation pictures are training pictures too, so that the scores flatter"
                + examples)
    }
    if found.contradictory > 0 {
        let pictures = found.contradictory == 1 ? "1 picture occurs" : "\(found.contradictory) pictures occur"
        Terminal.warning("\(pictures) under different labels" + examples)
    }
}

/// Pictures and folders that no data set could take, to standard error.
func reportSkipped(_ files: [SkippedFile]) {
    for file in files.prefix(20) { Terminal.warning("skipped: \(file.path): \(file.reason)") }
    if files.count > 20 { Terminal.warning("skipped: \(files.count - 20) more") }
}

/// What was left out as `classify --json` has it: path and error of each.
/// - Parameter datasets: where the samples may be from.
func skippedJSON(_ samples: [SkippedSample], of datasets: [Dataset], and files: [SkippedFile]) -> JSONValue {
    func entry(_ path: String, _ reason: String) -> JSONValue {
        JSONValue(("path", .string(path.withoutRawBytes)), ("error", .string(reason.withoutRawBytes)))
    }
    let ofSamples = samples.map { skipped in
        let names = datasets.lazy.filter { skipped.sample < $0.count }.map { $0.name(of: skipped.sample) }
        return entry(names.first { skipped.reason.contains($0) } ?? names.first ?? "", skipped.reason)
    }
    return .array(ofSamples + files.map { entry($0.path, $0.reason) })
}

/// The names of pictures that were left out, to standard error.
func reportSkipped(_ skipped: [SkippedSample]) {
    guard !skipped.isEmpty else { return }
    for sample in skipped.prefix(20) { Terminal.warning("skipped: \(sample.reason)") }
    if skipped.count > 20 { Terminal.warning("skipped: \(skipped.count - 20) more") }
}
