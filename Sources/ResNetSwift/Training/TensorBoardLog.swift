// Event files for TensorBoard: records of protocol buffers.
//
//     record   length (8 bytes)   masked CRC-32C of them (4)   event   masked CRC-32C of it (4)          little-endian
//     Event    1: wall_time double   2: step int64   3: file_version string   5: summary Summary
//     Summary  1: repeated Value     Value  1: tag string   2: simple_value float
//
// tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto. Each
// process appends to a file of its own; TensorBoard reads all files of a folder together.

import Glibc
import ResNetData
import ResNetSupport
import ResNetWeights

/// Writes the epochs of a run for TensorBoard as they end.
public final class TensorBoardLog {
    /// The file.
    public let path: String
    private let descriptor: Int32

    /// Makes the folder if need be, and a file in it.
    /// - Throws: `WeightFileError` where either cannot be made.
    public convenience init(folder: String) throws(WeightFileError) {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        let host = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        try self.init(folder: folder, name: "events.out.tfevents.\(time(nil)).\(host).\(getpid()).0")
    }

    init(folder: String, name: String) throws(WeightFileError) {
        let path = "\(folder)/\(name)"
        self.path = path
        mkdir(folder, 0o777)
        descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw Self.failure(path, errno) }
        try append(Self.event(seconds: Self.now(), step: 0) { $0.string(3, "brain.Event:2") })
    }

    /// Removes the event files of earlier runs.
    /// - Throws: `WeightFileError` where one cannot be removed.
    public static func removeAll(in folder: String) throws(WeightFileError) {
        guard let listing = opendir(folder) else { return }
        defer { closedir(listing) }
        while let entry = readdir(listing) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard name.hasPrefix("events.out.tfevents.") else { continue }
            guard unlink("\(folder)/\(name)") == 0 else { throw failure("\(folder)/\(name)", errno) }
        }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Writes what an epoch came to, under tags such as `loss/training`; the step is the epoch, from 1.
    /// - Throws: `WeightFileError` where the file cannot be written.
    public func write(_ record: EpochRecord) throws(WeightFileError) {
        var values: [(tag: String, value: Double)] = []
        for (part, scores) in [("training", Optional(record.training)), ("validation", record.validation)] {
            guard let scores else { continue }
            values.append(("loss/\(part)", scores.loss))
            if let top1 = scores.top1 { values.append(("top1/\(part)", top1)) }
            if let topK = scores.topK { values.append(("topk/\(part)", topK)) }
            if let f1 = scores.macroF1 { values.append(("f1/\(part)", f1)) }
        }
        values += [("learning_rate", record.learningRate), ("seconds", record.seconds)]
        let summary = values.map { value in
            ProtocolBuffer {
                $0.string(1, value.tag)
                $0.float(2, Float(value.value))
            }
        }
        try append(
            Self.event(seconds: Self.now(), step: record.epoch + 1) { event in
                event.message(5, ProtocolBuffer { for value in summary { $0.message(1, value) } })
            })
    }

    static func event(seconds: Double, step: Int, _ fill: (inout ProtocolBuffer) -> Void) -> [UInt8] {
        ProtocolBuffer {
            $0.double(1, seconds)
            $0.integer(2, step)
            fill(&$0)
        }.bytes
    }

    private func append(_ event: [UInt8]) throws(WeightFileError) {
        let record = Self.record(event)
        // One call: a reader never sees half a record of a run that was killed between two.
        let written = record.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard written == record.count else { throw Self.failure(path, errno) }
    }

    static func record(_ event: [UInt8]) -> [UInt8] {
        let length = littleEndian(UInt64(event.count))
        return length + littleEndian(maskedChecksum(length)) + event + littleEndian(maskedChecksum(event))
    }

    private static func littleEndian<Word: FixedWidthInteger>(_ word: Word) -> [UInt8] {
        withUnsafeBytes(of: word.littleEndian, Array.init)
    }

    /// CRC-32C, turned and shifted, because the checksum of data that hold their own checksum is weak.
    private static func maskedChecksum(_ bytes: [UInt8]) -> UInt32 {
        let sum = crc32c(bytes)
        return (sum >> 15 | sum << 17) &+ 0xa282_ead8
    }

    /// Castagnoli's polynomial, reflected.
    static func crc32c(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~UInt32(0)) { sum, byte in
            (0..<8).reduce(sum ^ UInt32(byte)) { sum, _ in sum >> 1 ^ (sum & 1 == 1 ? 0x82f6_3b78 : 0) }
        }
    }

    private static func now() -> Double {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9
    }

    private static func failure(_ path: String, _ code: Int32) -> WeightFileError {
        WeightFileError(path: path, fault: .cannotWrite(errorText(code)))
    }
}

/// A message being written, field by field: https://protobuf.dev/programming-guides/encoding.
struct ProtocolBuffer {
    private(set) var bytes: [UInt8] = []

    init(_ fill: (inout ProtocolBuffer) -> Void) { fill(&self) }

    mutating func integer(_ field: Int, _ value: Int) {
        varint(UInt64(field) << 3)
        varint(UInt64(bitPattern: Int64(value)))
    }

    mutating func double(_ field: Int, _ value: Double) {
        varint(UInt64(field) << 3 | 1)
        bytes += withUnsafeBytes(of: value.bitPattern.littleEndian, Array.init)
    }

    mutating func float(_ field: Int, _ value: Float) {
        varint(UInt64(field) << 3 | 5)
        bytes += withUnsafeBytes(of: value.bitPattern.littleEndian, Array.init)
    }

    mutating func string(_ field: Int, _ value: String) { lengthDelimited(field, Array(value.utf8)) }

    mutating func message(_ field: Int, _ value: ProtocolBuffer) { lengthDelimited(field, value.bytes) }

    private mutating func lengthDelimited(_ field: Int, _ content: [UInt8]) {
        varint(UInt64(field) << 3 | 2)
        varint(UInt64(content.count))
        bytes += content
    }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest > 127 {
            bytes.append(UInt8(rest & 127) | 128)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
