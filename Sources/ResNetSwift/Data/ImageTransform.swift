// From a picture of any size to what a network takes, as a value: the steps of torchvision's transforms, in order.
//
//     Picture --resize, crop, augment (bytes)--> (H, W, C) bytes --toFloat, normalize--> x = byte * scale[c] + shift[c]
//
// All steps up to `toFloat` work on bytes, with the pixels that torchvision gives for PIL pictures. What follows is
// affine in each channel, so it is kept as scale and shift: the first convolution applies it while it loads.

import ResNetGraph

/// How pictures become input. Belongs to the weights: stored with a checkpoint as JSON (`json`, `init(json:)`).
public struct ImageTransform: Sendable, Hashable {
    /// Antialiased, with Pillow's pixels.
    public enum Filter: String, Sendable, Hashable, CaseIterable {
        /// Pillow's: bilinear reaches 1 pixel far, bicubic 2, and both farther where the picture shrinks.
        case bilinear, bicubic
    }

    /// What becomes of half a pixel where a picture's margins are uneven.
    public enum Rounding: String, Sendable, Hashable, CaseIterable {
        /// As torchvision has it: to the nearest pixel, halves to the even one.
        case nearest
        /// As transformers has it.
        case down
    }

    /// A step of a transform, with torchvision's meaning.
    public enum Step: Sendable, Hashable {
        /// The shorter side gets this length, the other `Int(length * longer / shorter)`.
        case resizeShorterSide(Int, Filter = .bilinear)
        /// Exactly this size, whatever the proportions.
        case resize(Size2, Filter = .bilinear)
        /// The middle. A smaller picture is padded with zeros.
        case centerCrop(Size2, Rounding = .nearest)

        /// A part of `scale` of the area and `ratio` (width / height, drawn in logarithms), resized. Ten tries; then the
        /// largest middle part of an admissible ratio.
        case randomResizedCrop(
            Size2, scale: ClosedRange<Double> = 0.08...1, ratio: ClosedRange<Double> = 0.75...(4.0 / 3.0),
            Filter = .bilinear)
        /// Left to right.
        case randomHorizontalFlip(probability: Double = 0.5)
        /// Factors uniform in max(0, 1 - x)...1 + x, hue in -x...x circles; in random order.
        case colorJitter(brightness: Double = 0, contrast: Double = 0, saturation: Double = 0, hue: Double = 0)
        /// torchvision's RandAugment: so many of its 14 changes one after the other, all of one magnitude of 0...30. What
        /// moves in from outside is black.
        case randAugment(operations: Int = 2, magnitude: Int = 9)
        /// torchvision's TrivialAugmentWide: one of 14 changes, of one of 31 magnitudes.
        case trivialAugmentWide
        /// A part of `scale` of the area and `ratio` (height / width) gets the mean color, which is 0 once normalized, to
        /// half a level. (torchvision erases after normalizing; here pictures are bytes until the network loads them.)
        case randomErasing(
            probability: Double = 0.5, scale: ClosedRange<Double> = 0.02...0.33,
            ratio: ClosedRange<Double> = 0.3...3.3)

        /// 0...255 becomes 0...1.
        case toFloat
        /// (x - mean[c]) / std[c].
        case normalize(mean: [Double], std: [Double])
    }

    /// Channels of the picture, before and after.
    public let channels: Int
    /// What to do with EXIF's orientation when a file is read for this transform.
    public let exif: ExifPolicy
    /// In order; those on bytes first, then `toFloat`, then `normalize`.
    public let steps: [Step]

    /// A transform of your own steps.
    /// - Precondition: steps on bytes come first, `toFloat` once, `normalize` after it, with a value for each channel.
    public init(channels: Int = 3, exif: ExifPolicy = .apply, steps: [Step]) {
        if let fault = Self.fault(channels: channels, steps: steps) { preconditionFailure("a transform \(fault)") }
        self.init(checkedChannels: channels, exif: exif, steps: steps)
    }

    init(checkedChannels channels: Int, exif: ExifPolicy, steps: [Step]) {
        self.channels = channels
        self.exif = exif
        self.steps = steps
    }
}

// MARK: - Presets

extension ImageTransform {
    /// RGB, of values in 0...1.
    public static let imageNetMean = [0.485, 0.456, 0.406]
    /// RGB, of values in 0...1.
    public static let imageNetStd = [0.229, 0.224, 0.225]

    private static func evaluation(
        resize: Int, crop: Int, _ filter: Filter, mean: [Double], std: [Double], _ exif: ExifPolicy
    ) -> ImageTransform {
        ImageTransform(
            exif: exif,
            steps: [
                .resizeShorterSide(resize, filter), .centerCrop(Size2(crop, crop)), .toFloat,
                .normalize(mean: mean, std: std),
            ])
    }

    /// torchvision's IMAGENET1K_V1 weights.
    public static func imageNetV1(resize: Int = 256, crop: Int = 224, exif: ExifPolicy = .apply) -> ImageTransform {
        evaluation(resize: resize, crop: crop, .bilinear, mean: imageNetMean, std: imageNetStd, exif)
    }

    /// torchvision's IMAGENET1K_V2 weights.
    public static func imageNetV2(resize: Int = 232, crop: Int = 224, exif: ExifPolicy = .apply) -> ImageTransform {
        evaluation(resize: resize, crop: crop, .bilinear, mean: imageNetMean, std: imageNetStd, exif)
    }

    /// Mean and std 0.5, as some of timm's weights want it: -1...1.
    public static func inceptionStyle(
        resize: Int = 256, crop: Int = 224, filter: Filter = .bilinear, exif: ExifPolicy = .apply
    ) -> ImageTransform {
        let half = [0.5, 0.5, 0.5]
        return evaluation(resize: resize, crop: crop, filter, mean: half, std: half, exif)
    }

    /// CIFAR-10's channel statistics; pictures of another size are stretched to it.
    public static func cifar(size: Int = 32) -> ImageTransform {
        ImageTransform(steps: [
            .resize(Size2(size, size)), .toFloat,
            .normalize(mean: [0.4914, 0.4822, 0.4465], std: [0.2470, 0.2435, 0.2616]),
        ])
    }

    /// Gray pictures of digits, -1...1.
    public static func digits(size: Int = 32) -> ImageTransform {
        ImageTransform(channels: 1, steps: [.resize(Size2(size, size)), .toFloat, .normalize(mean: [0.5], std: [0.5])])
    }

    /// `imagenet` (or `imagenet-v1`), `imagenet-v2`, `inception`, `cifar`, `digits`; nil for another name.
    public init?(named name: String) {
        switch name {
        case "imagenet", "imagenet-v1": self = .imageNetV1()
        case "imagenet-v2": self = .imageNetV2()
        case "inception": self = .inceptionStyle()
        case "cifar": self = .cifar()
        case "digits": self = .digits()
        default: return nil
        }
    }

    /// The usual training counterpart of `imageNetV1`: a random part, mirrored half of the time.
    public static func imageNetTraining(
        crop: Int = 224, scale: ClosedRange<Double> = 0.08...1, exif: ExifPolicy = .apply
    ) -> ImageTransform {
        ImageTransform(
            exif: exif,
            steps: [
                .randomResizedCrop(Size2(crop, crop), scale: scale), .randomHorizontalFlip(), .toFloat,
                .normalize(mean: imageNetMean, std: imageNetStd),
            ])
    }
}

// MARK: - What follows from the steps

extension ImageTransform {
    /// Some step draws random numbers.
    public var isRandom: Bool {
        steps.contains {
            switch $0 {
            case .randomResizedCrop, .randomHorizontalFlip, .colorJitter, .randAugment, .trivialAugmentWide,
                .randomErasing:
                true
            case .resizeShorterSide, .resize, .centerCrop, .toFloat, .normalize: false
            }
        }
    }

    /// The size that every picture comes out with; nil if it depends on the picture.
    public var fixedOutputSize: Size2? {
        steps.reduce(nil) { size, step in
            switch step {
            case .resize(let size, _), .centerCrop(let size, _), .randomResizedCrop(let size, _, _, _): size
            case .resizeShorterSide(let length, _): size.map { Self.shorterSideSize(length, of: $0) }
            default: size
            }
        }
    }

    /// The size that a picture of this size comes out with.
    public func outputSize(of size: Size2) -> Size2 {
        steps.reduce(size) { size, step in
            switch step {
            case .resize(let size, _), .centerCrop(let size, _), .randomResizedCrop(let size, _, _, _): size
            case .resizeShorterSide(let length, _): Self.shorterSideSize(length, of: size)
            default: size
            }
        }
    }

    /// torchvision's rule; the division is Python's true division, cut to an integer.
    static func shorterSideSize(_ length: Int, of size: Size2) -> Size2 {
        func other(_ longer: Int, _ shorter: Int) -> Int { Int(Double(length * longer) / Double(shorter)) }
        return size.width <= size.height
            ? Size2(other(size.height, size.width), length) : Size2(length, other(size.width, size.height))
    }

    /// Input of the network = byte * scale[c] + shift[c].
    public var scale: [Float] { affine.map { Float($0.scale) } }
    /// By channel, added to byte * scale[c].
    public var shift: [Float] { affine.map { Float($0.shift) } }

    private var affine: [(scale: Double, shift: Double)] {
        var result = Array(repeating: (scale: 1.0, shift: 0.0), count: channels)
        for step in steps {
            switch step {
            case .toFloat:
                result = result.map { ($0.scale / 255, $0.shift / 255) }
            case .normalize(let mean, let std):
                for c in 0..<channels {
                    result[c] = (result[c].scale / std[c], (result[c].shift - mean[c]) / std[c])
                }
            default: break
            }
        }
        return result
    }

    /// The byte in each channel that comes nearest to an input of 0.
    var neutralBytes: [UInt8] {
        affine.map { UInt8(min(max((-$0.shift / $0.scale).rounded(), 0), 255)) }
    }

    /// What is wrong with these steps, or nil.
    static func fault(channels: Int, steps: [Step]) -> String? {
        if channels < 1 || channels > 4096 { return "has \(channels) channels; 1...4096 are possible" }
        var isFloat = false
        for step in steps {
            if let fault = step.fault(channels: channels) { return fault }
            switch step {
            case .toFloat:
                if isFloat { return "has toFloat twice" }
                isFloat = true
            case .normalize:
                if !isFloat { return "normalizes before toFloat" }
            default:
                if isFloat { return "has a step on pictures behind toFloat" }
            }
        }
        return nil
    }
}

extension ImageTransform.Step {
    fileprivate func fault(channels: Int) -> String? {
        func bad(_ size: Size2) -> String? {
            let possible = 1...65536
            if possible.contains(size.height), possible.contains(size.width) { return nil }
            return "has a size of \(size.height) x \(size.width); 1...65536 are possible"
        }
        func bad(_ range: ClosedRange<Double>, _ name: String) -> String? {
            if range.lowerBound > 0, range.upperBound.isFinite { return nil }
            return "has a \(name) of \(range); it must be positive and finite"
        }
        func bad(probability: Double) -> String? {
            (0...1).contains(probability) ? nil : "has a probability of \(probability)"
        }
        func needsColors(_ what: String) -> String? {
            channels == 1 || channels == 3 ? nil : "has \(what) on \(channels) channels; 1 or 3 are possible"
        }
        switch self {
        case .resizeShorterSide(let length, _):
            return bad(Size2(length, length))
        case .resize(let size, _), .centerCrop(let size, _):
            return bad(size)
        case .randomResizedCrop(let size, let scale, let ratio, _):
            return bad(size) ?? bad(scale, "scale") ?? bad(ratio, "ratio")
        case .randomHorizontalFlip(let probability):
            return bad(probability: probability)
        case .colorJitter(let brightness, let contrast, let saturation, let hue):
            if let fault = needsColors("color jitter") { return fault }
            let amounts = [brightness, contrast, saturation]
            if !amounts.allSatisfy({ $0 >= 0 && $0.isFinite }) { return "has a negative color jitter" }
            return (0...0.5).contains(hue) ? nil : "has a hue jitter of \(hue); 0...0.5 are possible"
        case .randAugment(let operations, let magnitude):
            if let fault = needsColors("RandAugment") { return fault }
            if !(1...100).contains(operations) {
                return "has a RandAugment of \(operations) operations; 1...100 are possible"
            }
            let possible = 0..<AugmentationPolicy.bins
            if possible.contains(magnitude) { return nil }
            return "has a RandAugment of magnitude \(magnitude); 0...\(possible.upperBound - 1) are possible"
        case .trivialAugmentWide:
            return needsColors("TrivialAugment")
        case .randomErasing(let probability, let scale, let ratio):
            return bad(probability: probability) ?? bad(scale, "scale") ?? bad(ratio, "ratio")
        case .toFloat:
            return nil
        case .normalize(let mean, let std):
            if mean.count != channels || std.count != channels {
                return "normalizes \(mean.count) means and \(std.count) stds on \(channels) channels"
            }
            if !mean.allSatisfy(\.isFinite) || !std.allSatisfy({ $0.isFinite && $0 > 0 }) {
                return "normalizes by mean \(mean) and std \(std); they must be finite, and std positive"
            }
            return nil
        }
    }
}
