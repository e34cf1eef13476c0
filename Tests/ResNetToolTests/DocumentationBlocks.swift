// The code in the documentation, block by block: fenced blocks of every Markdown file and of `///` comments, complete programs
// in the headers' comments.

import Foundation

struct CodeBlock {
    /// Below the repository.
    let file: String
    /// Of the block's first line of code, from 1.
    let line: Int
    /// As the fence says.
    let language: String
    let lines: [String]

    var text: String { lines.joined(separator: "\n") + "\n" }
    var place: String { "\(file):\(line)" }
    /// How the list of unchecked blocks names it.
    var title: String { "\(file): \(lines.first { !$0.isEmpty }?.trimmingCharacters(in: .whitespaces) ?? "")" }
}

/// Markdown, in a file or in the comments of one, with what a reader sees and can be wrong.
struct MarkdownText {
    var blocks: [CodeBlock] = []
    /// Code within sentences.
    var codes: [(line: Int, text: String)] = []
    /// Targets of links and pictures.
    var links: [(line: Int, target: String)] = []
    /// Lines of blocks that are indented and not fenced: nobody says what they are.
    var indented: [Int] = []
    /// Lines of fences that nothing closes.
    var unclosed: [Int] = []

    /// - Parameter lines: with their numbers in the file.
    init(_ lines: [(number: Int, text: String)], file: String) {
        var fence: (number: Int, language: String, lines: [String])?
        var (isBlankBefore, isList) = (true, false)
        var openCode: String?
        for (number, text) in lines {
            let trimmed = text.trimmingCharacters(in: .whitespaces)
            if let open = fence {
                if trimmed == "```" {
                    blocks.append(
                        CodeBlock(file: file, line: open.number + 1, language: open.language, lines: open.lines))
                    fence = nil
                } else {
                    fence!.lines.append(text)
                }
                continue
            }
            if trimmed.hasPrefix("```") {
                fence = (number, String(trimmed.dropFirst(3)), [])
                continue
            }
            defer { isBlankBefore = trimmed.isEmpty }
            guard !trimmed.isEmpty else {
                openCode = nil
                continue
            }
            let isItem = trimmed.hasPrefix("- ") || trimmed.hasPrefix("* ") || trimmed.first!.isNumber
            if isItem { isList = true } else if !text.hasPrefix(" ") { isList = false }
            if text.hasPrefix("    "), isBlankBefore, !isList { indented.append(number) }
            readSentence(trimmed, number, &openCode)
        }
        if let fence { unclosed.append(fence.number) }
    }

    /// - Parameter open: code that the line before began and did not end.
    private mutating func readSentence(_ text: String, _ number: Int, _ open: inout String?) {
        let parts = ((open.map { "`" + $0 + " " } ?? "") + text).components(separatedBy: "`")
        for index in stride(from: 1, to: parts.count - 1, by: 2) { codes.append((number, parts[index])) }
        open = parts.count.isMultiple(of: 2) ? parts.last : nil
        for part in text.components(separatedBy: "](").dropFirst() {
            if let end = part.firstIndex(of: ")") { links.append((number, String(part[..<end]))) }
        }
    }
}

/// All documentation of the repository, read once.
struct Documentation {
    static let repository = ToolFolder.repository

    /// By file, Markdown files and Swift sources.
    let texts: [(file: String, text: MarkdownText)]
    let headerPrograms: [CodeBlock]

    var blocks: [CodeBlock] { texts.flatMap(\.text.blocks) + headerPrograms }

    static func lines(of file: String) throws -> [(number: Int, text: String)] {
        try String(contentsOfFile: "\(repository)/\(file)", encoding: .utf8).components(separatedBy: "\n").enumerated()
            .map { ($0 + 1, $1) }
    }

    init() throws {
        let root = URL(fileURLWithPath: Self.repository)
        let files = FileManager.default.enumerator(
            at: root, includingPropertiesForKeys: nil, options: .skipsHiddenFiles)
        var texts: [(file: String, text: MarkdownText)] = []
        while let url = files?.nextObject() as? URL {
            let file = String(url.path.dropFirst(root.path.count + 1))
            if file.hasSuffix(".md") {
                texts.append((file, MarkdownText(try Self.lines(of: file), file: file)))
            } else if file.hasPrefix("Sources/ResNetSwift/"), file.hasSuffix(".swift") {
                texts.append((file, MarkdownText(Self.comments(try Self.lines(of: file)), file: file)))
            }
        }
        self.texts = texts.sorted { $0.file < $1.file }
        headerPrograms = try [
            "Sources/CKernels/include/ckernels.h", "Sources/CKernels/include/ckernels_training.h",
            "Sources/CKernels/include/ckernels_int8.h",
            "Sources/CResNetHeader/include/resnet.h",
        ].flatMap { file in Self.programs(try Self.lines(of: file), file: file) }
    }

    /// The text of `///` comments; what lies between two comments is an empty line.
    private static func comments(_ lines: [(number: Int, text: String)]) -> [(number: Int, text: String)] {
        lines.map { number, text in
            let trimmed = text.drop { $0 == " " }
            guard trimmed.hasPrefix("///") else { return (number, "") }
            return (number, String(trimmed.dropFirst(trimmed.hasPrefix("/// ") ? 4 : 3)))
        }
    }

    /// Programs within a C comment: indented lines ` *     `, from the first that includes a header to the brace that closes
    /// `main`.
    private static func programs(_ lines: [(number: Int, text: String)], file: String) -> [CodeBlock] {
        var programs: [CodeBlock] = []
        var open: (line: Int, lines: [String])?
        for (number, text) in lines {
            let code = String(text.dropFirst(7))
            guard var program = open else {
                if text.hasPrefix(" *     #include") { open = (number, [code]) }
                continue
            }
            program.lines.append(code)
            open = program
            if code == "}" {
                programs.append(CodeBlock(file: file, line: program.line, language: "c", lines: program.lines))
                open = nil
            }
        }
        return programs
    }
}
