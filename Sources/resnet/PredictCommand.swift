// resnet predict: an array in, logits out.

import ArgumentParser
import ResNetSwift

struct PredictCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "predict",
        abstract: "Runs an array of pictures: float32 NCHW in, logits out.",
        discussion: """
            The input is a NumPy array (N, C, H, W), already normalized; the plan is made for its size. The output is \
            (N, classes), before softmax.

            EXAMPLE
              resnet predict --weights resnet50.pth --input x.npy --output logits.npy
            """)

    @Option(name: .shortAndLong, help: ArgumentHelp("Pictures, (N, C, H, W).", valueName: "npy"))
    var input: String
    @Option(name: .shortAndLong, help: ArgumentHelp("Where the logits go.", valueName: "npy"))
    var output: String
    @OptionGroup var weights: WeightOptions
    @OptionGroup var batch: BatchOptions
    @OptionGroup var compute: ComputeOptions

    func run() throws {
        let classifier = try weights.load(compute.options(batch: batch.batch))
        try classifier.requireHead()
        let prediction = try runArray(input, through: classifier) { $0.logits }
        warnOfNoNumbers(prediction.values, of: classifier, in: output)
        try WeightWriter.writeArray(prediction, to: output)
    }
}

/// Outputs that are no numbers are written as they are, and said.
func warnOfNoNumbers(_ values: [Float], of classifier: Classifier, in path: String) {
    let count = values.count { !$0.isFinite }
    guard count > 0 else { return }
    Terminal.warning("\(path): \(count) of \(values.count) values are no finite numbers: \(classifier.faultOfOutputs)")
}

/// All pictures of an array file through the network, batch by batch; `result` says what to keep.
func runArray(_ path: String, through classifier: Classifier, _ result: (Prediction) -> Tensor) throws -> Tensor {
    let pictures = try readArray(path)
    let size = try classifier.size(ofArray: pictures.shape, from: path)
    let shape = pictures.shape
    let batch = min(classifier.options.batch, shape[0])
    let plan = try classifier.plan(size: size, batch: batch)
    Terminal.note(try classifier.announcement(plan))
    var progress = Progress(total: shape[0], unit: "pictures")
    var values: [Float] = []
    var rowShape: [Int] = []
    for start in stride(from: 0, to: shape[0], by: batch) {
        let count = min(batch, shape[0] - start)
        let tensor = result(try plan.predict(pictures.entries(start..<start + count)))
        rowShape = Array(tensor.shape.dropFirst())
        values += tensor.values
        progress.advance(by: count)
    }
    progress.hide()
    return Tensor(shape: [shape[0]] + rowShape, values: values)
}

/// The one array of an npy file.
private func readArray(_ path: String) throws -> Tensor {
    let file = try WeightFile.open(path)
    guard file.container == .npy, let entry = file.entries.first else {
        throw ToolError("\(path): expected a NumPy array (.npy), found \(file.container.title)")
    }
    guard entry.type.isFloatingPoint else {
        throw ToolError("\(path): expected floating point, found \(entry.type.rawValue)")
    }
    return try file.tensor(entry.key)
}
