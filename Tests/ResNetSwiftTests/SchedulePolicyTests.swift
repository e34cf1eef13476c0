import XCTest

@testable import ResNetSwift

final class SchedulePolicyTests: XCTestCase {
    private func step(_ activationKiB: Int, weightKiB: Int = 1, canStart: Bool = true) -> StepTraffic {
        StepTraffic(
            activationBytes: activationKiB << 10, weightBytes: weightKiB << 10, canStartSegment: canStart)
    }

    func testChunksGrowAsMapsShrink() {
        let policy = SchedulePolicy(activationBudget: 4 << 20)
        let traffic = [step(4096), step(4096), step(1024), step(1024), step(256), step(256)]
        XCTAssertEqual(
            policy.segments(traffic, batch: 32),
            [
                PlanSegment(steps: 0..<2, chunk: 1), PlanSegment(steps: 2..<4, chunk: 4),
                PlanSegment(steps: 4..<6, chunk: 16),
            ])
    }

    func testABatchOfOneIsOneSegment() {
        let policy = SchedulePolicy()
        XCTAssertEqual(policy.segments([step(9000), step(1)], batch: 1), [PlanSegment(steps: 0..<2, chunk: 1)])
    }

    func testNoSegmentStartsWhereSeveralBuffersLive() {
        let policy = SchedulePolicy(activationBudget: 4 << 20)
        let traffic = [step(1024), step(4096, canStart: false), step(1024, canStart: false), step(64)]
        XCTAssertEqual(
            policy.segments(traffic, batch: 8),
            [PlanSegment(steps: 0..<3, chunk: 1), PlanSegment(steps: 3..<4, chunk: 8)])
    }

    func testHeavyWeightsAreReadOncePerBatch() {
        let policy = SchedulePolicy(activationBudget: 1 << 20)
        XCTAssertEqual(
            policy.segments([step(512, weightKiB: 36 << 10)], batch: 32), [PlanSegment(steps: 0..<1, chunk: 32)])
    }

    func testChunksAreEven() {
        let policy = SchedulePolicy(activationBudget: 7 << 20)
        XCTAssertEqual(policy.segments([step(1024)], batch: 16), [PlanSegment(steps: 0..<1, chunk: 6)])
    }
}
