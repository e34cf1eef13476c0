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
        let prediction = try runArray(input, through: try weights.load(), batch.batch, compute) { $0.logits }
        try WeightWriter.writeArray(prediction, to: output)
    }
}

/// All pictures of an array file through the model, batch by batch; `result` says what to keep.
func runArray(
    _ path: String, through loaded: LoadedModel, _ batch: Int, _ compute: ComputeOptions,
    _ result: (Prediction) -> Tensor
) throws -> Tensor {
    let pictures = try readArray(path)
    let shape = pictures.shape
    guard shape.count == 4, !shape.contains(0) else {
        throw ToolError("\(path): expected pictures (N, C, H, W), found an array of shape \(shape)")
    }
    guard shape[1] == loaded.inputChannels else {
        throw ToolError(
            "\(path): expected \(loaded.inputChannels) channels for \(loaded.name), found \(shape[1]) in \(shape)")
    }
    let batch = min(batch, shape[0])
    let plan = try loaded.plan(size: Size2(shape[2], shape[3]), batch: batch, compute)
    Terminal.note(try loaded.announcement(plan))
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
