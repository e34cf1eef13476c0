// Which parameters share a learning rate: all of them, a rate for each stage, or rates that decay towards the input.
//
//     stage    conv1, bn1   layer1   layer2   layer3   layer4   fc
//     scale    d^5          d^4      d^3      d^2      d        1       (layer-wise decay d)

import ResNetExecution
import ResNetGraph
import ResNetModels

extension ParameterGroup {
    /// All parameters in one group.
    /// - Parameters:
    ///   - graph: whose trainable parameters are grouped.
    ///   - weightDecay: of the group.
    ///   - decaysAll: false spares biases and batch norms the weight decay; they are then in a group of their own.
    public static func single(_ graph: Graph, weightDecay: Float = 0, decaysAll: Bool = true) -> [ParameterGroup] {
        divided([("all", graph.trainable)], graph, weightDecay, decaysAll) { _ in 1 }
    }

    /// A group for each stage, with the scale that `scales` gives for its name; 1 where it gives none.
    /// - Throws: `ModelError.selection` for a name that is no stage of the graph.
    public static func byStage(
        _ graph: Graph, scales: [String: Float], weightDecay: Float = 0, decaysAll: Bool = true
    ) throws(ModelError) -> [ParameterGroup] {
        let stages = graph.stages
        for name in scales.keys.sorted() where !stages.contains(where: { $0.name == name }) {
            throw .selection(
                pattern: name, expected: "a stage: \(stages.map(\.name).joined(separator: ", "))", found: "'\(name)'")
        }
        return divided(stages, graph, weightDecay, decaysAll) { scales[$0] ?? 1 }
    }

    /// A group for each stage; each has `decay` times the rate of the one behind it, the last the full rate.
    public static func layerwiseDecay(
        _ graph: Graph, decay: Float, weightDecay: Float = 0, decaysAll: Bool = true
    ) -> [ParameterGroup] {
        let stages = graph.stages
        var scales: [String: Float] = [:]
        var scale: Float = 1
        for stage in stages.reversed() {
            scales[stage.name] = scale
            scale *= decay
        }
        return divided(stages, graph, weightDecay, decaysAll) { scales[$0]! }
    }

    private static func divided(
        _ stages: [(name: String, parameters: [String])], _ graph: Graph, _ weightDecay: Float, _ decaysAll: Bool,
        _ scale: (String) -> Float
    ) -> [ParameterGroup] {
        guard weightDecay > 0, !decaysAll else {
            return stages.map {
                ParameterGroup(
                    name: $0.name, parameters: $0.parameters, learningRateScale: scale($0.name),
                    weightDecay: weightDecay)
            }
        }
        let weights = Set(graph.parameters.filter { $0.role == .convWeight || $0.role == .linearWeight }.map(\.name))
        return stages.flatMap { stage in
            let (decayed, spared) = (
                stage.parameters.filter(weights.contains), stage.parameters.filter { !weights.contains($0) }
            )
            return [(stage.name, decayed, weightDecay), ("\(stage.name), not decayed", spared, 0)]
                .filter { !$0.1.isEmpty }
                .map {
                    ParameterGroup(
                        name: $0.0, parameters: $0.1, learningRateScale: scale(stage.name), weightDecay: $0.2)
                }
        }
    }
}

extension Graph {
    /// Keys of all parameters but buffers, in definition order.
    var trainable: [String] { parameters.filter { !$0.role.isBuffer }.map(\.name) }

    /// The trainable parameters by stage, in definition order: what belongs to the head is `head`; of the rest, modules
    /// that contain others are stages by their name (`layer1`), and what stands alone before the first of them is `stem`.
    public var stages: [(name: String, parameters: [String])] {
        let head = headParameters
        var stages: [(name: String, parameters: [String])] = []
        for parameter in trainable {
            let parts = parameter.split(separator: ".")
            let name =
                head.contains(parameter)
                ? "head" : parts.count > 2 ? String(parts[0]) : stages.isEmpty ? "stem" : stages[stages.count - 1].name
            if let index = stages.firstIndex(where: { $0.name == name }) {
                stages[index].parameters.append(parameter)
            } else {
                stages.append((name, [parameter]))
            }
        }
        return stages
    }
}
