// Pre-activation ResNets (He et al., arXiv:1603.05027) as timm has them: batch norm and ReLU stand before each convolution, and
// nothing follows the addition.
//
//     x - norm1 - ReLU - 3x3/s - norm2 - ReLU - 3x3 - + -         bottleneck: 1x1 - norm2 - 3x3/s - norm3 - 1x1
//      \           \---- 1x1/s, or x --------------/
//
// BiT (Kolesnikov et al., arXiv:1912.11370) has group norms and standardized filters, and its pool sees a frame of zeros. The
// projection reads the activated value. Names are timm's: stem.conv, stages.S.blocks.B.conv1, norm; the classifier is fc.
// Source: timm/models/resnetv2.py, https://github.com/huggingface/pytorch-image-models

import ResNetGraph

/// Which pre-activation ResNet.
struct ResNetV2Config: Sendable, Hashable {
    let block: ResNetConfig.Block
    let nBlocks: [Int]
    /// Channels of the stem's convolutions, of which a deep stem has three.
    var stemWidths = [64]
    /// A shortcut that halves the picture averages 2x2 pixels before its 1x1 convolution.
    var averagesShortcuts = false
    /// Groups of the group norms in place of all batch norms; nil: batch norms.
    var normGroups: Int?
    /// Of all channels; 1 but in BiT.
    var widthFactor = 1
    /// BiT: filters are standardized, and the stem's pool sees a frame of zeros.
    var isBiT = false

    func graph(head: Head, inputChannels: Int) -> Graph {
        var g = GraphBuilder("ResNetV2")
        var x = g.input(channels: inputChannels)
        g.container("stem", "Sequential")
        if stemWidths.count == 1 {
            x = g.conv(
                x, "stem.conv", stemWidths[0] * widthFactor, kernel: 7, stride: 2, padding: 3, isStandardized: isBiT)
        } else {
            for (index, width) in stemWidths.enumerated() {
                x = g.conv(x, "stem.conv\(index + 1)", width, kernel: 3, stride: index == 0 ? 2 : 1, padding: 1)
                if index < stemWidths.count - 1 { x = g.normalized(x, "stem.norm\(index + 1)", self) }
            }
        }
        if isBiT { x = g.pad(x, "stem.pad", PadSpec(top: 1, left: 1, bottom: 1, right: 1)) }
        x = g.maxPool(x, "stem.pool", kernel: 3, stride: 2, padding: isBiT ? 0 : 1)
        for (stage, channels) in [64, 128, 256, 512].enumerated() {
            g.container("stages.\(stage)", "ResNetStage")
            for index in 0..<nBlocks[stage] {
                let stride = stage > 0 && index == 0 ? 2 : 1
                x = g.preActivated(
                    x, "stages.\(stage).blocks.\(index)", channels: channels * widthFactor,
                    stride: Size2(stride, stride),
                    of: self,
                    isFirst: index == 0)
            }
        }
        return head.write(&g, g.normalized(x, "norm", self))
    }
}

extension GraphBuilder {
    /// A norm, then ReLU.
    fileprivate mutating func normalized(_ x: Node, _ name: String, _ config: ResNetV2Config) -> Node {
        relu(norm(x, name, groups: config.normGroups), "\(name).act")
    }

    fileprivate mutating func preActivated(
        _ x: Node, _ name: String, channels: Int, stride: Size2, of config: ResNetV2Config, isFirst: Bool
    ) -> Node {
        let isBasic = config.block == .basic
        let out = channels * config.block.expansion
        container(name, isBasic ? "PreActBasic" : "PreActBottleneck")
        let pre = normalized(x, "\(name).norm1", config)
        var skip = x
        // A bottleneck's first block has a projection even where nothing changes.
        if isBasic ? stride != 1 || channelCount(of: x) != out : isFirst {
            var source = pre
            if config.averagesShortcuts, stride != 1 {
                source = averagePool(pre, "\(name).downsample.pool", kernel: 2, stride: stride, ceilMode: true)
            }
            skip = conv(
                source, "\(name).downsample.conv", out, kernel: 1, stride: config.averagesShortcuts ? 1 : stride,
                isStandardized: config.isBiT)
        }
        var y: Node
        if isBasic {
            y = conv(pre, "\(name).conv1", channels, kernel: 3, stride: stride, padding: 1)
            y = conv(normalized(y, "\(name).norm2", config), "\(name).conv2", channels, kernel: 3, padding: 1)
        } else {
            y = conv(pre, "\(name).conv1", channels, kernel: 1, isStandardized: config.isBiT)
            y = conv(
                normalized(y, "\(name).norm2", config), "\(name).conv2", channels, kernel: 3, stride: stride,
                padding: 1, isStandardized: config.isBiT)
            y = conv(
                normalized(y, "\(name).norm3", config), "\(name).conv3", out, kernel: 1,
                isStandardized: config.isBiT)
        }
        return add(y, skip, "\(name).add")
    }
}

extension ModelName {
    /// The configuration of a pre-activation ResNet; nil for all others.
    var resNetV2: ResNetV2Config? {
        switch self {
        case .resnetv2_18: ResNetV2Config(block: .basic, nBlocks: [2, 2, 2, 2])
        case .resnetv2_18d: ResNetV2Config(block: .basic, nBlocks: [2, 2, 2, 2]).d
        case .resnetv2_34: ResNetV2Config(block: .basic, nBlocks: [3, 4, 6, 3])
        case .resnetv2_34d: ResNetV2Config(block: .basic, nBlocks: [3, 4, 6, 3]).d
        case .resnetv2_50: ResNetV2Config(block: .bottleneck, nBlocks: [3, 4, 6, 3])
        case .resnetv2_50d: ResNetV2Config(block: .bottleneck, nBlocks: [3, 4, 6, 3]).d
        case .resnetv2_50t: ResNetV2Config(block: .bottleneck, nBlocks: [3, 4, 6, 3]).t
        case .resnetv2_101: ResNetV2Config(block: .bottleneck, nBlocks: [3, 4, 23, 3])
        case .resnetv2_101d: ResNetV2Config(block: .bottleneck, nBlocks: [3, 4, 23, 3]).d
        case .resnetv2_152: ResNetV2Config(block: .bottleneck, nBlocks: [3, 8, 36, 3])
        case .resnetv2_152d: ResNetV2Config(block: .bottleneck, nBlocks: [3, 8, 36, 3]).d
        case .resnetv2_50d_gn: ResNetV2Config(block: .bottleneck, nBlocks: [3, 4, 6, 3], normGroups: 32).d
        case .resnetv2_50x1_bit: .biT([3, 4, 6, 3], width: 1)
        case .resnetv2_50x3_bit: .biT([3, 4, 6, 3], width: 3)
        case .resnetv2_101x1_bit: .biT([3, 4, 23, 3], width: 1)
        case .resnetv2_101x3_bit: .biT([3, 4, 23, 3], width: 3)
        case .resnetv2_152x2_bit: .biT([3, 8, 36, 3], width: 2)
        case .resnetv2_152x4_bit: .biT([3, 8, 36, 3], width: 4)
        default: nil
        }
    }

    /// True for pre-activation ResNets.
    package var isPreActivated: Bool { resNetV2 != nil }
}

extension ResNetV2Config {
    fileprivate var d: ResNetV2Config { deep([32, 32, 64]) }
    fileprivate var t: ResNetV2Config { deep([24, 32, 64]) }

    private func deep(_ widths: [Int]) -> ResNetV2Config {
        var config = self
        config.stemWidths = widths
        config.averagesShortcuts = true
        return config
    }

    fileprivate static func biT(_ nBlocks: [Int], width: Int) -> ResNetV2Config {
        ResNetV2Config(block: .bottleneck, nBlocks: nBlocks, normGroups: 32, widthFactor: width, isBiT: true)
    }
}
