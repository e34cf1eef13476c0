// What can be wrong with a picture file, as a value: which file, what fault, and the decoder's own words.

/// A picture that cannot be read or written. `description` is one line that names the file and the fault.
public struct PictureError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of fault, for programs that decide what to do next.
    public enum Fault: Sendable, Hashable {
        /// No such file.
        case missing
        /// A folder, a device, anything but a file of bytes.
        case notAFile
        /// The operating system refused; its words.
        case unreadable(String)
        /// No bytes.
        case empty
        /// Of no format that is read; what it looks like instead.
        case unknownFormat(String)
        /// The file ends before the picture does; the decoder's words.
        case truncated(String)
        /// The decoder gave up; its words.
        case corrupt(String)
        /// Valid, but of a kind that is not read; the decoder's words.
        case unsupported(String)
        /// More pixels than `Picture.pixelLimit`, or a file of more than `Picture.fileLimit` bytes.
        case tooLarge(String)
        /// Memory is short.
        case outOfMemory
        /// The operating system did not let it be written; its words.
        case unwritable(String)
        /// It was read, but does not go through a transform.
        case transform(TransformError)
    }

    /// The file, or the name given to bytes in memory.
    public let path: String
    /// What is the matter with it.
    public let fault: Fault

    public init(path: String, fault: Fault) {
        self.path = path
        self.fault = fault
    }

    public var description: String { "\(path): \(fault.description)" }
}

extension PictureError.Fault: CustomStringConvertible {
    public var description: String {
        switch self {
        case .missing: "no such file"
        case .notAFile: "is a folder or a device, not a picture file"
        case .unreadable(let why): "cannot be read: \(why)"
        case .empty: "the file is empty"
        case .unknownFormat(let what): "is not a \(PictureFormat.list) picture; \(what)"
        case .truncated(let why): "the picture is cut off: \(why)"
        case .corrupt(let why): "the picture is damaged: \(why)"
        case .unsupported(let why): "this kind of picture is not supported: \(why)"
        case .tooLarge(let why): "the picture is too large: \(why)"
        case .outOfMemory: "not enough memory for the picture"
        case .unwritable(let why): "cannot be written: \(why)"
        case .transform(let error): error.description
        }
    }
}
