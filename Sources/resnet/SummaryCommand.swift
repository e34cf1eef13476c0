// resnet summary: layers, shapes, parameters and multiply-accumulates.

import ArgumentParser
import ResNetSwift

struct SummaryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "summary",
        abstract: "Shows a model's layers with their shapes, parameters and multiply-accumulates.",
        discussion: """
            `resnet models` lists the names.

            EXAMPLES
              resnet summary resnet50
              resnet summary resnet18 --input-size 193x257 --classes 10
              resnet summary cifar_resnet20 --tree
            """)

    @Argument(help: ArgumentHelp("Name of the model.", valueName: "model"))
    var model: String
    @Option(help: ArgumentHelp("Size of the pictures: 224, or HEIGHTxWIDTH.", valueName: "size"))
    var inputSize: PictureSize?
    @OptionGroup var shape: ShapeOptions
    @Flag(help: "The module tree instead, as PyTorch prints it.")
    var tree = false

    func run() throws {
        let name = try ModelName(named: model)
        let graph = try name.graph(
            classes: shape.classes, inputChannels: shape.inputChannels, inputSize: inputSize?.size)
        if tree {
            Output.text(graph.description)
        } else {
            Output.text(try graph.summary(input: inputSize?.size ?? name.defaultInputSize), terminator: "")
        }
    }
}

struct ShapeOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Number of classes; otherwise the model's usual one.", valueName: "n"))
    var classes: Int?
    @Option(help: ArgumentHelp("Channels of the pictures.", valueName: "n"))
    var inputChannels = 3
}
