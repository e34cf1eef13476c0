// PyTorch 1.6 and later: a zip archive.
//
//     <prefix>/data.pkl      the object; storages are persistent ids ('storage', class, key, location, count)
//     <prefix>/data/<key>    a storage's bytes, aligned to 64 through the local header's extra field
//     <prefix>/byteorder     'little' or 'big'; absent in older files, which are little-endian
//
// Source: torch/serialization.py, _save and _load.

import ResNetSupport

enum TorchZip {
    static let maximumPickle = 16 << 20

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

        // Typed throws do not cross withUnsafeBytes, so the inflated or stored pickle gets an owner of its own.
        let program = MappedFile(copying: try pickle.contents(of: file, limit: maximumPickle))
        var machine = PickleMachine(ByteCursor(program.bytes, part: "data.pkl")) {
            (identifier, heap) throws(WeightFault) in
            let storage = try storage(identifier, in: heap, part: "data.pkl", idSize: 5)
            return try heap.make(.storage(storage))
        }
        let root = try machine.load()
        try machine.finish()
        return try TorchState.contents(of: root, in: machine.heap, bigEndian: bigEndian) {
            (storage) throws(WeightFault) in
            guard let member = members["data/\(storage.key)"] else {
                throw .malformed(
                    part: "data.pkl", problem: "it names storage \(storage.key), which is not in the archive")
            }
            guard checkedProduct([storage.count, storage.type.size]) == member.size else {
                throw .malformed(
                    part: "storage \(storage.key)",
                    problem: "\(storage.count) elements of \(storage.type.rawValue) are announced, "
                        + "\(member.size) bytes are there")
            }
            return member.isDeflated ? .deflated(member, skip: 0) : .raw(member.range)
        }
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
        guard case .global(let global) = items[1], let type = global.elementType else {
            throw fault("has \(heap.noun(items[1])) for its type")
        }
        guard case .string(let key) = items[2] else { throw fault("has \(heap.noun(items[2])) for its key") }
        // items[3] is where the storage lived, `cpu` or `cuda:1`; here everything lives in memory.
        guard case .integer(let count) = items[4], count >= 0 else { throw fault("has no valid count") }
        return PickleStorage(type: type, count: count, key: key, start: 0)
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
