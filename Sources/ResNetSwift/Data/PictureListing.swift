// What a search for pictures finds, and what it passes over.

/// A file or folder that was left out, and why.
public struct SkippedFile: Sendable, Hashable {
    /// Begins with the folder that was searched.
    public let path: String
    /// In words.
    public let reason: String

    public init(path: String, reason: String) {
        self.path = path
        self.reason = reason
    }
}

/// The pictures of a folder, and everything else in it.
public struct PictureListing: Sendable, Hashable {
    /// Of kinds that are read; sorted byte by byte, so the same on every machine.
    public internal(set) var pictures: [String] = []
    /// Pictures of kinds that are not read, folders that cannot be listed, links that lead nowhere; sorted as well.
    public internal(set) var unread: [SkippedFile] = []
    /// How many other files there are, by extension in lower case, "" where they have none.
    public internal(set) var others: [String: Int] = [:]

    mutating func add(_ other: PictureListing) {
        pictures += other.pictures
        unread += other.unread
        others.merge(other.others, uniquingKeysWith: +)
    }

    /// `3 .txt, 1 .csv`: the other files in words; nil where there are none.
    public var othersInWords: String? { others.isEmpty ? nil : Self.inWords(others) }

    /// `12 .heic, 3 .svg`: what is not read in words; nil where there is nothing.
    public var unreadInWords: String? {
        guard !unread.isEmpty else { return nil }
        return Self.inWords(Dictionary(unread.map { ($0.path.fileExtension, 1) }, uniquingKeysWith: +))
    }

    private static func inWords(_ counts: [String: Int]) -> String {
        let sorted = counts.sorted { (-$0.value, $0.key) < (-$1.value, $1.key) }
        var words = sorted.prefix(5).map { "\($1) \($0.isEmpty ? "without extension" : ".\($0)")" }
        if sorted.count > 5 { words.append("\(sorted.dropFirst(5).reduce(0) { $0 + $1.value }) more") }
        return words.joined(separator: ", ")
    }
}

extension String {
    /// `jpg` of `a/b.c.JPG`; empty where the name has no dot.
    var fileExtension: String {
        let name = utf8.lastIndex(of: UInt8(ascii: "/")).map { self[index(after: $0)...] } ?? self[...]
        guard let dot = name.utf8.lastIndex(of: UInt8(ascii: ".")) else { return "" }
        return name[dot...].dropFirst().lowercased()
    }
}
