// Gradients that leave while the backward pass goes on: in which buckets, and that they are whole when they leave.

import Glibc
import ResNetSwift
import XCTest

@testable import ResNetExecution
@testable import ResNetSupport

final class GradientBucketTests: XCTestCase {
    func testBucketsFollowTheBackwardPass() {
        let million = 1 << 20
        // Three layers, the last of which is whole first, and two groups of parameters that alternate.
        let slots = [0..<16, 16..<million, million..<3 * million, 3 * million..<3 * million + 64]
        let buckets = GradientBucket.buckets(slots, segments: [9, 7, 5, 9])
        XCTAssertEqual(
            buckets.map(\.ranges),
            [[million..<3 * million], [16..<million, 3 * million..<3 * million + 64], [0..<16]])
        XCTAssertEqual(buckets.map(\.segment), [5, 9, 9])
        XCTAssertTrue(GradientBucket.buckets([], segments: []).isEmpty)
    }

    /// What a bucket holds when it is announced is what it holds in the end.
    func testBucketsAreWholeWhenTheyAreAnnounced() throws {
        let graph = try ModelName(named: "resnet18").graph(inputSize: Size2(32, 32))
        let size = ImageShape(channels: 3, height: 32, width: 32)
        let plan = try TrainingPlan(
            model: Model.random(graph), input: size, batchLimit: 2,
            plan: OptimizationPlan(loss: .crossEntropy(), optimizer: .sgd(), groups: ParameterGroup.single(graph)),
            options: TrainingOptions(threads: 2))
        let buckets = try plan.gradientBuckets(startsAtFeatures: false)
        XCTAssertGreaterThan(buckets.count, 5)
        let count = try plan.contributionCount()
        let covered = buckets.flatMap { $0 }.filter { !$0.isEmpty }.sorted { $0.lowerBound < $1.lowerBound }
        XCTAssertEqual(covered.first?.lowerBound, 0)
        XCTAssertEqual(covered.last?.upperBound, count)
        for (one, next) in zip(covered, covered.dropFirst()) { XCTAssertEqual(one.upperBound, next.lowerBound) }
        let target = UnsafeMutableBufferPointer<Float>.allocate(capacity: count)
        defer { target.deallocate() }
        var copies: [[Float]] = []
        let batch = TrainingBatch(input: .floats(randomPictures(2, size)), labels: .classes([1, 2]))
        _ = try plan.contribute(
            BatchShard(batch: batch, step: 0, weight: 2, target: target) { bucket in
                XCTAssertEqual(bucket, copies.count)
                copies.append(buckets[bucket].flatMap { Array(target[$0]) })
            })
        XCTAssertEqual(copies.count, buckets.count)
        for (copy, ranges) in zip(copies, buckets) {
            XCTAssertTrue(copy == ranges.flatMap { Array(target[$0]) }, "bucket \(ranges)")
        }
        XCTAssertTrue(copies[0].contains { $0 != 0 })
    }

    func testBFloat16IsTheNearest() {
        for (bits, expected) in [
            (0x3f80_0000, 0x3f80), (0x3f80_7fff, 0x3f80), (0x3f80_8000, 0x3f80), (0x3f80_8001, 0x3f81),
            (0x3f81_8000, 0x3f82), (0xbf81_8000, 0xbf82), (0x7f7f_ffff, 0x7f80), (0x7f80_0000, 0x7f80),
            (0xff80_0000, 0xff80), (0x7f80_0001, 0x7fc0), (0x0000_8001, 0x0001), (0x8000_0000, 0x8000),
        ] as [(UInt32, UInt16)] {
            XCTAssertEqual(BFloat16.bits(Float(bitPattern: bits)), expected, String(bits, radix: 16))
        }
        XCTAssertTrue(BFloat16.value(BFloat16.bits(.nan)).isNaN)
    }

    /// Two processes with half of the vectors each, folded in ranges, and one with all of them.
    func testRoundedSumsDoNotDependOnWhoAdds() {
        let (count, rounded) = (1000, 0..<900)
        let vectors = (0..<8).map { index in (0..<count).map { sinf(Float(1 + index * count + $0)) } }
        func tree(_ vectors: [[Float]], inParts: Bool) -> [Float] {
            let tree = TreeSum(count: count, rounded: rounded)
            for vector in inParts ? vectors.dropLast() : vectors[...] {
                tree.add { _ = $0.update(fromContentsOf: vector) }
            }
            var sum: [Float] = []
            guard inParts else {
                tree.finish { sum = Array($0) }
                return sum
            }
            _ = tree.addInParts().update(fromContentsOf: vectors.last!)
            for range in [700..<count, 0..<333, 333..<700] { _ = tree.fold(range) }
            tree.endInParts { sum = Array($0) }
            return sum
        }
        let alone = tree(vectors, inParts: false)
        XCTAssertEqual(tree(vectors, inParts: true), alone)
        for parts in [2, 4, 8] {
            let each = 8 / parts
            let sums = (0..<parts).map { tree(Array(vectors[$0 * each..<($0 + 1) * each]), inParts: true) }
            XCTAssertEqual(tree(sums, inParts: false), alone, "\(parts) processes")
        }
        for index in 0..<count {
            let exact = vectors.reduce(0) { $0 + Double($1[index]) }
            let size = vectors.reduce(0) { $0 + abs(Double($1[index])) }
            // A vector and the sums of three levels, half a unit in the last of 8 bits each.
            let bound = rounded.contains(index) ? 4.0 / 256 : 1e-6
            XCTAssertEqual(Double(alone[index]), exact, accuracy: bound * size)
        }
    }
}
