// Mixup and cutmix.

import ResNetSwift
import XCTest

@testable import ResNetData

final class BatchMixingTests: XCTestCase {
    private func apply(
        _ decision: BatchMixing.Decision, _ values: [Float], count: Int, planes: Int, height: Int, width: Int,
        depth: Int
    ) -> [Float] {
        var values = values
        values.withUnsafeMutableBufferPointer {
            decision.apply(to: $0, count: count, planes: planes, height: height, width: width, depth: depth) {
                Float($2) * $0 + Float(1 - $2) * $1
            }
        }
        return values
    }

    func testMixupTakesThePreviousSample() {
        let decision = BatchMixing.Decision.mixup(0.75)
        XCTAssertEqual(
            apply(decision, [0, 4, 8, 12, 100, 104], count: 3, planes: 1, height: 1, width: 2, depth: 1),
            [25, 29, 6, 10, 77, 81])
        XCTAssertEqual(
            decision.applied(toLabels: [1, 0, 0, 1, 1, 0], columns: 2), [1, 0, 0.25, 0.75, 0.75, 0.25])
    }

    func testCutmixTakesABoxInEitherLayout() {
        let decision = BatchMixing.Decision.cutmix(top: 1, left: 0, height: 1, width: 2, kept: 2.0 / 3)
        // Two samples of 2 x 3 with two channels; sample s, place p, channel c is 100 s + 10 p + c.
        func last(_ s: Int, _ p: Int) -> [Float] { (0..<2).map { Float(100 * s + 10 * p + $0) } }
        let nhwc = (0..<2).flatMap { s in (0..<6).flatMap { last(s, $0) } }
        let expected = (0..<2).flatMap { s in (0..<6).flatMap { last([3, 4].contains($0) ? 1 - s : s, $0) } }
        XCTAssertEqual(apply(decision, nhwc, count: 2, planes: 1, height: 2, width: 3, depth: 2), expected)

        func transposed(_ values: [Float]) -> [Float] {
            (0..<2).flatMap { s in (0..<2).flatMap { c in (0..<6).map { p in values[(s * 6 + p) * 2 + c] } } }
        }
        XCTAssertEqual(
            apply(decision, transposed(nhwc), count: 2, planes: 2, height: 2, width: 3, depth: 1), transposed(expected))
    }

    func testDecisionsFollowTheirDistributions() {
        var (sum, squares, box, cutmixes, none) = (0.0, 0.0, 0.0, 0, 0)
        let count = 20000
        for sample in 0..<count {
            var random = SampleRandom(seed: 4, purpose: .mixing, sample: sample)
            let kept = random.beta(0.4)
            sum += kept
            squares += kept * kept
            switch BatchMixing(mixup: 0.2, cutmix: 1, probability: 0.8).decision(height: 32, width: 48, &random) {
            case .none: none += 1
            case .mixup(let kept): XCTAssert((0...1).contains(kept))
            case .cutmix(let top, let left, let height, let width, let kept):
                cutmixes += 1
                box += 1 - kept
                XCTAssert(top >= 0 && left >= 0 && top + height <= 32 && left + width <= 48)
                XCTAssertEqual(kept, 1 - Double(height * width) / (32 * 48))
            }
        }
        // Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)) = 0.13889; standard errors are 0.0026 and 0.0006.
        let mean = sum / Double(count)
        XCTAssertEqual(mean, 0.5, accuracy: 0.013)
        XCTAssertEqual(squares / Double(count) - mean * mean, 1 / (4 * 1.8), accuracy: 0.004)
        XCTAssertEqual(Double(none), 4000, accuracy: 300)
        XCTAssertEqual(Double(cutmixes), 8000, accuracy: 350)
        // Boxes are cut at the edges: the mean area is below the 1/2 of an uncut box, and above half of that.
        XCTAssert((0.25...0.5).contains(box / Double(cutmixes)), "\(box / Double(cutmixes))")
    }

    func testSmallParametersGiveNearlyUnmixedBatches() {
        var extremes = 0
        for sample in 0..<500 {
            var random = SampleRandom(seed: 1, purpose: .mixing, sample: sample)
            let kept = random.beta(0.001)
            XCTAssert(kept.isFinite && (0...1).contains(kept))
            if kept < 0.01 || kept > 0.99 { extremes += 1 }
        }
        XCTAssertGreaterThan(extremes, 480)
    }
}
