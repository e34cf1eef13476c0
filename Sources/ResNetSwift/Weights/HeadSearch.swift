// What stands after the last feature map, from the linear layers that are left when the trunk is known:
//
//     fc, fc.1, linear, classifier, head ...   one layer that reads the features
//     head.2 and head.5, 10 and 13, fc.0, fc.3 and fc.6   layers of one Sequential with something between: a ReLU
//     fc.0, norm fc.1, fc.3                    the same; the norm goes into the layer before it (HeadNorms.swift)
//     none                                     a backbone
//
// Several heads side by side, and heads whose inner connections no name tells, are not guessed.

import ResNetModels

/// What a file shows after the last feature map.
enum FoundHead: Sendable, Hashable {
    /// The features are the result.
    case none
    /// `fc`.
    case linear
    /// `head.2`, ReLU, `head.5` and so on: this many linear layers.
    case hidden(layers: Int)
    /// Which head is meant, or what stands between its layers, cannot be told. A sentence that says what was found.
    case unclear(String)
    /// A head that no model here has by itself. A sentence that says what was found.
    case unusual(String)
}

struct HeadSearch {
    private(set) var head: FoundHead = .none
    /// The model's name by tensor.
    private(set) var names: [Int: String] = [:]
    /// Tensors under the network's prefix that are other heads.
    private(set) var otherHeads: [Int] = []
    private(set) var note: String?

    /// Names that people give to the layer that yields the logits.
    private static let usualNames = [
        "fc", "classifier", "head", "linear", "last_linear", "head.fc", "cls", "logits", "output", "out",
        "classification_head",
    ]

    /// A Sequential's linear layers, or one layer.
    private struct Group {
        let path: String
        var modules: [ListedModule]
        /// Batch norms of the same Sequential.
        var norms: [ListedModule] = []

        var title: String {
            let layers = modules.map { "\($0.shape.dropFirst().first ?? 0) to \($0.shape.first ?? 0)" }
            let names = path.isEmpty ? modules.map(\.path).joined(separator: ", ") : path
            let beside = norms.isEmpty ? "" : " with batch norms \(norms.map(\.path).joined(separator: ", "))"
            return "\(names) (\(layers.joined(separator: ", ")))\(beside)"
        }
    }

    /// - Parameters:
    ///   - inside: the modules under the network's prefix that are no part of the trunk.
    ///   - outside: all others of the file; read where there are no linear layers inside.
    ///   - prefix: of the network.
    ///   - features: channels of the last feature map.
    init(inside: [ListedModule], outside: [ListedModule], prefix: String, features: Int) {
        let (within, impure) = Self.groups(inside, prefix: prefix)
        let groups = within.isEmpty ? Self.groups(outside, prefix: "").pure : within
        let reading = groups.filter { $0.modules.first?.shape.last == features }
        let usual = reading.filter {
            Self.usualNames.contains($0.path) || Self.usualNames.contains($0.path.lastComponent)
        }
        guard let chosen = reading.count == 1 ? reading.first : usual.count == 1 ? usual.first : nil else {
            if reading.count > 1 {
                head = .unclear("several heads read the features: \(reading.map(\.title).joined(separator: "; "))")
            } else if let only = within.first, within.count == 1, only.modules.count == 1 {
                // Of another width than the features: the comparison with the model says so.
                name(only.modules[0], "fc")
                head = .linear
            } else if within.isEmpty, let unread = inside.first(where: { Self.isUnreadHead($0, prefix) }) {
                // There, but of a type that is no weight's: the comparison says so.
                name(unread, "fc")
                head = .linear
            } else if within.isEmpty, let mixed = impure.first(where: { $0.modules.first?.shape.last == features }) {
                head = .unusual("a head of linear layers with other layers among them: \(mixed.title)")
            }
            return
        }
        otherHeads = within.filter { $0.path != chosen.path && $0.modules.first?.shape.last == features }
            .flatMap(\.modules).flatMap(\.tensors.values)
        if !within.isEmpty, !otherHeads.isEmpty {
            note = "of several heads, \(chosen.title) is taken"
        } else if within.isEmpty {
            note = "the head is \(chosen.title)"
        }
        take(chosen)
    }

    private static func isUnreadHead(_ module: ListedModule, _ prefix: String) -> Bool {
        let path = String(module.path.dropFirst(prefix.count))
        let name = Int(path.lastComponent) == nil ? path : path.parent
        return module.kind == .other && module.tensors["weight"] != nil && usualNames.contains(name)
    }

    private mutating func take(_ group: Group) {
        guard let chain = HeadChain(linear: group.modules, norms: group.norms) else {
            head = .unusual(
                "a head whose batch norms do not stand directly behind or before a linear layer, so that the place of the "
                    + "ReLU is not known: \(group.title)")
            return
        }
        let layers = chain.layers
        switch layers.count {
        case 1:
            name(chain, ["fc"])
            head = .linear
        case 2...HeadKind.maximumLayers + 1 where zip(layers, layers.dropFirst()).allSatisfy(HeadChain.canFollow):
            name(chain, layers.indices.map { "head.\(2 + 3 * $0)" })
            head = .hidden(layers: layers.count)
            note = "the head is \(group.title); a ReLU is assumed between its layers"
        default:
            head = .unclear(
                "a head of \(layers.count) linear layers without a place for a ReLU between them: \(group.title)")
        }
        if !group.norms.isEmpty {
            note = "\(note ?? "the head is \(group.title)"); its batch norms become part of them, with eps 1e-5"
        }
    }

    private mutating func name(_ chain: HeadChain, _ names: [String]) {
        for (layer, title) in zip(chain.layers, names) {
            name(layer.linear, title)
            if let norm = layer.before { name(norm, HeadNorms.before(title)) }
            if let norm = layer.after { name(norm, HeadNorms.after(title)) }
        }
    }

    private mutating func name(_ module: ListedModule, _ name: String) {
        for (index, full) in module.names(under: name) { names[index] = full }
    }

    /// Linear layers by the Sequential they stand in, with its batch norms. Those beside another layer with parameters are none
    /// of a kind that can be built.
    private static func groups(_ modules: [ListedModule], prefix: String) -> (pure: [Group], impure: [Group]) {
        var groups: [Group] = []
        var indexOfPath: [String: Int] = [:]
        for module in modules where module.kind == .linear {
            let relative = String(module.path.dropFirst(prefix.count))
            let path = Int(relative.lastComponent) == nil ? relative : relative.parent
            if let index = indexOfPath[path], Int(relative.lastComponent) != nil {
                groups[index].modules.append(module)
            } else {
                indexOfPath[path] = groups.count
                groups.append(Group(path: path, modules: [module]))
            }
        }
        var impure: Set<String> = []
        for module in modules where module.kind == .norm || module.kind == .convolution {
            let relative = String(module.path.dropFirst(prefix.count))
            var path = relative.parent
            if module.kind == .norm, Int(relative.lastComponent) != nil, let index = indexOfPath[path] {
                groups[index].norms.append(module)
                path = path.parent
            }
            while !path.isEmpty, impure.insert(path).inserted { path = path.parent }
        }
        return (groups.filter { !impure.contains($0.path) }, groups.filter { impure.contains($0.path) })
    }
}

/// The linear layers of a Sequential in its order, each with the batch norm that stands directly before or behind it.
private struct HeadChain {
    struct Layer {
        let linear: ListedModule
        var before: ListedModule?
        var after: ListedModule?

        /// Its places in the Sequential, norms included.
        var first: Int? { (before ?? linear).number }
        var last: Int? { (after ?? linear).number }
    }

    private(set) var layers: [Layer] = []

    /// Nil where a norm stands alone: with a gap on both sides, nobody knows on which the ReLU is.
    init?(linear: [ListedModule], norms: [ListedModule]) {
        guard !norms.isEmpty else {
            layers = linear.map { Layer(linear: $0) }
            return
        }
        guard linear.allSatisfy({ $0.number != nil }) else { return nil }
        layers = linear.sorted { $0.number! < $1.number! }.map { Layer(linear: $0) }
        for norm in norms {
            guard let number = norm.number else { return nil }
            if let index = layers.firstIndex(where: { $0.linear.number == number - 1 }),
                norm.shape.first == layers[index].linear.shape.first
            {
                layers[index].after = norm
            } else if let index = layers.firstIndex(where: { $0.linear.number == number + 1 }),
                norm.shape.first == layers[index].linear.shape.last
            {
                layers[index].before = norm
            } else {
                return nil
            }
        }
    }

    /// True where the widths fit and something without parameters can stand between two layers: a ReLU.
    static func canFollow(_ first: Layer, _ second: Layer) -> Bool {
        guard second.linear.shape.last == first.linear.shape.first, let end = first.last, let start = second.first
        else {
            return false
        }
        return start > end + 1
    }
}

extension ListedModule {
    /// Its place in a Sequential; nil for a number that no Sequential has.
    fileprivate var number: Int? { Int(path.lastComponent).flatMap { 0...1_000_000 ~= $0 ? $0 : nil } }
}

extension String {
    /// The part after the last dot.
    var lastComponent: String { split(separator: ".", omittingEmptySubsequences: false).last.map(String.init) ?? "" }

    /// The part before the last dot; empty where there is none.
    var parent: String { lastIndex(of: ".").map { String(self[..<$0]) } ?? "" }
}
