// Where in a mapping a ResNet lies, and what the model calls its tensors. The prefix can be anything: `backbone.`,
// `module.encoder_q.`, `net.0.`; what is under it must be named as in torchvision or in transformers, or stand in a ResNet's
// order.
//
//     backbone.layer1.0.conv1.weight              layer1.0.conv1.weight       (anything.layer1.0.conv1.weight shows a network)
//     layer2.0.shortcut.0.weight                  layer2.0.downsample.0.weight
//     resnet.encoder.stages.0.layers.0.layer.0.convolution.weight     layer1.0.conv1.weight
//     stages.0.blocks.0.conv1.weight, head.fc.weight                  the same, and fc.weight (timm's resnetv2)
//     0.weight, 1.weight, 4.0.conv1.weight        conv1.weight, bn1.weight, layer1.0.conv1.weight

import ResNetModels

/// A network in a mapping.
struct NetworkRoot: Sendable {
    enum Naming: Sendable, Hashable {
        case torchvision, huggingFace
        /// timm's of a DaViT or ConvNeXt, or what their authors, torchvision and transformers call the same.
        case timm
        /// By order and shape.
        case order
    }

    /// Of all its keys, the head's where it stands outside excepted.
    let prefix: String
    let naming: Naming
    /// The model's name by tensor, trunk and head.
    var names: [Int: String] = [:]
    var head: FoundHead = .none
    /// Tensors under the prefix that are no part of the network, but need not be.
    var spare: Set<Int> = []
    /// What was assumed, in sentences.
    var notes: [String] = []
}

enum NetworkSearch {
    /// More in one mapping are not looked at.
    private static let maximumRoots = 16

    /// All networks of a mapping.
    /// - Parameter prefix: only what lies under it counts; nil means any.
    static func roots(in sketches: [TensorSketch], inFileOrder: Bool, prefix: String? = nil) -> [NetworkRoot] {
        let wanted = prefix.map { $0.isEmpty || $0.hasSuffix(".") ? $0 : $0 + "." }
        let indices = sketches.indices.filter { wanted == nil || sketches[$0].key.hasPrefix(wanted!) }
        // A copy of the part that counts; its indices are translated back at the end.
        let part = indices.map { sketches[$0] }
        var roots = namedRoots(part, inFileOrder)
        if roots.isEmpty { roots = orderedRoots(part, inFileOrder) }
        return roots.map { root in
            var root = root
            root.names = Dictionary(uniqueKeysWithValues: root.names.map { (indices[$0.key], $0.value) })
            root.spare = Set(root.spare.map { indices[$0] })
            return root
        }
    }

    // MARK: - By names

    private static func namedRoots(_ sketches: [TensorSketch], _ inFileOrder: Bool) -> [NetworkRoot] {
        func prefixes(before ending: String) -> [String] {
            sketches.compactMap { sketch in
                guard sketch.key.hasSuffix(ending) else { return nil }
                let prefix = sketch.key.dropLast(ending.count)
                return prefix.isEmpty || prefix.hasSuffix(".") ? String(prefix) : nil
            }.prefix(maximumRoots).map { $0 }
        }
        let list = ModuleList(sketches, inFileOrder: inFileOrder).modules
        var roots: [NetworkRoot] = []
        for prefix in prefixes(before: "layer1.0.conv1.weight") {
            var root = NetworkRoot(prefix: prefix, naming: .torchvision)
            for (index, sketch) in sketches.enumerated() where sketch.key.hasPrefix(prefix) {
                root.names[index] = trunkName(sketch.key.dropFirst(prefix.count))
            }
            findStem(&root, list)
            roots.append(finish(root, sketches, list))
        }
        for prefix in prefixes(before: "encoder.stages.0.layers.0.layer.0.convolution.weight") {
            // transformers' classifier stands beside its `resnet`.
            let outer = prefix == "resnet." || prefix.hasSuffix(".resnet.") ? String(prefix.dropLast(7)) : prefix
            var root = NetworkRoot(prefix: outer, naming: .huggingFace)
            for (index, sketch) in sketches.enumerated() where sketch.key.hasPrefix(outer) {
                let name = HuggingFaceNames.name(of: String(sketch.key.dropFirst(outer.count)))
                if let name, !name.hasPrefix("fc.") { root.names[index] = name }
            }
            roots.append(finish(root, sketches, list))
        }
        return roots + prefixes(before: "stages.0.blocks.0.norm1.weight").map { preActivatedRoot(sketches, $0) }
            + timmRoots(sketches, prefixes)
    }

    /// timm's pre-activation ResNets: the model's names, but for the classifier's.
    private static func preActivatedRoot(_ sketches: [TensorSketch], _ prefix: String) -> NetworkRoot {
        var root = NetworkRoot(prefix: prefix, naming: .torchvision)
        for (index, sketch) in sketches.enumerated() where sketch.key.hasPrefix(prefix) {
            var name = String(sketch.key.dropFirst(prefix.count))
            if name.hasPrefix("head.fc.") { name = String(name.dropFirst("head.".count)) }
            if name == "fc.weight" { root.head = .linear }
            if ["stem", "stages", "norm", "fc"].contains(where: { name.hasPrefix("\($0).") }) {
                root.names[index] = name
            } else if isHarmless(sketch, under: prefix) {
                root.spare.insert(index)
            }
        }
        return root
    }

    /// All that lies under the prefix is the network's.
    private static func timmRoots(
        _ sketches: [TensorSketch], _ prefixes: (_ ending: String) -> [String]
    ) -> [NetworkRoot] {
        func roots(_ sign: String, _ name: (Substring) -> String) -> [NetworkRoot] {
            prefixes(sign).map { inner in
                // transformers' classifier stands beside its `convnext`.
                let prefix =
                    inner == "convnext." || inner.hasSuffix(".convnext.") ? String(inner.dropLast(9)) : inner
                var root = NetworkRoot(prefix: prefix, naming: .timm)
                for (index, sketch) in sketches.enumerated() where sketch.key.hasPrefix(prefix) {
                    root.names[index] = name(sketch.key.dropFirst(prefix.count))
                }
                return root
            }
        }
        return roots(DaViTNames.sign) { String($0) }
            + roots(DaViTNames.authorsSign) { DaViTNames.name(ofAuthors: $0) }
            + ConvNeXtNames.allCases.flatMap { naming in roots(naming.sign) { naming.name(of: $0) } }
    }

    /// torchvision's name of what belongs to stem and stages; nil for everything else.
    private static func trunkName(_ key: Substring) -> String? {
        var parts = key.split(separator: ".", omittingEmptySubsequences: false)
        guard let first = parts.first, parts.count >= 2 else { return nil }
        if first == "conv1" || first == "bn1" || first == "maxpool" { return String(key) }
        guard first.hasPrefix("layer"), let stage = Int(first.dropFirst(5)), stage > 0, parts.count >= 4 else {
            return nil
        }
        // kuangliu's and other ResNets for CIFAR.
        if parts[2] == "shortcut" { parts[2] = "downsample" }
        return parts.joined(separator: ".")
    }

    /// A stem by another name (`layer0.0`, `layer0.conv1`): the one convolution, and its norm, outside the stages.
    private static func findStem(_ root: inout NetworkRoot, _ list: [ListedModule]) {
        guard !root.names.values.contains(where: { $0.hasPrefix("conv1.") }) else { return }
        let others = list.filter { module in
            module.path.hasPrefix(root.prefix) && module.tensors.values.allSatisfy { root.names[$0] == nil }
        }
        let convolutions = others.filter { $0.kind == .convolution }
        let norms = others.filter { $0.kind == .norm }
        guard convolutions.count == 1, norms.count == 1, norms[0].shape.first == convolutions[0].shape.first else {
            return
        }
        for (module, name) in [(convolutions[0], "conv1"), (norms[0], "bn1")] {
            for (index, full) in module.names(under: name) { root.names[index] = full }
        }
        root.notes.append("\(convolutions[0].path) is the first convolution")
    }

    // MARK: - By order

    private static func orderedRoots(_ sketches: [TensorSketch], _ inFileOrder: Bool) -> [NetworkRoot] {
        // Modules are written in the order in which they were made, nearly always that of their names.
        for order in inFileOrder ? [true, false] : [false] {
            let list = ModuleList(sketches, inFileOrder: order).modules
            guard let network = OrderedNetwork(list) else { continue }
            let paths = network.names.keys.map { list[$0].components }
            var common = paths[0][...]
            for path in paths { common = common.prefix(zip(common, path).prefix { $0 == $1 }.count) }
            // A Sequential's own number is no prefix of the layers beside it: 0.0, 0.1, ... and 1.2.
            let prefix = common.isEmpty ? "" : common.joined(separator: ".") + "."
            var root = NetworkRoot(prefix: prefix, naming: .order)
            for (index, name) in network.names {
                for (tensor, full) in list[index].names(under: name) { root.names[tensor] = full }
            }
            root.notes.append("the layers are recognized by their order and shapes")
            return [finish(root, sketches, list)]
        }
        return []
    }

    // MARK: - The rest

    /// Finds the head, and what else lies under the prefix.
    private static func finish(
        _ start: NetworkRoot, _ sketches: [TensorSketch], _ list: [ListedModule]
    ) -> NetworkRoot {
        var root = start
        let rest = list.filter { module in module.tensors.values.allSatisfy { root.names[$0] == nil } }
        let search = HeadSearch(
            inside: rest.filter { $0.path.hasPrefix(root.prefix) },
            outside: rest.filter { !$0.path.hasPrefix(root.prefix) },
            prefix: root.prefix, features: features(root, sketches))
        root.head = search.head
        root.names.merge(search.names) { _, head in head }
        root.spare.formUnion(search.otherHeads)
        if let note = search.note { root.notes.append(note) }
        for (index, sketch) in sketches.enumerated()
        where root.names[index] == nil && sketch.key.hasPrefix(root.prefix) && isHarmless(sketch, under: root.prefix) {
            root.spare.insert(index)
        }
        return root
    }

    /// Numbers without axes, empty arrays, counters, what belongs to no layer (`mean`, a member of an npz), and what losses
    /// and metrics keep compute nothing between the layers.
    private static func isHarmless(_ sketch: TensorSketch, under prefix: String) -> Bool {
        guard sketch.isWeight, !sketch.shape.isEmpty, !sketch.shape.contains(0) else { return true }
        let name = sketch.key.dropFirst(prefix.count)
        guard name.contains(".") else { return true }
        let first = name.split(separator: ".").first?.lowercased() ?? ""
        return ["criterion", "loss", "metric", "accuracy", "confmat"].contains { first.contains($0) }
    }

    /// Channels of the last feature map.
    private static func features(_ root: NetworkRoot, _ sketches: [TensorSketch]) -> Int {
        var last: (place: [Int], channels: Int) = ([], 0)
        for (index, name) in root.names where name.hasPrefix("layer") && sketches[index].shape.count == 4 {
            let parts = name.dropFirst(5).split(separator: ".")
            guard parts.count == 4, parts[2].hasPrefix("conv"), let stage = Int(parts[0]), let block = Int(parts[1]),
                let number = Int(parts[2].dropFirst(4))
            else { continue }
            let place = [stage, block, number]
            if last.place.lexicographicallyPrecedes(place) { last = (place, sketches[index].shape[0]) }
        }
        return last.channels
    }
}
