// What stands after the last feature map, from the linear layers that are left when the trunk is known:
//
//     fc, fc.1, linear, classifier, head ...   one layer that reads the features
//     head.2 and head.5, 10 and 13, fc.0, fc.3 and fc.6   layers of one Sequential with something between: a ReLU
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

    /// A Sequential's layers, or one layer.
    private struct Group {
        let path: String
        var modules: [ListedModule]

        var title: String {
            let layers = modules.map { "\($0.shape.dropFirst().first ?? 0) to \($0.shape.first ?? 0)" }
            return
                "\(path.isEmpty ? modules.map(\.path).joined(separator: ", ") : path) (\(layers.joined(separator: ", ")))"
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
                head = .unusual("a head of linear layers with a norm or a convolution among them: \(mixed.title)")
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
        let layers = group.modules
        switch layers.count {
        case 1:
            name(layers[0], "fc")
            head = .linear
        case 2...HeadKind.maximumLayers + 1 where zip(layers, layers.dropFirst()).allSatisfy(Self.canFollow):
            for (number, layer) in layers.enumerated() { name(layer, "head.\(2 + 3 * number)") }
            head = .hidden(layers: layers.count)
            note = "the head is \(group.title); a ReLU is assumed between its layers"
        default:
            head = .unclear(
                "a head of \(layers.count) linear layers without a place for a ReLU between them: \(group.title)")
        }
    }

    private static func canFollow(_ first: ListedModule, _ second: ListedModule) -> Bool {
        second.shape.last == first.shape.first && leavesRoom(first, second)
    }

    private mutating func name(_ module: ListedModule, _ name: String) {
        for (index, full) in module.names(under: name) { names[index] = full }
    }

    /// True where something without parameters can stand between two layers of a Sequential.
    private static func leavesRoom(_ a: ListedModule, _ b: ListedModule) -> Bool {
        guard let first = Int(a.path.lastComponent), let second = Int(b.path.lastComponent) else { return false }
        return second > first + 1
    }

    /// Linear layers by the Sequential they stand in. Those beside a norm or another layer with parameters are none of a
    /// kind that can be built.
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
            var path = String(module.path.dropFirst(prefix.count)).parent
            while !path.isEmpty, impure.insert(path).inserted { path = path.parent }
        }
        return (groups.filter { !impure.contains($0.path) }, groups.filter { impure.contains($0.path) })
    }
}

extension String {
    /// The part after the last dot.
    var lastComponent: String { split(separator: ".", omittingEmptySubsequences: false).last.map(String.init) ?? "" }

    /// The part before the last dot; empty where there is none.
    var parent: String { lastIndex(of: ".").map { String(self[..<$0]) } ?? "" }
}
