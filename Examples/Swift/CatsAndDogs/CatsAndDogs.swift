// Cats and dogs: a pretrained network gets a head of two classes, and everything trains. See README.md.

import ArgumentParser
import ResNetSwift
import Support

@main
struct CatsAndDogs: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cats-and-dogs", abstract: "Fine-tunes a ResNet on folders of pictures, one a class.")

    @Option(help: "A folder with a folder for each class, or with train/ and val/. Without it pets are drawn.")
    var data: String?
    @Option(help: "Weights to start from, such as resnet50.pth; otherwise random ones.")
    var weights: String?
    @Option(help: "The network where there are no weights.")
    var model = "resnet50"
    @Option(help: "Pixels of a side.")
    var size = 224
    @Option var epochs = 10
    @Option var batch = 32
    @Option var learningRate = 0.01
    @Option(help: "Pets to draw where there is no data.")
    var count = 300
    @Option(help: "The folder of the run.")
    var out = "runs/cats-and-dogs"

    func run() throws {
        let folder = data ?? "\(out)/pets-\(count)-\(size)"
        if data == nil {
            try makeFolder(out)
            try drawFolder(folder, classes: ["cat", "dog"], count: count, seed: 1) {
                drawPet(size: size * 8 / 7, dog: $0 == 1, &$1)
            }
        }
        let slices = try slices(of: folder)
        let normalize = ImageTransform.Step.normalize(
            mean: ImageTransform.imageNetMean, std: ImageTransform.imageNetStd)
        let data = TrainingData(
            training: slices.training, validation: slices.validation,
            transform: ImageTransform(steps: [
                .randomResizedCrop(Size2(size, size), scale: 0.5...1), .randomHorizontalFlip(), .toFloat, normalize,
            ]),
            evaluationTransform: ImageTransform(steps: [
                .resizeShorterSide(size * 256 / 224), .centerCrop(Size2(size, size)), .toFloat, normalize,
            ]),
            batchSize: batch)

        let start = try weights.map { try Model(from: WeightFile.open($0)) } ?? ModelName(named: model).model(seed: 1)
        let trained = try start.replacingHead(classes: slices.training.dataset.classNames.count, seed: 1).trained(
            on: data, weightDecay: 1e-4,
            settings: TrainingSettings(
                epochs: epochs, learningRate: learningRate, seed: 1, folder: "\(out)/run", replacesEarlierRun: true,
                title: "Cats and dogs"),
            report: TrainingConsole().report)

        print(try trained.model.evaluated(on: slices.validation).table())
        try trained.model.save(to: "\(out)/best.safetensors")
        print(
            "\(out)/best.safetensors: \(trained.model.metadata[MetadataKey.trained] ?? "the weights of the best epoch")"
        )
    }

    private func slices(of folder: String) throws -> (training: DatasetSlice, validation: DatasetSlice) {
        guard let parts = try Dataset.splitFolders(folder) else {
            return try Dataset.imageFolder(folder).split(validation: 0.2, seed: 1)
        }
        let training = try Dataset.imageFolder(parts.training)
        return (training.all, try Dataset.imageFolder(parts.validation, classNames: training.classNames).all)
    }
}
