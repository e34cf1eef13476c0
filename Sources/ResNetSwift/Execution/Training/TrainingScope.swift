// Which part of a graph trains: what follows from the set of frozen keys alone.
//
//     picture -> [conv1 bn1 layer1 layer2] -> [layer3 layer4 fc] -> logits -> loss
//                 frozen: runs as inference    live: forward, backward and update
//                                        ^ boundary: values the frozen part hands over
//
// A node is frozen if its value depends on nothing that training changes or draws: no trainable parameter, no batch
// statistics, no dropout at it or before it.

import ResNetGraph

struct TrainingScope: Sendable {
    /// Where the values of a batch begin.
    enum Start: Sendable, Hashable {
        case pictures
        /// The graph's features node; what comes before it has been computed elsewhere.
        case features
    }

    /// Readers are live nodes; the loss reads the logits.
    let flow: DataFlow
    let frozenKeys: Set<String>
    let start: Start
    /// By node: frozen with all that is before it.
    let isFrozen: [Bool]
    /// By node: some parameter at it or, through live nodes, before it trains.
    let needsGradient: [Bool]

    var graph: Graph { flow.graph }
    var shapes: [NodeShape] { flow.shapes }

    init(graph: Graph, shapes: [NodeShape], frozen: Set<String>, start: Start = .pictures) throws(GraphError) {
        frozenKeys = frozen
        self.start = start
        var isFrozen: [Bool] = []
        for (index, node) in graph.nodes.enumerated() {
            var isOwnFrozen = graph.parameters(of: index).allSatisfy { frozen.contains($0.name) }
            switch node.operation {
            case .dropout, .dropPath: isOwnFrozen = false
            default: break
            }
            isFrozen.append(isOwnFrozen && node.inputs.allSatisfy { isFrozen[$0] })
        }
        self.isFrozen = isFrozen

        if start == .features, graph.features == nil {
            throw GraphError(node: graph.modelName, expected: "a features node", found: "none")
        }
        guard case .vector = shapes[graph.logits] else {
            throw GraphError(
                node: graph.nodes[graph.logits].name, expected: "a vector of logits", found: "\(shapes[graph.logits])")
        }
        flow = DataFlow(graph: graph, shapes: shapes, outputs: [graph.logits], skipsDropout: false) {
            start == .features ? $0 == graph.features : isFrozen[$0]
        }
        for index in flow.live {
            // Pictures are frozen always, so they are live only where the batch starts at the features.
            guard case .input = graph.nodes[index].operation else { continue }
            throw GraphError(
                node: graph.nodes[index].name, expected: "nothing but the features between pictures and logits",
                found: "a way around them")
        }

        var needsGradient = Array(repeating: false, count: graph.nodes.count)
        for index in flow.live {
            let trains = graph.parameters(of: index).contains { !$0.role.isBuffer && !frozen.contains($0.name) }
            needsGradient[index] = trains || flow.operands(index).contains { needsGradient[$0] }
        }
        self.needsGradient = needsGradient
    }

    /// Keys of the parameters that get a gradient, in definition order.
    var trainable: [String] {
        flow.live.flatMap(graph.parameters(of:)).filter { !$0.role.isBuffer && !frozenKeys.contains($0.name) }
            .map(\.name)
    }

    /// A parameter or statistic of a node, under its last name, e.g. `weight`.
    func parameter(_ node: Int, _ name: String) -> ParameterSpec {
        let key = "\(graph.nodes[node].module).\(name)"
        guard let spec = graph.parameters(of: node).first(where: { $0.name == key }) else {
            preconditionFailure("there is no parameter \(key)")
        }
        return spec
    }

    func trains(_ node: Int, _ name: String) -> Bool { !frozenKeys.contains(parameter(node, name).name) }

    /// A batch norm normalizes with the statistics of the batch unless its running statistics are frozen.
    func usesBatchStatistics(_ node: Int) -> Bool { trains(node, "running_mean") && trains(node, "running_var") }
}
