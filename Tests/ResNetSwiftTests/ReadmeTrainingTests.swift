// The training example of docs/training.md, compiled and run: the lines between the marks stand there word for word.

import Foundation
import ResNetSwift
import XCTest

final class ReadmeTrainingTests: XCTestCase {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../..").standardized.path

    /// Ten pictures of each of two classes.
    private func writePictures(_ folder: String) throws {
        let digits = "\(Self.repository)/demo/digits"
        for (index, name) in try FileManager.default.contentsOfDirectory(atPath: digits).sorted().enumerated() {
            let target = "\(folder)/\(index < 10 ? "a" : "b")"
            try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: "\(digits)/\(name)", toPath: "\(target)/\(name)")
        }
    }

    func testTheExampleRuns() throws {
        let base = FileManager.default.temporaryDirectory.appendingPathComponent("readme-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: base) }
        let (folder, run) = ("\(base)/photos", "\(base)/run")
        try writePictures(folder)
        let weights = "\(Self.repository)/demo/digits.safetensors"
        let plain = ImageTransform.digits()
        let augmented = ImageTransform(
            channels: 1,
            steps: [.randomResizedCrop(32, scale: 0.8...1), .toFloat, .normalize(mean: [0.5], std: [0.5])])
        // begin of the example
        let photos = try Dataset.imageFolder(folder)  // folder/class/*.jpg
        let (training, validation) = try photos.split(validation: 0.2, seed: 0)
        let start = try Model(from: WeightFile.open(weights))
            .replacingHead(classes: photos.classNames.count, seed: 0).freezing(.upTo("layer1"))
        let trained = try start.trained(
            on: TrainingData(
                training: training, validation: validation, transform: augmented, evaluationTransform: plain,
                batchSize: 8),
            loss: .crossEntropy(labelSmoothing: 0.1), optimizer: .adamW(),
            groups: ParameterGroup.layerwiseDecay(start.graph, decay: 0.5, weightDecay: 0.01),
            settings: TrainingSettings(epochs: 3, learningRate: 1e-3, schedule: .init(.cosine()), folder: run),
            callbacks: [EarlyStopping(patience: 7)], report: TrainingConsole().report)
        let evaluation = try trained.model.evaluated(on: validation)  // of the best epoch; run/best.safetensors is the same
        print(evaluation.table())
        // end of the example
        XCTAssertEqual(trained.history.records.count, 3)
        XCTAssertEqual(evaluation.labels.count, 2)
        let best = try Model(from: WeightFile.open("\(run)/best.safetensors"))
        XCTAssertEqual(best.classNames, ["a", "b"])
        XCTAssertEqual(best["fc.weight"].values, trained.model["fc.weight"].values)
    }

    func testThePageHasTheseLines() throws {
        let own = try String(contentsOfFile: #filePath, encoding: .utf8).components(separatedBy: "\n")
        let begin = try XCTUnwrap(own.firstIndex { $0.hasSuffix("// begin of the example") })
        let end = try XCTUnwrap(own.firstIndex { $0.hasSuffix("// end of the example") })
        let example = own[(begin + 1)..<end].map { String($0.dropFirst(8)) }.joined(separator: "\n")
        let page = try String(contentsOfFile: "\(Self.repository)/docs/training.md", encoding: .utf8)
        XCTAssertTrue(page.contains("```swift\n\(example)\n```"))
    }
}
