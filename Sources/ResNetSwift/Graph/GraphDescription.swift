// The module tree, printed as PyTorch prints a module (torch.nn.Module.__repr__), so that a model can be read at a glance
// by anyone who has read one there:
//
//     ResNet(
//       (conv1): Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3), bias=False)
//       (layer1): Sequential(
//         (0): BasicBlock(
//
// A module that is used several times prints once; functions (add, concat, torch.flatten) do not print.

extension Graph: CustomStringConvertible {
    public var description: String {
        var leaves: [String: Operation] = [:]
        for node in nodes where node.printsAsModule && leaves[node.module] == nil {
            leaves[node.module] = node.operation
        }
        // Every path with its ancestors, so that a container nobody named still shows.
        var children: [String: Set<String>] = [:]
        for leaf in leaves.keys {
            var path = leaf
            while !path.isEmpty {
                let parent = path.parentPath
                children[parent, default: []].insert(path)
                path = parent
            }
        }
        // An undeclared container stands where its first member was defined.
        var firstMember: [String: Int] = [:]
        for (path, order) in definitionOrder {
            var path = path.parentPath
            while !path.isEmpty {
                firstMember[path] = min(firstMember[path] ?? order, order)
                path = path.parentPath
            }
        }
        func order(_ path: String) -> Int { definitionOrder[path] ?? firstMember[path] ?? 0 }

        func text(_ path: String, _ indent: String) -> String {
            if let leaf = leaves[path] { return leaf.moduleText }
            let members = (children[path] ?? []).sorted { order($0) < order($1) }
            let name = path.isEmpty ? modelName : containers[path] ?? "Sequential"
            guard !members.isEmpty else { return "\(name)()" }
            let inner = indent + "  "
            let lines = members.map { "\(inner)(\($0.lastComponent)): \(text($0, inner))\n" }
            return "\(name)(\n\(lines.joined())\(indent))"
        }
        return text("", "")
    }
}

extension Model: CustomStringConvertible {
    public var description: String { graph.description }
}

extension GraphNode {
    fileprivate var printsAsModule: Bool {
        switch operation {
        case .input, .add, .gate, .concat, .padToMultiple, .crop, .layerScale: false
        default: !module.isEmpty
        }
    }
}

extension Operation {
    /// As PyTorch prints the module: `ReLU(inplace=True)`.
    fileprivate var moduleText: String {
        switch self {
        case .input, .add, .gate, .concat, .padToMultiple, .crop, .layerScale: ""
        case .conv(let c) where c.isLinear:
            "Linear(in_features=\(c.inChannels), out_features=\(c.outChannels), bias=\(c.bias ? "True" : "False"))"
        case .conv(let c):
            "\(c.isStandardized ? "Std" : "")Conv2d(\(c.inChannels), \(c.outChannels), kernel_size=\(c.kernel.tuple), stride=\(c.stride.tuple)"
                + (c.padding == 0 ? "" : ", padding=\(c.padding.tuple)")
                + (c.dilation == 1 ? "" : ", dilation=\(c.dilation.tuple)")
                + (c.groups == 1 ? "" : ", groups=\(c.groups)") + (c.bias ? ")" : ", bias=False)")
        case .batchNorm(let channels, let eps, let momentum):
            "BatchNorm2d(\(channels), eps=\(eps), momentum=\(momentum), affine=True, bias=True, "
                + "track_running_stats=True)"
        case .relu: "ReLU(inplace=True)"
        case .sigmoid: "Sigmoid()"
        case .clip(let low, let high):
            low == 0 && high == 6 ? "ReLU6(inplace=True)" : "Hardtanh(min_val=\(low), max_val=\(high))"
        case .blurPool(let stride): "BlurPool2d(stride=\(stride))"
        case .pad(let p): "ConstantPad2d(padding=(\(p.left), \(p.right), \(p.top), \(p.bottom)), value=\(p.value))"
        case .maxPool(let p):
            "MaxPool2d(kernel_size=\(p.kernel.short), stride=\(p.stride.short), padding=\(p.padding.short), "
                + "dilation=1, ceil_mode=\(p.ceilMode ? "True" : "False"))"
        case .averagePool(let p):
            "AvgPool2d(kernel_size=\(p.kernel.short), stride=\(p.stride.short), padding=\(p.padding.short))"
        case .channelConv(let kernel):
            "Conv1d(1, 1, kernel_size=(\(kernel),), stride=(1,), padding=(\(kernel / 2),), bias=False)"
        case .globalAveragePool: "AdaptiveAvgPool2d(output_size=(1, 1))"
        case .flatten: "Flatten(start_dim=1, end_dim=-1)"
        case .linear(let inFeatures, let outFeatures, let bias):
            "Linear(in_features=\(inFeatures), out_features=\(outFeatures), bias=\(bias ? "True" : "False"))"
        case .dropout(let probability): "Dropout(p=\(probability), inplace=False)"
        case .layerNorm(let channels, let eps):
            "LayerNorm((\(channels),), eps=\(eps), elementwise_affine=True, bias=True)"
        case .groupNorm(let groups, let channels, let eps):
            "GroupNorm(\(groups), \(channels), eps=\(eps), affine=True, bias=True)"
        case .gelu: "GELU(approximate='none')"
        case .windowAttention(let heads, let window): "WindowAttention(heads=\(heads), window_size=\(window.tuple))"
        case .channelAttention(let heads): "ChannelAttention(heads=\(heads))"
        case .dropPath(let probability): "DropPath(drop_prob=\(probability))"
        }
    }
}

extension Size2 {
    /// `(3, 3)`, as Python writes a tuple.
    fileprivate var tuple: String { "(\(height), \(width))" }
    /// `3` where both are equal, as pooling layers are given their sizes.
    fileprivate var short: String { height == width ? "\(height)" : tuple }
}

extension String {
    /// `layer1.0` of `layer1.0.conv1`; empty at the top.
    package var parentPath: String {
        guard let dot = lastIndex(of: ".") else { return "" }
        return String(self[..<dot])
    }

    /// `conv1` of `layer1.0.conv1`.
    var lastComponent: String {
        guard let dot = lastIndex(of: ".") else { return self }
        return String(self[index(after: dot)...])
    }
}
