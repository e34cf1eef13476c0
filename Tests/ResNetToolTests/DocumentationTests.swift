// Every code block of the documentation is compiled, or its commands are parsed. What a block does not define itself stands in
// `given`, what cannot be checked in `unchecked`; both are meant to stay short.

import Foundation
import ResNetSwift
import XCTest

@testable import resnet

final class DocumentationTests: XCTestCase {
    /// Names that an article takes as given. Within a file a block also sees what the blocks before it define.
    private static let given: [String: String] = [
        "README.md": "weights: String, paths: [String]",
        "docs/training.md":
            "weights: String, folder: String, run: String, plain: ImageTransform, augmented: ImageTransform",
        "Examples/Swift/CatsAndDogs/README.md": "data: TrainingData, validation: DatasetSlice",
        "Examples/Swift/Posture/README.md": "start: Model, data: TrainingData, settings: TrainingSettings",
        "Sources/ResNetSwift/ResNetSwift/ResNetSwift.docc/Classifying.md":
            "weightBytes: [UInt8], photoBytes: [UInt8], paths: [String], floats: [Float]",
        "Sources/ResNetSwift/ResNetSwift/ResNetSwift.docc/Comparing.md": "model: Model",
        "Sources/ResNetSwift/ResNetSwift/ResNetSwift.docc/FineTuning.md":
            "data: TrainingData, plan: TrainingPlan, settings: TrainingSettings",
        "Sources/ResNetSwift/ResNetSwift/ResNetSwift.docc/FreezingLayers.md": "start: Model",
    ]

    /// Blocks that are no code, and why they stand there.
    private static let unchecked: [String: String] = [
        "DESIGN.md: ResNetSwift           what users import; re-exports the rooms below": "a drawing",
        "DESIGN.md: graph --Lowering or Differentiator--> program --schedule--> segments --> kernels --> places --> run loop":
            "a drawing",
        "DESIGN.md: data --BatchLoader--> batches --Trainer--> TrainingBackend (TrainingPlan)": "a drawing",
        "Examples/Swift/FourSituations/README.md: data    task                      pictures   train all   head only   after layer1":
            "what the program prints",
        "bench/README.md: compare.py, compare_training.py     the commands": "a list of files",
        "docs/robustness.md: $ convolution                             # C: a Winograd convolution with fused bias and ReLU against the reference":
            "what the examples print",
    ]

    /// Programs of others, whose arguments are theirs.
    private static let foreign: Set<String> = ["apt-get", "cc", "c++", "cmake", "git", "ssh", "ssh-copy-id", "swift"]

    private static let documentation = Result { try Documentation() }

    private func documentation() throws -> Documentation { try Self.documentation.get() }

    // MARK: - Nothing escapes

    func testEveryBlockHasALanguage() throws {
        let checked: Set = ["swift", "c", "cpp", "python", "cmake", "json", "sh", "console"]
        var texts: Set<String> = []
        for (file, text) in try documentation().texts {
            for line in text.indented { XCTFail("\(file):\(line): an indented block; fence it and name its language") }
            for line in text.unclosed { XCTFail("\(file):\(line): a fence without an end") }
        }
        for block in try documentation().blocks where !checked.contains(block.language) {
            texts.insert(block.title)
            if !["", "text"].contains(block.language) || Self.unchecked[block.title] == nil {
                XCTFail("\(block.place): '\(block.language)' is not checked; list it: \"\(block.title)\"")
            }
        }
        for title in Self.unchecked.keys where !texts.contains(title) { XCTFail("there is no such block: \(title)") }
        XCTAssertGreaterThan(try documentation().blocks.count, 30)
        XCTAssertEqual(Set(try documentation().headerPrograms.map(\.file)).count, 2)
    }

    // MARK: - Compiled

    func testSwiftCompiles() throws {
        let folder = try ToolFolder()
        var source = "import ResNetSwift\n"
        let blocks = try documentation().blocks.filter { $0.language == "swift" }
        let manifests = blocks.filter { $0.lines[0].hasPrefix("// swift-tools-version") }
        let files = Dictionary(grouping: blocks.filter { !$0.lines[0].hasPrefix("// swift-tools-version") }, by: \.file)
        XCTAssertGreaterThan(files.count, 6)
        XCTAssertFalse(manifests.isEmpty)
        for (index, file) in files.keys.sorted().enumerated() {
            source += "func article\(index)(\(Self.given[file] ?? "")) throws {\n"
            // A scope within the one before it: a block sees what was defined, and may define it anew.
            for block in files[file]! {
                source +=
                    "do {\n#sourceLocation(file: \"\(block.file)\", line: \(block.line))\n\(block.text)#sourceLocation()\n"
            }
            source += String(repeating: "}\n", count: files[file]!.count + 1)
        }
        for file in Self.given.keys where files[file] == nil { XCTFail("\(file) has no Swift any more") }
        try folder.write(source, "blocks.swift")
        let modules = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        let maps = ["CKernels.build", "CImageCodecs.build"].map { modules.path + "/\($0)/module.modulemap" }
        try run(
            "swiftc",
            ["-typecheck", "-swift-version", "6", "-suppress-warnings", "-I", modules.path + "/Modules"]
                + (maps + [Documentation.repository + "/Sources/CZlib/module.modulemap"]).flatMap {
                    ["-Xcc", "-fmodule-map-file=\($0)"]
                } + ["blocks.swift"], in: folder)

        let manifestLibrary = try XCTUnwrap(Self.path(of: "swiftc")).resolvingSymlinksInPath()
            .appendingPathComponent("../../lib/swift/pm/ManifestAPI").standardized.path
        for block in manifests {
            try folder.write(
                "#sourceLocation(file: \"\(block.file)\", line: \(block.line))\n" + block.text, "Package.swift")
            try run(
                "swiftc",
                ["-typecheck", "-package-description-version", "6.2", "-I", manifestLibrary, "Package.swift"],
                in: folder)
        }
    }

    func testCAndCPlusPlusCompile() throws {
        let folder = try ToolFolder()
        let includes = ["CKernels", "CResNetHeader"].map { "-I\(Documentation.repository)/Sources/\($0)/include" }
        let blocks = try documentation().blocks.filter { ["c", "cpp"].contains($0.language) }
        XCTAssertGreaterThanOrEqual(blocks.count, 4)
        for block in blocks {
            let (name, standard) = block.language == "c" ? ("block.c", "c11") : ("block.cpp", "c++17")
            try folder.write("#line \(block.line) \"\(block.file)\"\n" + block.text, name)
            try run(
                "clang",
                includes + ["-fsyntax-only", "-std=\(standard)", "-Wall", "-Wextra", "-Wpedantic", "-Werror", name],
                in: folder)
        }
    }

    func testPythonCompiles() throws {
        guard Self.path(of: "python3") != nil else { throw XCTSkip("no python3 here") }
        let folder = try ToolFolder()
        let blocks = try documentation().blocks.filter { $0.language == "python" }
        XCTAssertFalse(blocks.isEmpty)
        for block in blocks {
            try folder.write(String(repeating: "\n", count: block.line - 1) + block.text, "block.py")
            try run(
                "python3", ["-c", "import sys; compile(open('block.py').read(), sys.argv[1], 'exec')", block.file],
                in: folder)
        }
    }

    /// What they say stands, line by line, in the example that `make test-embed` builds.
    func testCMakeIsThatOfTheExample() throws {
        let example = Set(try Documentation.lines(of: "Examples/C/CMakeLists.txt").map { $0.text.trimmed })
        for block in try documentation().blocks where block.language == "cmake" {
            for (index, line) in block.lines.enumerated() where !example.contains(line.trimmed) {
                XCTFail("\(block.file):\(block.line + index): not in Examples/C/CMakeLists.txt: \(line)")
            }
        }
    }

    /// JSON that stands in a page is a transform.
    func testTransformsParse() throws {
        let blocks = try documentation().blocks.filter { $0.language == "json" }
        XCTAssertFalse(blocks.isEmpty)
        for block in blocks { XCTAssertNoThrow(try ImageTransform(json: block.text), block.place) }
    }

    // MARK: - Commands

    func testCommandsParse() throws {
        let checker = try CommandChecker(foreign: Self.foreign)
        var count = 0
        for block in try documentation().blocks where ["sh", "console"].contains(block.language) {
            for (index, line) in joinedLines(block.lines) {
                if block.language == "console" && !line.hasPrefix("$ ") { continue }
                let command = block.language == "console" ? String(line.dropFirst(2)) : line
                count += 1
                if let fault = checker.fault(in: command, file: block.file) {
                    XCTFail("\(block.file):\(block.line + index): \(fault)")
                }
            }
        }
        XCTAssertGreaterThan(count, 40)
        XCTAssertGreaterThan(CommandChecker.examplesOfHelp.count, 20)
        for (name, line) in CommandChecker.examplesOfHelp {
            if let fault = checker.fault(in: line, file: "") { XCTFail("\(name) --help: \(line): \(fault)") }
        }
    }

    /// Lines that a backslash continues, as one; without comments and empty ones.
    private func joinedLines(_ lines: [String]) -> [(index: Int, text: String)] {
        var joined: [(index: Int, text: String)] = []
        var isOpen = false
        for (index, line) in lines.enumerated() {
            let text = line.components(separatedBy: " #")[0].trimmed
            let part = text.hasSuffix("\\") ? String(text.dropLast()) : text
            if isOpen { joined[joined.count - 1].text += " " + part } else { joined.append((index, part)) }
            isOpen = text.hasSuffix("\\")
        }
        return joined.filter { !$0.text.isEmpty && !$0.text.hasPrefix("#") }
    }

    // MARK: - Sentences

    /// Links lead somewhere, files that are named exist, `make` knows its targets, and the options of the README are options.
    func testWhatSentencesNameExists() throws {
        let checker = try CommandChecker(foreign: Self.foreign)
        let rooms = try FileManager.default.contentsOfDirectory(atPath: Documentation.repository)
            .filter { !$0.hasPrefix(".") }.map { $0 + "/" }
        for (file, text) in try documentation().texts where file.hasSuffix(".md") {
            let folder = URL(fileURLWithPath: "\(Documentation.repository)/\(file)").deletingLastPathComponent()
            for (line, target) in text.links where !target.contains("://") && !target.hasPrefix("#") {
                let path = folder.appendingPathComponent(target.components(separatedBy: "#")[0]).path
                XCTAssertTrue(FileManager.default.fileExists(atPath: path), "\(file):\(line): no file \(target)")
            }
            for (line, code) in text.codes {
                let word = code.components(separatedBy: " ")[0].components(separatedBy: ":")[0]
                if rooms.contains(where: word.hasPrefix), !word.contains(where: { "*{<".contains($0) }) {
                    let path = "\(Documentation.repository)/\(word)"
                    XCTAssertTrue(FileManager.default.fileExists(atPath: path), "\(file):\(line): no file \(word)")
                }
                let isCommand = ["make ", "swift run ", "resnet "].contains(where: code.hasPrefix)
                if isCommand, let fault = checker.faultOfMention(code, file: file) {
                    XCTFail("\(file):\(line): \(fault)")
                }
                guard file == "README.md", code.hasPrefix("--") else { continue }
                for word in code.components(separatedBy: " ")
                where word.hasPrefix("--") && !checker.options.contains(word) {
                    XCTFail("\(file):\(line): no command has an option \(word)")
                }
            }
        }
    }

    // MARK: - Programs

    private static func path(of program: String) -> URL? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").lazy
            .map { URL(fileURLWithPath: "\($0)/\(program)") }
            .first { FileManager.default.isExecutableFile(atPath: $0.path) }
    }

    /// Runs a compiler, and fails with all that it says.
    private func run(_ program: String, _ arguments: [String], in folder: ToolFolder) throws {
        let process = Process()
        process.executableURL = try XCTUnwrap(Self.path(of: program), "no \(program) in PATH")
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder.path)
        let log = "\(folder.path)/log"
        XCTAssertTrue(FileManager.default.createFile(atPath: log, contents: nil))
        let output = try XCTUnwrap(FileHandle(forWritingAtPath: log))
        process.standardOutput = output
        process.standardError = output
        try process.run()
        process.waitUntilExit()
        let text = try String(contentsOfFile: log, encoding: .utf8)
        XCTAssertEqual(process.terminationStatus, 0, "\(program): \(text)")
    }
}

extension String {
    fileprivate var trimmed: String { trimmingCharacters(in: .whitespaces) }
}
