// What is wrong with a graph, or with a picture size for it: at which node, what it needs, and what it was given.

/// A graph that does not run: a layer that cannot take what it is given.
public struct GraphError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Name of the node, e.g. `layer3.0.conv1`.
    public let node: String
    /// What the node needs.
    public let expected: String
    /// What it gets.
    public let found: String

    public init(node: String, expected: String, found: String) {
        self.node = node
        self.expected = expected
        self.found = found
    }

    public var description: String { "\(node): expected \(expected), found \(found)" }
}
