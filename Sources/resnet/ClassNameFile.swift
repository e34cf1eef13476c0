// A file of class names, as users write it.

import ResNetSwift

/// One name a line, a JSON list of strings, or a JSON object of names and numbers.
func readClassNames(_ path: String) throws -> [String] {
    guard let text = readText(path) else {
        throw ToolError("\(path): expected a text file of class names, one a line; it cannot be read as text")
    }
    if let first = text.first(where: { !$0.isWhitespace }), first == "[" || first == "{" {
        let value: JSONValue
        do { value = try JSONValue.parse(text) } catch { throw ToolError("\(path): \(error)") }
        guard let names = names(in: value) else {
            throw ToolError(
                "\(path): expected a list of strings, or an object as id2label {\"0\": \"cat\", ...} or label2id "
                    + "{\"cat\": 0, ...} has it")
        }
        return names
    }
    var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map(String.init)
    while lines.last?.allSatisfy(\.isWhitespace) == true { lines.removeLast() }
    return lines
}

/// A list; `id2label` or `label2id` by itself or inside a configuration; ImageNet's {"0": ["n01440764", "tench"]}.
private func names(in value: JSONValue) -> [String]? {
    switch value {
    case .array(let items):
        let names = items.compactMap(\.stringValue)
        return names.count == items.count ? names : nil
    case .object(let members):
        for key in ["id2label", "label2id"] {
            if let inner = value[key], case .object = inner { return names(in: inner) }
        }
        var byNumber: [Int: String] = [:]
        for member in members {
            if let number = Int(member.key),
                let name = member.value.stringValue ?? member.value.arrayValue?.last?.stringValue
            {
                byNumber[number] = name
            } else if let number = member.value.integerValue {
                byNumber[number] = member.key
            }
        }
        let names = (0..<members.count).compactMap { byNumber[$0] }
        return names.count == members.count && !names.isEmpty ? names : nil
    default: return nil
    }
}
