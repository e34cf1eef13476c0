// PyTorch 1.6 and later: a zip archive.
//
//     <prefix>/data.pkl      the object; storages are persistent ids ('storage', class, key, location, count)
//     <prefix>/data/<key>    a storage's bytes, aligned to 64 through the local header's extra field
//     <prefix>/byteorder     'little' or 'big'; absent in older files, which are little-endian
//
// Source: torch/serialization.py, _save and _load.

import ResNetSupport

enum TorchZip {
    /// Of a deflated pickle, inflated. One that is stored is as large as the file says: it may hold whole arrays.
    static let maximumInflatedPickle = 64 << 20

    /// The member that makes a zip archive a PyTorch file.
    static func pickleMember(_ archive: ZipArchive) -> ZipMember? {
        archive.members.filter { $0.name.hasSuffix("/data.pkl") }.min { $0.name.utf8.count < $1.name.utf8.count }
    }

    static func read(
        _ file: UnsafeRawBufferPointer, _ archive: ZipArchive, pickle: ZipMember
    ) throws(WeightFault) -> ContainerContents {
        let prefix = String(pickle.name.dropLast("data.pkl".count))
        var members: [String: ZipMember] = [:]
        for member in archive.members where member.name.hasPrefix(prefix) {
            members[String(member.name.dropFirst(prefix.count))] = member
        }
        guard members["constants.pkl"] == nil else {
            throw .unsupported("a TorchScript archive, that is a program; save the module's state_dict() instead")
        }
        let bigEndian = try byteOrder(members["byteorder"], in: file)
        let program = try Program(pickle, in: file)
        var machine = PickleMachine(ByteCursor(program.bytes, part: "data.pkl")) {
            (identifier, heap) throws(WeightFault) in
            try value(of: identifier, in: &heap, part: "data.pkl", idSize: 5)
        }
        let root = try machine.load()
        try machine.finish()
        let search = TensorSearch(
            machine.heap, bigEndian: bigEndian, pickle: PickledSource(owner: program.owner, offset: program.offset),
            bytes: program.bytes
        ) { (storage) throws(WeightFault) in
            guard let member = members["data/\(storage.key)"] else {
                throw .malformed(
                    part: "data.pkl", problem: "it names storage \(storage.key), which is not in the archive")
            }
            guard let size = storage.elementSize, checkedProduct([storage.count, size]) == member.size else {
                throw .malformed(
                    part: "storage \(storage.key)",
                    problem: "\(storage.count) elements of \(storage.typeName) are announced, "
                        + "\(member.size) bytes are there")
            }
            return member.isDeflated ? .deflated(member, skip: 0) : .raw(member.range)
        }
        return try search.contents(of: root)
    }

    /// The pickle's bytes: in the file, or inflated, with an owner of their own.
    private struct Program {
        let bytes: UnsafeRawBufferPointer
        let owner: MappedFile?
        /// Where the bytes begin in the file.
        let offset: Int

        init(_ member: ZipMember, in file: UnsafeRawBufferPointer) throws(WeightFault) {
            if member.isDeflated {
                let made = MappedFile(copying: try member.contents(of: file, limit: maximumInflatedPickle))
                (bytes, owner, offset) = (made.bytes, made, 0)
            } else {
                bytes = try member.stored(in: file)
                (owner, offset) = (nil, member.range.lowerBound)
            }
        }
    }

    /// The value of a persistent id: a storage, or in old files of whole modules a class.
    static func value(
        of identifier: PickleValue, in heap: inout PickleHeap, part: String, idSize: Int
    ) throws(WeightFault) -> PickleValue {
        // ('module', class, source file, source text)
        if let items = heap.tuple(identifier), items.count >= 2, items[0] == .string("module") { return items[1] }
        return try heap.make(try storage(identifier, in: heap, part: part, idSize: idSize))
    }

    /// Reads ('storage', class, key, location, count), and in the magic stream a sixth item, the view.
    static func storage(
        _ identifier: PickleValue, in heap: PickleHeap, part: String, idSize: Int
    ) throws(WeightFault) -> PickleStorage {
        func fault(_ problem: String) -> WeightFault { .malformed(part: part, problem: "a persistent id \(problem)") }
        guard let items = heap.tuple(identifier), items.count == idSize else {
            throw fault("is not a tuple of \(idSize)")
        }
        guard items[0] == .string("storage") else { throw fault("is not of a storage") }
        guard case .global = items[1] else { throw fault("has \(heap.noun(items[1])) for its type") }
        guard case .string(let key) = items[2] else { throw fault("has \(heap.noun(items[2])) for its key") }
        // items[3] is where the storage lived, `cpu` or `cuda:1`; here everything lives in memory.
        guard case .integer(let count) = items[4], count >= 0 else { throw fault("has no valid count") }
        return PickleStorage(elements: elements(items[1], in: heap), count: count, key: key, start: 0)
    }

    static func elements(_ type: PickleValue, in heap: PickleHeap) -> PickleStorage.Elements {
        guard let known = heap.known(type) else { return .unknown(heap.noun(type)) }
        if known == .untypedStorage { return .untyped }
        guard known.isStorage, let type = known.elementType else { return .unknown(known.rawValue) }
        return .known(type)
    }

    private static func byteOrder(_ member: ZipMember?, in file: UnsafeRawBufferPointer) throws(WeightFault) -> Bool {
        guard let member else { return false }
        switch String(decoding: try member.contents(of: file, limit: 64), as: UTF8.self) {
        case "little": return false
        case "big": return true
        case let other: throw .unsupported("byte order \(other)")
        }
    }
}
