// ONNX out: every operation of a graph as operators of set 17 (ONNXExporter+Attention.swift: norms of pixels and groups, attention).
// Initializers are called as the checkpoint's keys, so that names survive; metadata (class names, transform) travels in
// metadata_props.
//
// Source of field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto

import ResNetGraph
import ResNetSupport

extension Model {
    /// Writes the network as ONNX, operator set 17: input `input` (N, C, height, width) float32, output `logits` (N, classes),
    /// and `probabilities` where the model ends in a sigmoid. Dropout and stochastic depth, which do nothing in inference, are left
    /// out. A quantized model has QuantizeLinear and DequantizeLinear where bytes are, and its weights in signed bytes.
    /// - Parameters:
    ///   - path: replaced as a whole, or left as it was.
    ///   - inputSize: fixed height and width; nil leaves them open, which every network without flattened maps can take.
    /// - Throws: `ONNXError` where the file cannot be written.
    public func writeONNX(to path: String, inputSize: Size2? = nil) throws(ONNXError) {
        do throws(ONNXFault) {
            var exporter = ONNXExporter(self, inputSize: inputSize)
            let bytes = try exporter.bytes()
            do throws(FileFault) {
                let file = try AtomicFile(path)
                try file.write(bytes)
                try file.commit()
            } catch { throw .cannotWrite("\(error)") }
        } catch { throw ONNXError(path: path, fault: error) }
    }
}

struct ONNXExporter {
    private static let operatorSet = 17
    /// Protobuf's own limit; larger networks need external data, which nothing here reaches.
    private static let largest = Int(Int32.max)

    let model: Model
    private let inputSize: Size2?
    /// By node: the name of its value in the file.
    private(set) var values: [String] = []
    /// By node: its value rounded to what bytes stand for.
    var rounded: [Int: String] = [:]
    private var graph = ProtobufWriter()
    /// Constants that are in the file and are no parameters.
    private var writtenConstants: Set<String> = []

    init(_ model: Model, inputSize: Size2?) {
        self.model = model
        self.inputSize = inputSize
    }

    mutating func bytes() throws(ONNXFault) -> [UInt8] {
        let total = model.parameters.values.reduce(0) { $0 + 4 * $1.count }
        guard total < Self.largest else {
            throw .cannotWrite("\(total) bytes of weights; one ONNX file holds less than \(Self.largest)")
        }
        let weights = model.quantization?.weights ?? [:]
        for spec in model.graph.parameters {
            if let weights = weights[spec.name] { writeWeights(spec.name, weights) }
        }
        for index in model.graph.nodes.indices {
            try write(index)
            writeRounding(index)
        }
        graph.text(2, model.metadata[MetadataKey.model] ?? model.graph.modelName)
        for spec in model.graph.parameters where weights[spec.name] == nil {
            let tensor = model[spec.name]
            writeInitializer(spec.name, Tensor(shape: storedShape(spec), storage: tensor.storage))
        }
        writePorts()
        var file = ProtobufWriter()
        file.integer(1, 8)
        file.text(2, "ResNetSwift")
        graph.bytes.withUnsafeBytes { file.raw(7, $0) }
        file.message(8) { $0.integer(2, Self.operatorSet) }
        let metadata = model.metadata.merging([MetadataKey.marker: "1"]) { $1 }
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            file.message(14) {
                $0.text(1, key)
                $0.text(2, value)
            }
        }
        return file.bytes
    }

    /// As the operators want it: linear layers for each pixel are 1x1 convolutions, factors of channels (C, 1, 1).
    private func storedShape(_ spec: ParameterSpec) -> [Int] {
        switch model.graph.nodes[spec.node].operation {
        case .conv(let conv) where conv.isLinear && spec.role == .convWeight: spec.shape + [1, 1]
        case .groupNorm, .layerScale: spec.shape + [1, 1]
        default: spec.shape
        }
    }

    private mutating func writeInitializer(_ name: String, _ tensor: Tensor) {
        graph.message(5) { message in
            for size in tensor.shape { message.integer(1, size) }
            message.integer(2, 1)
            message.text(8, name)
            tensor.withUnsafeFloats { message.raw(9, UnsafeRawBufferPointer($0)) }
        }
    }

    private mutating func writePorts() {
        let network = model.graph
        port(
            11, "input",
            [("N", nil), ("", network.inputChannels), ("height", inputSize?.height), ("width", inputSize?.width)])
        var classes = 0
        if case .linear(_, let features, _) = network.nodes[network.logits].operation { classes = features }
        let sizes: [(String, Int?)] = [("N", nil), ("classes", classes > 0 ? classes : nil)]
        port(12, values[network.logits], sizes)
        if let probabilities = network.probabilities { port(12, values[probabilities], sizes) }
    }

    /// A ValueInfoProto of float32.
    private mutating func port(_ field: Int, _ name: String, _ sizes: [(name: String, size: Int?)]) {
        graph.message(field) { port in
            port.text(1, name)
            port.message(2) { type in
                type.message(1) { tensor in
                    tensor.integer(1, 1)
                    tensor.message(2) { shape in
                        for (name, size) in sizes {
                            shape.message(1) { if let size { $0.integer(1, size) } else { $0.text(2, name) } }
                        }
                    }
                }
            }
        }
    }

    // MARK: - Nodes

    private mutating func write(_ index: Int) throws(ONNXFault) {
        let node = model.graph.nodes[index]
        let inputs = node.inputs.map { operand($0, of: index) }
        var name = node.name
        if index == model.graph.logits { name = "logits" }
        if index == model.graph.probabilities { name = "probabilities" }
        values.append(name)
        func parameters(_ keys: String...) -> [String] { keys.map { "\(node.module).\($0)" } }
        switch node.operation {
        case .input: values[index] = "input"
        case .dropout, .dropPath: values[index] = inputs[0]
        case .conv(let spec):
            append("Conv", name, inputs + parameters("weight") + (spec.bias ? parameters("bias") : [])) {
                $0.integers("kernel_shape", spec.kernel.sides)
                $0.integers("strides", spec.stride.sides)
                $0.integers("pads", spec.padding.sides + spec.padding.sides)
                $0.integers("dilations", spec.dilation.sides)
                $0.integer("group", spec.groups)
            }
        case .batchNorm(_, let eps, let momentum):
            append("BatchNormalization", name, inputs + parameters("weight", "bias", "running_mean", "running_var")) {
                $0.float("epsilon", Float(eps))
                $0.float("momentum", Float(1 - momentum))
            }
        case .linear(_, _, let bias):
            append("Gemm", name, inputs + parameters("weight") + (bias ? parameters("bias") : [])) {
                $0.integer("transB", 1)
            }
        case .relu: append("Relu", name, inputs)
        case .sigmoid: append("Sigmoid", name, inputs)
        case .clip(let low, let high):
            append(
                "Clip", name,
                inputs + [constant("\(name)/min", [], floats: [low]), constant("\(name)/max", [], floats: [high])])
        case .pad(let spec):
            let frame = constant("\(name)/pads", integers: [0, 0, spec.top, spec.left, 0, 0, spec.bottom, spec.right])
            append("Pad", name, inputs + [frame, constant("\(name)/value", [], floats: [spec.value])])
        case .blurPool(let stride): writeBlur(name, inputs[0], channels: try channels(of: index), stride)
        case .add: append("Add", name, inputs)
        case .gate: append("Mul", name, inputs)
        case .channelConv(let kernel): writeChannelConvolution(node, name, inputs[0], kernel)
        case .globalAveragePool: append("GlobalAveragePool", name, inputs)
        case .concat: append("Concat", name, inputs) { $0.integer("axis", 1) }
        case .flatten: append("Flatten", name, inputs) { $0.integer("axis", 1) }
        case .maxPool(let spec): append("MaxPool", name, inputs) { $0.pool(spec) }
        case .averagePool(let spec):
            append("AveragePool", name, inputs) {
                $0.pool(spec)
                // A window that hangs over the end counts what is there, which runtimes agree on without padding only.
                $0.integer("count_include_pad", spec.padding == 0 || !spec.countsPadding ? 0 : 1)
            }
        case .layerNorm(_, let eps): writeLayerNorm(node, name, inputs[0], eps: eps)
        case .groupNorm(let groups, _, let eps): writeGroupNorm(node, name, inputs[0], groups: groups, eps: eps)
        case .gelu: writeGELU(name, inputs[0])
        case .layerScale:
            // Its node has the name of its parameter.
            values[index] = "\(name)/scaled"
            append("Mul", values[index], inputs + parameters("gamma"))
        case .padToMultiple(let size): writePadToMultiple(name, inputs[0], size)
        case .crop: writeCrop(name, inputs[0], like: inputs[1])
        case .windowAttention(let heads, let window):
            writeWindowAttention(name, inputs[0], channels: try channels(of: index), heads: heads, window)
        case .channelAttention(let heads):
            writeChannelAttention(name, inputs[0], channels: try channels(of: index), heads: heads)
        }
    }

    /// (N, C, 1, 1) -> (N, 1, C), a convolution along C, and back.
    private mutating func writeChannelConvolution(_ node: GraphNode, _ name: String, _ x: String, _ kernel: Int) {
        append("Reshape", "\(name)/row", [x, constant("channels_as_row", integers: [0, 1, -1])])
        append("Conv", "\(name)/conv", ["\(name)/row", "\(node.module).weight"]) {
            $0.integers("kernel_shape", [kernel])
            $0.integers("pads", [kernel / 2, kernel / 2])
        }
        append("Reshape", name, ["\(name)/conv", constant("channels_as_map", integers: [0, -1, 1, 1])])
    }

    /// Reflected at the edges, then one filter a channel.
    private mutating func writeBlur(_ name: String, _ x: String, channels: Int, _ stride: Int) {
        append("Pad", "\(name)/pad", [x, constant("reflected_frame", integers: [0, 0, 1, 1, 0, 0, 1, 1])]) {
            $0.text("mode", "reflect")
        }
        let filter: [Float] = [1, 2, 1, 2, 4, 2, 1, 2, 1].map { $0 / 16 }
        let weight = constant(
            "blur_\(channels)", [channels, 1, 3, 3], floats: Array(repeating: filter, count: channels).flatMap { $0 })
        append("Conv", name, ["\(name)/pad", weight]) {
            $0.integers("kernel_shape", [3, 3])
            $0.integers("strides", [stride, stride])
            $0.integer("group", channels)
        }
    }

    /// Of the map that node `index` gives.
    private func channels(of index: Int) throws(ONNXFault) -> Int {
        let node = model.graph.nodes[index]
        switch node.operation {
        case .input(let channels): return channels
        case .conv(let spec): return spec.outChannels
        case .batchNorm(let channels, _, _), .layerNorm(let channels, _), .groupNorm(_, let channels, _):
            return channels
        case .windowAttention, .channelAttention: return try channels(of: node.inputs[0]) / 3
        case .concat:
            var sum = 0
            for input in node.inputs { sum += try channels(of: input) }
            return sum
        default: return try channels(of: node.inputs[0])
        }
    }

    /// The name of an initializer that is written once.
    mutating func constant(_ name: String, integers: [Int]) -> String {
        guard writtenConstants.insert(name).inserted else { return name }
        graph.message(5) { tensor in
            tensor.integer(1, integers.count)
            tensor.integer(2, 7)
            for value in integers { tensor.integer(7, value) }
            tensor.text(8, name)
        }
        return name
    }

    mutating func constant(_ name: String, scalar: Int) -> String {
        guard writtenConstants.insert(name).inserted else { return name }
        graph.message(5) { tensor in
            tensor.integer(2, 7)
            tensor.integer(7, scalar)
            tensor.text(8, name)
        }
        return name
    }

    /// The same for bytes; `kind`: 2 unsigned, 3 signed.
    mutating func bytes(_ name: String, _ shape: [Int], kind: Int, _ values: [UInt8]) -> String {
        guard writtenConstants.insert(name).inserted else { return name }
        graph.message(5) { tensor in
            for size in shape { tensor.integer(1, size) }
            tensor.integer(2, kind)
            tensor.text(8, name)
            values.withUnsafeBytes { tensor.raw(9, $0) }
        }
        return name
    }

    mutating func constant(_ name: String, _ shape: [Int], floats: [Float]) -> String {
        if writtenConstants.insert(name).inserted { writeInitializer(name, Tensor(shape: shape, values: floats)) }
        return name
    }

    mutating func append(
        _ operation: String, _ output: String, _ inputs: [String],
        _ attributes: (inout ONNXAttributeWriter) -> Void = { _ in }
    ) {
        graph.message(1) { node in
            for input in inputs { node.text(1, input) }
            node.text(2, output)
            node.text(3, output)
            node.text(4, operation)
            var writer = ONNXAttributeWriter(node: node)
            attributes(&writer)
            node = writer.node
        }
    }
}

/// AttributeProtos of one node.
struct ONNXAttributeWriter {
    var node: ProtobufWriter

    mutating func integer(_ name: String, _ value: Int) {
        node.message(5) {
            $0.text(1, name)
            $0.integer(3, value)
            $0.integer(20, 2)
        }
    }

    mutating func float(_ name: String, _ value: Float) {
        node.message(5) {
            $0.text(1, name)
            $0.float(2, value)
            $0.integer(20, 1)
        }
    }

    mutating func text(_ name: String, _ value: String) {
        node.message(5) {
            $0.text(1, name)
            $0.text(4, value)
            $0.integer(20, 3)
        }
    }

    mutating func integers(_ name: String, _ values: [Int]) {
        node.message(5) { attribute in
            attribute.text(1, name)
            for value in values { attribute.integer(8, value) }
            attribute.integer(20, 7)
        }
    }

    mutating func pool(_ spec: PoolSpec) {
        integers("kernel_shape", spec.kernel.sides)
        integers("strides", spec.stride.sides)
        integers("pads", spec.padding.sides + spec.padding.sides)
        if spec.ceilMode { integer("ceil_mode", 1) }
    }
}

extension Size2 {
    fileprivate var sides: [Int] { [height, width] }
}
