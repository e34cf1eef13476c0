// Data, network and recipe put together: what `train` and `lr-find` run on.

import ArgumentParser
import ResNetSwift

struct TrainingInputs: ParsableArguments {
    @OptionGroup(title: "DATA OPTIONS") var data: DataOptions
    @OptionGroup(title: "DATA OPTIONS") var split: SplitOptions
    @Option(
        help: ArgumentHelp(
            "Names of the classes or labels, as for `classify`, where the data have numbers; or their order, where they have names.",
            valueName: "file"))
    var labels: String?
    @Flag(help: "Draw all classes alike often, with replacement.")
    var balanced = false
    @Option(help: ArgumentHelp("The most that may be unreadable before a run stops, as a share.", valueName: "share"))
    var skipLimit = 0.05
    @OptionGroup(title: "MODEL OPTIONS") var start: StartOptions
    @OptionGroup(title: "PICTURE OPTIONS") var pictures: AugmentationOptions
    @OptionGroup(title: "OPTIMIZATION OPTIONS") var optimization: OptimizerOptions

    func validate() throws {
        guard 0...1 ~= skipLimit else { throw ValidationError("--skip-limit must be 0 to 1, not \(skipLimit).") }
    }
}

struct TrainingSetup {
    /// With head, channels and frozen keys as they will train.
    let model: Model
    let name: String
    let data: TrainingData
    let backend: TrainingPlan
    /// What a user should know before it starts.
    let notes: [String]
    /// Pictures and folders that are in no part.
    let skipped: [SkippedFile]

    /// - Parameter shards: parts of a batch that are computed one by one; nil means the batch as it is.
    init(_ options: TrainingInputs, shards: Int? = nil) throws {
        // A wrong CK_ISA is the first thing that is said.
        let isa = try Machine.instructionSet()
        let (start, pictures, seed) = (options.start, options.pictures, options.split.seed)
        let loaded = try start.load()
        let named = try loaded == nil ? ModelName(named: start.model ?? "") : nil
        let parts = try Self.datasets(options, known: loaded?.model.classNames)
        let training = parts.training
        let slices = try options.split.slices(parts)

        let channels = Self.channels(options.data, training, loaded)
        let stored = loaded?.storedTransform
        let size = try pictures.inputSize(
            of: training, stored: stored, usual: loaded?.inputSize ?? named?.defaultInputSize ?? 224)
        var notes: [String]
        (model, name, notes) = try start.model(
            from: loaded, dataset: training, channels: channels, size: size, seed: seed)
        let evaluation = try pictures.evaluation(
            training, channels: channels, size: size, stored: stored, isPretrained: loaded != nil)
        data = TrainingData(
            training: slices.training, validation: slices.validation,
            transform: try pictures.training(evaluation, training, size: size), evaluationTransform: evaluation,
            batchSize: options.optimization.batch / (shards ?? 1),
            order: options.balanced ? .weighted(slices.training.balancedSampleWeights) : .shuffled,
            mixing: pictures.mixing, threads: options.data.workers, skipLimit: options.skipLimit)
        let plan = try options.optimization.plan(model.graph, training: slices.training, seed: seed)
        let shape = try Self.shape(of: data)
        let origin = loaded?.origin ?? "random weights, seed \(seed)"
        do {
            backend = try TrainingPlan(
                model: model, input: shape, batchLimit: data.batchSize, plan: plan,
                options: TrainingOptions(
                    threads: options.optimization.threads, accuracy: options.optimization.accuracy,
                    checkpointing: options.optimization.checkpointing))
        } catch { throw ToolError("\(name) on pictures of \(Size2(shape.height, shape.width)): \(error)") }
        let threads = backend.threads == 1 ? "1 thread" : "\(backend.threads) threads"
        let names = training.classNames
        let classes = "\(names.count) \(training.isMultiLabel ? "labels" : "classes") (\(StartOptions.first(names)))"
        notes.insert(
            "\(name) (\(origin)), \(shape.channels)x\(shape.height)x\(shape.width), \(classes), \(isa), \(threads)",
            at: 0)
        // The trainer reports those of the training part.
        notes += parts.validation?.notes ?? []
        if let test = parts.test {
            notes.append("the part for test, \(test.count) pictures, is left for `resnet evaluate`")
        }
        self.notes = notes
        skipped = training.skipped + (parts.validation?.skipped ?? [])
    }

    /// Of every picture that enters the network, in both parts: found out before the first epoch.
    private static func shape(of data: TrainingData) throws -> ImageShape {
        let shape = try BatchLoader(
            data.training, LoaderSettings(batchSize: data.batchSize, transform: data.transform)
        ).pictureShape
        guard let validation = data.validation else { return shape }
        let other = try BatchLoader(
            validation, LoaderSettings(batchSize: data.batchSize, transform: data.evaluationTransform)
        ).pictureShape
        guard other == shape else {
            throw ToolError(
                "expected validation pictures of \(shape.channels)x\(shape.height)x\(shape.width), as those to train on, "
                    + "found \(other.channels)x\(other.height)x\(other.width)")
        }
        return shape
    }

    /// The data, with the classes in the order that the weights have them in if they are the same.
    private static func datasets(_ inputs: TrainingInputs, known: [String]?) throws -> DatasetParts {
        let options = inputs.data
        let found = try options.datasets()
        if let path = inputs.labels { return try named(readClassNames(path), by: path, found) }
        guard let known, known != found.training.classNames, !options.yesNo else { return found }
        let names = found.training.classNames
        let areSame = Set(known) == Set(names) && known.count == names.count
        // Labels of a table are numbers, whose names only the weights know.
        let areNumbers =
            names == (0..<names.count).map(String.init) && known.count == names.count
        return areSame || areNumbers ? try options.datasets(classNames: known) : found
    }

    private static func named(_ names: [String], by path: String, _ parts: DatasetParts) throws -> DatasetParts {
        func named(_ dataset: Dataset) throws -> Dataset {
            if let result = dataset.named(names) { return result }
            let own = dataset.classNames
            throw ToolError(
                "\(path): expected names for classes \(StartOptions.list(own)), found \(StartOptions.list(names))")
        }
        return DatasetParts(
            training: try named(parts.training), validation: try parts.validation.map(named),
            test: try parts.test.map(named))
    }

    /// As the user says; otherwise as the weights have it where pictures can be read that way; otherwise the data's own.
    private static func channels(_ options: DataOptions, _ dataset: Dataset, _ loaded: Classifier?) -> Int {
        let own = options.inputChannels(of: dataset)
        guard options.channels == nil, let loaded, [1, 3].contains(loaded.inputChannels), [1, 3].contains(own) else {
            return own
        }
        switch dataset.source {
        case .files, .pictures: return loaded.inputChannels
        case .stacks, .floats: return own
        }
    }
}
