// Variants of a ResNet by names that a plain one does not have: what a load report says of weights that are not the model's.

enum ResNetVariant {
    /// A sentence that names the variant which `tensors` belong to, or nil.
    static func sentence(_ tensors: [(name: String, shape: [Int])]) -> String? {
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
