// Layer norm over the channels of each pixel, forward and backward, group norm, and the layer scale.
import CKernels
import ResNetGraph

/// x, gamma, beta -> y, which may be larger: zeros lie below and to the right of what is normalized. gamma and beta are
/// filled up to whole blocks with zeros.
struct LayerNorm: StepOperation {
    let channels: Int
    let eps: Double
    var pads = false

    var text: String { "layer norm" + (pads ? " + pad" : "") }
    var overwritable: [Int] { pads ? [] : [0] }

    func compile(_ step: StepContext) -> Kernel {
        let (x, gamma, beta, y) = (step.input(0), step.input(1), step.input(2), step.output(0))
        let description = layerNormDescription(step.inputShape(0), step.resultShape, eps: eps)
        return { run, start, count in
            var description = description
            description.batch = Int32(count)
            description.threads = run.threads
            return ck_layer_norm(&description, x(run, start), gamma(run), beta(run), y(run, start))
        }
    }
}

/// x, dy, gamma -> [dx]; [dgamma], [dbeta]. Over the whole batch, for the sums.
struct LayerNormGradient: StepOperation {
    let channels: Int
    let eps: Double
    let scaleTrains: Bool
    let shiftTrains: Bool

    var text: String { "layer norm dx, dw" }
    var isPerImage: Bool { false }
    var overwritable: [Int] { [1] }

    func prepare(_ step: StepContext) -> Preparation {
        var description = layerNormDescription(step.inputShape(0), step.inputShape(0), eps: eps)
        description.batch = Int32(step.settings.batch)
        return Preparation(scratchBytes: ck_layer_norm_backward_workspace_size(&description))
    }

    func compile(_ step: StepContext) -> Kernel {
        let (x, dy, gamma) = (step.input(0), step.input(1), step.input(2))
        let dx = step.outputIfAny
        let (dgamma, dbeta) = step.updates(scaleTrains, shiftTrains)
        let description = layerNormDescription(step.inputShape(0), step.inputShape(0), eps: eps)
        let channels = channels
        return { run, start, count in
            var description = description
            description.batch = Int32(count)
            description.threads = run.threads
            return run.store(dgamma, channels) { dgamma in
                run.store(dbeta, channels, at: NormShape.padded(channels)) { dbeta in
                    ck_layer_norm_backward(
                        &description, x(run, start), dy(run, start), gamma(run), dx.map { $0(run, start) }, dgamma,
                        dbeta,
                        run.scratch)
                }
            }
        }
    }
}

private func layerNormDescription(_ x: ImageShape, _ y: ImageShape, eps: Double) -> ck_layer_norm_desc {
    let (size, result) = (x.kernelSize, y.kernelSize)
    return ck_layer_norm_desc(
        batch: 1, channels: size.c, height: size.h, width: size.w, out_height: result.h, out_width: result.w, eps: eps,
        threads: 0)
}

/// x, gamma, beta -> y.
struct GroupNorm: StepOperation {
    let groups: Int
    let eps: Double
    let relu: Bool

    var text: String { "group norm" + (relu ? " + ReLU" : "") }
    var overwritable: [Int] { [0] }

    func compile(_ step: StepContext) -> Kernel {
        let (x, gamma, beta, y) = (step.input(0), step.input(1), step.input(2), step.output(0))
        let size = step.resultShape.kernelSize
        let description = ck_group_norm_desc(
            batch: 1, channels: size.c, groups: Int32(groups), height: size.h, width: size.w, eps: eps,
            relu: relu ? 1 : 0, threads: 0)
        return { run, start, count in
            var description = description
            description.batch = Int32(count)
            description.threads = run.threads
            return ck_group_norm(&description, x(run, start), gamma(run), beta(run), y(run, start))
        }
    }
}

/// x, gamma, zeros -> y: a factor for each channel.
struct LayerScale: StepOperation {
    var text: String { "layer scale" }
    var overwritable: [Int] { [0] }

    func constants(for result: Value, block: Int) -> [[Float]] {
        [[Float](repeating: 0, count: roundedUp(result.shape.channels, to: block))]
    }

    func compile(_ step: StepContext) -> Kernel {
        let (x, gamma, zeros, y) = (step.input(0), step.input(1), step.input(2), step.output(0))
        let size = step.resultShape.kernelSize
        return { run, start, count in
            ck_scale_shift(
                x(run, start), gamma(run), zeros(run), Int32(count), size.c, size.h, size.w, y(run, start), 0,
                run.threads)
        }
    }
}
