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
            ? epochLoader.batches(epoch: state.epoch, from: state.batch) : nil
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
            reportProgress(
                rate, secondsLeft: (state.seconds - before) / Double(end - firstBatch) * Double(batches - end))
            if stopRequested() { return false }
            if let every = settings.checkpointUpdates, (update + 1) % every == 0, end < batches {
                try keep(isBest: false)
            }
        }
        try checkSamples()
        return true
    }

    func reportProgress(_ rate: Double, secondsLeft: Double) {
        report(
            .progress(
                BatchProgress(
                    epoch: state.epoch, epochs: settings.epochs, isValidation: false, batchesDone: state.batch,
                    batches: trainingLoader.batchesPerEpoch, loss: state.running.scores.loss,
                    top1: state.running.scores.top1, learningRate: rate, seconds: state.seconds,
                    secondsLeft: secondsLeft)))
    }

    /// At the end of an epoch: something was trained on.
    func checkSamples() throws(TrainingError) {
        guard state.running.scores.loss.isFinite else {
            throw .settings(
                field: "training data", expected: "samples that can be read", found: "none in epoch \(state.epoch + 1)")
        }
    }

    /// One update from the batches of one accumulation. They count by their weights, as one large batch would: the sum of the
    /// class weights, or the number of samples.
    private func update(_ batches: [TrainingBatch], step: Int, update: Int, rate: Double) throws {
        guard !batches.isEmpty else { return }
        let weights = batches.map { backend.plan.loss.weight(of: $0.labels) }
        let total = weights.reduce(0, +)
        for (index, batch) in batches.enumerated() {
            var settings = stepSettings(step: step + index, update: update, rate: rate)
            settings.gradientScale = total > 0 ? Float(weights[index]) / Float(total) : 0
            settings.updates = index == batches.count - 1
            let result = try backend.train(batch, settings)
            guard result.loss.isFinite || result.weight == 0 else {
                throw notFinite(
                    "the loss is \(result.loss.isNaN ? "no number" : "infinite")", epoch: state.epoch,
                    batch: state.batch + index, rate: rate)
            }
            state.running.add(result, labels: batch.labels)
        }
        if average != nil { average!.add(try backend.exportParameters()) }
    }

    func stepSettings(step: Int, update: Int, rate: Double) -> StepSettings {
        let momentum = settings.schedule.momentum(
            update: update, updatesPerEpoch: updatesPerEpoch, epochs: settings.epochs)
        return StepSettings(
            step: step, learningRates: backend.plan.groups.map { Float(rate * Double($0.learningRateScale)) },
            momentum: momentum.map(Float.init))
    }

    func notFinite(_ what: String, epoch: Int, batch: Int, rate: Double) -> TrainingError {
        .notFinite(
            what: what, epoch: epoch + 1, batch: batch + 1, learningRate: rate,
            lastCheckpoint: hasCheckpoint ? lastPath : nil)
    }

    /// Counts and tells what could not be read.
    func skip(_ samples: [SkippedSample], ofValidation: Bool = false) throws {
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
    func plainlyScored(_ result: StepResult, _ labels: BatchLabels) -> StepResult {
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
        guard let running = try validationScores(loader) else { return nil }
        guard running.scores.loss.isFinite else {
            let rate = scheduledRate(update: (state.epoch + 1) * updatesPerEpoch - 1) * state.rateFactor
            throw notFinite(
                "the validation loss is \(running.scores.loss.isNaN ? "no number" : "infinite")", epoch: state.epoch,
                batch: state.batch - 1, rate: rate)
        }
        return (running.scores, ())
    }

    /// Each process scores every so many batches; the sums are added in the order of the batches.
    /// - Returns: nil where somebody asked to stop.
    private func validationScores(_ loader: BatchLoader) throws -> RunningScores? {
        let plan = loader.plan(epoch: 0)
        let own = plan.indices.filter { $0 % processes.size == processes.rank }
        let stream = validationFeatures == nil ? loader.batches(epoch: 0, own) : nil
        let started = monotonicSeconds()
        var (running, scored) = (RunningScores(k: topK), [ScoredBatch]())
        for (done, index) in own.enumerated() {
            var part = ScoredBatch(index: index, scores: RunningScores(k: topK))
            let loaded = stream?.nextBatch()
            part.skipped = loaded?.skipped ?? []
            if let batch = loaded == nil ? validationFeatures?.batch(plan[index], loader) : loaded?.batch {
                do {
                    part.scores.add(try plainlyScored(backend.evaluate(batch), batch.labels), labels: batch.labels)
                } catch {
                    guard processes.size > 1 else { throw error }
                    part.failure = "\(error)"
                }
            }
            running.add(part.scores)
            scored.append(part)
            if processes.size == 1 { try skip(part.skipped, ofValidation: true) }
            let seconds = monotonicSeconds() - started
            report(
                .progress(
                    BatchProgress(
                        epoch: state.epoch, epochs: settings.epochs, isValidation: true, batchesDone: done + 1,
                        batches: own.count, loss: running.scores.loss, top1: running.scores.top1,
                        learningRate: 0, seconds: state.seconds + seconds,
                        secondsLeft: seconds / Double(done + 1) * Double(own.count - done - 1))))
            if processes.size == 1 && done + 1 < own.count && stopRequested() { return nil }
        }
        guard processes.size > 1 else { return running }
        running = RunningScores(k: topK)
        for part in try ScoredBatch.gathered(scored, from: processes) {
            if let failure = part.failure { throw TrainingError.failed(failure) }
            running.add(part.scores)
            try skip(part.skipped, ofValidation: true)
        }
        return running
    }

    private func restore(_ state: TrainingState) {
        do { try backend.importState(state) } catch {
            preconditionFailure("a backend refuses the state that it has exported: \(error)")
        }
    }
}

/// Seconds of a clock that only goes forward.
func monotonicSeconds() -> Double { Double(monotonicNanoseconds()) * 1e-9 }
