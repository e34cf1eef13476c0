// The values of a stored tensor: floats for weights, integers for shapes and axes.

import ResNetGraph
import ResNetSupport

/// Files beside the model, by the name that a tensor gives; each is mapped once.
final class ONNXExternalFiles {
    private let folder: String?
    private var open: [String: MappedFile] = [:]
    /// Of all that were opened.
    private(set) var byteCount = 0

    /// - Parameter folder: where the model lies; nil where it came as bytes and has no neighbors.
    init(folder: String?) { self.folder = folder }

    func bytes(_ location: String, offset: Int, length: Int, tensor: String) throws(ONNXFault) -> UnsafeRawBufferPointer
    {
        guard let folder else {
            throw .externalData(tensor: tensor, problem: "the model was given as bytes, without files beside it")
        }
        // A model must not make anybody read files elsewhere.
        guard !location.hasPrefix("/"), !location.split(separator: "/").contains(".."), !location.utf8.contains(0)
        else {
            throw .externalData(tensor: tensor, problem: "\"\(location)\" is not in the model's folder")
        }
        if open[location] == nil {
            do throws(FileFault) { open[location] = try MappedFile(path: "\(folder)/\(location)") } catch {
                throw .externalData(tensor: tensor, problem: "\(folder)/\(location) \(error)")
            }
            byteCount += open[location]!.bytes.count
        }
        let all = open[location]!.bytes
        guard let range = checkedRange(start: offset, count: length, limit: all.count), let slice = all.slice(range)
        else {
            throw .externalData(
                tensor: tensor, problem: "\(length) bytes from \(offset) announced, \(location) has \(all.count)")
        }
        return slice
    }

    /// Gives the pages of a tensor back after it was converted, so that a model is never in memory twice.
    func discard(_ bytes: UnsafeRawBufferPointer) {
        guard folder != nil, bytes.count >= 1 << 16, let base = bytes.baseAddress else { return }
        discardFilePages(base, bytes.count)
    }
}

extension ONNXTensor.ElementKind {
    var size: Int {
        switch self {
        case .uint8, .int8, .bool: 1
        case .uint16, .int16, .float16, .bfloat16: 2
        case .float32, .int32: 4
        case .int64, .float64: 8
        }
    }
}

extension ONNXTensor {
    /// Values announced; nil where the product does not fit.
    private func count() throws(ONNXFault) -> Int {
        guard let count = checkedProduct(shape), count <= Int(Int32.max) else {
            throw .malformed(part: "tensor \(name)", problem: "shape \(shape)")
        }
        return count
    }

    private func mismatch(_ found: Int, _ wanted: Int, _ unit: String) -> ONNXFault {
        .malformed(part: "tensor \(name)", problem: "\(found) \(unit), but shape \(shape) needs \(wanted)")
    }

    private func rawBytes(_ files: ONNXExternalFiles) throws(ONNXFault) -> UnsafeRawBufferPointer? {
        let wanted = try count() * kind.size
        switch payload {
        case .raw(let bytes):
            guard bytes.count == wanted else { throw mismatch(bytes.count, wanted, "bytes") }
            return bytes
        case .external(let location, let offset, let length):
            if let length, length != wanted { throw mismatch(length, wanted, "bytes") }
            return try files.bytes(location, offset: offset, length: wanted, tensor: name)
        default: return nil
        }
    }

    /// Weights as float32; float16, bfloat16 and float64 are converted.
    func floats(_ files: ONNXExternalFiles) throws(ONNXFault) -> [Float] {
        let wanted = try count()
        if let raw = try rawBytes(files) {
            defer { files.discard(raw) }
            func each<T: FixedWidthInteger>(_ type: T.Type, _ convert: (T) -> Float) -> [Float] {
                (0..<wanted).map {
                    convert(T(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self)))
                }
            }
            switch kind {
            case .float32:
                return [Float](unsafeUninitializedCapacity: wanted) { target, written in
                    UnsafeMutableRawBufferPointer(target).copyMemory(from: raw)
                    written = wanted
                }
            case .float64: return each(UInt64.self) { Float(Double(bitPattern: $0)) }
            case .float16: return each(UInt16.self, halfToFloat)
            case .bfloat16: return each(UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
            default: throw .malformed(part: "tensor \(name)", problem: "expected floats, found \(kind)")
            }
        }
        let values: [Float]
        switch (payload, kind) {
        case (.floats(let floats), .float32): values = floats
        case (.doubles(let doubles), .float64): values = doubles.map(Float.init)
        case (.integers(let integers), .float16): values = integers.map { halfToFloat(UInt16(truncatingIfNeeded: $0)) }
        case (.integers(let integers), .bfloat16):
            values = integers.map { Float(bitPattern: UInt32(truncatingIfNeeded: $0) << 16) }
        case _ where wanted == 0: values = []
        default: throw .malformed(part: "tensor \(name)", problem: "expected floats, found \(kind)")
        }
        guard values.count == wanted else { throw mismatch(values.count, wanted, "values") }
        return values
    }

    func tensor(_ files: ONNXExternalFiles) throws(ONNXFault) -> Tensor {
        Tensor(shape: shape, values: try floats(files))
    }

    /// Shapes, axes and the like.
    func integers(_ files: ONNXExternalFiles) throws(ONNXFault) -> [Int] {
        let wanted = try count()
        guard wanted <= 64 else { throw .malformed(part: "tensor \(name)", problem: "\(wanted) integers for a shape") }
        if let raw = try rawBytes(files) {
            switch kind {
            case .int64:
                return (0..<wanted).map {
                    Int(Int64(littleEndian: raw.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self)))
                }
            case .int32:
                return (0..<wanted).map {
                    Int(Int32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self)))
                }
            default: throw .malformed(part: "tensor \(name)", problem: "expected integers, found \(kind)")
            }
        }
        guard case .integers(let integers) = payload, kind == .int64 || kind == .int32, integers.count == wanted else {
            if wanted == 0 { return [] }
            throw .malformed(part: "tensor \(name)", problem: "expected \(wanted) integers, found \(kind)")
        }
        return integers.map(Int.init)
    }
}

extension ONNXTensor {
    /// Bytes and 32-bit integers that have scales.
    func wholeNumbers(_ files: ONNXExternalFiles) throws(ONNXFault) -> [Int32] {
        let wanted = try count()
        if let raw = try rawBytes(files) {
            defer { files.discard(raw) }
            switch kind {
            case .uint8: return raw.map { Int32($0) }
            case .int8: return raw.map { Int32(Int8(bitPattern: $0)) }
            case .int32:
                return (0..<wanted).map {
                    Int32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self))
                }
            default: throw .malformed(part: "tensor \(name)", problem: "expected bytes, found \(kind)")
            }
        }
        let range: ClosedRange<Int64>
        switch kind {
        case .uint8: range = 0...255
        case .int8: range = -128...127
        case .int32: range = Int64(Int32.min)...Int64(Int32.max)
        default: throw .malformed(part: "tensor \(name)", problem: "expected bytes, found \(kind)")
        }
        guard case .integers(let integers) = payload, integers.count == wanted, integers.allSatisfy(range.contains)
        else { throw .malformed(part: "tensor \(name)", problem: "expected \(wanted) numbers of \(kind)") }
        return integers.map(Int32.init)
    }
}

/// IEEE binary16 to float32, subnormals and infinities included.
private func halfToFloat(_ bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let exponent = UInt32(bits >> 10 & 0x1f)
    let fraction = UInt32(bits & 0x3ff)
    switch exponent {
    case 0: return Float(fraction) * 0x1p-24 * (sign == 0 ? 1 : -1)
    case 31: return Float(bitPattern: sign | 0x7f80_0000 | fraction << 13)
    default: return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
    }
}
