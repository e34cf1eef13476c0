// From a picture to the network's input, once for training with random steps and once for everybody else. The latter goes
// into the checkpoint, so that `classify` sees pictures the way validation did.

import ArgumentParser
import ResNetSwift

/// `0.5,1`: two numbers, the smaller first.
struct NumberRange: ExpressibleByArgument {
    let range: ClosedRange<Double>

    init?(argument: String) {
        guard let ends: [Double] = argument.numbers(), ends.count == 2, ends[0] > 0, ends[0] <= ends[1],
            ends[1].isFinite
        else { return nil }
        range = ends[0]...ends[1]
    }
}

/// `0.4,0.4,0.4,0.1`: brightness, contrast, saturation, hue; those left out are 0.
struct JitterAmounts: ExpressibleByArgument {
    let values: [Double]

    init?(argument: String) {
        guard let values: [Double] = argument.numbers(), 1...4 ~= values.count,
            values.allSatisfy({ $0 >= 0 && $0.isFinite }), values.count < 4 || values[3] <= 0.5
        else { return nil }
        self.values = values + Array(repeating: 0, count: 4 - values.count)
    }
}

/// `2,9`: operations and magnitude of RandAugment.
struct RandAugmentAmounts: ExpressibleByArgument {
    let operations: Int
    let magnitude: Int

    init?(argument: String) {
        guard let amounts: [Int] = argument.numbers(), amounts.count == 2, 1...100 ~= amounts[0], 0...30 ~= amounts[1]
        else { return nil }
        (operations, magnitude) = (amounts[0], amounts[1])
    }
}

/// `128,176,224`: sizes one after the other.
struct PictureSizes: ExpressibleByArgument {
    let sizes: [Size2]

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        let sizes = parts.compactMap { PictureSize(argument: String($0))?.size }
        guard sizes.count == parts.count else { return nil }
        self.sizes = sizes
    }
}

struct AugmentationOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Size of the network's input: 224, or HEIGHTxWIDTH. Several, such as 128,176,224, are progressive resizing: training "
                + "goes from one to the next in equal parts of the epochs, and the last is the network's. Default: that of the "
                + "weights' transform, of the array's pictures, or the usual one of the model.", valueName: "size"))
    var size: PictureSizes?

    @Option(
        help: ArgumentHelp(
            "How a picture becomes input, as in `classify`; random steps are added for training.", valueName: "name"))
    var transform: String?

    @Option(
        help: ArgumentHelp(
            "Train on random crops that cover this share of the picture, e.g. 0.5,1 (RandomResizedCrop).",
            valueName: "low,high"))
    var crop: NumberRange?

    @Option(
        help: ArgumentHelp("Aspect ratio (width / height) of the crops; default: 0.75,1.3333.", valueName: "low,high"))
    var cropRatio: NumberRange?

    @Flag(help: "Mirror half of the training pictures left to right.")
    var flip = false

    @Option(
        help: ArgumentHelp(
            "Change colors by up to brightness,contrast,saturation,hue, e.g. 0.4,0.4,0.4,0.1.", valueName: "b,c,s,h"))
    var jitter: JitterAmounts?

    @Option(
        help: ArgumentHelp(
            "RandAugment: changes for each picture and their magnitude of 0 to 30; torchvision's default is 2,9.",
            valueName: "n,m"))
    var randAugment: RandAugmentAmounts?

    @Flag(help: "TrivialAugment (wide): one change of a random magnitude for each picture.")
    var trivialAugment = false

    @Option(help: ArgumentHelp("Erase a random rectangle in this share of the training pictures.", valueName: "p"))
    var erase = 0.0

    @Option(help: ArgumentHelp("Mixup with Beta(a, a), e.g. 0.2.", valueName: "a"))
    var mixup = 0.0

    @Option(help: ArgumentHelp("Cutmix with Beta(a, a), e.g. 1.", valueName: "a"))
    var cutmix = 0.0

    func validate() throws {
        if transform != nil && size != nil { throw ValidationError("Give --transform or --size, not both.") }
        if cropRatio != nil && crop == nil { throw ValidationError("--crop-ratio needs --crop.") }
        if randAugment != nil && trivialAugment {
            throw ValidationError("Give --rand-augment or --trivial-augment, not both.")
        }
        guard 0...1 ~= erase else { throw ValidationError("--erase must be 0 to 1, not \(erase).") }
        guard mixup >= 0, cutmix >= 0, (mixup + cutmix).isFinite else {
            throw ValidationError("--mixup and --cutmix must be 0 or more.")
        }
    }

    /// Of progressive resizing.
    var trainingSizes: [Size2] { size.flatMap { $0.sizes.count > 1 ? $0.sizes : nil } ?? [] }

    var mixing: BatchMixing? { mixup + cutmix > 0 ? BatchMixing(mixup: mixup, cutmix: cutmix) : nil }

    /// The random steps asked for that need pictures of bytes; those on colors need 1 or 3 channels.
    private var randomSteps: (all: [String], onColors: [String]) {
        let onColors = [
            (jitter != nil, "--jitter"), (randAugment != nil, "--rand-augment"), (trivialAugment, "--trivial-augment"),
        ]
        let others = [(crop != nil, "--crop"), (flip, "--flip"), (erase > 0, "--erase")]
        func given(_ options: [(Bool, String)]) -> [String] { options.filter(\.0).map(\.1) }
        return (given(others + onColors), given(onColors))
    }

    /// The size of the input, if it can be told before the network is made.
    func inputSize(of dataset: Dataset, stored: ImageTransform?, usual: Size2) throws -> Size2 {
        if let last = size?.sizes.last { return last }
        if let own = try transform.map(namedTransform)?.fixedOutputSize { return own }
        switch dataset.source {
        case .floats(let tensor): return Size2(tensor.shape[2], tensor.shape[3])
        case .pictures(let images): return stored?.fixedOutputSize ?? Size2(images.height, images.width)
        case .files, .stacks: return stored?.fixedOutputSize ?? usual
        }
    }

    /// What validation, the checkpoint and `classify` do with a picture.
    /// - Parameters:
    ///   - stored: the weights' own.
    ///   - isPretrained: weights without a transform of their own are taken to be ImageNet's.
    func evaluation(
        _ dataset: Dataset, channels: Int, size: Size2, stored: ImageTransform?, isPretrained: Bool
    ) throws -> ImageTransform {
        if let transform {
            let chosen = try namedTransform(transform)
            guard chosen.channels == channels, !chosen.isRandom, chosen.fixedOutputSize != nil else {
                throw ToolError(
                    "--transform \(transform): expected one of \(channels) channels and one size, without random steps, "
                        + "found another")
            }
            return chosen
        }
        let own = stored.flatMap { $0.channels == channels && !$0.isRandom ? $0 : nil }
        if let own, own.fixedOutputSize == size { return own }
        return ImageTransform(
            channels: channels,
            steps: geometry(size, dataset) + (own?.numeric ?? numeric(channels, size, dataset, isPretrained)))
    }

    /// Photographs keep their proportions, as torchvision's evaluation has it; small pictures are stretched.
    private func geometry(_ size: Size2, _ dataset: Dataset) -> [ImageTransform.Step] {
        let photographs = if case .files = dataset.source { true } else { false }
        guard photographs, size.height == size.width, size.height >= 64 else { return [.resize(size)] }
        return [.resizeShorterSide((size.height * 256 + 112) / 224), .centerCrop(size)]
    }

    /// Gray and stained pictures get the mean of ImageNet's statistics if the filters come from there.
    private func numeric(
        _ channels: Int, _ size: Size2, _ dataset: Dataset, _ isPretrained: Bool
    ) -> [ImageTransform.Step] {
        if dataset.isFloats { return [.toFloat] }
        let (mean, std): ([Double], [Double]) =
            switch (channels, isPretrained) {
            case (3, _): (ImageTransform.imageNetMean, ImageTransform.imageNetStd)
            case (_, true): (Array(repeating: 0.449, count: channels), Array(repeating: 0.226, count: channels))
            case (_, false): (Array(repeating: 0.5, count: channels), Array(repeating: 0.5, count: channels))
            }
        return [.toFloat, .normalize(mean: mean, std: std)]
    }

    /// The transform with the random steps asked for.
    func training(_ evaluation: ImageTransform, _ dataset: Dataset, size: Size2) throws -> ImageTransform {
        let (asked, onColors) = randomSteps
        guard let first = asked.first else { return evaluation }
        if dataset.isFloats { throw ToolError("\(first): expected pictures of bytes, found an array of floats") }
        if let first = onColors.first, evaluation.channels != 1 && evaluation.channels != 3 {
            throw ToolError("\(first): expected pictures of 1 or 3 channels, found \(evaluation.channels)")
        }
        var steps: [ImageTransform.Step] = []
        if let crop {
            guard crop.range.upperBound <= 1 else { throw ToolError("--crop: expected shares up to 1, found more") }
            steps.append(
                .randomResizedCrop(size, scale: crop.range, ratio: cropRatio?.range ?? 0.75...(4.0 / 3.0)))
        } else {
            steps += evaluation.geometric
        }
        if flip { steps.append(.randomHorizontalFlip()) }
        // torchvision's recipes have the policies behind the flip.
        if let randAugment {
            steps.append(.randAugment(operations: randAugment.operations, magnitude: randAugment.magnitude))
        }
        if trivialAugment { steps.append(.trivialAugmentWide) }
        if let jitter {
            let amounts = jitter.values
            steps.append(
                .colorJitter(brightness: amounts[0], contrast: amounts[1], saturation: amounts[2], hue: amounts[3]))
        }
        if erase > 0 { steps.append(.randomErasing(probability: erase)) }
        return ImageTransform(
            channels: evaluation.channels, exif: evaluation.exif, steps: steps + evaluation.numeric)
    }
}

extension ImageTransform {
    /// Steps on bytes.
    fileprivate var geometric: [Step] { Array(steps.prefix { !$0.isNumeric }) }
    /// Steps on numbers.
    fileprivate var numeric: [Step] { Array(steps.drop { !$0.isNumeric }) }
}

extension ImageTransform.Step {
    fileprivate var isNumeric: Bool {
        switch self {
        case .toFloat, .normalize: true
        default: false
        }
    }
}
