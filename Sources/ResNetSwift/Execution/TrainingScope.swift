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

    let graph: Graph
    let shapes: [NodeShape]
    let frozenKeys: Set<String>
    let start: Start
    /// Nodes to compute, in order.
    let live: [Int]
    /// Nodes whose values are given, in order.
    let boundary: [Int]
    /// By node: frozen with all that is before it.
    let isFrozen: [Bool]
    /// By node: the live nodes that read it, one entry per operand; the loss reads the logits.
    let readers: [[Int]]
    /// By node: some parameter at it or, through live nodes, before it trains.
    let needsGradient: [Bool]

    /// The reader that stands for the loss.
    static let loss = -1

    init(graph: Graph, shapes: [NodeShape], frozen: Set<String>, start: Start = .pictures) throws(GraphError) {
        self.graph = graph
        self.shapes = shapes
        frozenKeys = frozen
        self.start = start
        var isFrozen: [Bool] = []
        for (index, node) in graph.nodes.enumerated() {
            var isOwnFrozen = graph.parameters(of: index).allSatisfy { frozen.contains($0.name) }
            if case .dropout = node.operation { isOwnFrozen = false }
            isFrozen.append(isOwnFrozen && node.inputs.allSatisfy { isFrozen[$0] })
        }
        self.isFrozen = isFrozen

        var given: Set<Int> = []
        if start == .features {
            guard let features = graph.features else {
                throw GraphError(node: graph.modelName, expected: "a features node", found: "none")
            }
            given = [features]
        }
        guard case .vector = shapes[graph.logits] else {
            throw GraphError(
                node: graph.nodes[graph.logits].name, expected: "a vector of logits", found: "\(shapes[graph.logits])")
        }
        var readers: [[Int]] = Array(repeating: [], count: graph.nodes.count)
        var isNeeded = Array(repeating: false, count: graph.nodes.count)
        isNeeded[graph.logits] = true
        readers[graph.logits].append(Self.loss)
        var live: [Int] = []
        var boundary: [Int] = []
        for index in graph.nodes.indices.reversed() where isNeeded[index] {
            if given.contains(index) || (start == .pictures && isFrozen[index]) {
                boundary.append(index)
                continue
            }
            if case .input = graph.nodes[index].operation {
                // Frozen always, so here only where the batch starts at the features.
                throw GraphError(
                    node: graph.nodes[index].name, expected: "nothing but the features between pictures and logits",
                    found: "a way around them")
            }
            live.append(index)
            for input in graph.nodes[index].inputs {
                isNeeded[input] = true
                readers[input].append(index)
            }
        }
        self.live = live.reversed()
        self.boundary = boundary.reversed()
        self.readers = readers.map { $0.reversed() }

        var needsGradient = Array(repeating: false, count: graph.nodes.count)
        for index in self.live {
            let trains = graph.parameters(of: index).contains { !$0.role.isBuffer && !frozen.contains($0.name) }
            needsGradient[index] = trains || graph.nodes[index].inputs.contains { needsGradient[$0] }
        }
        self.needsGradient = needsGradient
    }

    /// Keys of the parameters that get a gradient, in definition order.
    var trainable: [String] {
        live.flatMap(graph.parameters(of:)).filter { !$0.role.isBuffer && !frozenKeys.contains($0.name) }.map(\.name)
    }

    func key(_ node: Int, _ parameter: String) -> String { "\(graph.nodes[node].module).\(parameter)" }

    func trains(_ node: Int, _ parameter: String) -> Bool { !frozenKeys.contains(key(node, parameter)) }

    /// A batch norm normalizes with the statistics of the batch unless its running statistics are frozen.
    func usesBatchStatistics(_ node: Int) -> Bool {
        !frozenKeys.contains(key(node, "running_mean")) && !frozenKeys.contains(key(node, "running_var"))
    }

    /// The one live node that reads `node`, if nobody else needs its value.
    func soleReader(_ node: Int) -> Int? {
        readers[node].count == 1 && readers[node][0] != Self.loss ? readers[node][0] : nil
    }

    func map(_ node: Int) -> ImageShape {
        switch shapes[node] {
        case .map(let shape): shape
        case .vector(let features): ImageShape(channels: features, height: 1, width: 1)
        }
    }
}
