// What is wrong with an ONNX file: which file, which part or node, what was expected, what was found.

/// What is wrong, without the file's name.
public enum ONNXFault: Error, Sendable, Hashable {
    /// The file cannot be opened or read: the system's reason.
    case cannotRead(String)
    /// The file cannot be written: the system's reason.
    case cannotWrite(String)
    /// The bytes are no protobuf message of ONNX.
    case malformed(part: String, problem: String)
    /// A node that no network here can contain; `node` is its name and its operator.
    case unsupported(node: String, expected: String, found: String)
    /// External data that is not there, or not as large as announced.
    case externalData(tensor: String, problem: String)
}

/// An ONNX file that cannot be read or written.
public struct ONNXError: Error, Sendable, Hashable, CustomStringConvertible {
    /// As given.
    public let path: String
    /// What is wrong.
    public let fault: ONNXFault

    public var description: String {
        switch fault {
        case .cannotRead(let problem): "\(path): \(problem)"
        case .cannotWrite(let problem): "\(path): \(problem)"
        case .malformed(let part, let problem): "\(path): not an ONNX file, or damaged: \(part): \(problem)"
        case .unsupported(let node, let expected, let found):
            "\(path): node \(node): expected \(expected), found \(found)"
        case .externalData(let tensor, let problem): "\(path): external data of \(tensor): \(problem)"
        }
    }
}
