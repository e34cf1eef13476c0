// The model of this library that a graph from elsewhere is, if it is one: the same layers in the same places, under the same
// names where they have weights.

import ResNetGraph

extension ModelName {
    /// The model that computes what `graph` does from the same parameters, with a head of this kind.
    package static func matching(_ graph: Graph, head: HeadKind) -> (name: ModelName, graph: Graph)? {
        guard let classes = graph.classCount, let channels = graph.inputChannels, 1...1_000_000 ~= classes else {
            return nil
        }
        for name in allCases {
            let known =
                name.graph(head: head.head(classes: classes), inputChannels: channels)
                ?? (try? name.graph(classes: classes, inputChannels: channels))
            if let known, known.computesSame(as: graph) { return (name, known) }
        }
        return nil
    }
}

extension Graph {
    /// True where both compute the same from parameters of the same keys. Names of nodes without parameters and dropout,
    /// which does nothing in inference, do not count.
    fileprivate func computesSame(as other: Graph) -> Bool {
        let (a, b) = (withoutDropout, other.withoutDropout)
        guard a.count == b.count else { return false }
        return zip(a, b).allSatisfy { x, y in
            guard x.operation == y.operation, x.module == y.module else { return false }
            if case .add = x.operation { return Set(x.inputs) == Set(y.inputs) }
            return x.inputs == y.inputs
        }
    }

    /// What each node does, in order; `module` is empty where it has no parameters.
    private var withoutDropout: [(operation: Operation, module: String, inputs: [Int])] {
        var places: [Int] = []
        var layers: [(operation: Operation, module: String, inputs: [Int])] = []
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
