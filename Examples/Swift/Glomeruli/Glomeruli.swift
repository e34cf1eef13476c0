// Glomeruli: yes or no, by three networks side by side, with Keras's callbacks. See README.md.

import ArgumentParser
import ResNetSwift
import Support

@main
struct Glomeruli: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "glomeruli",
        abstract: "Trains the small AlexNet, GoogLeNet and DaViT-T, and draws the curves of each and of all.")

    @Option(help: "A folder with two folders of pictures. Without it glomeruli are drawn.")
    var data: String?
    @Option(help: "The networks to train.", transform: { $0.split(separator: ",").map(String.init) })
    var models = ["alexnet_mini", "googlenet", "davit_tiny_keras"]
    @Option(help: "A DaViT-T trained on other pictures; a part of it is frozen.")
    var davit: String?
    @Option(help: "What of that DaViT-T is frozen; with allButHead its features are computed once and kept.")
    var freeze = "keras:80"
    @Option(help: "Height and width of the pictures.")
    var size = 280
    @Option(help: "At most so many epochs.")
    var epochs = 1000
    @Option var batch = 16
    @Option var learningRate = 1e-4
    @Option(help: "Of DaViT-T, which from random values needs less than the others; default: the same.")
    var davitLearningRate: Double?
    @Option(help: "Pictures to draw where there is no data.")
    var count = 400
    @Option(help: "The folder of the run.")
    var out = "runs/glomeruli"

    func run() throws {
        let folder = data ?? "\(out)/pictures-\(count)"
        try makeFolder(out)
        if data == nil {
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
            .resize(Size2(size, size)), .toFloat, .normalize(mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]),
        ])
        let data = TrainingData(
            training: training, validation: validation, transform: transform, evaluationTransform: transform,
            batchSize: batch)

        var histories: [(name: String, history: TrainingHistory)] = []
        for name in try models.map({ try ModelName(named: $0) }) {
            let model = try model(name)
            let variables = model.graph.parameters.filter { !$0.role.isBuffer }
            let trainable = variables.count { !model.frozen.contains($0.name) }
            print(
                "\(name.rawValue): \(model.parameterCount) parameters in \(variables.count) variables, \(trainable) of which train"
            )
            let rate = name == .davit_tiny_keras ? davitLearningRate ?? learningRate : learningRate
            let trained = try model.trained(
                on: data, optimizer: .adam(),
                settings: TrainingSettings(epochs: epochs, learningRate: rate, seed: 1, title: name.rawValue),
                callbacks: [
                    EarlyStopping(minDelta: 0, patience: 7, restoresBest: true),
                    ReduceLROnPlateau(factor: 0.5, patience: 3, minDelta: 0, minLR: 1e-5),
                ],
                report: TrainingConsole().report)
            print(try trained.model.evaluated(on: validation).table(), terminator: "\n\n")
            try trained.model.save(to: "\(out)/\(name.rawValue).safetensors")
            try trained.history.write(to: "\(out)/\(name.rawValue)", title: "Glomeruli, \(name.rawValue)")
            histories.append((name.rawValue, trained.history))
        }
        try TrainingHistory.write(comparing: histories, to: "\(out)/curves.svg", title: "Glomeruli")
        print("\(out)/curves.svg: the curves of all; \(out)/*/history.svg: of each")
    }

    /// With random values, or for DaViT with those of a file, a new head, and a part frozen: by default what
    /// `model.layers[:80]` is in Keras.
    private func model(_ name: ModelName) throws -> Model {
        guard name == .davit_tiny_keras, let davit else { return try name.model(inputSize: Size2(size, size), seed: 1) }
        return try Model(from: try WeightFile.open(davit), named: name)
            .replacingHead(with: HeadKind.dropout(0.3), classes: 1, seed: 1)
            .freezing(FreezePolicy(parsing: freeze), input: Size2(size, size))
    }
}
