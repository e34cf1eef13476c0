// Several views of a picture: torchvision's windows and order, and means of the logits.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetData
@testable import ResNetTraining

final class TestTimeAugmentationTests: XCTestCase {
    /// 9 rows of 12 pixels, which say where they are.
    private let picture = Picture(height: 9, width: 12, channels: 1, pixels: (UInt8(0)..<108).map { 2 * $0 })
    private let crop = ImageTransform(channels: 1, steps: [.centerCrop(Size2(4, 5)), .toFloat])

    private func views(_ augmentation: TestTimeAugmentation) throws -> [Picture] {
        try augmentation.views.map { try crop.apply(to: picture, view: $0) }
    }

    private func window(top: Int, left: Int, isMirrored: Bool = false) -> [UInt8] {
        var pixels: [UInt8] = []
        for y in top..<top + 4 {
            for x in left..<left + 5 {
                let column = isMirrored ? 11 - x : x
                pixels.append(UInt8(2 * (y * 12 + column)))
            }
        }
        return pixels
    }

    func testViewsAreTorchvisions() throws {
        XCTAssertEqual(try views(.none).map(\.pixels), [try crop.apply(to: picture).pixels])
        let flipped = try views(.flip)
        XCTAssertEqual(flipped[0].pixels, window(top: 2, left: 4))
        // The middle's window begins at 4 of 12, so that its mirror image begins at 3 of the mirrored picture.
        XCTAssertEqual(flipped[1].pixels, window(top: 2, left: 3, isMirrored: true))
        // FiveCrop: top left, top right, bottom left, bottom right, middle (halves to even).
        let places = [(0, 0), (0, 7), (5, 0), (5, 7), (2, 4)]
        XCTAssertEqual(try views(.fiveCrop).map(\.pixels), places.map { window(top: $0.0, left: $0.1) })
        var wanted: [[UInt8]] = []
        for side in [false, true] { wanted += places.map { window(top: $0.0, left: $0.1, isMirrored: side) } }
        XCTAssertEqual(try views(.tenCrop).map(\.pixels), wanted)
    }

    func testAPictureSmallerThanTheCrop() throws {
        let small = Picture(height: 2, width: 12, channels: 1, pixels: [UInt8](repeating: 9, count: 24))
        let views = try TestTimeAugmentation.fiveCrop.views.map { try crop.apply(to: small, view: $0) }
        for view in views {
            XCTAssertEqual([view.height, view.width], [4, 5])
            XCTAssertEqual(view.pixels.count { $0 == 9 }, 10)
        }
    }

    func testCropsNeedACrop() {
        let resize = ImageTransform(channels: 1, steps: [.resize(Size2(4, 4)), .toFloat])
        XCTAssertEqual(TestTimeAugmentation.allCases.map { $0.suits(resize) }, [true, true, false, false])
        XCTAssertTrue(TestTimeAugmentation.tenCrop.suits(crop))
    }

    func testLogitsAreMeansOverTheViews() throws {
        let model = try ModelName.cifar_resnet14.model(classes: 4, inputChannels: 1, seed: 3)
        let transform = ImageTransform(
            channels: 1,
            steps: [.resizeShorterSide(40), .centerCrop(Size2(32, 32)), .toFloat, .normalize(mean: [0.5], std: [0.5])])
        let pictures = (0..<3).map { index in
            let pixels = (0..<50 * 70).map { UInt8(truncatingIfNeeded: $0 * (7 + index) / 3) }
            return Picture(height: 50, width: 70, channels: 1, pixels: pixels)
        }
        func logits(_ augmentation: TestTimeAugmentation, batch: Int) throws -> [Float] {
            var options = ClassifierOptions(transform: transform, batch: batch, threads: 1)
            options.augmentation = augmentation
            var rows = Array(repeating: [Float](), count: pictures.count)
            try Classifier(model: model, options: options).run(pictures.map { .pixels($0, name: "") }) { event in
                guard case .answered(let answered, let prediction) = event else { return }
                for (row, picture) in answered.enumerated() {
                    rows[picture] = Array(prediction.logits.values[4 * row..<4 * (row + 1)])
                }
            }
            return rows.flatMap { $0 }
        }
        /// The same through a data set, whose second sample cannot be read.
        func evaluated(_ augmentation: TestTimeAugmentation) throws -> [Float] {
            let folder = FileManager.default.temporaryDirectory.appendingPathComponent("views-\(UUID().uuidString)")
                .path
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(atPath: folder) }
            for (index, picture) in pictures.enumerated() { try picture.writePNG(to: "\(folder)/\(index).png") }
            let files = [0, 9, 1, 2].map { "\(folder)/\($0).png" }
            let data = Dataset(
                classNames: ["a", "b", "c", "d"], labels: .classes([0, 1, 2, 3]), source: .files(files))
            var settings = LoaderSettings(batchSize: 3, transform: transform)
            settings.views = augmentation.views
            let loader = try BatchLoader(data.all, settings)
            let options = PlanOptions(threads: 1, input: .bytesNHWC(scale: transform.scale, shift: transform.shift))
            let plan = try InferencePlan(model: model, input: loader.pictureShape, batch: 4, options: options)
            let evaluator = InferenceEvaluator(plan: plan, loss: .crossEntropy(), views: settings.views.count)
            let evaluation = try Evaluation.run(evaluator, loader)
            XCTAssertEqual(evaluation.skipped.map(\.sample), [1])
            let batches = loader.batches(epoch: 0)
            var rows: [Float] = []
            while let batch = batches.nextBatch()?.batch { rows += try evaluator.evaluate(batch).logits.values }
            return rows
        }
        let plain = try Classifier(model: model, options: ClassifierOptions(transform: transform, threads: 1))
        for augmentation in TestTimeAugmentation.allCases {
            var wanted: [Float] = []
            for picture in pictures {
                let views = try augmentation.views.map { try transform.apply(to: picture, view: $0) }
                let rows = try plain.predict(try PictureBatch(views, for: transform).tensor()).logits.values
                for column in 0..<4 {
                    let values = views.indices.map { rows[4 * $0 + column] }
                    wanted.append(values.reduce(0, +) / Float(values.count))
                }
            }
            for found in [
                try logits(augmentation, batch: 1), try logits(augmentation, batch: 8), try evaluated(augmentation),
            ] {
                XCTAssertEqual(found.count, wanted.count)
                for (found, wanted) in zip(found, wanted) {
                    XCTAssertEqual(found, wanted, accuracy: 1e-4, "\(augmentation)")
                }
            }
        }
    }
}
