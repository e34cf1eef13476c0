// Learning rates against torch.optim.lr_scheduler.

import ResNetSwift
import XCTest

@testable import ResNetTraining

final class LearningRateScheduleTests: XCTestCase {
    private struct Pinned: Decodable {
        let rates: [Double]
        let momenta: [Double]
    }

    func testSchedulesAgainstPyTorch() throws {
        let pinned: [String: Pinned] = try TrainingFixtures.json("schedules.json")
        let cases: [(String, LearningRateSchedule, updatesPerEpoch: Int)] = [
            ("constant, warm-up 7", .init(.constant, warmUpUpdates: 7), 30),
            ("step", .init(.step(epochs: 2, factor: 0.5)), 5),
            ("step, warm-up 7", .init(.step(epochs: 1, factor: 0.5), warmUpUpdates: 7), 10),
            ("milestones", .init(.milestones([1, 4], factor: 0.1)), 5),
            ("cosine", .init(.cosine(minimum: 0.001)), 10),
            ("cosine, warm-up 6", .init(.cosine(), warmUpUpdates: 6), 15),
            ("one-cycle", .init(.oneCycle()), 6),
            (
                "one-cycle, early",
                .init(.oneCycle(rise: 0.1, startDivisor: 10, endDivisor: 100, momentum: nil)), 30
            ),
        ]
        XCTAssertEqual(Set(cases.map(\.0)), Set(pinned.keys))
        for (name, schedule, perEpoch) in cases {
            let wanted = try XCTUnwrap(pinned[name])
            for update in 0..<30 {
                let epochs = 30 / perEpoch
                XCTAssertEqual(
                    schedule.rate(base: 0.2, update: update, updatesPerEpoch: perEpoch, epochs: epochs),
                    wanted.rates[update], accuracy: 1e-12, "\(name), update \(update)")
                if let momentum = schedule.momentum(update: update, updatesPerEpoch: perEpoch, epochs: epochs) {
                    XCTAssertEqual(momentum, wanted.momenta[update], accuracy: 1e-12, "\(name), update \(update)")
                } else {
                    XCTAssertEqual(wanted.momenta[update], 0.9, "\(name) leaves the momentum alone")
                }
            }
        }
    }

    func testSchedulesOfFewUpdatesAreFinite() {
        for shape: LearningRateSchedule.Shape in [.cosine(), .oneCycle(), .oneCycle(rise: 0.9)] {
            for total in 1...4 {
                for update in 0..<total + 2 {
                    let rate = LearningRateSchedule(shape).rate(
                        base: 1, update: update, updatesPerEpoch: total, epochs: 1)
                    XCTAssert(rate.isFinite && rate >= 0 && rate <= 1, "\(shape) \(update) of \(total): \(rate)")
                }
            }
        }
    }
}
