// RandAugment (Cubuk et al., 2019) and TrivialAugment (Mueller and Hutter, 2021): which change a picture gets and how
// strong it is, with torchvision's changes, magnitudes and probabilities.

import ResNetGraph

/// One of the changes that the policies choose from, each with the same probability; in torchvision's order.
enum PictureChange: String, Sendable, Hashable, CaseIterable {
    case identity = "Identity"
    case shearX = "ShearX"
    case shearY = "ShearY"
    case translateX = "TranslateX"
    case translateY = "TranslateY"
    case rotate = "Rotate"
    case brightness = "Brightness"
    case color = "Color"
    case contrast = "Contrast"
    case sharpness = "Sharpness"
    case posterize = "Posterize"
    case solarize = "Solarize"
    case autoContrast = "AutoContrast"
    case equalize = "Equalize"

    /// Half of the time the magnitude is negative.
    var isSigned: Bool {
        switch self {
        case .shearX, .shearY, .translateX, .translateY, .rotate, .brightness, .color, .contrast, .sharpness: true
        case .identity, .posterize, .solarize, .autoContrast, .equalize: false
        }
    }
}

/// A set of magnitudes for all changes.
enum AugmentationPolicy: Sendable, Hashable {
    case randAugment
    case trivialAugmentWide

    /// Magnitudes of a change, from none (bin 0) to the strongest.
    static let bins = 31

    /// Shears are tangents, shifts pixels, turns degrees, changes of color shares of the picture; posterizing keeps so
    /// many bits, solarizing inverts from this level on. Floats are rounded once, as PyTorch's `linspace` does where the
    /// processor has fused multiply-add.
    func magnitude(_ change: PictureChange, bin: Int, of size: Size2) -> Double {
        let isWide = self == .trivialAugmentWide
        func evenly(from start: Float = 0, to end: Double) -> Double {
            let step = (Float(end) - start) / Float(Self.bins - 1)
            let fromStart = start.addingProduct(step, Float(bin))
            let fromEnd = Float(end).addingProduct(-step, Float(Self.bins - 1 - bin))
            return Double(bin < Self.bins / 2 ? fromStart : fromEnd)
        }
        func shift(_ length: Int) -> Double { evenly(to: isWide ? 32 : 150.0 / 331.0 * Double(length)) }
        switch change {
        case .identity, .autoContrast, .equalize: return 0
        case .shearX, .shearY: return evenly(to: isWide ? 0.99 : 0.3)
        case .translateX: return shift(size.width)
        case .translateY: return shift(size.height)
        case .rotate: return evenly(to: isWide ? 135 : 30)
        case .brightness, .color, .contrast, .sharpness: return evenly(to: isWide ? 0.99 : 0.9)
        case .posterize:
            let binsPerBit: Float = isWide ? 5 : 7.5
            return Double(8 - (Float(bin) / binsPerBit).rounded(.toNearestOrEven))
        case .solarize: return evenly(from: 255, to: 0)
        }
    }

    /// A change and its magnitude. `bin` is one of all if nil.
    func draw(bin: Int?, of size: Size2, _ random: inout SampleRandom) -> (change: PictureChange, magnitude: Double) {
        // As many numbers in any case, so that what follows does not depend on what was chosen.
        let change = PictureChange.allCases[random.integer(below: PictureChange.allCases.count)]
        let drawn = random.integer(below: Self.bins)
        let isNegative = random.chance(0.5)
        let magnitude = magnitude(change, bin: bin ?? drawn, of: size)
        return (change, change.isSigned && isNegative ? -magnitude : magnitude)
    }
}
