// A whole pickled module says more than its tensors: the stride of each convolution, and which layers without parameters
// stand between. Where that is not what the graph does, the weights are of another network.

import ResNetGraph

struct PickledModuleCheck {
    private let modules: [String: PickledModule]
    private let prefix: String
    /// The file's path of a module by the model's.
    private var paths: [String: String] = [:]
    private var owners: Set<String> = []

    init(_ modules: [String: PickledModule], _ entries: [WeightEntry], prefix: String) {
        self.modules = modules
        self.prefix = prefix
        guard !modules.isEmpty else { return }
        for entry in entries where entry.part == .network {
            paths[entry.name.parent] = entry.key.parent
            owners.insert(entry.key.parent)
        }
    }

    /// A sentence about the first difference; nil where there is none, or nothing to compare.
    func difference(from graph: Graph) -> String? {
        guard !modules.isEmpty else { return nil }
        for node in graph.nodes {
            guard let path = paths[node.module], let module = modules[path] else { continue }
            switch node.operation {
            case .conv(let spec):
                let wanted: [(String, [Int])] = [
                    ("stride", [spec.stride.height, spec.stride.width]),
                    ("padding", [spec.padding.height, spec.padding.width]),
                    ("dilation", [spec.dilation.height, spec.dilation.width]), ("groups", [spec.groups]),
                ]
                for (name, values) in wanted {
                    guard var found = module.settings[name] else { continue }
                    if found.count == 1, values.count == 2 { found += found }
                    guard found == values.map(Double.init) else {
                        return "\(path) has \(name) \(found.map { Int($0) }), where \(graph.modelName) has \(values)"
                    }
                }
            case .batchNorm(_, let eps, _):
                guard let found = module.settings["eps"]?.first, (found - eps).magnitude > eps / 1000 else { continue }
                return "\(path) has eps \(found), where \(graph.modelName) has \(eps)"
            default: break
            }
        }
        return unknownLayer
    }

    /// Layers without parameters that compute what a ResNet's do, or nothing in inference.
    private static let known: Set<String> = [
        "ReLU", "Identity", "Dropout", "Dropout2d", "AlphaDropout", "DropPath", "StochasticDepth", "MaxPool2d",
        "AdaptiveAvgPool2d", "SelectAdaptivePool2d", "FastAdaptiveAvgPool", "Flatten", "Sequential", "ModuleList",
        "AvgPool2d", "Sigmoid", "CrossEntropyLoss", "BCEWithLogitsLoss",
    ]

    private var unknownLayer: String? {
        var parents: Set<String> = []
        for path in modules.keys {
            var parent = path.parent
            while !parent.isEmpty, parents.insert(parent).inserted { parent = parent.parent }
        }
        for (path, module) in modules.sorted(by: { $0.key < $1.key }) {
            guard path.hasPrefix(prefix), !path.isEmpty, !parents.contains(path), !owners.contains(path) else {
                continue
            }
            let name = module.className.lastComponent
            if !Self.known.contains(name) { return "\(path) is a \(module.className), whose effect is not known" }
        }
        return nil
    }
}
