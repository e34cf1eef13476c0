// Raw deflate (RFC 1951) through zlib, as a stream that is read in exact pieces, so that nothing can outgrow its target.

import CZlib
import ResNetSupport

/// Inflates one deflated byte range. Reads only what is asked for.
struct Inflater: ~Copyable {
    private let stream: UnsafeMutablePointer<z_stream>
    private var input: UnsafeRawBufferPointer
    private let part: String
    private var checksum: UInt = 0

    init(_ input: UnsafeRawBufferPointer, part: String) throws(WeightFault) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        self.input = input
        self.part = part
        // Negative window bits: no zlib header, as zip members have none.
        let status = inflateInit2_(stream, -MAX_WBITS, zlibVersion(), Int32(MemoryLayout<z_stream>.size))
        guard status == Z_OK else { throw .exceedsLimit("\(part): zlib cannot start (\(status))") }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Fills `target` completely with the next inflated bytes.
    mutating func fill(_ target: UnsafeMutableRawBufferPointer) throws(WeightFault) {
        var filled = 0
        while filled < target.count {
            let produced = try step(UnsafeMutableRawBufferPointer(rebasing: target[filled...]))
            guard produced > 0 else { throw .truncated(part: part, needed: target.count, available: filled) }
            filled += produced
        }
        checksum = crc(checksum, UnsafeRawBufferPointer(target))
    }

    /// The next `count` inflated bytes.
    mutating func take(_ count: Int) throws(WeightFault) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: count)
        // withUnsafeMutableBytes knows no typed throws for its closure: the memory is borrowed by hand.
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(count, 1), alignment: 1)
        defer { memory.deallocate() }
        let target = UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
        try fill(target)
        result.withUnsafeMutableBytes { $0.copyMemory(from: UnsafeRawBufferPointer(target)) }
        return result
    }

    /// Checks that the stream ends here and that the inflated bytes have the checksum; 0 means that none was stored.
    mutating func finish(crc expected: UInt32) throws(WeightFault) {
        var extra: UInt8 = 0
        let produced = try withUnsafeMutableBytes(of: &extra) { (byte) throws(WeightFault) -> Int in try step(byte) }
        guard produced == 0 else { throw .malformed(part: part, problem: "it inflates to more than it announces") }
        guard expected == 0 || UInt(expected) == checksum else {
            throw .malformed(part: part, problem: "its checksum does not match")
        }
    }

    /// One call of zlib; returns how many bytes it produced, 0 at the end of the stream.
    private mutating func step(_ target: UnsafeMutableRawBufferPointer) throws(WeightFault) -> Int {
        while true {
            let offered = min(input.count, Int(UInt32.max))
            let wanted = min(target.count, Int(UInt32.max))
            stream.pointee.next_in = UnsafeMutablePointer(
                mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
            stream.pointee.avail_in = UInt32(offered)
            stream.pointee.next_out = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = UInt32(wanted)
            let status = inflate(stream, Z_NO_FLUSH)
            let consumed = offered - Int(stream.pointee.avail_in)
            let produced = wanted - Int(stream.pointee.avail_out)
            input = UnsafeRawBufferPointer(rebasing: input[consumed...])
            if produced > 0 || status == Z_STREAM_END { return produced }
            guard status == Z_OK, consumed > 0 else {
                guard status == Z_BUF_ERROR || status == Z_OK else {
                    throw .malformed(part: part, problem: "its deflated data is corrupt")
                }
                throw .truncated(part: part, needed: wanted, available: 0)
            }
        }
    }

    private func crc(_ start: UInt, _ bytes: UnsafeRawBufferPointer) -> UInt {
        checksumCRC32(bytes, continuing: start)
    }
}
