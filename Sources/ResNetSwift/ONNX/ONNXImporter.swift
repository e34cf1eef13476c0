// From ONNX nodes to a graph with weights. Operators of convolutional classifiers are translated one by one; whatever only
// computes a shape (Shape, Gather, Concat... before a Reshape) is evaluated here and leaves no trace.
//
//     Conv BatchNormalization Relu Sigmoid Clip MaxPool AveragePool GlobalAveragePool ReduceMean Add Mul Concat
//     Gemm MatMul Flatten Reshape Squeeze Dropout Identity Softmax Pad Constant QuantizeLinear DequantizeLinear
//
// Names: a layer is called as its weights are (`layer1.0.conv1.weight` -> `layer1.0.conv1`), so that what PyTorch exports with
// names comes back under the same keys; otherwise by its node's path, otherwise by its number.

import ResNetGraph
import ResNetSupport

/// What a name of the file stands for while it is read.
enum ONNXValue {
    case node(Node)
    /// A map with a frame around it, which the next convolution takes as its padding if it can.
    case padded(Node, PadSpec)
    case constant(ONNXTensor)
    /// The channels of (C, 1, 1), shaped (N, 1, C).
    case row(Node)
    /// A value in bytes, which DequantizeLinear makes floats again.
    case quantized(Node, Quantization.Scale)
    /// A stored tensor in bytes.
    case bytes(ONNXBytes)
    /// Integers that a shape is computed from; nil stands for the size of the batch.
    case sizes([Int?])
}

struct ONNXImporter {
    let file: ONNXFile
    let files: ONNXExternalFiles
    var graph: Graph
    var parameters: [String: Tensor] = [:]
    var values: [String: ONNXValue] = [:]
    /// Which nodes read a name, by index.
    private var readers: [String: [Int]] = [:]
    private var outputs: Set<String> = []
    private var modules: Set<String> = []
    /// By node of the graph: channels of a map, features of a vector.
    private var channels: [Int] = []
    private var isVector: [Bool] = []
    /// By node of the graph: a map of one pixel, whatever the picture's size.
    private(set) var isPixel: [Bool] = []
    /// By node of the graph, where the file fixes the picture's size; otherwise empty.
    private var shapes: [NodeShape] = []
    private var parameterValues = 0
    /// Outputs of additions that the layer before them has taken as its bias.
    var absorbed: Set<String> = []
    /// By node of the graph: what its value's bytes stand for.
    var valueScales: [Int: Quantization.Scale] = [:]
    /// By name: stored tensors that came from bytes; nil where no convolution can compute with these.
    var dequantized: [String: Quantization.Weights?] = [:]
    /// Of stored tensors, by QuantizeLinear and DequantizeLinear.
    var convertedValues = 0
    /// By key of a convolution's weight.
    var weightScales: [String: Quantization.Weights] = [:]
    /// Height and width where the file fixes them.
    private(set) var inputSize: Size2?
    /// The number of pictures that the file was exported for, where it fixes that; networks here take any.
    private(set) var exportedBatch: Int?
    /// The last node is a softmax or sigmoid of the logits.
    private var activation: (output: String, kind: FinalActivation)?

    enum FinalActivation { case softmax, sigmoid }

    init(_ file: ONNXFile, files: ONNXExternalFiles) {
        self.file = file
        self.files = files
        // What exporters write where nobody gave a name.
        let isNamed = !["", "main_graph", "main", "graph", "torch_jit", "torch-jit-export"].contains(file.graphName)
        graph = Graph(modelName: isNamed ? file.graphName : "ONNX")
        for (index, node) in file.nodes.enumerated() {
            for input in node.inputs { readers[input, default: []].append(index) }
        }
        outputs = Set(file.outputs.map(\.name))
    }

    /// The network, its weights, and the file's text metadata.
    mutating func model() throws(ONNXFault) -> Model {
        for tensor in file.initializers { values[tensor.name] = .constant(tensor) }
        try readInput()
        for node in file.nodes {
            if let output = node.outputs.first(where: { values[$0] != nil }), !absorbed.contains(output) {
                throw unsupported(node, expected: "an output that no earlier node has", found: "\"\(output)\"")
            }
            guard node.domain.isEmpty || node.domain == "ai.onnx" else {
                throw unsupported(
                    node, expected: "an operator of ONNX itself", found: "\(node.domain).\(node.operation)")
            }
            try add(node)
            try measure(node)
        }
        try setOutputs()
        var model = Model(graph: graph, parameters: parameters)
        // Without this library's marker its words mean something else.
        let isOurs = file.metadata.contains { $0.key == MetadataKey.marker }
        for (key, value) in file.metadata where isOurs || !MetadataKey.own.contains(key) { model.metadata[key] = value }
        model.metadata[MetadataKey.marker] = nil
        model.quantization = quantization()
        return model
    }

    /// Channels and shapes of the nodes that were just added, so that what does not fit is an error of the ONNX node.
    mutating func measure(_ node: ONNXNode) throws(ONNXFault) {
        for index in channels.count..<graph.nodes.count {
            if let inputSize, let picture = graph.inputChannels {
                let image = ImageShape(channels: picture, height: inputSize.height, width: inputSize.width)
                do throws(GraphError) { shapes.append(try graph.shape(of: index, after: shapes, input: image)) } catch {
                    throw unsupported(node, expected: error.expected, found: error.found)
                }
            }
            let added = graph.nodes[index]
            let count: Int
            isPixel.append(isPixel(added))
            switch added.operation {
            case .linear, .flatten: isVector.append(true)
            case .input: isVector.append(false)
            default: isVector.append(isVector[added.inputs[0]])
            }
            switch added.operation {
            case .input(let channels): count = channels
            case .conv(let spec): count = spec.outChannels
            case .linear(_, let features, _): count = features
            case .concat: count = added.inputs.reduce(0) { $0 + channels[$1] }
            case .flatten: count = shapes.last?.count ?? channels[added.inputs[0]]
            default: count = channels[added.inputs[0]]
            }
            guard count <= Self.mostChannels else {
                throw unsupported(node, expected: "at most \(Self.mostChannels) channels", found: "\(count)")
            }
            channels.append(count)
        }
    }

    private func isPixel(_ node: GraphNode) -> Bool {
        switch node.operation {
        case .input, .flatten, .linear: false
        case .globalAveragePool: true
        case .conv(let spec): isPixel[node.inputs[0]] && spec.kernel == 1 && spec.padding == 0
        default: isPixel[node.inputs[0]]
        }
    }

    private static let mostChannels = 1 << 26

    /// A weight that the model keeps. Files may use one twice; one that is used a thousand times must not become a
    /// thousand copies.
    mutating func setParameter(_ key: String, _ tensor: Tensor, of node: ONNXNode) throws(ONNXFault) {
        parameterValues += tensor.count
        let most = file.byteCount + files.byteCount + 1 << 20
        guard parameterValues <= most else {
            throw unsupported(
                node, expected: "at most \(most) weights in a file of this size", found: "\(parameterValues)")
        }
        parameters[key] = tensor
    }

    // MARK: - Inputs and outputs

    private mutating func readInput() throws(ONNXFault) {
        let ports = file.inputs.filter { values[$0.name] == nil }
        guard ports.count == 1 else {
            throw .unsupported(
                node: "input", expected: "one input, the picture", found: "\(ports.map(\.name))")
        }
        let port = ports[0]
        guard port.kind == ONNXTensor.ElementKind.float32.rawValue else {
            throw .unsupported(node: port.name, expected: "a float32 picture", found: "elements of type \(port.kind)")
        }
        guard let shape = port.shape, shape.count == 4, let channels = shape[1], 1...4096 ~= channels else {
            throw .unsupported(
                node: port.name, expected: "a picture (N, channels, height, width) with a number of channels",
                found: port.shape.map { "\($0.map { $0.map(String.init) ?? "?" })" } ?? "no shape")
        }
        exportedBatch = shape[0]
        if let height = shape[2], let width = shape[3] { inputSize = Size2(height, width) }
        values[port.name] = .node(graph.apply(freshModule("input"), .input(channels: channels), []))
        try measure(ONNXNode(name: port.name, operation: "input"))
    }

    private mutating func setOutputs() throws(ONNXFault) {
        var computed: [Node] = []
        for output in file.outputs {
            guard case .node(let node)? = values[output.name] else {
                throw .unsupported(
                    node: output.name, expected: "an output that is computed from the picture", found: "none")
            }
            computed.append(node)
        }
        guard var logits = computed.first else {
            throw .unsupported(node: "output", expected: "at least one output", found: "none")
        }
        if case .globalAveragePool = graph.nodes[logits.index].operation {
            logits = graph.apply(freshModule("flatten"), .flatten, [logits])
        } else if !isVector[logits.index] {
            throw .unsupported(
                node: file.outputs[0].name, expected: "logits (N, classes)", found: "a map (N, channels, height, width)"
            )
        }
        var features: Node?
        if case .linear = graph.nodes[logits.index].operation {
            let source = graph.nodes[logits.index].inputs[0]
            if case .flatten = graph.nodes[source].operation { features = Node(index: source) }
        }
        let sigmoid = computed.dropFirst().first { node in
            if case .sigmoid = graph.nodes[node.index].operation {
                graph.nodes[node.index].inputs == [logits.index]
            } else {
                false
            }
        }
        graph.setOutputs(logits: logits, features: features, probabilities: sigmoid ?? probabilities(of: logits))
    }

    /// The sigmoid at the end of the file, if there is one.
    private mutating func probabilities(of logits: Node) -> Node? {
        guard let activation, activation.kind == .sigmoid else { return nil }
        return graph.add(freshModule("sigmoid"), .sigmoid, logits)
    }

    /// True where the file ends with `node`, so that it turns logits into probabilities.
    func isLast(_ node: ONNXNode) -> Bool {
        guard let output = node.outputs.first, file.outputs.first?.name == output else { return false }
        return readers[output] == nil
    }

    mutating func end(in kind: FinalActivation, _ node: ONNXNode) { activation = (node.outputs[0], kind) }

    // MARK: - Helpers of the translations

    func unsupported(_ node: ONNXNode, expected: String, found: String) -> ONNXFault {
        .unsupported(node: title(node), expected: expected, found: found)
    }

    func title(_ node: ONNXNode) -> String {
        let name = node.name.isEmpty ? node.outputs.first ?? "" : node.name
        return "\(name) (\(node.operation))"
    }

    /// The value that input number `index` stands for; nil where the node leaves it out.
    func input(_ node: ONNXNode, _ index: Int) throws(ONNXFault) -> ONNXValue? {
        guard index < node.inputs.count, !node.inputs[index].isEmpty else { return nil }
        guard let value = values[node.inputs[index]] else {
            throw unsupported(node, expected: "inputs that earlier nodes made", found: "\"\(node.inputs[index])\"")
        }
        return value
    }

    /// A map or vector that was computed from the picture.
    mutating func operand(_ node: ONNXNode, _ index: Int) throws(ONNXFault) -> Node {
        switch try input(node, index) {
        case .node(let value): return value
        case .row: throw unsupported(node, expected: "a map", found: "channels along the last axis")
        case .padded(let x, let spec): return try framed(node, x, spec)
        case .quantized:
            throw unsupported(node, expected: "DequantizeLinear before whoever reads bytes", found: "\(node.operation)")
        case .constant, .bytes, .sizes:
            throw unsupported(node, expected: "a value computed from the picture", found: "a constant")
        case nil:
            throw unsupported(node, expected: "an input number \(index + 1)", found: "\(node.inputs.count) inputs")
        }
    }

    /// A frame as a node of its own.
    mutating func framed(_ node: ONNXNode, _ x: Node, _ spec: PadSpec) throws(ONNXFault) -> Node {
        let framed = graph.add(freshModule("pad"), .pad(spec), x)
        try measure(node)
        return framed
    }

    func constant(_ node: ONNXNode, _ index: Int, _ what: String) throws(ONNXFault) -> ONNXTensor {
        guard case .constant(let tensor) = try input(node, index) else {
            throw unsupported(node, expected: "\(what) stored in the file", found: "a computed value, or none")
        }
        return tensor
    }

    mutating func finish(_ node: ONNXNode, _ value: Node) { values[node.outputs[0]] = .node(value) }

    /// The node that reads a name, if it is the only one and the name is no output.
    func onlyReader(of name: String) -> ONNXNode? {
        guard let indices = readers[name], indices.count == 1, !outputs.contains(name) else { return nil }
        return file.nodes[indices[0]]
    }

    /// The shape of an earlier node's value, if the file fixes the picture's size.
    func shape(of node: Node) -> NodeShape? { node.index < shapes.count ? shapes[node.index] : nil }

    /// Channels of an earlier node's map, features of its vector.
    func channelCount(_ x: Node) -> Int { channels[x.index] }

    // MARK: - Names

    /// A module path for a layer whose weight is called `weight`: `layer1.0.conv1` of `layer1.0.conv1.weight`.
    mutating func module(of node: ONNXNode, weight: String) -> String {
        let suffixes = [".weight", ".scale", ".gamma"]
        if let suffix = suffixes.first(where: weight.hasSuffix), !weight.contains("::"), !weight.contains("/") {
            return freshModule(String(weight.dropLast(suffix.count)))
        }
        return module(of: node)
    }

    /// A module path from the node's own: PyTorch writes `/layer1/layer1.0/conv1/Conv`.
    mutating func module(of node: ONNXNode) -> String {
        var path = ""
        for part in node.name.split(separator: "/").dropLast() {
            path = path.isEmpty || part.hasPrefix(path + ".") ? String(part) : "\(path).\(part)"
        }
        return freshModule(path.isEmpty ? node.operation.lowercased() : path)
    }

    mutating func freshModule(_ wanted: String) -> String {
        let base = String(wanted.map { $0.isLetter || $0.isNumber || $0 == "." || $0 == "_" ? $0 : "_" })
        var name = base
        var number = 1
        while !modules.insert(name).inserted {
            name = "\(base)_\(number)"
            number += 1
        }
        return name
    }
}
