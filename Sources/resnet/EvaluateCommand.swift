// resnet evaluate: how good is a network on pictures whose classes are known?

import ArgumentParser
import ResNetSwift

struct EvaluateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate",
        abstract: "Scores a network on a data set: loss, accuracy, F1, confusions.",
        discussion: """
            If the data have parts (folders train, val and test, arrays x_test), the one for test is used, otherwise the one \
            for validation; --held-out takes the part that `resnet train` with the same --seed and --validation held out. \
            Classes and transform come with the weights. For several labels a picture the thresholds come with the weights \
            too; otherwise they are tuned on these pictures, which makes the scores look better than they are. The tool \
            says which.

            EXAMPLES
              resnet evaluate photos --weights run/best.safetensors
              resnet evaluate photos --weights run/best.safetensors --held-out --seed 1 --json
              resnet evaluate photos --weights run/best.safetensors --report report.html
              resnet evaluate photos --weights run/best.safetensors --tta flip
              resnet evaluate labels.csv --multi-label --weights run/best.safetensors
            """)

    @OptionGroup var data: DataOptions
    @OptionGroup var weights: WeightOptions
    @OptionGroup var split: SplitOptions
    @Flag(help: "Only the part that training held out.")
    var heldOut = false
    @Option(help: ArgumentHelp("How a picture becomes input, as in `classify`.", valueName: "name"))
    var transform: String?
    @OptionGroup var views: ViewOptions
    @Option(help: ArgumentHelp("The k of top-k.", valueName: "n"))
    var top = 5
    @OptionGroup var batch: BatchOptions
    @OptionGroup var compute: ComputeOptions
    @Option(
        help: ArgumentHelp("Also as a page to look at: curves, confusions, the most wrong pictures.", valueName: "html")
    )
    var report: String?
    @Flag(help: "One JSON object: scores, classes, confusion.")
    var json = false

    func validate() throws {
        guard top >= 1 else { throw ValidationError("--top must be at least 1, not \(top).") }
    }

    func run() throws {
        var options = compute.options(batch: batch.batch)
        options.transform = try transform.map(namedTransform)
        let classifier = try weights.load(options)
        try classifier.requireHead()
        let parts = try data.datasets(
            classNames: classifier.model.classNames, classCount: classifier.classCount,
            severalLabels: classifier.thresholds != nil)
        let slice = try part(of: parts)
        reportNotes(slice.dataset)
        warnOfDuplicates(slice, nil)
        let evaluation = try EvaluationRun(
            model: classifier.model, name: classifier.name, slice: slice, transform: classifier.transform,
            augmentation: views.tta, batch: batch.batch, workers: data.workers, topK: top, options: compute.planOptions
        ).run(thresholds: classifier.model.labelThresholds)
        guard !evaluation.scores.loss.isNaN else {
            throw ToolError(
                "\(classifier.origin): the network's outputs are no numbers, so that the scores mean nothing: "
                    + classifier.faultOfOutputs)
        }
        if json {
            let skipped = skippedJSON(evaluation.skipped, of: [slice.dataset], and: slice.dataset.skipped)
            Output.json(evaluation.json(model: classifier.name, topK: top, skipped: skipped))
        } else {
            if evaluation.isMultiLabel && classifier.thresholds == nil {
                Terminal.note("the thresholds were tuned on these pictures: expect lower scores on others")
            }
            Output.text(evaluation.report(topK: top))
        }
        if let report {
            var page = EvaluationReport(
                title: "\(classifier.name) on \(lastComponent(of: data.data))",
                lead: "\(classifier.origin) on \(slice.count.grouped) pictures", evaluation: evaluation, slice: slice,
                transform: classifier.transform, topK: top)
            page.facts = [
                ("transform", classifier.transform.json), ("views of a picture", views.tta.rawValue),
                ("trained", classifier.model.metadata[MetadataKey.trained] ?? "not said"),
                ("instruction set", "\(try Machine.instructionSet())"), ("resnet", Machine.kernelVersion),
            ]
            page.commands = [CommandLine.asTyped]
            page.explainPictures(by: classifier)
            try page.write(to: report)
            Terminal.note("\(report) shows it")
        }
        reportSkipped(evaluation.skipped)
        reportSkipped(slice.dataset.skipped)
        if !evaluation.skipped.isEmpty || !slice.dataset.skipped.isEmpty { throw ExitCode(2) }
    }

    /// What was never trained on, as far as the data tell.
    private func part(of parts: DatasetParts) throws -> DatasetSlice {
        if heldOut { return try split.slices(parts).validation ?? parts.training.all }
        guard let part = parts.test ?? parts.validation else { return parts.training.all }
        Terminal.note("the part for \(parts.test == nil ? "validation" : "test") is used, \(part.count) pictures")
        return part.all
    }
}

/// A model over a data set, with progress.
struct EvaluationRun {
    let model: Model
    let name: String
    let slice: DatasetSlice
    let transform: ImageTransform
    var augmentation = TestTimeAugmentation.none
    let batch: Int
    let workers: Int
    let topK: Int
    /// But for the kind of input.
    let options: PlanOptions

    func run(thresholds: LabelThresholds? = nil) throws -> Evaluation {
        let names = slice.dataset.classNames
        let classes = model.graph.classCount ?? 0
        guard classes == names.count else {
            throw ToolError(
                "\(name): expected data of \(classes) classes, as the network has, found \(names.count): "
                    + names.prefix(10).joined(separator: ", "))
        }
        _ = try Machine.instructionSet()
        let loader = try loader()
        var options = options
        if !slice.dataset.isFloats {
            options.input = .bytesNHWC(scale: transform.scale, shift: transform.shift)
        }
        let plan = try InferencePlan(model: model, input: loader.pictureShape, batch: batch, options: options)
        let loss: Loss = slice.dataset.isMultiLabel ? .binaryCrossEntropy() : .crossEntropy()
        var progress = Progress(total: slice.count, unit: "pictures")
        defer { progress.hide() }
        return try Evaluation.run(
            InferenceEvaluator(plan: plan, loss: loss, views: loader.settings.views.count), loader, topK: topK,
            thresholds: thresholds
        ) { done in progress.advance(by: done - progress.done) }
    }

    private func loader() throws -> BatchLoader {
        guard augmentation == .none || !slice.dataset.isFloats else {
            throw ToolError("--tta: expected pictures, found an array of floats")
        }
        guard augmentation.suits(transform) else {
            throw ToolError(
                "--tta \(augmentation.rawValue): expected a transform with a centerCrop, whose place the crops take, found one "
                    + "without")
        }
        var settings = LoaderSettings(batchSize: batch, transform: transform, threads: workers)
        settings.views = augmentation.views
        return try BatchLoader(slice, settings)
    }
}

extension Evaluation {
    /// Scores, classes, confusions, as people read them.
    func report(topK: Int) -> String {
        var text = table(topK: topK)
        if let confusion {
            text += "\n\n" + (confusion.classCount <= 20 ? "" : "most frequent confusions\n") + confusion.table
        }
        return text
    }

    func json(model: String, topK: Int, skipped: JSONValue) -> JSONValue {
        func optional(_ value: Double?) -> JSONValue { value.map(JSONValue.number) ?? .null }
        let classes = labels.enumerated().map { index, counts in
            JSONValue(
                ("class", .string(classNames[index])), ("precision", .number(counts.precision)),
                ("recall", .number(counts.recall)), ("f1", .number(counts.f1)), ("samples", .integer(counts.support)),
                ("threshold", optional(thresholds?.values[index])))
        }
        // Beyond that the matrix has more zeros than anybody reads.
        let rows = confusion.flatMap { $0.classCount <= 1000 ? $0 : nil }.map { matrix in
            (0..<matrix.classCount).map { actual in
                JSONValue.array((0..<matrix.classCount).map { .integer(matrix[actual, $0]) })
            }
        }
        return JSONValue(
            ("model", .string(model)), ("loss", .number(scores.loss)), ("top1", optional(scores.top1)),
            ("top\(topK)", optional(scores.topK)), ("macro_f1", .number(macroF1)), ("classes", .array(classes)),
            ("confusion", rows.map(JSONValue.array) ?? .null), ("skipped", skipped))
    }
}
