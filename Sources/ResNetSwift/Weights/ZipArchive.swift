// The members of a zip file (PKWARE APPNOTE 6.3), as npz and PyTorch use it: stored or deflated, zip64 where needed.
//
//     [local header | name | extra | data]... [central directory] [zip64 end + locator] [end of central directory]
//
// The central directory lists the members; each local header is read as well and must tell the same. Members that
// overlap, disagree, are encrypted or could not possibly inflate to what they announce are refused before any is read.

import ResNetSupport

struct ZipMember: Sendable, Hashable {
    let name: String
    let isDeflated: Bool
    /// 0 where the writer stored none.
    let crc: UInt32
    /// Inflated.
    let size: Int
    /// The bytes in the file: stored or deflated.
    let range: Range<Int>
}

struct ZipArchive: Sendable {
    let members: [ZipMember]

    /// More members than any checkpoint has tensors.
    static let maximumMembers = 65_536
    /// Deflate cannot do better than 1032:1; whole archives of weights stay far below 200:1.
    static let freeExpansion = 256 << 20
    static let maximumExpansion = 200

    private static let part = "zip directory"

    init(_ file: UnsafeRawBufferPointer) throws(WeightFault) {
        let directory = try Self.findDirectory(file)
        guard directory.count <= Self.maximumMembers else {
            throw .exceedsLimit("zip directory of \(directory.count) members; at most \(Self.maximumMembers) are read")
        }
        guard let bytes = file.slice(directory.range) else {
            throw .truncated(part: Self.part, needed: directory.range.upperBound, available: file.count)
        }
        var cursor = ByteCursor(bytes, part: Self.part)
        var members: [ZipMember] = []
        var names = Set<String>()
        // From the start of a local header to the end of its data.
        var extents: [Range<Int>] = []
        var total = 0
        for _ in 0..<directory.count {
            let record = try CentralRecord(&cursor)
            guard names.insert(record.name).inserted else { throw .duplicateKey(record.name) }
            let range = try Self.locate(record, in: file, before: directory.range.lowerBound)
            try Self.checkExpansion(record)
            let (sum, overflow) = total.addingReportingOverflow(record.size)
            guard !overflow else { throw .exceedsLimit("zip members of more than 2^63 bytes") }
            total = sum
            extents.append(record.headerOffset..<range.upperBound)
            members.append(
                ZipMember(
                    name: record.name, isDeflated: record.method == 8, crc: record.crc, size: record.size, range: range)
            )
        }
        guard cursor.remaining == 0 else {
            throw .malformed(part: Self.part, problem: "\(cursor.remaining) bytes more than its members take")
        }
        extents.sort { $0.lowerBound < $1.lowerBound }
        for (first, second) in zip(extents, extents.dropFirst()) where first.upperBound > second.lowerBound {
            throw .malformed(part: Self.part, problem: "members overlap at byte \(second.lowerBound)")
        }
        guard total <= Self.freeExpansion || total / Self.maximumExpansion <= file.count else {
            throw .exceedsLimit("a zip bomb? \(file.count) bytes announce \(total) bytes of members")
        }
        self.members = members
    }

    func member(_ name: String) -> ZipMember? { members.first { $0.name == name } }

    // MARK: - End of central directory

    private static func findDirectory(
        _ file: UnsafeRawBufferPointer
    ) throws(WeightFault) -> (range: Range<Int>, count: Int) {
        // The record has 22 bytes and a comment of up to 65,535; it is searched from the end.
        guard file.count >= 22 else { throw .truncated(part: part, needed: 22, available: file.count) }
        var end = file.count - 22
        let lowest = max(0, end - 65_535)
        while !(file[end] == 0x50 && file.has("PK\u{5}\u{6}", at: end) && commentFits(file, end)) {
            guard end > lowest else {
                throw .malformed(part: part, problem: "it is missing; the file is cut short or not a zip archive")
            }
            end -= 1
        }
        var cursor = ByteCursor(file, part: part, at: end + 4)
        let disk = try cursor.take(UInt16.self)
        let directoryDisk = try cursor.take(UInt16.self)
        let countHere = try cursor.take(UInt16.self)
        let count = try cursor.take(UInt16.self)
        let size = try cursor.take(UInt32.self)
        let offset = try cursor.take(UInt32.self)

        if end >= 20, file.has("PK\u{6}\u{7}", at: end - 20) {
            return try findDirectory64(file, locator: end - 20)
        }
        guard count != .max, size != .max, offset != .max else {
            throw .malformed(part: part, problem: "it refers to a zip64 record that is not there")
        }
        guard disk == 0, directoryDisk == 0, countHere == count else {
            throw .unsupported("a zip archive of several volumes")
        }
        return (try directoryRange(UInt64(offset), UInt64(size), end: end), Int(count))
    }

    private static func commentFits(_ file: UnsafeRawBufferPointer, _ end: Int) -> Bool {
        Int(UInt16(littleEndian: file.loadUnaligned(fromByteOffset: end + 20, as: UInt16.self))) == file.count - end
            - 22
    }

    private static func findDirectory64(
        _ file: UnsafeRawBufferPointer, locator: Int
    ) throws(WeightFault) -> (range: Range<Int>, count: Int) {
        let part = "zip64 directory"
        var cursor = ByteCursor(file, part: part, at: locator + 4)
        let disk = try cursor.take(UInt32.self)
        let recordOffset = try cursor.take(UInt64.self)
        guard let record = Int(exactly: recordOffset), record <= locator, file.has("PK\u{6}\u{6}", at: record) else {
            throw .malformed(part: part, problem: "no record at byte \(recordOffset)")
        }
        cursor = ByteCursor(file, part: part, at: record + 4)
        _ = try cursor.take(UInt64.self)  // size of this record
        _ = try cursor.take(UInt32.self)  // versions
        let thisDisk = try cursor.take(UInt32.self)
        let directoryDisk = try cursor.take(UInt32.self)
        let countHere = try cursor.take(UInt64.self)
        let count = try cursor.take(UInt64.self)
        let size = try cursor.take(UInt64.self)
        let offset = try cursor.take(UInt64.self)
        guard disk == 0, thisDisk == 0, directoryDisk == 0, countHere == count else {
            throw .unsupported("a zip archive of several volumes")
        }
        guard count <= UInt64(maximumMembers) else {
            throw .exceedsLimit("zip directory of \(count) members; at most \(maximumMembers) are read")
        }
        return (try directoryRange(offset, size, end: record), Int(count))
    }

    private static func directoryRange(_ offset: UInt64, _ size: UInt64, end: Int) throws(WeightFault) -> Range<Int> {
        guard let start = Int(exactly: offset), let count = Int(exactly: size),
            let range = checkedRange(start: start, count: count, limit: end)
        else { throw .malformed(part: part, problem: "its place (\(size) bytes at \(offset)) is outside the file") }
        return range
    }

    // MARK: - Members

    /// Reads the local header of `record` and returns where its data lies.
    private static func locate(
        _ record: CentralRecord, in file: UnsafeRawBufferPointer, before limit: Int
    ) throws(WeightFault) -> Range<Int> {
        let part = "zip member \(record.name)"
        func fault(_ problem: String) -> WeightFault { .malformed(part: part, problem: problem) }
        guard record.headerOffset < limit, let area = file.slice(record.headerOffset..<limit) else {
            throw fault("its header at byte \(record.headerOffset) is outside the file")
        }
        guard area.has("PK\u{3}\u{4}") else { throw fault("no local header at byte \(record.headerOffset)") }
        var cursor = ByteCursor(area, part: part, at: 4)
        _ = try cursor.take(UInt16.self)  // version
        let flags = try cursor.take(UInt16.self)
        let method = try cursor.take(UInt16.self)
        _ = try cursor.take(UInt32.self)  // time, date
        _ = try cursor.take(UInt32.self)  // checksum; the directory's is used
        var compressed = UInt64(try cursor.take(UInt32.self))
        var size = UInt64(try cursor.take(UInt32.self))
        let nameLength = Int(try cursor.take(UInt16.self))
        let extraLength = Int(try cursor.take(UInt16.self))
        let name = try cursor.takeOldText(nameLength)
        let extra = try cursor.take(extraLength)
        guard name == record.name else { throw fault("its local header says \(name)") }
        guard method == record.method, flags & 1 == record.flags & 1 else {
            throw fault("its local header tells another method")
        }
        if size == UInt64(UInt32.max) || compressed == UInt64(UInt32.max), let field = try zip64Field(extra, part) {
            var values = ByteCursor(field, part: part)
            if size == UInt64(UInt32.max) { size = try values.take(UInt64.self) }
            if compressed == UInt64(UInt32.max) { compressed = try values.take(UInt64.self) }
        }
        // With flag 3 the sizes follow the data, and the header may say zero; the directory has them.
        let deferred = flags & 8 != 0 && size == 0 && compressed == 0
        guard deferred || (size == UInt64(record.size) && compressed == UInt64(record.compressedSize)) else {
            throw fault("its local header says \(size) bytes, the directory \(record.size)")
        }
        guard
            let inArea = checkedRange(start: cursor.offset, count: record.compressedSize, limit: area.count)
        else { throw .truncated(part: part, needed: record.compressedSize, available: cursor.remaining) }
        return record.headerOffset + inArea.lowerBound..<record.headerOffset + inArea.upperBound
    }

    private static func checkExpansion(_ record: CentralRecord) throws(WeightFault) {
        if record.method == 0 {
            guard record.size == record.compressedSize else {
                throw .malformed(
                    part: "zip member \(record.name)",
                    problem: "stored, but \(record.compressedSize) bytes are to become \(record.size)")
            }
        } else {
            guard record.size / 1040 <= record.compressedSize else {
                throw .exceedsLimit(
                    "a zip bomb? member \(record.name): \(record.compressedSize) bytes announce \(record.size)")
            }
        }
    }

    /// The body of the zip64 extra field, if there is one.
    fileprivate static func zip64Field(
        _ extra: UnsafeRawBufferPointer, _ part: String
    ) throws(WeightFault) -> UnsafeRawBufferPointer? {
        var cursor = ByteCursor(extra, part: "\(part), extra field")
        while cursor.remaining >= 4 {
            let identifier = try cursor.take(UInt16.self)
            let body = try cursor.take(Int(try cursor.take(UInt16.self)))
            if identifier == 1 { return body }
        }
        return nil
    }
}

/// One entry of the central directory, with zip64 values in place.
private struct CentralRecord {
    let name: String
    let flags: UInt16
    let method: UInt16
    let crc: UInt32
    let compressedSize: Int
    let size: Int
    let headerOffset: Int

    init(_ cursor: inout ByteCursor) throws(WeightFault) {
        guard try cursor.take(4).has("PK\u{1}\u{2}") else {
            throw .malformed(part: cursor.part, problem: "an entry without its signature")
        }
        _ = try cursor.take(UInt32.self)  // versions
        flags = try cursor.take(UInt16.self)
        method = try cursor.take(UInt16.self)
        _ = try cursor.take(UInt32.self)  // time, date
        crc = try cursor.take(UInt32.self)
        var compressed = UInt64(try cursor.take(UInt32.self))
        var size = UInt64(try cursor.take(UInt32.self))
        let nameLength = Int(try cursor.take(UInt16.self))
        let extraLength = Int(try cursor.take(UInt16.self))
        let commentLength = Int(try cursor.take(UInt16.self))
        let disk = try cursor.take(UInt16.self)
        _ = try cursor.take(UInt16.self)  // internal attributes
        _ = try cursor.take(UInt32.self)  // external attributes
        var offset = UInt64(try cursor.take(UInt32.self))
        name = try cursor.takeOldText(nameLength)
        let extra = try cursor.take(extraLength)
        _ = try cursor.take(commentLength)

        let part = "zip member \(name)"
        let full = UInt64(UInt32.max)
        if size == full || compressed == full || offset == full, let field = try ZipArchive.zip64Field(extra, part) {
            var values = ByteCursor(field, part: part)
            if size == full { size = try values.take(UInt64.self) }
            if compressed == full { compressed = try values.take(UInt64.self) }
            if offset == full { offset = try values.take(UInt64.self) }
        }
        guard flags & 1 == 0 else { throw .unsupported("\(part) is encrypted") }
        guard method == 0 || method == 8 else {
            throw .unsupported("\(part) is compressed by method \(method); stored and deflated ones are read")
        }
        guard disk == 0 || disk == .max else { throw .unsupported("a zip archive of several volumes") }
        guard let size = Int(exactly: size), let compressed = Int(exactly: compressed),
            let offset = Int(exactly: offset)
        else { throw .malformed(part: part, problem: "sizes beyond 2^63") }
        self.size = size
        compressedSize = compressed
        headerOffset = offset
    }
}
