// What can be wrong when a picture meets a transform.

import ResNetGraph

/// Why a picture does not go through a transform, or a stored transform is none.
public enum TransformError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The picture has another number of channels than the transform.
    case channels(expected: Int, found: Int)
    /// The result of a resize would be absurd: a very long and thin picture, usually.
    case tooLarge(Size2, limit: Int)
    /// Pictures of a batch come out with different sizes.
    case sizesDiffer(Size2, Size2)
    /// No memory for the result.
    case outOfMemory
    /// A stored transform that cannot be understood; what is wrong with it.
    case invalid(String)

    public var description: String {
        switch self {
        case .channels(let expected, let found):
            "the picture has \(found) channels where the transform expects \(expected)"
        case .tooLarge(let size, let limit):
            "the picture would become \(size.width) x \(size.height), more than \(limit) pixels"
        case .sizesDiffer(let a, let b):
            "pictures of one batch differ in size: \(a.width) x \(a.height) and \(b.width) x \(b.height)"
        case .outOfMemory: "not enough memory for the picture"
        case .invalid(let what): "the stored transform \(what)"
        }
    }
}
