// Reading bytes that somebody else wrote: every read is checked against the end, and no number from a file is trusted.

import ResNetSupport

/// A position in a byte range. `part` names the range in errors, e.g. `zip central directory`.
package struct ByteCursor {
    let bytes: UnsafeRawBufferPointer
    let part: String
    private(set) var offset: Int

    package init(_ bytes: UnsafeRawBufferPointer, part: String, at offset: Int = 0) {
        precondition(offset >= 0 && offset <= bytes.count, "a cursor starts inside its bytes")
        self.bytes = bytes
        self.part = part
        self.offset = offset
    }

    var remaining: Int { bytes.count - offset }

    /// The next `count` bytes.
    mutating func take(_ count: Int) throws(WeightFault) -> UnsafeRawBufferPointer {
        guard count >= 0, count <= remaining else {
            throw .truncated(part: part, needed: count, available: remaining)
        }
        let slice = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
        offset += count
        return slice
    }

    /// The next integer, little-endian as in every container here.
    mutating func take<T: FixedWidthInteger>(_ type: T.Type) throws(WeightFault) -> T {
        let size = MemoryLayout<T>.size
        guard size <= remaining else { throw .truncated(part: part, needed: size, available: remaining) }
        let value = T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
        offset += size
        return value
    }

    /// The next `count` bytes as UTF-8 where they are, otherwise as Latin-1: names that old programs wrote.
    mutating func takeOldText(_ count: Int) throws(WeightFault) -> String {
        let bytes = try take(count)
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        return String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) }))
    }
}
