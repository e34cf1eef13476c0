// GoogLeNet (inception v1), plain: every convolution has a bias and a ReLU; no local response normalization, no auxiliary
// classifiers.
//
//     inception:  x -+- 1x1 ----------------+- concat
//                    +- 1x1 - 3x3 ----------+
//                    +- 1x1 - 5x5 ----------+
//                    +- 3x3/1 max pool - 1x1 +
//
// Source: Szegedy et al., arXiv:1409.4842, table 1. Pools round their size up, as in the authors' Caffe. Module names
// follow torchvision's.

import ResNetGraph

/// GoogLeNet (Szegedy et al., 2014) without its auxiliary classifiers.
public enum GoogLeNet {
    /// The columns of table 1: channels of 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
    private static let stages: [(name: String, modules: [(String, [Int])])] = [
        ("3", [("a", [64, 96, 128, 16, 32, 32]), ("b", [128, 128, 192, 32, 96, 64])]),
        (
            "4",
            [
                ("a", [192, 96, 208, 16, 48, 64]), ("b", [160, 112, 224, 24, 64, 64]),
                ("c", [128, 128, 256, 24, 64, 64]), ("d", [112, 144, 288, 32, 64, 64]),
                ("e", [256, 160, 320, 32, 128, 128]),
            ]
        ),
        ("5", [("a", [256, 160, 320, 32, 128, 128]), ("b", [384, 192, 384, 48, 128, 128])]),
    ]

    /// The network.
    /// - Parameters:
    ///   - classes: width of the logits.
    ///   - inputChannels: of the pictures.
    ///   - sigmoid: ends in a sigmoid of the logits, for one class or several independent ones.
    /// - Precondition: at least one class and one input channel.
    public static func graph(classes: Int = 1, inputChannels: Int = 3, sigmoid: Bool = true) -> Graph {
        precondition(classes > 0, "a classifier has at least one class, not \(classes)")
        var g = GraphBuilder("GoogLeNet")
        var x = g.input(channels: inputChannels)
        x = g.convReLU(x, "conv1", 64, kernel: 7, stride: 2)
        x = g.maxPool(x, "maxpool1", kernel: 3, stride: 2, ceilMode: true)
        x = g.convReLU(x, "conv2", 64, kernel: 1)
        x = g.convReLU(x, "conv3", 192, kernel: 3)
        x = g.maxPool(x, "maxpool2", kernel: 3, stride: 2, ceilMode: true)
        for stage in stages {
            for (letter, channels) in stage.modules { x = g.inception(x, "inception\(stage.name)\(letter)", channels) }
            if stage.name != "5" { x = g.maxPool(x, "maxpool\(stage.name)", kernel: 3, stride: 2, ceilMode: true) }
        }
        let h = g.flatten(g.globalAveragePool(x, "avgpool"))
        let logits = g.linear(g.dropout(h, "dropout", 0.4), "fc", classes)
        return g.finish(
            logits: logits, features: h, probabilities: sigmoid ? g.sigmoid(logits, "sigmoid") : nil)
    }
}

extension GraphBuilder {
    /// An inception module: four branches side by side, joined along the channels.
    /// - Parameters:
    ///   - x: a map (N, C, H, W).
    ///   - name: the module path; the branches are `name.branch1` to `name.branch4`.
    ///   - c: channels of 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
    public mutating func inception(_ x: Node, _ name: String, _ c: [Int]) -> Node {
        container(name, "Inception")
        let one = convReLU(x, "\(name).branch1", c[0], kernel: 1)
        container("\(name).branch2", "Sequential")
        let three = convReLU(convReLU(x, "\(name).branch2.0", c[1], kernel: 1), "\(name).branch2.1", c[2], kernel: 3)
        container("\(name).branch3", "Sequential")
        let five = convReLU(convReLU(x, "\(name).branch3.0", c[3], kernel: 1), "\(name).branch3.1", c[4], kernel: 5)
        container("\(name).branch4", "Sequential")
        let pooled = maxPool(x, "\(name).branch4.0", kernel: 3, stride: 1, padding: 1)
        return concat([one, three, five, convReLU(pooled, "\(name).branch4.1", c[5], kernel: 1)], "\(name).concat")
    }

    /// A convolution with bias, padded to keep the size at stride 1, and ReLU.
    public mutating func convReLU(
        _ x: Node, _ name: String, _ channels: Int, kernel: Int, stride: Int = 1
    ) -> Node {
        container(name, "ConvReLU")
        let y = conv(
            x, "\(name).conv", channels, kernel: Size2(kernel, kernel), stride: Size2(stride, stride),
            padding: Size2(kernel / 2, kernel / 2), bias: true)
        return relu(y, "\(name).relu")
    }
}
