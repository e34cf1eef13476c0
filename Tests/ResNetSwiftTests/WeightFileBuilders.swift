// Weight files made byte by byte, so that tests can make them wrong in exactly one place.

import ResNetSwift

@testable import ResNetWeights

/// A zip archive whose every field can be made to lie.
struct BuiltZip {
    struct Member {
        var name: String
        var data: [UInt8]
        /// Deflated members are written as stored blocks of deflate: valid, but not smaller.
        var deflated = false
        /// What the directory and the local header say, where that is not the truth.
        var size: Int?
        var compressedSize: Int?
        var localSize: Int?
        var localName: String?
        var crc: UInt32?
        var method: UInt16?
        var flags: UInt16 = 0
        var offset: Int?
        var localExtra: [UInt8] = []
        var centralExtra: [UInt8] = []

        init(_ name: String, _ data: [UInt8], _ change: (inout Member) -> Void = { _ in }) {
            self.name = name
            self.data = data
            change(&self)
        }
    }

    var members: [Member]
    var count: Int?
    var directoryOffset: Int?
    var directorySize: Int?

    init(_ members: Member...) { self.members = members }

    func build() -> [UInt8] {
        var file: [UInt8] = []
        var directory: [UInt8] = []
        for member in members {
            let payload = member.deflated ? Self.deflate(member.data) : member.data
            let method = member.method ?? (member.deflated ? 8 : 0)
            let crc = member.crc ?? UInt32(member.data.withUnsafeBytes { checksumCRC32($0) })
            let size = UInt32(truncatingIfNeeded: member.size ?? member.data.count)
            let compressed = UInt32(truncatingIfNeeded: member.compressedSize ?? payload.count)
            let localSize = member.localSize.map(UInt32.init(truncatingIfNeeded:)) ?? size
            let localName = Array((member.localName ?? member.name).utf8)
            let name = Array(member.name.utf8)
            let offset = member.offset ?? file.count
            func common(_ size: UInt32, _ nameCount: Int, _ extraCount: Int) -> [UInt8] {
                littleEndianBytes(UInt16(20)) + littleEndianBytes(member.flags) + littleEndianBytes(method)
                    + [0, 0, 0x21, 0] + littleEndianBytes(crc) + littleEndianBytes(compressed) + littleEndianBytes(size)
                    + littleEndianBytes(UInt16(nameCount)) + littleEndianBytes(UInt16(extraCount))
            }
            file += [0x50, 0x4b, 3, 4] + common(localSize, localName.count, member.localExtra.count)
            file += localName + member.localExtra + payload
            directory += [0x50, 0x4b, 1, 2, 20, 0] + common(size, name.count, member.centralExtra.count)
            directory += [UInt8](repeating: 0, count: 10)
            directory += littleEndianBytes(UInt32(truncatingIfNeeded: offset)) + name + member.centralExtra
        }
        let start = file.count
        let count = UInt16(truncatingIfNeeded: count ?? members.count)
        file += directory + [0x50, 0x4b, 5, 6, 0, 0, 0, 0] + littleEndianBytes(count) + littleEndianBytes(count)
        file += littleEndianBytes(UInt32(truncatingIfNeeded: directorySize ?? directory.count))
        file += littleEndianBytes(UInt32(truncatingIfNeeded: directoryOffset ?? start)) + [0, 0]
        return file
    }

    /// Deflate's stored blocks.
    static func deflate(_ data: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var rest = data[...]
        repeat {
            let block = rest.prefix(65_535)
            rest = rest.dropFirst(block.count)
            let length = UInt16(block.count)
            result += [rest.isEmpty ? 1 : 0] + littleEndianBytes(length) + littleEndianBytes(~length) + block
        } while !rest.isEmpty
        return result
    }
}

/// Opcodes of a pickle, in pieces.
enum BuiltPickle {
    static let mark: [UInt8] = [0x28]
    static let stop: [UInt8] = [0x2e]
    static let reduce: [UInt8] = [0x52]
    static let tuple: [UInt8] = [0x74]
    static let emptyTuple: [UInt8] = [0x29]
    static let emptyList: [UInt8] = [0x5d]
    static let emptyDict: [UInt8] = [0x7d]
    static let setItem: [UInt8] = [0x73]
    static let persistentId: [UInt8] = [0x51]
    static let proto: [UInt8] = [0x80, 2]

    static func text(_ text: String) -> [UInt8] {
        [0x58] + littleEndianBytes(UInt32(text.utf8.count)) + Array(text.utf8)
    }

    /// Protocol 4's.
    static func shortText(_ text: String) -> [UInt8] { [0x8c, UInt8(text.utf8.count)] + Array(text.utf8) }

    static func integer(_ value: Int) -> [UInt8] { [0x8a, 8] + littleEndianBytes(Int64(value)) }

    static func global(_ module: String, _ name: String) -> [UInt8] { [0x63] + Array("\(module)\n\(name)\n".utf8) }

    static func integers(_ values: [Int]) -> [UInt8] { mark + values.flatMap(integer) + tuple }

    static func storage(_ key: String, _ type: String = "FloatStorage", count: Int, view: [UInt8] = []) -> [UInt8] {
        mark + text("storage") + global("torch", type) + text(key) + text("cpu") + integer(count) + view + tuple
            + persistentId
    }

    static func tensor(
        _ storage: [UInt8], offset: Int = 0, shape: [Int], strides: [Int]
    ) -> [UInt8] {
        global("torch._utils", "_rebuild_tensor_v2") + mark + storage + integer(offset) + integers(shape)
            + integers(strides) + [0x89] + global("collections", "OrderedDict") + emptyTuple + reduce + tuple + reduce
    }

    /// A whole pickle of a dict.
    static func dict(_ items: [(String, [UInt8])]) -> [UInt8] {
        proto + emptyDict + items.flatMap { text($0.0) + $0.1 + setItem } + stop
    }

    static func dict(_ value: [UInt8]) -> [UInt8] { dict([("w", value)]) }
}

/// PyTorch files around a pickle.
enum BuiltTorch {
    static let four = [UInt8](repeating: 0, count: 16)

    /// A zip with one storage `0` of four floats.
    static func zip(_ pickle: [UInt8], storage: [UInt8] = four, others: [BuiltZip.Member] = []) -> [UInt8] {
        var archive = BuiltZip(.init("archive/data.pkl", pickle), .init("archive/data/0", storage))
        archive.members += others
        return archive.build()
    }

    static let magic: [UInt8] = [0x80, 2, 0x8a, 10] + TorchStream.magic + BuiltPickle.stop

    /// A magic stream; each part may be replaced.
    static func stream(
        _ pickle: [UInt8], version: Int = 1001, keys: [String] = ["0"], counts: [Int] = [4], data: [UInt8] = four
    ) -> [UInt8] {
        let keyList = BuiltPickle.emptyList + keys.flatMap { BuiltPickle.text($0) + [0x61] }
        return magic + BuiltPickle.proto + BuiltPickle.integer(version) + BuiltPickle.stop + BuiltPickle.proto
            + BuiltPickle.emptyDict + BuiltPickle.stop + pickle + BuiltPickle.proto + keyList + BuiltPickle.stop
            + counts.flatMap { littleEndianBytes(Int64($0)) } + data
    }

    /// A tar with the members of PyTorch 0.1.9.
    static func tar(storages: [UInt8], tensors: [UInt8], pickle: [UInt8]) -> [UInt8] {
        tarMember("storages", storages) + tarMember("tensors", tensors) + tarMember("pickle", pickle)
            + [UInt8](repeating: 0, count: 1024)
    }

    static func tarMember(_ name: String, _ data: [UInt8], size: String? = nil) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            header.replaceSubrange(offset..<offset + text.utf8.count, with: Array(text.utf8))
        }
        func octal(_ value: Int, _ digits: Int) -> String {
            let text = String(value, radix: 8)
            return String(repeating: "0", count: digits - text.count) + text
        }
        put(name, at: 0)
        put(size ?? octal(data.count, 11), at: 124)
        put("        ", at: 148)
        put("0", at: 156)
        put("ustar\u{0}00", at: 257)
        put(octal(header.reduce(0) { $0 + Int($1) }, 6) + "\u{0} ", at: 148)
        return header + data + [UInt8](repeating: 0, count: (512 - data.count % 512) % 512)
    }

    /// The member `storages` with one storage `7` of four floats.
    static func tarStorages(announced: Int = 1, count: Int = 4, views: [UInt8] = BuiltPickle.emptyList) -> [UInt8] {
        typealias P = BuiltPickle
        return P.integer(announced) + P.stop + P.mark + P.integer(7) + P.text("cpu") + P.global("torch", "FloatStorage")
            + P.tuple + P.stop + littleEndianBytes(Int64(count)) + four + P.proto + views + P.stop
    }

    /// The member `tensors` with one tensor `9` of storage `7`.
    static func tarTensors(
        announced: Int = 1, storage: Int = 7, rank: Int = 1, shape: [Int] = [4], strides: [Int] = [1], offset: Int = 0
    ) -> [UInt8] {
        typealias P = BuiltPickle
        return P.integer(announced) + P.stop + P.mark + P.integer(9) + P.integer(storage)
            + P.global("torch", "FloatTensor") + P.tuple + P.stop + littleEndianBytes(Int32(rank)) + [0, 0, 0, 0]
            + (shape + strides + [offset]).flatMap { littleEndianBytes(Int64($0)) }
    }

    static let tarPickle = BuiltPickle.dict(BuiltPickle.integer(9) + BuiltPickle.persistentId)
}

enum BuiltSafetensors {
    static func file(_ header: String, data: Int = 16, announced: Int? = nil) -> [UInt8] {
        file(bytes: Array(header.utf8), data: data, announced: announced)
    }

    static func file(bytes header: [UInt8], data: Int = 16, announced: Int? = nil) -> [UInt8] {
        littleEndianBytes(UInt64(truncatingIfNeeded: announced ?? header.count)) + header
            + [UInt8](repeating: 0, count: data)
    }

    /// An entry, by default of four floats that fill the data.
    static func entry(
        _ key: String = "w", dtype: String = "\"F32\"", shape: String = "[4]", offsets: String = "[0,16]"
    ) -> String {
        "\"\(key)\":{\"dtype\":\(dtype),\"shape\":\(shape),\"data_offsets\":\(offsets)}"
    }
}

enum BuiltNpy {
    static func file(_ literal: String, version: UInt8 = 1, length: Int? = nil, data: Int = 16) -> [UInt8] {
        let text = Array((literal + "\n").utf8)
        let size = length ?? text.count
        let sizeBytes = version == 1 ? littleEndianBytes(UInt16(size)) : littleEndianBytes(UInt32(size))
        return [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0] + sizeBytes + text + [UInt8](repeating: 0, count: data)
    }

    static func literal(descr: String = "'<f4'", fortran: String = "False", shape: String = "(4,)") -> String {
        "{'descr': \(descr), 'fortran_order': \(fortran), 'shape': \(shape), }"
    }
}
