// The members of a tar file (POSIX.1-1988 ustar, its predecessor, and the GNU and pax variants of size and headers).
//
//     header of 512 bytes: name 100, mode 8, uid 8, gid 8, size 12 (octal), mtime 12, checksum 8, type 1, ... | data
//     each part is padded to 512 bytes; two empty headers end the archive

import ResNetSupport

struct TarArchive: Sendable {
    private var members: [String: Range<Int>] = [:]

    static let maximumMembers = 1_000

    /// True where a valid tar header begins the file: the checksum is there in every version of the format.
    static func isHeader(_ file: UnsafeRawBufferPointer, at offset: Int = 0) -> Bool {
        guard let header = checkedRange(start: offset, count: 512, limit: file.count).flatMap(file.slice) else {
            return false
        }
        guard let stored = octal(header[148..<156]), header[0] != 0 else { return false }
        // The sum of all bytes, with the checksum's own field as spaces.
        let sum = header.reduce(0) { $0 + Int($1) } - header[148..<156].reduce(0) { $0 + Int($1) } + 8 * 0x20
        return stored == sum
    }

    init(_ file: UnsafeRawBufferPointer) throws(WeightFault) {
        let part = "tar archive"
        var offset = 0
        var count = 0
        while let header = checkedRange(start: offset, count: 512, limit: file.count).flatMap(file.slice) {
            if header.allSatisfy({ $0 == 0 }) { return }
            guard Self.isHeader(file, at: offset) else {
                throw .malformed(part: part, problem: "no valid header at byte \(offset)")
            }
            count += 1
            guard count <= Self.maximumMembers else {
                throw .exceedsLimit("tar archive of more than \(Self.maximumMembers) members")
            }
            var bytes = header[..<100].prefix { $0 != 0 }
            while bytes.starts(with: Array("./".utf8)) { bytes = bytes.dropFirst(2) }
            let name = String(decoding: bytes, as: UTF8.self)
            guard let size = Self.octal(header[124..<136]) else {
                throw .malformed(part: part, problem: "member \(name) has no valid size")
            }
            guard let range = checkedRange(start: offset + 512, count: size, limit: file.count) else {
                throw .truncated(part: "tar member \(name)", needed: size, available: file.count - offset - 512)
            }
            // '0' and NUL are plain files; directories, links and extended headers hold no data of ours.
            if header[156] == 0x30 || header[156] == 0 {
                guard members.updateValue(range, forKey: name) == nil else { throw .duplicateKey(name) }
            }
            let (padded, overflow) = range.upperBound.addingReportingOverflow(511)
            guard !overflow else { throw .malformed(part: part, problem: "member \(name) has no valid size") }
            offset = padded / 512 * 512
        }
    }

    func member(_ name: String) throws(WeightFault) -> Range<Int> {
        guard let range = members[name] else {
            throw .notWeights("a tar archive without the member \(name) of a PyTorch checkpoint")
        }
        return range
    }

    /// An octal number in ASCII, padded by spaces or NULs, or GNU's big-endian binary with the top bit set.
    private static func octal(_ field: Slice<UnsafeRawBufferPointer>) -> Int? {
        if let first = field.first, first & 0x80 != 0 {
            var value = Int(first & 0x7f)
            for byte in field.dropFirst() {
                guard value < 1 << 54 else { return nil }
                value = value << 8 | Int(byte)
            }
            return value
        }
        var value = 0
        var digits = 0
        for byte in field.drop(while: { $0 == 0x20 }) {
            if byte == 0x20 || byte == 0 { break }
            guard (0x30...0x37).contains(byte), digits < 12 else { return nil }
            value = value << 3 | Int(byte - 0x30)
            digits += 1
        }
        return digits > 0 ? value : nil
    }
}
