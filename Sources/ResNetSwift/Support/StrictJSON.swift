// A strict JSON reader (RFC 8259) for headers written by others, and the matching writer.
//
// Strict means: duplicate keys, trailing bytes, lone surrogates, NaN, comments and control characters are errors; depth
// and number of values are bounded, so that a hostile header costs neither the stack nor the memory.

/// A JSON value. Objects keep their order; their keys are unique.
public enum JSONValue: Sendable, Hashable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A number written without fraction or exponent that fits.
    case integer(Int)
    /// Any other number; finite.
    case number(Double)
    /// Valid Unicode.
    case string(String)
    /// In order.
    case array([JSONValue])
    /// In order; no key twice.
    case object([JSONMember])

    /// The value of a key; nil for what is no object, or has no such key.
    public subscript(key: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.key == key }?.value
    }

    /// nil for what is no string.
    public var stringValue: String? {
        guard case .string(let value) = self else { return nil }
        return value
    }

    /// nil for what is no integer.
    public var integerValue: Int? {
        guard case .integer(let value) = self else { return nil }
        return value
    }

    /// nil for what is no array.
    public var arrayValue: [JSONValue]? {
        guard case .array(let values) = self else { return nil }
        return values
    }
}

/// A key of an object with its value.
public struct JSONMember: Sendable, Hashable {
    /// Unique in its object.
    public let key: String
    /// Anything.
    public let value: JSONValue

    public init(key: String, value: JSONValue) {
        self.key = key
        self.value = value
    }
}

/// Why a text is no JSON that is taken.
public struct JSONError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of fault.
    public enum Kind: Sendable, Equatable {
        /// Not JSON.
        case syntax
        /// An object has it twice.
        case duplicateKey(String)
        /// Too deep or too many values.
        case limit
    }
    /// What kind of fault.
    public let kind: Kind
    /// Byte offset in the text.
    public let offset: Int
    /// In words.
    public let problem: String

    public var description: String { "\(problem) at byte \(offset)" }
}

extension JSONValue {
    /// Parses all of `bytes`; spaces around the value are allowed, anything else is not.
    /// - Throws: `JSONError` with the byte where it is wrong.
    public static func parse(
        _ bytes: UnsafeRawBufferPointer, maximumDepth: Int = 32, maximumValues: Int = 400_000
    ) throws(JSONError) -> JSONValue {
        var parser = JSONParser(bytes: bytes, valuesLeft: maximumValues)
        let value = try parser.value(depthLeft: maximumDepth)
        parser.skipSpaces()
        guard parser.offset == bytes.count else { throw parser.syntax("trailing bytes after the value") }
        return value
    }

    /// The same for text.
    /// - Throws: `JSONError` with the byte where it is wrong.
    public static func parse(_ text: String) throws(JSONError) -> JSONValue {
        try Array(text.utf8).withUnsafeBytes(parseResult).get()
    }

    /// The outcome as a value, for closures that know no typed throws.
    package static func parseResult(_ bytes: UnsafeRawBufferPointer) -> Result<JSONValue, JSONError> {
        do throws(JSONError) { return .success(try parse(bytes)) } catch { return .failure(error) }
    }
}

private struct JSONParser {
    package let bytes: UnsafeRawBufferPointer
    var offset = 0
    var valuesLeft: Int

    init(bytes: UnsafeRawBufferPointer, valuesLeft: Int) {
        self.bytes = bytes
        self.valuesLeft = valuesLeft
    }

    func syntax(_ problem: String) -> JSONError { JSONError(kind: .syntax, offset: offset, problem: problem) }

    var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    mutating func skipSpaces() {
        while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { offset += 1 }
    }

    mutating func accept(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        offset += 1
        return true
    }

    mutating func value(depthLeft: Int) throws(JSONError) -> JSONValue {
        guard depthLeft > 0 else { throw JSONError(kind: .limit, offset: offset, problem: "nested too deeply") }
        guard valuesLeft > 0 else { throw JSONError(kind: .limit, offset: offset, problem: "too many values") }
        valuesLeft -= 1
        skipSpaces()
        guard let first = next else { throw syntax("the text ends where a value is expected") }
        switch first {
        case UInt8(ascii: "{"): return try object(depthLeft: depthLeft - 1)
        case UInt8(ascii: "["): return try array(depthLeft: depthLeft - 1)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw syntax("no value starts like this")
        }
    }

    private mutating func literal(_ text: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
        guard bytes.has(text, at: offset) else { throw syntax("no value starts like this") }
        offset += text.utf8CodeUnitCount
        return value
    }

    private mutating func object(depthLeft: Int) throws(JSONError) -> JSONValue {
        offset += 1
        var members: [JSONMember] = []
        // Small objects, as tensors' entries are, compare their few keys without hashing.
        var seen = Set<String>()
        func isNew(_ key: String) -> Bool {
            if members.count < 8 { return !members.contains { $0.key == key } }
            if seen.isEmpty { seen = Set(members.map(\.key)) }
            return seen.insert(key).inserted
        }
        skipSpaces()
        if accept(UInt8(ascii: "}")) { return .object([]) }
        while true {
            skipSpaces()
            guard next == UInt8(ascii: "\"") else { throw syntax("a key in quotes is expected") }
            let start = offset
            let key = try string()
            guard isNew(key) else {
                throw JSONError(kind: .duplicateKey(key), offset: start, problem: "the key \(key) occurs twice")
            }
            skipSpaces()
            guard accept(UInt8(ascii: ":")) else { throw syntax("a colon is expected") }
            members.append(JSONMember(key: key, value: try value(depthLeft: depthLeft)))
            skipSpaces()
            if accept(UInt8(ascii: "}")) { return .object(members) }
            guard accept(UInt8(ascii: ",")) else { throw syntax("a comma or a closing brace is expected") }
        }
    }

    private mutating func array(depthLeft: Int) throws(JSONError) -> JSONValue {
        offset += 1
        var values: [JSONValue] = []
        skipSpaces()
        if accept(UInt8(ascii: "]")) { return .array([]) }
        while true {
            values.append(try value(depthLeft: depthLeft))
            skipSpaces()
            if accept(UInt8(ascii: "]")) { return .array(values) }
            guard accept(UInt8(ascii: ",")) else { throw syntax("a comma or a closing bracket is expected") }
        }
    }

    private mutating func number() throws(JSONError) -> JSONValue {
        let start = offset
        func isDigit(_ byte: UInt8?) -> Bool { byte.map { (0x30...0x39).contains($0) } ?? false }
        var isInteger = true
        _ = accept(UInt8(ascii: "-"))
        if !accept(UInt8(ascii: "0")) {
            guard isDigit(next) else { throw syntax("a digit is expected") }
            while isDigit(next) { offset += 1 }
        } else if isDigit(next) {
            throw syntax("a number with a leading zero")
        }
        if accept(UInt8(ascii: ".")) {
            isInteger = false
            guard isDigit(next) else { throw syntax("a digit is expected") }
            while isDigit(next) { offset += 1 }
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            isInteger = false
            offset += 1
            if !accept(UInt8(ascii: "-")) { _ = accept(UInt8(ascii: "+")) }
            guard isDigit(next) else { throw syntax("a digit is expected") }
            while isDigit(next) { offset += 1 }
        }
        guard offset - start <= 400 else { throw JSONError(kind: .limit, offset: start, problem: "a number too long") }
        let text = String(decoding: bytes[start..<offset], as: UTF8.self)
        if isInteger, let value = Int(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw syntax("a number beyond range") }
        return .number(value)
    }

    private mutating func string() throws(JSONError) -> String {
        offset += 1
        let start = offset
        // Nearly every string is plain: it is taken as it lies, up to the first byte that needs a look.
        while let byte = next, byte >= 0x20, byte != UInt8(ascii: "\\"), byte != UInt8(ascii: "\"") { offset += 1 }
        var result = [UInt8](bytes[start..<offset])
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                guard let text = String(validating: result, as: UTF8.self) else {
                    throw syntax("text that is not UTF-8")
                }
                return text
            case UInt8(ascii: "\\"):
                offset += 1
                try escape(into: &result)
            case 0..<0x20:
                throw syntax("a control character inside a string")
            default:
                result.append(byte)
                offset += 1
            }
        }
        throw syntax("a string without end")
    }

    private mutating func escape(into result: inout [UInt8]) throws(JSONError) {
        guard let byte = next else { throw syntax("a string without end") }
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): result.append(byte)
        case UInt8(ascii: "b"): result.append(0x08)
        case UInt8(ascii: "f"): result.append(0x0c)
        case UInt8(ascii: "n"): result.append(0x0a)
        case UInt8(ascii: "r"): result.append(0x0d)
        case UInt8(ascii: "t"): result.append(0x09)
        case UInt8(ascii: "u"):
            var code = UInt32(try hexUnit())
            if (0xd800..<0xdc00).contains(code) {  // the first of a surrogate pair
                guard accept(UInt8(ascii: "\\")), accept(UInt8(ascii: "u")) else {
                    throw syntax("half a surrogate pair")
                }
                let low = UInt32(try hexUnit())
                guard (0xdc00..<0xe000).contains(low) else { throw syntax("half a surrogate pair") }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw syntax("half a surrogate pair") }
            result.append(contentsOf: Array(String(Character(scalar)).utf8))
        default: throw syntax("an unknown escape")
        }
    }

    private mutating func hexUnit() throws(JSONError) -> UInt16 {
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw syntax("four hexadecimal digits are expected")
            }
            unit = unit << 4 | UInt16(digit)
            offset += 1
        }
        return unit
    }
}

extension JSONValue {
    /// Compact JSON text; the inverse of `parse`. Numbers that JSON cannot write (NaN, infinities) become null.
    public var text: String {
        var result = ""
        write(to: &result)
        return result
    }

    private func write(to result: inout String) {
        switch self {
        case .null: result += "null"
        case .bool(let value): result += value ? "true" : "false"
        case .integer(let value): result += String(value)
        case .number(let value): result += value.isFinite ? "\(value)" : "null"
        case .string(let value): Self.writeQuoted(value, to: &result)
        case .array(let values):
            result += "["
            for (index, value) in values.enumerated() {
                if index > 0 { result += "," }
                value.write(to: &result)
            }
            result += "]"
        case .object(let members):
            result += "{"
            for (index, member) in members.enumerated() {
                if index > 0 { result += "," }
                Self.writeQuoted(member.key, to: &result)
                result += ":"
                member.value.write(to: &result)
            }
            result += "}"
        }
    }

    private static func writeQuoted(_ text: String, to result: inout String) {
        result += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        result += "\""
    }
}
