// How long and how fast: epochs, the learning rate over time, what watches the run and what it does then.

import ArgumentParser
import ResNetSwift

/// `constant`, `cosine[:MINIMUM]`, `step:EPOCHS[:FACTOR]`, `milestones:A,B[:FACTOR]` (epochs, from 1), `one-cycle`.
struct ScheduleShape: ExpressibleByArgument {
    let shape: LearningRateSchedule.Shape

    init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        func number(_ index: Int, _ usual: Double) -> Double? {
            guard parts.count > index else { return usual }
            return Double(parts[index]).flatMap { $0 >= 0 && $0.isFinite ? $0 : nil }
        }
        switch (parts[0], parts.count) {
        case ("constant", 1): shape = .constant
        case ("cosine", 1...2):
            guard let minimum = number(1, 0) else { return nil }
            shape = .cosine(minimum: minimum)
        case ("step", 2...3):
            guard let epochs = Int(parts[1]), epochs > 0, let factor = number(2, 0.1) else { return nil }
            shape = .step(epochs: epochs, factor: factor)
        case ("milestones", 2...3):
            let epochs = parts[1].split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
            guard epochs.allSatisfy({ $0 > 0 }), let factor = number(2, 0.1) else { return nil }
            shape = .milestones(epochs.map { $0 - 1 }, factor: factor)
        case ("one-cycle", 1): shape = .oneCycle()
        default: return nil
        }
    }
}

struct ScheduleOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: ArgumentHelp("Passes over the training data.", valueName: "n"))
    var epochs = 10

    @Option(help: ArgumentHelp("Learning rate; default: 0.01 for sgd, 0.001 for adam and adamw.", valueName: "r"))
    var lr: Double?

    @Option(
        help: ArgumentHelp(
            "constant, cosine[:MINIMUM], step:EPOCHS[:FACTOR], milestones:A,B[:FACTOR] or one-cycle. Default: cosine, or with "
                + "--plateau constant.", valueName: "shape"))
    var schedule: ScheduleShape?

    @Option(help: ArgumentHelp("Epochs of warm-up in which the learning rate rises, e.g. 0.5.", valueName: "n"))
    var warmUp = 0.0

    @Option(help: ArgumentHelp("Batches whose gradients make one update.", valueName: "n"))
    var accumulate = 1

    @Option(
        help: ArgumentHelp("Validate and keep a moving average of the weights, e.g. 0.999.", valueName: "decay"))
    var ema: Double?

    @Option(
        help: ArgumentHelp(
            "Train the head alone first, then one more stage every this many epochs.", valueName: "epochs"))
    var unfreezeEvery: Int?

    @Option(
        help: ArgumentHelp(
            "The value to watch: val_loss, val_top1, val_topk, val_f1, or the same without val_.", valueName: "name"))
    var monitor: String?

    @Option(
        help: ArgumentHelp(
            "Stop after this many epochs without improvement, with the best weights.", valueName: "epochs"))
    var earlyStopping: Int?

    @Option(
        help: ArgumentHelp("The least change that counts as improvement (early stopping, plateau).", valueName: "d"))
    var minDelta: Double?

    @Option(
        help: ArgumentHelp("Lower the learning rate after this many epochs without improvement.", valueName: "epochs"))
    var plateau: Int?

    @Option(help: ArgumentHelp("Multiply the learning rate by this on a plateau.", valueName: "f"))
    var plateauFactor = 0.1

    @Option(help: ArgumentHelp("Epochs to wait after a reduction before counting again.", valueName: "epochs"))
    var cooldown = 0

    @Option(help: ArgumentHelp("Never lower the learning rate below this.", valueName: "r"))
    var minLr = 0.0

    @Option(help: ArgumentHelp("The k of top-k.", valueName: "n"))
    var top = 5

    func validate() throws {
        func require(_ holds: Bool, _ option: String, _ expected: String, _ found: Any) throws {
            if !holds { throw ValidationError("\(option) must be \(expected), not \(found).") }
        }
        try require(1...1_000_000 ~= epochs, "--epochs", "1 to 1000000", epochs)
        try require(lr ?? 1 > 0 && (lr ?? 1).isFinite, "--lr", "positive", lr ?? 1)
        try require(warmUp >= 0 && warmUp <= Double(epochs), "--warm-up", "0 to the number of epochs", warmUp)
        try require(accumulate >= 1, "--accumulate", "at least 1", accumulate)
        try require((0..<1).contains(ema ?? 0), "--ema", "0 or more and below 1", ema ?? 0)
        try require(unfreezeEvery ?? 1 >= 1, "--unfreeze-every", "at least 1", unfreezeEvery ?? 1)
        try require(earlyStopping ?? 1 >= 0, "--early-stopping", "0 or more", earlyStopping ?? 0)
        try require(plateau ?? 1 >= 0, "--plateau", "0 or more", plateau ?? 0)
        try require(plateauFactor > 0 && plateauFactor < 1, "--plateau-factor", "between 0 and 1", plateauFactor)
        try require(cooldown >= 0, "--cooldown", "0 or more", cooldown)
        try require(minLr >= 0 && minLr.isFinite, "--min-lr", "0 or more", minLr)
        try require((minDelta ?? 0) >= 0, "--min-delta", "0 or more", minDelta ?? 0)
        try require(top >= 1, "--top", "at least 1", top)
        if let monitor, Monitor(monitor) == nil {
            throw ValidationError(
                "--monitor must be val_loss, val_top1, val_topk, val_f1, or one of them without val_, not '\(monitor)'."
            )
        }
        if case .oneCycle? = schedule?.shape, warmUp > 0 {
            throw ValidationError("--schedule one-cycle has a warm-up of its own; leave out --warm-up.")
        }
    }

    private var shape: LearningRateSchedule.Shape { schedule?.shape ?? (plateau == nil ? .cosine() : .constant) }

    /// The run's settings but for where it is kept.
    func settings(_ setup: TrainingSetup, usualRate: Double, seed: UInt64) throws -> TrainingSettings {
        var settings = TrainingSettings(
            epochs: epochs, learningRate: lr ?? usualRate, accumulation: accumulate, seed: seed, averageDecay: ema,
            topK: top)
        settings.schedule = LearningRateSchedule(shape, warmUpEpochs: warmUp)
        settings.monitor =
            monitor.flatMap { Monitor($0) } ?? Monitor(.loss, ofValidation: setup.data.validation != nil)
        return settings
    }

    var callbacks: [any TrainingCallback] {
        var callbacks: [any TrainingCallback] = []
        if let earlyStopping {
            callbacks.append(EarlyStopping(minDelta: minDelta ?? 0, patience: earlyStopping))
        }
        if let plateau {
            callbacks.append(
                ReduceLROnPlateau(
                    factor: plateauFactor, patience: plateau, minDelta: minDelta ?? 1e-4, cooldown: cooldown,
                    minLR: minLr))
        }
        return callbacks
    }
}
