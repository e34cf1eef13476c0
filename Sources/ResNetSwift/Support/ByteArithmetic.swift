// Looking at bytes: what they begin with, sizes that a file states, integers as bytes, a checksum.

import CZlib
import Glibc

extension UnsafeRawBufferPointer {
    /// True where the bytes at `offset` are those of `text`.
    package func has(_ text: StaticString, at offset: Int = 0) -> Bool {
        text.withUTF8Buffer { wanted in
            guard offset >= 0, wanted.count <= count, offset <= count - wanted.count else { return false }
            guard let base = baseAddress, let first = wanted.baseAddress else { return wanted.isEmpty }
            return memcmp(base + offset, first, wanted.count) == 0
        }
    }

    /// The part `range`, or nil where it leaves the buffer.
    package func slice(_ range: Range<Int>) -> UnsafeRawBufferPointer? {
        guard range.lowerBound >= 0, range.upperBound <= count else { return nil }
        return UnsafeRawBufferPointer(rebasing: self[range])
    }
}

/// The product, or nil where it is negative or does not fit: sizes in files can be anything.
package func checkedProduct(_ factors: [Int]) -> Int? {
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
package func checkedRange(start: Int, count: Int, limit: Int) -> Range<Int>? {
    guard start >= 0, count >= 0 else { return nil }
    let (end, overflow) = start.addingReportingOverflow(count)
    guard !overflow, end <= limit else { return nil }
    return start..<end
}

/// The bytes of an integer, the lowest first.
package func littleEndianBytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// CRC-32 as zip uses it, of any length.
package func checksumCRC32(_ bytes: UnsafeRawBufferPointer, continuing start: UInt = 0) -> UInt {
    var value = start
    var rest = bytes
    while !rest.isEmpty {
        let count = min(rest.count, 1 << 30)
        value = CZlib.crc32(value, rest.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt32(count))
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
    return value
}
