// Heads by name: for the command line, and for the metadata of a checkpoint, so that a reader knows what stands
// after the last feature map.

import ResNetGraph
import ResNetSupport

/// A head by name, as the command line and a checkpoint's metadata write it.
public enum HeadKind: Sendable, Hashable {
    /// Mean and one linear layer `fc`: `linear`.
    case linear
    /// Mean, dropout, linear layer `fc`: `dropout:0.3`.
    case dropout(Double)
    /// Mean, linear layer of this width, ReLU, dropout, linear layer, as `head.2` and `head.5`: `hidden:512:0.5`.
    case hidden(Int, dropout: Double)
    /// The same with several linear layers of these widths before the last, as `head.2`, `head.5`, `head.8`...:
    /// `hidden:512,128:0.5`.
    case layers([Int], dropout: Double)

    /// The head, for so many classes or labels.
    public func head(classes: Int) -> Head {
        switch self {
        case .linear: .linear(classes: classes)
        case .dropout(let probability):
            Head { g, x in
                let h = g.flatten(g.globalAveragePool(x, "avgpool"))
                return g.finish(logits: g.linear(g.dropout(h, "dropout", probability), "fc", classes), features: h)
            }
        case .hidden(let width, let dropout): .hidden(width, dropout: dropout, labels: classes)
        case .layers(let widths, let dropout): .layers(widths, dropout: dropout, labels: classes)
        }
    }
}

extension HeadKind: LosslessStringConvertible {
    /// The most linear layers before the last.
    package static let maximumLayers = 16

    /// nil for what is none of `linear`, `dropout:P`, `hidden:WIDTH` and `hidden:WIDTH:P`, where commas separate several
    /// widths.
    public init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        func probability(_ text: String) -> Double? { Double(text).flatMap { (0..<1).contains($0) ? $0 : nil } }
        switch (parts[0], parts.count) {
        case ("linear", 1): self = .linear
        case ("dropout", 2):
            guard let value = probability(parts[1]) else { return nil }
            self = .dropout(value)
        case ("hidden", 2...3):
            guard let widths: [Int] = parts[1].numbers(), widths.allSatisfy({ 1...65536 ~= $0 }),
                widths.count <= Self.maximumLayers, let value = probability(parts.count > 2 ? parts[2] : "0.5")
            else { return nil }
            self = .hidden(widths, dropout: value)
        default: return nil
        }
    }

    public var description: String {
        switch self {
        case .linear: "linear"
        case .dropout(let probability): "dropout:\(probability)"
        case .hidden(let width, let dropout): "hidden:\(width):\(dropout)"
        case .layers(let widths, let dropout):
            "hidden:\(widths.map(String.init).joined(separator: ",")):\(dropout)"
        }
    }

    /// One width or several.
    package static func hidden(_ widths: [Int], dropout: Double) -> HeadKind {
        widths.count == 1 ? .hidden(widths[0], dropout: dropout) : .layers(widths, dropout: dropout)
    }
}

extension Model {
    /// The head as the metadata names it.
    public var headKind: HeadKind { metadata[MetadataKey.head].flatMap(HeadKind.init) ?? .linear }

    /// The trunk with a head that starts anew; the metadata name it, so that a checkpoint can be opened again.
    /// - Throws: `ModelError.structure` if the network has no head to replace.
    public func replacingHead(
        with kind: HeadKind, classes: Int, seed: UInt64, scheme: InitializationScheme = .torch
    ) throws(ModelError) -> Model {
        var model = try replacingHead(with: kind.head(classes: classes), seed: seed, scheme: scheme)
        model.metadata[MetadataKey.model] = metadata[MetadataKey.model]
        model.metadata[MetadataKey.head] = kind == .linear ? nil : kind.description
        return model
    }
}
