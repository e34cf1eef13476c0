// Training and scoring in one call each. `Trainer` with a backend of your choice does the same step by step.
//
//     let start = try Model(from: WeightFile.open("resnet18.pth")).replacingHead(classes: 2, seed: 0)
//     let trained = try start.freezing(.allButHead).trained(on: data, settings: TrainingSettings(epochs: 10))
//     print(try trained.model.evaluated(on: data.validation!).table())

import ResNetData
import ResNetExecution
import ResNetGraph

/// What a training run leaves behind.
public struct TrainedModel: Sendable {
    /// With the weights of the best epoch: the one with the best monitored value; without validation data the last.
    /// Class names and transform are in its metadata.
    public let model: Model
    /// By epoch.
    public let history: TrainingHistory
    /// Why the run ended.
    public let reason: TrainingOutcome.Reason
}

extension Model {
    /// Trains this model and returns it with the weights of the best epoch; what is frozen in it stays as it is.
    /// - Parameters:
    ///   - data: samples to train on and to validate with, their transforms, the batch size.
    ///   - loss: nil means cross-entropy, or binary cross-entropy where samples have several labels.
    ///   - optimizer: with torch.optim's formulas.
    ///   - weightDecay: of all parameters, unless `groups` are given.
    ///   - groups: parameters with learning rates of their own; nil means that all share one.
    ///   - settings: epochs, learning rate and schedule, the folder for checkpoints.
    ///   - callbacks: asked after each epoch; they may stop the run or change the rate.
    ///   - options: threads, accuracy, what is kept between the passes.
    ///   - report: hears how it goes; `TrainingConsole().report` prints a line for each epoch.
    ///   - stopRequested: asked between updates; true ends the run.
    /// - Throws: what `Trainer` and `TrainingPlan` throw.
    public func trained(
        on data: TrainingData, loss: Loss? = nil, optimizer: Optimizer = .sgd(momentum: 0.9), weightDecay: Float = 0,
        groups: [ParameterGroup]? = nil, settings: TrainingSettings = TrainingSettings(),
        callbacks: [any TrainingCallback] = [], options: TrainingOptions = TrainingOptions(),
        report: @escaping (TrainingEvent) -> Void = { _ in }, stopRequested: @escaping () -> Bool = { false }
    ) throws -> TrainedModel {
        let dataset = data.training.dataset
        let plan = OptimizationPlan(
            loss: loss ?? (dataset.isMultiLabel ? .binaryCrossEntropy() : .crossEntropy()), optimizer: optimizer,
            groups: groups ?? ParameterGroup.single(graph, weightDecay: weightDecay), seed: settings.seed)
        let input = try BatchLoader(
            data.training, LoaderSettings(batchSize: data.batchSize, transform: data.transform)
        ).pictureShape
        let backend = try TrainingPlan(
            model: self, input: input, batchLimit: data.batchSize, plan: plan, options: options)
        let trainer = try Trainer(
            backend: backend, data: data, settings: settings, metadata: metadata, callbacks: callbacks, report: report,
            stopRequested: stopRequested)
        let outcome = try trainer.run()
        let parameters = trainer.state.best == nil ? outcome.parameters : try trainer.loadBest() ?? outcome.parameters
        var model = Model(graph: graph, parameters: parameters)
        model.frozen = frozen
        model.metadata = trainer.metadata
        return TrainedModel(model: model, history: outcome.history, reason: outcome.reason)
    }

    /// The scores of this model on samples whose classes or labels are known.
    /// - Parameters:
    ///   - slice: the samples.
    ///   - transform: nil means the one in the metadata.
    ///   - thresholds: for several labels a sample; nil means those in the metadata, and without any the ones that suit
    ///     these very samples best (which flatters, and is how thresholds are tuned on validation data).
    ///   - batch: samples that run at once.
    ///   - topK: the k of top-k; left out where there are no more classes than that.
    ///   - options: threads and accuracy; bytes or floats are chosen for you.
    /// - Throws: `DatasetError`, `TransformError` and `ExecutionError`.
    public func evaluated(
        on slice: DatasetSlice, transform: ImageTransform? = nil, thresholds: LabelThresholds? = nil, batch: Int = 32,
        topK: Int = 5, options: PlanOptions = PlanOptions()
    ) throws -> Evaluation {
        let evaluator = try inference(on: slice, transform: transform, batch: batch, options: options)
        return try Evaluation.run(
            evaluator.plan, evaluator.loader, topK: topK, thresholds: thresholds ?? labelThresholds)
    }

    /// The logits (N, classes) of all samples, in their order.
    /// - Parameters:
    ///   - slice: the samples.
    ///   - transform: nil means the one in the metadata.
    ///   - batch: samples that run at once.
    ///   - options: threads and accuracy; bytes or floats are chosen for you.
    /// - Throws: also `DatasetError.tooManySkipped` if any sample cannot be read: nobody wants rows that shift.
    public func logits(
        of slice: DatasetSlice, transform: ImageTransform? = nil, batch: Int = 32,
        options: PlanOptions = PlanOptions()
    ) throws -> Tensor {
        let evaluator = try inference(on: slice, transform: transform, batch: batch, options: options)
        var (values, columns) = ([Float](), 0)
        let stream = evaluator.loader.batches(epoch: 0)
        while let loaded = stream.nextBatch() {
            guard loaded.skipped.isEmpty, let batch = loaded.batch else {
                throw DatasetError.tooManySkipped(limit: 0, of: slice.count, skipped: loaded.skipped)
            }
            let logits = try evaluator.plan.evaluate(batch).logits
            columns = logits.shape[1]
            values += logits.values
        }
        return Tensor(shape: [slice.count, columns], values: values)
    }

    private func inference(
        on slice: DatasetSlice, transform: ImageTransform?, batch: Int, options: PlanOptions
    ) throws -> (plan: InferenceEvaluator, loader: BatchLoader) {
        guard let transform = try transform ?? metadata[MetadataKey.transform].map(ImageTransform.init(json:)) else {
            throw DatasetError.request(expected: "a transform, given or in the model's metadata", found: "none")
        }
        let loader = try BatchLoader(slice, LoaderSettings(batchSize: batch, transform: transform))
        var options = options
        if !slice.dataset.isFloats { options.input = .bytesNHWC(scale: transform.scale, shift: transform.shift) }
        let plan = try InferencePlan(model: self, input: loader.pictureShape, batch: batch, options: options)
        let loss: Loss = slice.dataset.isMultiLabel ? .binaryCrossEntropy() : .crossEntropy()
        return (InferenceEvaluator(plan: plan, loss: loss), loader)
    }
}
