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
    /// What it is to the network that was found.
    public let part: WeightPart
    /// Can stand for weights: floating point, or signed bytes with scales.
    public let isWeight: Bool

    init(
        key: String, name: String, type: ElementType, shape: [Int], isView: Bool, part: WeightPart = .network,
        isWeight: Bool? = nil
    ) {
        self.key = key
        self.name = name
        self.type = type
        self.shape = shape
        self.isView = isView
        self.part = part
        self.isWeight = isWeight ?? type.isFloatingPoint
    }

    /// Values.
    public var count: Int { shape.reduce(1, *) }
}

/// What a tensor of a file is to the network that was found in it.
public enum WeightPart: String, Sendable, Hashable {
    /// Under the network's prefix: a weight, or something that would change what the network computes.
    case network
    /// Under the prefix, but nothing that computes: counters, scalars, what a loss keeps, another head.
    case spare
    /// Elsewhere in the file.
    case outside
}

/// A weight file, open: what is in it, and its tensors one by one. Opening reads the directory only; float32 tensors
/// that lie aligned and dense are views of the mapped file, others are converted when asked for.
public final class WeightFile: Sendable {
    /// As given.
    public let path: String
    /// Told by content.
    public let container: ContainerKind
    /// Of the mapping that was taken, in the file's order.
    public let entries: [WeightEntry]
    /// Tensors of that mapping that are not read, and why. A model that needs one of them cannot be loaded.
    public let unread: [UnreadTensor]
    /// Text stored with the weights: safetensors' `__metadata__`, npz's `__meta__.json`, the facts beside a state dict, what
    /// `config.json` says. Other programs write what they like: `facts` are those that mean something here.
    public let metadata: [String: String]
    /// Those of `metadata` that this library wrote, or that a `config.json` says: by `MetadataKey`.
    public let facts: [String: String]
    /// The keys under which the tensors lay, e.g. `["state_dict"]`; empty where they are the file's top.
    public let wrapper: [String]
    /// What stands before the network's names, e.g. `module.backbone.`; empty where there is nothing.
    public let prefix: String
    /// Keys of things that are no tensors, and of tensors elsewhere in the file; nothing reads them.
    public let ignored: [String]
    /// What was decided in reading, in sentences: which of several networks was taken, what was assumed.
    public let notes: [String]

    let selection: WeightSelection
    let modules: [String: PickledModule]
    let config: ModelConfig?
    /// Everything that can name the network: the file's name, what the file and its `config.json` say.
    let claims: [NetworkClaim]

    private let files: [MappedFile]
    private let stored: [StoredTensor]
    private let indexOfKey: [String: Int]
    private let indexOfName: [String: Int]
    private let unreadNames: [String: UnreadTensor]

    /// Maps the file and reads its directory; the kind is recognized by content, not by the name. `path` can be a folder as
    /// Hugging Face and timm write it, with `config.json`; a `config.json` beside `model.safetensors` or
    /// `pytorch_model.bin` is read too.
    /// - Parameters:
    ///   - key: under which key the tensors lie in a pickle that holds several networks, e.g. `model_ema`; keys inside keys
    ///     with dots between.
    ///   - prefix: what stands before all names of the network, e.g. `backbone.`.
    /// - Throws: `WeightFileError`: no such file, no container of weights, damage; nothing under `key` or `prefix`.
    public static func open(
        _ path: String, key: String? = nil, prefix: String? = nil
    ) throws(WeightFileError) -> WeightFile {
        let source = try WeightSource(path)
        return try naming(path) { () throws(WeightFault) in
            let (kind, contents) = try source.contents()
            return try WeightFile(
                path: path, kind, contents, files: source.files, config: source.config, key: key, prefix: prefix)
        }
    }

    /// The same for bytes from elsewhere; `name` stands for the path in errors.
    public static func open(
        bytes: [UInt8], name: String, key: String? = nil, prefix: String? = nil
    ) throws(WeightFileError) -> WeightFile {
        let file = MappedFile(copying: bytes)
        return try naming(name) { () throws(WeightFault) in
            let (kind, contents) = try readContainer(file.bytes)
            return try WeightFile(
                path: name, kind, contents, files: [file], config: nil, key: key, prefix: prefix)
        }
    }

    private init(
        path: String, _ kind: ContainerKind, _ contents: ContainerContents, files: [MappedFile], config: ModelConfig?,
        key: String?, prefix: String?
    ) throws(WeightFault) {
        let selection = try WeightSelection(in: contents.mappings, key: key, prefix: prefix)
        let mapping = contents.mappings[selection.mapping]
        if let fault = mapping.fault { throw fault }
        if mapping.tensors.isEmpty, let first = mapping.unread.first {
            throw .unsupported("\(first.key): \(first.reason)")
        }
        self.path = path
        self.files = files
        self.selection = selection
        self.config = config
        container = kind
        wrapper = mapping.path
        self.prefix = selection.prefix
        modules = mapping.modules
        stored = mapping.tensors
        unread = mapping.unread
        let metadata = contents.metadata(beside: mapping.path)
        facts = OwnFacts.facts(of: metadata, in: kind).merging(config?.facts ?? [:]) { own, _ in own }
        self.metadata = metadata.merging(config?.facts ?? [:]) { own, _ in own }
        ignored = contents.othersBeside(mapping.path)
        notes = selection.notes
        claims = NetworkClaim.claims(path: path, metadata: contents.metadata, pickled: contents.facts, config: config)

        let names = SelectedNames(mapping, selection)
        var entries: [WeightEntry] = []
        var indexOfKey: [String: Int] = [:]
        for (index, tensor) in mapping.tensors.enumerated() {
            guard indexOfKey.updateValue(index, forKey: tensor.key) == nil else { throw .duplicateKey(tensor.key) }
            entries.append(
                WeightEntry(
                    key: tensor.key, name: names.names[index], type: tensor.type, shape: tensor.geometry.shape,
                    isView: Self.viewRange(tensor, in: files[tensor.file]) != nil, part: names.parts[index],
                    isWeight: tensor.isWeight))
        }
        self.entries = entries
        self.indexOfKey = indexOfKey
        indexOfName = try names.indexOfName()
        unreadNames = names.unreadNames
    }

    /// The entry of a key, or of a model's name for it.
    public func entry(_ key: String) -> WeightEntry? {
        (indexOfKey[key] ?? indexOfName[key]).map { entries[$0] }
    }

    /// The entry of a model's name, whatever the file calls it.
    public func entry(named name: String) -> WeightEntry? { indexOfName[name].map { entries[$0] } }

    /// The tensor that a model would need under this name and that is not read.
    func unreadTensor(named name: String) -> UnreadTensor? { unreadNames[name] }

    /// Float32 values of a tensor, by its key in the file or by the model's name for it.
    /// - Throws: `WeightFileError`: `noSuchKey`, and damage that reading finds.
    public func tensor(_ key: String) throws(WeightFileError) -> Tensor {
        try tensor(at: indexOfKey[key] ?? indexOfName[key], key)
    }

    /// Float32 values of a tensor by the model's name for it, whatever the file calls it.
    /// - Throws: `WeightFileError`: `noSuchKey`, and damage that reading finds.
    public func tensor(named name: String) throws(WeightFileError) -> Tensor { try tensor(at: indexOfName[name], name) }

    /// The scales of weights in signed bytes by the model's name for them; nil for floats.
    func scales(named name: String) -> [Float]? { indexOfName[name].flatMap { stored[$0].scales } }

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
        files[stored[index].file].discardPages(range)
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
        let file = files[tensor.file]
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
            case .pickled(let bytes):
                let contents = try bytes.contents(of: file, expecting: tensor)
                return Array(contents[wanted])
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
        let file = files[tensor.file]
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
        if let storage = Self.signedBytes(tensor, in: file) { return Tensor(shape: shape, storage: storage) }
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
        case .pickled(let bytes):
            let contents = try bytes.contents(of: file, expecting: tensor)
            return contents.withUnsafeBytes { convert($0, tensor) }
        }
    }

    private func convert(_ storage: UnsafeRawBufferPointer, _ tensor: StoredTensor) -> Tensor {
        Tensor(
            shape: tensor.geometry.shape,
            storage: FloatStorage(count: tensor.geometry.count) { target in
                convertElements(storage, tensor.type, bigEndian: tensor.bigEndian, tensor.geometry, into: target)
            })
    }

    /// Weights in signed bytes where they lie, which only safetensors have.
    private static func signedBytes(_ tensor: StoredTensor, in file: MappedFile) -> FloatStorage? {
        guard let scales = tensor.scales, tensor.geometry.count > 0, case .raw(let range) = tensor.payload,
            let bytes = file.bytes.slice(range)
        else { return nil }
        return FloatStorage(SignedBytes(bytes, scales: scales, in: file))
    }

    private func inflate(_ member: ZipMember, skip: Int, _ tensor: StoredTensor) throws(WeightFault) -> Tensor {
        let part = "tensor \(tensor.key)"
        let file = files[tensor.file]
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

extension PickledBytes {
    /// The array's bytes, exactly as many as it takes.
    fileprivate func contents(of file: MappedFile, expecting tensor: StoredTensor) throws(WeightFault) -> [UInt8] {
        let part = "tensor \(tensor.key)"
        let source = owner ?? file
        guard let bytes = source.bytes.slice(range) else {
            throw .truncated(part: part, needed: range.upperBound, available: source.bytes.count)
        }
        guard isLatin1Text else { return Array(bytes) }
        let size = tensor.geometry.count * tensor.type.size
        var result: [UInt8] = []
        result.reserveCapacity(size)
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte < 0x80 {
                result.append(byte)
                index += 1
            } else if byte == 0xc2 || byte == 0xc3, index + 1 < bytes.count, bytes[index + 1] & 0xc0 == 0x80 {
                result.append(byte << 6 | bytes[index + 1] & 0x3f)
                index += 2
            } else {
                throw .malformed(
                    part: part, problem: "its bytes are no Latin-1 text at byte \(range.lowerBound + index)")
            }
        }
        guard result.count == size else {
            throw .malformed(part: part, problem: "its shape takes \(size) bytes, \(result.count) are there")
        }
        return result
    }
}
