// DaViT, dual attention vision transformers (Ding et al., arXiv:2204.03645): blocks that attend to pixels within windows
// alternate with blocks that attend to channels over the whole map. Everything between is a linear layer for each pixel, a
// layer norm or a depthwise convolution, so the picture stays a map from stem to pool.
//
//     stem        conv 7x7/4, norm                                                56x56 at 224
//     stage i     [norm, pad to even, conv 2x2/2], then pairs of a spatial and a channel block
//     block       x + conv 3x3 of each channel
//                 x + proj(attention(qkv(norm x)))        spatial: the normed map is padded to whole windows, and cropped after
//                 x + conv 3x3 of each channel
//                 x + fc2(GELU(fc1(norm x)))
//     head        pool, norm, dropout, fc                 or norm, pool, dropout, fc
//
// Names are timm's. Source: timm/models/davit.py, read and not copied.

import ResNetGraph

/// The sizes of a DaViT.
public struct DaViTConfig: Sendable, Hashable {
    /// Pairs of a spatial and a channel block, by stage.
    public var depths: [Int]
    /// By stage; the heads have 32 channels each.
    public var channels: [Int]
    /// Of the spatial blocks, in pixels of their stage's map.
    public var window: Size2 = 7
    /// The last norm comes before the pool, as in keras_cv_attention_models; otherwise after it, as its authors have it.
    public var normalizesMap = false
    /// Before the last linear layer.
    public var dropout = 0.0
    /// Of the residual branches of the last pair; those before have less, down to 0 in the first.
    public var dropPath = 0.0

    /// - Precondition: four stages of at least one pair, of channels in heads of 32.
    public init(depths: [Int], channels: [Int]) {
        precondition(depths.count == 4 && channels.count == 4, "a DaViT has four stages")
        precondition(depths.allSatisfy { $0 > 0 }, "each stage has a pair of blocks, not \(depths)")
        precondition(channels.allSatisfy { $0 > 0 && $0 % 32 == 0 }, "heads have 32 channels: \(channels)")
        self.depths = depths
        self.channels = channels
    }

    /// 28.4 million parameters with 1000 classes.
    public static let tiny = DaViTConfig(depths: [1, 1, 3, 1], channels: [96, 192, 384, 768])
    /// 49.7 million.
    public static let small = DaViTConfig(depths: [1, 1, 9, 1], channels: [96, 192, 384, 768])
    /// 88.0 million.
    public static let base = DaViTConfig(depths: [1, 1, 9, 1], channels: [128, 256, 512, 1024])

    /// As keras_cv_attention_models builds it for pictures of this size: windows of a 32nd of them, and the last norm before
    /// the pool. The weights are of the same shapes for every size.
    public func asInKeras(input: Size2) -> DaViTConfig {
        var config = self
        config.window = Size2((input.height + 31) / 32, (input.width + 31) / 32)
        config.normalizesMap = true
        return config
    }

    /// The network.
    /// - Precondition: at least one class and one input channel.
    public func graph(classes: Int = 1000, inputChannels: Int = 3) -> Graph {
        precondition(classes > 0, "a classifier has at least one class, not \(classes)")
        var g = GraphBuilder("DaViT")
        var x = g.input(channels: inputChannels)
        g.container("stem", "Stem")
        x = g.conv(x, "stem.conv", channels[0], kernel: 7, stride: 4, padding: 3, bias: true)
        x = g.layerNorm(x, "stem.norm")
        var pair = 0
        let pairs = depths.reduce(0, +)
        for (index, depth) in depths.enumerated() {
            let stage = "stages.\(index)"
            g.container(stage, "DaViTStage")
            if index > 0 { x = g.downsample(x, "\(stage).downsample", channels[index]) }
            for number in 0..<depth {
                let rate = pairs > 1 ? dropPath * Double(pair) / Double(pairs - 1) : dropPath
                for (kind, window) in [("SpatialBlock", Optional(window)), ("ChannelBlock", nil)] {
                    let name = "\(stage).blocks.\(number).\(window == nil ? 1 : 0)"
                    g.container(name, kind)
                    x = g.attentionBlock(x, name, window: window, dropPath: rate)
                }
                pair += 1
            }
        }
        return writeHead(&g, x, classes)
    }

    private func writeHead(_ g: inout GraphBuilder, _ last: Node, _ classes: Int) -> Graph {
        var x = last
        if normalizesMap { x = g.layerNorm(x, "norm_pre") }
        g.container("head", "Head")
        x = g.globalAveragePool(x, "head.global_pool")
        if !normalizesMap { x = g.layerNorm(x, "head.norm") }
        let h = g.flatten(x)
        let logits = g.linear(g.dropout(h, "head.drop", dropout), "head.fc", classes)
        return g.finish(
            logits: logits, features: h, probabilities: classes == 1 ? g.sigmoid(logits, "sigmoid") : nil)
    }
}

extension GraphBuilder {
    /// Half the size, rounded up, and other channels: the norm comes first, then zeros where a side is odd.
    fileprivate mutating func downsample(_ x: Node, _ name: String, _ channels: Int) -> Node {
        container(name, "Downsample")
        let normed = layerNorm(x, "\(name).norm")
        let padded = padToMultiple(normed, of: 2, "\(name).pad")
        return conv(padded, "\(name).conv", channels, kernel: 2, stride: 2, bias: true)
    }

    /// A spatial block, or a channel block where there is no window.
    fileprivate mutating func attentionBlock(_ block: Node, _ name: String, window: Size2?, dropPath rate: Double)
        -> Node
    {
        let channels = channelCount(of: block)
        var x = positions(block, "\(name).cpe1")
        let normed = layerNorm(x, "\(name).norm1")
        container("\(name).attn", window == nil ? "ChannelAttention" : "WindowAttention")
        var y = normed
        if let window { y = padToMultiple(y, of: window, "\(name).pad") }
        y = pixelLinear(y, "\(name).attn.qkv", 3 * channels)
        if let window {
            y = windowAttention(y, "\(name).attention", heads: channels / 32, window: window)
            y = crop(y, like: normed, "\(name).crop")
        } else {
            y = channelAttention(y, "\(name).attention", heads: channels / 32)
        }
        y = pixelLinear(y, "\(name).attn.proj", channels)
        x = add(rate > 0 ? dropPath(y, "\(name).drop_path1", rate) : y, x, "\(name).add")
        x = positions(x, "\(name).cpe2")
        y = layerNorm(x, "\(name).norm2")
        container("\(name).mlp", "Mlp")
        y = mlp(y, "\(name).mlp")
        return add(rate > 0 ? dropPath(y, "\(name).drop_path2", rate) : y, x, "\(name).add")
    }

    /// What a depthwise convolution adds tells a pixel where it stands.
    fileprivate mutating func positions(_ x: Node, _ name: String) -> Node {
        container(name, "ConvPosEnc")
        return add(depthwise(x, "\(name).proj", kernel: 3), x, "\(name).add")
    }
}
