// What a model calls the tensors of the mapping that was taken, and what each is to the network.

/// Names by tensor, and tensors by name.
struct SelectedNames {
    /// The model's name; the key, without the prefix, where the network has no such tensor.
    private(set) var names: [String] = []
    private(set) var parts: [WeightPart] = []
    private(set) var unreadNames: [String: UnreadTensor] = [:]
    private let keys: [String]
    private let isNamed: [Bool]
    private let prefix: String

    init(_ mapping: TensorMapping, _ selection: WeightSelection) {
        let root = selection.root
        prefix = selection.prefix
        keys = mapping.tensors.map(\.key)
        var isNamed: [Bool] = []
        func stripped(_ key: String) -> String {
            key.hasPrefix(selection.prefix) ? String(key.dropFirst(selection.prefix.count)) : key
        }
        for (index, tensor) in mapping.tensors.enumerated() {
            let name = root?.names[index]
            isNamed.append(name != nil)
            let isInside = tensor.key.hasPrefix(selection.prefix)
            names.append(name ?? (isInside ? stripped(tensor.key) : tensor.key))
            parts.append(
                name != nil ? .network : !isInside ? .outside : root?.spare.contains(index) == true ? .spare : .network)
        }
        self.isNamed = isNamed
        for (offset, tensor) in mapping.unread.enumerated() {
            let name = root?.names[mapping.tensors.count + offset] ?? stripped(tensor.key)
            unreadNames[name] = tensor
        }
    }

    /// Every name a tensor can be asked for by: the model's, and the file's own without the prefix, unless that is another's.
    /// - Throws: `duplicateKey` where the network has two tensors of one name.
    func indexOfName() throws(WeightFault) -> [String: Int] {
        var result: [String: Int] = [:]
        for (index, name) in names.enumerated() where isNamed[index] {
            guard result.updateValue(index, forKey: name) == nil else { throw .duplicateKey(name) }
        }
        for (index, key) in keys.enumerated() {
            let own = key.hasPrefix(prefix) ? String(key.dropFirst(prefix.count)) : key
            if parts[index] != .outside, result[own] == nil { result[own] = index }
        }
        return result
    }
}
