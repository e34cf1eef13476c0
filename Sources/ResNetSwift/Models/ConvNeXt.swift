// ConvNeXt (Liu et al., arXiv:2201.03545): a residual network of 7x7 convolutions of each channel and linear layers for each
// pixel.
//
//     stem      conv 4x4/4, norm
//     stage i   [norm, conv 2x2/2], then blocks
//     block     x + gamma fc2(GELU(fc1(norm(conv 7x7 of each channel of x))))
//     head      pool, norm, dropout, fc
//
// Names are timm's. Source: timm/models/convnext.py, read and not copied.

import ResNetGraph

/// The sizes of a ConvNeXt.
public struct ConvNeXtConfig: Sendable, Hashable {
    /// Blocks by stage.
    public var depths: [Int]
    /// By stage.
    public var channels: [Int]
    /// Before the last linear layer.
    public var dropout = 0.0
    /// Of the residual branch of the last block; those before have less, down to 0 in the first.
    public var dropPath = 0.0

    /// - Precondition: as many stages in both, of at least one block and one channel.
    public init(depths: [Int], channels: [Int]) {
        precondition(
            !depths.isEmpty && depths.count == channels.count, "a depth for each stage: \(depths), \(channels)")
        precondition((depths + channels).allSatisfy { $0 > 0 }, "stages of at least one block: \(depths), \(channels)")
        self.depths = depths
        self.channels = channels
    }

    /// 28.6 million parameters with 1000 classes.
    public static let tiny = ConvNeXtConfig(depths: [3, 3, 9, 3], channels: [96, 192, 384, 768])

    /// The network.
    /// - Precondition: at least one class and one input channel.
    public func graph(classes: Int = 1000, inputChannels: Int = 3) -> Graph {
        precondition(classes > 0, "a classifier has at least one class, not \(classes)")
        var g = GraphBuilder("ConvNeXt")
        var x = g.input(channels: inputChannels)
        g.container("stem", "Sequential")
        x = g.conv(x, "stem.0", channels[0], kernel: 4, stride: 4, bias: true)
        x = g.layerNorm(x, "stem.1", eps: 1e-6)
        let last = max(depths.reduce(0, +) - 1, 1)
        var position = 0
        for (index, depth) in depths.enumerated() {
            let stage = "stages.\(index)"
            g.container(stage, "ConvNeXtStage")
            if index > 0 {
                g.container("\(stage).downsample", "Sequential")
                let normed = g.layerNorm(x, "\(stage).downsample.0", eps: 1e-6)
                x = g.conv(normed, "\(stage).downsample.1", channels[index], kernel: 2, stride: 2, bias: true)
            }
            for number in 0..<depth {
                x = g.convNeXtBlock(
                    x, "\(stage).blocks.\(number)", dropPath: dropPath * Double(position) / Double(last))
                position += 1
            }
        }
        g.container("head", "Head")
        let pooled = g.layerNorm(g.globalAveragePool(x, "head.global_pool"), "head.norm", eps: 1e-6)
        let h = g.flatten(pooled)
        let logits = g.linear(g.dropout(h, "head.drop", dropout), "head.fc", classes)
        return g.finish(
            logits: logits, features: h, probabilities: classes == 1 ? g.sigmoid(logits, "sigmoid") : nil)
    }
}

extension GraphBuilder {
    fileprivate mutating func convNeXtBlock(_ x: Node, _ name: String, dropPath rate: Double) -> Node {
        container(name, "ConvNeXtBlock")
        var y = layerNorm(depthwise(x, "\(name).conv_dw", kernel: 7), "\(name).norm", eps: 1e-6)
        container("\(name).mlp", "Mlp")
        y = layerScale(mlp(y, "\(name).mlp"), name)
        return add(rate > 0 ? dropPath(y, "\(name).drop_path", rate) : y, x, "\(name).add")
    }
}
