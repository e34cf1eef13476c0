// ONNX in: a network with its weights from one file, whoever wrote it.

import ResNetGraph
import ResNetModels
import ResNetSupport

extension Model {
    /// Reads an ONNX file of a convolutional classifier, operator sets 7 to 26. Weights in files beside it are read too. Where the
    /// layers and their names are those of a model of this library, the model is that one (`MetadataKey.model` says it). Convolutions
    /// between QuantizeLinear and DequantizeLinear compute in 8 bits; other values are not rounded.
    /// - Throws: `ONNXError`: damage, or the first node that no network here can contain, by its name.
    public init(onnx path: String) throws(ONNXError) {
        do throws(ONNXFault) {
            let mapped: MappedFile
            do throws(FileFault) { mapped = try MappedFile(path: path) } catch { throw .cannotRead("\(error)") }
            self = try Self.read(mapped.bytes, folder: path.parentFolder)
            withExtendedLifetime(mapped) {}
        } catch { throw ONNXError(path: path, fault: error) }
    }

    /// True for a file that begins as ONNX files do. No other weight file does; `init(onnx:)` says whether it is whole.
    public static func isONNX(_ path: String) -> Bool {
        guard let file = try? MappedFile(path: path) else { return false }
        return withExtendedLifetime(file) { isONNX(file.bytes) }
    }

    /// The same for a file's bytes.
    public static func isONNX(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { isONNX($0) } }

    private static func isONNX(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count > 8 else { return false }
        // Field 1 of a ModelProto, ir_version. A safetensors file may begin with the same byte, and has its header at 8.
        return bytes[0] == 0x08 && bytes[1] < 0x20 && bytes[8] != UInt8(ascii: "{")
    }

    /// The same for bytes from elsewhere; `name` stands for the path in errors.
    /// - Throws: `ONNXError`, also for weights that lie in files beside the model.
    public init(onnx bytes: [UInt8], name: String) throws(ONNXError) {
        do throws(ONNXFault) {
            let held = MappedFile(copying: bytes)
            self = try Self.read(held.bytes, folder: nil)
            withExtendedLifetime(held) {}
        } catch { throw ONNXError(path: name, fault: error) }
    }

    private static func read(_ bytes: UnsafeRawBufferPointer, folder: String?) throws(ONNXFault) -> Model {
        let file = try ONNXFile(bytes)
        guard 7...26 ~= file.operatorSet else {
            throw .malformed(part: "opset_import", problem: "operator set \(file.operatorSet), expected 7 to 26")
        }
        var importer = ONNXImporter(file, files: ONNXExternalFiles(folder: folder))
        var model = try importer.model()
        let known = ModelName.matching(model.graph, head: model.headKind)
        if let known {
            let read = model
            model = Model(graph: known.graph, parameters: read.parameters)
            model.metadata = read.metadata
            model.quantization = read.quantization?.renamed(from: read.graph, to: known.graph)
        }
        model.metadata[MetadataKey.model] = known?.name.rawValue
        return model
    }
}
