// From a file to a running model when nobody says which model it is.

extension Model {
    /// The model that a weight file is of, with all its weights.
    ///
    /// The model is the one asked for; otherwise the one that the file's metadata names; otherwise the one that its shapes
    /// tell. Classes and input channels always follow the file's shapes.
    /// - Throws: `unsupported` where the model cannot be told, `doesNotFit` where the weights are not the model's.
    public init(from file: WeightFile, named name: ModelName? = nil) throws(WeightFileError) {
        let told = try naming(file.path) { () throws(WeightFault) in
            if let name { return name }
            return try file.modelName()
        }
        let graph = try naming(file.path) { () throws(WeightFault) in try file.graph(of: told) }
        try self.init(graph: graph, from: file)
        metadata[MetadataKey.model] = told.rawValue
    }
}

extension WeightFile {
    /// The model that the metadata names or the shapes tell.
    fileprivate func modelName() throws(WeightFault) -> ModelName {
        if let text = metadata[MetadataKey.model], let known = ModelName(rawValue: text) { return known }
        let guess = try ModelGuess(entries)
        guard let name = guess.name.flatMap(ModelName.init(rawValue:)) else {
            throw .unsupported(
                "a \(guess.block.rawValue) ResNet of \(guess.nBlocks) blocks with \(guess.channels) channels, "
                    + "which is no model of this library")
        }
        return name
    }

    /// The graph of a model with as many classes and input channels as the file's first convolution and classifier have.
    fileprivate func graph(of name: ModelName) throws(WeightFault) -> Graph {
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
