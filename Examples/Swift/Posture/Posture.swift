// Posture: little data of a similar kind, so that only a new head trains, on features that are computed once. See README.md.

import ArgumentParser
import ResNetSwift
import Support

@main
struct Posture: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "posture", abstract: "Trains a head of two classes on a frozen ResNet-18.")

    @Option(help: "A folder with a folder for each class. Without it people are drawn.")
    var data: String?
    @Option(help: "Weights to start from, such as resnet18.pth; otherwise random ones, whose features are poorer.")
    var weights: String?
    @Option(help: "Pixels of a side.")
    var size = 224
    @Option var epochs = 10
    @Option(help: "People to draw where there is no data.")
    var count = 400
    @Option(help: "The folder of the run.")
    var out = "runs/posture"

    func run() throws {
        let folder = data ?? "\(out)/people-\(count)-\(size)"
        if data == nil {
            try makeFolder(out)
            try drawFolder(folder, classes: ["upright", "bent"], count: count, seed: 1) {
                drawPosture(size: size, bent: $0 == 1, &$1)
            }
        }
        let people = try Dataset.imageFolder(folder)
        let (training, validation) = try people.split(validation: 0.25, seed: 1)
        // No random step: with augmentation a picture would have other features in every epoch.
        let transform = ImageTransform(steps: [
            .resize(Size2(size, size)), .toFloat,
            .normalize(mean: ImageTransform.imageNetMean, std: ImageTransform.imageNetStd),
        ])

        let start = try weights.map { try Model(from: WeightFile.open($0)) } ?? ModelName.resnet18.model(seed: 1)
        let trained = try start.replacingHead(classes: 2, seed: 1).freezing(.allButHead).trained(
            on: TrainingData(
                training: training, validation: validation, transform: transform, evaluationTransform: transform),
            optimizer: .adam(),
            settings: TrainingSettings(epochs: epochs, learningRate: 0.003, seed: 1, title: "Posture"),
            report: TrainingConsole().report)

        print(try trained.model.evaluated(on: validation).table())
        try trained.model.save(to: "\(out)/best.safetensors")
    }
}
