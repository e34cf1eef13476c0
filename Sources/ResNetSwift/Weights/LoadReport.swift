// What became of each tensor when weights met a model.

/// A tensor of equal name and other shape.
public struct ShapeMismatch: Sendable, Hashable {
    /// The model's name of the tensor.
    public let name: String
    /// As in the file.
    public let fileShape: [Int]
    /// As the model wants it.
    public let modelShape: [Int]
}

/// A tensor of equal name whose element type cannot stand for weights.
public struct TypeMismatch: Sendable, Hashable {
    /// The model's name of the tensor.
    public let name: String
    /// As in the file.
    public let type: ElementType
}

/// By the model's names, each list in the model's or the file's order.
public struct LoadReport: Sendable, Hashable {
    /// Loaded, or going to be.
    public var loaded: [String] = []
    /// Parameters of the model that the file lacks.
    public var missing: [String] = []
    /// Tensors of the file that the model lacks.
    public var unexpected: [String] = []
    /// Of equal name and other shape.
    public var mismatched: [ShapeMismatch] = []
    /// Integers where weights belong.
    public var wrongType: [TypeMismatch] = []
    /// Loaded after adapting them to the model's number of input channels; also among `loaded`.
    public var adapted: [ShapeMismatch] = []
    /// Parameters of the model that are in the file, but cannot be read; also among `missing`.
    public var unread: [UnreadTensor] = []
    /// Tensors of the file that are no part of the network: under another prefix, counters of losses, other heads.
    public var left: [String] = []
    /// Why these weights are not taken whatever their shapes: a variant of the architecture that this library does not
    /// build, or several networks in one file.
    public var variant: String?

    /// Nothing compared yet.
    public init() {}

    /// Nothing missing, unexpected or of another shape.
    public var isComplete: Bool {
        missing.isEmpty && unexpected.isEmpty && mismatched.isEmpty && wrongType.isEmpty && variant == nil
    }
}

extension LoadReport: CustomStringConvertible {
    public var description: String {
        func list(_ names: [String]) -> String {
            let shown = names.prefix(6).joined(separator: ", ")
            return names.count > 6 ? "\(shown) and \(names.count - 6) more" : shown
        }
        var lines = ["\(loaded.count) tensors match"]
        if let variant { lines.append(variant) }
        let absent = missing.filter { name in !unread.contains { $0.key == name } }
        if !absent.isEmpty { lines.append("missing in the file (\(absent.count)): \(list(absent))") }
        if !unread.isEmpty {
            lines.append("cannot be read (\(unread.count)): \(list(unread.map { "\($0.key), \($0.reason)" }))")
        }
        if !unexpected.isEmpty { lines.append("unknown to the model (\(unexpected.count)): \(list(unexpected))") }
        if !mismatched.isEmpty {
            let names = mismatched.map { "\($0.name) is \($0.fileShape) in the file, \($0.modelShape) in the model" }
            lines.append("other shapes (\(mismatched.count)): \(list(names))")
        }
        if !wrongType.isEmpty {
            let names = wrongType.map { "\($0.name) is \($0.type.rawValue)" }
            lines.append("not floating point (\(wrongType.count)): \(list(names))")
        }
        for change in adapted {
            lines.append("\(change.name) adapted from \(change.fileShape) to \(change.modelShape)")
        }
        if !left.isEmpty { lines.append("left (\(left.count)): \(list(left))") }
        return lines.joined(separator: "; ")
    }
}
