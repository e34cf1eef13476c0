// Changes to a model that keep what it has learned: another head, another number of input channels.

import ResNetGraph

extension Model {
    /// The same network for other classes: the last linear layer starts anew, all else is kept. A backbone gets one.
    /// - Throws: `ModelError.structure` if no linear layer ends the network, `.configuration` for a count below 1.
    public func replacingHead(classes: Int, seed: UInt64) throws(ModelError) -> Model {
        guard classes > 0 else {
            throw .configuration(
                model: graph.modelName, field: "classes", expected: "at least 1", found: "\(classes)")
        }
        if graph.isBackbone {
            return try replacingHead(with: .linear, classes: classes, seed: seed)
        }
        guard case .linear(let inFeatures, _, let bias) = graph.nodes[graph.logits].operation else {
            throw .structure(
                node: graph.nodes[graph.logits].name, expected: "a linear layer that yields the logits",
                found: graph.nodes[graph.logits].operation.kindText)
        }
        var changed = graph
        changed.nodes[graph.logits].operation = .linear(inFeatures: inFeatures, outFeatures: classes, bias: bias)
        let last = graph.nodes[graph.logits].module
        let renewed: Set = bias ? ["\(last).weight", "\(last).bias"] : ["\(last).weight"]
        var model = adopting(changed, renewed: renewed, seed: seed, .torch)
        model.metadata[MetadataKey.classes] = nil  // the names of the old ones
        return model
    }

    /// The trunk, up to its last feature map, with a head of another structure, which starts anew.
    /// - Throws: `ModelError.structure` if the network has no head to replace: no flatten node before its logits.
    public func replacingHead(
        with head: Head, seed: UInt64, scheme: InitializationScheme = .torch
    ) throws(ModelError) -> Model {
        let (changed, trunk) = try graph.replacingHead(with: head)
        let old = Set(trunk.parameters.map(\.name))
        let new = Set(changed.parameters.map(\.name)).subtracting(old)
        var model = adopting(changed, renewed: new, seed: seed, scheme)
        model.metadata[MetadataKey.classes] = nil
        model.metadata[MetadataKey.model] = nil  // no model of that name has this head
        model.metadata[MetadataKey.head] = nil
        return model
    }

    /// The same network with all its dropout layers at that probability; 0 turns them off.
    /// - Precondition: 0 or more, below 1.
    public func withDropout(_ probability: Double) -> Model {
        precondition(probability >= 0 && probability < 1, "a dropout probability of \(probability)")
        var changed = graph
        for index in graph.nodes.indices {
            if case .dropout = graph.nodes[index].operation {
                changed.nodes[index].operation = .dropout(probability: probability)
            }
        }
        var model = Model(graph: changed, parameters: parameters)
        model.frozen = frozen
        model.metadata = metadata
        return model
    }

    /// The same network for pictures of other than three channels; the first convolution is adapted as timm does it:
    /// one channel sums the filters over RGB, N channels repeat RGB and scale by 3 / N, so that activations keep their
    /// size.
    /// - Throws: `ModelError.structure` unless the network reads three channels by convolutions.
    public func adaptingInputChannels(_ channels: Int) throws(ModelError) -> Model {
        guard channels > 0 else {
            throw .configuration(
                model: graph.modelName, field: "inputChannels", expected: "at least 1", found: "\(channels)")
        }
        guard channels != graph.inputChannels else { return self }
        var changed = graph
        var adapted = parameters
        for (index, node) in graph.nodes.enumerated() {
            if case .input(let present) = node.operation {
                guard present == 3 else {
                    throw .structure(node: node.name, expected: "3 channels to adapt from", found: "\(present)")
                }
                changed.nodes[index].operation = .input(channels: channels)
            }
            guard node.inputs.contains(where: { graph.nodes[$0].isInput }) else { continue }
            guard case .conv(var spec) = node.operation, spec.groups == 1 else {
                throw .structure(
                    node: node.name, expected: "a convolution of one group on the picture",
                    found: node.operation.kindText)
            }
            spec.inChannels = channels
            changed.nodes[index].operation = .conv(spec)
            let key = "\(node.module).weight"
            adapted[key] = self[key].adaptingInputChannels(to: channels)
        }
        var model = Model(graph: changed, parameters: adapted)
        model.frozen = frozen
        model.metadata = metadata
        return model
    }

    /// This model's values in another graph; `renewed` keys get first values.
    private func adopting(
        _ changed: Graph, renewed: Set<String>, seed: UInt64, _ scheme: InitializationScheme
    ) -> Model {
        let kept = Set(parameters.keys).subtracting(renewed)
        var values = changed.firstValues(seed: seed, scheme, but: kept)
        for spec in changed.parameters where kept.contains(spec.name) { values[spec.name] = parameters[spec.name] }
        var model = Model(graph: changed, parameters: values)
        model.frozen = frozen.intersection(kept).intersection(values.keys)
        model.metadata = metadata
        return model
    }
}

extension Graph {
    /// The trunk with another head, and the trunk alone.
    package func replacingHead(with head: Head) throws(ModelError) -> (graph: Graph, trunk: Graph) {
        guard let trunkEnd else {
            throw .structure(node: modelName, expected: "a flatten node before the logits", found: "none")
        }
        let (trunk, end) = prefix(through: trunkEnd)
        var g = GraphBuilder(continuing: trunk)
        return (head.write(&g, end), trunk)
    }
}

extension Tensor {
    /// A first convolution's weight (O, 3, H, W) for pictures of `channels` channels: the sum over RGB for one, else RGB
    /// repeated and scaled by 3 / channels (timm's adapt_input_conv).
    /// - Precondition: the shape is (O, 3, H, W) and `channels` is positive.
    public func adaptingInputChannels(to channels: Int) -> Tensor {
        precondition(shape.count == 4 && shape[1] == 3, "a weight of \(shape) does not read 3 channels")
        precondition(channels > 0, "a picture has at least one channel, not \(channels)")
        let plane = shape[2] * shape[3]
        let adapted = FloatStorage(count: shape[0] * channels * plane) { target in
            withUnsafeFloats { source in
                for output in 0..<shape[0] {
                    let rgb = source[(output * 3 * plane)..<((output + 1) * 3 * plane)]
                    let filter = UnsafeBufferPointer(rebasing: rgb)
                    for channel in 0..<channels {
                        let to = (output * channels + channel) * plane
                        for i in 0..<plane {
                            target[to + i] =
                                channels == 1
                                ? filter[i] + filter[plane + i] + filter[2 * plane + i]
                                : filter[(channel % 3) * plane + i] * (3 / Float(channels))
                        }
                    }
                }
            }
        }
        return Tensor(shape: [shape[0], channels, shape[2], shape[3]], storage: adapted)
    }
}

extension GraphNode {
    fileprivate var isInput: Bool { if case .input = operation { true } else { false } }
}
