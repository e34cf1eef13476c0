// Which network a weight file is of, from names and shapes alone:
//
//     layerS.B.conv3 there?          bottleneck, otherwise basic block
//     number of B per S              blocks per stage, hence the depth
//     layer1.0.conv1 (width, ...)    width of the bottleneck; conv2 (width, width / groups, 3, 3) its groups
//     conv1 (C, input, k, k)         k = 7: ImageNet stem; k = 3: CIFAR stem; input channels
//     fc, head.5 (classes, features) classes; a backbone has neither

/// What the shapes tell. `name` is the builder's name of the model, where it is one that was published.
public struct ModelGuess: Sendable, Hashable {
    /// The residual block.
    public enum Block: String, Sendable, Hashable {
        /// Two convolutions, or three.
        case basic, bottleneck
    }

    /// E.g. `resnet50`, `resnext50_32x4d`, `wide_resnet50_2`, `cifar_resnet20`; nil where depths or widths are unusual.
    public let name: String?
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
    /// 7 for ImageNet's stem, 3 for CIFAR's.
    public let stemKernel: Int
    /// Of the pictures.
    public let inputChannels: Int
    /// Channels of the first convolution; 64 but in networks that nobody published.
    public let stemChannels: Int
    /// nil where the file has no classifier.
    public let classes: Int?
}

extension ModelGuess {
    /// - Throws: `unsupported` where the file shows no ResNet or a variant that is not built here.
    init(_ entries: [WeightEntry]) throws(WeightFault) {
        if let variant = ResNetVariant.unsupported(
            entries.filter { $0.part == .network }.map { ($0.name, $0.shape) }) { throw .unsupported(variant) }
        var shapes: [String: [Int]] = [:]
        for entry in entries where entry.part == .network { shapes[entry.name] = entry.shape }
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
        let stem = try kernel("conv1")
        guard stem[2] == stem[3] else { throw fault("conv1.weight has shape \(stem)") }
        inputChannels = stem[1]
        stemKernel = stem[2]
        stemChannels = stem[0]

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
        if let classifier = shapes["head.5.weight"] ?? shapes["fc.weight"] {
            guard classifier.count == 2 else { throw fault("fc.weight has shape \(classifier)") }
            classes = classifier[0]
        } else {
            classes = nil
        }
        self.block = block
        self.nBlocks = nBlocks
        self.channels = channels
        let isPublished = stemChannels == (stemKernel == 3 ? channels[0] : 64)
        name =
            isPublished
            ? Self.publishedName(block, nBlocks, channels, stemKernel, groups: groups, widthPerGroup: widthPerGroup)
            : nil
    }

    private static func publishedName(
        _ block: Block, _ nBlocks: [Int], _ channels: [Int], _ stemKernel: Int, groups: Int, widthPerGroup: Int
    ) -> String? {
        if channels == [16, 32, 64], block == .basic, stemKernel == 3, Set(nBlocks).count == 1 {
            let depth = 6 * nBlocks[0] + 2
            return [14, 20, 32, 44, 56, 110].contains(depth) ? "cifar_resnet\(depth)" : nil
        }
        guard channels == [64, 128, 256, 512], stemKernel == 7 else { return nil }
        let depths: [[Int]: Int] =
            block == .basic
            ? [[2, 2, 2, 2]: 18, [3, 4, 6, 3]: 34]
            : [[3, 4, 6, 3]: 50, [3, 4, 23, 3]: 101, [3, 8, 36, 3]: 152]
        guard let depth = depths[nBlocks] else { return nil }
        switch (depth, groups, widthPerGroup) {
        case (_, 1, 64): return "resnet\(depth)"
        case (50, 32, 4), (101, 32, 8), (101, 64, 4): return "resnext\(depth)_\(groups)x\(widthPerGroup)d"
        case (50, 1, 128), (101, 1, 128): return "wide_resnet\(depth)_2"
        default: return nil
        }
    }
}

extension WeightFile {
    /// The network that these weights are of, from names and shapes.
    /// - Throws: `WeightFileError` with `unsupported` where it is no network of this library.
    public func guessModel() throws(WeightFileError) -> ModelGuess {
        try naming(path) { () throws(WeightFault) in try ModelGuess(entries) }
    }
}

/// Variants that share names with the plain ResNet but compute something else.
enum ResNetVariant {
    /// A sentence that names the variant, or nil.
    static func unsupported(_ tensors: [(name: String, shape: [Int])]) -> String? {
        for (name, shape) in tensors where name.hasSuffix(".weight") {
            if name.hasPrefix("conv1.") && name.dropFirst(6).first?.isNumber == true {
                return "timm's deep stem of three convolutions (\(name)), as in resnet50d and resnetv1c"
            }
            let isAveraged =
                name.contains(".downsample.2.") || (name.hasSuffix(".downsample.1.weight") && shape.count == 4)
            if isAveraged {
                return "timm's average-pooled shortcut (\(name)), as in resnet50d"
            }
        }
        return nil
    }
}
