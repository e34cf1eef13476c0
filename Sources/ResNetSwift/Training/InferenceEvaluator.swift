// Evaluates a data set on an inference plan, which is faster than a training backend: batch norm is folded, nothing is kept.

import ResNetExecution
import ResNetGraph

/// Evaluates batches on an inference plan: faster than a training backend, as batch norms are folded and nothing is
/// kept.
public struct InferenceEvaluator: BatchEvaluator {
    /// Of the network.
    public let plan: InferencePlan
    /// What is reported as the loss.
    public let loss: Loss

    public init(plan: InferencePlan, loss: Loss) {
        self.plan = plan
        self.loss = loss
    }

    /// The views of the same samples, whose logits are averaged.
    package func evaluate(views: [TrainingBatch]) throws -> StepResult {
        let results = try views.map { try evaluate($0) }
        guard results.count > 1 else { return results[0] }
        var sums = results[0].logits.values
        for result in results.dropFirst() {
            for (index, value) in result.logits.values.enumerated() { sums[index] += value }
        }
        let logits = Tensor(shape: results[0].logits.shape, values: sums.map { $0 / Float(results.count) })
        let (value, weight) = loss.value(logits: logits, labels: views[0].labels)
        return StepResult(loss: value, weight: weight, logits: logits)
    }

    public func evaluate(_ batch: TrainingBatch) throws -> StepResult {
        let logits =
            switch (batch.input, plan.options.input) {
            case (.pictures(let pictures), .bytesNHWC): try plan.predict(pictures.pixels).logits
            case (.pictures(let pictures), .floatNCHW): try plan.predict(pictures.tensor()).logits
            case (.floats(let tensor), .floatNCHW): try plan.predict(tensor).logits
            case (.floats, .bytesNHWC), (.features, _):
                throw TrainingError.backend(expected: "a batch of what the plan was made for", found: "another kind")
            }
        let (value, weight) = loss.value(logits: logits, labels: batch.labels)
        return StepResult(loss: value, weight: weight, logits: logits)
    }
}
