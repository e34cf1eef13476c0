// What stands after the last feature map: from planes to logits. A head is a value, so that a pretrained trunk can be given
// another one.

import ResNetGraph

/// What stands after the last feature map, from planes to logits: a value, so that a pretrained trunk can be given
/// another one.
public struct Head: Sendable {
    /// Writes the head's nodes after the last map x (N, C, H, W) and finishes the graph.
    public let write: @Sendable (inout GraphBuilder, _ x: Node) -> Graph

    /// A head of your own:
    ///
    /// ```swift
    /// let head = Head { g, x in
    ///     let h = g.flatten(g.globalAveragePool(x, "avgpool"))
    ///     return g.finish(logits: g.linear(g.dropout(h, "dropout", 0.2), "fc", 5), features: h)
    /// }
    /// ```
    public init(_ write: @escaping @Sendable (inout GraphBuilder, _ x: Node) -> Graph) { self.write = write }

    /// Mean over the picture and one linear layer `fc`: a ResNet's own head.
    public static func linear(classes: Int) -> Head { linear(classes: classes, bias: true) }

    package static func linear(classes: Int, bias: Bool) -> Head {
        Head { g, x in
            let h = g.flatten(g.globalAveragePool(x, "avgpool"))
            return g.finish(logits: g.linear(h, "fc", classes, bias: bias), features: h)
        }
    }

    /// Mean over the picture and nothing after it: the result is the features. For weights that come without a classifier;
    /// `Model.replacingHead(classes:seed:)` gives them one.
    public static let features = Head { g, x in
        let h = g.flatten(g.globalAveragePool(x, "avgpool"))
        return g.finish(logits: h, features: h)
    }

    /// Mean, flatten, linear to `width`, ReLU, dropout, linear to the labels, as `head.0` to `head.5`: the head of the
    /// Human Protein Atlas write-up (28 labels, several a picture).
    public static func hidden(_ width: Int = 512, dropout: Double = 0.5, labels: Int) -> Head {
        layers([width], dropout: dropout, labels: labels)
    }

    /// Mean, flatten, then linear, ReLU and dropout for each width, and a linear layer to the labels: the linear layers are
    /// `head.2`, `head.5`, `head.8`...
    public static func layers(_ widths: [Int], dropout: Double = 0.5, labels: Int) -> Head {
        Head { g, x in
            g.container("head", "Sequential")
            let h = g.flattenModule(g.globalAveragePool(x, "head.0"), "head.1")
            var (y, place) = (h, 2)
            for width in widths {
                y = g.relu(g.linear(y, "head.\(place)", width), "head.\(place + 1)")
                y = g.dropout(y, "head.\(place + 2)", dropout)
                place += 3
            }
            return g.finish(logits: g.linear(y, "head.\(place)", labels), features: h)
        }
    }

    /// Mean, dropout, one linear unit `fc` and its sigmoid: yes or no.
    public static func sigmoidUnit(dropout: Double = 0.3) -> Head {
        Head { g, x in
            let h = g.flatten(g.globalAveragePool(x, "avgpool"))
            let logits = g.linear(g.dropout(h, "dropout", dropout), "fc", 1)
            return g.finish(logits: logits, features: h, probabilities: g.sigmoid(logits, "sigmoid"))
        }
    }
}

extension Graph {
    /// True where nothing stands after the features: there are no classes, and what a plan calls logits are the features.
    public var isBackbone: Bool { logits == features }

    /// Width of the logits; nil for a backbone.
    public var classCount: Int? {
        isBackbone ? nil : parameters.last { $0.role == .linearWeight }?.shape.first
    }

    /// The last feature map: what the head reads. Found backwards from the logits over linear layers, activations and
    /// dropout to the flatten node and the global pool before it; nil if there is none.
    public var trunkEnd: Int? {
        guard nodes.indices.contains(logits) else { return nil }
        var index = logits
        while true {
            guard nodes[index].inputs.count == 1 else { return nil }
            let previous = nodes[index].inputs[0]
            switch nodes[index].operation {
            case .linear, .relu, .sigmoid, .dropout: index = previous
            case .flatten:
                return nodes[previous].operation == .globalAveragePool ? nodes[previous].inputs[0] : previous
            default: return nil
            }
        }
    }

    /// Keys of the parameters and buffers after the last feature map.
    public var headParameters: Set<String> {
        guard let trunkEnd else { return [] }
        let trunk = prefix(through: trunkEnd).graph.parameters
        return Set(parameters.map(\.name)).subtracting(trunk.map(\.name))
    }
}
