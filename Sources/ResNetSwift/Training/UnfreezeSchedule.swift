// Gradual unfreezing: which part of the network is frozen from which epoch on.
//
//     epoch      0..1         2..3            4..5            6...
//     frozen     all but      up to layer3    up to layer2    nothing
//                the head

import ResNetGraph
import ResNetModels

/// Gradual unfreezing: what is frozen from which epoch on.
public struct UnfreezeSchedule: Sendable, Hashable {
    /// Policies by the epoch they begin in, counted from 0.
    public let policies: [Int: FreezePolicy]
    /// Frozen batch norms go on updating their running statistics.
    public let updatesStatistics: Bool

    public init(_ policies: [Int: FreezePolicy], updatesStatistics: Bool = false) {
        precondition(policies.keys.allSatisfy { $0 >= 0 }, "epochs count from 0")
        self.policies = policies
        self.updatesStatistics = updatesStatistics
    }

    /// First the head alone, then one stage more every so many epochs, from the head towards the input.
    public static func gradual(_ graph: Graph, everyEpochs: Int, updatesStatistics: Bool = false) -> UnfreezeSchedule {
        precondition(everyEpochs > 0, "a stage takes at least one epoch")
        let trunk = graph.stages.filter { $0.name != "head" }
        var policies: [Int: FreezePolicy] = [0: .allButHead]
        for count in 1...max(trunk.count, 1) {
            // The stem is no module: it goes by the names of its layers.
            let last = trunk.count - 1 - count
            policies[count * everyEpochs] =
                last < 0
                ? FreezePolicy.none
                : trunk[last].name == "stem"
                    ? .names(Set(trunk[last].parameters.map(\.parentPath)).sorted()) : .upTo(trunk[last].name)
        }
        return UnfreezeSchedule(policies, updatesStatistics: updatesStatistics)
    }

    /// What is frozen in an epoch; nil before the first entry, where the model's own choice stands.
    func frozen(in epoch: Int, of graph: Graph) throws(ModelError) -> Set<String>? {
        guard let key = policies.keys.filter({ $0 <= epoch }).max(), let policy = policies[key] else { return nil }
        var names = try graph.selection(of: policy)
        if updatesStatistics { names.subtract(graph.parameters.filter { $0.role.isBuffer }.map(\.name)) }
        return names
    }
}
