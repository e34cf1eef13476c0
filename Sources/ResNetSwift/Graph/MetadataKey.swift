// What travels with weights beside the tensors: text by key, in `Model.metadata`, in safetensors' `__metadata__` and in
// npz's `__meta__.json`.

import ResNetSupport

/// Keys of `Model.metadata` that checkpoints carry.
public enum MetadataKey {
    /// The builder's name of the model, e.g. `resnet50`.
    public static let model = "model"
    /// What stands after the last feature map, where it is not the model's own: a `HeadKind`, e.g. `hidden:512:0.5`.
    public static let head = "head"
    /// Class names in the order of the logits, a JSON list of strings.
    public static let classes = "classes"
    /// What to do with a picture before the network sees it, a JSON object.
    public static let transform = "transform"
    /// For several labels a picture: from which probability on each is taken to be present, a JSON list of numbers.
    public static let thresholds = "thresholds"
    /// Where the network departs from the one that its shapes show: a `NetworkVariant`.
    package static let variant = "variant"
    /// Which convolutions compute in 8 bits: a JSON object, written and read as `Model.quantization`.
    package static let quantization = "quantization"
    /// What follows the key of weights in signed bytes, for their scales.
    package static let scaleSuffix = "_scale"
    /// The windows of a DaViT's attention in pixels, `HEIGHTxWIDTH`, where they are not 7x7: the weights do not show them.
    public static let window = "window"
    /// Where the weights come from in words, e.g. `epoch 7, val_loss 0.0312`.
    public static let trained = "trained"
    /// Where a training run is, for the trainer that goes on with it. Tensors whose keys begin with `training.` belong to
    /// it; they are no part of the model.
    package static let training = "training"
    package static let trainingPrefix = "training."
    /// In every checkpoint of this library, with the version of its conventions: other programs use the same words for other
    /// things.
    package static let marker = "resnetswift"
    /// The words that mean something here.
    package static let own: Set<String> = [
        model, head, classes, transform, thresholds, trained, training, variant, quantization, window,
    ]
    /// `pt` in safetensors: torchvision's names, OIHW. Other libraries ask for it; it says nothing about the model.
    package static let format = "format"

    /// The names in a text under `classes`; nil where it is no list of strings.
    package static func classNames(in text: String) -> [String]? {
        guard let items = try? JSONValue.parse(text).arrayValue else { return nil }
        let names = items.compactMap(\.stringValue)
        return names.count == items.count ? names : nil
    }
}

extension Model {
    /// Class names in the order of the logits, kept in `metadata`; nil where there are none.
    public var classNames: [String]? {
        get { metadata[MetadataKey.classes].flatMap(MetadataKey.classNames) }
        set { metadata[MetadataKey.classes] = newValue.map { JSONValue.array($0.map(JSONValue.string)).text } }
    }
}
