// Learning rates against torch.optim.lr_scheduler, callbacks against traces of Keras' rules, groups, freezing over time.

import ResNetSwift
import XCTest

@testable import ResNetTraining

final class TrainingScheduleTests: XCTestCase {
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

    // MARK: - Callbacks

    private func record(_ epoch: Int, _ validationLoss: Double, top1: Double = 0) -> EpochRecord {
        EpochRecord(
            epoch: epoch, learningRate: 0, training: Scores(loss: 0),
            validation: Scores(loss: validationLoss, top1: top1))
    }

    /// The epoch in which training stops, or nil.
    private func stop(_ stopping: EarlyStopping, _ losses: [Double]) -> Int? {
        var stopping = stopping
        for (epoch, loss) in losses.enumerated() {
            let finished = FinishedEpoch(record: record(epoch, loss), monitor: .validationLoss, learningRate: 1)
            if stopping.epochEnded(finished).stops { return epoch }
        }
        return nil
    }

    /// By the rules of keras.callbacks.EarlyStopping: wait += 1; better than the best by min_delta: wait = 0; else stop
    /// when wait >= patience and epoch > 0.
    func testEarlyStoppingWaitsAsKerasDoes() {
        let losses = [1.0, 0.8, 0.9, 0.79, 0.85, 0.81, 0.80, 0.7]
        XCTAssertEqual(stop(EarlyStopping(patience: 3), losses), 6)
        XCTAssertEqual(stop(EarlyStopping(patience: 4), losses), nil)
        XCTAssertEqual(stop(EarlyStopping(patience: 1), losses), 2)
        XCTAssertEqual(stop(EarlyStopping(patience: 0), losses), 2)
        // 0.79 is not better than 0.8 by 0.05.
        XCTAssertEqual(stop(EarlyStopping(minDelta: 0.05, patience: 3), losses), 4)
        XCTAssertEqual(stop(EarlyStopping(patience: 1, startFromEpoch: 4), losses), nil)
        XCTAssertEqual(stop(EarlyStopping(patience: 2), [.nan, .nan, .nan]), 1, "no number is no improvement")
        XCTAssertEqual(stop(EarlyStopping(patience: 1), [0.5, 0.5]), 1, "equal is no improvement")
    }

    func testMonitorsKnowTheirDirection() {
        var stopping = EarlyStopping(monitor: .validationTop1, patience: 1)
        func epoch(_ index: Int, _ top1: Double) -> FinishedEpoch {
            FinishedEpoch(record: record(index, 1, top1: top1), monitor: .validationLoss, learningRate: 1)
        }
        XCTAssertFalse(stopping.epochEnded(epoch(0, 0.5)).stops)
        XCTAssertFalse(stopping.epochEnded(epoch(1, 0.6)).stops)
        XCTAssertTrue(stopping.epochEnded(epoch(2, 0.55)).stops)
        XCTAssertEqual(Monitor("val_loss"), .validationLoss)
        XCTAssertEqual(Monitor("val_accuracy"), .validationTop1)
        XCTAssertEqual(Monitor("loss"), Monitor(.loss, ofValidation: false))
        XCTAssertNil(Monitor("val_nothing"))
        for quantity in Monitor.Quantity.allCases {
            XCTAssertEqual(Monitor(Monitor(quantity).description), Monitor(quantity))
        }
    }

    /// Rates after each epoch, by the rules of keras.callbacks.ReduceLROnPlateau.
    private func rates(_ plateau: ReduceLROnPlateau, _ losses: [Double]) -> [Double] {
        var plateau = plateau
        var rate = 1.0
        return losses.enumerated().map { epoch, loss in
            let finished = FinishedEpoch(record: record(epoch, loss), monitor: .validationLoss, learningRate: rate)
            rate = plateau.epochEnded(finished).learningRate ?? rate
            return rate
        }
    }

    func testReduceLROnPlateauAsKerasDoes() {
        let flat = [Double](repeating: 1, count: 9)
        XCTAssertEqual(
            rates(ReduceLROnPlateau(factor: 0.5, patience: 2, minDelta: 0), flat),
            [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625])
        // Two epochs of cooldown: the first epoch that counts is the one in which it ends.
        XCTAssertEqual(
            rates(ReduceLROnPlateau(factor: 0.5, patience: 2, minDelta: 0, cooldown: 2), flat),
            [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125])
        XCTAssertEqual(
            rates(ReduceLROnPlateau(factor: 0.1, patience: 1, minDelta: 0, minLR: 0.05), flat).suffix(7),
            [0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05])
        // Gains below minDelta do not count.
        let slow = (0..<6).map { 1 - 0.01 * Double($0) }
        XCTAssertEqual(rates(ReduceLROnPlateau(factor: 0.5, patience: 2, minDelta: 0), slow).last, 1)
        XCTAssertEqual(
            rates(ReduceLROnPlateau(factor: 0.5, patience: 2, minDelta: 0.05), slow), [1, 1, 0.5, 0.5, 0.25, 0.25])
    }

    func testCallbacksRememberThroughTheirState() throws {
        let losses = [1.0, 0.9, 0.95, 0.96, 0.97, 0.98, 0.99]
        var plateau = ReduceLROnPlateau(factor: 0.5, patience: 2, minDelta: 0, cooldown: 1)
        var stopping = EarlyStopping(patience: 5)
        for (epoch, loss) in losses.enumerated() {
            // A fresh pair that is given the state does the same.
            var (plateauAgain, stoppingAgain) = (
                ReduceLROnPlateau(factor: 0.5, patience: 2, minDelta: 0, cooldown: 1), EarlyStopping(patience: 5)
            )
            XCTAssertTrue(plateauAgain.restore(try JSONValue.parse(plateau.state.text)))
            XCTAssertTrue(stoppingAgain.restore(try JSONValue.parse(stopping.state.text)))
            let finished = FinishedEpoch(record: record(epoch, loss), monitor: .validationLoss, learningRate: 1)
            XCTAssertEqual(plateauAgain.epochEnded(finished), plateau.epochEnded(finished))
            XCTAssertEqual(stoppingAgain.epochEnded(finished), stopping.epochEnded(finished))
            XCTAssertEqual(plateauAgain, plateau)
            XCTAssertEqual(stoppingAgain, stopping)
        }
        XCTAssertFalse(plateau.restore(.string("something else")))
        XCTAssertFalse(stopping.restore(.object([])))
    }

    // MARK: - Groups and freezing

    func testStagesOfAResNet() throws {
        let graph = try ModelName.resnet18.graph()
        XCTAssertEqual(graph.stages.map(\.name), ["stem", "layer1", "layer2", "layer3", "layer4", "head"])
        XCTAssertEqual(graph.stages.flatMap(\.parameters).sorted(), graph.trainable.sorted())
        XCTAssertEqual(graph.stages[0].parameters, ["conv1.weight", "bn1.weight", "bn1.bias"])
        XCTAssertEqual(graph.stages[5].parameters, ["fc.weight", "fc.bias"])
    }

    func testGroupsScaleAndSpare() throws {
        let graph = try ModelName.resnet18.graph()
        let decayed = ParameterGroup.layerwiseDecay(graph, decay: 0.5, weightDecay: 0.1)
        XCTAssertEqual(decayed.map(\.learningRateScale), [1.0 / 32, 1.0 / 16, 0.125, 0.25, 0.5, 1])
        XCTAssertEqual(Set(decayed.map(\.weightDecay)), [0.1])
        let stages = try ParameterGroup.byStage(graph, scales: ["stem": 0, "layer1": 0.1, "head": 10])
        XCTAssertEqual(stages.map(\.learningRateScale), [0, 0.1, 1, 1, 1, 10])
        XCTAssertThrowsError(try ParameterGroup.byStage(graph, scales: ["layer9": 1])) {
            XCTAssert("\($0)".contains("layer9") && "\($0)".contains("layer4"), "\($0)")
        }
        let spared = ParameterGroup.single(graph, weightDecay: 0.1, decaysAll: false)
        XCTAssertEqual(spared.map(\.weightDecay), [0.1, 0])
        XCTAssertEqual(spared[0].parameters.count, 21)  // 20 convolutions and fc.weight
        XCTAssertEqual(spared.flatMap(\.parameters).sorted(), graph.trainable.sorted())
        XCTAssertTrue(spared[1].parameters.contains("fc.bias") && spared[1].parameters.contains("bn1.weight"))
    }

    func testGradualUnfreezingGoesTowardsTheInput() throws {
        let graph = try ModelName.resnet18.graph()
        let schedule = UnfreezeSchedule.gradual(graph, everyEpochs: 2)
        XCTAssertEqual(
            schedule.policies,
            [
                0: .allButHead, 2: .upTo("layer3"), 4: .upTo("layer2"), 6: .upTo("layer1"),
                8: .names(["bn1", "conv1"]),
                10: FreezePolicy.none,
            ])
        let frozen = try (0..<12).map { try XCTUnwrap(schedule.frozen(in: $0, of: graph)).count }
        XCTAssertEqual(frozen, frozen.sorted(by: >))
        XCTAssertEqual(frozen[0], frozen[1])
        XCTAssertEqual(frozen[8], 5, "the stem: a weight and the four of a batch norm")
        XCTAssertEqual(frozen[10], 0)
        let loose = UnfreezeSchedule([1: .allButHead], updatesStatistics: true)
        XCTAssertNil(try loose.frozen(in: 0, of: graph))
        XCTAssertFalse(try XCTUnwrap(loose.frozen(in: 1, of: graph)).contains("bn1.running_mean"))
    }

    func testConstantFeaturesAreRecognized() throws {
        let graph = try ModelName.resnet18.graph(classes: 5)
        let head = try graph.selection(of: .allButHead)
        XCTAssertTrue(graph.hasConstantFeatures(frozen: head))
        XCTAssertFalse(graph.hasConstantFeatures(frozen: try graph.selection(of: .upTo("layer3"))))
        XCTAssertFalse(
            graph.hasConstantFeatures(frozen: head.subtracting(["layer4.1.bn2.running_mean"])),
            "running statistics that move change the features")
        XCTAssertEqual(graph.featureWidth(input: 64), 512)
        XCTAssertFalse(graph.trainsBatchNorm(frozen: head))
        XCTAssertTrue(graph.trainsBatchNorm(frozen: []))
    }
}
