// Random numbers as a function: value = f(seed, stream, counter). There is no state to carry, so any part of a sequence can
// be computed anywhere, in any order, and the same seed gives the same bits on every machine.
//
// The function is SplitMix64's (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): its output
// number i is a hash of key + i * golden ratio. Not for secrets.

/// Random numbers as a function of seed, stream and counter: no state to carry, the same bits on every machine. Not
/// for secrets.
public struct CounterRandom: Sendable, Hashable {
    private let key: UInt64

    private static let goldenRatio: UInt64 = 0x9e37_79b9_7f4a_7c15

    /// An independent sequence for every pair of seed and stream.
    public init(seed: UInt64, stream: UInt64 = 0) {
        key = Self.mix(Self.mix(seed &+ Self.goldenRatio) ^ stream)
    }

    /// A sequence for a name, e.g. of a parameter: its values depend neither on the order of use nor on other names.
    public init(seed: UInt64, name: String) {
        self.init(seed: seed, stream: FNV1a(name).value)
    }

    /// 64 random bits.
    public func bits(_ counter: UInt64) -> UInt64 { Self.mix(key &+ (counter &+ 1) &* Self.goldenRatio) }

    /// Uniform in 0..<1, with 53 bits.
    public func uniform(_ counter: UInt64) -> Double { Double(bits(counter) >> 11) * 0x1p-53 }

    /// Uniform in 0..<bound; the bias is below bound / 2^64.
    /// - Precondition: `bound` is positive.
    public func integer(below bound: Int, _ counter: UInt64) -> Int {
        precondition(bound > 0, "an integer below \(bound) does not exist")
        return Int(bits(counter).multipliedFullWidth(by: UInt64(bound)).high)
    }

    @inline(__always)
    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

// MARK: - Filling arrays

extension CounterRandom {
    /// Element i is uniform in low..<high (to rounding), from counter i.
    public func fillUniform(_ target: UnsafeMutableBufferPointer<Float>, low: Float, high: Float) {
        let span = high - low
        var index = 0
        while index < target.count {
            target[index] = low + span * (Float(bits(UInt64(index)) >> 40) * 0x1p-24)
            index += 1
        }
    }

    /// Elements 2i and 2i + 1 are normal with mean 0, from counter i.
    public func fillNormal(_ target: UnsafeMutableBufferPointer<Float>, std: Float) {
        guard let base = target.baseAddress else { return }
        let count = target.count
        var index = 0
        while index + 1 < count {
            let pair = Self.normalPair(bits(UInt64(index >> 1)))
            base[index] = std * pair.0
            base[index + 1] = std * pair.1
            index += 2
        }
        if index < count { base[index] = std * Self.normalPair(bits(UInt64(index >> 1))).0 }
    }

    /// Two independent standard normal values from 64 bits (Box and Muller, 1958): a radius sqrt(-2 ln u) from the upper
    /// half and an angle from the lower.
    ///
    /// Logarithm, sine and cosine are sums of plain float operations, which round alike everywhere, and not the C
    /// library's, which differ between machines in the last bit. Their relative errors are under 3e-7.
    @inline(__always)
    static func normalPair(_ bits: UInt64) -> (Float, Float) {
        // u = (upper + 1/2) / 2^32 = m 2^e with m in 1/sqrt(2)...sqrt(2); ln m = 2 artanh s, s = (m - 1) / (m + 1).
        let u = (Float(bits >> 32) + 0.5) * 0x1p-32
        let halfwayDown: UInt32 = 0x3f35_04f3  // sqrt(1/2), where the mantissa's range begins
        let offset = u.bitPattern &- halfwayDown
        let e = Float(Int32(bitPattern: offset) >> 23)
        let m = Float(bitPattern: (offset & 0x007f_ffff) &+ halfwayDown)
        let s = (m - 1) / (m + 1)
        let s2 = s * s
        let series: Float = 1 + s2 * (1 / 3 + s2 * (1 / 5 + s2 * (1 / 7 + s2 * (1 / 9))))
        let logarithm = e * 0.693_147_2 + 2 * s * series
        let radius = (-2 * min(logarithm, 0)).squareRoot()

        // The angle: a quadrant from two bits and phi in -pi/4...pi/4 from the other thirty.
        let quadrant = (bits >> 30) & 3
        let phi = Float(Int64(bits & 0x3fff_ffff) - 0x2000_0000) * (0x1p-30 * Float.pi / 2)
        let p2 = phi * phi
        let sine: Float =
            phi * (1 - p2 * (1 / 6) * (1 - p2 * (1 / 20) * (1 - p2 * (1 / 42) * (1 - p2 * (1 / 72)))))
        let cosine: Float =
            1 - p2 * (1 / 2) * (1 - p2 * (1 / 12) * (1 - p2 * (1 / 30) * (1 - p2 * (1 / 56))))
        let turned = quadrant & 1 == 0 ? (cosine, sine) : (-sine, cosine)
        let r = quadrant & 2 == 0 ? radius : -radius
        return (r * turned.0, r * turned.1)
    }
}
