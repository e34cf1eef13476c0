// The meaning of the callables that PyTorch and NumPy pickle: what `torch._utils` would have built, as data.

extension PickleHeap {
    /// REDUCE: `callable(*arguments)`.
    mutating func reduce(
        _ callable: PickleValue, _ arguments: PickleValue, part: String
    ) throws(WeightFault) -> PickleValue {
        guard case .global(let global) = callable else {
            throw .forbiddenPickle("\(part) calls \(noun(callable))")
        }
        guard let items = tuple(arguments) else {
            throw .malformed(part: part, problem: "\(global.rawValue) is called with \(noun(arguments))")
        }
        func fault(_ problem: String) -> WeightFault {
            .malformed(part: part, problem: "\(global.rawValue): \(problem)")
        }
        switch global {
        case .orderedDict:
            guard let first = items.first else { return try make(.orderedDict) }
            // Python 2 writes the pairs as the one argument.
            guard items.count == 1, let pairs = sequence(first) else { throw fault("unknown arguments") }
            try charge(pairs.count)
            var flat: [PickleValue] = []
            for pair in pairs {
                guard let pair = sequence(pair), pair.count == 2 else { throw fault("not a list of pairs") }
                flat += pair
            }
            return try make(.orderedDict, flat)
        case .rebuildTensor, .rebuildTensorV2:
            let counts = global == .rebuildTensor ? 4...4 : 6...7
            guard counts.contains(items.count) else { throw fault("\(items.count) arguments") }
            guard let storage = storage(items[0]) else { throw fault("\(noun(items[0])) in place of a storage") }
            guard case .integer(let offset) = items[1], let shape = integers(items[2]), let strides = integers(items[3])
            else { throw fault("offset, size or stride are not integers") }
            let geometry = try TensorGeometry.strided(
                shape: shape, strides: strides, offset: offset, storageCount: storage.count, key: "of \(part)")
            return try make(.tensor(PickleTensor(storage: storage, geometry: geometry)))
        case .rebuildParameter, .rebuildParameterWithState, .parameter:
            guard (1...4).contains(items.count), let first = items.first, tensor(first) != nil else {
                throw fault("no tensor among its arguments")
            }
            // A Parameter adds nothing that a weight file is read for. One that BUILD will follow must be an object.
            return global == .parameter ? try make(.parameter, [first]) : first
        case .size:
            guard items.count == 1, let sizes = integers(items[0]) else { throw fault("not a tuple of integers") }
            return try make(.tuple, sizes.map { .integer($0) })
        case .reconstructArray:
            guard items.first == .global(.array) else { throw fault("it makes no array") }
            return try make(.array)
        case .arrayType:
            guard case .string? = items.first else { throw fault("\(noun(items.first ?? .none)) in place of a name") }
            return try make(.arrayType, [items[0]])
        default:
            throw .forbiddenPickle("\(part) calls \(global.rawValue)")
        }
    }

    /// NEWOBJ: `class.__new__(class, *arguments)`, which the oldest checkpoints use for parameters.
    mutating func newObject(
        _ type: PickleValue, _ arguments: PickleValue, part: String
    ) throws(WeightFault) -> PickleValue {
        guard case .global(let global) = type, global == .parameter || global == .orderedDict else {
            throw .forbiddenPickle("\(part) makes an object of \(noun(type))")
        }
        guard let items = tuple(arguments) else {
            throw .malformed(part: part, problem: "NEWOBJ with \(noun(arguments)) in place of a tuple")
        }
        if global == .orderedDict {
            guard items.isEmpty else { throw .malformed(part: part, problem: "NEWOBJ of OrderedDict with arguments") }
            return try make(.orderedDict)
        }
        guard items.count <= 2, items.first.map({ tensor($0) != nil }) ?? true else {
            throw .malformed(part: part, problem: "NEWOBJ of Parameter without a tensor")
        }
        return try make(.parameter, Array(items.prefix(1)))
    }

    /// BUILD: `target.__setstate__(state)`. OrderedDicts carry version notes there, parameters their flags.
    mutating func build(_ target: PickleValue, _ state: PickleValue, part: String) throws(WeightFault) {
        guard case .object(let index) = target else {
            throw .forbiddenPickle("\(part) sets the state of \(noun(target))")
        }
        switch self[index].kind {
        case .orderedDict:
            guard dictionary(state) != nil else {
                throw .malformed(part: part, problem: "the state of an OrderedDict is \(noun(state))")
            }
        case .parameter:
            guard let items = tuple(state), items.count == 3 || items.count == 5 else {
                throw .malformed(part: part, problem: "the state of a Parameter is \(noun(state))")
            }
            // (data, gradient, hooks, requires_grad, volatile) in PyTorch 0.1.9 and earlier; flags only, later.
            if items.count == 5 {
                guard tensor(items[0]) != nil else {
                    throw .malformed(part: part, problem: "the state of a Parameter has no tensor")
                }
                replaceItems(of: index, by: [items[0]])
            }
        case .array, .arrayType:
            guard let items = tuple(state) else {
                throw .malformed(part: part, problem: "the state of \(self[index].noun) is \(noun(state))")
            }
            // A dtype's state is its byte order and fields, which single bytes do not have.
            if self[index].kind == .array { replaceItems(of: index, by: items) }
        default:
            throw .forbiddenPickle("\(part) sets the state of \(noun(target))")
        }
    }
}
