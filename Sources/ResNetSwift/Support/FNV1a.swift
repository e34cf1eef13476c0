// A hash that is the same in every process and on every machine, unlike Swift's own: for fingerprints in files and for seeds.
//
// Fowler, Noll, Vo: http://www.isthe.com/chongo/tech/comp/fnv/

/// The 64-bit FNV-1a hash of the bytes added so far.
package struct FNV1a: Sendable {
    package private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    package init() {}

    /// The hash of a text's UTF-8.
    package init(_ text: String) { add(text) }

    package mutating func add(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }

    package mutating func add(_ bytes: UnsafeRawBufferPointer) {
        for byte in bytes { add(byte) }
    }

    /// Its UTF-8; nothing marks the end.
    package mutating func add(_ text: String) {
        for byte in text.utf8 { add(byte) }
    }

    /// Its 8 bytes, the lowest first.
    package mutating func add(_ number: Int) {
        for shift in stride(from: 0, to: 64, by: 8) { add(UInt8(truncatingIfNeeded: number >> shift)) }
    }
}
