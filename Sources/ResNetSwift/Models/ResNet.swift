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
            x = g.stemPool(g.relu(g.norm(x, "bn1", groups: normGroups), "relu"), self)
        case .deep:
            x = g.stemPool(g.relu(g.norm(g.deepStem(x, self), "bn1", groups: normGroups), "relu"), self)
        case .cifar:
            x = g.conv(x, "conv1", stemChannels, kernel: 3, padding: 1)
            x = g.relu(g.norm(x, "bn1", groups: normGroups), "relu")
        }
        for stage in 0..<4 {
            let name = "layer\(stage + 1)"
            g.container(name, "Sequential")
            for index in 0..<nBlocks[stage] {
                let stride = stage > 0 && index == 0 ? 2 : 1
                x =
                    switch block {
                    case .basic:
                        g.basicBlock(x, "\(name).\(index)", channels: channels[stage], stride: stride, of: self)
                    case .bottleneck:
                        g.bottleneck(x, "\(name).\(index)", channels: channels[stage], stride: stride, of: self)
                    }
            }
        }
        return head.write(&g, x)
    }
}

extension GraphBuilder {
    /// Three 3x3 convolutions, the first of stride 2, with batch norm and ReLU between: `conv1.0` to `conv1.6`.
    mutating func deepStem(_ x: Node, _ config: ResNetConfig) -> Node {
        container("conv1", "Sequential")
        var y = x
        for (index, width) in config.stemWidths.enumerated() {
            y = conv(y, "conv1.\(3 * index)", width, kernel: 3, stride: index == 0 ? 2 : 1, padding: 1)
            guard index < config.stemWidths.count - 1 else { break }
            let normed = norm(y, "conv1.\(3 * index + 1)", groups: config.normGroups)
            y = relu(normed, "conv1.\(3 * index + 2)")
        }
        return y
    }

    /// What makes the stem's map smaller.
    mutating func stemPool(_ x: Node, _ config: ResNetConfig) -> Node {
        if config.convolvesInPlaceOfPool {
            container("maxpool", "Sequential")
            let y = conv(x, "maxpool.0", channelCount(of: x), kernel: 3, stride: 2, padding: 1)
            return relu(norm(y, "maxpool.1", groups: config.normGroups), "maxpool.2")
        }
        switch config.smoothing {
        case .average?: return averagePool(x, "maxpool", kernel: 2, stride: 2)
        case .blur?:
            container("maxpool", "Sequential")
            return blurPool(maxPool(x, "maxpool.0", kernel: 3, stride: 1, padding: 1), "maxpool.1", stride: 2)
        case nil: return maxPool(x, "maxpool", kernel: 3, stride: 2, padding: 1)
        }
    }

    /// A 3x3 convolution with the stride, batch norm and ReLU; or one of stride 1 and the smoothing that follows it.
    private mutating func stridden(
        _ x: Node, _ name: String, _ number: Int, _ channels: Int, stride: Size2, groups: Int = 1,
        _ config: ResNetConfig
    ) -> Node {
        let smoothing = stride == 1 ? nil : config.smoothing
        var y = conv(
            x, "\(name).conv\(number)", channels, kernel: 3, stride: smoothing == nil ? stride : 1, padding: 1,
            groups: groups)
        y = relu(norm(y, "\(name).bn\(number)", groups: config.normGroups), "\(name).relu")
        switch smoothing {
        case .average?: return averagePool(y, "\(name).aa", kernel: stride, stride: stride)
        case .blur?: return blurPool(y, "\(name).aa", stride: stride.height)
        case nil: return y
        }
    }

    /// Each channel scaled by what the attention makes of all channels' means.
    private mutating func attended(_ x: Node, _ name: String, _ attention: ResNetConfig.Attention?) -> Node {
        let channels = channelCount(of: x)
        let factors: Node
        switch attention {
        case nil: return x
        case .squeeze(let reduction)?:
            let width = ResNetConfig.Attention.squeezed(channels, by: reduction)
            let mean = globalAveragePool(x, "\(name).mean")
            let y = relu(conv(mean, "\(name).fc1", width, kernel: 1, bias: true), "\(name).act")
            factors = conv(y, "\(name).fc2", channels, kernel: 1, bias: true)
        case .efficient?:
            let mean = globalAveragePool(x, "\(name).mean")
            factors = channelConv(mean, "\(name).conv", kernel: ResNetConfig.Attention.taps(for: channels))
        }
        return gate(x, by: sigmoid(factors, "\(name).gate"), "\(name).mul")
    }

    /// Two 3x3 convolutions, the first with the stride.
    public mutating func basicBlock(_ x: Node, _ name: String, channels: Int, stride: Int) -> Node {
        basicBlock(x, name, channels: channels, stride: stride, of: .resnet18)
    }

    mutating func basicBlock(_ x: Node, _ name: String, channels: Int, stride: Int, of config: ResNetConfig) -> Node {
        container(name, "BasicBlock")
        let s = Size2(stride, stride)
        var y = stridden(x, name, 1, channels, stride: s, config)
        y = conv(y, "\(name).conv2", channels, kernel: 3, padding: 1)
        y = attended(norm(y, "\(name).bn2", groups: config.normGroups), "\(name).se", config.attention)
        let skip = shortcut(x, name, channels, s, config)
        return relu(add(y, skip, "\(name).add"), "\(name).relu")
    }

    /// 1x1 to the width, 3x3 with the stride and the groups, 1x1 to four times the channels. The first ResNets have the stride
    /// in the first 1x1.
    public mutating func bottleneck(
        _ x: Node, _ name: String, channels: Int, stride: Int, groups: Int = 1, widthPerGroup: Int = 64,
        stridesInFirstConvolution: Bool = false
    ) -> Node {
        let config = ResNetConfig(.bottleneck, [1, 1, 1, 1], groups, widthPerGroup)
            .with { $0.stridesInFirstConvolution = stridesInFirstConvolution }
        return bottleneck(x, name, channels: channels, stride: stride, of: config)
    }

    mutating func bottleneck(_ x: Node, _ name: String, channels: Int, stride: Int, of config: ResNetConfig) -> Node {
        container(name, "Bottleneck", children: ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "relu", "downsample"])
        let s = Size2(stride, stride)
        let width = channels * config.widthPerGroup / 64 * config.groups
        let wide = channels * ResNetConfig.Block.bottleneck.expansion
        let (first, second): (Size2, Size2) = config.stridesInFirstConvolution ? (s, 1) : (1, s)
        var y = conv(x, "\(name).conv1", width, kernel: 1, stride: first)
        y = relu(norm(y, "\(name).bn1", groups: config.normGroups), "\(name).relu")
        y = stridden(y, name, 2, width, stride: second, groups: config.groups, config)
        y = norm(conv(y, "\(name).conv3", wide, kernel: 1), "\(name).bn3", groups: config.normGroups)
        y = attended(y, "\(name).se", config.attention)
        let skip = shortcut(x, name, wide, s, config)
        return relu(add(y, skip, "\(name).add"), "\(name).relu")
    }

    /// The identity, or a projection where the shape changes: 1x1 with the stride, or an average of 2x2 and 1x1.
    private mutating func shortcut(
        _ x: Node, _ name: String, _ channels: Int, _ stride: Size2, _ config: ResNetConfig
    ) -> Node {
        guard stride != 1 || channelCount(of: x) != channels else { return x }
        container("\(name).downsample", "Sequential")
        if config.averagesShortcuts {
            let window = "\(name).downsample.0"
            let small = stride == 1 ? x : averagePool(x, window, kernel: 2, stride: stride, ceilMode: true)
            let y = conv(small, "\(name).downsample.1", channels, kernel: 1)
            return norm(y, "\(name).downsample.2", groups: config.normGroups)
        }
        let y = conv(x, "\(name).downsample.0", channels, kernel: 1, stride: stride)
        return norm(y, "\(name).downsample.1", groups: config.normGroups)
    }
}
