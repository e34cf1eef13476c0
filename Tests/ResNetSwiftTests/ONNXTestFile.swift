// ONNX files that tests write field by field (onnx.proto3): nodes, stored tensors, and the model around them.

@testable import ResNetONNX
@testable import ResNetSwift

extension ProtobufWriter {
    /// A NodeProto of a GraphProto, with the attribute `axis` if there is one.
    mutating func node(
        _ operation: String, _ inputs: [String], _ output: String, name: String = "", axis: Int? = nil
    ) {
        message(1) { node in
            for input in inputs { node.text(1, input) }
            node.text(2, output)
            node.text(3, name)
            node.text(4, operation)
            guard let axis else { return }
            node.message(5) {
                $0.text(1, "axis")
                $0.integer(3, axis)
                $0.integer(20, 2)
            }
        }
    }

    /// A TensorProto of a GraphProto. `kind`: TensorProto.DataType.
    mutating func tensor(_ name: String, _ shape: [Int], kind: Int, _ bytes: [UInt8]) {
        message(5) { tensor in
            for size in shape { tensor.integer(1, size) }
            tensor.integer(2, kind)
            tensor.text(8, name)
            bytes.withUnsafeBytes { tensor.raw(9, $0) }
        }
    }

    /// A ModelProto: `graph` writes what stands between its input `x` and its output `out`, floats of these shapes.
    static func onnxFile(
        opset: Int, x: [Int], out: [Int], metadata: [String: String] = [:], graph body: (inout ProtobufWriter) -> Void
    ) -> [UInt8] {
        var graph = ProtobufWriter()
        body(&graph)
        for (field, name, sizes) in [(11, "x", x), (12, "out", out)] {
            graph.message(field) { port in
                port.text(1, name)
                port.message(2) { type in
                    type.message(1) { tensor in
                        tensor.integer(1, 1)
                        tensor.message(2) { shape in for size in sizes { shape.message(1) { $0.integer(1, size) } } }
                    }
                }
            }
        }
        var file = ProtobufWriter()
        file.integer(1, 8)
        graph.bytes.withUnsafeBytes { file.raw(7, $0) }
        file.message(8) { $0.integer(2, opset) }
        for (key, value) in metadata {
            file.message(14) {
                $0.text(1, key)
                $0.text(2, value)
            }
        }
        return file.bytes
    }
}
