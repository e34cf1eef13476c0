// resnet models: the names that every other command takes.

import ArgumentParser
import ResNetSwift

struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models",
        abstract: "Lists the names of the models, with their usual pictures, classes and parameters.",
        discussion: """
            EXAMPLES
              resnet models
              resnet models seresnext
            """)

    @Argument(help: ArgumentHelp("Only names in which this text stands.", valueName: "text"))
    var text: String?

    func run() throws {
        let names = ModelName.allCases.filter { name in text.map { name.rawValue.contains($0.lowercased()) } ?? true }
        guard !names.isEmpty else { throw ToolError("no name of a model contains '\(text ?? "")'") }
        var table = TextTable(["model", "pictures", "classes", "parameters"], rightAligned: [2, 3])
        for name in names {
            table.rows.append([
                name.rawValue, "\(name.defaultInputSize)", "\(name.defaultClasses)",
                try name.graph().parameterCount.grouped,
            ])
        }
        Output.text(table.text)
    }
}
