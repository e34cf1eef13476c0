// Networks that people save and that this library does not have, by a name that only they have: so that the error says what
// was found.

enum ForeignNetwork {
    /// Ends of keys, and what has them.
    private static let signs: [(ending: String, what: String)] = [
        (
            "inception3a.branch1.bn.weight",
            "torchvision's GoogLeNet, which has batch norms and no biases, and 3x3 convolutions in place of 5x5; "
                + "the googlenet here is the paper's, of biases and without norms"
        ),
        ("features.denseblock1.denselayer1.conv1.weight", "a DenseNet"),
        ("Mixed_5b.branch1x1.conv.weight", "an Inception v3"),
        ("features.3.squeeze.weight", "a SqueezeNet"),
        ("stages.0.blocks.0.mlp.grn.weight", "a ConvNeXt V2"), ("layers.0.grn.weight", "a ConvNeXt V2"),
        ("stages.0.0.grn.gamma", "a ConvNeXt V2"),
        ("encoder.layers.encoder_layer_0.self_attention.in_proj_weight", "a vision transformer"),
        ("blocks.0.attn.qkv.weight", "a vision transformer"),
        ("encoder.layer.0.attention.attention.query.weight", "a vision transformer"),
        ("features.1.0.attn.relative_position_bias_table", "a Swin transformer"),
        ("layers.0.blocks.0.attn.relative_position_bias_table", "a Swin transformer"),
        ("features.1.conv.0.0.weight", "a MobileNet v2"), ("features.1.block.0.0.weight", "a MobileNet v3"),
        ("features.1.0.block.0.0.weight", "an EfficientNet"),
        ("blocks.0.0.conv_dw.weight", "an EfficientNet or a MobileNet"),
        ("trunk_output.block1.block1-0.f.a.0.weight", "a RegNet"),
        ("s1.b1.conv1.conv.weight", "a RegNet"),
        ("layer1.0.convs.0.weight", "a Res2Net"),
        ("layer1.0.conv2.fc1.weight", "a ResNeSt"), ("attnpool.positional_embedding", "a ResNet of CLIP"),
        ("stage2.0.fuse_layers.0.1.0.weight", "an HRNet"),
    ]

    /// What `shapes` show; nil for what is not known.
    static func name(_ shapes: [String: [Int]]) -> String? {
        for (ending, what) in signs
        where shapes.keys.contains(where: { $0 == ending || $0.hasSuffix(".\(ending)") }) { return what }
        guard let last = shapes.first(where: { $0.key.hasSuffix("classifier.6.weight") && $0.value.count == 2 }),
            let stem = shapes[last.key.dropLast("classifier.6.weight".count) + "features.0.weight"], stem.count == 4
        else { return nil }
        guard stem[2] == 11 else { return "a VGG" }
        return
            "torchvision's AlexNet, of 11x11 filters and three linear layers of 4096; the alexnet_mini here is another "
            + "network, for pictures of 280x280"
    }
}
