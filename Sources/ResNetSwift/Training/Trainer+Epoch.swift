// One pass over the training data, and one over the validation data.

import ResNetData
import ResNetExecution
import ResNetGraph

extension Trainer {
    /// The rest of the epoch from `state.batch` on.
    /// - Returns: false where somebody asked to stop.
    func trainEpoch() throws -> Bool {
        let batches = trainingLoader.batchesPerEpoch
        let plan = trainingFeatures == nil ? [] : trainingLoader.plan(epoch: state.epoch)
        let stream =
            trainingFeatures == nil && state.batch < batches
            ? trainingLoader.batches(epoch: state.epoch, from: state.batch) : nil
        let (firstBatch, before, started) = (state.batch, state.seconds, monotonicSeconds())
        while state.batch < batches {
            let end = min(state.batch + settings.accumulation, batches)
            var loaded: [TrainingBatch] = []
            for index in state.batch..<end {
                if let stream {
                    guard let next = stream.nextBatch() else { preconditionFailure("the epoch has \(batches) batches") }
                    try skip(next.skipped)
                    if let batch = next.batch { loaded.append(batch) }
                } else if let batch = trainingFeatures?.batch(plan[index], trainingLoader) {
                    loaded.append(batch)
                }
            }
            let update = state.epoch * updatesPerEpoch + state.batch / settings.accumulation
            let rate = scheduledRate(update: update) * state.rateFactor
            try self.update(loaded, step: state.epoch * batches + state.batch, update: update, rate: rate)
            state.batch = end
            state.seconds = before + monotonicSeconds() - started
            let rest = (monotonicSeconds() - started) / Double(end - firstBatch) * Double(batches - end)
            report(
                .progress(
                    BatchProgress(
                        epoch: state.epoch, epochs: settings.epochs, isValidation: false, batchesDone: end,
                        batches: batches, loss: state.running.scores.loss, top1: state.running.scores.top1,
                        learningRate: rate, seconds: state.seconds, secondsLeft: rest)))
            if stopRequested() { return false }
            if let every = settings.checkpointUpdates, (update + 1) % every == 0, end < batches {
                try keep(isBest: false)
            }
        }
        guard state.running.scores.loss.isFinite else {
            throw TrainingError.settings(
                field: "training data", expected: "samples that can be read", found: "none in epoch \(state.epoch + 1)")
        }
        return true
    }

    /// One update from the batches of one accumulation. They count by their weights, as one large batch would: the sum of the
    /// class weights, or the number of samples.
    private func update(_ batches: [TrainingBatch], step: Int, update: Int, rate: Double) throws {
        guard !batches.isEmpty else { return }
        let weights = batches.map { backend.plan.loss.weight(of: $0.labels) }
        let total = weights.reduce(0, +)
        let momentum = settings.schedule.momentum(
            update: update, updatesPerEpoch: updatesPerEpoch, epochs: settings.epochs)
        for (index, batch) in batches.enumerated() {
            let result = try backend.train(
                batch,
                StepSettings(
                    step: step + index,
                    learningRates: backend.plan.groups.map { Float(rate * Double($0.learningRateScale)) },
                    momentum: momentum.map(Float.init),
                    gradientScale: total > 0 ? Float(weights[index]) / Float(total) : 0,
                    updates: index == batches.count - 1))
            guard result.loss.isFinite || result.weight == 0 else {
                throw notFinite(
                    "the loss is \(result.loss.isNaN ? "no number" : "infinite")", epoch: state.epoch,
                    batch: state.batch + index, rate: rate)
            }
            state.running.add(result, labels: batch.labels)
        }
        if average != nil { average!.add(try backend.exportParameters()) }
    }

    func notFinite(_ what: String, epoch: Int, batch: Int, rate: Double) -> TrainingError {
        .notFinite(
            what: what, epoch: epoch + 1, batch: batch + 1, learningRate: rate,
            lastCheckpoint: hasCheckpoint ? lastPath : nil)
    }

    /// Counts and tells what could not be read.
    private func skip(_ samples: [SkippedSample], ofValidation: Bool = false) throws {
        guard !samples.isEmpty else { return }
        if !ofValidation { state.skippedInEpoch += samples.count }
        let before = ofValidation ? state.skippedValidation.count : state.skippedTraining.count
        state.skip(samples, ofValidation: ofValidation)
        let all = ofValidation ? state.skippedValidation : state.skippedTraining
        for sample in all[before...] { report(.note("skipped: \(sample.reason)")) }
        let loader = ofValidation ? validationLoader! : trainingLoader
        guard all.count <= loader.skipLimit else {
            throw DatasetError.tooManySkipped(limit: loader.skipLimit, of: loader.slice.count, skipped: all)
        }
    }

    /// The same logits scored by the loss without label smoothing and class weights, as `Evaluation` scores them.
    private func plainlyScored(_ result: StepResult, _ labels: BatchLabels) -> StepResult {
        guard backend.plan.loss != backend.plan.loss.plain else { return result }
        var result = result
        (result.loss, result.weight) = backend.plan.loss.plain.value(logits: result.logits, labels: labels)
        return result
    }

    /// The scores of the validation data with the parameters that are kept. The loss is the plain one: label smoothing and
    /// class weights are means of training, and `Evaluation` knows nothing of them.
    /// - Returns: nil where somebody asked to stop; `scores` is nil where there is no such data.
    func validate() throws -> (scores: Scores?, Void)? {
        guard let loader = validationLoader else { return (nil, ()) }
        // With averages, they stand in for the parameters during validation.
        let own = try average.map { average in
            let state = try backend.exportState()
            try backend.importState(TrainingState(parameters: average.parameters, optimizer: state.optimizer))
            return state
        }
        defer { if let own { restore(own) } }
        var running = RunningScores(k: topK)
        let plan = loader.plan(epoch: 0)
        let stream = validationFeatures == nil ? loader.batches(epoch: 0) : nil
        let started = monotonicSeconds()
        for index in plan.indices {
            var batch: TrainingBatch?
            if let next = stream?.nextBatch() {
                try skip(next.skipped, ofValidation: true)
                batch = next.batch
            } else {
                batch = validationFeatures?.batch(plan[index], loader)
            }
            if let batch {
                running.add(try plainlyScored(backend.evaluate(batch), batch.labels), labels: batch.labels)
            }
            let seconds = monotonicSeconds() - started
            report(
                .progress(
                    BatchProgress(
                        epoch: state.epoch, epochs: settings.epochs, isValidation: true, batchesDone: index + 1,
                        batches: plan.count, loss: running.scores.loss, top1: running.scores.top1,
                        learningRate: 0, seconds: state.seconds + seconds,
                        secondsLeft: seconds / Double(index + 1) * Double(plan.count - index - 1))))
            if index + 1 < plan.count && stopRequested() { return nil }
        }
        guard running.scores.loss.isFinite else {
            let rate = scheduledRate(update: (state.epoch + 1) * updatesPerEpoch - 1) * state.rateFactor
            throw notFinite(
                "the validation loss is \(running.scores.loss.isNaN ? "no number" : "infinite")", epoch: state.epoch,
                batch: state.batch - 1, rate: rate)
        }
        return (running.scores, ())
    }

    private func restore(_ state: TrainingState) {
        do { try backend.importState(state) } catch {
            preconditionFailure("a backend refuses the state that it has exported: \(error)")
        }
    }
}

/// Seconds of a clock that only goes forward.
func monotonicSeconds() -> Double { Double(monotonicNanoseconds()) * 1e-9 }
