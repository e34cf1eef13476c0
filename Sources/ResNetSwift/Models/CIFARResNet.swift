// ResNets for small pictures (CIFAR-10, 32x32): 6n+2 layers in three stages of n blocks.
//
//     picture - 3x3 conv - BN - ReLU - layer1 - layer2 - layer3 - mean - h - Linear - logits
//                   16                   16       32/2     64/2    64
//
// Source: He et al., arXiv:1512.03385, section 4.2, with projection shortcuts (option B) where the shape changes.

import ResNetGraph

/// A ResNet for small pictures: a 3x3 convolution, three stages of basic blocks, mean, linear.
public struct CIFARResNetConfig: Sendable, Hashable {
    /// Blocks of the three stages.
    public let nBlocks: [Int]
    /// Channels of the three stages.
    public let channels: [Int]

    /// Stages of these depths and widths.
    /// - Throws: `ModelError.configuration` unless there are three stages of at least one block and one channel.
    public init(nBlocks: [Int], channels: [Int] = [16, 32, 64]) throws(ModelError) {
        func check(_ field: String, _ values: [Int]) throws(ModelError) {
            guard values.count == 3, values.allSatisfy({ 1...10_000 ~= $0 }) else {
                throw .configuration(
                    model: "CIFAR ResNet", field: field, expected: "3 numbers of 1 to 10000", found: "\(values)")
            }
        }
        try check("nBlocks", nBlocks)
        try check("channels", channels)
        self.nBlocks = nBlocks
        self.channels = channels
    }

    private init(n: Int) {
        nBlocks = [n, n, n]
        channels = [16, 32, 64]
    }

    /// 1 block a stage.
    public static let resnet8 = CIFARResNetConfig(n: 1)
    /// 2 blocks a stage.
    public static let resnet14 = CIFARResNetConfig(n: 2)
    /// 3 blocks a stage.
    public static let resnet20 = CIFARResNetConfig(n: 3)
    /// 5 blocks a stage.
    public static let resnet32 = CIFARResNetConfig(n: 5)
    /// 7 blocks a stage.
    public static let resnet44 = CIFARResNetConfig(n: 7)
    /// 9 blocks a stage.
    public static let resnet56 = CIFARResNetConfig(n: 9)
    /// 18 blocks a stage.
    public static let resnet110 = CIFARResNetConfig(n: 18)

    /// The network.
    /// - Precondition: at least one class and one input channel.
    public func graph(classes: Int = 10, inputChannels: Int = 3) -> Graph {
        precondition(classes > 0, "a classifier has at least one class, not \(classes)")
        return graph(head: .linear(classes: classes), inputChannels: inputChannels)
    }

    /// The network with another head, or with none.
    /// - Precondition: at least one input channel.
    package func graph(head: Head, inputChannels: Int = 3) -> Graph {
        var g = GraphBuilder("CIFARResNet")
        var x = g.input(channels: inputChannels)
        x = g.conv(x, "conv1", channels[0], kernel: 3, padding: 1)
        x = g.relu(g.batchNorm(x, "bn1"), "relu")
        for stage in 0..<3 {
            let name = "layer\(stage + 1)"
            g.container(name, "Sequential")
            for index in 0..<nBlocks[stage] {
                let stride = stage > 0 && index == 0 ? 2 : 1
                x = g.basicBlock(x, "\(name).\(index)", channels: channels[stage], stride: stride)
            }
        }
        return head.write(&g, x)
    }
}
