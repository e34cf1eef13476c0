// The tensors of a mapping as modules: `layer1.0.conv1.weight` is the weight of `layer1.0.conv1`.

/// A tensor as the search for networks sees it.
struct TensorSketch: Sendable, Hashable {
    let key: String
    let shape: [Int]
    /// Could be a weight. False for integers, and for tensors that are not read.
    let isWeight: Bool

    /// The part after the last dot.
    var leaf: Substring { key.split(separator: ".", omittingEmptySubsequences: false).last ?? "" }
}

/// A layer that the names and shapes of its tensors show.
struct ListedModule: Sendable {
    enum Kind: Sendable {
        case convolution, norm, linear, other
    }

    let path: String
    /// Index of each tensor by its last name, `weight`, `running_mean`...
    var tensors: [String: Int] = [:]
    var kind: Kind = .other
    /// Of `weight`.
    var shape: [Int] = []

    /// The name of its tensors in another module.
    func names(under path: String) -> [(index: Int, name: String)] {
        tensors.map { ($0.value, "\(path).\($0.key)") }
    }

    var components: [Substring] { path.split(separator: ".", omittingEmptySubsequences: false) }
}

struct ModuleList: Sendable {
    /// In the order asked for.
    let modules: [ListedModule]

    /// - Parameter inFileOrder: false sorts by names: by their numbers first, and convolutions before norms.
    init(_ sketches: [TensorSketch], inFileOrder: Bool) {
        var modules: [ListedModule] = []
        var indexOfPath: [Substring: Int] = [:]
        for (index, sketch) in sketches.enumerated() {
            let leaf = sketch.leaf
            let path = sketch.key.dropLast(min(leaf.count + 1, sketch.key.count))
            if indexOfPath[path] == nil {
                indexOfPath[path] = modules.count
                modules.append(ListedModule(path: String(path)))
            }
            modules[indexOfPath[path]!].tensors[String(leaf)] = index
        }
        for index in modules.indices {
            guard let weight = modules[index].tensors["weight"], sketches[weight].isWeight else { continue }
            modules[index].shape = sketches[weight].shape
            switch sketches[weight].shape.count {
            case 4: modules[index].kind = .convolution
            case 2: modules[index].kind = .linear
            case 1 where modules[index].tensors["running_mean"] != nil: modules[index].kind = .norm
            default: break
            }
        }
        self.modules = inFileOrder ? modules : Self.sorted(modules)
    }

    /// By the names' components: numbers by value, `conv2` after `bn1`, `downsample` and other names without a number last.
    private static func sorted(_ modules: [ListedModule]) -> [ListedModule] {
        let keyed = modules.map { (key: $0.components.map(ComponentOrder.init), module: $0) }
        return keyed.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.module)
    }
}

/// The place of a name's component among its siblings.
private struct ComponentOrder: Comparable {
    let number: Int
    let rank: Int
    let text: Substring

    init(_ text: Substring) {
        let digits = text.reversed().prefix { $0.isASCII && $0.isNumber }.count
        self.text = text
        number = Int(text.suffix(digits)) ?? Int.max
        let name = text.dropLast(digits)
        rank = name.hasPrefix("conv") ? 0 : name.hasPrefix("bn") || name.hasPrefix("norm") ? 1 : 2
    }

    static func < (a: ComponentOrder, b: ComponentOrder) -> Bool {
        (a.number, a.rank, a.text) < (b.number, b.rank, b.text)
    }
}
