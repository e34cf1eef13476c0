// Which network a weight file is of, from names and shapes alone:
//
//     layerS.B.conv3 there?          bottleneck, otherwise basic block
//     number of B per S              blocks per stage, hence the depth
//     layer1.0.conv1 (width, ...)    width of the bottleneck; conv2 (width, width / groups, 3, 3) its groups
//     conv1 (C, input, k, k)         k = 7: ImageNet stem; k = 3: CIFAR stem; input channels
//     conv1.0, conv1.3, conv1.6      a deep stem: timm's c, d, s and t
//     downsample.1 (out, in, 1, 1)   averaged shortcuts: timm's d and t
//     se.fc1, se.conv                squeeze and excitation, efficient channel attention
//     maxpool.0                      a convolution in place of the stem's pool: timm's resnetrs
//     fc, head.5 (classes, features) classes; a backbone has neither

import ResNetModels

/// What the shapes tell. `name` is the builder's name of the model, where it is one that was published.
public struct ModelGuess: Sendable, Hashable {
    /// The residual block.
    public enum Block: String, Sendable, Hashable {
        /// Two convolutions, or three.
        case basic, bottleneck
    }

    /// E.g. `resnet50`, `resnext50_32x4d`, `wide_resnet50_2`, `cifar_resnet20`; nil where depths or widths are unusual.
    public private(set) var name: String?
    /// Of all stages.
    public let block: Block
    /// Blocks per stage.
    public let nBlocks: [Int]
    /// Output channels per stage, before a bottleneck's expansion by 4.
    public let channels: [Int]
    /// Of the 3x3 convolutions; 1 but in ResNeXt.
    public let groups: Int
    /// Channels per group in the first stage's bottlenecks; 64 but for ResNeXt and wide ResNets.
    public let widthPerGroup: Int
    /// 7 for ImageNet's stem, 3 for CIFAR's and for the three convolutions of a deep one.
    public let stemKernel: Int
    /// Of the pictures.
    public let inputChannels: Int
    /// Channels of the stem's convolutions, of which a deep stem has three.
    public let stemWidths: [Int]
    /// Shortcuts average before their convolution instead of striding.
    public let averagesShortcuts: Bool
    /// Squeeze and excitation (timm's se) or efficient channel attention (eca); nil for none.
    public let attention: ResNetConfig.Attention?
    /// A convolution stands in place of the stem's pool: timm's resnetrs.
    public let convolvesInPlaceOfPool: Bool
    /// nil where the file has no classifier.
    public let classes: Int?
}

extension [WeightEntry] {
    /// The shapes of the network's tensors, by name.
    var networkShapes: [String: [Int]] {
        var shapes: [String: [Int]] = [:]
        for entry in self where entry.part == .network { shapes[entry.name] = entry.shape }
        return shapes
    }
}

extension ModelGuess {
    /// - Throws: `unsupported` where the file shows no ResNet or a variant that is not built here.
    init(_ entries: [WeightEntry]) throws(WeightFault) {
        let shapes = entries.networkShapes
        func fault(_ what: String) -> WeightFault {
            .unsupported("the weights are of no network that is known here: \(what)")
        }
        func kernel(_ name: String) throws(WeightFault) -> [Int] {
            guard let shape = shapes["\(name).weight"] else { throw fault("no \(name).weight") }
            guard shape.count == 4, shape.allSatisfy({ $0 > 0 }) else {
                throw fault("\(name).weight has shape \(shape)")
            }
            return shape
        }
        let isDeep = shapes["conv1.weight"] == nil && shapes["conv1.0.weight"] != nil
        var stems: [[Int]] = []
        for name in isDeep ? ["conv1.0", "conv1.3", "conv1.6"] : ["conv1"] {
            let stem = try kernel(name)
            guard stem[2] == stem[3], !isDeep || stem[2] == 3 else { throw fault("\(name).weight has shape \(stem)") }
            stems.append(stem)
        }
        inputChannels = stems[0][1]
        stemKernel = stems[0][2]
        stemWidths = stems.map { $0[0] }
        convolvesInPlaceOfPool = shapes["maxpool.0.weight"] != nil
        attention = try Self.attention(shapes)
        averagesShortcuts = shapes.contains { $0.key.hasSuffix(".downsample.1.weight") && $0.value.count == 4 }

        let first = try kernel("layer1.0.conv1")
        let block: Block = shapes["layer1.0.conv3.weight"] == nil ? .basic : .bottleneck
        var nBlocks: [Int] = []
        var channels: [Int] = []
        while nBlocks.count < 8, shapes["layer\(nBlocks.count + 1).0.conv1.weight"] != nil {
            let stage = "layer\(nBlocks.count + 1)"
            var count = 1
            while count < 10_000, shapes["\(stage).\(count).conv1.weight"] != nil { count += 1 }
            nBlocks.append(count)
            channels.append(
                block == .basic ? try kernel("\(stage).0.conv2")[0] : try kernel("\(stage).0.conv3")[0] / 4)
        }
        if block == .bottleneck {
            let middle = try kernel("layer1.0.conv2")
            groups = max(1, first[0] / middle[1])
            widthPerGroup = channels[0] > 0 ? first[0] * 64 / channels[0] / groups : 0
        } else {
            groups = 1
            widthPerGroup = 64
        }
        // The last layer of a head of several is read by its numbers, head.2, head.5...
        let layers = sequence(first: 2) { $0 + 3 }.lazy.map { shapes["head.\($0).weight"] }.prefix { $0 != nil }
        if let classifier = Array(layers).last ?? shapes["fc.weight"] {
            guard classifier.count == 2 else { throw fault("fc.weight has shape \(classifier)") }
            classes = classifier[0]
        } else {
            classes = nil
        }
        self.block = block
        self.nBlocks = nBlocks
        self.channels = channels
        name = nil
        name = publishedName
    }

    /// Of a ResNet with four stages.
    /// - Throws: `ModelError.configuration` for what no ResNet is.
    func config() throws(ModelError) -> ResNetConfig? {
        let stem: ResNetConfig.Stem? = stemWidths.count == 3 ? .deep : [3: .cifar, 7: .imageNet][stemKernel]
        guard let stem, channels.count == 4 else { return nil }
        return try ResNetConfig(
            shownBy: block == .basic ? .basic : .bottleneck, nBlocks: nBlocks, channels: channels, groups: groups,
            widthPerGroup: widthPerGroup, stem: stem, stemWidths: stemWidths
        ).with {
            $0.averagesShortcuts = averagesShortcuts
            $0.attention = attention
            $0.convolvesInPlaceOfPool = convolvesInPlaceOfPool
        }
    }

    private static func attention(_ shapes: [String: [Int]]) throws(WeightFault) -> ResNetConfig.Attention? {
        let squeezes = shapes.filter { $0.key.hasSuffix(".se.fc1.weight") && $0.value.count == 4 }
        if squeezes.isEmpty { return shapes.contains { $0.key.hasSuffix(".se.conv.weight") } ? .efficient : nil }
        // Widths are rounded, so that small networks can be of several reductions: the usual ones are tried first.
        let reduction = [16, 4, 8, 2, 32].first { reduction in
            squeezes.values.allSatisfy { ResNetConfig.Attention.squeezed($0[1], by: reduction) == $0[0] }
        }
        guard let reduction else { throw .unsupported("squeeze and excitation of unknown widths") }
        return .squeeze(reduction: reduction)
    }

    private var publishedName: String? {
        if channels == [16, 32, 64], block == .basic, stemKernel == 3, stemWidths == [16], Set(nBlocks).count == 1 {
            return ModelName(rawValue: "cifar_resnet\(6 * nBlocks[0] + 2)")?.rawValue
        }
        guard let config = try? config() else { return nil }
        return ModelName.allCases.first { $0.resNet == config }?.rawValue
    }
}

extension WeightFile {
    /// The network that these weights are of, from names and shapes.
    /// - Throws: `WeightFileError` with `unsupported` where it is no network of this library.
    public func guessModel() throws(WeightFileError) -> ModelGuess {
        try naming(path) { () throws(WeightFault) in try ModelGuess(entries) }
    }
}
