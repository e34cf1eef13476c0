// The random numbers of one sample of one epoch. They depend on (seed, purpose, epoch, sample) and on how many were drawn
// before, on nothing else: not on the thread, the order of work, or whether the run was stopped and resumed.

import ResNetSupport

/// A sequence of random numbers that begins at a place of its own. A value: copies go on alike.
public struct SampleRandom: Sendable, Hashable {
    /// What the numbers are for: those of one purpose tell nothing about another's.
    public enum Purpose: UInt64, Sendable, Hashable {
        /// Cropping, flipping, colors of one picture.
        case augmentation = 1
        /// The order of samples in an epoch.
        case order = 2
        /// Splitting a data set.
        case split = 3
        /// Mixing the samples of a batch.
        case mixing = 4
    }

    private let numbers: CounterRandom
    /// How many numbers have been drawn.
    public private(set) var draw: UInt64 = 0

    /// The numbers for one sample in one epoch.
    /// - Precondition: epoch is in 0..<2^24, sample in 0..<2^32.
    public init(seed: UInt64, purpose: Purpose = .augmentation, epoch: Int = 0, sample: Int = 0) {
        precondition(epoch >= 0 && epoch < 1 << 24, "epoch \(epoch) is not in 0..<2^24")
        precondition(sample >= 0 && sample < 1 << 32, "sample \(sample) is not in 0..<2^32")
        // Each field has its own bits, so no two sequences share a stream.
        numbers = CounterRandom(
            seed: seed, stream: purpose.rawValue << 56 | UInt64(epoch) << 32 | UInt64(sample))
    }

    /// Uniform in 0..<1.
    public mutating func uniform() -> Double {
        defer { draw += 1 }
        return numbers.uniform(draw)
    }

    /// Uniform in the range.
    public mutating func uniform(in range: ClosedRange<Double>) -> Double {
        range.lowerBound + (range.upperBound - range.lowerBound) * uniform()
    }

    /// Uniform in 0..<bound.
    /// - Precondition: `bound` is positive.
    public mutating func integer(below bound: Int) -> Int {
        defer { draw += 1 }
        return numbers.integer(below: bound, draw)
    }

    /// True with this probability.
    public mutating func chance(_ probability: Double) -> Bool { uniform() < probability }

    /// The numbers 0..<count in random order (Fisher and Yates). Our own, because the standard library's `shuffled` may
    /// change between versions.
    public mutating func permutation(_ count: Int) -> [Int] {
        var order = Array(0..<count)
        for last in stride(from: count - 1, to: 0, by: -1) { order.swapAt(last, integer(below: last + 1)) }
        return order
    }
}
