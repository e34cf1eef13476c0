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
                PlanSegment(steps: 0..<2, chunk: 1), PlanSegment(steps: 2..<4, chunk: 4),
                PlanSegment(steps: 4..<6, chunk: 32),
            ])
    }

    func testABatchOfOneIsOneSegment() {
        let policy = SchedulePolicy()
        XCTAssertEqual(policy.segments([step(9000), step(1)], batch: 1), [PlanSegment(steps: 0..<2, chunk: 1)])
    }

    func testNoSegmentStartsWhereSeveralBuffersLive() {
        let policy = SchedulePolicy(activationBudget: 4 << 20)
        let traffic = [
            step(1024, aliveKiB: nil), step(4096, aliveKiB: nil), step(1024, aliveKiB: nil),
            step(64, weightKiB: 30_000),
        ]
        XCTAssertEqual(
            policy.segments(traffic, batch: 8),
            [PlanSegment(steps: 0..<3, chunk: 1), PlanSegment(steps: 3..<4, chunk: 8)])
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
