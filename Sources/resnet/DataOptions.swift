// Data sets on the command line: a folder, a table or arrays, and how a sample of it becomes input.

import ArgumentParser
import Glibc
import ResNetSwift

struct DataOptions: ParsableArguments {
    @Argument(
        help: ArgumentHelp(
            "A folder with a folder of pictures for each class (or `train` and `val` with those in them), a table .csv with "
                + "columns path and label, arrays .npz with images and labels, or the folder of CIFAR-10.",
            valueName: "data"))
    var data: String

    @Option(
        help: ArgumentHelp("The folder that a table's paths are relative to; default: the table's.", valueName: "dir")
    )
    var root: String?

    @Flag(help: "Several labels a picture: the table's labels are numbers separated by spaces.")
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
        if (multiLabel || stains != nil) && !data.hasSuffix(".csv") {
            throw ValidationError("--multi-label and --stains need a table .csv.")
        }
    }

    /// The data set, and the held-out one where the data come in two parts.
    /// - Parameter classNames: those of a trained network, whose order decides.
    func datasets(classNames: [String]? = nil) throws -> (training: Dataset, validation: Dataset?) {
        // A network of one output knows the name of the yes only.
        let names = yesNo ? nil : classNames
        let (training, validation) = try read(classNames: names)
        guard yesNo else { return (training, validation) }
        func answers(_ dataset: Dataset) throws -> Dataset {
            guard let result = dataset.yesNo() else {
                throw ToolError("\(data): expected two classes for --yes-no, found \(dataset.classNames.count)")
            }
            return result
        }
        return (try answers(training), try validation.map(answers))
    }

    private func read(classNames: [String]?) throws -> (training: Dataset, validation: Dataset?) {
        if data.hasSuffix(".npz") {
            let arrays = try Dataset.arrays(npz: data, classNames: classNames)
            return (arrays.training, arrays.validation)
        }
        if data.hasSuffix(".csv") {
            if let stains {
                let dataset = try Dataset.proteinAtlas(
                    data, folder: stains, channels: channels ?? 4, labelCount: labelCount ?? classNames?.count ?? 28,
                    classNames: classNames)
                return (dataset, nil)
            }
            let kind: Dataset.LabelColumn = multiLabel ? .multiLabel(count: labelCount) : .classes
            return (try Dataset.csv(data, labels: kind, root: root, classNames: classNames), nil)
        }
        if Dataset.hasCIFAR10(data) {
            let arrays = try Dataset.cifar10(data)
            return (arrays.training, arrays.validation)
        }
        if let parts = try Dataset.splitFolders(data) {
            let training = try Dataset.imageFolder(parts.training, classNames: classNames)
            return (training, try Dataset.imageFolder(parts.validation, classNames: training.classNames))
        }
        return (try Dataset.imageFolder(data, classNames: classNames), nil)
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

    func slices(
        _ training: Dataset, _ validation: Dataset?
    ) throws -> (training: DatasetSlice, validation: DatasetSlice?) {
        if let validation { return (training.all, validation.all) }
        let parts = try training.split(validation: self.validation, seed: seed)
        return (parts.training, parts.validation.count > 0 ? parts.validation : nil)
    }
}

/// The names of pictures that were left out, to standard error.
func reportSkipped(_ skipped: [SkippedSample]) {
    guard !skipped.isEmpty else { return }
    for sample in skipped.prefix(20) { Terminal.warning("skipped: \(sample.reason)") }
    if skipped.count > 20 { Terminal.warning("skipped: \(skipped.count - 20) more") }
}
