// What was taken of a file and what was left, in one sentence for people.

import ResNetGraph

extension WeightFile {
    /// Where the weights were found, what was assumed and what was left; nil where there is nothing to say: plain names at the
    /// file's top.
    public var summary: String? {
        var parts: [String] = []
        if !wrapper.isEmpty { parts.append("found under \(wrapper.joined(separator: " > "))") }
        if !prefix.isEmpty { parts.append("prefix \(prefix)") }
        parts += notes
        let outside = entries.filter { $0.part == .outside }.map(\.key)
        if !outside.isEmpty { parts.append("left: \(Self.list(outside))") }
        if !unread.isEmpty { parts.append("not read: \(Self.list(unread.map { "\($0.key) (\($0.reason))" }))") }
        if !ignored.isEmpty { parts.append("not read: \(Self.list(ignored))") }
        return parts.isEmpty ? nil : parts.joined(separator: "; ")
    }

    private static func list(_ names: [String]) -> String {
        names.prefix(4).joined(separator: ", ") + (names.count > 4 ? " and \(names.count - 4) more" : "")
    }

    /// What a checkpoint made of these weights may carry along: facts that mean something here, and what others wrote under words
    /// of their own.
    package var portableMetadata: [String: String] {
        let internalKeys = [MetadataKey.format, MetadataKey.training, MetadataKey.marker, MetadataKey.quantization]
        return metadata.filter { !MetadataKey.own.contains($0.key) }.merging(facts) { _, fact in fact }
            .filter { !internalKeys.contains($0.key) }
    }

    /// Class names stored with the weights; nil where there are none.
    package var classNames: [String]? { facts[MetadataKey.classes].flatMap(MetadataKey.classNames) }
}
