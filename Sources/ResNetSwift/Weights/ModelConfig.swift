// `config.json` and `preprocessor_config.json`, as transformers and timm write them beside weights: the network's name, the
// names of its classes, and what to do with a picture.
//
//     transformers  {"model_type": "resnet", "depths": [...], "downsample_in_bottleneck": false, "id2label": {"0": "cat"}}
//     timm          {"architecture": "resnet18", "num_classes": 1000, "label_names": [...], "pretrained_cfg": {...}}

import ResNetGraph
import ResNetSupport

/// What the configuration beside weights says.
struct ModelConfig: Sendable {
    static let fileName = "config.json"
    static let preprocessorFileName = "preprocessor_config.json"

    /// timm's name of the network.
    private(set) var architecture: String?
    /// Names in the order of the logits.
    private(set) var labels: [String]?
    /// As `MetadataKey.transform` has it.
    private(set) var transform: String?
    /// Number of classes; 0 for a backbone.
    private(set) var classes: Int?
    /// transformers' `downsample_in_bottleneck`: the stride of a bottleneck is in its first 1x1 convolution.
    private(set) var stridesInFirstConvolution = false
    /// A setting that makes it another network than those of this library.
    private(set) var unsupported: String?

    /// By `MetadataKey`.
    var facts: [String: String] {
        var facts: [String: String] = [:]
        facts[MetadataKey.classes] = labels.map { JSONValue.array($0.map(JSONValue.string)).text }
        facts[MetadataKey.transform] = transform
        if stridesInFirstConvolution { facts[MetadataKey.variant] = NetworkVariant.stridesInFirstConvolution.rawValue }
        return facts
    }

    /// The configuration in a folder; nil where there is none, or one that is not about a network.
    init?(folder: String) throws(WeightFault) {
        guard let config = try Self.json(folder, Self.fileName),
            config["architecture"] != nil
                || config["pretrained_cfg"] != nil || config["model_type"] != nil || config["id2label"] != nil
        else { return nil }
        try readTimm(config)
        try readTransformers(config)
        if let preprocessor = try Self.json(folder, Self.preprocessorFileName) {
            transform = PreprocessorConfig(preprocessor).transform ?? transform
        }
    }

    private static func json(_ folder: String, _ name: String) throws(WeightFault) -> JSONValue? {
        let file: MappedFile
        do throws(FileFault) { file = try MappedFile(path: folder.isEmpty ? name : "\(folder)/\(name)") } catch {
            if case .cannotRead = error { return nil }
            throw .malformed(part: name, problem: "it is empty")
        }
        do throws(JSONError) { return try JSONValue.parse(file.bytes) } catch {
            throw .malformed(part: name, problem: "\(error)")
        }
    }

    // MARK: - timm

    private mutating func readTimm(_ config: JSONValue) throws(WeightFault) {
        guard let name = config["architecture"]?.stringValue else { return }
        architecture = name
        // The oldest files have all fields at the top.
        let pretrained = config["pretrained_cfg"] ?? config
        classes = (config["num_classes"] ?? pretrained["num_classes"])?.integerValue
        transform = PreprocessorConfig.timm(pretrained)
        let names = config["label_names"] ?? pretrained["label_names"] ?? config["labels"]
        let descriptions = config["label_descriptions"] ?? pretrained["label_descriptions"]
        labels = try names.map { (names) throws(WeightFault) in
            try Self.list(names, "label_names").map { descriptions?[$0]?.stringValue ?? $0 }
        }
        if let pool = config["global_pool"]?.stringValue, !["avg", "fast", "fastavg", ""].contains(pool) {
            unsupported = "global_pool is \(pool)"
        }
        // Arguments of the factory, beside those that change nothing here.
        let harmless: Set = [
            "num_classes", "in_chans", "img_size", "drop_rate", "drop_path_rate", "drop_block_rate", "global_pool",
            "zero_init_last", "pretrained",
        ]
        if case .object(let arguments)? = config["model_args"],
            let other = arguments.first(where: { !harmless.contains($0.key) })
        {
            unsupported = "model_args has \(other.key): \(other.value.text)"
        }
    }

    // MARK: - transformers

    private mutating func readTransformers(_ config: JSONValue) throws(WeightFault) {
        if let names = config["id2label"] { labels = try Self.list(names, "id2label") }
        guard config["model_type"]?.stringValue == "resnet" else { return }
        if config["downsample_in_bottleneck"] == .bool(true), config["layer_type"]?.stringValue != "basic" {
            stridesInFirstConvolution = true
        }
        if config["downsample_in_first_stage"] == .bool(true) { unsupported = "downsample_in_first_stage is true" }
        if let activation = config["hidden_act"]?.stringValue, activation != "relu" {
            unsupported = "hidden_act is \(activation)"
        }
    }

    /// Names from a list, or from an object of numbers from 0 on.
    private static func list(_ value: JSONValue, _ key: String) throws(WeightFault) -> [String] {
        if let names = value.arrayValue {
            let texts = names.compactMap(\.stringValue)
            if texts.count == names.count { return texts }
        }
        if case .object(let members) = value {
            var names = [String?](repeating: nil, count: members.count)
            for member in members {
                guard let index = Int(member.key), names.indices.contains(index) else { continue }
                names[index] = member.value.stringValue ?? member.value.integerValue.map(String.init)
            }
            let texts = names.compactMap { $0 }
            if texts.count == names.count { return texts }
        }
        throw .malformed(part: fileName, problem: "\(key) does not name the classes from 0 on")
    }
}
