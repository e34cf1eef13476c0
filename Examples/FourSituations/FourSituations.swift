// The four situations of transfer learning, tried out: plenty or little data, for a similar task or another. See README.md.

import ArgumentParser
import ResNetSwift
import Support

@main
struct FourSituations: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "four-situations",
        abstract: "Pretrains on the digits 0 to 4, then learns 5 to 9, or drawings, with each freeze policy.")

    @Option(help: "Epochs of every run.")
    var epochs = 8
    @Option(help: "Drawings of each of six kinds.")
    var drawings = 120

    func run() throws {
        let digits = try Dataset.arrays(npz: Support.digits).training
        let transform = ImageTransform(
            channels: 1, steps: [.resize(Size2(16, 16)), .toFloat, .normalize(mean: [0.5], std: [0.5])])

        // Few pictures are seen more often, and a new head alone, a linear model, can take larger steps.
        func train(
            _ model: Model, _ policy: FreezePolicy = .none,
            on slices: (training: DatasetSlice, validation: DatasetSlice)
        ) throws -> TrainedModel {
            let isLittle = slices.training.count < 100
            return try model.freezing(policy).trained(
                on: TrainingData(
                    training: slices.training, validation: slices.validation, transform: transform,
                    evaluationTransform: transform, batchSize: isLittle ? 8 : 32),
                optimizer: .adam(),
                settings: TrainingSettings(
                    epochs: isLittle ? 5 * epochs : epochs, learningRate: policy == .allButHead ? 0.02 : 0.002,
                    schedule: .init(.cosine()), seed: 1))
        }

        let known = try digits.keeping(classes: (0..<5).map(String.init))
        let pretrained = try train(
            try ModelName.cifar_resnet14.model(classes: 5, inputChannels: 1, seed: 1),
            on: known.split(validation: 0.2, seed: 1))
        print("pretrained on the digits 0 to 4: top-1 \(percent(pretrained.history.best?.validation?.top1))\n")

        let tasks: [(FreezePolicy.Task, String, Dataset)] = [
            (.similar, "digits 5 to 9", try digits.keeping(classes: (5..<10).map(String.init))),
            (.different, "drawings", drawingsInMemory()),
        ]
        let policies: [FreezePolicy] = [.none, .allButHead, .upTo("layer1")]
        print("data    task                      pictures   train all   head only   after layer1")
        for amount in [FreezePolicy.Data.plenty, .little] {
            for (task, name, dataset) in tasks {
                // The same pictures to validate on, however few there are to train on.
                let (most, validation) = try dataset.split(validation: 0.3, seed: 1)
                let training = amount == .plenty ? most : few(of: most, perClass: 6)
                let advice = FreezePolicy.recommended(data: amount, task: task)
                var row = pad("\(amount)", 8) + pad("\(task): \(name)", 26) + pad("\(training.count)", 11)
                for policy in policies {
                    let start = try pretrained.model.replacingHead(classes: dataset.classNames.count, seed: 1)
                    let trained = try train(start, policy, on: (training, validation))
                    let top1 = trained.history.best?.validation?.top1
                    row += pad(percent(top1) + (policy == advice ? " *" : ""), 12)
                }
                print(row)
            }
        }
        print("\n* what FreezePolicy.recommended(data:task:) says; top-1 on pictures that were held out")
    }

    /// Heads, people and glomeruli of 16x16, six kinds.
    private func drawingsInMemory() -> Dataset {
        let names = ["cat", "dog", "upright", "bent", "healthy", "sclerotic"]
        var (pixels, labels) = ([UInt8](), [Int]())
        for index in 0..<drawings * names.count {
            var random = SampleRandom(seed: 2, sample: index)
            let (label, isSecond) = (index % 6, index % 2 == 1)
            let picture =
                switch label / 2 {
                case 0: drawPet(size: 16, dog: isSecond, &random)
                case 1: drawPosture(size: 16, bent: isSecond, &random)
                default: drawGlomerulus(size: 16, sclerotic: isSecond, &random)
                }
            pixels += picture.converted(toChannels: 1)!.pixels
            labels.append(label)
        }
        let images = ByteImages(count: labels.count, height: 16, width: 16, channels: 1, pixels: pixels)
        return Dataset(classNames: names, labels: .classes(labels), source: .pictures(images))
    }

    private func few(of slice: DatasetSlice, perClass: Int) -> DatasetSlice {
        guard case .classes(let labels) = slice.dataset.labels else { return slice }
        var taken: [Int: Int] = [:]
        let samples = slice.samples.filter { sample in
            taken[labels[sample], default: 0] += 1
            return taken[labels[sample]]! <= perClass
        }
        return DatasetSlice(dataset: slice.dataset, samples: samples)
    }

    private func percent(_ part: Double?) -> String { part.map { "\(($0 * 1000).rounded() / 10) %" } ?? "-" }

    private func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(width - text.count, 1))
    }
}
