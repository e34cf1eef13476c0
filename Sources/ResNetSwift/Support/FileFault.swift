// What the operating system can refuse about a file. Rooms above name the file and wrap it in an error of their own.

/// Why a file could not be read or written.
package enum FileFault: Error, Sendable, Equatable, CustomStringConvertible {
    /// No such file, a directory, no permission.
    case cannotRead(String)
    /// A full disk, no permission; what stood there before is intact.
    case cannotWrite(String)
    /// There is nothing in the file.
    case isEmpty

    package var description: String {
        switch self {
        case .cannotRead(let reason): "cannot be read: \(reason)"
        case .cannotWrite(let reason): "cannot be written: \(reason)"
        case .isEmpty: "the file is empty"
        }
    }
}
