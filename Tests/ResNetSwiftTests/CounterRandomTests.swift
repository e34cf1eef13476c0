import Foundation
import ResNetSwift
import XCTest

@testable import ResNetSupport

final class CounterRandomTests: XCTestCase {
    private func filled(_ count: Int, _ body: (UnsafeMutableBufferPointer<Float>) -> Void) -> [Float] {
        [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            body(UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
            initialized = count
        }
    }

    /// Kolmogorov and Smirnov's distance to a distribution, in units of its 1-in-a-million value.
    private func distance(_ values: [Float], _ cdf: (Double) -> Double) -> Double {
        let sorted = values.sorted()
        let n = Double(sorted.count)
        var largest = 0.0
        for (index, value) in sorted.enumerated() {
            let p = cdf(Double(value))
            largest = max(largest, abs(p - Double(index) / n), abs(p - Double(index + 1) / n))
        }
        return largest * n.squareRoot() / 2.69
    }

    /// SplitMix64 written out in Python, which yields the published 6457827717110365317 first after seed 1234567.
    func testBitsArePinned() {
        let random = CounterRandom(seed: 42, stream: 7)
        XCTAssertEqual(
            [0, 1, 2, 1 << 40].map { random.bits($0) },
            [
                0xb22d_9c4f_9568_f550, 0xfc7c_6183_e6ad_2519, 0x4608_45f7_07e6_e7c0, 0xcfa8_a356_d2f7_e1e9,
            ] as [UInt64])
        XCTAssertEqual(CounterRandom(seed: 0, name: "conv1.weight").bits(0), 0x5fa3_7040_fb3c_0430)
        XCTAssertNotEqual(random.bits(0), CounterRandom(seed: 43, stream: 7).bits(0))
    }

    func testUniformAndNormalFollowTheirDistributions() {
        let random = CounterRandom(seed: 1, name: "layer1.0.conv1.weight")
        let uniform = filled(100_001) { random.fillUniform($0, low: -2, high: 3) }
        XCTAssertLessThan(distance(uniform) { ($0 + 2) / 5 }, 1)
        XCTAssertTrue(uniform.allSatisfy { (-2...3).contains($0) })
        let normal = filled(100_001) { random.fillNormal($0, std: 0.5) }
        XCTAssertLessThan(distance(normal) { erfc(-$0 / 0.5 / 2.0.squareRoot()) / 2 }, 1)
        // Neighbors, which share a radius, are independent all the same: of them and of their squares.
        let z = normal.map { Double($0) / 0.5 }
        var product = 0.0
        var squares = 0.0
        for i in stride(from: 0, to: 100_000, by: 2) {
            product += z[i] * z[i + 1]
            squares += (z[i] * z[i] - 1) * (z[i + 1] * z[i + 1] - 1)
        }
        XCTAssertLessThan(abs(product) / 50_000.0.squareRoot(), 5)
        XCTAssertLessThan(abs(squares) / (4 * 50_000.0).squareRoot(), 5)
    }

    func testNormalPairsAreBoxMullersToFloatPrecision() {
        let random = CounterRandom(seed: 9)
        let edges: [UInt64] = [0, .max, 0xffff_ffff, 0xffff_ffff_0000_0000, 0x8000_0000_4000_0000, 1 << 30, 3 << 29]
        for bits in edges + (0..<20_000).map({ random.bits($0) }) {
            let u = (Double(Float(bits >> 32)) + 0.5) * 0x1p-32
            let radius = (-2 * log(Double(Float(min(u, 1))))).squareRoot()
            let angle = (Double(bits & 0xffff_ffff) * 0x1p-30 - 0.5) * .pi / 2
            let pair = CounterRandom.normalPair(bits)
            XCTAssertEqual(Double(pair.0), radius * cos(angle), accuracy: 4e-6, "\(bits)")
            XCTAssertEqual(Double(pair.1), radius * sin(angle), accuracy: 4e-6, "\(bits)")
        }
    }

    func testAnyCountIsFilledAndAPrefixOfALongerOne() {
        let random = CounterRandom(seed: 5)
        let long = filled(9) { random.fillNormal($0, std: 1) }
        for count in 0...8 {
            XCTAssertEqual(filled(count) { random.fillNormal($0, std: 1) }, Array(long[..<count]))
        }
    }

    func testIntegersBelowABoundAreEven() {
        let random = CounterRandom(seed: 11)
        var counts = [Int](repeating: 0, count: 7)
        for i in 0..<70_000 { counts[random.integer(below: 7, UInt64(i))] += 1 }
        for count in counts { XCTAssertLessThan(abs(count - 10_000), 500) }
        XCTAssertEqual(random.integer(below: 1, 0), 0)
    }
}
