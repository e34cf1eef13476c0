// The models by name, with what each is usually given.

import ResNetGraph

// Names are those of the published models.
// swift-format-ignore: AlwaysUseLowerCamelCase
/// The models by name; raw values are the published names.
public enum ModelName: String, CaseIterable, Sendable {
    /// torchvision's ResNets (v1.5: a bottleneck's stride is in its 3x3 convolution).
    case resnet18, resnet34, resnet50, resnet101, resnet152
    /// ResNeXt, cardinality x width.
    case resnext50_32x4d, resnext101_32x8d, resnext101_64x4d
    /// Bottlenecks twice as wide.
    case wide_resnet50_2, wide_resnet101_2
    /// For pictures of 32x32: three narrow stages.
    case cifar_resnet8, cifar_resnet14, cifar_resnet20, cifar_resnet32, cifar_resnet44, cifar_resnet56, cifar_resnet110
    /// For pictures of 32x32: torchvision's stages behind a 3x3 convolution of stride 1 and no pool.
    case cifar_resnet18, cifar_resnet34, cifar_resnet50, cifar_resnet101, cifar_resnet152
    /// Two small companions with one sigmoid output.
    case alexnet_mini, googlenet
    /// timm's: other depths, three convolutions in the stem (c, d, s, t), averaged shortcuts (d, t).
    case resnet10t, resnet14t, resnet18d, resnet26, resnet26d, resnet26t, resnet34d
    /// timm's with other stems: ResNet-50 and 101.
    case resnet50c, resnet50d, resnet50s, resnet50t, resnet101c, resnet101d, resnet101s
    /// timm's with other stems: ResNet-152 and 200.
    case resnet152c, resnet152d, resnet152s, resnet200, resnet200d
    /// timm's ResNeXt.
    case resnext50d_32x4d, resnext101_32x4d, resnext101_32x16d, resnext101_32x32d
    /// timm's with squeeze and excitation.
    case seresnet18, seresnet34, seresnet50, seresnet50t, seresnet101, seresnet152, seresnet152d, seresnet200d,
        seresnet269d
    /// timm's ResNeXt with squeeze and excitation.
    case seresnext26d_32x4d, seresnext26t_32x4d, seresnext50_32x4d, seresnext101_32x4d, seresnext101_32x8d
    /// timm's wider ResNeXt with squeeze and excitation.
    case seresnext101_64x4d, seresnext101d_32x8d
    /// timm's with efficient channel attention.
    case ecaresnet26t, ecaresnet50d, ecaresnet50t, ecaresnet101d, ecaresnet200d, ecaresnet269d, ecaresnetlight
    /// timm's ResNeXt with efficient channel attention.
    case ecaresnext26t_32x4d, ecaresnext50t_32x4d
    /// timm's that average where a plain ResNet strides.
    case resnetaa34d, resnetaa50, resnetaa50d, resnetaa101d, seresnetaa50d, seresnextaa101d_32x8d, seresnextaa201d_32x8d
    /// timm's that blur before they stride.
    case resnetblur18, resnetblur50, resnetblur50d, resnetblur101d
    /// timm's pre-activation ResNets.
    case resnetv2_18, resnetv2_18d, resnetv2_34, resnetv2_34d, resnetv2_50, resnetv2_50d, resnetv2_50t
    /// timm's deeper pre-activation ResNets.
    case resnetv2_101, resnetv2_101d, resnetv2_152, resnetv2_152d
    /// timm's with group norms.
    case resnet50_gn, resnetv2_50d_gn
    /// BiT: pre-activation ResNets with group norms and standardized filters.
    case resnetv2_50x1_bit, resnetv2_50x3_bit, resnetv2_101x1_bit, resnetv2_101x3_bit, resnetv2_152x2_bit,
        resnetv2_152x4_bit
    /// ResNet-RS.
    case resnetrs50, resnetrs101, resnetrs152, resnetrs200, resnetrs270, resnetrs350, resnetrs420
    /// Attention to pixels and channels, as timm has them.
    case davit_tiny, davit_small, davit_base
    /// As keras_cv_attention_models has it: windows by the size of the pictures, and dropout before one sigmoid output.
    case davit_tiny_keras
    /// Large depthwise convolutions, as timm has them.
    case convnext_tiny

    /// The model of that name; case, hyphens and underscores do not matter.
    /// - Throws: `ModelError.unknownModel` with the nearest names.
    public init(named name: String) throws(ModelError) {
        let wanted = name.plain
        if let found = Self.allCases.first(where: { $0.rawValue.plain == wanted }) {
            self = found
            return
        }
        // Of names equally near, the older comes first.
        let ranked = Self.allCases.map { (distance: editDistance($0.rawValue.plain, wanted), name: $0.rawValue) }
        let near = ranked.filter { $0.distance <= max(2, wanted.count / 3) }.sorted { $0.distance < $1.distance }
        throw .unknownModel(name: name, nearest: near.prefix(2).map(\.name))
    }

    /// Width of the logits where nobody says.
    public var defaultClasses: Int {
        switch self {
        case .alexnet_mini, .googlenet, .davit_tiny_keras: 1
        case _ where isForSmallPictures: 10
        default: 1000
        }
    }

    /// The pictures' usual size.
    public var defaultInputSize: Size2 {
        switch self {
        case .alexnet_mini, .googlenet, .davit_tiny_keras: 280
        case _ where isForSmallPictures: 32
        default: 224
        }
    }

    /// How the model's authors start it; those of alexnet_mini and googlenet used Keras.
    public var initialization: InitializationScheme {
        switch self {
        case .alexnet_mini, .googlenet: .keras
        case .davit_tiny, .davit_small, .davit_base, .davit_tiny_keras, .convnext_tiny: .transformer
        default: .resNet
        }
    }

    /// The network; nil means the default of the model.
    /// - Parameters:
    ///   - classes: width of the logits, 1 to 1,000,000.
    ///   - inputChannels: of the pictures, 1 to 4096.
    ///   - inputSize: matters to models whose linear layers (alexnet_mini) or windows (davit_tiny_keras) depend on it.
    /// - Throws: `ModelError.configuration` for counts out of range and pictures that are too small.
    public func graph(
        classes: Int? = nil, inputChannels: Int = 3, inputSize: Size2? = nil
    ) throws(ModelError) -> Graph {
        let classes = classes ?? defaultClasses
        func check(_ field: String, _ value: Int, _ range: ClosedRange<Int>) throws(ModelError) {
            guard range.contains(value) else {
                throw .configuration(
                    model: rawValue, field: field, expected: "\(range.lowerBound) to \(range.upperBound)",
                    found: "\(value)")
            }
        }
        try check("classes", classes, 1...1_000_000)
        try check("inputChannels", inputChannels, 1...4096)
        if let config = resNet { return config.graph(classes: classes, inputChannels: inputChannels) }
        if let config = resNetV2 { return config.graph(head: .linear(classes: classes), inputChannels: inputChannels) }
        if let config = cifar { return config.graph(classes: classes, inputChannels: inputChannels) }
        if let config = daViT(inputSize ?? defaultInputSize) {
            return config.graph(classes: classes, inputChannels: inputChannels)
        }
        if self == .convnext_tiny {
            return ConvNeXtConfig.tiny.graph(classes: classes, inputChannels: inputChannels)
        }
        if self == .googlenet {
            return GoogLeNet.graph(classes: classes, inputChannels: inputChannels, sigmoid: classes == 1)
        }
        let size = inputSize ?? defaultInputSize
        // The first linear layer grows with the picture: 4096 pixels a side are already a billion parameters.
        try check("inputSize", max(size.height, size.width), 1...4096)
        do {
            return try AlexNetMini.graph(
                classes: classes, inputChannels: inputChannels, inputSize: size, sigmoid: classes == 1)
        } catch {
            throw .configuration(
                model: rawValue, field: "inputSize", expected: "a size that every layer can take",
                found: "\(size) (\(error))")
        }
    }

    /// The network with another head, or with none; nil for the two companions, which are no ResNets.
    /// - Parameter stridesInFirstConvolution: a bottleneck's stride is in its first 1x1 convolution.
    package func graph(head: Head, inputChannels: Int, stridesInFirstConvolution: Bool = false) -> Graph? {
        resNet?.with { $0.stridesInFirstConvolution = stridesInFirstConvolution }
            .graph(head: head, inputChannels: inputChannels)
            ?? resNetV2?.graph(head: head, inputChannels: inputChannels)
            ?? cifar?.graph(head: head, inputChannels: inputChannels)
    }

    /// The network with first values; `metadata` holds its name.
    /// - Throws: `ModelError.configuration` for counts out of range and pictures that are too small.
    public func model(
        classes: Int? = nil, inputChannels: Int = 3, inputSize: Size2? = nil, seed: UInt64,
        zeroInitResidual: Bool = false
    ) throws(ModelError) -> Model {
        let graph = try graph(classes: classes, inputChannels: inputChannels, inputSize: inputSize)
        var model = Model.initialized(
            graph, seed: seed, scheme: initialization, zeroInitResidual: zeroInitResidual)
        model.metadata[MetadataKey.model] = rawValue
        if let window = daViT(inputSize ?? defaultInputSize)?.window, window != 7 {
            model.metadata[MetadataKey.window] = "\(window)"
        }
        return model
    }

    /// - Parameter input: the size of the pictures, which the windows of Keras follow.
    package func daViT(_ input: Size2) -> DaViTConfig? {
        switch self {
        case .davit_tiny: return .tiny
        case .davit_small: return .small
        case .davit_base: return .base
        case .davit_tiny_keras:
            var config = DaViTConfig.tiny.asInKeras(input: input)
            config.dropout = 0.3
            return config
        default: return nil
        }
    }

    /// The configuration of a ResNet; nil for the others.
    package var resNet: ResNetConfig? {
        switch self {
        case .resnet18: .resnet18
        case .resnet34: .resnet34
        case .resnet50: .resnet50
        case .resnet101: .resnet101
        case .resnet152: .resnet152
        case .resnext50_32x4d: .resnext50_32x4d
        case .resnext101_32x8d: .resnext101_32x8d
        case .resnext101_64x4d: .resnext101_64x4d
        case .wide_resnet50_2: .wide_resnet50_2
        case .wide_resnet101_2: .wide_resnet101_2
        case .cifar_resnet18: .resnet18.forSmallPictures
        case .cifar_resnet34: .resnet34.forSmallPictures
        case .cifar_resnet50: .resnet50.forSmallPictures
        case .cifar_resnet101: .resnet101.forSmallPictures
        case .cifar_resnet152: .resnet152.forSmallPictures
        default: timm
        }
    }

    /// A network of the names and shapes of another, which only its name tells.
    package var isToldByName: Bool {
        resNet?.smoothing != nil || resNet?.normGroups != nil || resNetV2?.normGroups != nil
    }

    private var isForSmallPictures: Bool { cifar != nil || resNet?.stem == .cifar }

    var cifar: CIFARResNetConfig? {
        switch self {
        case .cifar_resnet8: .resnet8
        case .cifar_resnet14: .resnet14
        case .cifar_resnet20: .resnet20
        case .cifar_resnet32: .resnet32
        case .cifar_resnet44: .resnet44
        case .cifar_resnet56: .resnet56
        case .cifar_resnet110: .resnet110
        default: nil
        }
    }
}

extension String {
    /// Lower case, without hyphens, underscores and spaces.
    fileprivate var plain: String { lowercased().filter { $0 != "-" && $0 != "_" && $0 != " " } }
}

/// Levenshtein's distance: insertions, deletions and replacements of characters.
package func editDistance(_ a: String, _ b: String) -> Int {
    let b = Array(b)
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, y) in b.enumerated() {
            let replaced = diagonal + (x == y ? 0 : 1)
            diagonal = row[j + 1]
            row[j + 1] = min(replaced, diagonal + 1, row[j] + 1)
        }
    }
    return row[b.count]
}
