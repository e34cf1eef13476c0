// What training starts from: a network by name or by weights, made to fit the data, and the part of it that stays as it is.

import ArgumentParser
import ResNetSwift

struct StartOptions: ParsableArguments {
    @Option(
        name: .shortAndLong, help: ArgumentHelp("The model, e.g. resnet18; weights must fit it.", valueName: "name"))
    var model: String?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "Weights to start from: .pth, .safetensors, .npz or .onnx, or a folder. Without them the model gets random ones.",
            valueName: "file"))
    var weights: String?
    @OptionGroup var part: WeightPartOptions

    @Option(
        help: ArgumentHelp(
            "What to freeze: none, allButHead, upTo:layer2, firstLayers:3, keras:80, or names and globs separated by commas.",
            valueName: "policy"))
    var freeze = "none"

    @Flag(help: "Keep updating the running statistics of frozen batch norms.")
    var updateStatistics = false

    @Option(
        help: ArgumentHelp(
            "The layers after the last feature map: linear, dropout:P, or hidden:WIDTH:P (linear, ReLU, dropout, linear); hidden:512,128:P has several such layers.",
            valueName: "kind"))
    var head: HeadKind?

    @Flag(help: "Start with a new last layer even if the weights' own fits the classes.")
    var newHead = false

    @Flag(help: "With random weights: start residual blocks as the identity.")
    var zeroInitResidual = false

    func validate() throws {
        if weights == nil && model == nil { throw ValidationError("Give --model, --weights or both.") }
        if weights != nil && zeroInitResidual {
            throw ValidationError("--zero-init-residual is for random weights, not for --weights.")
        }
        do { _ = try policy } catch { throw ValidationError("--freeze: \(error).") }
    }

    var policy: FreezePolicy { get throws { try FreezePolicy(parsing: freeze) } }

    /// The network of the weight file; nil where random weights are wanted.
    func load() throws -> Classifier? {
        guard let weights else { return nil }
        let loaded = try Classifier.open(weights, named: model, part, ClassifierOptions())
        guard loaded.isKnownByName else {
            throw ToolError(
                "\(weights): expected a network that checkpoints can be read into, found one that only this ONNX file describes; "
                    + "train from the weights it was exported from")
        }
        return loaded
    }

    /// The network with as many channels and classes as the data have, and with the policy's parts frozen.
    func model(
        from loaded: Classifier?, dataset: Dataset, channels: Int, size: Size2, seed: UInt64
    ) throws -> (model: Model, name: String, notes: [String]) {
        let classes = dataset.classNames
        var notes: [String] = []
        guard let loaded else {
            let known = try ModelName(named: model ?? "")
            let made = try known.model(
                classes: classes.count, inputChannels: channels, inputSize: size, seed: seed,
                zeroInitResidual: zeroInitResidual)
            guard let head, head != .linear else { return (try freezing(made, size), known.rawValue, notes) }
            let headed = try made.replacingHead(
                with: head, classes: classes.count, seed: seed, scheme: known.initialization)
            return (try freezing(headed, size), known.rawValue, notes)
        }
        var fitted = loaded.model
        fitted.labelThresholds = nil
        fitted.metadata[MetadataKey.trained] = nil
        let (had, names) = (loaded.inputChannels, loaded.model.classNames)
        if had != channels {
            fitted = try fitted.adaptingInputChannels(channels)
            notes.append("the first convolution of \(loaded.origin) is adapted from \(had) to \(channels) channels")
        }
        if let head, head != fitted.headKind || newHead {
            fitted = try fitted.replacingHead(with: head, classes: classes.count, seed: seed)
            notes.append("\(loaded.origin) gets a new head, \(head), for classes \(Self.list(classes))")
        } else if newHead || loaded.classCount != classes.count || (names != nil && names != classes) {
            fitted = try fitted.replacingHead(classes: classes.count, seed: seed)
            let why = loaded.classCount == classes.count && names == classes ? "as asked for" : "for other classes"
            notes.append("the last layer of \(loaded.origin) is replaced, \(why): \(Self.list(classes))")
        }
        return (try freezing(fitted, size), loaded.name, notes)
    }

    private func freezing(_ model: Model, _ size: Size2) throws -> Model {
        try model.freezing(policy, updatesStatistics: updateStatistics, input: size)
    }

    /// `10, zero, one, two...`
    static func list(_ names: [String]) -> String { "\(names.count), \(first(names))" }

    static func first(_ names: [String]) -> String {
        "\(names.prefix(3).joined(separator: ", "))\(names.count > 3 ? "..." : "")"
    }
}

// Of this package.
// swift-format-ignore: AvoidRetroactiveConformances
extension HeadKind: ExpressibleByArgument {}
