// From the object that a PyTorch pickle left to named tensors: find the state dict among its wrappers.

enum TorchState {
    /// What training scripts wrap a state dict in, the one to prefer first: averaged weights are the better ones, and
    /// timm takes them first as well.
    static let wrappers = ["state_dict_ema", "model_ema", "state_dict", "model"]
    private static let maximumWrappers = 4

    /// Where the bytes of a storage are.
    typealias Locate = (PickleStorage) throws(WeightFault) -> StoredTensor.Payload

    static func contents(
        of root: PickleValue, in heap: PickleHeap, bigEndian: Bool, locate: Locate
    ) throws(WeightFault) -> ContainerContents {
        var contents = ContainerContents()
        var members = try members(of: root, in: heap)
        while contents.wrapper.count < maximumWrappers, let inner = wrapped(members, in: heap) {
            note(members, without: inner.key, in: heap, &contents)
            contents.wrapper.append(inner.key)
            members = try Self.members(of: inner.value, in: heap)
        }
        for (key, value) in members {
            guard let tensor = heap.tensor(value) else {
                contents.ignored.append(key)
                continue
            }
            let geometry = tensor.geometry.shifted(by: tensor.storage.start)
            contents.tensors.append(
                StoredTensor(
                    key: key, type: tensor.storage.type, bigEndian: bigEndian, geometry: geometry,
                    payload: try locate(tensor.storage)))
        }
        guard !contents.tensors.isEmpty else {
            let keys = members.prefix(8).map(\.key).joined(separator: ", ")
            throw .notWeights("a PyTorch file without tensors in a state dict; its keys are: \(keys)")
        }
        return contents
    }

    private static func members(
        of value: PickleValue, in heap: PickleHeap
    ) throws(WeightFault) -> [(key: String, value: PickleValue)] {
        guard let flat = heap.dictionary(value) else {
            throw .notWeights("a PyTorch file that holds \(heap.noun(value)), not a dict of tensors")
        }
        var result: [(key: String, value: PickleValue)] = []
        var seen = Set<String>()
        for index in stride(from: 0, to: flat.count - 1, by: 2) {
            // Keys that are no strings (an optimizer's parameter numbers) name no weights.
            guard case .string(let key) = flat[index] else { continue }
            guard seen.insert(key).inserted else { throw .duplicateKey(key) }
            result.append((key, flat[index + 1]))
        }
        return result
    }

    /// The wrapper to open, if there is one.
    private static func wrapped(
        _ members: [(key: String, value: PickleValue)], in heap: PickleHeap
    ) -> (key: String, value: PickleValue)? {
        for name in wrappers {
            if let found = members.first(where: { $0.key == name }), let inner = heap.dictionary(found.value),
                !inner.isEmpty
            {
                return found
            }
        }
        return nil
    }

    /// Keeps the short facts beside a state dict (epoch, arch, best accuracy) and says what else was passed over.
    private static func note(
        _ members: [(key: String, value: PickleValue)], without taken: String, in heap: PickleHeap,
        _ contents: inout ContainerContents
    ) {
        for (key, value) in members where key != taken {
            switch value {
            case .string(let text): contents.metadata[key] = text
            case .integer(let number): contents.metadata[key] = String(number)
            case .float(let number): contents.metadata[key] = "\(number)"
            case .bool(let flag): contents.metadata[key] = flag ? "true" : "false"
            default: contents.ignored.append(key)
            }
        }
    }
}
