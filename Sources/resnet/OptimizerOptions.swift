// What is minimized and how a gradient changes the parameters: loss, optimizer, learning-rate groups.

import ArgumentParser
import ResNetSwift

enum OptimizerName: String, ExpressibleByArgument, CaseIterable { case sgd, adam, adamw }

/// `none`, `auto`, or a weight for each class.
enum ClassWeighting: ExpressibleByArgument {
    case none, auto
    case values([Float])

    init?(argument: String) {
        switch argument {
        case "none": self = .none
        case "auto": self = .auto
        default:
            guard let values: [Float] = argument.numbers(), values.allSatisfy({ $0 >= 0 && $0.isFinite }) else {
                return nil
            }
            self = .values(values)
        }
    }
}

/// `stem=0.1,layer1=0.3`: factors of the learning rate by stage.
struct StageRates: ExpressibleByArgument {
    let scales: [String: Float]

    init?(argument: String) {
        var scales: [String: Float] = [:]
        for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
            let sides = part.split(separator: "=", omittingEmptySubsequences: false)
            guard sides.count == 2, !sides[0].isEmpty, let scale = Float(sides[1]), scale >= 0, scale.isFinite,
                scales.updateValue(scale, forKey: String(sides[0])) == nil
            else { return nil }
        }
        self.scales = scales
    }
}

struct OptimizerOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: ArgumentHelp("Pictures at a time.", valueName: "n"))
    var batch = 32

    @Option(help: ArgumentHelp("sgd, adam or adamw.", valueName: "name"))
    var optimizer = OptimizerName.sgd

    @Option(help: ArgumentHelp("Momentum of SGD.", valueName: "m"))
    var momentum: Float?

    @Flag(help: "Nesterov's momentum (sgd).")
    var nesterov = false

    @Option(
        help: ArgumentHelp("Weight decay; default: 1e-4 (sgd), 0 (adam), 0.01 (adamw).", valueName: "d"))
    var weightDecay: Float?

    @Flag(help: "No weight decay for biases and batch norms.")
    var spareNorms = false

    @Option(help: ArgumentHelp("Spread this share of the label over all classes.", valueName: "s"))
    var labelSmoothing: Float = 0

    @Option(
        help: ArgumentHelp(
            "none, auto (rare classes count more; from the training part only), or numbers separated by commas. For several "
                + "labels a picture they weigh the positives of each label.", valueName: "w"))
    var classWeights = ClassWeighting.none

    @Option(help: ArgumentHelp("Clip the gradient to this norm.", valueName: "norm"))
    var clip: Float?

    @Option(
        help: ArgumentHelp(
            "Multiply the learning rate by this for each stage further from the head, e.g. 0.5.", valueName: "d"))
    var layerDecay: Float?

    @Option(
        help: ArgumentHelp("Factors of the learning rate by stage: stem=0.1,layer1=0.3.", valueName: "list"))
    var stageRates: StageRates?

    @Option(
        help: ArgumentHelp(
            "Use less memory and more time: keep all activations (none), or only those between blocks or stages.",
            valueName: "what"))
    var checkpointing = Checkpointing.none

    @Option(name: .shortAndLong, help: ArgumentHelp("Threads; 0 means the physical cores.", valueName: "n"))
    var threads = 0

    @Option(help: ArgumentHelp("strict, default or fast, as in `classify`.", valueName: "how"))
    var accuracy = Accuracy.default

    func validate() throws {
        try checkBatch(batch)
        func require(_ holds: Bool, _ option: String, _ expected: String, _ found: Any) throws {
            if !holds { throw ValidationError("\(option) must be \(expected), not \(found).") }
        }
        try require(0...1024 ~= threads, "--threads", "0 to 1024", threads)
        if optimizer != .sgd && (momentum != nil || nesterov) {
            throw ValidationError("--momentum and --nesterov are for --optimizer sgd.")
        }
        let momentum = momentum ?? 0.9
        try require(momentum >= 0 && momentum < 1, "--momentum", "0 or more and below 1", momentum)
        if nesterov && momentum == 0 { throw ValidationError("--nesterov needs a momentum.") }
        let decay = weightDecay ?? 0
        try require(decay >= 0 && decay.isFinite, "--weight-decay", "0 or more", decay)
        try require(
            labelSmoothing >= 0 && labelSmoothing < 1, "--label-smoothing", "0 or more and below 1", labelSmoothing)
        try require(clip ?? 1 > 0 && (clip ?? 1).isFinite, "--clip", "positive", clip ?? 1)
        let layer = layerDecay ?? 1
        try require(layer > 0 && layer <= 1, "--layer-decay", "above 0, up to 1", layer)
        if layerDecay != nil && stageRates != nil {
            throw ValidationError("Give --layer-decay or --stage-rates, not both.")
        }
    }

    /// A usual start for the optimizer.
    var usualLearningRate: Double { optimizer == .sgd ? 0.01 : 0.001 }

    func plan(_ graph: Graph, training: DatasetSlice, seed: UInt64) throws -> OptimizationPlan {
        OptimizationPlan(
            loss: try loss(training), optimizer: method, groups: try groups(graph), gradientNormLimit: clip, seed: seed)
    }

    private var method: Optimizer {
        switch optimizer {
        case .sgd: .sgd(momentum: momentum ?? 0.9, nesterov: nesterov)
        case .adam: .adam()
        case .adamw: .adamW()
        }
    }

    private func groups(_ graph: Graph) throws -> [ParameterGroup] {
        let usual: Float =
            switch optimizer {
            case .sgd: 1e-4
            case .adam: 0
            case .adamw: 0.01
            }
        let decay = weightDecay ?? usual
        if let layerDecay {
            return ParameterGroup.layerwiseDecay(
                graph, decay: layerDecay, weightDecay: decay, decaysAll: !spareNorms)
        }
        if let stageRates {
            let stages = graph.stages.map(\.name)
            if let unknown = stageRates.scales.keys.sorted().first(where: { !stages.contains($0) }) {
                throw ToolError(
                    "--stage-rates: expected stages (\(stages.joined(separator: ", "))), found '\(unknown)'")
            }
            return try ParameterGroup.byStage(
                graph, scales: stageRates.scales, weightDecay: decay, decaysAll: !spareNorms)
        }
        return ParameterGroup.single(graph, weightDecay: decay, decaysAll: !spareNorms)
    }

    private func loss(_ training: DatasetSlice) throws -> Loss {
        let count = training.dataset.classNames.count
        let weights: [Float]?
        switch classWeights {
        case .none: weights = nil
        case .auto:
            weights = training.dataset.isMultiLabel ? training.balancedPositiveWeights : training.balancedClassWeights
        case .values(let values):
            guard values.count == count else {
                throw ToolError(
                    "--class-weights: expected \(count) numbers, as there are classes, found \(values.count)")
            }
            guard values.contains(where: { $0 > 0 }) else {
                throw ToolError("--class-weights: expected a weight above 0, found only zeros: nothing would train")
            }
            weights = values
        }
        guard training.dataset.isMultiLabel else {
            return .crossEntropy(labelSmoothing: labelSmoothing, classWeights: weights)
        }
        guard labelSmoothing == 0 else {
            throw ToolError("--label-smoothing: expected one class a picture, found several labels")
        }
        return .binaryCrossEntropy(positiveWeights: weights)
    }
}

// All are of this package.
// swift-format-ignore: AvoidRetroactiveConformances
extension Checkpointing: ExpressibleByArgument {}
