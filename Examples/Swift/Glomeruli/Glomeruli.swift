// Glomeruli: yes or no, by two networks side by side, with Keras's callbacks. See README.md.

import ArgumentParser
import ResNetSwift
import Support

@main
struct Glomeruli: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "glomeruli", abstract: "Trains the small AlexNet and GoogLeNet, and draws the curves of each.")

    @Option(help: "A folder with two folders of pictures. Without it glomeruli are drawn.")
    var data: String?
    @Option(help: "At most so many epochs.")
    var epochs = 1000
    @Option var batch = 16
    @Option var learningRate = 1e-4
    @Option(help: "Pictures to draw where there is no data.")
    var count = 400
    @Option(help: "The folder of the run.")
    var out = "runs/glomeruli"

    func run() throws {
        let folder = data ?? "\(out)/pictures-\(count)"
        if data == nil {
            try makeFolder(out)
            try drawFolder(folder, classes: ["healthy", "sclerotic"], count: count, seed: 1) {
                drawGlomerulus(size: 280, sclerotic: $0 == 1, &$1)
            }
        }
        // One output that says whether it is the second class.
        guard let glomeruli = try Dataset.imageFolder(folder).yesNo() else {
            throw ExampleError("\(folder): expected two classes")
        }
        let (training, validation) = try glomeruli.split(validation: 0.25, seed: 1)
        let transform = ImageTransform(steps: [
            .resize(Size2(280, 280)), .toFloat, .normalize(mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]),
        ])
        let data = TrainingData(
            training: training, validation: validation, transform: transform, evaluationTransform: transform,
            batchSize: batch)

        for name in [ModelName.alexnet_mini, .googlenet] {
            let model = try name.model(seed: 1)
            print("\(name.rawValue): \(model.parameterCount) parameters")
            let trained = try model.trained(
                on: data, optimizer: .adam(),
                settings: TrainingSettings(epochs: epochs, learningRate: learningRate, seed: 1, title: name.rawValue),
                callbacks: [
                    EarlyStopping(minDelta: 0, patience: 7, restoresBest: true),
                    ReduceLROnPlateau(factor: 0.5, patience: 3, minDelta: 0, minLR: 1e-5),
                ],
                report: TrainingConsole().report)
            print(try trained.model.evaluated(on: validation).table(), terminator: "\n\n")
            try trained.model.save(to: "\(out)/\(name.rawValue).safetensors")
            try trained.history.write(to: "\(out)/\(name.rawValue)", title: "Glomeruli, \(name.rawValue)")
        }
        print("\(out)/*/history.svg: the curves of each")
    }
}
