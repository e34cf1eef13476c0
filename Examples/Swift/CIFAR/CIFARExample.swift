// The small ResNets for pictures of 32x32: CIFAR-10 from its own files, or handwritten digits. See README.md.

import ArgumentParser
import ResNetSwift
import Support

@main
struct CIFARExample: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cifar", abstract: "Trains CIFAR-style ResNets of several depths on CIFAR-10 or on digits.")

    @Option(help: "CIFAR-10's folder, cifar-10-batches-bin or cifar-10-batches-py. Without it digits are learned.")
    var data: String?
    @Option(
        help: ArgumentHelp(
            "14 is the write-up's network, of two blocks a stage; 20, 32, 44, 56, 110 the paper's. Several: with commas.",
            valueName: "depths"))
    var depths = "20"
    @Option var epochs = 30
    @Option var batch = 128
    @Option(help: "The largest learning rate.")
    var learningRate = 0.1
    @Option(help: "The folder of the run.")
    var out = "runs/cifar"

    func run() throws {
        let arrays = try data.map { try Dataset.cifar10($0) } ?? Dataset.arrays(npz: digits)
        let isColor = data != nil
        let transform =
            isColor
            ? ImageTransform.cifar()
            : ImageTransform(
                channels: 1, steps: [.resize(Size2(16, 16)), .toFloat, .normalize(mean: [0.5], std: [0.5])])
        // Shifted by up to an eighth as in the paper, by way of a crop; a mirrored 3 is no 3.
        var augmented = transform.steps
        augmented[0] = .randomResizedCrop(
            isColor ? Size2(32, 32) : Size2(16, 16), scale: 0.75...1, ratio: 0.9...1.1)
        if isColor { augmented.insert(.randomHorizontalFlip(), at: 1) }

        try makeFolder(out)
        for depth in depths.split(separator: ",") {
            let name = try ModelName(named: "cifar_resnet\(depth)")
            let model = try name.model(inputChannels: isColor ? 3 : 1, seed: 1)
            print("\(name.rawValue): \(model.parameterCount) parameters")
            let trained = try model.trained(
                on: TrainingData(
                    training: arrays.training.all, validation: arrays.validation?.all,
                    transform: ImageTransform(channels: transform.channels, steps: augmented),
                    evaluationTransform: transform, batchSize: batch),
                optimizer: .sgd(momentum: 0.9, nesterov: true), weightDecay: 5e-4,
                settings: TrainingSettings(
                    epochs: epochs, learningRate: learningRate, schedule: .init(.oneCycle()), seed: 1,
                    title: name.rawValue),
                report: TrainingConsole().report)
            if let test = arrays.validation { print(try trained.model.evaluated(on: test.all).table()) }
            try trained.model.save(to: "\(out)/\(name.rawValue).safetensors")
        }
    }
}
