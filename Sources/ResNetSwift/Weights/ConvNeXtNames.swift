// A ConvNeXt in a file, by the names of timm, torchvision, transformers and its authors; shapes tell depths and channels.
//
//     timm           stages.1.blocks.0.conv_dw   .norm       .mlp.fc1   .mlp.fc2   .gamma            head.norm     head.fc
//     torchvision    features.3.0.block.0        .block.2    .block.3   .block.5   .layer_scale      classifier.0  classifier.2
//     authors        stages.1.0.dwconv           .norm       .pwconv1   .pwconv2   .gamma            norm          head
//     transformers   convnext.encoder.stages.1.layers.0.dwconv  .layernorm ... .layer_scale_parameter  layernorm   classifier
//
// The model's names are timm's. ConvNeXt V2 has no `gamma`, and is not read.

import ResNetGraph
import ResNetModels

enum ConvNeXtNames: CaseIterable {
    case timm, torchvision, authors, transformers

    /// A name that only these networks have.
    var sign: String {
        switch self {
        case .timm: "stages.0.blocks.0.conv_dw.weight"
        case .torchvision: "features.1.0.layer_scale"
        case .authors: "stages.0.0.dwconv.weight"
        case .transformers: "encoder.stages.0.layers.0.dwconv.weight"
        }
    }

    /// The model's name of `key`; `key` itself where the naming has no such.
    func name(of key: Substring) -> String {
        let parts = key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let renamed: [String]? =
            switch self {
            case .timm: nil
            case .torchvision: Self.name(ofTorchvision: parts)
            case .authors: Self.name(ofAuthors: parts)
            case .transformers: Self.name(ofTransformers: parts)
            }
        return (renamed ?? parts).joined(separator: ".")
    }

    private static func name(ofTorchvision parts: [String]) -> [String]? {
        if parts[0] == "classifier", parts.count == 3 {
            return ["0": "norm", "2": "fc"][parts[1]].map { ["head", $0, parts[2]] }
        }
        guard parts[0] == "features", parts.count >= 4, let number = Int(parts[1]), 0..<64 ~= number else { return nil }
        if number == 0 { return ["stem"] + parts[2...] }
        // Odd numbers are stages, even ones what makes the map smaller before the next.
        guard number % 2 == 1 else { return ["stages", "\(number / 2)", "downsample"] + parts[2...] }
        let block = ["stages", "\(number / 2)", "blocks", parts[2]]
        if parts.count == 4, parts[3] == "layer_scale" { return block + ["gamma"] }
        let members = ["0": ["conv_dw"], "2": ["norm"], "3": ["mlp", "fc1"], "5": ["mlp", "fc2"]]
        guard parts.count == 6, parts[3] == "block", let member = members[parts[4]] else { return nil }
        return block + member + [parts[5]]
    }

    private static func name(ofAuthors parts: [String]) -> [String]? {
        switch parts[0] {
        case "downsample_layers" where parts.count == 4:
            return parts[1] == "0" ? ["stem"] + parts[2...] : ["stages", parts[1], "downsample"] + parts[2...]
        case "stages" where parts.count >= 4: return block(parts[1], parts[2], parts[3...])
        case "norm" where parts.count == 2: return ["head", "norm", parts[1]]
        case "head" where parts.count == 2: return ["head", "fc", parts[1]]
        default: return nil
        }
    }

    private static func name(ofTransformers parts: [String]) -> [String]? {
        if parts[0] == "classifier", parts.count == 2 { return ["head", "fc", parts[1]] }
        let own = parts[0] == "convnext" ? Array(parts.dropFirst()) : parts
        guard own.count >= 2 else { return nil }
        switch (own[0], own[1]) {
        case ("embeddings", "patch_embeddings"): return ["stem", "0"] + own[2...]
        case ("embeddings", "layernorm"): return ["stem", "1"] + own[2...]
        case ("layernorm", _): return ["head", "norm"] + own[1...]
        case ("encoder", "stages") where own.count >= 6 && own[3] == "downsampling_layer":
            return ["stages", own[2], "downsample"] + own[4...]
        case ("encoder", "stages") where own.count >= 6 && own[3] == "layers":
            return block(own[2], own[4], own[5...])
        default: return nil
        }
    }

    /// The authors' names in a block, which transformers has too.
    private static func block(_ stage: String, _ number: String, _ rest: ArraySlice<String>) -> [String]? {
        let members = [
            "dwconv": ["conv_dw"], "norm": ["norm"], "layernorm": ["norm"], "pwconv1": ["mlp", "fc1"],
            "pwconv2": ["mlp", "fc2"], "gamma": ["gamma"], "layer_scale_parameter": ["gamma"],
        ]
        return rest.first.flatMap { members[$0] }.map { ["stages", stage, "blocks", number] + $0 + rest.dropFirst() }
    }
}

extension ConvNeXtConfig {
    /// What the shapes show; nil for what is no ConvNeXt of this structure.
    init?(_ entries: [WeightEntry]) {
        let shapes = entries.networkShapes
        var (depths, channels) = ([Int](), [Int]())
        while depths.count < 16, let shape = shapes["stages.\(depths.count).blocks.0.conv_dw.weight"] {
            guard shape.count == 4, 1...1 << 16 ~= shape[0], Array(shape[1...]) == [1, 7, 7] else { return nil }
            var depth = 1
            while depth < 1_000, shapes["stages.\(depths.count).blocks.\(depth).conv_dw.weight"] != nil { depth += 1 }
            depths.append(depth)
            channels.append(shape[0])
        }
        guard !depths.isEmpty, shapes["stages.0.blocks.0.gamma"] != nil else { return nil }
        self.init(depths: depths, channels: channels)
    }
}
