// Trains: epochs, validation, callbacks, checkpoints. What a step computes is the backend's affair.
//
//     for each epoch
//         freeze as the schedule says
//         for each update: batches -> backend          (interrupt, checkpoint between updates)
//         validate, ask the callbacks, keep the best, write checkpoint and history
//
// All that decides what comes next is in the checkpoint or is a function of (seed, epoch, sample): a run that was stopped or
// killed at any moment and resumed gives the bits of one that never stopped.

import ResNetData
import ResNetExecution
import ResNetGraph
import ResNetSupport

/// Trains: epochs, validation, callbacks, checkpoints. What a step computes is the backend's affair. A run that was
/// stopped or killed at any moment and resumed gives the bits of one that never stopped.
public final class Trainer {
    let backend: any TrainingBackend
    let data: TrainingData
    let settings: TrainingSettings
    let metadata: [String: String]
    var callbacks: [any TrainingCallback]
    let report: (TrainingEvent) -> Void
    let stopRequested: () -> Bool
    /// This one among the processes that train together.
    let processes: any ProcessGroup

    let trainingLoader: BatchLoader
    let validationLoader: BatchLoader?
    /// Of the training pictures in the sizes of `settings.sizes`.
    let resizedLoaders: [BatchLoader]
    let ownFrozen: Set<String>

    /// Names of all samples are in it: written once.
    lazy var settingsInWords = describeSettings()
    var state: RunState
    var average: WeightAverage?
    var trainingFeatures: FeatureCache?
    var validationFeatures: FeatureCache?
    /// Where nothing is written to disk.
    var bestParameters: [String: Tensor]?
    /// Written by this run.
    var hasCheckpoint = false
    /// Of the shards of an update.
    var shardSum: TreeSum?
    /// Of the folder, while a run goes on.
    var lock: RunLock?

    /// Checks that all of it fits together; trains nothing yet.
    /// - Parameters:
    ///   - backend: holds the parameters that training starts from.
    ///   - data: samples, their transforms, the batch size.
    ///   - settings: epochs, learning rate and schedule, the folder for checkpoints.
    ///   - metadata: of the model; class names and transform are added.
    ///   - callbacks: asked after each epoch, in this order; their names differ.
    ///   - report: hears what happens, on the thread of `run`.
    ///   - stopRequested: asked between updates; true ends the run with a checkpoint.
    ///   - processes: those that train together, each with the same data, network and settings; `settings.shards` is then a
    ///     multiple of their number. Rank 0 alone reports and writes files.
    /// - Throws: `TrainingError.settings`, `DatasetError` and `ModelError` for what does not fit together.
    public init(
        backend: any TrainingBackend, data: TrainingData, settings: TrainingSettings, metadata: [String: String] = [:],
        callbacks: [any TrainingCallback] = [], report: @escaping (TrainingEvent) -> Void = { _ in },
        stopRequested: @escaping () -> Bool = { false }, processes: any ProcessGroup = SingleProcess()
    ) throws {
        try settings.check()
        self.backend = backend
        self.data = data
        self.processes = processes
        var settings = settings
        if processes.rank > 0 { settings.folder = nil }
        self.settings = settings
        self.callbacks = callbacks
        self.report = processes.rank > 0 ? { _ in } : report
        self.stopRequested = stopRequested
        ownFrozen = backend.frozen
        let dataset = data.training.dataset
        self.metadata = metadata.merging([
            MetadataKey.classes: JSONValue.array(dataset.classNames.map(JSONValue.string)).text,
            MetadataKey.transform: data.evaluationTransform.json,
        ]) { $1 }

        func require(_ holds: Bool, _ field: String, _ expected: String, _ found: String) throws {
            if !holds { throw TrainingError.settings(field: field, expected: expected, found: found) }
        }
        try require(
            1...backend.batchLimit ~= data.batchSize, "batch size", "1 to \(backend.batchLimit)", "\(data.batchSize)")
        try require(!data.evaluationTransform.isRandom, "evaluation transform", "no random steps", "some")
        try require(Set(callbacks.map(\.name)).count == callbacks.count, "callbacks", "one of a kind", "two")
        let classes = backend.graph.parameters.last { $0.role == .linearWeight }?.shape[0]
        try require(
            classes == nil || classes == dataset.classNames.count, "classes", "\(classes ?? 0), as the network has",
            "\(dataset.classNames.count) in the data")
        if let validation = data.validation?.dataset {
            try require(
                validation.classNames == dataset.classNames, "validation", "the classes of the training data",
                validation.classNames.joined(separator: ", "))
        }
        switch backend.plan.loss {
        case .binaryCrossEntropy:
            try require(dataset.isMultiLabel, "loss", "cross-entropy for one class a sample", "binary cross-entropy")
        case .crossEntropy:
            try require(!dataset.isMultiLabel, "loss", "binary cross-entropy for several labels", "cross-entropy")
        }
        let grouped = backend.plan.groups.flatMap(\.parameters)
        try require(
            grouped.count == Set(grouped).count && Set(grouped) == Set(backend.graph.trainable), "parameter groups",
            "every trainable parameter once", "\(grouped.count) of \(backend.graph.trainable.count)")
        try Self.check(shards: settings.shards, processes.size, backend)
        for callback in callbacks {
            guard let stopping = callback as? EarlyStopping, let own = stopping.monitor, stopping.restoresBest else {
                continue
            }
            try require(
                own == settings.monitor, "early stopping", "the monitor of the run, \(settings.monitor), to restore",
                "\(own)")
        }
        try require(
            !settings.monitor.ofValidation || data.validation != nil, "monitor", "validation data for it",
            "\(settings.monitor)")

        switch settings.monitor.quantity {
        case .f1: try require(dataset.isMultiLabel, "monitor", "loss, top1 or topk", "\(settings.monitor)")
        case .topK: try require(!dataset.isMultiLabel, "monitor", "loss, top1 or f1", "\(settings.monitor)")
        case .loss, .top1: break
        }

        // A phase of gradual unfreezing may train batch norms that are frozen now; the batches are the same in all.
        var phases = [ownFrozen]
        for epoch in settings.unfreezing?.policies.keys.sorted() ?? [] {
            phases.append(try settings.unfreezing!.frozen(in: epoch, of: backend.graph) ?? ownFrozen)
        }
        let trainsBatchNorm = phases.contains { backend.graph.trainsBatchNorm(frozen: $0) }
        try require(
            trainsBatchNorm || !settings.synchronizesBatchNorm, "synchronized batch norm", "batch norms that train",
            "none in \(backend.graph.modelName)\(ownFrozen.isEmpty ? "" : " that is not frozen")")
        trainingLoader = try BatchLoader(
            data.training,
            data.loaderSettings(
                seed: settings.seed, forTraining: true,
                dropsSingleSample: trainsBatchNorm && data.batchSize > 1 && !settings.hasNeighbors(data)))
        validationLoader = try data.validation.map { slice throws(DatasetError) in
            try BatchLoader(slice, data.loaderSettings(seed: settings.seed, forTraining: false))
        }
        resizedLoaders = try Self.loaders(of: settings.sizes, trainingLoader, backend)
        if let shape = validationLoader?.pictureShape, shape != trainingLoader.pictureShape {
            let own = trainingLoader.pictureShape
            try require(
                false, "validation data",
                "pictures (\(own.channels), \(own.height), \(own.width)), as those of training",
                "(\(shape.channels), \(shape.height), \(shape.width))")
        }
        try require(
            trainingLoader.batchesPerEpoch > 0, "training data", "more than one sample for batch norms that train",
            "\(data.training.count)")
        state = RunState(k: settings.topK < dataset.classNames.count ? settings.topK : 0)
    }

    /// Trains until the end, until a callback has enough, or until somebody asks to stop.
    /// - Parameter resumes: goes on from the folder's `last.safetensors`.
    /// - Throws: `TrainingError.notFinite` where the loss is no number; what the backend throws; file errors.
    public func run(resuming resumes: Bool = false) throws -> TrainingOutcome {
        defer { lock = nil }
        try processes.agree { try prepare(resumes && processes.rank == 0) }
        try join()
        announce()
        while state.epoch < settings.epochs && !state.isStopped {
            resize()
            do { try processes.agree { try freeze() } } catch is FeatureCache.Stopped { return try interrupted() }
            guard try settings.shards == nil ? trainEpoch() : trainShardedEpoch() else { return try interrupted() }
            let started = monotonicSeconds()
            resizeForValidation()
            guard let validation = try validate() else { return try interrupted() }
            state.seconds += monotonicSeconds() - started
            try finishEpoch(validation.scores)
        }
        return try finished()
    }

    /// 0 where every class would be among the best k.
    var topK: Int { settings.topK < data.training.dataset.classNames.count ? settings.topK : 0 }

    /// Keys of the parameters, in the order of checkpoints.
    var parameterOrder: [String] { backend.graph.parameters.map(\.name) }

    var parameterShapes: [String: [Int]] {
        Dictionary(uniqueKeysWithValues: backend.graph.parameters.map { ($0.name, $0.shape) })
    }

    var updatesPerEpoch: Int {
        (trainingLoader.batchesPerEpoch + settings.batchesPerUpdate - 1) / settings.batchesPerUpdate
    }

    /// Before the factor of callbacks and the scales of groups.
    func scheduledRate(update: Int) -> Double {
        settings.schedule.rate(
            base: settings.learningRate, update: update, updatesPerEpoch: updatesPerEpoch, epochs: settings.epochs)
    }

    private func announce() {
        let trained = Set(backend.graph.trainable).subtracting(backend.frozen)
        let specs = backend.graph.parameters.filter { !$0.role.isBuffer }
        report(
            .started(
                TrainingOverview(
                    trainingSamples: data.training.count, validationSamples: data.validation?.count ?? 0,
                    batchesPerEpoch: trainingLoader.batchesPerEpoch, epochs: settings.epochs,
                    trainedParameters: specs.filter { trained.contains($0.name) }.reduce(0) { $0 + $1.count },
                    parameters: specs.reduce(0) { $0 + $1.count }, firstEpoch: state.epoch)))
        for note in data.training.dataset.notes { report(.note(note)) }
        if trainingLoader.dropsTail {
            report(
                .note(
                    "the last batch of each epoch would have one picture, too few for batch norm: it is left out"))
        }
    }

    /// The epoch's frozen keys; features of a frozen backbone are computed here, once.
    private func freeze() throws {
        let frozen = try settings.unfreezing?.frozen(in: state.epoch, of: backend.graph) ?? ownFrozen
        if frozen != backend.frozen { backend.frozen = frozen }
        let samples = data.training.count + (data.validation?.count ?? 0)
        guard
            settings.sizes.isEmpty,
            data.hasConstantFeatures(
                backend.graph, frozen: frozen, shape: trainingLoader.pictureShape, samples: samples,
                limit: settings.featureCacheLimit)
        else {
            (trainingFeatures, validationFeatures) = (nil, nil)
            return
        }
        guard trainingFeatures == nil else { return }
        report(.note("the backbone is frozen and pictures are not augmented: its features are computed once"))
        func cache(_ slice: DatasetSlice, _ transform: ImageTransform, before done: Int) throws -> FeatureCache {
            var loading = data.loaderSettings(seed: settings.seed, forTraining: false)
            loading.transform = transform
            let loader = try BatchLoader(slice, loading)
            return try FeatureCache(loader, backend, processes, stopRequested: stopRequested) { count, _ in
                report(.features(done: done + count, of: samples))
            }
        }
        let training = try cache(data.training, data.transform, before: 0)
        state.skip(training.skipped, ofValidation: false)
        if let slice = data.validation {
            let validation = try cache(slice, data.evaluationTransform, before: data.training.count)
            state.skip(validation.skipped, ofValidation: true)
            validationFeatures = validation
        }
        trainingFeatures = training
    }

    /// After validation: the record, the best, what callbacks want, checkpoint and history.
    private func finishEpoch(_ validation: Scores?) throws {
        let lastUpdate = (state.epoch + 1) * updatesPerEpoch - 1
        let record = EpochRecord(
            epoch: state.epoch, learningRate: scheduledRate(update: lastUpdate) * state.rateFactor,
            training: state.running.scores, validation: validation, skipped: state.skippedInEpoch,
            seconds: state.seconds)
        state.history.append(record)
        let value = settings.monitor.value(in: record)
        let isBest = value.map { isBetter($0, in: record.epoch) } ?? false
        if isBest, let value { state.best = (record.epoch, value) }

        let nextRate = scheduledRate(update: lastUpdate + 1) * state.rateFactor
        let finished = FinishedEpoch(record: record, monitor: settings.monitor, learningRate: nextRate)
        var notes: [String] = []
        for index in callbacks.indices {
            let action = callbacks[index].epochEnded(finished)
            if action.stops { state.isStopped = true }
            if let rate = action.learningRate, nextRate > 0 { state.rateFactor *= rate / nextRate }
            if let note = action.note { notes.append(note) }
            state.callbacks[callbacks[index].name] = callbacks[index].state
        }
        state.epoch += 1
        state.batch = 0
        state.running = RunningScores(k: topK)
        state.seconds = 0
        state.skippedInEpoch = 0
        try processes.agree { try keep(isBest: isBest) }
        report(.epochEnded(record, isBest: isBest))
        for note in notes { report(.note(note)) }
    }

    /// Early stopping that restores the best weights decides which they are: an improvement of less than its `minDelta` is
    /// none, and what came before its first epoch does not count.
    private func isBetter(_ value: Double, in epoch: Int) -> Bool {
        let rule = callbacks.lazy.compactMap { $0 as? EarlyStopping }.first { $0.restoresBest }
        guard let rule, epoch >= rule.startFromEpoch else {
            return settings.monitor.isBetter(value, than: state.best?.value)
        }
        let previous = epoch == rule.startFromEpoch ? nil : state.best?.value
        return settings.monitor.isBetter(value, than: previous, by: rule.minDelta)
    }

    private func interrupted() throws -> TrainingOutcome {
        try processes.agree { try keep(isBest: false) }
        return try outcome(.interrupted, parameters: try evaluatedParameters())
    }

    private func finished() throws -> TrainingOutcome {
        let restores = callbacks.contains { ($0 as? EarlyStopping)?.restoresBest == true }
        if restores, let best = state.best, let parameters = try loadBest() {
            try backend.importState(
                TrainingState(parameters: parameters, optimizer: try backend.exportState().optimizer))
            report(
                .note("the weights are those of epoch \(best.epoch + 1), \(settings.monitor) \(fixed(best.value, 6))"))
            return try outcome(state.isStopped ? .stoppedEarly : .completed, parameters: parameters)
        }
        return try outcome(state.isStopped ? .stoppedEarly : .completed, parameters: try evaluatedParameters())
    }

    private func outcome(
        _ reason: TrainingOutcome.Reason, parameters: [String: Tensor]
    ) throws -> TrainingOutcome {
        TrainingOutcome(
            reason: reason, parameters: parameters, history: history,
            skipped: state.skippedTraining + state.skippedValidation, lastCheckpoint: lastPath,
            bestCheckpoint: state.best == nil ? nil : bestPath)
    }

    var history: TrainingHistory {
        TrainingHistory(records: state.history, k: settings.topK, monitor: settings.monitor)
    }

    /// The averages where those are kept, otherwise the parameters.
    func evaluatedParameters() throws -> [String: Tensor] { try average?.parameters ?? backend.exportParameters() }
}

extension TrainingData {
    /// How batches are made for training, or for looking at without changing anything.
    func loaderSettings(seed: UInt64, forTraining: Bool, dropsSingleSample: Bool = false) -> LoaderSettings {
        LoaderSettings(
            batchSize: batchSize, transform: forTraining ? transform : evaluationTransform,
            order: forTraining ? order : .sequential, mixing: forTraining ? mixing : nil, seed: seed, threads: threads,
            prefetch: prefetch, dropsSingleSample: dropsSingleSample, skipLimit: skipLimit)
    }
}
