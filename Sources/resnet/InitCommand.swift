// resnet init: a model with first values.

import ArgumentParser
import ResNetSwift

struct InitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Writes a model with random weights, as training starts with.",
        discussion: """
            The same seed gives the same file on every machine.

            EXAMPLES
              resnet init resnet18 start.safetensors --seed 1 --classes 2
              resnet init cifar_resnet20 start.npz --input-channels 1
            """)

    @Argument(help: ArgumentHelp("Name of the model.", valueName: "model"))
    var model: String
    @Argument(help: ArgumentHelp("A file that ends in .safetensors or .npz.", valueName: "out"))
    var output: String
    @Option(help: ArgumentHelp("Seed of the random numbers.", valueName: "n"))
    var seed: UInt64 = 0
    @OptionGroup var shape: ShapeOptions
    @Option(help: ArgumentHelp("Size of the pictures, for models that depend on it (alexnet_mini).", valueName: "size"))
    var inputSize: PictureSize?
    @Flag(help: "Residual blocks start as the identity: their last batch norm's weight is 0.")
    var zeroInitResidual = false

    func validate() throws {
        guard WeightFormat(path: output) != nil else {
            throw ValidationError("\(output): expected a name that ends in .safetensors or .npz.")
        }
    }

    func run() throws {
        let made = try ModelName(named: model).model(
            classes: shape.classes, inputChannels: shape.inputChannels, inputSize: inputSize?.size, seed: seed,
            zeroInitResidual: zeroInitResidual)
        try made.save(to: output)
        Terminal.note("\(output): \(made.parameterCount.grouped) parameters, seed \(seed)")
    }
}
