// From the object that a PyTorch pickle left to named tensors: every mapping that holds tensors, at any depth, whatever the
// keys above it are called. Which of them is meant is decided later, by what lies in it.
//
//     {"epoch": 3, "model_state_dict": {"conv1.weight": tensor, ...}, "optimizer": {"state": {0: {...}}}, "args": object}
//
// Whole pickled modules are mappings too: each has its `_parameters`, `_buffers` and `_modules`.

import ResNetSupport

/// Where a pickle's own bytes are.
struct PickledSource {
    /// nil means the file.
    let owner: MappedFile?
    /// Where the pickle begins in the file.
    let offset: Int
}

struct TensorSearch {
    /// Where the bytes of a storage are.
    typealias Locate = (PickleStorage) throws(WeightFault) -> StoredTensor.Payload

    private var heap: PickleHeap
    private let bigEndian: Bool
    private let pickle: PickledSource
    private let bytes: UnsafeRawBufferPointer
    private let locate: Locate
    private var visited: Set<Int> = []
    private var found = ContainerContents()

    private static let maximumDepth = 32
    private static let maximumModuleDepth = 64
    /// Nobody keeps a network behind more items of a list than these.
    private static let maximumItems = 1_000
    private static let maximumFacts = 10_000

    init(
        _ heap: PickleHeap, bigEndian: Bool, pickle: PickledSource, bytes: UnsafeRawBufferPointer,
        locate: @escaping Locate
    ) {
        self.heap = heap
        self.bigEndian = bigEndian
        self.pickle = pickle
        self.bytes = bytes
        self.locate = locate
    }

    /// - Throws: `notWeights` where there is no tensor with a name.
    consuming func contents(of root: PickleValue) throws(WeightFault) -> ContainerContents {
        try visit(root, at: [], depth: 0)
        guard found.mappings.isEmpty else { return found }
        guard let flat = heap.dictionary(root) else {
            throw .notWeights("a PyTorch file that holds \(heap.noun(root)), not a dict of tensors")
        }
        let keys = stride(from: 0, to: flat.count - 1, by: 2).prefix(8).map { key(flat[$0]) ?? heap.noun(flat[$0]) }
        throw .notWeights("a PyTorch file without named tensors; its keys are: \(keys.joined(separator: ", "))")
    }

    // MARK: - The walk

    private mutating func visit(_ value: PickleValue, at path: [String], depth: Int) throws(WeightFault) {
        guard case .object(let index) = value, depth < Self.maximumDepth, visited.insert(index).inserted else { return }
        switch heap[index].kind {
        case .dict: try visit(pairs: heap[index].items, at: path, depth: depth)
        case .list, .tuple, .set: try visit(items: heap[index].items, at: path, depth: depth)
        case .instance:
            guard let instance = heap.instance(value) else { return }
            if try visit(module: instance, at: path) { return }
            try visit(pairs: instance.pairs, at: path, depth: depth)
            try visit(items: heap[index].items, at: path, depth: depth)
            for part in [instance.state, instance.arguments] {
                // Attributes and arguments stand for the object itself; they add no key.
                for inner in heap.tuple(part) ?? [part] { try visit(inner, at: path, depth: depth + 1) }
            }
        default: break
        }
    }

    private mutating func visit(items: [PickleValue], at path: [String], depth: Int) throws(WeightFault) {
        for (position, item) in items.prefix(Self.maximumItems).enumerated() {
            if case .object = item { try visit(item, at: path + [String(position)], depth: depth + 1) }
        }
    }

    private mutating func visit(pairs: [PickleValue], at path: [String], depth: Int) throws(WeightFault) {
        var mapping = TensorMapping()
        mapping.path = path
        var seen = Set<String>()
        var inner: [(key: String, value: PickleValue)] = []
        for index in stride(from: 0, to: pairs.count - 1, by: 2) {
            let value = pairs[index + 1]
            guard let key = key(pairs[index]) else {
                // None, a tuple: it names no weight, but a whole network may lie under it.
                inner.append((heap.noun(pairs[index]), value))
                continue
            }
            let isNew = seen.insert(key).inserted
            if try add(value, key, to: &mapping) {
                // Keys that are no strings (an optimizer's parameter numbers) name no weights.
                if !isNew, mapping.fault == nil { mapping.fault = .duplicateKey(key) }
            } else if let text = factText(value) {
                if found.facts.count < Self.maximumFacts {
                    found.facts.append(PickledFact(path: path, key: key, text: text))
                }
            } else {
                inner.append((key, value))
            }
        }
        if !mapping.tensors.isEmpty || !mapping.unread.isEmpty { found.mappings.append(mapping) }
        for (key, value) in inner {
            if found.others.count < Self.maximumFacts { found.others.append((path + [key], heap.noun(value))) }
            try visit(value, at: path + [key], depth: depth + 1)
        }
    }

    /// A key as text; numbers of an optimizer's parameters too, for the path.
    private func key(_ value: PickleValue) -> String? {
        switch value {
        case .string(let text): text
        case .integer(let number): String(number)
        case .bytes(let index):
            heap.bytes(index).encoding == .plain && heap.bytes(index).range.count <= PickleMachine.maximumText
                ? bytes.slice(heap.bytes(index).range).map { String(decoding: $0, as: UTF8.self) } : nil
        default: nil
        }
    }

    private func factText(_ value: PickleValue) -> String? {
        switch value {
        case .string(let text): text
        case .integer(let number): String(number)
        case .float(let number): "\(number)"
        case .bool(let flag): flag ? "true" : "false"
        default: nil
        }
    }

    // MARK: - Tensors

    /// Adds what can be a weight, or could be one if it were read; false for everything else.
    private mutating func add(
        _ value: PickleValue, _ key: String, to mapping: inout TensorMapping
    ) throws(WeightFault) -> Bool {
        if let reason = heap.unreadReason(value) {
            mapping.unread.append(UnreadTensor(key: key, reason: reason))
            return true
        }
        if let tensor = heap.tensor(value) {
            do throws(WeightFault) { mapping.tensors.append(try stored(tensor, key)) } catch {
                // Thrown if it turns out that this mapping is the one that is wanted.
                if mapping.fault == nil { mapping.fault = error }
                mapping.unread.append(UnreadTensor(key: key, reason: "\(error)"))
            }
            return true
        }
        switch try heap.array(value) {
        case .success(let array)?:
            mapping.tensors.append(
                StoredTensor(
                    key: key, type: array.type, bigEndian: array.bigEndian, geometry: array.geometry,
                    payload: payload(of: array.bytes)))
            return true
        case .failure(let reason)?:
            mapping.unread.append(UnreadTensor(key: key, reason: reason.description))
            return true
        case nil: return false
        }
    }

    private func stored(_ tensor: PickleTensor, _ key: String) throws(WeightFault) -> StoredTensor {
        let step = tensor.storage.elements == .untyped ? tensor.type.size : 1
        guard tensor.storage.start.isMultiple(of: step) else {
            throw .malformed(part: "tensor \(key)", problem: "it begins inside an element")
        }
        return StoredTensor(
            key: key, type: tensor.type, bigEndian: bigEndian,
            geometry: tensor.geometry.shifted(by: tensor.storage.start / step), payload: try locate(tensor.storage))
    }

    private func payload(of bytes: PickleBytes) -> StoredTensor.Payload {
        switch bytes.encoding {
        case .decoded(let index):
            return .pickled(
                PickledBytes(
                    owner: MappedFile(copying: heap.decoded(index)), range: bytes.range, isLatin1Text: false))
        case .plain where pickle.owner == nil:
            return .raw(pickle.offset + bytes.range.lowerBound..<pickle.offset + bytes.range.upperBound)
        default:
            let start = bytes.range.lowerBound + pickle.offset
            return .pickled(
                PickledBytes(
                    owner: pickle.owner, range: start..<start + bytes.range.count,
                    isLatin1Text: bytes.encoding == .latin1Text))
        }
    }
}

// MARK: - Whole modules

extension TensorSearch {
    /// Adds the mapping of a pickled `torch.nn.Module`; false where it is none.
    private mutating func visit(module: PickleInstance, at path: [String]) throws(WeightFault) -> Bool {
        guard let attributes = attributes(of: module) else { return false }
        var mapping = TensorMapping()
        mapping.path = path
        try add(module: module, attributes, at: "", depth: 0, to: &mapping)
        if !mapping.tensors.isEmpty || !mapping.unread.isEmpty { found.mappings.append(mapping) }
        return true
    }

    /// The attributes of a module by name; nil for all that is no module.
    private func attributes(of instance: PickleInstance) -> [String: PickleValue]? {
        guard let flat = heap.dictionary(instance.state), flat.count <= 2_000 else { return nil }
        var result: [String: PickleValue] = [:]
        for index in stride(from: 0, to: flat.count - 1, by: 2) {
            if case .string(let name) = flat[index] { result[name] = flat[index + 1] }
        }
        return result["_modules"] != nil && result["_parameters"] != nil ? result : nil
    }

    private mutating func add(
        module: PickleInstance, _ attributes: [String: PickleValue], at prefix: String, depth: Int,
        to mapping: inout TensorMapping
    ) throws(WeightFault) {
        guard depth < Self.maximumModuleDepth else { throw .exceedsLimit("modules nested more than 64 deep") }
        mapping.modules[prefix] = PickledModule(className: className(of: module), settings: settings(attributes))
        for (key, value) in pairs(attributes["_parameters"]) + pairs(attributes["_buffers"]) where value != .none {
            _ = try add(value, prefix.isEmpty ? key : "\(prefix).\(key)", to: &mapping)
        }
        for (key, value) in pairs(attributes["_modules"]) {
            guard case .object(let index) = value, visited.insert(index).inserted,
                let inner = heap.instance(value), let attributes = self.attributes(of: inner)
            else { continue }
            try add(
                module: inner, attributes, at: prefix.isEmpty ? key : "\(prefix).\(key)", depth: depth + 1, to: &mapping
            )
        }
    }

    private func pairs(_ value: PickleValue?) -> [(String, PickleValue)] {
        guard let value, let flat = heap.dictionary(value) else { return [] }
        return stride(from: 0, to: flat.count - 1, by: 2).compactMap { index in
            guard case .string(let key) = flat[index] else { return nil }
            return (key, flat[index + 1])
        }
    }

    private func className(of module: PickleInstance) -> String {
        var callable = module.callable
        if let type = heap.tuple(module.arguments)?.first, heap.known(callable) == .reconstructor { callable = type }
        return heap.noun(callable)
    }

    /// Numbers that change what a layer computes.
    private func settings(_ attributes: [String: PickleValue]) -> [String: [Double]] {
        var result: [String: [Double]] = [:]
        for name in ["kernel_size", "stride", "padding", "dilation", "groups", "eps", "negative_slope"] {
            switch attributes[name] {
            case .integer(let value)?: result[name] = [Double(value)]
            case .float(let value)?: result[name] = [value]
            case .some(let value): result[name] = heap.integers(value)?.map(Double.init)
            case nil: break
            }
        }
        return result
    }
}
