// Samples of a batch mixed with one another, which teaches a network to be less sure of itself:
//
//     mixup   x = l x[i] + (1 - l) x[i - 1]                         (Zhang, Cisse, Dauphin, Lopez-Paz, 2018)
//     cutmix  x = x[i] with a box from x[i - 1], l = 1 - box / area  (Yun, Han, Oh, Chun, Choe, Yoo, 2019)
//     labels  y = l y[i] + (1 - l) y[i - 1]
//
// with l from Beta(alpha, alpha), one a batch, and the previous sample of the batch as partner, as torchvision's MixUp and
// CutMix have it. Bytes are mixed as bytes and rounded to nearest.

/// Mixup (Zhang et al., 2017) and cutmix (Yun et al., 2019): samples of a batch blended in pairs, labels too. The
/// share is drawn from Beta(a, a).
public struct BatchMixing: Sendable, Hashable {
    /// Beta's parameter; 0 means none of it.
    public var mixup: Double
    /// Beta's parameter; 0 means none of it.
    public var cutmix: Double
    /// Of a batch to be mixed at all. Where mixup and cutmix are both on, either is as likely.
    public var probability: Double

    /// Mixup, cutmix or either.
    /// - Precondition: parameters are not negative, one is positive, and the probability is in 0...1.
    public init(mixup: Double = 0, cutmix: Double = 0, probability: Double = 1) {
        precondition(mixup >= 0 && cutmix >= 0 && mixup + cutmix > 0, "mixing needs a positive mixup or cutmix")
        precondition((0...1).contains(probability), "a probability of \(probability)")
        self.mixup = mixup
        self.cutmix = cutmix
        self.probability = probability
    }

    /// What happens to one batch.
    package enum Decision: Equatable {
        case none
        case mixup(Double)
        /// The box that comes from the partner, and the part of the area that does not.
        case cutmix(top: Int, left: Int, height: Int, width: Int, kept: Double)

        /// The share of the sample itself in its label.
        var kept: Double {
            switch self {
            case .none: 1
            case .mixup(let kept), .cutmix(_, _, _, _, let kept): kept
            }
        }
    }

    func decision(height: Int, width: Int, _ random: inout SampleRandom) -> Decision {
        guard random.chance(probability) else { return .none }
        let usesCutmix = cutmix > 0 && (mixup == 0 || random.chance(0.5))
        let kept = random.beta(usesCutmix ? cutmix : mixup)
        guard usesCutmix else { return .mixup(kept) }
        let reach = (1 - kept).squareRoot() / 2
        let (halfHeight, halfWidth) = (Int(reach * Double(height)), Int(reach * Double(width)))
        let (y, x) = (random.integer(below: height), random.integer(below: width))
        let (top, bottom) = (max(y - halfHeight, 0), min(y + halfHeight, height))
        let (left, right) = (max(x - halfWidth, 0), min(x + halfWidth, width))
        let area = Double((bottom - top) * (right - left))
        return .cutmix(
            top: top, left: left, height: bottom - top, width: right - left,
            kept: 1 - area / Double(height * width))
    }
}

extension BatchMixing.Decision {
    /// Mixes samples of `values` in place.
    /// - Parameters:
    ///   - values: (count, planes, height, width, depth): planes are 1 for NHWC bytes, depth is 1 for NCHW floats.
    ///   - blend: the mixup of two values.
    func apply<T>(
        to values: UnsafeMutableBufferPointer<T>, count: Int, planes: Int, height: Int, width: Int, depth: Int,
        blend: (T, T, Double) -> T
    ) {
        guard self != .none, count > 1 else { return }
        let size = planes * height * width * depth
        // From the last to the first, every partner is still as it was but for the first's: that one is kept aside.
        let last = Array(values[(count - 1) * size..<count * size])
        last.withUnsafeBufferPointer { last in
            for sample in stride(from: count - 1, through: 0, by: -1) {
                let own = UnsafeMutableBufferPointer(rebasing: values[sample * size..<(sample + 1) * size])
                let partner =
                    sample == 0 ? last : UnsafeBufferPointer(rebasing: values[(sample - 1) * size..<sample * size])
                switch self {
                case .none: break
                case .mixup(let kept):
                    for i in 0..<size { own[i] = blend(own[i], partner[i], kept) }
                case .cutmix(let top, let left, let boxHeight, let boxWidth, _):
                    for plane in 0..<planes {
                        for y in top..<top + boxHeight {
                            let start = ((plane * height + y) * width + left) * depth
                            for i in start..<start + boxWidth * depth { own[i] = partner[i] }
                        }
                    }
                }
            }
        }
    }

    /// Rows of (count, columns) mixed as their samples are.
    func applied(toLabels rows: [Float], columns: Int) -> [Float] {
        let count = rows.count / max(columns, 1)
        guard self != .none, count > 1 else { return rows }
        let kept = Float(kept)
        return rows.indices.map { index in
            let partner = index >= columns ? index - columns : index + (count - 1) * columns
            return kept * rows[index] + (1 - kept) * rows[partner]
        }
    }
}
