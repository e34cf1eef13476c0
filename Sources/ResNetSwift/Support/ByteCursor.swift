// Reading bytes that somebody else wrote: every read is checked against the end, and no number from a file is trusted.

import Glibc

/// A position in a byte range. `part` names the range in errors, e.g. `zip central directory`.
struct ByteCursor {
    let bytes: UnsafeRawBufferPointer
    let part: String
    private(set) var offset: Int

    init(_ bytes: UnsafeRawBufferPointer, part: String, at offset: Int = 0) {
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

    /// The next `count` bytes as strict UTF-8.
    mutating func takeText(_ count: Int) throws(WeightFault) -> String {
        guard let text = String(validating: try take(count), as: UTF8.self) else {
            throw .malformed(part: part, problem: "text that is not UTF-8")
        }
        return text
    }
}

extension UnsafeRawBufferPointer {
    /// True where the bytes at `offset` are those of `text`.
    func has(_ text: StaticString, at offset: Int = 0) -> Bool {
        text.withUTF8Buffer { wanted in
            guard offset >= 0, wanted.count <= count, offset <= count - wanted.count else { return false }
            guard let base = baseAddress, let first = wanted.baseAddress else { return wanted.isEmpty }
            return memcmp(base + offset, first, wanted.count) == 0
        }
    }

    /// The part `range`, or nil where it leaves the buffer.
    func slice(_ range: Range<Int>) -> UnsafeRawBufferPointer? {
        guard range.lowerBound >= 0, range.upperBound <= count else { return nil }
        return UnsafeRawBufferPointer(rebasing: self[range])
    }
}

/// The product, or nil where it is negative or does not fit: sizes in files can be anything.
func checkedProduct(_ factors: [Int]) -> Int? {
    var product = 1
    var empty = false
    for factor in factors {
        guard factor >= 0 else { return nil }
        // A zero makes the whole empty, but must not hide an overflow of the other factors.
        if factor == 0 {
            empty = true
            continue
        }
        let (next, overflow) = product.multipliedReportingOverflow(by: factor)
        guard !overflow else { return nil }
        product = next
    }
    return empty ? 0 : product
}

/// `start + count` as a range, or nil where it overflows, is negative or passes `limit`.
func checkedRange(start: Int, count: Int, limit: Int) -> Range<Int>? {
    guard start >= 0, count >= 0 else { return nil }
    let (end, overflow) = start.addingReportingOverflow(count)
    guard !overflow, end <= limit else { return nil }
    return start..<end
}
