// Batch norm in training, in parts, since its sums need the whole batch before any image can go on:
//
//     sums over x, a few images at a time  ->  finish: mean, 1 / sqrt(var + eps), running statistics  ->  apply to x
//
// `sums` are sums and coefficients while the parts run; `saved` are mean and inverse deviation until the backward pass.
import CKernels
import ResNetGraph

/// What the parts of one batch norm have in common.
struct NormShape: Sendable, Hashable {
    /// Of one image.
    let map: ImageShape
    var eps = 0.0
    var momentum = 0.0

    /// Floats of mean or deviations in `saved`: whole vectors.
    static func padded(_ channels: Int) -> Int { roundedUp(channels, to: 16) }
    var savedCount: Int { 2 * Self.padded(map.channels) }

    func description(_ run: Run, usesBatch: Bool = false, relu: Bool = false) -> ck_bn_desc {
        description(batch: run.images, threads: run.threads, usesBatch: usesBatch, relu: relu)
    }

    private func description(batch: Int, threads: Int32, usesBatch: Bool, relu: Bool) -> ck_bn_desc {
        let size = map.kernelSize
        return ck_bn_desc(
            batch: Int32(batch), channels: size.c, height: size.h, width: size.w, training: usesBatch ? 1 : 0,
            relu: relu ? 1 : 0, eps: eps, momentum: momentum, threads: threads)
    }

    /// Reads the sums of a run's images out of the value `sums`.
    func totals(_ sums: Address) -> TotalsReader {
        let shape = self
        return TotalsReader(count: 1 + 2 * map.channels) { run, totals in
            var description = shape.description(run, usesBatch: true)
            return ck_bn_totals(&description, sums.pointer(run, 0), totals)
        }
    }

    /// Of the value `sums`, which a step makes.
    func preparation(_ sums: Int, _ settings: KernelSettings) -> Preparation {
        var description = description(
            batch: settings.batch, threads: Int32(settings.threads), usesBatch: false, relu: false)
        return Preparation(sizes: [sums: ck_bn_workspace_size(&description)])
    }
}

/// Mean and 1 / sqrt(var + eps).
struct SavedStatistics: Sendable {
    let address: Address
    let channels: Int

    func mean(_ run: Run) -> UnsafeMutablePointer<Float> { address(run) }
    func invstd(_ run: Run) -> UnsafeMutablePointer<Float> { address(run) + NormShape.padded(channels) }
}

/// x -> sums
struct NormSums: StepOperation {
    let shape: NormShape

    var text: String { "bn sums" }

    func prepare(_ step: StepContext) -> Preparation { shape.preparation(step.step.outputs[0], step.settings) }

    func compile(_ step: StepContext) -> Kernel {
        let (x, sums, shape) = (step.input(0), step.output(0), shape)
        return { run, start, count in
            var description = shape.description(run, usesBatch: true)
            var arguments = ck_bn_forward_args()
            arguments.x = UnsafePointer(x(run, start))
            arguments.workspace = sums.pointer(run, 0)
            return ck_bn_forward_sums(&description, &arguments, Int32(start), Int32(count))
        }
    }
}

/// gamma, beta -> saved; sums, running mean, running variance change. Where the statistics are not the batch's:
/// gamma, beta, running mean, running variance -> saved, sums.
struct NormFinish: StepOperation {
    let shape: NormShape
    let usesBatch: Bool

    var text: String { "bn finish" }
    var isPerImage: Bool { false }
    var isHoisted: Bool { true }

    func prepare(_ step: StepContext) -> Preparation {
        usesBatch ? Preparation() : shape.preparation(step.step.outputs[1], step.settings)
    }

    func compile(_ step: StepContext) -> Kernel {
        let (gamma, beta) = (step.input(0), step.input(1))
        let saved = SavedStatistics(address: step.output(0), channels: shape.map.channels)
        let sums = usesBatch ? step.update(0) : step.output(1)
        let (mean, variance) = usesBatch ? (step.update(1), step.update(2)) : (step.input(2), step.input(3))
        let (shape, usesBatch) = (shape, usesBatch)
        return { run, _, _ in
            var description = shape.description(run, usesBatch: usesBatch)
            var arguments = ck_bn_forward_args()
            arguments.gamma = UnsafePointer(gamma(run))
            arguments.beta = UnsafePointer(beta(run))
            arguments.running_mean = mean(run)
            arguments.running_var = variance(run)
            arguments.mean = saved.mean(run)
            arguments.invstd = saved.invstd(run)
            arguments.workspace = sums.pointer(run, 0)
            arguments.totals = run.totals
            return ck_bn_forward_finish(&description, &arguments)
        }
    }

    func totals(_ step: StepContext) -> TotalsReader? { usesBatch ? shape.totals(step.update(0)) : nil }
}

/// x, [residual], gamma, beta, saved -> y; sums. In the backward pass, where y is computed again, sums are a second result.
struct NormApply: StepOperation {
    let shape: NormShape
    let relu: Bool
    let addsResidual: Bool

    var text: String { "bn" + (addsResidual ? " + add" : "") + (relu ? " + relu" : "") }
    var overwritable: [Int] { addsResidual ? [1, 0] : [0] }

    func prepare(_ step: StepContext) -> Preparation {
        step.step.outputs.count > 1 ? shape.preparation(step.step.outputs[1], step.settings) : Preparation()
    }

    func compile(_ step: StepContext) -> Kernel {
        let (x, y) = (step.input(0), step.output(0))
        let residual = addsResidual ? step.input(1) : nil
        let first = addsResidual ? 2 : 1
        let (gamma, beta) = (step.input(first), step.input(first + 1))
        let saved = SavedStatistics(address: step.input(first + 2), channels: shape.map.channels)
        let sums = step.step.outputs.count > 1 ? step.output(1) : step.update(0)
        let (shape, relu) = (shape, relu)
        return { run, start, count in
            var description = shape.description(run, relu: relu)
            var arguments = ck_bn_forward_args()
            arguments.gamma = UnsafePointer(gamma(run))
            arguments.beta = UnsafePointer(beta(run))
            arguments.mean = saved.mean(run)
            arguments.invstd = saved.invstd(run)
            arguments.x = UnsafePointer(x(run, start))
            if let residual { arguments.residual = UnsafePointer(residual(run, start)) }
            arguments.y = y(run, start)
            arguments.workspace = sums.pointer(run, 0)
            return ck_bn_forward_apply(&description, &arguments, Int32(count))
        }
    }
}
