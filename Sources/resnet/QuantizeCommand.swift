// resnet quantize: convolutions in 8 bits, their scales chosen by pictures.

import ArgumentParser
import ResNetSwift

struct QuantizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quantize",
        abstract: "Makes weights of 8 bits: convolutions then compute in integers, exactly.",
        discussion: """
            Runs pictures like those of later use through the network, without labels, chooses what bytes stand for, and \
            writes a .safetensors file that `classify`, `embed`, `evaluate`, `time`, `describe` and `profile` take like any \
            other. The first convolution, grouped ones, pools and the classifier stay in float32. The report says for each \
            layer how far the bytes are from the floats (signal to noise in decibels, cosine), and for how many of the \
            pictures both name the same class. With --agreement, layers go back to float32, the most harmful first, until \
            that share of the pictures is reached; with --evaluate, the report has the top-1 accuracy of both. The same \
            pictures give the same file.

            EXAMPLES
              resnet quantize resnet50.pth --calibrate photos/ --out resnet50-int8.safetensors
              resnet quantize demo/digits.safetensors --calibrate demo/digits.npz --out digits-int8.safetensors
              resnet quantize resnet18.pth --calibrate photos/ --keep-float layer4 --out resnet18-int8.safetensors
              resnet quantize resnet18.pth --calibrate photos/ --agreement 0.99 --out resnet18-int8.safetensors
              resnet quantize run/best.safetensors --calibrate photos/train --evaluate photos --out int8.safetensors
            """)

    @Argument(help: ArgumentHelp("A weight file.", valueName: "weights"))
    var weights: String
    @Option(
        help: ArgumentHelp("Pictures: files or folders of them, or arrays .npz as for `train`.", valueName: "pictures"))
    var calibrate: String
    @Option(name: .shortAndLong, help: ArgumentHelp("A file that ends in .safetensors.", valueName: "file"))
    var out: String
    @Option(name: .shortAndLong, help: ArgumentHelp("The model; otherwise it is recognized.", valueName: "name"))
    var model: String?
    @OptionGroup var part: WeightPartOptions
    @Option(
        help: ArgumentHelp(
            "What the largest byte stands for: the largest value (minmax), one that a value in ten thousand exceeds "
                + "(percentile), or that of the least squared error (mse).",
            valueName: "how"))
    var method = CalibrationMethod.percentile
    @Option(
        help: ArgumentHelp(
            "A convolution, or what stands before the names of several, that stays in float32.",
            valueName: "name"))
    var keepFloat: [String] = []
    @Option(
        help: ArgumentHelp(
            "The share of pictures that must keep their class, 0 to 1: convolutions go back to float32 until they do.",
            valueName: "share"))
    var agreement: Double?
    @Option(
        help: ArgumentHelp(
            "Pictures whose classes are known, as for `evaluate`: the report has top-1 before and after.",
            valueName: "data"))
    var evaluate: String?
    @Flag(help: "Leave the biases as they are.")
    var keepBias = false
    @Option(help: ArgumentHelp("Pictures to use at most, evenly among all.", valueName: "n"))
    var limit = 300
    @Option(help: ArgumentHelp("How a picture becomes input, as in `classify`.", valueName: "name"))
    var transform: String?
    @Option(name: .shortAndLong, help: ArgumentHelp("Pictures at a time.", valueName: "n"))
    var batch = 4
    @Option(name: .shortAndLong, help: ArgumentHelp("Threads; 0 means the physical cores.", valueName: "n"))
    var threads = 0
    @Flag(help: "The report as one JSON object.")
    var json = false

    func validate() throws {
        try checkBatch(batch)
        guard WeightFormat(path: out) == .safetensors else {
            throw ValidationError("\(out): expected a name that ends in .safetensors.")
        }
        guard 1...1_000_000 ~= limit else { throw ValidationError("--limit must be 1 to 1000000, not \(limit).") }
        if let agreement, !(0...1 ~= agreement) {
            throw ValidationError("--agreement must be 0 to 1, not \(agreement).")
        }
        guard 0...1024 ~= threads else { throw ValidationError("--threads must be 0 to 1024, not \(threads).") }
    }

    func run() throws {
        var choices = ClassifierOptions(threads: threads)
        choices.transform = try transform.map(namedTransform)
        let loaded = try Classifier.open(weights, named: model, part, choices)
        guard loaded.model.quantization == nil else {
            throw ToolError("\(weights): expected weights in floating point, found some that are quantized already")
        }
        guard loaded.isKnownByName else {
            throw ToolError(
                "\(weights): \(out) would hold weights without their network, which only an ONNX file describes here")
        }
        _ = try Machine.instructionSet()
        let pictures = try CalibrationPictures(calibrate, for: loaded, limit: limit)
        let input = pictures.shape
        let options = PlanOptions(threads: threads, input: pictures.input)
        var calibration: Calibration
        do {
            calibration = try Calibration(
                model: loaded.model, input: input, batch: batch, options: options, method: method,
                keepingFloat: keepFloat)
        } catch { throw ToolError("\(loaded.name): \(error)") }
        guard !calibration.layers.isEmpty else {
            throw ToolError("\(loaded.name): expected convolutions that can compute in 8 bits, found none")
        }
        var progress = Progress(total: 2 * pictures.count, unit: "pictures")
        defer { progress.hide() }
        try pictures.forEachBatch(batch) { batch, images in
            try calibration.observe(batch, images: images)
            progress.advance(by: images)
        }
        let fallback = try agreement.map { try fall(back: calibration, $0, pictures, loaded) }
        let quantized = fallback?.model ?? calibration.quantized(correctsBias: !keepBias)
        var comparison = try QuantizationComparison(
            original: loaded.model, quantized: quantized, input: input, batch: batch, options: options)
        try pictures.forEachBatch(batch) { batch, images in
            try comparison.compare(batch, images: images)
            progress.advance(by: images)
        }
        progress.hide()
        let scores = try evaluate.map { try evaluation(on: $0, loaded, quantized) }
        try quantized.save(to: out)
        let report = QuantizationReport(
            name: loaded.name, method: method, calibration: calibration, fallback: fallback, comparison: comparison,
            scores: scores)
        if json { Output.json(report.object) } else { Output.text(report.text) }
        Terminal.note("\(out): \(report.layers.count) convolutions in 8 bits")
        if pictures.failures > 0 { throw ExitCode(2) }
    }

    /// Layers back to floats until enough pictures keep their class.
    private func fall(
        back calibration: Calibration, _ agreement: Double, _ pictures: CalibrationPictures, _ loaded: Classifier
    ) throws -> QuantizationFallback {
        let fallback = try QuantizationFallback(
            calibration, agreement: agreement, correctsBias: !keepBias,
            pictures: { try pictures.forEachBatch(batch, $0) },
            progress: { Terminal.note("\($0.layer) goes back to float32") })
        guard !fallback.layers.isEmpty else {
            throw ToolError(
                "\(loaded.name): expected some convolutions in 8 bits with an agreement of \(agreement), found that none may be; "
                    + "ask for less, or choose scales by more pictures or another --method")
        }
        return fallback
    }

    /// Both networks on pictures whose classes are known.
    private func evaluation(
        on path: String, _ loaded: Classifier, _ quantized: Model
    ) throws -> (float32: Evaluation, int8: Evaluation) {
        try loaded.requireHead()
        let data = try DataOptions.parse([path])
        let parts = try data.datasets(
            classNames: loaded.model.classNames, classCount: loaded.classCount, severalLabels: loaded.thresholds != nil)
        let part = (parts.test ?? parts.validation ?? parts.training).all
        func run(_ model: Model) throws -> Evaluation {
            try EvaluationRun(
                model: model, name: loaded.name, slice: part, transform: loaded.transform, batch: batch,
                workers: data.workers, topK: 1, options: PlanOptions(threads: threads)
            ).run(thresholds: loaded.model.labelThresholds)
        }
        return (try run(loaded.model), try run(quantized))
    }
}

// Of this package.
// swift-format-ignore: AvoidRetroactiveConformances
extension CalibrationMethod: ExpressibleByArgument {}
