// From a file to a running model when nobody says which model it is.

import ResNetGraph
import ResNetModels

extension Model {
    /// The model that a weight file is of, with all its weights.
    ///
    /// The model is the one asked for; otherwise the one that a checkpoint of this library names; otherwise the one that the
    /// names and shapes show. Classes and input channels always follow the file's shapes. A file without a classifier gives
    /// a backbone (`Graph.isBackbone`).
    /// - Throws: `unsupported` where the model is none that is known, `ambiguous` where there are several, `otherNetwork`
    ///   where it is said to be another of the same shapes, `doesNotFit` where the weights are not the model's, `classNames`
    ///   where the names stored with them are more or fewer than the classes.
    public init(from file: WeightFile, named name: ModelName? = nil) throws(WeightFileError) {
        try self.init(from: file, named: name, checksClassNames: true)
    }

    /// - Parameter checksClassNames: false for those who bring names of their own.
    package init(
        from file: WeightFile, named name: ModelName? = nil, checksClassNames: Bool
    ) throws(WeightFileError) {
        let (graph, told) = try file.graph(named: name)
        try self.init(graph: graph, from: file, network: checksClassNames ? told : nil)
        metadata[MetadataKey.model] = told
        if metadata[MetadataKey.head] == nil, case .hidden(let layers)? = file.selection.root?.head {
            metadata[MetadataKey.head] = "\(file.hiddenHead(layers: layers))"
        }
    }
}

extension WeightFile {
    /// No file says it, and inference does not need it.
    static let assumedDropout = 0.5

    /// The network that these weights are of, and what it is called: the one asked for; otherwise the one that a checkpoint
    /// of this library names; otherwise the one that names and shapes show, published or not. Its parameters need not be
    /// those of the file: see `report(for:)`.
    /// - Throws: `unsupported` where the model is none that is known, `ambiguous` where there are several, `otherNetwork`
    ///   where it is said to be another of the same shapes.
    public func graph(named name: ModelName? = nil) throws(WeightFileError) -> (graph: Graph, name: String) {
        try naming(path) { () throws(WeightFault) in
            if let refusal { throw refusal }
            let found = try network(named: name)
            if let other = PickledModuleCheck(modules, entries, prefix: prefix).difference(from: found.graph) {
                throw .otherNetwork(other)
            }
            return found
        }
    }

    /// Why these weights are not taken, whatever the shapes say.
    var refusal: WeightFault? {
        if !selection.choices.isEmpty { return .ambiguous(choices: selection.choices) }
        if let other = NetworkClaim.otherNetwork(claims) { return .otherNetwork(other) }
        if let reason = config?.unsupported { return .otherNetwork("\(ModelConfig.fileName): \(reason)") }
        if let text = facts[MetadataKey.variant], NetworkVariant(rawValue: text) == nil {
            return .otherNetwork("the variant '\(text)'")
        }
        if case .unclear(let what)? = selection.root?.head { return .unsupported(what) }
        return nil
    }

    private func network(named name: ModelName?) throws(WeightFault) -> (graph: Graph, name: String) {
        let noted = facts[MetadataKey.model]
        let isOurs = OwnFacts.areOurs(metadata)
        let own = isOurs ? noted.flatMap(ModelName.init(rawValue:)) : nil
        if let known = name ?? own ?? NetworkClaim.model(claims) {
            return (try graph(of: known), known.rawValue)
        }
        if let found = try preActivated() { return found }
        if let config = DaViTConfig(entries) {
            if let known = config.publishedName { return (try graph(of: known), known.rawValue) }
            return (try graph(of: config, default: 1000), "DaViT")
        }
        if let config = ConvNeXtConfig(entries) {
            return (try graph(of: config), config == .tiny ? ModelName.convnext_tiny.rawValue : "ConvNeXt")
        }
        do throws(WeightFault) {
            let guess = try ModelGuess(entries)
            if let known = guess.name.flatMap(ModelName.init(rawValue:)) {
                return (try graph(of: known), known.rawValue)
            }
            let graph = try guess.graph(
                head: try head(), stridesInFirstConvolution: variant == .stridesInFirstConvolution)
            return (graph, isOurs ? noted ?? graph.modelName : graph.modelName)
        } catch {
            // Shapes show ResNets only. A name shows the others, if everything fits it.
            guard let known = noted.flatMap(ModelName.init(rawValue:)), let graph = try? graph(of: known),
                report(for: graph).isComplete
            else {
                throw ForeignNetwork.name(entries.networkShapes).map {
                    .unsupported("the weights are of no network that is known here, but of \($0)")
                } ?? error
            }
            return (graph, known.rawValue)
        }
    }

    /// The pre-activation ResNet whose names and shapes these are; nil where they are of another kind.
    private func preActivated() throws(WeightFault) -> (graph: Graph, name: String)? {
        guard entry(named: "stages.0.blocks.0.norm1.running_mean") != nil else {
            let isNormed = entry(named: "stages.0.blocks.0.norm1.weight") != nil && entry(named: "norm.weight") != nil
            guard isNormed, entry(named: "stages.0.blocks.0.conv1.weight") != nil else { return nil }
            throw .unsupported(LoadPlan.withoutStatistics)
        }
        for name in ModelName.allCases where name.isPreActivated {
            let graph = try graph(of: name)
            if report(for: graph).isComplete { return (graph, name.rawValue) }
        }
        throw .unsupported("a pre-activation ResNet of other depths or widths than timm's")
    }

    private var variant: NetworkVariant? { facts[MetadataKey.variant].flatMap(NetworkVariant.init(rawValue:)) }

    /// The graph of a model with as many classes and input channels as the file's first convolution and classifier have.
    private func graph(of name: ModelName) throws(WeightFault) -> Graph {
        do {
            let plain = try name.graph()
            let stem = plain.parameters.first { $0.role == .convWeight }.flatMap { entry(named: $0.name) }
            let channels = stem.flatMap { $0.shape.count == 4 ? $0.shape[1] : nil } ?? plain.inputChannels ?? 3
            guard 1...4096 ~= channels else { throw WeightFault.unsupported("\(channels) input channels") }
            if let graph = name.graph(
                head: try head(defaultClasses: name.defaultClasses), inputChannels: channels,
                stridesInFirstConvolution: variant == .stridesInFirstConvolution)
            {
                return graph
            }
            if let config = name.daViT(name.defaultInputSize) {
                return try graph(of: config, default: name.defaultClasses)
            }
            if name == .convnext_tiny { return try graph(of: ConvNeXtConfig.tiny) }
            let classifier = plain.parameters.last { $0.role == .linearWeight }.flatMap { entry(named: $0.name) }
            let own = try name.graph(classes: classifier?.shape.first, inputChannels: channels)
            if name == .googlenet, hasNoClassifier(plain) { return try own.replacingHead(with: .features).graph }
            guard let kind = try noteOfHead() else { return own }
            return try own.replacingHead(with: kind.head(classes: try classCount(of: kind))).graph
        } catch let fault as WeightFault { throw fault } catch { throw .unsupported("\(error)") }
    }

    /// A DaViT as the file's names and notes have it.
    private func graph(of config: DaViTConfig, default classes: Int) throws(WeightFault) -> Graph {
        var config = config
        if entry(named: "norm_pre.weight") != nil {
            config.normalizesMap = true
        } else if entry(named: "head.norm.weight") != nil {
            config.normalizesMap = false
        }
        if let text = facts[MetadataKey.window] {
            let sides = text.split(separator: "x").compactMap { Int($0) }
            guard sides.count == 2, sides.allSatisfy({ 1...4096 ~= $0 }) else {
                throw .unsupported("windows of '\(text)'")
            }
            config.window = Size2(sides[0], sides[1])
        }
        let (found, channels) = try classesAndChannels(stem: "stem.conv.weight", default: classes)
        return try withHead(config.graph(classes: found, inputChannels: channels))
    }

    private func graph(of config: ConvNeXtConfig) throws(WeightFault) -> Graph {
        let (found, channels) = try classesAndChannels(stem: "stem.0.weight", default: 1000)
        return try withHead(config.graph(classes: found, inputChannels: channels))
    }

    /// What timm's classifier and first convolution show.
    private func classesAndChannels(
        stem: String, default classes: Int
    ) throws(WeightFault) -> (classes: Int, channels: Int) {
        let found = entry(named: "head.fc.weight")?.shape.first ?? classes
        let channels = entry(named: stem).flatMap { $0.shape.count == 4 ? $0.shape[1] : nil } ?? 3
        guard 1...1_000_000 ~= found else { throw .unsupported("\(found) classes") }
        guard 1...4096 ~= channels else { throw .unsupported("\(channels) input channels") }
        return (found, channels)
    }

    /// The network with timm's head, or with the one that the file has instead.
    private func withHead(_ own: Graph) throws(WeightFault) -> Graph {
        let head: Head
        if let kind = try noteOfHead() {
            head = kind.head(classes: try classCount(of: kind))
        } else if hasNoClassifier(own) {
            head = entry(named: "fc.weight") == nil ? .features : .linear(classes: try classCount(of: .linear))
        } else {
            return own
        }
        do throws(ModelError) { return try own.replacingHead(with: head).graph } catch {
            throw .unsupported("\(error)")
        }
    }

    // MARK: - Heads

    /// Nothing in the file, readable or not, is the last linear layer of the network.
    private func hasNoClassifier(_ graph: Graph) -> Bool {
        guard let last = graph.parameters.last(where: { $0.role == .linearWeight }) else { return true }
        let names = graph.parameters.filter { $0.node == last.node }.map(\.name)
        return names.allSatisfy { entry(named: $0) == nil && unreadTensor(named: $0) == nil }
    }

    /// What stands after the last feature map: what a checkpoint of this library notes, otherwise what was found.
    private func head(defaultClasses: Int = 1000) throws(WeightFault) -> Head {
        if let kind = try noteOfHead() { return kind.head(classes: try classCount(of: kind)) }
        switch selection.root?.head {
        case .hidden(let layers)?:
            let kind = hiddenHead(layers: layers)
            guard HeadKind("\(kind)") != nil else { throw .unsupported("a head \(kind)") }
            return kind.head(classes: try classCount(of: kind))
        case .unusual(let what)?: throw .unsupported(what)
        // `fc` may be there and not be readable: the comparison with the model says so.
        case .linear?, nil:
            let hasNorm = [HeadNorms.before("fc"), HeadNorms.after("fc")].contains {
                entry(named: "\($0).weight") != nil
            }
            let hasBias = hasNorm || entry(named: "fc.bias") != nil || unreadTensor(named: "fc.bias") != nil
            let hasWeight = entry(named: "fc.weight") != nil
            // A weight that is there and cannot be read leaves its bias.
            let biases = entry(named: "fc.bias")?.shape.first.flatMap { 1...1_000_000 ~= $0 ? $0 : nil }
            return .linear(
                classes: hasWeight ? try classCount(of: .linear) : biases ?? defaultClasses, bias: hasBias || !hasWeight
            )
        case FoundHead.none?, .unclear?: return .features
        }
    }

    /// What stands in the file as so many linear layers.
    fileprivate func hiddenHead(layers: Int) -> HeadKind {
        let widths = (0..<layers - 1).map { entry(named: "head.\(2 + 3 * $0).weight")?.shape.first ?? 1 }
        return .hidden(widths, dropout: Self.assumedDropout)
    }

    /// The head that the metadata name; nil where they do not, or where they mean something else by the word.
    private func noteOfHead() throws(WeightFault) -> HeadKind? {
        guard let text = facts[MetadataKey.head] else { return nil }
        let isOurs = OwnFacts.areOurs(metadata)
        guard let kind = HeadKind(text) else {
            guard isOurs else { return nil }
            throw .unsupported("a head '\(text)'; linear, dropout:P, hidden:WIDTH:P and hidden:WIDTH,WIDTH:P are known")
        }
        guard !isOurs, let found = selection.root?.head else { return kind }
        return switch kind {
        case .linear, .dropout: found == .linear ? kind : nil
        case .hidden: found == .hidden(layers: 2) ? kind : nil
        case .layers(let widths, _): found == .hidden(layers: widths.count + 1) ? kind : nil
        }
    }

    private func classCount(of kind: HeadKind) throws(WeightFault) -> Int {
        let name =
            switch kind {
            case .linear, .dropout: "fc.weight"
            case .hidden: "head.5.weight"
            case .layers(let widths, _): "head.\(2 + 3 * widths.count).weight"
            }
        let classes = entry(named: name)?.shape.first ?? 1
        guard 1...1_000_000 ~= classes else { throw .unsupported("\(classes) classes") }
        return classes
    }
}

extension ModelGuess {
    /// A ResNet of depths and widths that nobody published, or with a stem for small pictures.
    fileprivate func graph(head: Head, stridesInFirstConvolution: Bool) throws(WeightFault) -> Graph {
        guard 1...4096 ~= inputChannels else { throw .unsupported("a ResNet of \(inputChannels) input channels") }
        do throws(ModelError) {
            if stemKernel == 3, block == .basic, channels.count == 3, stemWidths == [channels[0]] {
                return try CIFARResNetConfig(nBlocks: nBlocks, channels: channels)
                    .graph(head: head, inputChannels: inputChannels)
            }
            if let config = try config() {
                return config.with { $0.stridesInFirstConvolution = stridesInFirstConvolution }
                    .graph(head: head, inputChannels: inputChannels)
            }
        } catch { throw .unsupported("\(error)") }
        throw .unsupported(
            "a \(block.rawValue) ResNet of \(nBlocks) blocks with \(channels) channels and a "
                + "\(stemKernel)x\(stemKernel) first convolution, which is no model of this library")
    }
}
