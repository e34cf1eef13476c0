// The names of transformers' ResNets.
//
//     resnet.embedder.embedder.convolution.weight            conv1.weight
//     resnet.embedder.embedder.normalization.bias            bn1.bias
//     resnet.encoder.stages.2.layers.0.layer.1.convolution   layer3.0.conv2
//     resnet.encoder.stages.2.layers.0.shortcut.normalization   layer3.0.downsample.1
//     classifier.1.weight                                    fc.weight

enum HuggingFaceNames {
    /// torchvision's name of a key, or nil where it is none.
    static func name(of key: String) -> String? {
        var parts = key.split(separator: ".", omittingEmptySubsequences: false)[...]
        if parts.first == "resnet" { parts = parts.dropFirst() }
        guard let leaf = parts.popLast() else { return nil }
        let path = Array(parts)
        switch path.first {
        case "embedder" where path.count == 3 && path[1] == "embedder":
            return unit(path[2]).map { "\($0)1.\(leaf)" }
        case "encoder" where path.count >= 7 && path[1] == "stages" && path[3] == "layers":
            guard let stage = Int(path[2]), (0..<64).contains(stage), let block = Int(path[4]), block >= 0 else {
                return nil
            }
            let prefix = "layer\(stage + 1).\(block)"
            if path.count == 7, path[5] == "shortcut" {
                return unit(path[6]).map { "\(prefix).downsample.\($0 == "conv" ? 0 : 1).\(leaf)" }
            }
            if path.count == 8, path[5] == "layer", let index = Int(path[6]), (0..<8).contains(index) {
                return unit(path[7]).map { "\(prefix).\($0)\(index + 1).\(leaf)" }
            }
            return nil
        case "classifier" where path.count == 2 && path[1] == "1":
            return "fc.\(leaf)"
        default:
            return nil
        }
    }

    private static func unit(_ name: Substring) -> String? {
        switch name {
        case "convolution": "conv"
        case "normalization": "bn"
        default: nil
        }
    }
}
