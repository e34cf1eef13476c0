// npz: a zip archive of npy arrays, one member `key.npy` a tensor; and the single npy array.
//
// A stored array is used where it lies when it happens to be aligned; a deflated one is inflated when asked for. Our own
// files carry a member `__meta__.json` beside the arrays: one object of model name, class names and transform.

import ResNetSupport

enum Npz {
    static let metadataMember = "__meta__.json"
    /// Class names and a transform; not a place to hide things in.
    static let maximumMetadata = 16 << 20

    static func read(_ file: UnsafeRawBufferPointer, _ archive: ZipArchive) throws(WeightFault) -> ContainerContents {
        var mapping = TensorMapping()
        var notes: [String: String] = [:]
        var others: [(path: [String], what: String)] = []
        for member in archive.members {
            if member.name.hasSuffix(".npy") {
                do throws(WeightFault) { mapping.tensors.append(try tensor(member, in: file)) } catch {
                    // Arrays of text, dates, objects: beside weights they harm nobody.
                    guard case .unsupported(let reason) = error else { throw error }
                    mapping.unread.append(UnreadTensor(key: String(member.name.dropLast(4)), reason: reason))
                }
            } else if member.name == metadataMember {
                notes = try metadata(member, in: file)
            } else {
                others.append(([member.name], "a member that is no array"))
            }
        }
        var contents = try ContainerContents(flat: mapping)
        contents.metadata = notes
        contents.others = others
        return contents
    }

    /// A lone `.npy` file: one tensor by the name `array`.
    static func readSingle(_ file: UnsafeRawBufferPointer) throws(WeightFault) -> ContainerContents {
        let part = "npy array"
        var cursor = ByteCursor(file, part: part)
        let header = try NpyHeader(part: part) { (count) throws(WeightFault) in Array(try cursor.take(count)) }
        try check(header, leaves: cursor.remaining, part)
        var mapping = TensorMapping()
        mapping.tensors = [
            StoredTensor(
                key: "array", type: header.type, bigEndian: header.bigEndian, geometry: header.geometry,
                payload: .raw(header.size..<file.count))
        ]
        return try ContainerContents(flat: mapping)
    }

    private static func tensor(_ member: ZipMember, in file: UnsafeRawBufferPointer) throws(WeightFault) -> StoredTensor
    {
        let part = "array \(member.name)"
        guard let bytes = file.slice(member.range) else {
            throw .truncated(part: part, needed: member.range.upperBound, available: file.count)
        }
        let header: NpyHeader
        let payload: StoredTensor.Payload
        if member.isDeflated {
            var inflater = try Inflater(bytes, part: part)
            header = try NpyHeader(part: part) { (count) throws(WeightFault) in try inflater.take(count) }
            payload = .deflated(member, skip: header.size)
        } else {
            var cursor = ByteCursor(bytes, part: part)
            header = try NpyHeader(part: part) { (count) throws(WeightFault) in Array(try cursor.take(count)) }
            payload = .raw(member.range.lowerBound + header.size..<member.range.upperBound)
        }
        try check(header, leaves: member.size - header.size, part)
        return StoredTensor(
            key: String(member.name.dropLast(4)), type: header.type, bigEndian: header.bigEndian,
            geometry: header.geometry, payload: payload)
    }

    private static func check(_ header: NpyHeader, leaves available: Int, _ part: String) throws(WeightFault) {
        guard header.dataSize <= available else {
            throw .truncated(part: part, needed: header.dataSize, available: available)
        }
        guard header.dataSize == available else {
            throw .malformed(part: part, problem: "\(available - header.dataSize) bytes more than its shape takes")
        }
    }

    private static func metadata(
        _ member: ZipMember, in file: UnsafeRawBufferPointer
    ) throws(WeightFault) -> [String: String] {
        let bytes = try member.contents(of: file, limit: maximumMetadata)
        let parsed: JSONValue
        do throws(JSONError) { parsed = try bytes.withUnsafeBytes(JSONValue.parseResult).get() } catch {
            throw .malformed(part: metadataMember, problem: "\(error)")
        }
        guard case .object(let fields) = parsed else {
            throw .malformed(part: metadataMember, problem: "not an object")
        }
        // Anything that is not a string is kept as its JSON text.
        return Dictionary(uniqueKeysWithValues: fields.map { ($0.key, $0.value.stringValue ?? $0.value.text) })
    }
}

extension ZipMember {
    /// All bytes of a small member, inflated where need be and checked against its checksum.
    func contents(of file: UnsafeRawBufferPointer, limit: Int) throws(WeightFault) -> [UInt8] {
        let part = "zip member \(name)"
        guard size <= limit else { throw .exceedsLimit("\(part) has \(size) bytes; at most \(limit) are read") }
        guard isDeflated else { return Array(try stored(in: file)) }
        guard let bytes = file.slice(range) else {
            throw .truncated(part: part, needed: range.upperBound, available: file.count)
        }
        var inflater = try Inflater(bytes, part: part)
        let result = try inflater.take(size)
        try inflater.finish(crc: crc)
        return result
    }

    /// The bytes of a stored member, checked against its checksum.
    func stored(in file: UnsafeRawBufferPointer) throws(WeightFault) -> UnsafeRawBufferPointer {
        let part = "zip member \(name)"
        guard let bytes = file.slice(range) else {
            throw .truncated(part: part, needed: range.upperBound, available: file.count)
        }
        guard crc == 0 || UInt(crc) == checksumCRC32(bytes) else {
            throw .malformed(part: part, problem: "its checksum does not match")
        }
        return bytes
    }
}
