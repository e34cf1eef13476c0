// safetensors: a JSON header, then the tensors, row-major and little-endian, without holes.
//
//     +----------------+------------------------------------------+---------------------------+
//     | u64 header size| {"key": {"dtype", "shape", "data_offsets"}, ...} + spaces | tensor bytes |
//     +----------------+------------------------------------------+---------------------------+
//                                          data_offsets [begin, end) count from here ^
//
// Format: https://huggingface.co/docs/safetensors (header at most 100,000,000 bytes; ranges contiguous and exhaustive).

import ResNetGraph
import ResNetSupport

enum Safetensors {
    static let maximumHeader = 100_000_000

    static let types: [String: ElementType] = [
        "F32": .float32, "F16": .float16, "BF16": .bfloat16, "F64": .float64, "I64": .int64, "I32": .int32,
        "I16": .int16, "I8": .int8, "U64": .uint64, "U32": .uint32, "U16": .uint16, "U8": .uint8, "BOOL": .bool,
    ]
    /// Bits per element of the types that are not read. Of any other type the size is not known.
    static let otherTypes: [String: Int] = [
        "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6,
        "F6_E3M2": 6, "C64": 64,
    ]

    static func read(_ file: UnsafeRawBufferPointer) throws(WeightFault) -> ContainerContents {
        var cursor = ByteCursor(file, part: "safetensors header")
        let announced = try cursor.take(UInt64.self)
        guard announced <= UInt64(maximumHeader) else {
            throw .exceedsLimit("safetensors header of \(announced) bytes; the format allows \(maximumHeader)")
        }
        let headerBytes = try cursor.take(Int(announced))
        let dataStart = cursor.offset
        let dataSize = cursor.remaining

        let header: JSONValue
        do throws(JSONError) { header = try JSONValue.parse(headerBytes, maximumDepth: 4) } catch {
            switch error.kind {
            case .duplicateKey(let key): throw .duplicateKey(key)
            case .limit: throw .exceedsLimit("safetensors header: \(error)")
            case .syntax: throw .malformed(part: "safetensors header", problem: "\(error)")
            }
        }
        guard case .object(let members) = header else {
            throw .malformed(part: "safetensors header", problem: "it is not an object")
        }
        var mapping = TensorMapping()
        mapping.isInModuleOrder = false
        var notes: [String: String] = [:]
        var ranges: [(range: Range<Int>, key: String)] = []
        for member in members {
            if member.key == "__metadata__" {
                notes = try metadata(member.value)
                continue
            }
            let (range, tensor) = try entry(member, dataStart: dataStart, dataSize: dataSize)
            ranges.append((range, member.key))
            switch tensor {
            case .success(let tensor): mapping.tensors.append(tensor)
            case .failure(let reason):
                mapping.unread.append(UnreadTensor(key: member.key, reason: reason.description))
            }
        }
        try checkExhaustive(ranges, from: dataStart, to: file.count)
        if notes[MetadataKey.marker] != nil, notes[MetadataKey.quantization] != nil { mapping.joinScales(file) }
        var contents = try ContainerContents(flat: mapping)
        contents.metadata = notes
        return contents
    }

    private static func metadata(_ value: JSONValue) throws(WeightFault) -> [String: String] {
        guard case .object(let members) = value else {
            throw .malformed(part: "safetensors header", problem: "__metadata__ is not an object")
        }
        var result: [String: String] = [:]
        for member in members {
            guard let text = member.value.stringValue else {
                throw .malformed(part: "safetensors header", problem: "__metadata__.\(member.key) is not a string")
            }
            result[member.key] = text
        }
        return result
    }

    /// Where a tensor lies, and the tensor, or why it is not read.
    private static func entry(
        _ member: JSONMember, dataStart: Int, dataSize: Int
    ) throws(WeightFault) -> (range: Range<Int>, tensor: Result<StoredTensor, UnreadReason>) {
        let key = member.key
        func fault(_ problem: String) -> WeightFault { .malformed(part: "tensor \(key)", problem: problem) }
        guard case .object(let fields) = member.value else { throw fault("its entry is not an object") }
        for field in fields where !["dtype", "shape", "data_offsets"].contains(field.key) {
            throw fault("unknown field \(field.key)")
        }
        guard let typeName = member.value["dtype"]?.stringValue else { throw fault("no dtype") }
        guard let shape = nonNegative(member.value["shape"]) else {
            throw fault("its shape is not a list of non-negative integers")
        }
        guard shape.count <= 32 else { throw fault("\(shape.count) dimensions") }
        guard let offsets = nonNegative(member.value["data_offsets"]), offsets.count == 2 else {
            throw fault("data_offsets is not a pair of non-negative integers")
        }
        let (begin, end) = (offsets[0], offsets[1])
        guard begin <= end else { throw fault("its range ends at \(end) before it begins at \(begin)") }
        guard end <= dataSize else {
            throw .truncated(part: "tensor \(key)", needed: end, available: dataSize)
        }
        let type = types[typeName]
        let range = dataStart + begin..<dataStart + end
        guard let geometry = TensorGeometry(dense: shape), let count = checkedProduct([geometry.count, 64]) else {
            throw fault("overflowing shape \(shape)")
        }
        if let bits = type.map({ $0.size * 8 }) ?? otherTypes[typeName] {
            let size = (count / 64 * bits + 7) / 8
            guard size == end - begin else {
                throw fault("\(typeName) \(shape) takes \(size) bytes, its range has \(end - begin)")
            }
        }
        guard let type else { return (range, .failure("its dtype is \(typeName)")) }
        return (
            range,
            .success(
                StoredTensor(key: key, type: type, bigEndian: false, geometry: geometry, payload: .raw(range)))
        )
    }

    /// The sizes of a JSON list, or nil where it is anything else.
    private static func nonNegative(_ value: JSONValue?) -> [Int]? {
        guard let items = value?.arrayValue else { return nil }
        var result: [Int] = []
        for item in items {
            guard let size = item.integerValue, size >= 0 else { return nil }
            result.append(size)
        }
        return result
    }

    /// Ranges must tile the data section: an overlap or a hole is how files smuggle other content.
    private static func checkExhaustive(
        _ ranges: [(range: Range<Int>, key: String)], from start: Int, to end: Int
    ) throws(WeightFault) {
        var position = start
        let sorted = ranges.sorted {
            ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
        }
        for (range, key) in sorted {
            guard range.lowerBound == position else {
                let what = range.lowerBound < position ? "overlaps another tensor" : "follows a hole"
                throw .malformed(part: "tensor \(key)", problem: "its range \(what)")
            }
            position = range.upperBound
        }
        guard position == end else {
            throw .malformed(
                part: "safetensors data", problem: "\(end - position) bytes at its end belong to no tensor")
        }
    }
}
