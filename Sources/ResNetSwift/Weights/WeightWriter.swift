// Writing weights: safetensors and npz, float32, under torchvision's names. Both appear under their name whole or not at
// all (AtomicFile), and neither is ever assembled in memory.

import ResNetGraph
import ResNetSupport

/// The containers that are written.
public enum WeightFormat: String, Sendable, Hashable, CaseIterable {
    /// Chosen by a path's ending; both hold float32 under torchvision's names.
    case safetensors, npz

    /// By the ending of a path, or nil.
    public init?(path: String) {
        if path.hasSuffix(".safetensors") {
            self = .safetensors
        } else if path.hasSuffix(".npz") {
            self = .npz
        } else {
            return nil
        }
    }
}

extension Model {
    /// Writes all parameters and buffers in the graph's order, and the metadata: a checkpoint.
    /// - Parameters:
    ///   - path: replaced if it exists, at the end and at once.
    ///   - format: nil means by the ending of `path`, safetensors where that says nothing.
    /// - Throws: `WeightFileError` with `cannotWrite`; what stood there before is intact.
    public func save(to path: String, format: WeightFormat? = nil) throws(WeightFileError) {
        let tensors = graph.parameters.map { (key: $0.name, tensor: self[$0.name]) }
        let format = format ?? WeightFormat(path: path) ?? .safetensors
        guard let quantization else {
            return try WeightWriter.write(tensors, metadata: metadata, to: path, format: format)
        }
        guard format == .safetensors else {
            throw WeightFileError(
                path: path,
                fault: .cannotWrite("weights of 8 bits are written as .safetensors, not as .\(format.rawValue)"))
        }
        try WeightWriter.write(tensors, quantization, metadata, to: path)
    }
}

/// Writes tensors to safetensors, npz and npy: under their name whole or not at all.
public enum WeightWriter {
    /// Writes tensors in the given order.
    /// - Precondition: no key occurs twice.
    /// - Throws: `WeightFileError` with `cannotWrite`; what stood there before is intact.
    public static func write(
        _ tensors: [(key: String, tensor: Tensor)], metadata: [String: String] = [:], to path: String,
        format: WeightFormat
    ) throws(WeightFileError) {
        precondition(Set(tensors.map(\.key)).count == tensors.count, "a key occurs twice")
        try naming(path) { () throws(FileFault) in
            let file = try AtomicFile(path)
            switch format {
            case .safetensors: try Safetensors.write(tensors, metadata, to: file)
            case .npz: try Npz.write(tensors, metadata, to: file)
            }
            try file.commit()
        }
    }

    /// Writes one array as npy.
    /// - Throws: `WeightFileError` with `cannotWrite`; what stood there before is intact.
    public static func writeArray(_ tensor: Tensor, to path: String) throws(WeightFileError) {
        try naming(path) { () throws(FileFault) in
            let file = try AtomicFile(path)
            try file.write(NpyHeader.text(shape: tensor.shape))
            try file.write(tensor)
            try file.commit()
        }
    }
}

/// Of this library's conventions for metadata.
private let version = "1"

extension Safetensors {
    /// Header, padded by spaces so that the tensors begin at a multiple of 64 bytes, then the tensors.
    static func write(
        _ tensors: [(key: String, tensor: Tensor)], _ metadata: [String: String], bytes: [Bytes] = [],
        to file: AtomicFile
    ) throws(FileFault) {
        // Readers of Hugging Face ask for a format; `pt` means the names and layouts of PyTorch.
        var notes = metadata
        notes[MetadataKey.format] = "pt"
        if !metadata.isEmpty { notes[MetadataKey.marker] = version }
        var members = [
            JSONMember(
                key: "__metadata__",
                value: .object(
                    notes.sorted { $0.key < $1.key }.map { JSONMember(key: $0.key, value: .string($0.value)) }))
        ]
        var offset = 0
        func list(_ key: String, _ tensor: Tensor, _ type: String, size: Int) {
            let end = offset + tensor.count * size
            members.append(
                JSONMember(
                    key: key,
                    value: .object([
                        JSONMember(key: "dtype", value: .string(type)),
                        JSONMember(key: "shape", value: .array(tensor.shape.map(JSONValue.integer))),
                        JSONMember(key: "data_offsets", value: .array([.integer(offset), .integer(end)])),
                    ])))
            offset = end
        }
        for (key, tensor) in tensors { list(key, tensor, "F32", size: MemoryLayout<Float>.size) }
        for part in bytes { list(part.key, part.tensor, "I8", size: 1) }
        var header = Array(JSONValue.object(members).text.utf8)
        header += [UInt8](repeating: 0x20, count: (64 - (8 + header.count) % 64) % 64)
        guard header.count <= maximumHeader else {
            throw .cannotWrite("a header of \(header.count) bytes is too large")
        }
        try file.write(littleEndianBytes(UInt64(header.count)) + header)
        for (_, tensor) in tensors { try file.write(tensor) }
        for part in bytes { try part.write(to: file) }
    }
}

extension NpyHeader {
    /// The header of a float32 array in row-major order, version 1.0, padded so that data begin at a multiple of 64.
    static func text(shape: [Int]) -> [UInt8] {
        let sizes = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
        let literal = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(sizes)), }"
        let padding = (64 - (10 + literal.utf8.count + 1) % 64) % 64
        let length = literal.utf8.count + padding + 1
        return [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0] + littleEndianBytes(UInt16(length)) + Array(literal.utf8)
            + [UInt8](repeating: 0x20, count: padding) + [0x0a]
    }
}

extension Npz {
    /// Stored members, aligned by the extra field of the local header so that our reader can use them where they lie.
    fileprivate static func write(
        _ tensors: [(key: String, tensor: Tensor)], _ metadata: [String: String], to file: AtomicFile
    ) throws(FileFault) {
        var zip = ZipWriter(file)
        for (key, tensor) in tensors {
            let header = NpyHeader.text(shape: tensor.shape)
            let crc = tensor.withUnsafeFloats { floats in
                checksumCRC32(UnsafeRawBufferPointer(floats), continuing: header.withUnsafeBytes { checksumCRC32($0) })
            }
            let size = header.count + tensor.count * MemoryLayout<Float>.size
            try zip.beginMember("\(key).npy", size: size, crc: UInt32(crc))
            try file.write(header)
            try file.write(tensor)
        }
        if !metadata.isEmpty {
            let members = metadata.merging([MetadataKey.marker: version]) { _, ours in ours }.sorted { $0.key < $1.key }
            let text = Array(
                JSONValue.object(members.map { JSONMember(key: $0.key, value: .string($0.value)) }).text.utf8)
            try zip.beginMember(
                metadataMember, size: text.count, crc: UInt32(text.withUnsafeBytes { checksumCRC32($0) }))
            try file.write(text)
        }
        try zip.finish()
    }
}

extension AtomicFile {
    fileprivate func write(_ tensor: Tensor) throws(FileFault) {
        try tensor.withUnsafeFloats { floats -> Result<Void, FileFault> in
            do throws(FileFault) { return .success(try write(UnsafeRawBufferPointer(floats))) } catch {
                return .failure(error)
            }
        }.get()
    }
}
