// Options that several commands share, and what they turn into.

import ArgumentParser
import ResNetSwift

struct WeightOptions: ParsableArguments {
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "Weights: PyTorch .pth, .safetensors, .npz or .onnx, recognized by content, or a Hugging Face or timm folder.",
            valueName: "file"))
    var weights: String

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("The model; default: recognized by names and shapes.", valueName: "name"))
    var model: String?
    @OptionGroup var part: WeightPartOptions

    func load(_ options: ClassifierOptions) throws -> Classifier {
        try Classifier.open(weights, named: model, part, options)
    }
}

/// Which of the networks in a file.
struct WeightPartOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "If a file holds several networks: the key of the one to read, e.g. model_ema; nested keys are joined by dots.",
            valueName: "key"))
    var key: String?

    @Option(
        help: ArgumentHelp("The prefix of the network's names in the file, e.g. backbone.", valueName: "prefix"))
    var prefix: String?

    /// The option that was given, if any.
    var given: String? { key != nil ? "--key" : prefix != nil ? "--prefix" : nil }

    func open(_ path: String) throws -> WeightFile { try WeightFile.open(path, key: key, prefix: prefix) }
}

/// A model by weights, or by name with random weights.
struct AnyModelOptions: ParsableArguments {
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Weights; default: random.", valueName: "file"))
    var weights: String?

    @Option(name: .shortAndLong, help: ArgumentHelp("The model, e.g. resnet50.", valueName: "name"))
    var model: String?

    @OptionGroup var part: WeightPartOptions

    @Option(help: ArgumentHelp("Size of the pictures: 224, or HEIGHTxWIDTH.", valueName: "size"))
    var inputSize: PictureSize?

    func validate() throws {
        if weights == nil && model == nil { throw ValidationError("Give --model, --weights or both.") }
    }

    func load(_ compute: ComputeOptions, batch: Int) throws -> Classifier {
        var options = compute.options(batch: batch)
        options.inputSize = inputSize?.size
        if let weights { return try Classifier.open(weights, named: model, part, options) }
        return try Classifier(randomWeightsOf: try ModelName(named: model ?? ""), options: options)
    }
}

struct ComputeOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: ArgumentHelp("Threads; 0 means the physical cores.", valueName: "n"))
    var threads = 0

    @Option(
        help: ArgumentHelp(
            "strict: direct sums only; default: Winograd with good points; fast: whatever is fastest.",
            valueName: "how"))
    var accuracy = Accuracy.default

    @Option(
        help: ArgumentHelp(
            "Measure once which algorithm is fastest for each layer on this machine, and keep the result in this file.",
            valueName: "file"))
    var wisdom: String?

    @Option(
        help: ArgumentHelp(
            "Packed weights: written here if the file does not exist, otherwise mapped, which starts sooner. Valid for these "
                + "weights, this picture size and batch, on this kind of machine.",
            valueName: "file"))
    var packed: String?

    @Option(
        help: ArgumentHelp(
            "float32, int8 or bf16. int8 needs weights of `resnet quantize`, which run so unless another is asked. bf16 stores the "
                + "weights of 1x1 convolutions and linear layers in half the bytes; all else is float32.",
            valueName: "type"))
    var precision: Precision?

    func validate() throws {
        guard 0...1024 ~= threads else { throw ValidationError("--threads must be 0 to 1024, not \(threads).") }
    }

    var planOptions: PlanOptions {
        PlanOptions(threads: threads, accuracy: accuracy, wisdom: wisdom, precision: precision)
    }

    func options(batch: Int) -> ClassifierOptions {
        var options = ClassifierOptions(batch: batch, threads: threads)
        options.accuracy = accuracy
        options.wisdom = wisdom
        options.packed = packed
        options.precision = precision
        return options
    }
}

struct ViewOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Test-time augmentation: averages the logits of several views of a picture. flip: it and its mirror image; "
                + "five-crop: corners and middle in place of the transform's crop; ten-crop: those and their mirror images.",
            valueName: "views"))
    var tta = TestTimeAugmentation.none
}

struct BatchOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: ArgumentHelp("Pictures at a time.", valueName: "n"))
    var batch = 8

    func validate() throws { try checkBatch(batch) }
}

func checkBatch(_ batch: Int) throws {
    guard 1...4096 ~= batch else { throw ValidationError("--batch must be 1 to 4096, not \(batch).") }
}

/// `224` or `193x257`: height, width.
struct PictureSize: ExpressibleByArgument {
    let size: Size2

    init?(argument: String) {
        guard let sides: [Int] = argument.numbers(separator: "x"), 1...2 ~= sides.count,
            sides.allSatisfy({ 1...65536 ~= $0 })
        else { return nil }
        size = Size2(sides[0], sides[sides.count - 1])
    }
}

// Both are of this package.
// swift-format-ignore: AvoidRetroactiveConformances
extension Accuracy: ExpressibleByArgument {}
// swift-format-ignore: AvoidRetroactiveConformances
extension TestTimeAugmentation: ExpressibleByArgument {}
// swift-format-ignore: AvoidRetroactiveConformances
extension Precision: ExpressibleByArgument {}
