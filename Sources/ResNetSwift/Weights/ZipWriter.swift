// A zip archive of stored members, zip64 where a size or an offset needs it. The caller writes each member's bytes.

import ResNetSupport

struct ZipWriter {
    private struct Record {
        let name: [UInt8]
        let size: Int
        let crc: UInt32
        let offset: Int
    }

    private let file: AtomicFile
    private var records: [Record] = []
    private var position = 0

    private static let alignment = 64
    /// The extra field that PyTorch uses for padding, too.
    private static let paddingField: UInt16 = 0x4246
    private static let limit32 = Int(UInt32.max)

    init(_ file: AtomicFile) { self.file = file }

    /// Writes the local header of the next member; its `size` bytes follow at a multiple of 64.
    mutating func beginMember(_ name: String, size: Int, crc: UInt32) throws(FileFault) {
        let name = Array(name.utf8)
        guard name.count <= 1 << 15 else { throw .cannotWrite("a key of \(name.count) bytes is too long for npz") }
        let offset = position
        let is64 = size >= Self.limit32
        var extra: [UInt8] = []
        if is64 {
            extra = littleEndianBytes(UInt16(1)) + littleEndianBytes(UInt16(16))
            extra += littleEndianBytes(UInt64(size)) + littleEndianBytes(UInt64(size))
        }
        let end = offset + 30 + name.count + extra.count + 4
        let padding = (Self.alignment - end % Self.alignment) % Self.alignment
        extra += littleEndianBytes(Self.paddingField) + littleEndianBytes(UInt16(padding))
        extra += [UInt8](repeating: 0, count: padding)

        let size32 = UInt32(is64 ? Self.limit32 : size)
        var header: [UInt8] = [0x50, 0x4b, 3, 4]
        header += Self.common(is64: is64, crc: crc, size32: size32, nameCount: name.count, extraCount: extra.count)
        header += name + extra
        try file.write(header)
        records.append(Record(name: name, size: size, crc: crc, offset: offset))
        position += header.count + size
    }

    /// Writes the central directory.
    mutating func finish() throws(FileFault) {
        let start = position
        for record in records {
            let is64 = record.size >= Self.limit32
            let isFar = record.offset >= Self.limit32
            var values: [UInt8] = []
            if is64 { values += littleEndianBytes(UInt64(record.size)) + littleEndianBytes(UInt64(record.size)) }
            if isFar { values += littleEndianBytes(UInt64(record.offset)) }
            let extra =
                values.isEmpty ? [] : littleEndianBytes(UInt16(1)) + littleEndianBytes(UInt16(values.count)) + values
            var entry: [UInt8] = [0x50, 0x4b, 1, 2]
            entry += littleEndianBytes(UInt16(45))  // made by
            entry += Self.common(
                is64: is64 || isFar, crc: record.crc, size32: UInt32(is64 ? Self.limit32 : record.size),
                nameCount: record.name.count, extraCount: extra.count)
            entry += [UInt8](repeating: 0, count: 6)  // comment, disk, internal attributes
            entry += littleEndianBytes(UInt32(0o100644 << 16))  // a plain file
            entry += littleEndianBytes(UInt32(isFar ? Self.limit32 : record.offset))
            entry += record.name + extra
            try file.write(entry)
            position += entry.count
        }
        try file.write(endRecords(directory: start..<position))
    }

    /// The fields that local and central headers share, from `version needed` to `extra length`.
    private static func common(
        is64: Bool, crc: UInt32, size32: UInt32, nameCount: Int, extraCount: Int
    ) -> [UInt8] {
        var bytes = littleEndianBytes(UInt16(is64 ? 45 : 20))
        bytes += littleEndianBytes(UInt16(0x800))  // names are UTF-8
        bytes += littleEndianBytes(UInt16(0))  // stored
        bytes += littleEndianBytes(UInt32(0x0021_0000))  // 1980-01-01: files of equal content are equal
        bytes += littleEndianBytes(crc) + littleEndianBytes(size32) + littleEndianBytes(size32)
        return bytes + littleEndianBytes(UInt16(nameCount)) + littleEndianBytes(UInt16(extraCount))
    }

    private func endRecords(directory: Range<Int>) -> [UInt8] {
        let needs64 = records.count >= Int(UInt16.max) || directory.upperBound >= Self.limit32
        var bytes: [UInt8] = []
        if needs64 {
            bytes += [0x50, 0x4b, 6, 6] + littleEndianBytes(UInt64(44)) + littleEndianBytes(UInt16(45))
            bytes += littleEndianBytes(UInt16(45)) + littleEndianBytes(UInt64(0))  // disks
            bytes += littleEndianBytes(UInt64(records.count)) + littleEndianBytes(UInt64(records.count))
            bytes += littleEndianBytes(UInt64(directory.count)) + littleEndianBytes(UInt64(directory.lowerBound))
            bytes += [0x50, 0x4b, 6, 7] + littleEndianBytes(UInt32(0))
            bytes += littleEndianBytes(UInt64(directory.upperBound)) + littleEndianBytes(UInt32(1))
        }
        let count = UInt16(clamping: records.count)
        bytes += [0x50, 0x4b, 5, 6] + littleEndianBytes(UInt32(0))  // disks
        bytes += littleEndianBytes(count) + littleEndianBytes(count)
        bytes += littleEndianBytes(UInt32(clamping: directory.count))
        bytes += littleEndianBytes(UInt32(clamping: directory.lowerBound)) + littleEndianBytes(UInt16(0))
        return bytes
    }
}
