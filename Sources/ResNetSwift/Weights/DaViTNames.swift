// A DaViT in a file, by the names of timm and of its authors:
//
//     timm      stem.conv.weight   stages.2.downsample.conv.weight   stages.2.blocks.1.0.attn.qkv.weight   head.norm  head.fc
//     authors   patch_embeds.0.proj   patch_embeds.2.proj            main_blocks.2.1.0.attn.qkv            norms      head
//
// The model's names are timm's. Shapes tell depths and channels; windows are in no file, and the place of the last norm is in
// its name: `head.norm` after the pool, `norm_pre` before it.

import ResNetGraph
import ResNetModels

enum DaViTNames {
    static let sign = "stages.0.blocks.0.0.cpe1.proj.weight"
    static let authorsSign = "main_blocks.0.0.0.cpe.0.proj.weight"

    /// The model's name of what the authors call `key`.
    static func name(ofAuthors key: Substring) -> String {
        var parts = key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        switch parts[0] {
        case "patch_embeds" where parts.count > 2:
            if let position = parts.firstIndex(of: "proj") { parts[position] = "conv" }
            parts.replaceSubrange(0..<2, with: parts[1] == "0" ? ["stem"] : ["stages", parts[1], "downsample"])
        case "main_blocks" where parts.count > 4:
            parts.replaceSubrange(0..<2, with: ["stages", parts[1], "blocks"])
            if let position = parts.firstIndex(of: "cpe"),
                let number = parts.dropFirst(position + 1).first.flatMap({ Int($0) }), 0..<64 ~= number
            {
                parts.replaceSubrange(position...position + 1, with: ["cpe\(number + 1)"])
            }
        case "norms": parts.replaceSubrange(0..<1, with: ["head", "norm"])
        case "head": parts.replaceSubrange(0..<1, with: ["head", "fc"])
        default: break
        }
        return parts.joined(separator: ".")
    }
}

extension DaViTConfig {
    /// What the shapes show; nil for what is no DaViT of this structure.
    init?(_ entries: [WeightEntry]) {
        let shapes = entries.networkShapes
        guard shapes[DaViTNames.sign] != nil, shapes["stages.3.blocks.0.1.attn.qkv.weight"] != nil else { return nil }
        var (depths, channels) = ([Int](), [Int]())
        for stage in 0..<4 {
            guard let qkv = shapes["stages.\(stage).blocks.0.0.attn.qkv.weight"], qkv.count == 2, qkv[1] > 0,
                qkv[1] % 32 == 0, qkv[1] <= 1 << 16
            else { return nil }
            var depth = 1
            while depth < 1_000, shapes["stages.\(stage).blocks.\(depth).0.attn.qkv.weight"] != nil { depth += 1 }
            depths.append(depth)
            channels.append(qkv[1])
        }
        self.init(depths: depths, channels: channels)
        normalizesMap = shapes["norm_pre.weight"] != nil
    }

    /// The published model of these sizes.
    var publishedName: ModelName? {
        [ModelName.davit_tiny, .davit_small, .davit_base].first {
            let known = $0.daViT($0.defaultInputSize)
            return known?.depths == depths && known?.channels == channels
        }
    }
}
