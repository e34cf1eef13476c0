// What names a network besides its tensors. timm has networks with the names and shapes of a plain ResNet that compute
// something else: resnetaa (average pools where the stride was) and resnetblur (blurred before it is strided). Only a name
// can tell them from resnet18 and resnet50; where nothing names them, nobody can. Group norms have the names of batch norms
// whose statistics were not saved.

import ResNetModels

/// A text that names a network, and where it stands.
struct NetworkClaim: Sendable, Hashable {
    /// E.g. `arch`, `the file's name`.
    let source: String
    let text: String

    private static let keys: Set<String> = [
        "arch", "architecture", "model", "model_name", "model_type", "backbone", "encoder", "encoder_name", "name",
    ]

    static func claims(
        path: String, metadata: [String: String], pickled: [PickledFact], config: ModelConfig?
    ) -> [NetworkClaim] {
        var claims = names(in: path).map { NetworkClaim(source: "the file's name", text: $0) }
        for (key, text) in metadata.sorted(by: { $0.key < $1.key }) where keys.contains(key) {
            claims.append(NetworkClaim(source: key, text: text))
        }
        for fact in pickled where keys.contains(fact.key) && claims.count < 100 {
            claims.append(NetworkClaim(source: (fact.path + [fact.key]).joined(separator: "."), text: fact.text))
        }
        if let name = config?.architecture { claims.append(NetworkClaim(source: ModelConfig.fileName, text: name)) }
        return claims
    }

    /// The file's name; where it is everybody's, the folder's; and the repository's in Hugging Face's cache.
    private static func names(in path: String) -> [String] {
        let parts = path.split(separator: "/").map(String.init)
        var names = Array(parts.suffix(1))
        if let last = names.first, last.hasPrefix("model") || last.hasPrefix("pytorch_model") {
            names += parts.dropLast().suffix(1)
        }
        return names + parts.filter { $0.hasPrefix("models--") }
    }

    /// The model that is named, where only its name tells it from another of the same names and shapes.
    static func model(_ claims: [NetworkClaim]) -> ModelName? {
        let candidates = ModelName.allCases.filter(\.isToldByName)
        for claim in claims {
            let text = claim.text.lowercased()
            // resnetaa50 is in resnetaa50d.
            let named = candidates.filter { text.contains($0.rawValue) }.max { $0.rawValue.count < $1.rawValue.count }
            if let named { return named }
        }
        return nil
    }

    /// A sentence about the network that is named, where it shares a plain ResNet's names and shapes.
    static func otherNetwork(_ claims: [NetworkClaim]) -> String? {
        guard model(claims) == nil else { return nil }
        for claim in claims {
            let text = claim.text.lowercased()
            for (name, what) in relatives where text.contains(name) {
                return "\(claim.text) (\(claim.source)) has the names and shapes of a plain ResNet, but \(what)"
            }
        }
        return nil
    }

    private static let relatives = [
        ("resnetaa", "pools averages where that has a stride"),
        ("resnextaa", "pools averages where that has a stride"),
        ("resnetblur", "blurs before it strides"),
    ]
}
