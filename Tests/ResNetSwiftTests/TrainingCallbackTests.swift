// Callbacks against traces of Keras' rules.

import ResNetSwift
import XCTest

@testable import ResNetTraining

final class TrainingCallbackTests: XCTestCase {
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
}
