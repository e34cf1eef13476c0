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
        try naming(folder) { () throws(FileFault) in try folder.makeFolder() }
        descriptor = path.withFileName { open($0, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666) }
        guard descriptor >= 0 else { throw Self.failure(path, errno) }
        try append(Self.event(seconds: Self.now(), step: 0) { $0.text(3, "brain.Event:2") })
    }

    /// Removes the event files of earlier runs.
    /// - Throws: `WeightFileError` where one cannot be removed.
    public static func removeAll(in folder: String) throws(WeightFileError) {
        for name in folder.namesInFolder() ?? [] where name.hasPrefix("events.out.tfevents.") {
            let path = "\(folder)/\(name)"
            guard path.withFileName({ unlink($0) }) == 0 else { throw failure(path, errno) }
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
        try append(
            Self.event(seconds: Self.now(), step: record.epoch + 1) { event in
                event.message(5) { summary in
                    for value in values {
                        summary.message(1) {
                            $0.text(1, value.tag)
                            $0.float(2, Float(value.value))
                        }
                    }
                }
            })
    }

    static func event(seconds: Double, step: Int, _ fill: (inout ProtobufWriter) -> Void) -> [UInt8] {
        var event = ProtobufWriter()
        event.double(1, seconds)
        event.integer(2, step)
        fill(&event)
        return event.bytes
    }

    private func append(_ event: [UInt8]) throws(WeightFileError) {
        let record = Self.record(event)
        // One call: a reader never sees half a record of a run that was killed between two.
        let written = record.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard written == record.count else { throw Self.failure(path, errno) }
    }

    static func record(_ event: [UInt8]) -> [UInt8] {
        let length = littleEndianBytes(UInt64(event.count))
        return length + littleEndianBytes(maskedChecksum(length)) + event + littleEndianBytes(maskedChecksum(event))
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
