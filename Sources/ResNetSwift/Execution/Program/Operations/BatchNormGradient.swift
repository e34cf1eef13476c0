// What a batch norm passes back, in parts as its forward pass. The bias of a convolution is treated as a batch norm of
// which only the shift trains.
//
//     sums over dy and x  ->  finish: gradients of scale and shift, coefficients  ->  apply: dx = a dy + b x + c
import CKernels

/// What the backward pass of a batch norm computes; the same in all of its parts.
struct NormGradient: Sendable, Hashable {
    let shape: NormShape
    /// The mean and the variance are the batch's.
    let usesBatch: Bool
    /// ReLU follows.
    let relu: Bool
    /// The mask of the ReLU comes from its result and is applied to the gradient in place; else it is computed again.
    let masksInPlace: Bool
    let scaleTrains: Bool
    let shiftTrains: Bool
    var isBias = false
    /// Of the parameter whose gradient the scale's is.
    var scaleName = "weight"

    var hasSums: Bool { usesBatch || scaleTrains || shiftTrains || masksInPlace }
    /// The part reads x besides the gradient.
    var sumsReadX: Bool { usesBatch || scaleTrains || (relu && !masksInPlace) }
    var applyReadsX: Bool { usesBatch || (relu && !masksInPlace) }
}

/// Operands of every part, the last of its inputs: saved, [gamma, beta].
private struct NormGradientOperands: Sendable {
    private let saved: SavedStatistics
    private let affine: (gamma: Address, beta: Address)?

    init(_ step: StepContext, _ gradient: NormGradient) {
        let first = step.step.inputs.count - (gradient.isBias ? 1 : 3)
        saved = SavedStatistics(address: step.input(first), channels: gradient.shape.map.channels)
        affine = gradient.isBias ? nil : (step.input(first + 1), step.input(first + 2))
    }

    func arguments(_ run: Run, sums: Address) -> ck_bn_backward_args {
        var arguments = ck_bn_backward_args()
        if let affine {
            arguments.gamma = UnsafePointer(affine.gamma(run))
            arguments.beta = UnsafePointer(affine.beta(run))
        }
        arguments.mean = UnsafePointer(saved.mean(run))
        arguments.invstd = UnsafePointer(saved.invstd(run))
        arguments.workspace = sums.pointer(run, 0)
        return arguments
    }
}

/// dy, [x], saved, [gamma, beta] -> sums; where it masks in place: y, [x], saved, [gamma, beta] -> sums, and dy is masked.
struct NormGradientSums: StepOperation {
    let gradient: NormGradient

    var text: String { gradient.isBias ? "bias sums" : "bn sums" }

    func prepare(_ step: StepContext) -> Preparation {
        gradient.shape.preparation(step.step.outputs[0], step.settings)
    }

    func compile(_ step: StepContext) -> Kernel {
        let gradient = gradient
        let operands = NormGradientOperands(step, gradient)
        let dy = gradient.masksInPlace ? step.update(0) : step.input(0)
        let y = gradient.masksInPlace ? step.input(0) : nil
        let x = gradient.sumsReadX ? step.input(1) : nil
        let sums = step.output(0)
        return { run, start, count in
            var description = gradient.shape.description(run, usesBatch: gradient.usesBatch, relu: gradient.relu)
            var arguments = operands.arguments(run, sums: sums)
            arguments.dy = UnsafePointer(dy(run, start))
            if let x { arguments.x = UnsafePointer(x(run, start)) }
            if let y {
                arguments.y = UnsafePointer(y(run, start))
                arguments.dresidual = dy(run, start)
            }
            // Not written here: that they are there says what to sum up.
            if gradient.scaleTrains { arguments.dgamma = sums(run) }
            if gradient.shiftTrains { arguments.dbeta = sums(run) }
            return ck_bn_backward_sums(&description, &arguments, Int32(start), Int32(count))
        }
    }
}

/// saved, [gamma, beta] -> ; sums, [dgamma], [dbeta]. Where there were no sums: -> sums; [dgamma], [dbeta].
struct NormGradientFinish: StepOperation {
    let gradient: NormGradient

    var text: String { gradient.isBias ? "bias finish" : "bn finish" }
    var isPerImage: Bool { false }
    var isHoisted: Bool { true }

    func prepare(_ step: StepContext) -> Preparation {
        step.step.outputs.first.map { gradient.shape.preparation($0, step.settings) } ?? Preparation()
    }

    func compile(_ step: StepContext) -> Kernel {
        let gradient = gradient
        let operands = NormGradientOperands(step, gradient)
        let hadSums = step.step.outputs.isEmpty
        let sums = hadSums ? step.update(0) : step.output(0)
        var updates = (hadSums ? 1 : 0)..<step.step.updates.count
        let dgamma = gradient.scaleTrains ? updates.popFirst().map(step.update) : nil
        let dbeta = gradient.shiftTrains ? updates.popFirst().map(step.update) : nil
        let channels = gradient.shape.map.channels
        return { run, _, _ in
            run.store(dgamma, channels) { dgamma in
                run.store(dbeta, channels, at: NormShape.padded(channels)) { dbeta in
                    var description = gradient.shape.description(run, usesBatch: gradient.usesBatch)
                    var arguments = operands.arguments(run, sums: sums)
                    arguments.dgamma = dgamma
                    arguments.dbeta = dbeta
                    arguments.totals = run.totals
                    return ck_bn_backward_finish(&description, &arguments)
                }
            }
        }
    }

    func totals(_ step: StepContext) -> TotalsReader? {
        gradient.usesBatch ? gradient.shape.totals(step.update(0)) : nil
    }
}

/// dy, sums, [x], saved, gamma, beta -> dx
struct NormGradientApply: StepOperation {
    let gradient: NormGradient

    var text: String { "bn dx" }
    var overwritable: [Int] { gradient.applyReadsX ? [0, 2] : [0] }

    func compile(_ step: StepContext) -> Kernel {
        let gradient = gradient
        let operands = NormGradientOperands(step, gradient)
        let (dy, sums, dx) = (step.input(0), step.input(1), step.output(0))
        let x = gradient.applyReadsX ? step.input(2) : nil
        // What is masked already needs no mask.
        let relu = gradient.relu && !gradient.masksInPlace
        return { run, start, count in
            var description = gradient.shape.description(run, usesBatch: gradient.usesBatch, relu: relu)
            var arguments = operands.arguments(run, sums: sums)
            arguments.dy = UnsafePointer(dy(run, start))
            if let x { arguments.x = UnsafePointer(x(run, start)) }
            arguments.dx = dx(run, start)
            return ck_bn_backward_apply(&description, &arguments, Int32(count))
        }
    }
}
