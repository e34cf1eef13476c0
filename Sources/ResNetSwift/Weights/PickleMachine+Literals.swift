// The values that stand in a pickle itself: numbers, text and bytes, in binary and as lines of text.

import ResNetSupport

extension PickleMachine {
    mutating func literal(_ opcode: PickleOpcode) throws(WeightFault) -> PickleValue {
        switch opcode {
        case .none: .none
        case .newTrue: .bool(true)
        case .newFalse: .bool(false)
        case .binaryInteger: .integer(Int(try cursor.take(Int32.self)))
        case .binaryInteger1: .integer(Int(try cursor.take(UInt8.self)))
        case .binaryInteger2: .integer(Int(try cursor.take(UInt16.self)))
        case .integer: try integer(of: try line())
        case .long1: try long(Int(try cursor.take(UInt8.self)))
        case .long4: try long(Int(try cursor.take(Int32.self)))
        case .long: try long(of: try line(limit: Self.maximumText))
        case .binaryFloat: .float(Double(bitPattern: try cursor.take(UInt64.self).byteSwapped))
        case .float: try float(of: try line())
        case .shortBinaryUnicode: try text(Int(try cursor.take(UInt8.self)))
        case .binaryUnicode: try text(Int(try cursor.take(UInt32.self)))
        case .binaryUnicode8: try text(Int(clamping: try cursor.take(UInt64.self)))
        case .unicode, .string: try escapedText(opcode)
        case .binaryString: try oldString(Int(try cursor.take(Int32.self)))
        case .shortBinaryString: try oldString(Int(try cursor.take(UInt8.self)))
        case .shortBinaryBytes: try bytes(Int(try cursor.take(UInt8.self)), .plain)
        case .binaryBytes: try bytes(Int(try cursor.take(UInt32.self)), .plain)
        case .binaryBytes8, .byteArray8: try bytes(Int(clamping: try cursor.take(UInt64.self)), .plain)
        case .nextBuffer: try bytes(0, .elsewhere)
        default: throw fault("opcode 0x\(String(opcode.rawValue, radix: 16))")
        }
    }

    // MARK: - Text and bytes

    /// Short text as it is; long text stays where it lies.
    private mutating func text(_ length: Int) throws(WeightFault) -> PickleValue {
        guard length <= Self.maximumText else { return try bytes(length, .text) }
        try charge(text: length)
        // Python keeps file names that are no UTF-8 as lone surrogates; such a name is no weight's.
        return .string(String(decoding: try cursor.take(length), as: UTF8.self))
    }

    /// Python 2's `str`: text, in whatever encoding, or bytes.
    private mutating func oldString(_ length: Int) throws(WeightFault) -> PickleValue {
        let start = cursor.offset
        let contents = try cursor.take(length)
        if length <= Self.maximumOldText, let text = String(validating: contents, as: UTF8.self) {
            try charge(text: length)
            return .string(text)
        }
        return try heap.makeBytes(PickleBytes(range: start..<start + length, encoding: .plain))
    }

    private mutating func bytes(_ length: Int, _ encoding: PickleBytes.Encoding) throws(WeightFault) -> PickleValue {
        let start = cursor.offset
        _ = try cursor.take(length)
        return try heap.makeBytes(PickleBytes(range: start..<start + length, encoding: encoding))
    }

    /// A line, decoded: text, or where it is too long for a key or a fact, the bytes that its characters are. So protocol 0,
    /// Python 2's usual one, writes the elements of arrays.
    private mutating func escapedText(_ opcode: PickleOpcode) throws(WeightFault) -> PickleValue {
        let decode = opcode == .unicode ? PickleEscapes.unicode : PickleEscapes.string
        let start = cursor.offset
        let length = try lengthOfLine(limit: Int.max)
        let raw = try cursor.take(length)
        _ = try cursor.take(1)
        guard let decoded = decode(raw[...]) else { throw fault("a text with an odd escape") }
        guard length <= Self.maximumText else {
            guard let bytes = PickleEscapes.bytes(ofText: decoded, isText: opcode == .unicode) else {
                return try heap.makeBytes(PickleBytes(range: start..<start + length, encoding: .elsewhere))
            }
            return try heap.makeBytes(decodedLine: bytes)
        }
        try charge(text: length)
        if let text = String(validating: decoded, as: UTF8.self) { return .string(text) }
        return try heap.makeBytes(decodedLine: decoded)
    }

    /// The text up to the next line feed, which is passed.
    mutating func line(limit: Int = 512) throws(WeightFault) -> String {
        let length = try lengthOfLine(limit: limit)
        let text = String(decoding: try cursor.take(length), as: UTF8.self)
        _ = try cursor.take(1)
        return text
    }

    private func lengthOfLine(limit: Int) throws(WeightFault) -> Int {
        guard let end = cursor.bytes[cursor.offset...].prefix(limit).firstIndex(of: 0x0a) else {
            throw cursor.remaining > limit
                ? fault("a line of more than \(limit) bytes")
                : .truncated(part: cursor.part, needed: cursor.remaining + 1, available: cursor.remaining)
        }
        return end - cursor.offset
    }

    // MARK: - Numbers

    /// Two's complement, little-endian.
    private mutating func long(_ length: Int) throws(WeightFault) -> PickleValue {
        let bytes = try cursor.take(length)
        guard length > 8 else {
            let negative = bytes.last.map { $0 & 0x80 != 0 } ?? false
            var value: UInt64 = negative ? .max : 0
            for byte in bytes.reversed() { value = value << 8 | UInt64(byte) }
            return .integer(Int(Int64(bitPattern: value)))
        }
        // Nothing reads such numbers; the magic of PyTorch's streams is compared.
        try charge(text: min(length, 255))
        return .long(Array(bytes.prefix(255)))
    }

    /// Protocol 0 writes `I01` and `I00` for True and False.
    private func integer(of text: String) throws(WeightFault) -> PickleValue {
        if text == "01" { return .bool(true) }
        if text == "00" { return .bool(false) }
        guard let value = Int(text) else { throw fault("'\(text)' in place of an integer") }
        return .integer(value)
    }

    /// With an L at its end, or without.
    private func long(of text: String) throws(WeightFault) -> PickleValue {
        let digits = text.hasSuffix("L") ? text.dropLast() : text[...]
        if let value = Int(digits) { return .integer(value) }
        guard digits.utf8.drop(while: { $0 == UInt8(ascii: "-") }).allSatisfy({ (0x30...0x39).contains($0) }) else {
            throw fault("'\(text)' in place of an integer")
        }
        return .long([])
    }

    private func float(of text: String) throws(WeightFault) -> PickleValue {
        guard let value = Double(text) else { throw fault("'\(text)' in place of a number") }
        return .float(value)
    }
}

/// Python's escapes, in the lines of protocol 0.
enum PickleEscapes {
    /// A quoted `str`: `'a\x00\n'`. Bytes, or nil where it is not well-formed.
    static func string(_ line: Slice<UnsafeRawBufferPointer>) -> [UInt8]? {
        guard let quote = line.first, quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\""), line.count >= 2,
            line.last == quote
        else { return nil }
        var rest = line.dropFirst().dropLast()
        var result: [UInt8] = []
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\") else {
                result.append(byte)
                continue
            }
            guard let kind = rest.popFirst() else { return nil }
            switch kind {
            case UInt8(ascii: "n"): result.append(0x0a)
            case UInt8(ascii: "r"): result.append(0x0d)
            case UInt8(ascii: "t"): result.append(0x09)
            case UInt8(ascii: "a"): result.append(0x07)
            case UInt8(ascii: "b"): result.append(0x08)
            case UInt8(ascii: "f"): result.append(0x0c)
            case UInt8(ascii: "v"): result.append(0x0b)
            case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): result.append(kind)
            case UInt8(ascii: "x"):
                guard let value = number(&rest, digits: 2) else { return nil }
                result.append(UInt8(value))
            default: result += [byte, kind]
            }
        }
        return result
    }

    /// raw-unicode-escape: `\u00e9`, `\U0001f600`, all else Latin-1. UTF-8, or nil where it is not well-formed.
    static func unicode(_ line: Slice<UnsafeRawBufferPointer>) -> [UInt8]? {
        var rest = line
        var result = ""
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\"), let kind = rest.first,
                kind == UInt8(ascii: "u") || kind == UInt8(ascii: "U")
            else {
                result.unicodeScalars.append(Unicode.Scalar(byte))
                continue
            }
            rest = rest.dropFirst()
            guard let value = number(&rest, digits: kind == UInt8(ascii: "u") ? 4 : 8) else { return nil }
            result.unicodeScalars.append(Unicode.Scalar(value) ?? "\u{fffd}")
        }
        return Array(result.utf8)
    }

    /// The bytes of a decoded line: as they are, or where it is text in UTF-8, its characters; nil where one is no byte.
    static func bytes(ofText decoded: [UInt8], isText: Bool) -> [UInt8]? {
        guard isText else { return decoded }
        var result: [UInt8] = []
        result.reserveCapacity(decoded.count)
        for scalar in String(decoding: decoded, as: UTF8.self).unicodeScalars {
            guard scalar.value < 256 else { return nil }
            result.append(UInt8(scalar.value))
        }
        return result
    }

    private static func number(_ rest: inout Slice<UnsafeRawBufferPointer>, digits: Int) -> UInt32? {
        guard rest.count >= digits else { return nil }
        var value: UInt32 = 0
        for _ in 0..<digits {
            guard let byte = rest.popFirst(), let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                return nil
            }
            value = value << 4 | UInt32(digit)
        }
        return value
    }
}
