// Who reads what in a graph: what both front ends ask when they decide which nodes become one step.
//
//     conv -> batchNorm [-> add] [-> relu]       a node joins the one before it only if nobody else reads what lies between

import ResNetGraph

struct DataFlow: Sendable {
    /// The reader that stands for the caller, who takes an output, and for the loss.
    static let outside = -1

    let graph: Graph
    let shapes: [NodeShape]
    /// By node: the node whose value it is; another one where nothing is computed.
    let source: [Int]
    /// By source node: the live nodes that read it, one entry per operand.
    let readers: [[Int]]
    /// Nodes to compute, in order.
    let live: [Int]
    /// Nodes whose values are given, in order.
    let boundary: [Int]

    /// - Parameters:
    ///   - outputs: Nodes whose values somebody outside wants.
    ///   - skipsDropout: Dropout does nothing. Padding and cropping that change no size never do.
    ///   - isGiven: Whether the value of a node comes from elsewhere.
    init(graph: Graph, shapes: [NodeShape], outputs: [Int], skipsDropout: Bool, isGiven: (Int) -> Bool) {
        self.graph = graph
        self.shapes = shapes
        var source: [Int] = []
        for (index, node) in graph.nodes.enumerated() {
            let passes =
                switch node.operation {
                case .dropout, .dropPath: skipsDropout
                case .padToMultiple, .crop: shapes[index] == shapes[node.inputs[0]]
                default: false
                }
            source.append(passes ? source[node.inputs[0]] : index)
        }
        var readers: [[Int]] = Array(repeating: [], count: graph.nodes.count)
        for output in outputs { readers[source[output]].append(Self.outside) }
        var live: [Int] = []
        var boundary: [Int] = []
        for index in graph.nodes.indices.reversed() where !readers[index].isEmpty {
            if isGiven(index) {
                boundary.append(index)
                continue
            }
            live.append(index)
            for input in graph.nodes[index].readInputs { readers[source[input]].append(index) }
        }
        self.source = source
        self.readers = readers.map { $0.reversed() }
        self.live = live.reversed()
        self.boundary = boundary.reversed()
    }

    func operation(_ node: Int) -> Operation { graph.nodes[node].operation }
    func name(_ node: Int) -> String { graph.nodes[node].name }
    func operands(_ node: Int) -> [Int] { graph.nodes[node].readInputs.map { source[$0] } }

    func isPadding(_ node: Int) -> Bool {
        if case .padToMultiple = operation(node) { true } else { false }
    }

    func isVector(_ node: Int) -> Bool {
        if case .vector = shapes[node] { true } else { false }
    }

    /// Of one image; a vector is (features, 1, 1).
    func map(_ node: Int) -> ImageShape {
        switch shapes[node] {
        case .map(let shape): shape
        case .vector(let features): ImageShape(channels: features, height: 1, width: 1)
        }
    }

    /// The one node that reads `node`, if nobody else needs its value.
    func soleReader(_ node: Int) -> Int? {
        readers[node].count == 1 && readers[node][0] != Self.outside ? readers[node][0] : nil
    }

    func fusableRelu(_ node: Int) -> Int? {
        guard let next = soleReader(node), operation(next) == .relu else { return nil }
        return next
    }

    func fusableBatchNorm(_ node: Int) -> Int? {
        guard let next = soleReader(node), case .batchNorm = operation(next) else { return nil }
        return next
    }

    /// By the node that computes it: the additions that one of their operands takes over, of several the one of highest
    /// rank.
    func additions<Rank: Comparable>(rank: (Int) -> Rank, takenBy canTake: (Int) -> Bool) -> [Int: Int] {
        var additions: [Int: Int] = [:]
        for add in live where operation(add) == .add {
            let takers = operands(add).filter { soleReader($0) == add && !boundary.contains($0) && canTake($0) }
            if let last = takers.max(by: { rank($0) < rank($1) }) { additions[last] = add }
        }
        return additions
    }
}

extension GraphNode {
    /// Those whose values count: of the second input of a crop only the size does.
    fileprivate var readInputs: ArraySlice<Int> { operation == .crop ? inputs.prefix(1) : inputs[...] }
}
