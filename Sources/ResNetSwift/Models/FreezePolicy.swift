// Which parameters training leaves alone, as a value: by name, by stage, by index, or everything but the head.
//
// The four situations of transfer learning, and the policy for each (`FreezePolicy.recommended`):
//
//     your data   your task   policy
//     plenty      similar     .none: every weight adapts, from a good start and with a low learning rate
//     little      similar     .allButHead: the features fit already; a new head is all that few pictures can teach
//     plenty      different   .none: the structure is kept, every weight is trained
//     little      different   .upTo(first stage): edges and textures are general and stay, the rest adapts; augment
//
// The new head comes first: `model.replacingHead(classes: 2, seed: 0).freezing(.allButHead)`.

import ResNetGraph

/// Which parameters training leaves alone: by name, by stage, by index, or everything but the head.
public enum FreezePolicy: Sendable, Hashable {
    /// Everything trains.
    case none
    /// Only what comes after the last feature map trains.
    case allButHead
    /// Everything defined before the end of this module is frozen: `.upTo("layer2")` freezes the stem, layer1 and layer2.
    case upTo(String)
    /// The first layers with parameters, in definition order; a batch norm is a layer of its own.
    case firstLayers(Int)
    /// `model.layers[:n]` of the same network in Keras, which counts every operation; known for DaViT. It depends on the
    /// pictures' size.
    case kerasLayers(Int)
    /// What any of these globs selects. `*` stands for any characters, dots included, `?` for one. A glob selects a key
    /// (`layer1.0.bn1.weight`, `*.bias`) or a module with all that is in it (`layer1`, `*.bn?`).
    case matching([String])
    /// These keys or modules exactly.
    case names([String])
}

extension FreezePolicy {
    /// How many pictures there are.
    public enum Data: Sendable, Hashable {
        /// Enough to train every weight; too few for that.
        case plenty, little
    }
    /// The new task against the one that the network was trained for.
    public enum Task: Sendable, Hashable {
        /// Pictures like those it has learned from; others.
        case similar, different
    }

    /// What write-ups on transfer learning advise for the four situations.
    /// - Parameters:
    ///   - data: how many pictures there are.
    ///   - task: how the new task compares to the old.
    ///   - firstStage: how far the frozen part reaches with little data of another kind.
    public static func recommended(data: Data, task: Task, firstStage: String = "layer1") -> FreezePolicy {
        switch (data, task) {
        case (.plenty, _): .none
        case (.little, .similar): .allButHead
        case (.little, .different): .upTo(firstStage)
        }
    }

    /// Reads `none`, `allButHead`, `upTo:layer2`, `firstLayers:3`, `keras:80`, or globs with commas between: `conv1,layer1,*.bias`.
    /// - Throws: `ModelError.selection`.
    public init(parsing text: String) throws(ModelError) {
        let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
        switch (parts.first, parts.count) {
        case ("none", 1): self = .none
        case ("allButHead", 1): self = .allButHead
        case ("upTo", 2): self = .upTo(parts[1])
        case ("firstLayers", 2), ("keras", 2):
            guard let count = Int(parts[1]) else {
                throw .selection(pattern: text, expected: "a number of layers", found: parts[1])
            }
            self = parts[0] == "keras" ? .kerasLayers(count) : .firstLayers(count)
        case (_, 1):
            self = .matching(text.split(separator: ",").map { String($0.drop { $0 == " " }) })
        default:
            throw .selection(
                pattern: text, expected: "none, allButHead, upTo:MODULE, firstLayers:N, keras:N, or names and globs",
                found: "'\(text)'")
        }
    }
}

extension Model {
    /// This model with exactly what the policy selects frozen.
    /// - Parameters:
    ///   - policy: what is frozen; whatever was frozen before is not, unless it selects it too.
    ///   - updatesStatistics: the batch norms among it run in training mode and keep on updating their running
    ///     statistics; otherwise a frozen batch norm runs in inference mode and nothing of it changes.
    ///   - input: the pictures' size, which `kerasLayers` needs.
    /// - Throws: `ModelError.selection` if the policy names what the model does not have.
    public func freezing(
        _ policy: FreezePolicy, updatesStatistics: Bool = false, input: Size2? = nil
    ) throws(ModelError) -> Model {
        var model = self
        model.frozen = try graph.selection(of: policy, input: input)
        if updatesStatistics {
            model.frozen.subtract(graph.parameters.filter { $0.role.isBuffer }.map(\.name))
        }
        return model
    }
}

extension Graph {
    /// Keys of the parameters and buffers that a policy freezes.
    /// - Parameter input: the pictures' size, which `kerasLayers` needs.
    /// - Throws: `ModelError.selection` for a name or glob that selects nothing, with the nearest name there is.
    public func selection(of policy: FreezePolicy, input: Size2? = nil) throws(ModelError) -> Set<String> {
        let specs = parameters
        switch policy {
        case .none: return []
        case .allButHead:
            guard trunkEnd != nil else {
                throw .selection(
                    pattern: "allButHead", expected: "a flatten node before the logits", found: "none in \(modelName)")
            }
            return Set(specs.map(\.name)).subtracting(headParameters)
        case .upTo(let module):
            guard let last = specs.lastIndex(where: { $0.name.hasPrefix(module + ".") }) else {
                throw unknown(module)
            }
            return Set(specs[...last].map(\.name))
        case .firstLayers(let count):
            var layers: [Int] = []
            for spec in specs where layers.last != spec.node { layers.append(spec.node) }
            guard 0...layers.count ~= count else {
                throw .selection(
                    pattern: "firstLayers:\(count)", expected: "0 to \(layers.count) layers", found: "\(count)")
            }
            let first = Set(layers[..<count])
            return Set(specs.filter { first.contains($0.node) }.map(\.name))
        case .kerasLayers(let count):
            guard let input else {
                throw .selection(pattern: "keras:\(count)", expected: "the pictures' size", found: "none")
            }
            let layers = try kerasLayers(input: input)
            guard 0...layers.count ~= count else {
                throw .selection(
                    pattern: "keras:\(count)", expected: "0 to \(layers.count) layers", found: "\(count)")
            }
            let first = Set(layers[..<count].compactMap { $0 })
            return Set(specs.filter { first.contains($0.node) }.map(\.name))
        case .matching(let globs): return try select(globs, specs, matchesGlob)
        case .names(let names): return try select(names, specs) { $0 == $1 }
        }
    }

    /// Union of what each pattern matches, as a key or as a module around it; every pattern must match something.
    private func select(
        _ patterns: [String], _ specs: [ParameterSpec], _ matches: (String, String) -> Bool
    ) throws(ModelError) -> Set<String> {
        guard !patterns.isEmpty else {
            throw .selection(pattern: "", expected: "at least one name", found: "none")
        }
        var selected: Set<String> = []
        for pattern in patterns {
            var found = false
            for spec in specs {
                var path = spec.name
                while !path.isEmpty {
                    if matches(pattern, path) {
                        selected.insert(spec.name)
                        found = true
                        break
                    }
                    path = path.parentPath
                }
            }
            guard found else { throw unknown(pattern) }
        }
        return selected
    }

    private func unknown(_ pattern: String) -> ModelError {
        var paths: Set<String> = []
        for spec in parameters {
            var path = spec.name
            while !path.isEmpty, paths.insert(path).inserted { path = path.parentPath }
        }
        // Short names first, so that a module is named rather than one of its keys.
        let ranked = paths.map { (editDistance($0, pattern), $0.count, $0) }
        return .selection(
            pattern: pattern, expected: "a parameter or module of \(modelName)",
            found: "none; the nearest is '\(ranked.min { $0 < $1 }?.2 ?? "")'")
    }
}

/// Whether the whole text fits the glob. `*` stands for any characters, `?` for one.
func matchesGlob(_ glob: String, _ text: String) -> Bool {
    let glob = Array(glob.utf8)
    let text = Array(text.utf8)
    var g = 0
    var t = 0
    var star: (glob: Int, text: Int)?
    while t < text.count {
        if g < glob.count, glob[g] == UInt8(ascii: "*") {
            star = (g, t)
            g += 1
        } else if g < glob.count, glob[g] == UInt8(ascii: "?") || glob[g] == text[t] {
            g += 1
            t += 1
        } else if let last = star {
            // The last star takes one character more.
            star = (last.glob, last.text + 1)
            g = last.glob + 1
            t = last.text + 1
        } else {
            return false
        }
    }
    return glob[g...].allSatisfy { $0 == UInt8(ascii: "*") }
}
