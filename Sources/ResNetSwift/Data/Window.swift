// Rectangles of a picture, and how torchvision chooses them.

import Glibc
import ResNetGraph

/// Rows top..<top + height and columns left..<left + width; may reach outside the picture where that is said.
struct Window: Sendable, Hashable {
    var top: Int
    var left: Int
    var height: Int
    var width: Int

    var size: Size2 { Size2(height, width) }

    /// torchvision's CenterCrop: halves are rounded to even as Python does it, or down as transformers does it; what is missing
    /// is split with the smaller half above and left.
    static func center(_ size: Size2, of whole: Size2, _ rounding: ImageTransform.Rounding = .nearest) -> Window {
        func start(_ wanted: Int, _ available: Int) -> Int {
            if wanted > available { return -((wanted - available) / 2) }
            let half = Double(available - wanted) / 2
            return Int(half.rounded(rounding == .down ? .down : .toNearestOrEven))
        }
        return Window(
            top: start(size.height, whole.height), left: start(size.width, whole.width), height: size.height,
            width: size.width)
    }

    /// torchvision's RandomResizedCrop; `ratio` is width / height.
    static func random(
        of whole: Size2, scale: ClosedRange<Double>, ratio: ClosedRange<Double>, _ random: inout SampleRandom
    ) -> Window {
        for _ in 0..<10 {
            let (area, proportion) = part(of: whole, scale, ratio, &random)
            let width = rounded((area * proportion).squareRoot())
            let height = rounded((area / proportion).squareRoot())
            if 0 < width, width <= whole.width, 0 < height, height <= whole.height {
                return Window(
                    top: random.integer(below: whole.height - height + 1),
                    left: random.integer(below: whole.width - width + 1), height: height, width: width)
            }
        }
        // A picture too long or too wide: its middle, with the nearest admissible ratio.
        var (height, width) = (whole.height, whole.width)
        let proportion = Double(width) / Double(height)
        if proportion < ratio.lowerBound {
            height = max(1, rounded(Double(width) / ratio.lowerBound))
        } else if proportion > ratio.upperBound {
            width = max(1, rounded(Double(height) * ratio.upperBound))
        }
        return Window(
            top: (whole.height - height) / 2, left: (whole.width - width) / 2, height: height, width: width)
    }

    /// torchvision's RandomErasing; `ratio` is height / width. Nil if ten tries found none smaller than the picture.
    static func erasing(
        of whole: Size2, scale: ClosedRange<Double>, ratio: ClosedRange<Double>, _ random: inout SampleRandom
    ) -> Window? {
        for _ in 0..<10 {
            let (area, proportion) = part(of: whole, scale, ratio, &random)
            let height = rounded((area * proportion).squareRoot())
            let width = rounded((area / proportion).squareRoot())
            if height < whole.height, width < whole.width {
                return Window(
                    top: random.integer(below: whole.height - height + 1),
                    left: random.integer(below: whole.width - width + 1), height: height, width: width)
            }
        }
        return nil
    }

    private static func part(
        of whole: Size2, _ scale: ClosedRange<Double>, _ ratio: ClosedRange<Double>, _ random: inout SampleRandom
    ) -> (area: Double, proportion: Double) {
        let area = Double(whole.height * whole.width) * random.uniform(in: scale)
        return (area, exp(random.uniform(in: log(ratio.lowerBound)...log(ratio.upperBound))))
    }

    /// Python's round; far beyond any picture it does not matter where.
    private static func rounded(_ value: Double) -> Int { Int(min(value, 1e15).rounded(.toNearestOrEven)) }
}
