// Text beside weights: what this library wrote, and what others did.
//
// Checkpoints of this library carry a marker. Other programs use the same words for other things (`head: mlp`, `model: resnet50`,
// `transform: imagenet`); without the marker a text counts only where it reads as one that this library wrote before it
// had the marker. Pickles are never ours.

import ResNetGraph
import ResNetModels
import ResNetSupport

enum OwnFacts {
    /// The marker, or a transform as nobody else writes it: files of this library are older than the marker.
    static func areOurs(_ metadata: [String: String]) -> Bool {
        metadata[MetadataKey.marker] != nil
            || metadata[MetadataKey.transform].map { couldBeOurs(MetadataKey.transform, $0) } ?? false
    }

    /// Those of `metadata` that mean what this library means by them.
    static func facts(of metadata: [String: String], in container: ContainerKind) -> [String: String] {
        switch container {
        case .torchZip, .torchStream, .torchTar, .pickle: return [:]
        case .npz, .npy, .safetensors: break
        }
        let isOurs = areOurs(metadata)
        return metadata.filter { MetadataKey.own.contains($0.key) && (isOurs || couldBeOurs($0.key, $0.value)) }
    }

    private static func couldBeOurs(_ key: String, _ text: String) -> Bool {
        let value = try? JSONValue.parse(text)
        switch key {
        case MetadataKey.model: return ModelName(rawValue: text) != nil
        case MetadataKey.head: return HeadKind(text) != nil
        case MetadataKey.classes: return value?.arrayValue?.allSatisfy { $0.stringValue != nil } ?? false
        case MetadataKey.thresholds: return value?.arrayValue?.allSatisfy { $0.numberValue != nil } ?? false
        case MetadataKey.transform: return value?["channels"]?.integerValue != nil && value?["steps"]?.arrayValue != nil
        case MetadataKey.variant, MetadataKey.quantization, MetadataKey.window: return false
        case MetadataKey.training: if case .object? = value { return true } else { return false }
        default: return true
        }
    }
}

extension ContainerContents {
    /// The text of a container, or the facts of the dicts around a mapping; the inner ones count.
    func metadata(beside path: [String]) -> [String: String] {
        var result = metadata
        for fact in facts.filter({ path.starts(with: $0.path) }).sorted(by: { $0.path.count < $1.path.count }) {
            result[fact.key] = fact.text
        }
        return result
    }

    /// What lies beside a mapping and the dicts around it, by key.
    func othersBeside(_ path: [String]) -> [String] {
        others.filter { other in
            let around = other.path.dropLast()
            return path.starts(with: around) && !path.starts(with: other.path)
        }.map { $0.path.joined(separator: ".") }
    }
}

extension JSONValue {
    /// nil for what is no number.
    var numberValue: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }
}
