// Names for the classes: the user's file, the checkpoint's, ImageNet's, or none.

import ResNetSwift

struct ClassNames {
    private let names: [String]?

    /// - Parameter path: one name a line, or a JSON list of strings.
    init(path: String?, for loaded: LoadedModel) throws {
        let classes = loaded.classCount
        if let path {
            let read = try Self.read(path)
            guard read.count == classes else {
                throw ToolError("\(path): expected \(classes) class names for \(loaded.name), found \(read.count)")
            }
            names = read
        } else if let stored = loaded.model.classNames {
            guard stored.count == classes else {
                throw ToolError(
                    "\(loaded.origin): expected \(classes) class names in its metadata, found \(stored.count)")
            }
            names = stored
        } else {
            names = classes == ImageNet.classNames.count ? ImageNet.classNames : nil
        }
    }

    subscript(index: Int) -> String { names?[index] ?? "class \(index)" }

    /// The longest name, for a column.
    var width: Int { names?.map(\.count).max() ?? "class 1000".count }

    static func read(_ path: String) throws -> [String] {
        guard let text = readText(path) else {
            throw ToolError("\(path): expected a text file of class names, one a line; it cannot be read as text")
        }
        if text.first(where: { !$0.isWhitespace }) == "[" {
            let list: [JSONValue]?
            do { list = try JSONValue.parse(text).arrayValue } catch { throw ToolError("\(path): \(error)") }
            let names = (list ?? []).compactMap(\.stringValue)
            guard names.count == list?.count else { throw ToolError("\(path): expected a list of strings") }
            return names
        }
        var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map(String.init)
        while lines.last?.allSatisfy(\.isWhitespace) == true { lines.removeLast() }
        return lines
    }
}
