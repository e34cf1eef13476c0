// Human Protein Atlas: 28 labels, several a picture, four stains. See README.md.

import ArgumentParser
import FoundationEssentials
import ResNetSwift
import Support

@main
struct ProteinAtlasExample: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "protein-atlas",
        abstract: "Trains on Kaggle's Human Protein Atlas, tunes a threshold for each label, writes a submission.")

    @Option(help: "Kaggle's folder: train.csv, train/, test/, sample_submission.csv. Without it cells are drawn.")
    var data: String?
    @Option(help: "Weights to start from, such as resnet34.pth; otherwise random ones.")
    var weights: String?
    @Option(help: "The network where there are no weights.")
    var model = "resnet34"
    @Option(help: "3: red, green, blue. 4: and yellow.")
    var channels = 4
    @Option(help: "Pixels of a side.")
    var size = 256
    @Option var epochs = 20
    @Option var batch = 32
    @Option(help: "Adam's learning rate.")
    var learningRate = 1e-3
    @Option(help: "Cells to draw for training where there is no data.")
    var count = 1000
    @Option(help: "The folder of the run.")
    var out = "runs/protein-atlas"

    func run() throws {
        let folder = data ?? "\(out)/cells-\(count)-\(size)"
        if data == nil { try SyntheticAtlas.write(to: folder, training: count, test: count / 3, size: size, seed: 1) }

        // Data: a fifth, with its share of every label, is held out.
        let cells = try Dataset.proteinAtlas(
            "\(folder)/train.csv", folder: "\(folder)/train", channels: channels, classNames: ProteinAtlas.labelNames)
        let (training, validation) = try cells.split(validation: 0.2, seed: 1)
        let (mean, std) = ([0.081, 0.053, 0.055, 0.083], [0.137, 0.101, 0.153, 0.138])
        let normalize = ImageTransform.Step.normalize(
            mean: Array(mean.prefix(channels)), std: Array(std.prefix(channels)))
        let resize = ImageTransform.Step.resize(Size2(size, size))
        let evaluation = ImageTransform(channels: channels, steps: [resize, .toFloat, normalize])
        let data = TrainingData(
            training: training, validation: validation,
            transform: ImageTransform(
                channels: channels, steps: [resize, .randomHorizontalFlip(), .toFloat, normalize]),
            evaluationTransform: evaluation, batchSize: batch)

        // Network: the trunk of a ResNet, its first convolution adapted to four stains, frozen; a head of two layers.
        let start = try weights.map { try Model(from: WeightFile.open($0)) } ?? ModelName(named: model).model(seed: 1)
        let network =
            try start
            .adaptingInputChannels(channels)
            .replacingHead(with: .hidden(512, dropout: 0.5), classes: 28, seed: 1)
            .freezing(.firstLayers(1))
        let (old, new) = (start.graph.parameters[0], network.graph.parameters[0])
        print("\(start.graph.modelName): \(old.name) \(old.shape) -> \(new.shape), frozen: \(network.frozen.sorted())")

        // Roots, because a label in one of a hundred cells would otherwise count a hundredfold.
        let trained = try network.trained(
            on: data,
            loss: .binaryCrossEntropy(positiveWeights: training.balancedPositiveWeights.map { $0.squareRoot() }),
            optimizer: .adam(),
            settings: TrainingSettings(
                epochs: epochs, learningRate: learningRate, schedule: .init(.cosine()), seed: 1, folder: "\(out)/run",
                replacesEarlierRun: true, title: "Protein atlas, \(channels) channels"),
            report: TrainingConsole().report)

        // A threshold for each label, from the validation cells; it travels with the weights.
        var best = trained.model
        best.labelThresholds = try best.evaluated(on: validation).thresholds
        try best.save(to: "\(out)/best.safetensors")

        // Scores: on cells that nothing was tuned on where their labels are known.
        let isKnown = FileManager.default.fileExists(atPath: "\(folder)/test_labels.csv")
        let test = try Dataset.proteinAtlas(
            "\(folder)/\(isKnown ? "test_labels" : "sample_submission").csv", folder: "\(folder)/test",
            channels: channels, classNames: ProteinAtlas.labelNames)
        let scored = isKnown ? test.all : validation
        let result = try best.evaluated(on: scored)
        print(
            isKnown ? "\nOn \(test.count) cells that nothing was tuned on:" : "\nOn the validation cells (flattering):")
        print(result.table())

        // Who knows only how frequent a label is does best by always saying yes: F1 = 2p / (1 + p).
        let baseline = scored.classCounts.map { 2 * Double($0) / Double(scored.count + $0) }.reduce(0, +) / 28
        print("\nmacro F1 \(rounded(result.macroF1)), class-prior baseline \(rounded(baseline))")
        guard result.macroF1 > baseline + 0.1 else { throw ExampleError("macro F1 is not clearly above the baseline") }

        let logits = try best.logits(of: test.all)
        let submission = ProteinAtlas.submission(for: test.all, logits: logits, thresholds: best.labelThresholds!)
        try write(submission, to: "\(out)/submission.csv")
        print("\(out)/submission.csv:\n\(submission.split(separator: "\n").prefix(4).joined(separator: "\n"))\n...")
    }
}
