// Which of the networks in a file is meant. One is taken as it is found; of a network and its running average, the network;
// of several, none: the choice is the user's.

/// A network in a file, or the mapping that is read where no network is recognized.
struct WeightSelection: Sendable {
    /// Index of the mapping.
    var mapping: Int
    var root: NetworkRoot?
    /// What the model's names follow.
    var prefix = ""
    /// Networks that were not taken, and why.
    var left: [String] = []
    /// What to choose from, where nothing says which is meant.
    var choices: [String] = []

    /// What was decided, in sentences.
    var notes: [String] { (root?.notes ?? []) + left.map { "left: \($0)" } }
}

extension WeightSelection {
    private struct Candidate {
        let mapping: Int
        let root: NetworkRoot
        let isAverage: Bool
        let title: String
    }

    /// - Parameters:
    ///   - key: the key, or keys with dots between, under which the tensors lie in a pickle; nil means any.
    ///   - prefix: what stands before all names; nil means any.
    /// - Throws: `notFound` where there is nothing under them.
    init(in mappings: [TensorMapping], key: String?, prefix: String?) throws(WeightFault) {
        let asked = try Self.mappings(mappings, under: key)
        var candidates: [Candidate] = []
        for index in asked {
            let mapping = mappings[index]
            let roots = NetworkSearch.roots(
                in: mapping.sketches, inFileOrder: mapping.isInModuleOrder, prefix: prefix)
            for root in roots {
                candidates.append(
                    Candidate(
                        mapping: index, root: root, isAverage: Self.isAverage(mapping.path, root, roots),
                        title: Self.title(mapping, root.prefix)))
            }
        }
        candidates = Self.withoutAliases(candidates, mappings)
        let preferred = candidates.filter { !$0.isAverage }
        let chosen = preferred.isEmpty ? candidates : preferred
        guard let first = chosen.first else {
            try self.init(withoutNetwork: mappings, asked, prefix: prefix)
            return
        }
        self.init(mapping: first.mapping, root: first.root, prefix: first.root.prefix)
        if chosen.count > 1 {
            choices = chosen.map(\.title)
        } else {
            for other in candidates where other.isAverage && !preferred.isEmpty {
                left.append("\(other.title): a running average")
            }
        }
    }

    /// Some other network, or arrays of any kind: the mapping with the most values.
    private init(
        withoutNetwork mappings: [TensorMapping], _ asked: [Int], prefix: String?
    ) throws(WeightFault) {
        let wanted = prefix.map { $0.isEmpty || $0.hasSuffix(".") ? $0 : $0 + "." } ?? ""
        var best: (index: Int, values: Int)?
        for index in asked where !Self.words(mappings[index].path).contains(where: { $0.hasPrefix("optim") }) {
            var values = 0
            for tensor in mappings[index].tensors where tensor.key.hasPrefix(wanted) {
                values = values.addingReportingOverflow(tensor.geometry.count).partialValue
            }
            if Self.isAverage(mappings[index].path) { values /= 2 }
            if values > best?.values ?? -1 { best = (index, values) }
        }
        let index = best?.index ?? asked[0]
        let keys = mappings[index].tensors.map(\.key)
        guard wanted.isEmpty || keys.contains(where: { $0.hasPrefix(wanted) }) else {
            throw .notFound("tensors with the prefix '\(wanted)'", choices: Self.firstComponents(keys))
        }
        self.init(mapping: index, prefix: wanted)
        if wanted.isEmpty { self.prefix = Self.wrapperPrefix(of: keys) }
    }

    // MARK: - Keys and prefixes

    /// The mappings under a key.
    private static func mappings(
        _ mappings: [TensorMapping], under key: String?
    ) throws(WeightFault) -> [Int] {
        guard let key else { return Array(mappings.indices) }
        let whole = mappings.indices.filter { index in
            let path = mappings[index].path.joined(separator: ".")
            return path == key || mappings[index].title == key || path.hasPrefix(key + ".")
        }
        if !whole.isEmpty { return whole }
        let ending = mappings.indices.filter { mappings[$0].path.last == key }
        guard !ending.isEmpty else {
            let paths = mappings.filter { !$0.path.isEmpty }.prefix(12).map { $0.path.joined(separator: ".") }
            throw .notFound("tensors under the key '\(key)'", choices: paths)
        }
        return ending
    }

    /// What wrappers of PyTorch put before every name.
    private static func wrapperPrefix(of keys: [String]) -> String {
        var prefix = ""
        while let wrapper = ["module.", "_orig_mod."].first(where: { wrapper in
            keys.allSatisfy { $0.hasPrefix(prefix + wrapper) }
        }), !keys.isEmpty { prefix += wrapper }
        return prefix
    }

    private static func firstComponents(_ keys: [String]) -> [String] {
        var found: [String] = []
        for key in keys {
            let first = String(key.prefix { $0 != "." }) + "."
            if !found.contains(first) { found.append(first) }
            if found.count == 12 { break }
        }
        return found
    }

    /// How to ask for a network.
    private static func title(_ mapping: TensorMapping, _ prefix: String) -> String {
        var parts: [String] = []
        if !mapping.path.isEmpty { parts.append("key \(mapping.path.joined(separator: "."))") }
        if !prefix.isEmpty { parts.append("prefix \(prefix)") }
        return parts.isEmpty ? "the names without a prefix" : parts.joined(separator: " and ")
    }

    // MARK: - Averages and aliases

    /// Lower case words of names: `model_ema` has `model` and `ema`.
    private static func words(_ names: [String]) -> [String] {
        names.flatMap { $0.lowercased().split { !$0.isLetter }.map(String.init) }
    }

    private static func isAverage(_ names: [String]) -> Bool {
        let averages: Set = ["ema", "averaged", "average", "swa", "shadow", "polyak", "momentum"]
        return !averages.isDisjoint(with: words(names))
    }

    private static func isAverage(_ path: [String], _ root: NetworkRoot, _ roots: [NetworkRoot]) -> Bool {
        if isAverage(path + [root.prefix]) { return true }
        // MoCo's key encoder is the running average of its query encoder.
        return root.prefix.hasSuffix("encoder_k.")
            && roots.contains { $0.prefix == root.prefix.dropLast(2) + "q." }
    }

    /// Two names for the same bytes are one network, under the shorter name.
    private static func withoutAliases(_ candidates: [Candidate], _ mappings: [TensorMapping]) -> [Candidate] {
        guard candidates.count > 1 else { return candidates }
        var kept: [(candidate: Candidate, places: [String: TensorPlace])] = []
        for candidate in candidates.sorted(by: { $0.title.count < $1.title.count }) {
            let tensors = mappings[candidate.mapping].tensors
            var places: [String: TensorPlace] = [:]
            for (index, name) in candidate.root.names where tensors.indices.contains(index) {
                places[name] = TensorPlace(tensors[index])
            }
            if !kept.contains(where: { $0.places == places }) { kept.append((candidate, places)) }
        }
        return kept.map(\.candidate).sorted { ($0.mapping, $0.root.prefix) < ($1.mapping, $1.root.prefix) }
    }
}

/// Where a tensor's bytes are.
private struct TensorPlace: Equatable {
    let file: Int
    let range: Range<Int>
    let geometry: TensorGeometry

    init(_ tensor: StoredTensor) {
        file = tensor.file
        geometry = tensor.geometry
        switch tensor.payload {
        case .raw(let range): self.range = range
        case .deflated(let member, _): range = member.range
        case .pickled(let bytes): range = bytes.range
        }
    }
}

extension TensorMapping {
    /// The tensors, then those that are not read.
    var sketches: [TensorSketch] {
        tensors.map { TensorSketch(key: $0.key, shape: $0.geometry.shape, isWeight: $0.isWeight) }
            + unread.map { TensorSketch(key: $0.key, shape: [], isWeight: false) }
    }
}
