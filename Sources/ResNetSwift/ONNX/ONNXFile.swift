// An ONNX file as its messages say it: nodes, initializers, inputs and outputs. Nothing is interpreted here.
//
//     ModelProto 7: graph, 8: opset_import, 14: metadata_props
//     GraphProto 1: node, 5: initializer, 11: input, 12: output
//
// Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, by field number. Only what inference of a classifier needs is
// kept; everything else (documentation, training, value_info) is passed over.

struct ONNXTensor {
    /// TensorProto.DataType.
    enum ElementKind: Int64 {
        case float32 = 1
        case uint8, int8, uint16, int16, int32, int64
        case bool = 9
        case float16, float64
        case bfloat16 = 16
    }

    enum Payload {
        case raw(UnsafeRawBufferPointer)
        case floats([Float])
        case integers([Int64])
        case doubles([Double])
        /// In a file beside the model.
        case external(location: String, offset: Int, length: Int?)
    }

    var name = ""
    var kind: ElementKind = .float32
    var shape: [Int] = []
    var payload = Payload.floats([])
}

enum ONNXAttribute {
    case float(Float)
    case integer(Int64)
    case text(String)
    case tensor(ONNXTensor)
    case floats([Float])
    case integers([Int64])
    case other
}

struct ONNXNode {
    var name = ""
    var operation = ""
    var domain = ""
    var inputs: [String] = []
    var outputs: [String] = []
    var attributes: [String: ONNXAttribute] = [:]
}

/// An input or output of the graph; nil for a size that the file leaves open.
struct ONNXPort {
    var name = ""
    var kind: Int64 = 0
    var shape: [Int?]?
}

/// Views into the bytes it was read from, which must outlive it.
struct ONNXFile {
    var nodes: [ONNXNode] = []
    var initializers: [ONNXTensor] = []
    var inputs: [ONNXPort] = []
    var outputs: [ONNXPort] = []
    var graphName = ""
    var metadata: [(key: String, value: String)] = []
    /// The version of the default operator set.
    var operatorSet: Int64 = 0
    let byteCount: Int

    /// No network here comes near; every node costs more memory than its bytes.
    private static let mostNodes = 20_000

    init(_ bytes: UnsafeRawBufferPointer) throws(ONNXFault) {
        var reader = ProtobufReader(bytes, part: "model")
        var hasGraph = false
        byteCount = bytes.count
        while let (field, payload) = try reader.next() {
            switch field {
            case 7:
                try readGraph(Self.message(payload, "graph"))
                hasGraph = true
            case 8: try readOperatorSet(Self.message(payload, "opset_import"))
            case 14: metadata.append(try Self.entry(Self.message(payload, "metadata_props")))
            default: break
            }
        }
        guard hasGraph else { throw .malformed(part: "model", problem: "it has no graph") }
    }

    private static func message(
        _ payload: ProtobufReader.Payload, _ part: String
    ) throws(ONNXFault) -> UnsafeRawBufferPointer {
        guard let message = payload.message else { throw .malformed(part: part, problem: "a number, not a message") }
        return message
    }

    private static func text(_ payload: ProtobufReader.Payload, _ part: String) throws(ONNXFault) -> String {
        guard let bytes = payload.message, let text = String(validating: bytes, as: UTF8.self) else {
            throw .malformed(part: part, problem: "text that is not UTF-8")
        }
        return text
    }

    private mutating func readOperatorSet(_ bytes: UnsafeRawBufferPointer) throws(ONNXFault) {
        var reader = ProtobufReader(bytes, part: "opset_import")
        var domain = ""
        var version: Int64 = 0
        while let (field, payload) = try reader.next() {
            if field == 1 { domain = try Self.text(payload, "opset_import") }
            if field == 2, let integer = payload.integer { version = integer }
        }
        if domain.isEmpty || domain == "ai.onnx" { operatorSet = version }
    }

    /// A StringStringEntryProto.
    private static func entry(_ bytes: UnsafeRawBufferPointer) throws(ONNXFault) -> (key: String, value: String) {
        var reader = ProtobufReader(bytes, part: "a key and value")
        var entry = (key: "", value: "")
        while let (field, payload) = try reader.next() {
            if field == 1 { entry.key = try text(payload, "a key") }
            if field == 2 { entry.value = try text(payload, "a value") }
        }
        return entry
    }

    private mutating func readGraph(_ bytes: UnsafeRawBufferPointer) throws(ONNXFault) {
        var reader = ProtobufReader(bytes, part: "graph")
        while let (field, payload) = try reader.next() {
            switch field {
            case 1:
                guard nodes.count < Self.mostNodes else {
                    throw .malformed(part: "graph", problem: "more than \(Self.mostNodes) nodes")
                }
                nodes.append(try Self.node(Self.message(payload, "node")))
            case 2: graphName = try Self.text(payload, "the graph's name")
            case 5: initializers.append(try Self.tensor(Self.message(payload, "initializer")))
            case 11: inputs.append(try Self.port(Self.message(payload, "input")))
            case 12: outputs.append(try Self.port(Self.message(payload, "output")))
            case 15: throw .malformed(part: "graph", problem: "sparse initializers, which are not read")
            default: break
            }
        }
    }

    private static func node(_ bytes: UnsafeRawBufferPointer) throws(ONNXFault) -> ONNXNode {
        var reader = ProtobufReader(bytes, part: "node")
        var node = ONNXNode()
        while let (field, payload) = try reader.next() {
            switch field {
            case 1: node.inputs.append(try text(payload, "an input's name"))
            case 2: node.outputs.append(try text(payload, "an output's name"))
            case 3: node.name = try text(payload, "a node's name")
            case 4: node.operation = try text(payload, "an operator's name")
            case 5:
                let (name, value) = try attribute(message(payload, "attribute"))
                node.attributes[name] = value
            case 7: node.domain = try text(payload, "an operator's domain")
            default: break
            }
        }
        return node
    }

    private static func attribute(
        _ bytes: UnsafeRawBufferPointer
    ) throws(ONNXFault) -> (name: String, value: ONNXAttribute) {
        var reader = ProtobufReader(bytes, part: "attribute")
        var name = ""
        var value = ONNXAttribute.other
        var (floats, integers): ([Float], [Int64]) = ([], [])
        while let (field, payload) = try reader.next() {
            switch field {
            case 1: name = try text(payload, "an attribute's name")
            case 2: if let float = payload.float { value = .float(float) }
            case 3: if let integer = payload.integer { value = .integer(integer) }
            case 4: value = .text(try text(payload, "attribute \(name)"))
            case 5: value = .tensor(try tensor(message(payload, "attribute \(name)")))
            case 7:
                try payload.append(to: &floats, part: "attribute \(name)")
                value = .floats(floats)
            case 8:
                try payload.append(to: &integers, part: "attribute \(name)")
                value = .integers(integers)
            case 20:
                // An empty list has a type and no values.
                if payload.integer == 7, case .other = value { value = .integers([]) }
            default: break
            }
        }
        return (name, value)
    }

    private static func port(_ bytes: UnsafeRawBufferPointer) throws(ONNXFault) -> ONNXPort {
        var reader = ProtobufReader(bytes, part: "a graph's input or output")
        var port = ONNXPort()
        while let (field, payload) = try reader.next() {
            if field == 1 { port.name = try text(payload, "a name") }
            guard field == 2 else { continue }
            var type = ProtobufReader(try message(payload, "type"), part: "type")
            while let (field, payload) = try type.next() {
                guard field == 1 else { continue }  // anything but a tensor leaves the kind 0
                var tensor = ProtobufReader(try message(payload, "tensor type"), part: "tensor type")
                while let (field, payload) = try tensor.next() {
                    if field == 1, let kind = payload.integer { port.kind = kind }
                    if field == 2 { port.shape = try dimensions(message(payload, "shape")) }
                }
            }
        }
        return port
    }

    /// A TensorShapeProto.
    private static func dimensions(_ bytes: UnsafeRawBufferPointer) throws(ONNXFault) -> [Int?] {
        var reader = ProtobufReader(bytes, part: "shape")
        var shape: [Int?] = []
        while let (field, payload) = try reader.next() {
            guard field == 1 else { continue }
            var dimension = ProtobufReader(try message(payload, "dimension"), part: "dimension")
            var size: Int?
            while let (field, payload) = try dimension.next() {
                if field == 1, let integer = payload.integer, integer > 0 { size = Int(integer) }
            }
            shape.append(size)
        }
        return shape
    }

    private static func tensor(_ bytes: UnsafeRawBufferPointer) throws(ONNXFault) -> ONNXTensor {
        var reader = ProtobufReader(bytes, part: "tensor")
        var tensor = ONNXTensor()
        var (sizes, integers): ([Int64], [Int64]) = ([], [])
        var floats: [Float] = []
        var doubles: [Double] = []
        var external: [String: String] = [:]
        var kind: Int64 = 0
        var isExternal = false
        while let (field, payload) = try reader.next() {
            let part = "tensor \(tensor.name)"
            switch field {
            case 1: try payload.append(to: &sizes, part: part)
            case 2: kind = payload.integer ?? 0
            case 3: throw .malformed(part: part, problem: "a segment, which is not read")
            case 4: try payload.append(to: &floats, part: part)
            case 5, 7, 11: try payload.append(to: &integers, part: part)
            case 8: tensor.name = try text(payload, "a tensor's name")
            case 9: tensor.payload = .raw(try message(payload, part))
            case 10: try append(payload, to: &doubles, part: part)
            case 13:
                let (key, value) = try entry(message(payload, part))
                external[key] = value
            case 14: isExternal = payload.integer == 1
            default: break
            }
        }
        guard let element = ONNXTensor.ElementKind(rawValue: kind) else {
            throw .malformed(part: "tensor \(tensor.name)", problem: "elements of type \(kind), which is not read")
        }
        tensor.kind = element
        guard sizes.count <= 16, sizes.allSatisfy({ (0...Int64(Int32.max)).contains($0) }) else {
            throw .malformed(part: "tensor \(tensor.name)", problem: "shape \(sizes)")
        }
        tensor.shape = sizes.map(Int.init)
        if isExternal {
            tensor.payload = try externalPayload(external, tensor.name)
        } else if case .raw = tensor.payload {
            return tensor
        } else {
            tensor.payload =
                !doubles.isEmpty ? .doubles(doubles) : !floats.isEmpty ? .floats(floats) : .integers(integers)
        }
        return tensor
    }

    private static func append(
        _ payload: ProtobufReader.Payload, to doubles: inout [Double], part: String
    ) throws(ONNXFault) {
        if case .fixed64(let bits) = payload { return doubles.append(Double(bitPattern: bits)) }
        guard let message = payload.message, message.count.isMultiple(of: 8) else {
            throw .malformed(part: part, problem: "numbers of another type")
        }
        for offset in stride(from: 0, to: message.count, by: 8) {
            let bits = UInt64(littleEndian: message.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            doubles.append(Double(bitPattern: bits))
        }
    }

    private static func externalPayload(
        _ entries: [String: String], _ name: String
    ) throws(ONNXFault) -> ONNXTensor.Payload {
        let offset = entries["offset"].map { Int($0) } ?? 0
        let length = entries["length"].map { Int($0) }
        guard let location = entries["location"], let offset, offset >= 0, length != .some(nil),
            (length ?? 0) ?? 0 >= 0
        else { throw .externalData(tensor: name, problem: "no location, or an offset or length that is no number") }
        return .external(location: location, offset: offset, length: length ?? nil)
    }
}
