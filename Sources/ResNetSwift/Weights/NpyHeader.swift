// The header of NumPy's array format, versions 1 to 3 (NEP 1, numpy.lib.format).
//
//     \x93NUMPY | major | minor | header size: u16 in version 1, u32 in 2 and 3 | Python dict literal, spaces, \n | data
//     {'descr': '<f4', 'fortran_order': False, 'shape': (64, 3, 7, 7), }

import ResNetSupport

struct NpyHeader: Sendable, Hashable {
    let type: ElementType
    let bigEndian: Bool
    let geometry: TensorGeometry
    /// Bytes before the data, magic included.
    let size: Int

    /// NumPy itself refuses more than 10,000 unless told otherwise.
    static let maximumHeader = 65_536

    /// Bytes of data that the shape takes; verified not to overflow.
    let dataSize: Int

    /// - Parameter read: the next n bytes of the array; called for the fixed part first, then for the rest.
    init(part: String, read: (Int) throws(WeightFault) -> [UInt8]) throws(WeightFault) {
        func fault(_ problem: String) -> WeightFault { .malformed(part: part, problem: problem) }
        let fixed = try read(8)
        guard fixed[..<6].elementsEqual([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]) else {
            throw fault("it does not begin with the npy magic")
        }
        let (major, minor) = (fixed[6], fixed[7])
        guard (1...3).contains(major), minor == 0 else {
            throw .unsupported("\(part) has npy version \(major).\(minor)")
        }
        let widthOfSize = major == 1 ? 2 : 4
        let length = try read(widthOfSize).reversed().reduce(0) { $0 << 8 | Int($1) }
        guard length <= Self.maximumHeader else {
            throw .exceedsLimit("\(part): npy header of \(length) bytes; at most \(Self.maximumHeader) are read")
        }
        let text = try read(length)
        size = 8 + widthOfSize + length

        var literal = PythonLiteral(text: text, part: part)
        let fields = try literal.dictionary()
        guard Set(fields.keys) == ["descr", "fortran_order", "shape"] else {
            throw fault("its header has the fields \(fields.keys.sorted())")
        }
        guard case .bool(let columnMajor)? = fields["fortran_order"] else { throw fault("fortran_order is no bool") }
        guard case .tuple(let shape)? = fields["shape"] else { throw fault("its shape is not a tuple of sizes") }
        guard case .string(let descr)? = fields["descr"] else {
            throw .unsupported("\(part) is a structured array")
        }
        (type, bigEndian) = try Self.elementType(descr, part)
        guard shape.count <= 64 else { throw fault("\(shape.count) dimensions") }
        guard let geometry = TensorGeometry(dense: shape, columnMajor: columnMajor),
            let bytes = checkedProduct([geometry.count, type.size])
        else { throw fault("negative or overflowing shape \(shape)") }
        self.geometry = geometry
        dataSize = bytes
    }

    /// NumPy's names without the byte order.
    static let elementTypes: [String: ElementType] = [
        "f4": .float32, "f2": .float16, "f8": .float64, "i8": .int64, "i4": .int32, "i2": .int16, "i1": .int8,
        "u8": .uint64, "u4": .uint32, "u2": .uint16, "u1": .uint8, "b1": .bool,
    ]

    /// - Throws: `unsupported` for arrays of what is no plain number: text, dates, complex numbers, objects.
    private static func elementType(_ descr: String, _ part: String) throws(WeightFault) -> (ElementType, Bool) {
        guard let order = descr.first, let type = elementTypes[String(descr.dropFirst())] else {
            if descr.hasSuffix("O") { throw .unsupported("\(part) is an object array, that is a pickle") }
            throw .unsupported("\(part) has dtype \(descr)")
        }
        switch order {
        case "<", "=": return (type, false)
        case ">": return (type, true)
        case "|" where type.size == 1: return (type, false)
        default: throw .unsupported("\(part) has dtype \(descr)")
        }
    }
}

/// The subset of Python's literals that npy headers use: one flat dict of strings, bools and tuples of integers.
private struct PythonLiteral {
    enum Value {
        case string(String)
        case bool(Bool)
        case tuple([Int])
    }

    let text: [UInt8]
    let part: String
    var offset = 0

    init(text: [UInt8], part: String) {
        self.text = text
        self.part = part
    }

    func fault(_ problem: String) -> WeightFault {
        .malformed(part: part, problem: "npy header: \(problem) at byte \(offset)")
    }

    var next: UInt8? { offset < text.count ? text[offset] : nil }

    mutating func skipSpaces() {
        while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x09 || byte == 0x0d { offset += 1 }
    }

    mutating func accept(_ character: Unicode.Scalar) -> Bool {
        skipSpaces()
        guard next == UInt8(ascii: character) else { return false }
        offset += 1
        return true
    }

    mutating func dictionary() throws(WeightFault) -> [String: Value] {
        guard accept("{") else { throw fault("a dict is expected") }
        var result: [String: Value] = [:]
        while !accept("}") {
            let key = try string()
            guard accept(":") else { throw fault("a colon is expected") }
            guard result.updateValue(try value(), forKey: key) == nil else { throw fault("\(key) occurs twice") }
            guard
                accept(",")
                    || {
                        skipSpaces()
                        return next == UInt8(ascii: "}")
                    }()
            else {
                throw fault("a comma is expected")
            }
        }
        skipSpaces()
        guard next == nil else { throw fault("more text after the dict") }
        return result
    }

    private mutating func value() throws(WeightFault) -> Value {
        skipSpaces()
        switch next {
        case UInt8(ascii: "'"), UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "("): return .tuple(try tuple())
        case UInt8(ascii: "["): throw .unsupported("\(part) is a structured array")
        default:
            if accept(word: "True") { return .bool(true) }
            if accept(word: "False") { return .bool(false) }
            throw fault("no value starts like this")
        }
    }

    private mutating func accept(word: String) -> Bool {
        guard text[offset...].starts(with: word.utf8) else { return false }
        offset += word.utf8.count
        return true
    }

    private mutating func string() throws(WeightFault) -> String {
        skipSpaces()
        guard let quote = next, quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else {
            throw fault("a string is expected")
        }
        offset += 1
        guard let end = text[offset...].firstIndex(of: quote),
            let result = String(validating: text[offset..<end], as: UTF8.self), !result.contains("\\")
        else { throw fault("an odd string") }
        offset = end + 1
        return result
    }

    private mutating func tuple() throws(WeightFault) -> [Int] {
        offset += 1
        var result: [Int] = []
        while !accept(")") {
            skipSpaces()
            // A dtype of arrays: ('<f4', (2,)).
            if next == UInt8(ascii: "'") || next == UInt8(ascii: "\"") {
                throw .unsupported("\(part) is a structured array")
            }
            let start = offset
            while let byte = next, byte == UInt8(ascii: "-") || (0x30...0x39).contains(byte) { offset += 1 }
            guard let size = Int(String(decoding: text[start..<offset], as: UTF8.self)) else {
                throw fault("a size that is no integer")
            }
            result.append(size)
            _ = accept("L")  // Python 2 wrote its long integers so
            guard
                accept(",")
                    || {
                        skipSpaces()
                        return next == UInt8(ascii: ")")
                    }()
            else {
                throw fault("a comma is expected")
            }
        }
        return result
    }
}
