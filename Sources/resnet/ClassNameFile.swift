// A file of class names, as users write it.

import ResNetSwift

/// One name a line, or a JSON list of strings.
func readClassNames(_ path: String) throws -> [String] {
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
