// Whole networks against PyTorch: Tests/Fixtures/parity, written by scripts/make_parity_fixtures.py.
import Foundation
import ResNetSwift
import XCTest

final class ParityTests: XCTestCase {
    private static let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../Fixtures/parity/outputs.npz")

    private struct Case {
        let key: String
        let size: Size2
        let images: Int
    }

    /// Every case of a model in the file, as `resnet18_193x257_1`.
    private func cases(_ name: String, _ file: WeightFile) throws -> [Case] {
        try file.entries.map(\.key).filter { key in
            // `davit_tiny_keras` begins with `davit_tiny_`.
            key.hasPrefix("\(name)_") && key.hasSuffix(".logits") && key.dropFirst(name.count + 1).first!.isNumber
        }.map { entry in
            let key = String(entry.dropLast(".logits".count))
            let parts = key.dropFirst(name.count + 1).split(separator: "_")
            let size = parts[0].split(separator: "x").compactMap { Int($0) }
            return Case(key: key, size: Size2(size[0], size[1]), images: try XCTUnwrap(Int(parts[1])))
        }
    }

    /// - Parameter strict: a bound for the accuracy that is so called; 2e-5 where the file has float64's results.
    private func compare(_ name: String, cases count: Int, strict: Float = 1e-4) throws {
        let file = try WeightFile.open(Self.file.path)
        let found = try cases(name, file)
        XCTAssertEqual(found.count, count)
        let modelName = try ModelName(named: name)
        let model = Model.random(try modelName.graph(inputSize: modelName.defaultInputSize))
        for item in found {
            let size = ImageShape(channels: 3, height: item.size.height, width: item.size.width)
            let pictures = randomPictures(item.images, size)
            for (accuracy, tolerance) in [(Accuracy.strict, strict), (.default, 5 * strict), (.fast, 5 * strict)] {
                // A smaller batch than there are pictures, so that the rest of a batch is tested too.
                let plan = try InferencePlan(
                    model: model, input: size, batch: min(item.images, 2), options: PlanOptions(accuracy: accuracy))
                let prediction = try plan.predict(pictures)
                for (tensor, key) in [(prediction.logits, "logits"), (try XCTUnwrap(prediction.features), "features")] {
                    let expected = try file.tensor("\(item.key).\(key)")
                    XCTAssertEqual(tensor.shape, expected.shape)
                    XCTAssertLessThan(
                        relativeDifference(tensor.values, expected.values), tolerance, "\(item.key) \(key), \(accuracy)"
                    )
                }
            }
        }
    }

    func testResNet18() throws { try compare("resnet18", cases: 3) }
    func testResNet34() throws { try compare("resnet34", cases: 3) }
    func testResNet50() throws { try compare("resnet50", cases: 3) }
    func testResNet101() throws { try compare("resnet101", cases: 3) }
    func testResNet152() throws { try compare("resnet152", cases: 3) }
    func testResNeXt50() throws { try compare("resnext50_32x4d", cases: 3) }
    func testWideResNet50() throws { try compare("wide_resnet50_2", cases: 3) }
    func testCIFARResNet20() throws { try compare("cifar_resnet20", cases: 2) }
    func testAlexNetMini() throws { try compare("alexnet_mini", cases: 1) }
    func testGoogLeNet() throws { try compare("googlenet", cases: 2) }
    func testDaViTTiny() throws { try compare("davit_tiny", cases: 3, strict: 2e-5) }
    func testGroupNorms() throws { try compare("resnet50_gn", cases: 2) }
    func testConvNeXtTiny() throws { try compare("convnext_tiny", cases: 2, strict: 2e-5) }
    func testDaViTTinyKeras() throws { try compare("davit_tiny_keras", cases: 1, strict: 2e-5) }
}
