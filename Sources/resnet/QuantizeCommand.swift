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
            pictures both name the same class. The same pictures give the same file.

            EXAMPLES
              resnet quantize resnet50.pth --calibrate photos/ --out resnet50-int8.safetensors
              resnet quantize demo/digits.safetensors --calibrate demo/digits.npz --out digits-int8.safetensors
              resnet quantize resnet18.pth --calibrate photos/ --keep-float layer4 --out resnet18-int8.safetensors
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
        let quantized = calibration.quantized(correctsBias: !keepBias)
        var comparison = try QuantizationComparison(
            original: loaded.model, quantized: quantized, input: input, batch: batch, options: options)
        try pictures.forEachBatch(batch) { batch, images in
            try comparison.compare(batch, images: images)
            progress.advance(by: images)
        }
        progress.hide()
        try quantized.save(to: out)
        if json {
            Output.json(object(loaded, calibration, comparison))
        } else {
            Output.text(report(calibration, comparison))
        }
        Terminal.note("\(out): \(calibration.layers.count) convolutions in 8 bits")
        if pictures.failures > 0 { throw ExitCode(2) }
    }

    private func report(_ calibration: Calibration, _ comparison: QuantizationComparison) -> String {
        var table = TextTable(["layer", "SQNR dB", "cosine"], rightAligned: [1, 2])
        for layer in comparison.layers {
            table.rows.append([layer.name, fixed(layer.sqnr, 1), fixed(layer.cosine, 5)])
        }
        let floats = calibration.floatLayers.map { "\($0.name) (\($0.reason))" }.joined(separator: ", ")
        return """
            \(table.text)

            int8       \(calibration.layers.count) convolutions, \(method.rawValue) of \(comparison.pictures) pictures
            float32    \(floats.isEmpty ? "no convolution" : floats)
            agreement  \(comparison.agreeing) of \(comparison.pictures) pictures get the same class
            """
    }

    private func object(
        _ loaded: Classifier, _ calibration: Calibration, _ comparison: QuantizationComparison
    ) -> JSONValue {
        let layers = comparison.layers.map { layer in
            JSONValue(
                ("layer", .string(layer.name)),
                ("sqnr_db", layer.sqnr.isFinite ? .number(layer.sqnr) : .null), ("cosine", .number(layer.cosine)))
        }
        return JSONValue(
            ("model", .string(loaded.name)), ("method", .string(method.rawValue)),
            ("pictures", .integer(comparison.pictures)), ("agreeing", .integer(comparison.agreeing)),
            ("int8", .array(calibration.layers.map(JSONValue.string))),
            ("float32", .array(calibration.floatLayers.map { .string($0.name) })), ("layers", .array(layers)))
    }
}

/// The pictures that scales are chosen by, as a plan takes them.
private struct CalibrationPictures {
    let input: InputKind
    let shape: ImageShape
    /// Each (H, W, C) bytes.
    private let pictures: [[UInt8]]
    /// That could not be read.
    let failures: Int

    var count: Int { pictures.count }

    init(_ path: String, for loaded: Classifier, limit: Int) throws {
        let transform = loaded.transform
        guard let size = transform.fixedOutputSize, !transform.isRandom, transform.channels == loaded.inputChannels
        else {
            throw ToolError(
                "\(loaded.name): expected a transform to \(loaded.inputChannels) channels and one size, without random steps; "
                    + "choose another with --transform")
        }
        input = .bytesNHWC(scale: transform.scale, shift: transform.shift)
        shape = ImageShape(channels: transform.channels, height: size.height, width: size.width)
        if path.hasSuffix(".npz") {
            (pictures, failures) = (try Self.arrays(path, transform, limit), 0)
        } else {
            (pictures, failures) = try Self.files(path, loaded, limit)
        }
        guard !pictures.isEmpty else { throw ToolError("\(path): expected pictures to choose scales by, found none") }
    }

    /// `limit` of `count`, evenly.
    private static func chosen(_ count: Int, _ limit: Int) -> [Int] {
        let taken = min(count, limit)
        return (0..<taken).map { $0 * count / taken }
    }

    private static func files(_ path: String, _ loaded: Classifier, _ limit: Int) throws -> ([[UInt8]], failures: Int) {
        let found = try PictureOptions.parse([path]).find()
        var pictures: [[UInt8]] = []
        var failures = found.skipped.count
        for file in found.skipped { Terminal.error("\(file.path): \(file.reason)") }
        try loaded.read(chosen(found.pictures.count, limit).map { found.pictures[$0] }) { _, picture in
            switch picture {
            case .success(let picture): pictures.append(try PictureBatch([picture], for: loaded.transform).pixels)
            case .failure(let error):
                failures += 1
                Terminal.error("\(error)")
            }
        }
        return (pictures, failures)
    }

    /// Those to train on.
    private static func arrays(_ path: String, _ transform: ImageTransform, _ limit: Int) throws -> [[UInt8]] {
        let dataset = try Dataset.arrays(npz: path).training
        guard !dataset.isFloats else {
            throw ToolError("\(path): expected pictures of bytes, found floats")
        }
        let loader = try BatchLoader(dataset.all, LoaderSettings(batchSize: 1, transform: transform))
        let wanted = Set(chosen(dataset.count, limit))
        var pictures: [[UInt8]] = []
        let stream = loader.batches(epoch: 0)
        while let loaded = stream.nextBatch() {
            guard wanted.contains(loaded.index), case .pictures(let batch)? = loaded.batch?.input else { continue }
            pictures.append(batch.pixels)
        }
        return pictures
    }

    func forEachBatch(_ batch: Int, _ body: (UnsafeRawPointer, Int) throws -> Void) throws {
        for start in stride(from: 0, to: pictures.count, by: batch) {
            let part = pictures[start..<min(start + batch, pictures.count)]
            try Array(part.joined()).withUnsafeBytes { try body($0.baseAddress!, part.count) }
        }
    }
}

// Of this package.
// swift-format-ignore: AvoidRetroactiveConformances
extension CalibrationMethod: ExpressibleByArgument {}
