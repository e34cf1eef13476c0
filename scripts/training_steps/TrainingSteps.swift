// What scripts/check_gradients_against_torch.py runs: one pass, or some updates, of a network on one batch from files.
//
//     training-steps MODEL WEIGHTS BATCH OUTPUT [ACCURACY [CHECKPOINTING [OPTIMIZER RATE STEPS]]]
//
// WEIGHTS   all parameters, any format that the library reads
// BATCH     pictures (N, C, H, W) and labels: classes (N) or yes and no (N, labels)
// OUTPUT    safetensors. One pass: `loss`, `gradient.KEY`, `statistic.KEY`. Updates: `losses`, one before each.
import ResNetSwift

@main
enum TrainingSteps {
    static func main() throws {
        let arguments = CommandLine.arguments.dropFirst() + Array(repeating: "", count: 9)
        let (name, weights, batch, output) = (arguments[1], arguments[2], arguments[3], arguments[4])
        let file = try WeightFile.open(batch)
        let (pictures, labels) = (try file.tensor("pictures"), try file.tensor("labels"))
        let shape = pictures.shape
        let size = Size2(shape[2], shape[3])
        var model = try ModelName(named: name).model(inputSize: size, seed: 0)
        try model.load(from: try WeightFile.open(weights))
        model = model.withDropout(0)
        let isBinary = labels.shape.count == 2
        let (optimizer, weightDecay): (Optimizer, Float) =
            switch arguments[7] {
            case "adam": (.adam(), 1e-4)
            case "adamw": (.adamW(), 0.05)
            default: (.sgd(momentum: 0.9), 5e-4)
            }
        let steps = Int(arguments[9]) ?? 0
        let plan = try TrainingPlan(
            model: model, input: ImageShape(channels: shape[1], height: size.height, width: size.width),
            batchLimit: shape[0],
            plan: OptimizationPlan(
                loss: isBinary ? .binaryCrossEntropy() : .crossEntropy(), optimizer: optimizer,
                groups: ParameterGroup.single(model.graph, weightDecay: weightDecay)),
            options: TrainingOptions(
                accuracy: Accuracy(rawValue: arguments[5]) ?? .default,
                checkpointing: Checkpointing(rawValue: arguments[6]) ?? .none))
        let data = TrainingBatch(
            input: .floats(pictures), labels: isBinary ? .multiHot(labels) : .classes(labels.values.map { Int32($0) }))
        var results: [(key: String, tensor: Tensor)] = []
        if steps == 0 {
            let result = try plan.train(data, StepSettings(step: 0, learningRates: [0], updates: false))
            results.append(("loss", Tensor(shape: [1], values: [Float(result.loss)])))
            results += plan.exportGradients().sorted { $0.key < $1.key }.map { ("gradient.\($0.key)", $0.value) }
            let statistics = Set(model.graph.parameters.filter(\.role.isBuffer).map(\.name))
            results += plan.exportParameters().filter { statistics.contains($0.key) }.sorted { $0.key < $1.key }
                .map { ("statistic.\($0.key)", $0.value) }
        } else {
            let rate = Float(arguments[8])!
            let losses = try (0..<steps).map { step in
                Float(try plan.train(data, StepSettings(step: step, learningRates: [rate])).loss)
            }
            results.append(("losses", Tensor(shape: [steps], values: losses)))
        }
        try WeightWriter.write(results, to: output, format: .safetensors)
    }
}
