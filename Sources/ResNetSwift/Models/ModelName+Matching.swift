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
        let sketch = GraphSketch(graph)
        for name in allCases where name.canHave(sketch) {
            let known =
                name.graph(head: head.head(classes: classes), inputChannels: channels)
                ?? (try? name.graph(classes: classes, inputChannels: channels))
            if let known, known.computes(layers) { return (name, known) }
        }
        return nil
    }
}

/// What a ResNet's configuration shows of its graph. To build every known graph takes far longer than to compare two.
private struct GraphSketch {
    var additions = 0
    var groups = 1
    var gates = 0

    init(_ graph: Graph) {
        for node in graph.nodes {
            switch node.operation {
            case .add: additions += 1
            case .gate: gates += 1
            case .conv(let spec): groups = max(groups, spec.groups)
            default: break
            }
        }
    }
}

extension ModelName {
    /// False where the graph cannot be this model's. Every block of a residual network has one addition.
    fileprivate func canHave(_ sketch: GraphSketch) -> Bool {
        guard let blocks = (resNet?.nBlocks ?? resNetV2?.nBlocks ?? cifar?.nBlocks)?.reduce(0, +) else { return true }
        guard sketch.additions == blocks else { return false }
        guard let config = resNet else { return true }
        return config.groups == sketch.groups && (config.attention != nil) == (sketch.gates > 0)
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
