// PyTorch 0.1.10 to 1.5 (and today's with `_use_new_zipfile_serialization=False`): five pickles, then the storages.
//
//     magic 0x1950a86a20f9469cfc6c | 1001 | sys_info | the object | sorted storage keys | (i64 count, raw data) per key
//
// Persistent ids are ('storage', class, key, location, count, view), where view is None or (view key, first element,
// count). Raw data is little-endian on every machine. Source: torch/serialization.py, _legacy_save and _legacy_load.

import ResNetSupport

enum TorchStream {
    /// LONG1 of 10 bytes, then these, in protocols 2 to 5.
    static let magic: [UInt8] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]
    /// The whole first pickle in protocol 1: LONG in decimal, STOP.
    private static let decimalMagic: StaticString = "L119547037146038801333356L\n."
    private static let part = "PyTorch stream"
    /// Bytes per element of storages that are not read.
    private static let otherSizes = [
        "torch.ComplexFloatStorage": 8, "torch.ComplexDoubleStorage": 16, "torch.QInt8Storage": 1,
        "torch.QUInt8Storage": 1, "torch.QInt32Storage": 4, "torch.QUInt4x2Storage": 1, "torch.QUInt2x4Storage": 1,
    ]

    /// A first pickle that is a number of ten bytes, in any protocol that can hold a storage.
    static func begins(_ file: UnsafeRawBufferPointer) -> Bool {
        var start = 0
        if file.count > 1, file[0] == 0x80, file[1] <= 5 { start = 2 }
        // FRAME and its size, from protocol 4 on.
        if file.count > start, file[start] == 0x95 { start += 9 }
        if file.count >= start + 12, file[start] == 0x8a, file[start + 1] == 10 { return true }
        return file.has(decimalMagic)
    }

    static func read(_ file: UnsafeRawBufferPointer) throws(WeightFault) -> ContainerContents {
        // Root storages by key, with the type and count that the pickle announced.
        var announced: [String: PickleStorage] = [:]
        var machine = PickleMachine(ByteCursor(file, part: part)) { (_, _) throws(WeightFault) in
            throw .malformed(part: part, problem: "a persistent id before the object")
        }
        if file.has(decimalMagic) {
            try machine.skip(decimalMagic.utf8CodeUnitCount)
        } else {
            guard try machine.load() == .long(magic) else { throw machine.fault("another magic number") }
        }
        guard try machine.load() == .integer(1001) else { throw machine.fault("another protocol version than 1001") }
        let systemInfo = try machine.load()
        guard machine.heap.dictionary(systemInfo) != nil else { throw machine.fault("sys_info is not a dict") }

        var object = PickleMachine(machine.cursor) { (identifier, heap) throws(WeightFault) in
            if let items = heap.tuple(identifier), items.first == .string("module") {
                return try TorchZip.value(of: identifier, in: &heap, part: part, idSize: 6)
            }
            return try heap.make(try view(identifier, in: heap, &announced))
        }
        let root = try object.load()
        let heap = object.heap
        machine = PickleMachine(object.cursor)
        let keyList = try machine.load()
        guard let keys = machine.heap.sequence(keyList) else { throw machine.fault("no list of storage keys") }
        var cursor = machine.cursor

        var payloads: [String: StoredTensor.Payload] = [:]
        for item in keys {
            guard case .string(let key) = item, let storage = announced[key] else {
                throw .malformed(part: part, problem: "its key list names a storage that no tensor uses")
            }
            guard payloads[key] == nil else { throw .duplicateKey("storage \(key)") }
            let count = try cursor.take(Int64.self)
            guard Int(count) == storage.count else {
                throw .malformed(
                    part: "storage \(key)", problem: "\(count) elements, where the pickle says \(storage.count)")
            }
            payloads[key] = .raw(try takeStorage(&cursor, storage))
        }
        guard cursor.remaining == 0 else {
            throw .malformed(part: part, problem: "\(cursor.remaining) bytes after the last storage")
        }
        let search = TensorSearch(
            heap, bigEndian: false, pickle: PickledSource(owner: nil, offset: 0), bytes: file
        ) { (storage) throws(WeightFault) in
            guard let payload = payloads[storage.key] else {
                throw .malformed(part: part, problem: "storage \(storage.key) is not in its key list")
            }
            return payload
        }
        return try search.contents(of: root)
    }

    /// The bytes of a storage at the cursor, which moves behind them.
    private static func takeStorage(
        _ cursor: inout ByteCursor, _ storage: PickleStorage
    ) throws(WeightFault) -> Range<Int> {
        guard let elementSize = storage.elementSize ?? otherSizes[storage.typeName] else {
            // Where the next storage begins depends on it.
            throw .unsupported("storage \(storage.key) is a \(storage.typeName), whose elements have an unknown size")
        }
        guard let size = checkedProduct([storage.count, elementSize]) else {
            throw .malformed(part: "storage \(storage.key)", problem: "\(storage.count) elements")
        }
        let start = cursor.offset
        guard size <= cursor.remaining else {
            throw .truncated(part: "storage \(storage.key)", needed: size, available: cursor.remaining)
        }
        _ = try cursor.take(size)
        return start..<start + size
    }

    /// The storage of a persistent id; where it is a view, the part of its root storage.
    private static func view(
        _ identifier: PickleValue, in heap: PickleHeap, _ announced: inout [String: PickleStorage]
    ) throws(WeightFault) -> PickleStorage {
        let root = try TorchZip.storage(identifier, in: heap, part: part, idSize: 6)
        if let before = announced[root.key] {
            guard before == root else {
                throw .malformed(part: "storage \(root.key)", problem: "announced with two types or sizes")
            }
        } else {
            announced[root.key] = root
        }
        guard let last = heap.tuple(identifier)?.last, last != .none else { return root }
        guard let items = heap.tuple(last), items.count == 3, case .integer(let start) = items[1],
            case .integer(let count) = items[2], checkedRange(start: start, count: count, limit: root.count) != nil
        else { throw .malformed(part: "storage \(root.key)", problem: "a view outside of it") }
        return PickleStorage(elements: root.elements, count: count, key: root.key, start: start)
    }
}
