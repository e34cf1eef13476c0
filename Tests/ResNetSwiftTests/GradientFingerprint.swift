// What a fixture remembers of a tensor too large to keep: its largest value, its length, eight random projections and sixteen
// of its entries. An error of a thousandth of the length almost surely moves a projection by about as much; one in a single
// entry moves the projections too, where the tensor is small.
//
//     [largest, length, 8 projections, 16 entries]      scripts/make_gradient_fixtures.py writes the same
import ResNetSwift
import XCTest

struct GradientFingerprint {
    static let projections = 8
    static let entries = 16
    static let count = 2 + projections + entries
    /// A prime: values are added up by their place modulo this before they are projected.
    private static let bins = 1021

    let numbers: [Double]

    init(_ name: String, _ tensor: Tensor) {
        let random = CounterRandom(seed: 7, name: name)
        numbers = tensor.withUnsafeFloats { values in
            var folded = [Double](repeating: 0, count: Self.bins)
            var (largest, squares): (Float, Double) = (0, 0)
            folded.withUnsafeMutableBufferPointer { folded in
                var (index, bin) = (0, 0)
                while index < values.count {
                    let value = values[index]
                    // Not max(), which would pass over NaN.
                    if !(value.magnitude <= largest) { largest = value.magnitude }
                    folded[bin] += Double(value)
                    squares += Double(value) * Double(value)
                    index += 1
                    bin = bin + 1 == Self.bins ? 0 : bin + 1
                }
            }
            var projected = [Double](repeating: 0, count: Self.projections)
            for (bin, sum) in folded.enumerated() {
                let signs = random.bits(UInt64(bin))
                for index in projected.indices { projected[index] += (signs >> UInt64(index)) & 1 == 1 ? sum : -sum }
            }
            let picked = (0..<Self.entries).map {
                Double(values[random.integer(below: values.count, UInt64(Self.bins + $0))])
            }
            return [Double(largest), squares.squareRoot()] + projected + picked
        }
    }

    /// The largest difference: entries relative to the largest expected entry, projections to the expected length.
    func difference(from expected: ArraySlice<Float>) -> Double {
        let expected = expected.map(Double.init)
        var worst = 0.0
        for (index, value) in numbers.enumerated() {
            let isOfLength = 1...Self.projections + 1 ~= index
            let relative = (value - expected[index]).magnitude / (isOfLength ? expected[1] : expected[0])
            // Neither does a NaN count as equal.
            if !(relative <= worst) { worst = relative.isNaN ? .infinity : relative }
        }
        return worst
    }
}
