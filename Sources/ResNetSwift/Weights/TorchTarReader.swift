// PyTorch 0.1.9 and earlier: a tar archive, still what `resnet18-5c106cde.pth` and its siblings are.
//
//     storages   pickle: count; per storage a pickle (key, location, class), i64 count, raw data;
//                then a pickle: list of views (key, root key, first element, count)
//     tensors    pickle: count; per tensor a pickle (key, storage key, class), i32 rank, 4 bytes of padding,
//                i64 sizes, i64 strides, i64 offset
//     pickle     the object; a persistent id is the key of a tensor
//
// Keys are numbers (they were addresses). Source: torch/serialization.py, legacy_load.

import ResNetSupport

enum TorchTar {
    static func read(_ file: UnsafeRawBufferPointer) throws(WeightFault) -> ContainerContents {
        let archive = try TarArchive(file)
        let (storages, payloads) = try storages(file, try archive.member("storages"))
        let tensors = try tensors(file, try archive.member("tensors"), storages)

        let range = try archive.member("pickle")
        var machine = PickleMachine(try cursor(file, range, part: "pickle")) { (identifier, heap) throws(WeightFault) in
            guard let key = number(identifier), let tensor = tensors[key] else {
                throw .malformed(part: "pickle", problem: "a persistent id that names no tensor")
            }
            return try heap.make(tensor)
        }
        let root = try machine.load()
        try machine.finish()
        let search = TensorSearch(
            machine.heap, bigEndian: false, pickle: PickledSource(owner: nil, offset: range.lowerBound),
            bytes: machine.cursor.bytes
        ) { (storage) throws(WeightFault) in
            guard let payload = payloads[storage.key] else {
                throw .malformed(part: "storages", problem: "no storage \(storage.key)")
            }
            return .raw(payload)
        }
        return try search.contents(of: root)
    }

    private static func cursor(
        _ file: UnsafeRawBufferPointer, _ range: Range<Int>, part: String
    ) throws(WeightFault) -> ByteCursor {
        guard let bytes = file.slice(range) else {
            throw .truncated(part: part, needed: range.upperBound, available: file.count)
        }
        return ByteCursor(bytes, part: part)
    }

    /// Keys are integers; some versions wrote them as text.
    private static func number(_ value: PickleValue) -> Int? {
        switch value {
        case .integer(let number): number
        case .string(let text): Int(text)
        default: nil
        }
    }

    private static func storages(
        _ file: UnsafeRawBufferPointer, _ range: Range<Int>
    ) throws(WeightFault) -> (byKey: [Int: PickleStorage], payloads: [String: Range<Int>]) {
        let part = "storages"
        var machine = PickleMachine(try cursor(file, range, part: part))
        guard case .integer(let announced) = try machine.load(), announced >= 0 else {
            throw machine.fault("no count of storages")
        }
        var byKey: [Int: PickleStorage] = [:]
        var payloads: [String: Range<Int>] = [:]
        var index = 0
        while index < announced {
            index += 1
            let entry = try machine.load()
            guard let items = machine.heap.tuple(entry), items.count == 3, let key = number(items[0]),
                case .known(let type) = TorchZip.elements(items[2], in: machine.heap)
            else { throw machine.fault("an entry that is not (key, location, class)") }
            let count = Int(try machine.takeInteger(Int64.self))
            guard let size = checkedProduct([count, type.size]) else {
                throw .malformed(part: "storage \(key)", problem: "\(count) elements")
            }
            let start = range.lowerBound + machine.cursor.offset
            try machine.skip(size)
            let storage = PickleStorage(elements: .known(type), count: count, key: String(key), start: 0)
            guard byKey.updateValue(storage, forKey: key) == nil else { throw .duplicateKey("storage \(key)") }
            payloads[storage.key] = start..<start + size
        }
        let viewList = try machine.load()
        guard let views = machine.heap.sequence(viewList) else { throw machine.fault("no list of views") }
        for view in views {
            guard let items = machine.heap.tuple(view), items.count == 4, let key = number(items[0]),
                let rootKey = number(items[1]), let root = byKey[rootKey], case .integer(let start) = items[2],
                case .integer(let count) = items[3], checkedRange(start: start, count: count, limit: root.count) != nil
            else { throw machine.fault("a view of a storage that is not there or too small") }
            // A view of a view counts from the view's own first element.
            byKey[key] = PickleStorage(
                elements: root.elements, count: count, key: root.key, start: root.start + start)
        }
        try machine.finish()
        return (byKey, payloads)
    }

    private static func tensors(
        _ file: UnsafeRawBufferPointer, _ range: Range<Int>, _ storages: [Int: PickleStorage]
    ) throws(WeightFault) -> [Int: PickleTensor] {
        let part = "tensors"
        var machine = PickleMachine(try cursor(file, range, part: part))
        guard case .integer(let announced) = try machine.load(), announced >= 0 else {
            throw machine.fault("no count of tensors")
        }
        var result: [Int: PickleTensor] = [:]
        var index = 0
        while index < announced {
            index += 1
            let entry = try machine.load()
            guard let items = machine.heap.tuple(entry), items.count == 3, let key = number(items[0]),
                let storageKey = number(items[1]), let storage = storages[storageKey],
                case .known(let type) = storage.elements
            else { throw machine.fault("an entry that is not (key, storage key, class)") }
            let rank = Int(try machine.takeInteger(Int32.self))
            try machine.skip(4)
            guard (0...32).contains(rank) else { throw machine.fault("a tensor of rank \(rank)") }
            var shape: [Int] = []
            var strides: [Int] = []
            for _ in 0..<rank { shape.append(Int(try machine.takeInteger(Int64.self))) }
            for _ in 0..<rank { strides.append(Int(try machine.takeInteger(Int64.self))) }
            let offset = Int(try machine.takeInteger(Int64.self))
            let geometry = try TensorGeometry.strided(
                shape: shape, strides: strides, offset: offset, storageCount: storage.count, key: String(key))
            guard result.updateValue(PickleTensor(storage: storage, type: type, geometry: geometry), forKey: key) == nil
            else {
                throw .duplicateKey("tensor \(key)")
            }
        }
        try machine.finish()
        return result
    }
}
