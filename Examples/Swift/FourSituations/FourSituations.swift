// The four situations of transfer learning, tried out: plenty or little data, for a similar task or another. See README.md.

import ArgumentParser
import ResNetSwift
import Support

@main
struct FourSituations: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "four-situations",
        abstract: "Pretrains on neat letters, then learns hasty ones, digits or drawings with each freeze policy.")

    @Option(help: "Epochs of every run; four times as many where there are few pictures.")
    var epochs = 6
    @Option(help: "Drawings of each neat letter, to pretrain on; half as many hasty ones.")
    var letters = 60
    @Option(help: "Drawings of each of six kinds.")
    var drawings = 120
    @Option(help: "Pictures of each class where there are few.")
    var few = 1
    @Option(help: "How often few pictures are drawn anew; the table has the mean.")
    var repeats = 6

    private static let transform = ImageTransform(
        channels: 1, steps: [.resize(Size2(16, 16)), .toFloat, .normalize(mean: [0.5], std: [0.5])])

    func run() throws {
        let alphabet = picturesInMemory(letterNames, each: letters, seed: 3) { drawLetter(size: 16, index: $0, &$1) }
        let pretrained = try train(
            try ModelName.cifar_resnet14.model(classes: letterNames.count, inputChannels: 1, seed: 1),
            on: alphabet.split(validation: 0.1, seed: 1))
        let neat = percent(pretrained.history.best?.validation?.top1)
        print("pretrained on \(letterNames.count) neat letters: top-1 \(neat)\n")

        let tasks: [(FreezePolicy.Task, String, Dataset)] = [
            (
                .similar, "hasty letters",
                picturesInMemory(letterNames, each: letters / 2, seed: 4) {
                    drawLetter(size: 16, index: $0, isHasty: true, &$1)
                }
            ),
            (.different, "digits", try Dataset.arrays(npz: Support.digits).training),
            (.different, "drawings", kindsInMemory()),
        ]
        let policies: [FreezePolicy] = [.none, .allButHead, .upTo("layer1")]
        print("data    task                      pictures   train all   head only   after layer1")
        for amount in [FreezePolicy.Data.plenty, .little] {
            for (task, name, dataset) in tasks {
                // The same pictures to validate on, however few there are to train on.
                let (most, held) = try dataset.split(validation: 0.3, seed: 1)
                let validation = DatasetSlice(dataset: dataset, samples: Array(held.samples.prefix(200)))
                let draws = amount == .plenty ? [most] : (0..<repeats).map { few(of: most, draw: $0) }
                let advice = FreezePolicy.recommended(data: amount, task: task)
                var row = pad("\(amount)", 8) + pad("\(task): \(name)", 26) + pad("\(draws[0].count)", 11)
                for policy in policies {
                    let start = try pretrained.model.replacingHead(classes: dataset.classNames.count, seed: 1)
                    let scores = try draws.map { training in
                        try train(start, policy, on: (training, validation)).history.best?.validation?.top1 ?? 0
                    }
                    let mean = scores.reduce(0, +) / Double(scores.count)
                    row += pad(percent(mean) + (policy == advice ? " *" : ""), 12)
                }
                print(row)
            }
        }
        print("\n* what FreezePolicy.recommended(data:task:) says; top-1 on pictures that were held out")
    }

    /// Few pictures are seen more often, and a new head alone, a linear model, can take larger steps.
    private func train(
        _ model: Model, _ policy: FreezePolicy = .none, on slices: (training: DatasetSlice, validation: DatasetSlice)
    ) throws -> TrainedModel {
        let isLittle = slices.training.count < 200
        return try model.freezing(policy).trained(
            on: TrainingData(
                training: slices.training, validation: slices.validation, transform: Self.transform,
                evaluationTransform: Self.transform, batchSize: isLittle ? 8 : 32),
            optimizer: .adam(),
            settings: TrainingSettings(
                epochs: isLittle ? 4 * epochs : epochs, learningRate: policy == .allButHead ? 0.02 : 0.002,
                schedule: .init(.cosine()), seed: 1))
    }

    private func picturesInMemory(
        _ names: [String], each: Int, seed: UInt64, draw: (_ label: Int, inout SampleRandom) -> Picture
    ) -> Dataset {
        var (pixels, labels) = ([UInt8](), [Int]())
        for index in 0..<each * names.count {
            var random = SampleRandom(seed: seed, sample: index)
            pixels += draw(index % names.count, &random).converted(toChannels: 1)!.pixels
            labels.append(index % names.count)
        }
        let images = ByteImages(count: labels.count, height: 16, width: 16, channels: 1, pixels: pixels)
        return Dataset(classNames: names, labels: .classes(labels), source: .pictures(images))
    }

    /// Heads, people and glomeruli, six kinds.
    private func kindsInMemory() -> Dataset {
        let names = ["cat", "dog", "upright", "bent", "healthy", "sclerotic"]
        return picturesInMemory(names, each: drawings, seed: 2) { label, random in
            switch label / 2 {
            case 0: drawPet(size: 16, dog: label % 2 == 1, &random)
            case 1: drawPosture(size: 16, bent: label % 2 == 1, &random)
            default: drawGlomerulus(size: 16, sclerotic: label % 2 == 1, &random)
            }
        }
    }

    /// `few` pictures of each class, others in each draw.
    private func few(of slice: DatasetSlice, draw: Int) -> DatasetSlice {
        guard case .classes(let labels) = slice.dataset.labels else { return slice }
        var passed: [Int: Int] = [:]
        let samples = slice.samples.filter { sample in
            passed[labels[sample], default: 0] += 1
            return (draw * few + 1...(draw + 1) * few).contains(passed[labels[sample]]!)
        }
        return DatasetSlice(dataset: slice.dataset, samples: samples)
    }

    private func percent(_ part: Double?) -> String { part.map { "\(($0 * 1000).rounded() / 10) %" } ?? "-" }

    private func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(width - text.count, 1))
    }
}
