// Which ResNet: the block, how many of them a stage has, and how wide they are.

/// Which ResNet: the block, how many of them a stage has, and how wide they are.
public struct ResNetConfig: Sendable, Hashable {
    /// The residual block.
    public enum Block: String, Sendable, Hashable {
        /// Two 3x3 convolutions, or 1x1, 3x3, 1x1.
        case basic, bottleneck

        /// Channels that a block yields, over `channels` of its stage.
        public var expansion: Int { self == .basic ? 1 : 4 }
    }

    /// What stands before the stages.
    public enum Stem: String, Sendable, Hashable {
        /// 7x7 convolution of stride 2, 3x3 max pool of stride 2.
        case imageNet
        /// 3x3 convolution of stride 1 and no pool: for pictures of 32x32.
        case cifar
        /// Three 3x3 convolutions, the first of stride 2, then the pool: ResNet-C and D of He et al., arXiv:1812.01187.
        case deep
    }

    /// What scales the channels of a block's branch before the addition.
    public enum Attention: Sendable, Hashable {
        /// Squeeze and excitation (arXiv:1709.01507): mean, 1x1 to a `reduction`th of the channels, 1x1 back, sigmoid.
        case squeeze(reduction: Int)
        /// Efficient channel attention (arXiv:1910.03151): mean, a convolution along the channels, sigmoid.
        case efficient

        /// Channels between the two convolutions of a squeeze, as timm rounds them: a multiple of 8.
        package static func squeezed(_ channels: Int, by reduction: Int) -> Int {
            max(8, (channels + 4 * reduction) / reduction / 8 * 8)
        }

        /// Taps of the convolution along so many channels: about half their logarithm, odd.
        package static func taps(for channels: Int) -> Int {
            let half = (channels.bitWidth - 1 - channels.leadingZeroBitCount + 1) / 2
            return max(3, half % 2 == 1 ? half : half + 1)
        }
    }

    /// What makes the picture smaller where a plain ResNet has a convolution of stride 2, or the stem's pool.
    public enum Smoothing: Sendable, Hashable {
        /// A mean of 2x2 after the convolution; a blur of 3x3 (arXiv:1904.11486), in the stem after a pool of stride 1.
        case average, blur
    }

    /// Of all stages.
    public let block: Block
    /// Blocks of the four stages.
    public let nBlocks: [Int]
    /// Channels of the four stages before expansion; every ResNet has these.
    public let channels: [Int]
    /// Groups of the 3x3 convolution of a bottleneck; 1 but in ResNeXt.
    public let groups: Int
    /// Width of a group in layer1; 64 but in ResNeXt and wide ResNets.
    public let widthPerGroup: Int
    /// What stands before the stages.
    public package(set) var stem: Stem
    /// Channels of the stem's convolutions, of which a deep stem has three.
    public package(set) var stemWidths: [Int]
    /// A bottleneck strides in its first 1x1 convolution, as in the paper of 2015, instead of its 3x3 (ResNet v1.5).
    public package(set) var stridesInFirstConvolution: Bool
    /// A shortcut that halves the picture averages 2x2 pixels before its 1x1 convolution, instead of leaving out three of
    /// four: ResNet-D of He et al., arXiv:1812.01187.
    public package(set) var averagesShortcuts = false
    /// nil for none.
    public package(set) var attention: Attention?
    /// nil: convolutions stride. Names and shapes of the weights do not show it.
    public package(set) var smoothing: Smoothing?
    /// A 3x3 convolution of stride 2 with batch norm and ReLU stands in place of the stem's pool (ResNet-RS, arXiv:2103.07579).
    public package(set) var convolvesInPlaceOfPool = false

    /// Groups of the group norms in place of all batch norms; nil: batch norms.
    public package(set) var normGroups: Int?

    /// Channels that the stem yields.
    public var stemChannels: Int { stemWidths.last ?? 0 }

    static let standardChannels = [64, 128, 256, 512]

    /// A ResNet of other depths, groups or widths than the published ones.
    /// - Throws: `ModelError.configuration` for what no ResNet is: not four stages, a stage without blocks, other channels,
    ///   groups in a basic block.
    public init(
        block: Block, nBlocks: [Int], channels: [Int] = [64, 128, 256, 512], groups: Int = 1, widthPerGroup: Int = 64
    ) throws(ModelError) {
        func check(_ field: String, _ ok: Bool, _ expected: String, _ found: Any) throws(ModelError) {
            guard !ok else { return }
            throw .configuration(model: "ResNet", field: field, expected: expected, found: "\(found)")
        }
        try check("nBlocks", nBlocks.count == 4, "4 stages", "\(nBlocks.count): \(nBlocks)")
        try check("nBlocks", nBlocks.allSatisfy { 1...1000 ~= $0 }, "1 to 1000 blocks in every stage", nBlocks)
        try check("channels", channels.count == 4, "4 stages", "\(channels.count): \(channels)")
        try check("channels", channels == Self.standardChannels, "\(Self.standardChannels)", channels)
        try check("groups", 1...1024 ~= groups, "1 to 1024", groups)
        try check("widthPerGroup", 1...4096 ~= widthPerGroup, "1 to 4096", widthPerGroup)
        try check(
            "block", block == .bottleneck || (groups == 1 && widthPerGroup == 64),
            "bottleneck, since a basic block has 1 group of width 64",
            "basic with \(groups) group(s) of width \(widthPerGroup)")
        self.init(block, nBlocks, groups, widthPerGroup)
    }

    init(_ block: Block, _ nBlocks: [Int], _ groups: Int = 1, _ widthPerGroup: Int = 64) {
        self.init(block, nBlocks, groups: groups, widthPerGroup: widthPerGroup)
    }

    private init(
        _ block: Block, _ nBlocks: [Int], channels: [Int] = Self.standardChannels, groups: Int, widthPerGroup: Int,
        stem: Stem = .imageNet, stemWidths: [Int] = [64], stridesInFirstConvolution: Bool = false
    ) {
        self.block = block
        self.nBlocks = nBlocks
        self.channels = channels
        self.groups = groups
        self.widthPerGroup = widthPerGroup
        self.stem = stem
        self.stemWidths = stemWidths
        self.stridesInFirstConvolution = stridesInFirstConvolution
    }

    /// What weights show: other stems, channels that nobody published.
    /// - Throws: `ModelError.configuration` for what no ResNet is.
    package init(
        shownBy block: Block, nBlocks: [Int], channels: [Int], groups: Int, widthPerGroup: Int, stem: Stem,
        stemWidths: [Int]
    ) throws(ModelError) {
        _ = try ResNetConfig(block: block, nBlocks: nBlocks, groups: groups, widthPerGroup: widthPerGroup)
        let widths = channels + stemWidths
        guard channels.count == 4, stemWidths.count == (stem == .deep ? 3 : 1), widths.allSatisfy({ 1...65_536 ~= $0 }),
            channels.allSatisfy({ $0 * widthPerGroup % 64 == 0 && $0 * widthPerGroup / 64 > 0 })
        else {
            throw .configuration(
                model: "ResNet", field: "channels", expected: "4 widths of 1 to 65536", found: "\(channels)")
        }
        self.init(
            block, nBlocks, channels: channels, groups: groups, widthPerGroup: widthPerGroup, stem: stem,
            stemWidths: stemWidths)
    }

    /// The same network, changed.
    package func with(_ change: (inout ResNetConfig) -> Void) -> ResNetConfig {
        var changed = self
        change(&changed)
        return changed
    }

    /// The same stages behind a 3x3 convolution of stride 1 and no pool.
    var forSmallPictures: ResNetConfig { with { $0.stem = .cifar } }

    // The names of the published models.
    /// 11,689,512 parameters.
    public static let resnet18 = ResNetConfig(.basic, [2, 2, 2, 2])
    /// 21,797,672 parameters.
    public static let resnet34 = ResNetConfig(.basic, [3, 4, 6, 3])
    /// 25,557,032 parameters.
    public static let resnet50 = ResNetConfig(.bottleneck, [3, 4, 6, 3])
    /// 44,549,160 parameters.
    public static let resnet101 = ResNetConfig(.bottleneck, [3, 4, 23, 3])
    /// 60,192,808 parameters.
    public static let resnet152 = ResNetConfig(.bottleneck, [3, 8, 36, 3])
    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// 25,028,904 parameters.
    public static let resnext50_32x4d = ResNetConfig(.bottleneck, [3, 4, 6, 3], 32, 4)
    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// 88,791,336 parameters.
    public static let resnext101_32x8d = ResNetConfig(.bottleneck, [3, 4, 23, 3], 32, 8)
    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// 83,455,272 parameters.
    public static let resnext101_64x4d = ResNetConfig(.bottleneck, [3, 4, 23, 3], 64, 4)
    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// 68,883,240 parameters.
    public static let wide_resnet50_2 = ResNetConfig(.bottleneck, [3, 4, 6, 3], 1, 128)
    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// 126,886,696 parameters.
    public static let wide_resnet101_2 = ResNetConfig(.bottleneck, [3, 4, 23, 3], 1, 128)
}
