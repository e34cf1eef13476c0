// Losses: what they are, their value, and the step that computes them and where the gradient begins. The kernels compute in
// double; value and gradient come from the same ones.
import CKernels
import Glibc
import ResNetGraph

/// What is minimized. Both are means as PyTorch takes them.
public enum Loss: Sendable, Hashable {
    /// Softmax cross-entropy of `.classes` or `.probabilities`: torch.nn.CrossEntropyLoss. With class weights and class
    /// indices the mean is weighted: sum(w[y] * l) / sum(w[y]); with probabilities it is divided by N.
    case crossEntropy(labelSmoothing: Float = 0, classWeights: [Float]? = nil, ignoreIndex: Int32 = -100)
    /// Sigmoid and binary cross-entropy of `.multiHot`, the mean over samples and labels: torch.nn.BCEWithLogitsLoss.
    /// A weight for each label multiplies the term of its positives.
    case binaryCrossEntropy(positiveWeights: [Float]? = nil)
}

extension Loss {
    /// The same without label smoothing and weights: what networks are scored by.
    public var plain: Loss {
        switch self {
        case .crossEntropy(_, _, let ignoreIndex): .crossEntropy(ignoreIndex: ignoreIndex)
        case .binaryCrossEntropy: .binaryCrossEntropy()
        }
    }

    /// What the loss of a batch is divided by, in samples: N, or the sum of the class weights of the samples that count.
    package func weight(of labels: BatchLabels) -> Double {
        guard case .crossEntropy(_, let weights, let ignoreIndex) = self, case .classes(let classes) = labels else {
            switch labels {
            case .classes(let classes): return Double(classes.count)
            case .probabilities(let targets), .multiHot(let targets): return Double(targets.shape[0])
            }
        }
        return classes.reduce(0.0) { sum, label in
            label == ignoreIndex ? sum : sum + (weights.map { Double($0[Int(label)]) } ?? 1)
        }
    }

    /// The loss of a batch and what it was divided by, computed in double precision.
    /// - Parameters:
    ///   - logits: (N, classes).
    ///   - labels: of N samples.
    /// - Precondition: the labels are of the loss's kind and of N samples; classes are those of the logits.
    public func value(logits: Tensor, labels: BatchLabels) -> (loss: Double, weight: Double) {
        let (rows, classes) = (logits.shape[0], logits.shape[1])
        return logits.withUnsafeFloats { logits in
            func value(_ target: TrainingPass.Target) -> (loss: Double, weight: Double) {
                let (status, loss) = compute(logits.baseAddress!, target, rows, classes)
                precondition(status == CK_OK, "labels that are no classes of the logits, or no logits")
                return (loss.mean, loss.weight)
            }
            switch labels {
            case .classes(let labels):
                precondition(labels.count == rows, "\(labels.count) labels for \(rows) samples")
                return value(.classes(labels))
            case .probabilities(let targets), .multiHot(let targets):
                precondition(
                    targets.shape == [rows, classes], "labels \(targets.shape) for logits [\(rows), \(classes)]")
                return targets.withUnsafeFloats { value(.dense($0.baseAddress!)) }
            }
        }
    }

    /// The loss of (N, classes) logits, its weight in samples and, where `gradient` is given, the gradient times `scale`.
    fileprivate func compute(
        _ logits: UnsafePointer<Float>, _ target: TrainingPass.Target, _ rows: Int, _ classes: Int, scale: Double = 1,
        gradient: UnsafeMutablePointer<Float>? = nil
    ) -> (ck_status, ck_loss) {
        let (n, k) = (Int32(rows), Int32(classes))
        var loss = ck_loss()
        switch (self, target) {
        case (.crossEntropy(let smoothing, let weights, let ignoreIndex), .classes(let labels)):
            let status = ck_cross_entropy(
                logits, labels, n, k, weights, Double(smoothing), ignoreIndex, scale, &loss, gradient)
            return (status, loss)
        case (.crossEntropy(let smoothing, let weights, _), .dense(let targets)):
            let status = ck_soft_cross_entropy(
                logits, targets, n, k, weights, Double(smoothing), scale, &loss, gradient)
            return (status, loss)
        case (.binaryCrossEntropy(let weights), .dense(let targets)):
            let status = ck_bce_with_logits(logits, targets, n, k, weights, scale, &loss, gradient)
            // In samples, not in labels.
            loss.weight = Double(rows)
            return (status, loss)
        case (.binaryCrossEntropy, .classes): preconditionFailure("classes are no yes or no for every label")
        }
    }
}

/// logits -> [gradient of the logits]. Hands the logits to the caller.
struct LossStep: StepOperation {
    let loss: Loss
    let classes: Int

    var text: String { "loss" }
    var isPerImage: Bool { false }

    func compile(_ step: StepContext) -> Kernel {
        let (loss, classes) = (loss, classes)
        let logits = step.input(0)
        let gradient = step.outputIfAny
        return { run, _, images in
            let (pass, source) = (run.pass!, logits(run))
            for image in 0..<images {
                for index in 0..<classes {
                    pass.logits[image * classes + index] = source[image * logits.floats + index]
                }
            }
            // The kernels of losses know dense rows.
            let isDense = gradient?.floats == classes
            var rows = [Float](repeating: 0, count: gradient == nil || isDense ? 0 : images * classes)
            let target = gradient.map { $0(run) }
            let status: ck_status
            (status, pass.loss) = rows.withUnsafeMutableBufferPointer { rows in
                loss.compute(
                    pass.logits, pass.target, images, classes, scale: pass.gradientScale,
                    gradient: gradient == nil || isDense ? target : rows.baseAddress)
            }
            if let gradient, let target, !isDense {
                memset(target, 0, images * gradient.imageBytes)
                for image in 0..<images {
                    for index in 0..<classes { target[image * gradient.floats + index] = rows[image * classes + index] }
                }
            }
            return status
        }
    }
}
