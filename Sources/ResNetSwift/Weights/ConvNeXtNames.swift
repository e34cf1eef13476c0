// A ConvNeXt in a file, by timm's names; shapes tell depths and channels. ConvNeXt V2 has no `gamma`, and is not read.

import ResNetGraph
import ResNetModels

extension ConvNeXtConfig {
    /// A name that only these networks have.
    static let sign = "stages.0.blocks.0.conv_dw.weight"

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
