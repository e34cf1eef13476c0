// Names of files as text. To Linux a name is bytes, which need not be UTF-8: archives made long ago hold names in Latin-1.
//
// A String cannot hold such bytes. Each of them becomes one of 256 scalars of Unicode's last private area, which no name has
// in practice (and one that does is taken byte by byte too), so that the name can be read, sorted, joined and given back to
// the operating system unchanged. Python's `surrogateescape` does the same with surrogates, which Swift does not have.
//
//     63 61 66 e9 2e 6a 70 67     "caf\u{10FEE9}.jpg"     shown as caf\xe9.jpg

import Glibc

extension String {
    /// Byte 0 would be this scalar; the others follow.
    private static let firstRawByte: UInt32 = 0x10FE00

    /// The text of a file's name, or of a path.
    package init(fileName bytes: some Collection<UInt8>) {
        if let text = String(validating: bytes, as: UTF8.self), !text.hasRawBytes {
            self = text
            return
        }
        self = ""
        var rest = Array(bytes)[...]
        while let first = rest.first {
            let length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
            if let text = String(validating: rest.prefix(length), as: UTF8.self), !text.hasRawBytes {
                self += text
                rest = rest.dropFirst(length)
            } else {
                unicodeScalars.append(Unicode.Scalar(Self.firstRawByte + UInt32(first))!)
                rest = rest.dropFirst()
            }
        }
    }

    /// The same for what the operating system returns.
    package init(fileName: UnsafePointer<CChar>) {
        var count = 0
        while fileName[count] != 0 { count += 1 }
        self.init(fileName: UnsafeRawBufferPointer(start: fileName, count: count))
    }

    /// Bytes that are no text stand in it.
    package var hasRawBytes: Bool {
        utf8.contains(0xf4) && unicodeScalars.contains { Self.rawByte($0) != nil }
    }

    /// The byte that a scalar stands for.
    package static func rawByte(_ scalar: Unicode.Scalar) -> UInt8? {
        UInt8(exactly: Int(scalar.value) - Int(firstRawByte))
    }

    /// The bytes as the operating system knows them.
    package var fileNameBytes: [UInt8] {
        guard hasRawBytes else { return Array(utf8) }
        return unicodeScalars.flatMap { scalar in Self.rawByte(scalar).map { [$0] } ?? Array(String(scalar).utf8) }
    }

    /// For functions of the operating system that take a path.
    package func withFileName<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
        guard hasRawBytes else { return withCString(body) }
        return (fileNameBytes + [0]).withUnsafeBufferPointer {
            $0.baseAddress!.withMemoryRebound(to: CChar.self, capacity: $0.count, body)
        }
    }

    /// There is a file, folder or device by this name.
    package var namesSomething: Bool { withFileName { access($0, F_OK) } == 0 }

    /// What the operating system knows of the file; nil where there is none.
    package var fileStatus: stat? {
        var about = stat()
        return withFileName { stat($0, &about) } == 0 ? about : nil
    }

    /// Valid text for files that others read, such as JSON: bytes that are none become U+FFFD.
    package var withoutRawBytes: String {
        guard hasRawBytes else { return self }
        var result = ""
        result.unicodeScalars.append(contentsOf: unicodeScalars.map { Self.rawByte($0) == nil ? $0 : "\u{fffd}" })
        return result
    }
}
