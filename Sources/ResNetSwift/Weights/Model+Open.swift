// From a file to a running model when nobody says which model it is.

import ResNetGraph
import ResNetModels

extension Model {
    /// The model that a weight file is of, with all its weights.
    ///
    /// The model is the one asked for; otherwise the one that the file's metadata names; otherwise the one that its shapes
    /// tell. Classes and input channels always follow the file's shapes.
    /// - Throws: `unsupported` where the model cannot be told, `doesNotFit` where the weights are not the model's.
    public init(from file: WeightFile, named name: ModelName? = nil) throws(WeightFileError) {
        let (graph, told) = try file.graph(named: name)
        try self.init(graph: graph, from: file)
        metadata[MetadataKey.model] = told
    }
}

extension WeightFile {
    /// The network that these weights are of, and what it is called: the one asked for; otherwise the one that the
    /// metadata names; otherwise the one that the shapes tell, published or not. Its parameters need not be those of the
    /// file: see `report(for:)`.
    /// - Throws: `unsupported` where the model cannot be told.
    public func graph(named name: ModelName? = nil) throws(WeightFileError) -> (graph: Graph, name: String) {
        try naming(path) { () throws(WeightFault) in
            let told = try graphWithItsOwnHead(named: name)
            guard let text = metadata[MetadataKey.head] else { return told }
            guard let kind = HeadKind(text) else {
                throw .unsupported("a head '\(text)'; linear, dropout:P and hidden:WIDTH:P are known")
            }
            do {
                let one = try told.graph.replacingHead(with: kind.head(classes: 1)).graph
                let classifier = one.parameters.last { $0.role == .linearWeight }.flatMap { entry(named: $0.name) }
                let classes = classifier?.shape.first ?? 1
                guard 1...1_000_000 ~= classes else { throw WeightFault.unsupported("\(classes) classes") }
                return (try told.graph.replacingHead(with: kind.head(classes: classes)).graph, told.name)
            } catch let fault as WeightFault { throw fault } catch { throw .unsupported("\(error)") }
        }
    }

    private func graphWithItsOwnHead(named name: ModelName?) throws(WeightFault) -> (graph: Graph, name: String) {
        let noted = metadata[MetadataKey.model]
        if let known = name ?? noted.flatMap(ModelName.init(rawValue:)) {
            return (try graph(of: known), known.rawValue)
        }
        let guess = try ModelGuess(entries)
        if let known = guess.name.flatMap(ModelName.init(rawValue:)) {
            return (try graph(of: known), known.rawValue)
        }
        let graph = try guess.graph()
        return (graph, noted ?? graph.modelName)
    }

    /// The graph of a model with as many classes and input channels as the file's first convolution and classifier have.
    private func graph(of name: ModelName) throws(WeightFault) -> Graph {
        do {
            let plain = try name.graph()
            let parameters = plain.parameters
            let stem = parameters.first { $0.role == .convWeight }.flatMap { entry(named: $0.name) }
            let classifier = parameters.last { $0.role == .linearWeight }.flatMap { entry(named: $0.name) }
            return try name.graph(
                classes: classifier?.shape.first,
                inputChannels: stem.flatMap { $0.shape.count == 4 ? $0.shape[1] : nil } ?? plain.inputChannels ?? 3)
        } catch {
            throw .unsupported("\(error)")
        }
    }
}

extension ModelGuess {
    /// A ResNet of depths and widths that nobody published, in one of the two families.
    fileprivate func graph() throws(WeightFault) -> Graph {
        guard 1...1_000_000 ~= classes ?? 1, 1...4096 ~= inputChannels else {
            throw .unsupported("a ResNet of \(classes ?? 0) classes and \(inputChannels) input channels")
        }
        do throws(ModelError) {
            switch (stemKernel, block, channels.count) {
            case (3, .basic, 3):
                return try CIFARResNetConfig(nBlocks: nBlocks, channels: channels)
                    .graph(classes: classes ?? 10, inputChannels: inputChannels)
            case (7, _, 4):
                return try ResNetConfig(
                    block: block == .basic ? .basic : .bottleneck, nBlocks: nBlocks, channels: channels,
                    groups: groups, widthPerGroup: widthPerGroup
                ).graph(classes: classes ?? 1000, inputChannels: inputChannels)
            default: break
            }
        } catch { throw .unsupported("\(error)") }
        throw .unsupported(
            "a \(block.rawValue) ResNet of \(nBlocks) blocks with \(channels) channels and a "
                + "\(stemKernel)x\(stemKernel) first convolution, which is no model of this library")
    }
}
