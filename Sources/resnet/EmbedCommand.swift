// resnet embed: the feature vector h, which the last layer reads.

import ArgumentParser
import ResNetSwift

struct EmbedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "embed",
        abstract: "Writes the feature vector h of pictures as a NumPy array.",
        discussion: """
            The input is pictures and folders, or one NumPy array (N, C, H, W). The output is (N, features). For pictures, \
            the path of every row is printed; those that cannot be read have no row, and the exit code is then 2.

            EXAMPLES
              resnet embed photos/ --weights resnet18.safetensors --output h.npy > rows.txt
              resnet embed x.npy --weights resnet50.pth --output h.npy
            """)

    @OptionGroup var pictures: PictureOptions
    @Option(name: .shortAndLong, help: ArgumentHelp("The file to write h to.", valueName: "npy"))
    var output: String
    @OptionGroup var weights: WeightOptions
    @OptionGroup var batch: BatchOptions
    @OptionGroup var compute: ComputeOptions

    func validate() throws {
        guard !pictures.areMissing else { throw ValidationError("Give pictures, folders or one .npy file.") }
    }

    func run() throws {
        let classifier = try pictures.load(weights, compute.options(batch: batch.batch))
        try classifier.requireFeatures()
        if pictures.images.count == 1, pictures.images[0].hasSuffix(".npy") {
            let features = try runArray(pictures.images[0], through: classifier) { $0.features! }
            warnOfNoNumbers(features.values, of: classifier, in: output)
            return try WeightWriter.writeArray(features, to: output)
        }
        let found = try pictures.find()
        var runner = PictureRunner(classifier)
        var values: [Float] = []
        var rows: [String] = []
        var width = 0
        try runner.run(found) { paths, prediction, _ in
            let features = prediction.features!
            width = features.shape[1]
            values += features.values
            rows += paths
        }
        warnOfNoNumbers(values, of: classifier, in: output)
        if !rows.isEmpty {
            try WeightWriter.writeArray(Tensor(shape: [rows.count, width], values: values), to: output)
            for path in rows { Output.line(path) }
        }
        try runner.finish(of: found.count)
    }
}
