// ONNX out: every operation of a graph has its operator, so that any model can leave. Initializers are called as the checkpoint's
// keys, so that names survive; metadata (class names, transform) travels in metadata_props.
//
// Source of field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto

import ResNetGraph
import ResNetSupport

extension Model {
    /// Writes the network as ONNX, operator set 17: input `input` (N, C, height, width) float32, output `logits` (N, classes),
    /// and `probabilities` where the model ends in a sigmoid. Dropout, which does nothing in inference, is left out.
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

    private let model: Model
    private let inputSize: Size2?
    /// By node: the name of its value in the file.
    private var values: [String] = []
    private var graph = ProtobufWriter()

    init(_ model: Model, inputSize: Size2?) {
        self.model = model
        self.inputSize = inputSize
    }

    mutating func bytes() throws(ONNXFault) -> [UInt8] {
        let total = model.parameters.values.reduce(0) { $0 + 4 * $1.count }
        guard total < Self.largest else {
            throw .cannotWrite("\(total) bytes of weights; one ONNX file holds less than \(Self.largest)")
        }
        for index in model.graph.nodes.indices { try write(index) }
        graph.text(2, model.metadata[MetadataKey.model] ?? model.graph.modelName)
        for spec in model.graph.parameters { writeInitializer(spec.name, model[spec.name]) }
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
        let inputs = node.inputs.map { values[$0] }
        var name = node.name
        if index == model.graph.logits { name = "logits" }
        if index == model.graph.probabilities { name = "probabilities" }
        values.append(name)
        func parameters(_ keys: String...) -> [String] { keys.map { "\(node.module).\($0)" } }
        switch node.operation {
        case .input: values[index] = "input"
        case .dropout: values[index] = inputs[0]
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
        case .add: append("Add", name, inputs)
        case .globalAveragePool: append("GlobalAveragePool", name, inputs)
        case .concat: append("Concat", name, inputs) { $0.integer("axis", 1) }
        case .flatten: append("Flatten", name, inputs) { $0.integer("axis", 1) }
        case .maxPool(let spec): append("MaxPool", name, inputs) { $0.pool(spec) }
        case .averagePool(let spec):
            append("AveragePool", name, inputs) {
                $0.pool(spec)
                $0.integer("count_include_pad", 1)
            }
        }
    }

    private mutating func append(
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
