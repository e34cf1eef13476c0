// Weights in signed bytes, in safetensors: beside each tensor of type I8 its scales, one for each output channel.
//
//     layer1.0.conv1.weight        I8   (64, 64, 3, 3)       weight = byte * scale of its output channel
//     layer1.0.conv1.weight_scale  F32  (64)
//     __metadata__["quantization"]      which values are bytes too, and what they stand for (Quantization.json)
//
// Floats come first, as other writers order tensors, so that readers may use them where they lie.

import ResNetGraph
import ResNetSupport

extension TensorMapping {
    /// Signed bytes get their scales, which are then no tensors of their own.
    mutating func joinScales(_ file: UnsafeRawBufferPointer) {
        var scales: [String: [Float]] = [:]
        for tensor in tensors where tensor.key.hasSuffix(MetadataKey.scaleSuffix) {
            guard tensor.type == .float32, tensor.geometry.shape.count == 1, case .raw(let range) = tensor.payload,
                let bytes = file.slice(range)
            else { continue }
            scales[String(tensor.key.dropLast(MetadataKey.scaleSuffix.utf8.count))] =
                (0..<tensor.geometry.count).map {
                    Float(
                        bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
                }
        }
        var joined: Set<String> = []
        for index in tensors.indices where tensors[index].type == .int8 {
            guard let found = scales[tensors[index].key], !found.isEmpty,
                tensors[index].geometry.shape.first == found.count
            else { continue }
            tensors[index].scales = found
            joined.insert(tensors[index].key + MetadataKey.scaleSuffix)
        }
        tensors.removeAll { joined.contains($0.key) }
    }
}

extension WeightFile {
    /// Which convolutions of `graph` these weights are quantized for; nil for floats.
    /// - Throws: `malformed` for a description that does not belong to the weights.
    func quantization(of graph: Graph) throws(WeightFileError) -> Quantization? {
        guard let text = facts[MetadataKey.quantization] else { return nil }
        var scales: [String: [Float]] = [:]
        for spec in graph.parameters where spec.role == .convWeight {
            scales[spec.name] = self.scales(named: spec.name)
        }
        do throws(QuantizationFault) { return try Quantization(json: text, scales: scales) } catch {
            throw WeightFileError(
                path: path,
                fault: .malformed(part: "__metadata__.\(MetadataKey.quantization)", problem: error.description))
        }
    }
}

extension WeightWriter {
    /// A model's tensors, those of `quantization` in signed bytes.
    static func write(
        _ tensors: [(key: String, tensor: Tensor)], _ quantization: Quantization, _ metadata: [String: String],
        to path: String
    ) throws(WeightFileError) {
        var floats: [(key: String, tensor: Tensor)] = []
        var bytes: [Safetensors.Bytes] = []
        for (key, tensor) in tensors {
            guard let weights = quantization.weights[key] else {
                floats.append((key, tensor))
                continue
            }
            floats.append(
                (key + MetadataKey.scaleSuffix, Tensor(shape: [weights.scales.count], values: weights.scales)))
            bytes.append(Safetensors.Bytes(key: key, tensor: tensor, weights: weights))
        }
        var notes = metadata
        notes[MetadataKey.quantization] = quantization.json
        try naming(path) { () throws(FileFault) in
            let file = try AtomicFile(path)
            try Safetensors.write(floats, notes, bytes: bytes, to: file)
            try file.commit()
        }
    }
}

extension Safetensors {
    /// A tensor that is written as signed bytes.
    struct Bytes {
        let key: String
        let tensor: Tensor
        let weights: Quantization.Weights

        func write(to file: AtomicFile) throws(FileFault) {
            let bytes = tensor.withUnsafeFloats { weights.bytes(of: $0) }
            try bytes.withUnsafeBytes { bytes -> Result<Void, FileFault> in
                do throws(FileFault) { return .success(try file.write(bytes)) } catch { return .failure(error) }
            }.get()
        }
    }
}
