// A weight file, open: what is in it, and its tensors one by one.
//
//     let file = try WeightFile.open("resnet50.pth")
//     print(file.container.title, file.entries.count)
//     let kernel = try file.tensor("conv1.weight")          // a view into the file where it is float32 and aligned
//
// Opening reads the directory only. Float32 tensors that lie aligned and dense are views into the mapped file; all others
// are converted when asked for, one by one, and the pages they came from are given back.

import ResNetGraph
import ResNetSupport

/// A tensor of a file, as listed.
public struct WeightEntry: Sendable, Hashable {
    /// The key in the file, e.g. `module.resnet.embedder.embedder.convolution.weight`.
    public let key: String
    /// The key that models use, torchvision's, e.g. `conv1.weight`.
    public let name: String
    /// As stored.
    public let type: ElementType
    /// Sizes, the slowest axis first.
    public let shape: [Int]
    /// True where `tensor(_:)` returns a view of the file instead of a converted copy.
    public let isView: Bool

    /// Values.
    public var count: Int { shape.reduce(1, *) }
}

/// A weight file, open: what is in it, and its tensors one by one. Opening reads the directory only; float32 tensors
/// that lie aligned and dense are views of the mapped file, others are converted when asked for.
public final class WeightFile: Sendable {
    /// As given.
    public let path: String
    /// Told by content.
    public let container: ContainerKind
    /// In the file's order.
    public let entries: [WeightEntry]
    /// Text stored with the weights: safetensors' `__metadata__`, npz's `__meta__.json`, the facts beside a state dict.
    public let metadata: [String: String]
    /// The keys under which the tensors lay, e.g. `["state_dict"]`; empty where they are the file's top.
    public let wrapper: [String]
    /// Keys of things that are no tensors; nothing reads them.
    public let ignored: [String]

    private let file: MappedFile
    private let stored: [StoredTensor]
    private let indexOfKey: [String: Int]
    private let indexOfName: [String: Int]

    /// Maps the file and reads its directory; the kind is told by content, not by the name.
    /// - Throws: `WeightFileError`: no such file, no container of weights, damage.
    public static func open(_ path: String) throws(WeightFileError) -> WeightFile {
        let file = try naming(path) { () throws(FileFault) in try MappedFile(path: path) }
        return try naming(path) { () throws(WeightFault) in try WeightFile(path: path, file: file) }
    }

    /// The same for bytes from elsewhere; `name` stands for the path in errors.
    public static func open(bytes: [UInt8], name: String) throws(WeightFileError) -> WeightFile {
        try naming(name) { () throws(WeightFault) in try WeightFile(path: name, file: MappedFile(copying: bytes)) }
    }

    private init(path: String, file: MappedFile) throws(WeightFault) {
        let (kind, contents) = try readContainer(file.bytes)
        let names = try WeightNames.canonical(contents.tensors.map(\.key))
        self.path = path
        self.file = file
        container = kind
        metadata = contents.metadata
        wrapper = contents.wrapper
        ignored = contents.ignored
        stored = contents.tensors
        var entries: [WeightEntry] = []
        var indexOfKey: [String: Int] = [:]
        var indexOfName: [String: Int] = [:]
        for (index, tensor) in contents.tensors.enumerated() {
            guard indexOfKey.updateValue(index, forKey: tensor.key) == nil else { throw .duplicateKey(tensor.key) }
            indexOfName[names[index]] = index
            entries.append(
                WeightEntry(
                    key: tensor.key, name: names[index], type: tensor.type, shape: tensor.geometry.shape,
                    isView: Self.viewRange(tensor, in: file) != nil))
        }
        self.entries = entries
        self.indexOfKey = indexOfKey
        self.indexOfName = indexOfName
    }

    /// The entry of a key, or of a model's name for it.
    public func entry(_ key: String) -> WeightEntry? {
        (indexOfKey[key] ?? indexOfName[key]).map { entries[$0] }
    }

    /// The entry of a model's name, whatever the file calls it.
    public func entry(named name: String) -> WeightEntry? { indexOfName[name].map { entries[$0] } }

    /// Float32 values of a tensor, by its key in the file or by the model's name for it.
    /// - Throws: `WeightFileError`: `noSuchKey`, and damage that reading finds.
    public func tensor(_ key: String) throws(WeightFileError) -> Tensor {
        try tensor(at: indexOfKey[key] ?? indexOfName[key], key)
    }

    /// Float32 values of a tensor by the model's name for it, whatever the file calls it.
    /// - Throws: `WeightFileError`: `noSuchKey`, and damage that reading finds.
    public func tensor(named name: String) throws(WeightFileError) -> Tensor { try tensor(at: indexOfName[name], name) }

    private func tensor(at index: Int?, _ key: String) throws(WeightFileError) -> Tensor {
        guard let index else { throw WeightFileError(path: path, fault: .noSuchKey(key)) }
        return try naming(path) { () throws(WeightFault) in try load(stored[index]) }
    }

    /// Gives back the memory of a tensor's view after it was consumed. The view stays valid: it is read again from the
    /// file when touched again. Does nothing to converted tensors, which have memory of their own.
    public func discardPages(of key: String) {
        guard let index = indexOfKey[key] ?? indexOfName[key], case .raw(let range) = stored[index].payload else {
            return
        }
        file.discardPages(range)
    }

    /// The values of a tensor of type uint8, row-major: pictures, which would be four times as large as floats. Other types
    /// are held to 0...255, and NaN becomes 0.
    /// - Throws: `WeightFileError`: `noSuchKey`, and damage that reading finds.
    public func bytes(_ key: String) throws(WeightFileError) -> [UInt8] {
        guard let index = indexOfKey[key] else { throw WeightFileError(path: path, fault: .noSuchKey(key)) }
        let tensor = stored[index]
        guard tensor.type == .uint8, tensor.geometry.isContiguous else {
            return try self.tensor(key).values.map { $0.isNaN ? 0 : UInt8(min(max($0, 0), 255)) }
        }
        return try naming(path) { () throws(WeightFault) in
            let wanted = tensor.geometry.offset..<tensor.geometry.offset + tensor.geometry.count
            switch tensor.payload {
            case .raw(let range):
                guard let storage = file.bytes.slice(range), let bytes = storage.slice(wanted) else {
                    throw .truncated(part: key, needed: range.upperBound, available: file.bytes.count)
                }
                defer { file.discardPages(range) }
                return Array(bytes)
            case .deflated(let member, let skip):
                let contents = try member.contents(of: file.bytes, limit: Int.max)
                guard contents.count >= skip + wanted.upperBound else {
                    throw .truncated(part: key, needed: skip + wanted.upperBound, available: contents.count)
                }
                return Array(contents[(skip + wanted.lowerBound)..<(skip + wanted.upperBound)])
            }
        }
    }

    // MARK: - Loading

    /// The bytes of a tensor that can be used where they lie, or nil.
    private static func viewRange(_ tensor: StoredTensor, in file: MappedFile) -> Range<Int>? {
        guard tensor.type == .float32, Self.isNative(tensor), tensor.geometry.isContiguous,
            case .raw(let storage) = tensor.payload
        else { return nil }
        let start = storage.lowerBound + tensor.geometry.offset * tensor.type.size
        let address = UInt(bitPattern: file.bytes.baseAddress) + UInt(start)
        guard address.isMultiple(of: UInt(MemoryLayout<Float>.alignment)) else { return nil }
        return start..<start + tensor.geometry.count * tensor.type.size
    }

    private static func isNative(_ tensor: StoredTensor) -> Bool { tensor.bigEndian == (1.bigEndian == 1) }

    private func load(_ tensor: StoredTensor) throws(WeightFault) -> Tensor {
        let shape = tensor.geometry.shape
        if let range = Self.viewRange(tensor, in: file), let bytes = file.bytes.slice(range) {
            let floats = bytes.bindMemory(to: Float.self)
            guard let base = floats.baseAddress else { return Tensor(shape: shape, values: []) }
            let owner = file
            return Tensor(
                shape: shape,
                storage: FloatStorage(
                    base: base, count: floats.count, isFileBacked: file.isFileBacked,
                    release: { withExtendedLifetime(owner) {} }))
        }
        switch tensor.payload {
        case .raw(let range):
            guard let bytes = file.bytes.slice(range) else {
                throw .truncated(part: tensor.key, needed: range.upperBound, available: file.bytes.count)
            }
            let result = convert(bytes, tensor)
            file.discardPages(range)
            return result
        case .deflated(let member, let skip):
            return try inflate(member, skip: skip, tensor)
        }
    }

    private func convert(_ storage: UnsafeRawBufferPointer, _ tensor: StoredTensor) -> Tensor {
        Tensor(
            shape: tensor.geometry.shape,
            storage: FloatStorage(count: tensor.geometry.count) { target in
                convertElements(storage, tensor.type, bigEndian: tensor.bigEndian, tensor.geometry, into: target)
            })
    }

    private func inflate(_ member: ZipMember, skip: Int, _ tensor: StoredTensor) throws(WeightFault) -> Tensor {
        let part = "tensor \(tensor.key)"
        guard let bytes = file.bytes.slice(member.range) else {
            throw .truncated(part: part, needed: member.range.upperBound, available: file.bytes.count)
        }
        let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: max(member.size - skip, 1), alignment: 64)
        defer { scratch.deallocate() }
        let storage = UnsafeMutableRawBufferPointer(rebasing: scratch[..<(member.size - skip)])
        var inflater = try Inflater(bytes, part: part)
        _ = try inflater.take(skip)
        try inflater.fill(storage)
        try inflater.finish(crc: member.crc)
        file.discardPages(member.range)
        return convert(UnsafeRawBufferPointer(storage), tensor)
    }
}
