// Whether a command line of the documentation could be typed: the program is there and knows the arguments. Nothing is run.

import ArgumentParser
import Foundation

@testable import resnet

struct CommandChecker {
    private let foreign: Set<String>
    private let makeTargets: Set<String>
    /// Folders of the example programs by name.
    private let examples: [String: String]
    /// All options of all commands of the tool.
    let options: Set<String>

    private static var repository: String { Documentation.repository }

    init(foreign: Set<String>) throws {
        self.foreign = foreign
        makeTargets = Set(
            try Documentation.lines(of: "Makefile").compactMap { _, text in
                text.firstMatch(of: /^([a-z-]+):/).map { String($0.1) }
            })
        examples = Dictionary(
            uniqueKeysWithValues: try Documentation.lines(of: "Examples/Swift/Package.swift").compactMap { _, text in
                text.firstMatch(of: /executable\(name: "([a-z-]+)", targets: \["(\w+)"\]/).map {
                    (String($0.1), String($0.2))
                }
            })
        options = Set(
            Self.commands.flatMap { command in
                ResNetTool.helpMessage(for: command).matches(of: /--[a-z0-9-]+/).map { String($0.0) }
            })
    }

    private static var commands: [any ParsableCommand.Type] { ResNetTool.configuration.subcommands }

    /// Lines of the tool's own help.
    static var examplesOfHelp: [(name: String, line: String)] {
        ([ResNetTool.self] + commands).flatMap { command in
            command.configuration.discussion.components(separatedBy: "\n").map {
                $0.trimmingCharacters(in: .whitespaces)
            }
            .filter { $0.hasPrefix("resnet ") }.map { (command.configuration.commandName ?? "\(command)", $0) }
        }
    }

    /// The same for a command within a sentence, which may leave out what has to be there: of `resnet` only the command
    /// and the names of options count.
    func faultOfMention(_ code: String, file: String) -> String? {
        let words = code.split(separator: " ").map(String.init)
        guard words[0] == "resnet" else { return fault(in: code, file: file) }
        if let command = words.dropFirst().first, !command.hasPrefix("-"), command != command.uppercased(),
            !Self.commands.contains(where: { $0.configuration.commandName == command })
        {
            return "resnet has no command \(command)"
        }
        return words.first { $0.hasPrefix("--") && !options.contains($0) }.map { "no command has an option \($0)" }
    }

    /// What is wrong with a line, or nil.
    func fault(in line: String, file: String) -> String? {
        for part in line.components(separatedBy: "&&") {
            // What is redirected or piped is the shell's affair.
            let command = part.prefix { !"|>".contains($0) }
            let words = command.split(separator: " ").map { $0.filter { $0 != "\"" } }.drop { $0.contains("=") }
            if let program = words.first, let fault = fault(program, Array(words.dropFirst()), file) { return fault }
        }
        return nil
    }

    private func fault(_ program: String, _ arguments: [String], _ file: String) -> String? {
        switch program {
        case "resnet", ".build/release/resnet":
            do { _ = try ResNetTool.parseAsRoot(arguments) } catch { return ResNetTool.message(for: error) }
            return nil
        case "make":
            if arguments.first == "-C" { return missingFile("\(arguments[1])/Makefile") }
            let unknown = arguments.first { !$0.contains("=") && !makeTargets.contains($0) }
            return unknown.map { "the Makefile has no target \($0)" }
        case "python3":
            return arguments.first.flatMap { missingFile($0) ?? missingOption(arguments, in: [$0]) }
        case "swift":
            guard let package = arguments.firstIndex(of: "--package-path"), package + 2 < arguments.count else {
                return nil
            }
            let program = arguments[package + 2]
            return missingFile(arguments[package + 1]) ?? fault(program, Array(arguments[(package + 3)...]), file)
        case _ where examples[program] != nil:
            let folder = "Examples/Swift/\(examples[program]!)"
            return missingOption(arguments, in: [folder, "Examples/Swift/Support"])
        case _ where program.hasPrefix(".build/"): return nil
        case _ where program.contains("/"): return missingFile(program)
        case "sudo", "mpirun":
            // Their options come first, each with a value but for those below; then a program.
            var rest = arguments[...]
            while let option = rest.first, option.hasPrefix("-") {
                rest = rest.dropFirst(option == "-E" ? 1 : 2)
            }
            return rest.first.flatMap { fault($0, Array(rest.dropFirst()), file) }
        case _ where foreign.contains(program):
            // Its arguments are its own, but files of ours that it is given exist.
            return arguments.first { $0.hasPrefix("Examples/") && missingFile($0) != nil }.flatMap(missingFile)
        default: return "nobody knows the program \(program)"
        }
    }

    private func missingFile(_ path: String) -> String? {
        FileManager.default.fileExists(atPath: "\(Self.repository)/\(path)") ? nil : "there is no file \(path)"
    }

    /// An option that stands nowhere in the sources below these paths, written `--name` or declared as `var name`. A
    /// script's options may stand in what is beside it.
    private func missingOption(_ arguments: [String], in paths: [String]) -> String? {
        var sources = ""
        for path in paths {
            let isScript = path.hasSuffix(".py")
            let folder = isScript ? path.split(separator: "/").dropLast().joined(separator: "/") : path
            let names = FileManager.default.enumerator(atPath: "\(Self.repository)/\(folder)")
            while let name = names?.nextObject() as? String {
                guard name.hasSuffix(isScript ? ".py" : ".swift") else { continue }
                sources += (try? String(contentsOfFile: "\(Self.repository)/\(folder)/\(name)", encoding: .utf8)) ?? ""
            }
        }
        for option in arguments where option.hasPrefix("--") && option != "--help" {
            let words = option.dropFirst(2).split(separator: "-").map(String.init)
            let variable = words[0] + words.dropFirst().map(\.capitalized).joined()
            let isDeclared =
                sources.contains("\"\(option)\"") || sources.contains("var \(variable):")
                || sources.contains("var \(variable) =")
            if !isDeclared { return "\(paths[0]) has no option \(option)" }
        }
        return nil
    }
}
