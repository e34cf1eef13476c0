// Arrays of text in an npz file: names of classes beside pictures and labels. They are no weights, so WeightFile lists only
// the others.
//
//     {'descr': '<U5', 'fortran_order': False, 'shape': (3,), }    5 code points of 4 bytes each, padded with zeros
//     {'descr': '|S5', ...}                                       5 bytes each, padded with zeros

import ResNetSupport

package enum NpyText {
    /// More text than any list of classes has.
    private static let largest = 16 << 20

    /// The names of all arrays of the file, in its order.
    package static func keys(npz path: String) throws(WeightFileError) -> [String] {
        try withArchive(path) { (archive, _) throws(WeightFault) in
            archive.members.filter { $0.name.hasSuffix(".npy") }.map { String($0.name.dropLast(4)) }
        }
    }

    /// The strings of an array of one dimension; nil for an array of anything else.
    package static func strings(npz path: String, _ key: String) throws(WeightFileError) -> [String]? {
        try withArchive(path) { (archive, file) throws(WeightFault) in
            guard let member = archive.member("\(key).npy") else { return nil }
            return parse(try member.contents(of: file, limit: largest))
        }
    }

    private static func withArchive<Result>(
        _ path: String, _ body: (ZipArchive, UnsafeRawBufferPointer) throws(WeightFault) -> Result
    ) throws(WeightFileError) -> Result {
        let file = try naming(path) { () throws(FileFault) in try MappedFile(path: path) }
        return try naming(path) { () throws(WeightFault) in
            defer { withExtendedLifetime(file) {} }
            return try body(try ZipArchive(file.bytes), file.bytes)
        }
    }

    /// Version 1 or 2 of the format, one dimension, text of fixed width.
    static func parse(_ bytes: [UInt8]) -> [String]? {
        guard bytes.count > 12, bytes.starts(with: [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]) else { return nil }
        let width = bytes[6] == 1 ? 2 : 4
        let length = bytes[8..<8 + width].reversed().reduce(0) { $0 << 8 | Int($1) }
        guard length <= bytes.count - 8 - width else { return nil }
        let header = String(decoding: bytes[(8 + width)..<(8 + width + length)], as: UTF8.self)
        let data = bytes[(8 + width + length)...]
        guard let descr = header.quoted(after: "'descr': '", until: "'"),
            let shape = header.quoted(after: "'shape': (", until: ")"),
            shape.hasSuffix(","), let count = Int(shape.dropLast())
        else { return nil }
        return strings(data, descr: descr, count: count)
    }

    private static func strings(_ data: ArraySlice<UInt8>, descr: String, count: Int) -> [String]? {
        guard count >= 0, let characters = Int(descr.dropFirst(2)), 1...4096 ~= characters else { return nil }
        let kind = descr.prefix(2)
        let size = kind == "|S" ? characters : 4 * characters
        guard count <= data.count / size, data.count == count * size else { return nil }
        var names: [String] = []
        for item in 0..<count {
            let start = data.startIndex + item * size
            guard let name = text(data[start..<start + size], kind) else { return nil }
            names.append(name)
        }
        return names
    }

    private static func text(_ field: ArraySlice<UInt8>, _ kind: Substring) -> String? {
        if kind == "|S" {
            let end = field.lastIndex { $0 != 0 }.map { $0 + 1 } ?? field.startIndex
            return String(validating: field[field.startIndex..<end], as: UTF8.self)
        }
        guard kind == "<U" || kind == ">U" else { return nil }
        var scalars = String.UnicodeScalarView()
        for start in stride(from: field.startIndex, to: field.endIndex, by: 4) {
            let four = field[start..<start + 4]
            let value = (kind == "<U" ? Array(four.reversed()) : Array(four)).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            guard let scalar = Unicode.Scalar(value) else { return nil }
            scalars.append(scalar)
        }
        while scalars.last == "\0" { scalars.removeLast() }
        return String(scalars)
    }
}

extension String {
    /// What stands between two texts.
    fileprivate func quoted(after start: String, until end: Character) -> String? {
        guard let from = ranges(of: start).first?.upperBound, let to = self[from...].firstIndex(of: end) else {
            return nil
        }
        return String(self[from..<to])
    }
}
