// NumPy's arrays in pickles. An array is made empty and gets its state by BUILD, or is made from a buffer at once (protocol
// 5); either way it ends as four items: shape, dtype, whether in Fortran's order, bytes.
//
//     numpy.core.multiarray._reconstruct(numpy.ndarray, (0,), b'b')  BUILD (1, shape, dtype, fortran, bytes)
//     numpy.core.numeric._frombuffer(bytes, dtype, shape, 'C')
//     numpy.dtype('f4', False, True)                                 BUILD (3, '<', None, None, None, -1, -1, 0)

import ResNetSupport

/// An array of a pickle that can be read.
struct PickleArray {
    let type: ElementType
    let bigEndian: Bool
    let geometry: TensorGeometry
    let bytes: PickleBytes
}

extension PickleHeap {
    mutating func setArray(_ index: Int, _ state: PickleValue, _ part: String) throws(WeightFault) {
        // Python 2's first version had no version number.
        guard let items = tuple(state), items.count == 5 || items.count == 4 else { return }
        try replaceItems(of: index, by: Array(items.suffix(4)))
    }

    /// (version, byte order, subtype, names, fields, ...): names say that the array is structured.
    mutating func setArrayType(_ index: Int, _ state: PickleValue) throws(WeightFault) {
        guard let items = tuple(state), items.count >= 5, let name = self[index].items.first else { return }
        let isPlain = items[2] == .none && items[3] == .none
        try replaceItems(of: index, by: [isPlain ? name : .string("V"), items[1]])
    }

    mutating func arrayFromBuffer(_ items: [PickleValue]) throws(WeightFault) -> PickleValue? {
        guard items.count >= 3 else { return nil }
        let isFortran = items.count > 3 && items[3] == .string("F")
        return try make(.array, [items[2], items[1], .bool(isFortran), items[0]])
    }

    /// An array's elements, or why they cannot be read; nil where `value` is no array.
    mutating func array(_ value: PickleValue) throws(WeightFault) -> Result<PickleArray, UnreadReason>? {
        guard case .object(let index) = value, self[index].kind == .array else { return nil }
        let items = self[index].items
        guard items.count == 4, let shape = integers(items[0]) else { return .failure("an array without a shape") }
        guard case .object(let typeIndex) = items[1], self[typeIndex].kind == .arrayType,
            case .string(let name)? = self[typeIndex].items.first, case .string(let order)? = self[typeIndex].items.last
        else { return .failure("an array of an unknown dtype") }
        guard let type = NpyHeader.elementTypes[name] else { return .failure("its dtype is \(order)\(name)") }
        let isFortran: Bool
        switch items[2] {
        case .bool(let flag): isFortran = flag
        case .integer(let flag): isFortran = flag != 0
        default: return .failure("an array of unknown order")
        }
        let bytes: PickleBytes
        switch items[3] {
        case .bytes(let index): bytes = self.bytes(index)
        case .string(let text):
            // Python 2's bytes that happened to be text.
            guard case .bytes(let made) = try makeBytes(decoded: Array(text.utf8)) else { return nil }
            bytes = self.bytes(made)
        default: return .failure("its elements are \(noun(items[3]))")
        }
        guard bytes.encoding != .elsewhere else { return .failure("its bytes are not in the file") }
        guard let geometry = TensorGeometry(dense: shape, columnMajor: isFortran),
            let size = checkedProduct([geometry.count, type.size])
        else { return .failure("its shape is \(shape)") }
        // Text takes one or two bytes for each of the array's.
        let isWhole =
            bytes.encoding == .latin1Text
            ? bytes.range.count >= size && bytes.range.count / 2 <= size : bytes.range.count == size
        guard isWhole else { return .failure("its shape \(shape) takes \(size) bytes, \(bytes.range.count) are there") }
        return .success(PickleArray(type: type, bigEndian: order == ">", geometry: geometry, bytes: bytes))
    }

    /// Shape and place of an array of bytes in C's order, or nil.
    package mutating func byteArray(_ value: PickleValue) -> (shape: [Int], bytes: Range<Int>)? {
        guard case .success(let array)? = try? array(value), array.type == .uint8, array.bytes.encoding == .plain,
            array.geometry.isContiguous
        else { return nil }
        return (array.geometry.shape, array.bytes.range)
    }
}

/// Why something cannot be read, in words.
struct UnreadReason: Error, ExpressibleByStringInterpolation, CustomStringConvertible {
    let description: String

    init(stringLiteral value: String) { description = value }
}
