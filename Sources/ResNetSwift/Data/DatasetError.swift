// What can be wrong with a data set, before any picture is decoded.

/// What can be wrong with a data set. `description` is one line that names place, expected and found.
public enum DatasetError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The operating system refused, or it is no such file.
    case cannotRead(path: String, reason: String)
    /// A folder without what a data set needs: class folders, pictures in them.
    case layout(path: String, expected: String, found: String)
    /// A line of a table that cannot be understood.
    case line(path: String, line: Int, expected: String, found: String)
    /// An array of the wrong shape, type or content.
    case array(path: String, key: String, expected: String, found: String)
    /// A request that this data set cannot serve.
    case request(expected: String, found: String)
    /// Too many pictures cannot be read; all those met so far.
    case tooManySkipped(limit: Int, of: Int, skipped: [SkippedSample])

    public var description: String {
        switch self {
        case .cannotRead(let path, let reason): return "\(path): \(reason)"
        case .layout(let path, let expected, let found): return "\(path): expected \(expected), found \(found)"
        case .line(let path, let line, let expected, let found):
            return "\(path), line \(line): expected \(expected), found \(found)"
        case .array(let path, let key, let expected, let found):
            return "\(path), array \(key): expected \(expected), found \(found)"
        case .request(let expected, let found): return "expected \(expected), found \(found)"
        case .tooManySkipped(let limit, let count, let skipped):
            let list = skipped.map { "\n  \($0.reason)" }.joined()
            return "\(skipped.count) of \(count) pictures cannot be read, more than the limit of \(limit):\(list)"
        }
    }
}

/// A sample that was left out because it cannot be read.
public struct SkippedSample: Sendable, Hashable {
    /// Index in the data set.
    public let sample: Int
    /// Names the file and the fault.
    public let reason: String

    public init(sample: Int, reason: String) {
        self.sample = sample
        self.reason = reason
    }
}
