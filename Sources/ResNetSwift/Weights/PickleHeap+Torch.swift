// The meaning of the callables that pickles of weights name: what Python, PyTorch and NumPy would have built, as data.
// Calls of anything else become inert placeholders.

import ResNetSupport

extension PickleHeap {
    /// REDUCE: `callable(*arguments)`.
    mutating func reduce(
        _ callable: PickleValue, _ arguments: PickleValue, part: String
    ) throws(WeightFault) -> PickleValue {
        guard let meaning = known(callable), let items = tuple(arguments) else {
            return try unknownCall(callable, arguments)
        }
        switch meaning {
        case .dict, .orderedDict:
            guard let pairs = try pairs(items) else { return try makeInstance(callable, arguments) }
            return try make(.dict, pairs)
        case .list, .set, .frozenSet:
            let elements = items.first.map { sequence($0) ?? [] } ?? []
            return try make(meaning == .list ? .list : .set, elements)
        case .size:
            guard items.count == 1, let sizes = integers(items[0]) else { return try makeInstance(callable, arguments) }
            return try make(.tuple, sizes.map { .integer($0) })
        case .encode:
            if let bytes = try encoded(items) { return bytes }
            return try makeInstance(callable, arguments)
        case .rebuildTensor, .rebuildTensorV2, .rebuildTensorV3: return try tensor(meaning, items, part)
        case .rebuildParameter, .rebuildParameterWithState, .parameter, .buffer, .rebuildDeviceTensor:
            guard let first = items.first, isTensor(first) else {
                return try makeUnread("\(noun(callable)) of \(items.first.map(noun) ?? "nothing")")
            }
            // A Parameter adds nothing that a weight file is read for. One that BUILD will follow must be an object.
            return meaning == .parameter || meaning == .buffer ? try make(.parameter, [first]) : first
        case .rebuildFromType, .rebuildFromOldType:
            // (function, type, arguments, state): a subclass of Tensor, or one with attributes.
            guard items.count >= 3, let function = known(items[0]), Self.tensorFunctions.contains(function) else {
                return try makeUnread("it is made by \(items.first.map(noun) ?? "nothing")")
            }
            return try reduce(items[0], items[2], part: part)
        case .reconstructArray: return try make(.array)
        case .arrayFromBuffer:
            if let array = try arrayFromBuffer(items) { return array }
            return try makeInstance(callable, arguments)
        case .arrayType:
            guard case .string? = items.first else { return try makeInstance(callable, arguments) }
            return try make(.arrayType, [items[0], .string("|")])
        default: return try unknownCall(callable, arguments)
        }
    }

    /// NEWOBJ: `class.__new__(class, *arguments)`.
    mutating func newObject(
        _ type: PickleValue, _ arguments: PickleValue, part: String
    ) throws(WeightFault) -> PickleValue {
        switch known(type) {
        case .dict?, .orderedDict?: return try reduce(type, arguments, part: part)
        case .parameter?, .buffer?:
            let items = tuple(arguments) ?? []
            return try make(.parameter, Array(items.prefix(1).filter(isTensor)))
        default: return try unknownCall(type, arguments)
        }
    }

    /// BUILD: `target.__setstate__(state)`. Flags and notes on dicts and tensors are passed over.
    mutating func build(_ target: PickleValue, _ state: PickleValue, part: String) throws(WeightFault) {
        guard case .object(let index) = target else { return }
        switch self[index].kind {
        case .instance: setState(state, of: index)
        case .parameter:
            // (data, gradient, hooks, requires_grad, volatile) in PyTorch 0.1.9 and earlier; flags only, later.
            if let items = tuple(state), items.count == 5, isTensor(items[0]) {
                try replaceItems(of: index, by: [items[0]])
            }
        case .array: try setArray(index, state, part)
        case .arrayType: try setArrayType(index, state)
        default: break
        }
    }

    // MARK: - Tensors

    private static let tensorFunctions: Set<PickleGlobal> = [
        .rebuildTensor, .rebuildTensorV2, .rebuildTensorV3, .rebuildParameter, .rebuildParameterWithState,
    ]

    func isTensor(_ value: PickleValue) -> Bool {
        switch kind(value) {
        case .tensor?, .unreadTensor?, .parameter?: true
        default: false
        }
    }

    /// (storage, offset, size, stride[, requires_grad, hooks[, dtype in version 3]]).
    private mutating func tensor(
        _ function: PickleGlobal, _ items: [PickleValue], _ part: String
    ) throws(WeightFault) -> PickleValue {
        func fault(_ problem: String) -> WeightFault {
            .malformed(part: part, problem: "\(function.rawValue): \(problem)")
        }
        let counts = function == .rebuildTensor ? 4...4 : function == .rebuildTensorV2 ? 6...7 : 7...8
        guard counts.contains(items.count) else { throw fault("\(items.count) arguments") }
        guard let storage = storage(items[0]) else {
            // A storage that came out of a call which nobody makes here.
            if instance(items[0]) != nil { return try makeUnread("its storage is made by \(noun(items[0]))") }
            throw fault("\(noun(items[0])) in place of a storage")
        }
        guard case .integer(let offset) = items[1], let shape = integers(items[2]), let strides = integers(items[3])
        else { throw fault("offset, size or stride are not integers") }
        let type: ElementType
        switch (storage.elements, function) {
        case (.unknown(let name), _): return try makeUnread("its type is \(name)")
        case (.known(let known), .rebuildTensor), (.known(let known), .rebuildTensorV2): type = known
        default:
            guard items.count > 6, let known = known(items[6])?.elementType else {
                return try makeUnread("its type is \(items.count > 6 ? noun(items[6]) : storage.typeName)")
            }
            type = known
        }
        let count = storage.elements == .untyped ? storage.count / type.size : storage.count
        let geometry = try TensorGeometry.strided(
            shape: shape, strides: strides, offset: offset, storageCount: count, key: "of \(part)")
        return try make(PickleTensor(storage: storage, type: type, geometry: geometry))
    }

    /// Tensors of kinds that are not read (sparse, quantized, on other devices), and everything else.
    private mutating func unknownCall(
        _ callable: PickleValue, _ arguments: PickleValue
    ) throws(WeightFault) -> PickleValue {
        if case .global(let index) = callable {
            let name = globalName(index)
            if name.hasPrefix("torch._utils._rebuild_") { return try makeUnread("it is made by \(name)") }
        }
        return try makeInstance(callable, arguments)
    }

    // MARK: - Python's own

    /// Keys and values in turn from dict's or OrderedDict's arguments: nothing, another dict, or (in Python 2) a list of
    /// pairs. Nil where they are anything else.
    private mutating func pairs(_ items: [PickleValue]) throws(WeightFault) -> [PickleValue]? {
        guard let first = items.first else { return [] }
        guard items.count == 1 else { return nil }
        if let pairs = dictionary(first) { return pairs }
        guard let list = sequence(first) else { return nil }
        var flat: [PickleValue] = []
        for pair in list {
            guard let pair = sequence(pair), pair.count == 2 else { return nil }
            flat += pair
        }
        return flat
    }

    /// `_codecs.encode(text, 'latin1')`: how Python 3 writes bytes in protocols below 3. Nil for other encodings.
    private mutating func encoded(_ items: [PickleValue]) throws(WeightFault) -> PickleValue? {
        guard items.count == 2, items[1] == .string("latin1") || items[1] == .string("latin-1") else { return nil }
        switch items[0] {
        case .string(let text):
            var bytes: [UInt8] = []
            for scalar in text.unicodeScalars {
                guard scalar.value < 256 else { return nil }
                bytes.append(UInt8(scalar.value))
            }
            return try makeBytes(decoded: bytes)
        case .bytes(let index) where bytes(index).encoding == .text:
            return try makeBytes(PickleBytes(range: bytes(index).range, encoding: .latin1Text))
        case .bytes(let index):
            // A long line of protocol 0 is bytes already.
            guard case .decoded = bytes(index).encoding else { return nil }
            return items[0]
        default: return nil
        }
    }
}
