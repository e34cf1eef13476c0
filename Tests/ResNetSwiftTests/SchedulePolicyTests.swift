import ResNetSwift
import XCTest

@testable import ResNetExecution

final class SchedulePolicyTests: XCTestCase {
    private func step(_ activationKiB: Int, weightKiB: Int = 1, aliveKiB: Int? = 1) -> StepTraffic {
        StepTraffic(
            activationBytes: activationKiB << 10, weightBytes: weightKiB << 10, aliveBytes: aliveKiB.map { $0 << 10 })
    }

    func testChunksGrowAsMapsShrinkAndWeightsGrow() {
        let policy = SchedulePolicy(activationBudget: 4 << 20)
        let traffic = [
            step(4096, weightKiB: 16), step(4096, weightKiB: 16), step(1024, weightKiB: 256),
            step(1024, weightKiB: 256),
            step(256, weightKiB: 20_000), step(256, weightKiB: 20_000),
        ]
        let segments = policy.segments(traffic, batch: 32)
        XCTAssertEqual(
            segments,
            [
                Segment(steps: 0..<2, chunk: 1), Segment(steps: 2..<4, chunk: 4),
                Segment(steps: 4..<6, chunk: 32),
            ])
    }

    func testABatchOfOneIsOneSegment() {
        let policy = SchedulePolicy()
        XCTAssertEqual(policy.segments([step(9000), step(1)], batch: 1), [Segment(steps: 0..<2, chunk: 1)])
    }

    func testNoSegmentStartsWhereSeveralBuffersLive() {
        let policy = SchedulePolicy(activationBudget: 4 << 20)
        let traffic = [
            step(1024, aliveKiB: nil), step(4096, aliveKiB: nil), step(1024, aliveKiB: nil),
            step(64, weightKiB: 30_000),
        ]
        XCTAssertEqual(
            policy.segments(traffic, batch: 8),
            [Segment(steps: 0..<3, chunk: 1), Segment(steps: 3..<4, chunk: 8)])
    }

    /// Parting two steps puts the whole batch between them through memory, which may cost more than it saves.
    func testALargeBufferIsNoPlaceToPart() {
        let policy = SchedulePolicy(activationBudget: 4 << 20)
        let weights = 400
        func segments(aliveKiB: Int) -> Int {
            policy.segments(
                [step(4000), step(1000, weightKiB: weights, aliveKiB: aliveKiB)], batch: 16
            ).count
        }
        XCTAssertEqual(segments(aliveKiB: 10), 2)
        XCTAssertEqual(segments(aliveKiB: 900), 1)
    }

    /// A run of training is one segment: as many images as the cache holds, more where weights outweigh them, evenly.
    func testARunThatIsNotCutFillsTheCacheEvenly() {
        let policy = SchedulePolicy(cuts: false, activationBudget: 1000 << 10)
        let light = [step(100), step(40)]
        XCTAssertEqual(policy.chunk(light, together: 130 << 10, batch: 32), 7, "7 images fit: five chunks, evenly")
        XCTAssertEqual(policy.chunk(light, together: 130 << 10, batch: 4), 4)
        XCTAssertEqual(policy.chunk(light, together: 5000 << 10, batch: 32), 1)
        let heavy = [step(100), step(40, weightKiB: 40 * 20)]
        XCTAssertEqual(policy.chunk(heavy, together: 130 << 10, batch: 32), 16, "20 images outweigh the weights")
    }

    /// What each operation says decides: whole-batch steps are segments of their own, and small ones move up.
    func testHoistedStepsDoNotCutARun() {
        var program = Program()
        func image() -> Int {
            program.add(
                Value(name: "x", shape: ImageShape(channels: 8, height: 1, width: 1), storage: .blocked))
        }
        func whole() -> Int {
            program.add(
                Value(name: "s", shape: ImageShape(channels: 8, height: 1, width: 1), storage: .whole(elements: 4)))
        }
        let (a, b, c, packed, sums) = (image(), image(), image(), whole(), whole())
        let shape = NormShape(map: ImageShape(channels: 8, height: 1, width: 1))
        program.steps = [
            Step(operation: Relu(), nodes: [], inputs: [a], outputs: [b]),
            Step(operation: PackFilters(), nodes: [], inputs: [], outputs: [packed]),
            Step(operation: NormSums(shape: shape), nodes: [], inputs: [b], outputs: [sums]),
            Step(
                operation: NormFinish(shape: shape, usesBatch: true), nodes: [], inputs: [], outputs: [],
                updates: [sums]),
            Step(operation: Relu(), nodes: [], inputs: [b, sums, packed], outputs: [c]),
        ]
        let segments = program.schedule(SchedulePolicy(cuts: false), batch: 4, block: 8)
        XCTAssertEqual(
            program.steps.map(\.operation.text), ["pack", "relu", "bn sums", "bn finish", "relu"])
        XCTAssertEqual(segments.map(\.steps), [0..<1, 1..<3, 3..<4, 4..<5])
        XCTAssertEqual(segments.map(\.chunk), [4, 4, 4, 4])
    }

    /// The segments found are the best of all ways to cut and to choose chunks, by exhaustion.
    func testNoOtherScheduleIsCheaper() {
        for seed in 0..<20 as Range<UInt64> {
            var random = SplitMix(state: seed)
            let policy = SchedulePolicy(activationBudget: 1 << 20, weightBudget: 2 << 20)
            let traffic = (0..<5).map { _ in
                step(
                    Int.random(in: 10...2000, using: &random), weightKiB: Int.random(in: 1...3000, using: &random),
                    aliveKiB: random.chance(70) ? Int.random(in: 1...600, using: &random) : nil)
            }
            let batch = 6
            var least = Double.infinity
            func extend(_ start: Int, _ cost: Double) {
                guard start < traffic.count else {
                    least = min(least, cost)
                    return
                }
                guard start == 0 || traffic[start].aliveBytes != nil else { return }
                for end in start + 1...traffic.count {
                    for chunk in [1, 2, 3, 6] {
                        extend(
                            end,
                            cost + policy.cost(traffic[start..<end], chunk: chunk, batch: batch, isFirst: start == 0))
                    }
                }
            }
            extend(0, 0)
            let chosen = policy.segments(traffic, batch: batch).reduce(0) {
                $0 + policy.cost(traffic[$1.steps], chunk: $1.chunk, batch: batch, isFirst: $1.steps.lowerBound == 0)
            }
            XCTAssertEqual(chosen, least, accuracy: least * 1e-9, "seed \(seed)")
        }
    }
}
