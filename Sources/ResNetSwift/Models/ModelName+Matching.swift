// The model of this library that a graph from elsewhere is, if it is one: the same layers in the same places, under the same
// names where they have weights.

import ResNetGraph

extension ModelName {
    /// The model that computes what `graph` does from the same parameters, with a head of this kind.
    package static func matching(_ graph: Graph, head: HeadKind) -> (name: ModelName, graph: Graph)? {
        guard let classes = graph.classCount, let channels = graph.inputChannels, 1...1_000_000 ~= classes else {
            return nil
        }
        let layers = graph.withoutDropout
        for name in allCases {
            let known =
                name.graph(head: head.head(classes: classes), inputChannels: channels)
                ?? (try? name.graph(classes: classes, inputChannels: channels))
            if let known, known.computes(layers) { return (name, known) }
        }
        return nil
    }
}

extension Graph {
    /// True where the graph computes what these layers do from parameters of the same keys. Names of nodes without
    /// parameters and dropout, which does nothing in inference, do not count.
    fileprivate func computes(_ layers: [Layer]) -> Bool {
        let own = withoutDropout
        guard own.count == layers.count else { return false }
        return zip(own, layers).allSatisfy { x, y in
            guard x.operation == y.operation, x.module == y.module else { return false }
            if case .add = x.operation { return Set(x.inputs) == Set(y.inputs) }
            return x.inputs == y.inputs
        }
    }

    fileprivate typealias Layer = (operation: Operation, module: String, inputs: [Int])

    /// What each node does, in order; `module` is empty where it has no parameters.
    fileprivate var withoutDropout: [Layer] {
        var places: [Int] = []
        var layers: [Layer] = []
        for node in nodes {
            if case .dropout = node.operation {
                places.append(places[node.inputs[0]])
                continue
            }
            places.append(layers.count)
            layers.append(
                (node.operation, node.operation.hasParameters ? node.module : "", node.inputs.map { places[$0] }))
        }
        return layers
    }
}
