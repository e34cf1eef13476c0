// What can be wrong with a request for a model or for a change to one.

/// What can be wrong with a request for a model or for a change to one. `description` names place, expected and found.
public enum ModelError: Error, Sendable, Hashable, CustomStringConvertible {
    /// A value that a model family does not have.
    case configuration(model: String, field: String, expected: String, found: String)
    /// No model of that name; `nearest` are the known names that look most like it, at most two, and none if none does.
    case unknownModel(name: String, nearest: [String])
    /// A freeze policy that selects what the model does not have.
    case selection(pattern: String, expected: String, found: String)
    /// A change that does not fit the structure of the model.
    case structure(node: String, expected: String, found: String)

    public var description: String {
        switch self {
        case .configuration(let model, let field, let expected, let found):
            "\(model): \(field) must be \(expected), not \(found)"
        case .unknownModel(let name, let nearest):
            "no model is called '\(name)'"
                + (nearest.isEmpty
                    ? "" : "; did you mean \(nearest.map { "'\($0)'" }.joined(separator: " or "))?")
        case .selection(let pattern, let expected, let found):
            "freezing '\(pattern)': expected \(expected), found \(found)"
        case .structure(let node, let expected, let found): "\(node): expected \(expected), found \(found)"
        }
    }
}
