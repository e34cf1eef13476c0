// Training and scoring in one call, choosing classes, and the protein atlas's submission.

import ResNetSwift
import XCTest

final class ModelTrainingTests: XCTestCase {
    private let transform = ImageTransform(channels: 1, steps: [.toFloat])

    /// Bright and dark pictures of 8x8.
    private func brightness(_ count: Int) -> Dataset {
        let pixels = (0..<count * 64).map { (index: Int) -> UInt8 in
            let (level, noise) = (index / 64 % 2 * 180, index * 37 % 60)
            return UInt8(level + noise)
        }
        return Dataset(
            classNames: ["dark", "bright"], labels: .classes((0..<count).map { $0 % 2 }),
            source: .pictures(ByteImages(count: count, height: 8, width: 8, channels: 1, pixels: pixels)))
    }

    func testFineTuningInOneCall() throws {
        let dataset = brightness(48)
        let (training, validation) = try dataset.split(validation: 0.25, seed: 0)
        let start = try ModelName.cifar_resnet14.model(inputChannels: 1, seed: 0).replacingHead(classes: 2, seed: 0)
            .freezing(.firstLayers(1))
        let trained = try start.trained(
            on: TrainingData(
                training: training, validation: validation, transform: transform, evaluationTransform: transform,
                batchSize: 12),
            optimizer: .adam(), settings: TrainingSettings(epochs: 5, learningRate: 0.01),
            options: TrainingOptions(threads: 1))
        let model = trained.model
        XCTAssertEqual(trained.reason, .completed)
        XCTAssertEqual(model.classNames, dataset.classNames)
        XCTAssertEqual(model.frozen, ["conv1.weight"])
        XCTAssertEqual(model["conv1.weight"].values, start["conv1.weight"].values)
        XCTAssertNotEqual(model["fc.weight"].values, start["fc.weight"].values)

        // The weights are the best epoch's: they score what the history says of it.
        let best = try XCTUnwrap(trained.history.best?.validation)
        let evaluation = try model.evaluated(on: validation)
        XCTAssertEqual(evaluation.scores.loss, best.loss, accuracy: 1e-3 * (1 + best.loss))
        XCTAssertEqual(evaluation.scores.top1, best.top1)
        XCTAssertEqual(evaluation.scores.top1, 1)

        // Rows of logits are the samples' in their order.
        let logits = try model.logits(of: validation, batch: 5)
        XCTAssertEqual(logits.shape, [validation.count, 2])
        for (row, sample) in validation.samples.enumerated() {
            XCTAssertEqual(logits.values[2 * row + 1] > logits.values[2 * row], sample % 2 == 1)
        }
    }

    func testEvaluationNeedsATransform() throws {
        let model = try ModelName.cifar_resnet14.model(classes: 2, inputChannels: 1, seed: 0)
        XCTAssertThrowsError(try model.evaluated(on: brightness(4).all)) { XCTAssert("\($0)".contains("transform")) }
    }

    func testKeepingClasses() throws {
        let images = ByteImages(count: 4, height: 1, width: 1, channels: 2, pixels: Array(0..<8))
        let dataset = Dataset(classNames: ["a", "b", "c"], labels: .classes([2, 0, 1, 2]), source: .pictures(images))
        let kept = try dataset.keeping(classes: ["c", "a"])
        XCTAssertEqual(kept.labels, .classes([0, 1, 0]))
        guard case .pictures(let some) = kept.source else { return XCTFail("pictures") }
        XCTAssertEqual(some.pixels, [0, 1, 2, 3, 6, 7])
        XCTAssertThrowsError(try dataset.keeping(classes: ["d"])) { XCTAssert("\($0)".contains("'d'")) }

        let floats = Dataset(
            classNames: ["a", "b"], labels: .classes([1, 0]),
            source: .floats(Tensor(shape: [2, 1, 1, 2], values: [1, 2, 3, 4])))
        guard case .floats(let rest) = try floats.keeping(classes: ["a"]).source else { return XCTFail("floats") }
        XCTAssertEqual(rest.values, [3, 4])
    }
}
