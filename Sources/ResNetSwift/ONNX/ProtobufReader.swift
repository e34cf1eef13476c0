// Protobuf's wire format, read field by field. ONNX needs a dozen message types of it, so a generated reader with its runtime
// would be larger than this file.
//
// Source: https://protobuf.dev/programming-guides/encoding/

/// The fields of one message, in the order in which they lie. Every length is checked against the end.
struct ProtobufReader {
    enum Payload {
        case varint(UInt64)
        case fixed32(UInt32)
        case fixed64(UInt64)
        /// Text, bytes, a nested message, or packed numbers.
        case bytes(UnsafeRawBufferPointer)
    }

    private var rest: UnsafeRawBufferPointer
    /// For errors, e.g. `graph`.
    private let part: String

    init(_ bytes: UnsafeRawBufferPointer, part: String) {
        rest = bytes
        self.part = part
    }

    /// The next field, or nil at the end of the message.
    mutating func next() throws(ONNXFault) -> (field: Int, payload: Payload)? {
        guard !rest.isEmpty else { return nil }
        let key = try varint()
        let field = key >> 3
        guard field > 0, field < 1 << 29 else { throw .malformed(part: part, problem: "field number \(field)") }
        switch key & 7 {
        case 0: return (Int(field), .varint(try varint()))
        case 1: return (Int(field), .fixed64(try fixed(UInt64.self)))
        case 2:
            let count = try varint()
            guard count <= UInt64(rest.count) else {
                throw .malformed(part: part, problem: "\(count) bytes announced, \(rest.count) left")
            }
            return (Int(field), .bytes(take(Int(count))))
        case 5: return (Int(field), .fixed32(try fixed(UInt32.self)))
        default: throw .malformed(part: part, problem: "wire type \(key & 7)")
        }
    }

    private mutating func take(_ count: Int) -> UnsafeRawBufferPointer {
        let taken = UnsafeRawBufferPointer(rebasing: rest[..<count])
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        return taken
    }

    private mutating func varint() throws(ONNXFault) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<min(10, rest.count) {
            let byte = rest[index]
            value |= UInt64(byte & 0x7f) << UInt64(7 * index)
            if byte < 0x80 {
                rest = UnsafeRawBufferPointer(rebasing: rest[(index + 1)...])
                return value
            }
        }
        throw .malformed(part: part, problem: "a number without an end")
    }

    private mutating func fixed<T: FixedWidthInteger>(_ type: T.Type) throws(ONNXFault) -> T {
        guard rest.count >= MemoryLayout<T>.size else { throw .malformed(part: part, problem: "cut off in a number") }
        return T(littleEndian: take(MemoryLayout<T>.size).loadUnaligned(as: T.self))
    }
}

extension ProtobufReader.Payload {
    /// A signed integer: protobuf's int32 and int64 are two's complement varints.
    var integer: Int64? { if case .varint(let value) = self { Int64(bitPattern: value) } else { nil } }

    var float: Float? { if case .fixed32(let bits) = self { Float(bitPattern: bits) } else { nil } }

    var message: UnsafeRawBufferPointer? { if case .bytes(let bytes) = self { bytes } else { nil } }

    var text: String? { message.map { String(decoding: $0, as: UTF8.self) } }

    /// Repeated integers come one a field, or packed in one.
    func append(to integers: inout [Int64], part: String) throws(ONNXFault) {
        if let integer { return integers.append(integer) }
        guard let message else { throw .malformed(part: part, problem: "an integer of another type") }
        var packed = message
        while !packed.isEmpty {
            var value: UInt64 = 0
            var length = 0
            for byte in packed.prefix(10) {
                value |= UInt64(byte & 0x7f) << UInt64(7 * length)
                length += 1
                if byte < 0x80 { break }
            }
            guard packed[length - 1] < 0x80 else {
                throw .malformed(part: part, problem: "a number without an end")
            }
            integers.append(Int64(bitPattern: value))
            packed = UnsafeRawBufferPointer(rebasing: packed[length...])
        }
    }

    /// Repeated floats come one a field, or packed in one.
    func append(to floats: inout [Float], part: String) throws(ONNXFault) {
        if let float { return floats.append(float) }
        guard let message, message.count.isMultiple(of: 4) else {
            throw .malformed(part: part, problem: "floats of another type")
        }
        for offset in stride(from: 0, to: message.count, by: 4) {
            let bits = UInt32(littleEndian: message.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            floats.append(Float(bitPattern: bits))
        }
    }
}
