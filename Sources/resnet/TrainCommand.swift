// resnet train: from pictures with labels to a network that knows them.

import ArgumentParser
import Glibc
import ResNetSwift

struct TrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Trains a network, from random or from pretrained weights.",
        discussion: """
            The folder of the run gets best.safetensors (the epoch with the best monitored value), last.safetensors (from \
            which --resume continues, with the same bits as an uninterrupted run), history.csv, .jsonl and .svg, and the \
            scores of the best weights on the validation data as evaluation.txt and .json, and as report.html to look at. Class names and transform are \
            stored with the weights, so that `resnet classify` needs nothing else.

            Ctrl-C finishes the batch, saves and stops; a second Ctrl-C stops at once. The features of a frozen backbone \
            without augmentation are computed once.

            EXAMPLES
              resnet train photos --model resnet18 --weights resnet18.pth --freeze allButHead --epochs 10
              resnet train photos --weights resnet18.pth --crop 0.5,1 --flip --optimizer adamw --layer-decay 0.5
              resnet train digits.npz --model cifar_resnet20 --channels 1 --epochs 20 --lr 0.1 --out digits
              resnet train labels.csv --multi-label --weights resnet34.pth --class-weights auto --monitor val_f1
              resnet train photos --weights resnet18.pth --early-stopping 7 --plateau 3 --plateau-factor 0.5 --resume
            """)

    @OptionGroup var inputs: TrainingInputs
    @OptionGroup(title: "SCHEDULE OPTIONS") var schedule: ScheduleOptions
    @Option(name: .shortAndLong, help: ArgumentHelp("The folder of the run.", valueName: "folder"))
    var out = "run"
    @Flag(help: "Continue the run in the folder, or start it if there is none.")
    var resume = false
    @Flag(help: "Replace the run in the folder.")
    var overwrite = false
    @Option(
        help: ArgumentHelp(
            "Write a checkpoint after every this many updates too, not only after every epoch.", valueName: "n"))
    var checkpointEvery: Int?
    @Option(
        help: ArgumentHelp(
            "MiB for the features of a frozen backbone; 0 computes them in every epoch.", valueName: "n"))
    var featureCache = 1024
    @OptionGroup(title: "OPTIONS FOR SEVERAL PROCESSES") var distribution: DistributionOptions
    @Flag(help: "Event files for TensorBoard in the folder `tensorboard` of the run, after every epoch.")
    var tensorboard = false
    @Flag(help: "The final scores as one JSON object, as `resnet evaluate --json` gives them.")
    var json = false

    func validate() throws {
        if resume && overwrite { throw ValidationError("Give --resume or --overwrite, not both.") }
        guard checkpointEvery ?? 1 >= 1 else {
            throw ValidationError("--checkpoint-every must be at least 1, not \(checkpointEvery ?? 0).")
        }
        guard 0...(1 << 20) ~= featureCache else {
            throw ValidationError("--feature-cache must be 0 to 1048576, not \(featureCache).")
        }
    }

    func run() throws {
        let processes = try distribution.processes()
        try processes.guarding { try train(processes) }
    }

    private func train(_ processes: TrainingProcesses) throws {
        let shards = try distribution.shards(of: inputs.optimization.batch, processes)
        let setup = try TrainingSetup(inputs, shards: shards)
        var settings = try schedule.settings(
            setup, usualRate: inputs.optimization.usualLearningRate, seed: inputs.split.seed)
        settings.shards = shards
        settings.synchronizesBatchNorm = distribution.syncBatchNorm
        settings.gradientType = distribution.gradientDtype
        settings.overlapsExchange = distribution.overlap
        settings.sizes = inputs.pictures.trainingSizes
        settings.folder = out
        settings.checkpointUpdates = checkpointEvery
        settings.replacesEarlierRun = overwrite
        settings.featureCacheLimit = featureCache << 20
        settings.title =
            "\(setup.name) on \(lastComponent(of: inputs.data.data))"
        if let every = schedule.unfreezeEvery {
            settings.unfreezing = .gradual(
                setup.model.graph, everyEpochs: every, updatesStatistics: inputs.start.updateStatistics)
        }
        // The files are those of rank 0, which may be on another machine.
        let resumes = try processes.ask(resume && "\(out)/last.safetensors".namesSomething)
        for file in ["last", "best"]
        where processes.isFirst && !overwrite && !resumes && "\(out)/\(file).safetensors".namesSomething {
            let way = file == "last" ? "--resume continues it, " : ""
            throw ToolError(
                "\(out): expected a folder without a run in it, found \(file).safetensors; \(way)--overwrite replaces it, "
                    + "--out names another folder")
        }

        let console = TrainingConsole(topK: schedule.top)
        if processes.isFirst {
            for note in setup.notes + distribution.notes(setup, processes) { Terminal.note(note) }
            reportSkipped(setup.skipped)
            warnOfDuplicates(setup.data.training, setup.data.validation)
        }
        Interruption.watch()
        let trainer = try Trainer(
            backend: setup.backend, data: setup.data, settings: settings, metadata: setup.model.metadata,
            callbacks: schedule.callbacks, report: report(to: console, isNew: !resumes),
            stopRequested: { Interruption.isRequested },
            processes: processes.group)
        let began = ProcessClock.now()
        let outcome: TrainingOutcome
        do { outcome = try trainer.run(resuming: resumes) } catch {
            console.clear()
            throw error
        }
        console.clear()
        guard processes.isFirst else { return }
        guard outcome.reason != .interrupted else {
            let done = outcome.history.records.count
            Terminal.note(
                "stopped after \(done) of \(settings.epochs) epochs; the same command with --resume goes on from "
                    + "\(outcome.lastCheckpoint ?? out)")
            throw ExitCode(128 + (Interruption.signal ?? SIGINT))
        }
        Terminal.note("trained in \(fineDurationText(ProcessClock.now() - began)): \(out)/history.svg has the curves")
        if !outcome.skipped.isEmpty {
            let count = outcome.skipped.count
            Terminal.warning("\(count) \(count == 1 ? "picture" : "pictures") could not be read and left out")
        }
        try evaluate(outcome, setup)
        if !outcome.skipped.isEmpty || !setup.skipped.isEmpty { throw ExitCode(2) }
    }

    /// Events go to the console, and the epochs to TensorBoard if that is asked for.
    private func report(to console: TrainingConsole, isNew: Bool) -> (TrainingEvent) -> Void {
        guard tensorboard else { return console.report }
        var log: TensorBoardLog?
        let folder = "\(out)/tensorboard"
        return { event in
            console.report(event)
            do {
                switch event {
                case .started:
                    if isNew { try TensorBoardLog.removeAll(in: folder) }
                    log = try TensorBoardLog(folder: folder)
                case .epochEnded(let record, _): try log?.write(record)
                default: break
                }
            } catch {
                log = nil
                console.clear()
                Terminal.warning("\(error); TensorBoard gets no more of this run")
            }
        }
    }

    /// The scores of the best weights, to standard output and into the folder.
    private func evaluate(_ outcome: TrainingOutcome, _ setup: TrainingSetup) throws {
        let path = outcome.bestCheckpoint ?? "\(out)/last.safetensors"
        guard let slice = setup.data.validation else {
            Terminal.note("\(path): nothing was held out to evaluate it on")
            return
        }
        let file = try WeightFile.open(path)
        var model = try Model(graph: setup.model.graph, from: file)
        let compute = inputs.optimization
        let evaluation = try EvaluationRun(
            model: model, name: setup.name, slice: slice, transform: setup.data.evaluationTransform,
            batch: compute.batch, workers: inputs.data.workers, topK: schedule.top,
            options: PlanOptions(threads: compute.threads, accuracy: compute.accuracy)
        ).run()
        // The last checkpoint is a run as well, which must stay.
        if let thresholds = evaluation.thresholds, outcome.bestCheckpoint != nil {
            model.labelThresholds = thresholds
            try model.save(to: path)
        }
        let report = evaluation.report(topK: schedule.top)
        let datasets = [setup.data.training, setup.data.validation].compactMap { $0?.dataset }
        let object = evaluation.json(
            model: setup.name, topK: schedule.top,
            skipped: skippedJSON(outcome.skipped, of: datasets, and: setup.skipped))
        try writeText(report + "\n", to: "\(out)/evaluation.txt")
        try writeText(object.text + "\n", to: "\(out)/evaluation.json")
        var page = page(evaluation, outcome, setup, path)
        var options = ClassifierOptions(threads: compute.threads)
        options.accuracy = compute.accuracy
        options.transform = setup.data.evaluationTransform
        page.explainPictures(by: try Classifier(model: model, origin: path, options: options))
        try page.write(to: "\(out)/report.html")
        Terminal.note(
            "\(path)\(model.metadata[MetadataKey.trained].map { ", \($0)" } ?? "") on \(slice.count) pictures:")
        if json { Output.json(object) } else { Output.text(report) }
        Terminal.note("\(out)/report.html shows it")
    }

    private func page(
        _ evaluation: Evaluation, _ outcome: TrainingOutcome, _ setup: TrainingSetup, _ weights: String
    ) -> EvaluationReport {
        let slice = setup.data.validation!
        var page = EvaluationReport(
            title: "\(setup.name) on \(lastComponent(of: inputs.data.data))",
            lead: "\(weights) on \(slice.count.grouped) pictures that were held out of training",
            evaluation: evaluation, slice: slice, transform: setup.data.evaluationTransform, topK: schedule.top)
        page.history = outcome.history
        page.facts =
            setup.notes.enumerated().map { ($0 == 0 ? "network" : "", $1) }
            + [
                ("pictures to train", setup.data.training.count.grouped),
                ("epochs", "\(outcome.history.records.count) of \(schedule.epochs)"),
                ("best epoch", outcome.history.best.map { "\($0.epoch + 1), by \(outcome.history.monitor)" } ?? ""),
                ("training transform", setup.data.transform.json), ("resnet", Machine.kernelVersion),
            ]
        page.commands = [
            CommandLine.asTyped,
            "resnet evaluate \(shellWord(inputs.data.data)) --weights \(shellWord(weights)) --held-out "
                + "--seed \(inputs.split.seed) --validation \(inputs.split.validation)",
        ]
        return page
    }
}
