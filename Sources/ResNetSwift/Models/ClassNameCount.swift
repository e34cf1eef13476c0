// Class names come from many places (a checkpoint, `config.json`, a user's file); all are held to the same rule.

import ResNetGraph

extension Graph {
    /// What is wrong with so many class names for this network, in a sentence that the origin of the names precedes; nil if
    /// there is one for each class.
    package func fault(inClassNames count: Int, network: String) -> String? {
        let classes = classCount ?? 0
        return count == classes ? nil : "expected \(classes) class names for \(network), found \(count)"
    }
}
