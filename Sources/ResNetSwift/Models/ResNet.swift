// ResNet-18/34/50/101/152, ResNeXt and wide ResNet, layer for layer and name for name as in torchvision.
//
//     picture - 7x7/2 conv - BN - ReLU - 3x3/2 max pool - layer1 - layer2 - layer3 - layer4 - mean - h - Linear - logits
//                        64 @ 1/2               @ 1/4      64      128/2    256/2    512/2     (times expansion)
//
//     basic:       x - 3x3/s - BN - ReLU - 3x3 - BN - + - ReLU        bottleneck:  x - 1x1 - 3x3/s - 1x1 (x 4) - + - ReLU
//                   \------ 1x1/s - BN, or x -------/                               \---- 1x1/s - BN, or x ------/
//
// The projection stands only where the shape changes. timm's c, d, s and t begin with three 3x3 convolutions instead of the
// 7x7; d and t average 2x2 pixels before the projection instead of striding (He et al., arXiv:1812.01187). Sources: He et al., arXiv:1512.03385; the stride on the 3x3 of a
// bottleneck is ResNet v1.5; ResNeXt, arXiv:1611.05431; wide ResNet, arXiv:1605.07146.

import ResNetGraph

extension ResNetConfig {
    /// The network.
    /// - Precondition: at least one class and one input channel.
    public func graph(classes: Int = 1000, inputChannels: Int = 3) -> Graph {
        precondition(classes > 0, "a classifier has at least one class, not \(classes)")
        return graph(head: .linear(classes: classes), inputChannels: inputChannels)
    }

    /// The network with another head, or with none.
    /// - Precondition: at least one input channel.
    package func graph(head: Head, inputChannels: Int = 3) -> Graph {
        var g = GraphBuilder("ResNet")
        var x = g.input(channels: inputChannels)
        switch stem {
        case .imageNet:
            x = g.conv(x, "conv1", stemChannels, kernel: 7, stride: 2, padding: 3)
            x = g.relu(g.batchNorm(x, "bn1"), "relu")
            x = g.maxPool(x, "maxpool", kernel: 3, stride: 2, padding: 1)
        case .deep:
            x = g.relu(g.batchNorm(g.deepStem(x, stemWidths), "bn1"), "relu")
            x = g.maxPool(x, "maxpool", kernel: 3, stride: 2, padding: 1)
        case .cifar:
            x = g.conv(x, "conv1", stemChannels, kernel: 3, padding: 1)
            x = g.relu(g.batchNorm(x, "bn1"), "relu")
        }
        for stage in 0..<4 {
            let name = "layer\(stage + 1)"
            g.container(name, "Sequential")
            for index in 0..<nBlocks[stage] {
                let stride = stage > 0 && index == 0 ? 2 : 1
                x =
                    switch block {
                    case .basic:
                        g.basicBlock(
                            x, "\(name).\(index)", channels: channels[stage], stride: stride,
                            averagesShortcut: averagesShortcuts)
                    case .bottleneck:
                        g.bottleneck(
                            x, "\(name).\(index)", channels: channels[stage], stride: stride, groups: groups,
                            widthPerGroup: widthPerGroup, stridesInFirstConvolution: stridesInFirstConvolution,
                            averagesShortcut: averagesShortcuts)
                    }
            }
        }
        return head.write(&g, x)
    }
}

extension GraphBuilder {
    /// Three 3x3 convolutions, the first of stride 2, with batch norm and ReLU between: `conv1.0` to `conv1.6`.
    mutating func deepStem(_ x: Node, _ widths: [Int]) -> Node {
        container("conv1", "Sequential")
        var y = x
        for (index, width) in widths.enumerated() {
            y = conv(y, "conv1.\(3 * index)", width, kernel: 3, stride: index == 0 ? 2 : 1, padding: 1)
            guard index < widths.count - 1 else { break }
            y = relu(batchNorm(y, "conv1.\(3 * index + 1)"), "conv1.\(3 * index + 2)")
        }
        return y
    }

    /// Two 3x3 convolutions, the first with the stride.
    public mutating func basicBlock(
        _ x: Node, _ name: String, channels: Int, stride: Int, averagesShortcut: Bool = false
    ) -> Node {
        container(name, "BasicBlock")
        let s = Size2(stride, stride)
        var y = conv(x, "\(name).conv1", channels, kernel: 3, stride: s, padding: 1)
        y = relu(batchNorm(y, "\(name).bn1"), "\(name).relu")
        y = conv(y, "\(name).conv2", channels, kernel: 3, padding: 1)
        y = batchNorm(y, "\(name).bn2")
        let skip = shortcut(x, name, channels, s, averages: averagesShortcut)
        return relu(add(y, skip, "\(name).add"), "\(name).relu")
    }

    /// 1x1 to the width, 3x3 with the stride and the groups, 1x1 to four times the channels. The first ResNets have the stride
    /// in the first 1x1.
    public mutating func bottleneck(
        _ x: Node, _ name: String, channels: Int, stride: Int, groups: Int = 1, widthPerGroup: Int = 64,
        stridesInFirstConvolution: Bool = false, averagesShortcut: Bool = false
    ) -> Node {
        container(name, "Bottleneck", children: ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "relu", "downsample"])
        let s = Size2(stride, stride)
        let width = channels * widthPerGroup / 64 * groups
        let wide = channels * ResNetConfig.Block.bottleneck.expansion
        let (first, second): (Size2, Size2) = stridesInFirstConvolution ? (s, 1) : (1, s)
        var y = conv(x, "\(name).conv1", width, kernel: 1, stride: first)
        y = relu(batchNorm(y, "\(name).bn1"), "\(name).relu")
        y = conv(y, "\(name).conv2", width, kernel: 3, stride: second, padding: 1, groups: groups)
        y = relu(batchNorm(y, "\(name).bn2"), "\(name).relu")
        y = batchNorm(conv(y, "\(name).conv3", wide, kernel: 1), "\(name).bn3")
        let skip = shortcut(x, name, wide, s, averages: averagesShortcut)
        return relu(add(y, skip, "\(name).add"), "\(name).relu")
    }

    /// The identity, or a projection where the shape changes: 1x1 with the stride, or an average of 2x2 and 1x1.
    private mutating func shortcut(
        _ x: Node, _ name: String, _ channels: Int, _ stride: Size2, averages: Bool
    ) -> Node {
        guard stride != 1 || channelCount(of: x) != channels else { return x }
        container("\(name).downsample", "Sequential")
        if averages {
            let window = "\(name).downsample.0"
            let small = stride == 1 ? x : averagePool(x, window, kernel: 2, stride: stride, ceilMode: true)
            return batchNorm(conv(small, "\(name).downsample.1", channels, kernel: 1), "\(name).downsample.2")
        }
        let y = conv(x, "\(name).downsample.0", channels, kernel: 1, stride: stride)
        return batchNorm(y, "\(name).downsample.1")
    }
}
