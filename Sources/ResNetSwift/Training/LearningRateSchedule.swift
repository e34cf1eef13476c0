// The learning rate as a function of the update, in closed form: nothing to save, a resumed run finds its place by counting.
//
//     constant      ---------      cosine     --__          one-cycle     /\
//     warm-up   ___/               step       --.__.__                 __/  \___
//
// Formulas of torch.optim.lr_scheduler: StepLR and MultiStepLR (by epoch), CosineAnnealingLR and OneCycleLR (by update),
// LinearLR for the warm-up. With cosine, the annealing begins where the warm-up ends (SequentialLR); the others are
// multiplied by it (ChainedScheduler).

import Glibc

/// The learning rate as a function of the update, in closed form: there is nothing to save, a resumed run counts.
public struct LearningRateSchedule: Sendable, Hashable {
    /// What the rate does after the warm-up; torch.optim.lr_scheduler's formulas.
    public enum Shape: Sendable, Hashable {
        /// The base rate.
        case constant
        /// Times `factor` after every so many epochs.
        case step(epochs: Int, factor: Double)
        /// Times `factor` at the beginning of each of these epochs, counted from 0.
        case milestones([Int], factor: Double)
        /// Half a cosine from the base rate to `minimum` at the last update.
        case cosine(minimum: Double = 0)
        /// From base / `startDivisor` up to the base rate and down to base / (`startDivisor` * `endDivisor`) (Smith and
        /// Topin, 2018). The momentum goes the other way where a range is given.
        case oneCycle(
            rise: Double = 0.3, startDivisor: Double = 25, endDivisor: Double = 1e4,
            momentum: ClosedRange<Double>? = 0.85...0.95)
    }

    /// After the warm-up.
    public var shape: Shape
    /// Updates over which the rate rises linearly from `warmUpFactor` times its value; 0 means none.
    public var warmUpUpdates: Int
    /// The same in epochs, which need not be whole; added to `warmUpUpdates`.
    public var warmUpEpochs: Double
    /// What the warm-up begins with, as a part of the rate.
    public var warmUpFactor: Double

    /// A shape, and a linear warm-up before it.
    /// - Precondition: numbers that make sense; one-cycle takes no warm-up, as it has its own.
    public init(
        _ shape: Shape = .constant, warmUpUpdates: Int = 0, warmUpEpochs: Double = 0, warmUpFactor: Double = 0.01
    ) {
        precondition(
            warmUpUpdates >= 0 && warmUpEpochs >= 0 && warmUpEpochs < 1e6 && warmUpFactor > 0 && warmUpFactor <= 1,
            "a warm-up rises from above 0 to 1")
        if case .oneCycle(let rise, let start, let end, _) = shape {
            precondition(warmUpUpdates == 0 && warmUpEpochs == 0, "one-cycle has a warm-up of its own")
            precondition(rise > 0 && rise < 1 && start >= 1 && end >= 1, "one-cycle rises, then falls")
        }
        if case .step(let epochs, _) = shape { precondition(epochs > 0, "a step takes at least one epoch") }
        self.shape = shape
        self.warmUpUpdates = warmUpUpdates
        self.warmUpEpochs = warmUpEpochs
        self.warmUpFactor = warmUpFactor
    }

    /// - Parameters:
    ///   - base: the learning rate of the settings.
    ///   - update: from 0, over the whole run.
    ///   - updatesPerEpoch, epochs: of the whole run.
    func rate(base: Double, update: Int, updatesPerEpoch: Int, epochs: Int) -> Double {
        let total = updatesPerEpoch * epochs
        let epoch = updatesPerEpoch > 0 ? update / updatesPerEpoch : 0
        let warming = warmUpUpdates + Int((warmUpEpochs * Double(updatesPerEpoch)).rounded())
        func warmUp(_ update: Int) -> Double {
            guard update < warming else { return 1 }
            return warmUpFactor + (1 - warmUpFactor) * Double(update) / Double(warming)
        }
        switch shape {
        case .constant: return base * warmUp(update)
        case .step(let every, let factor): return base * pow(factor, Double(epoch / every)) * warmUp(update)
        case .milestones(let milestones, let factor):
            return base * pow(factor, Double(milestones.count { $0 <= epoch })) * warmUp(update)
        case .cosine(let minimum):
            if update < warming { return base * warmUp(update) }
            let length = max(total - warming, 1)
            return anneal(base, minimum, min(Double(update - warming) / Double(length), 1))
        case .oneCycle(let rise, let startDivisor, let endDivisor, _):
            let start = base / startDivisor
            let (isRising, part) = cyclePart(update, total, rise)
            return isRising ? anneal(start, base, part) : anneal(base, start / endDivisor, part)
        }
    }

    /// The momentum where the schedule moves it.
    func momentum(update: Int, updatesPerEpoch: Int, epochs: Int) -> Double? {
        guard case .oneCycle(let rise, _, _, let range?) = shape else { return nil }
        let (isRising, part) = cyclePart(update, updatesPerEpoch * epochs, rise)
        return isRising
            ? anneal(range.upperBound, range.lowerBound, part) : anneal(range.lowerBound, range.upperBound, part)
    }

    /// Which half of the cycle, and how much of it is over. The turn is at rise * total - 1, the end at total - 1; in runs of
    /// a few updates the turn lies before the first one, as in PyTorch.
    private func cyclePart(_ update: Int, _ total: Int, _ rise: Double) -> (isRising: Bool, part: Double) {
        let turn = rise * Double(total) - 1
        let end = Double(total - 1)
        let now = min(Double(update), end)
        if now <= turn { return (true, turn > 0 ? now / turn : 1) }
        return (false, (now - turn) / (end - turn))
    }

    private func anneal(_ from: Double, _ to: Double, _ part: Double) -> Double {
        to + (from - to) / 2 * (1 + cos(Double.pi * part))
    }
}
