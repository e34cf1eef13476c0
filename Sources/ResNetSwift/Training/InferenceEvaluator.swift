// Evaluates a data set on an inference plan, which is faster than a training backend: batch norm is folded, nothing is kept.

import ResNetData
import ResNetExecution
import ResNetGraph

/// Evaluates batches on an inference plan: faster than a training backend, as batch norms are folded and nothing is
/// kept.
public struct InferenceEvaluator: BatchEvaluator {
    /// Of the network.
    public let plan: InferencePlan
    /// What is reported as the loss.
    public let loss: Loss
    /// Views of each picture, which follow each other in a batch; their logits are averaged.
    package let views: Int

    public init(plan: InferencePlan, loss: Loss) { self.init(plan: plan, loss: loss, views: 1) }

    package init(plan: InferencePlan, loss: Loss, views: Int) {
        self.plan = plan
        self.loss = loss
        self.views = views
    }

    public func evaluate(_ batch: TrainingBatch) throws -> StepResult {
        let logits =
            switch (batch.input, plan.options.input) {
            case (.pictures(let pictures), _): try plan.predict(pictures, views: views).logits
            case (.floats(let tensor), .floatNCHW): try plan.predict(tensor).logits
            case (.floats, .bytesNHWC), (.features, _):
                throw TrainingError.backend(expected: "a batch of what the plan was made for", found: "another kind")
            }
        let (value, weight) = loss.value(logits: logits, labels: batch.labels)
        return StepResult(loss: value, weight: weight, logits: logits)
    }
}

extension InferencePlan {
    /// Runs pictures as bytes or floats, whichever the plan takes.
    /// - Parameter views: of each picture, which follow each other: logits and features are their means, without taps.
    /// - Throws: as the functions for tensors and bytes.
    package func predict(_ pictures: PictureBatch, views: Int) throws(ExecutionError) -> Prediction {
        guard case .floatNCHW = options.input else { return try predict(pictures.pixels).averaged(over: views) }
        return try predict(pictures.tensor()).averaged(over: views)
    }
}
