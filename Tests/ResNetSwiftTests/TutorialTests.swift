// The Swift of docs/tutorial.md, compiled and run: the lines between the marks stand there word for word.

import Foundation
import ResNetSwift
import XCTest

final class TutorialTests: XCTestCase {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../..").standardized.path

    /// Ten pictures of each of two classes, one more, and small weights; what they are called does not matter.
    private func writeFiles(_ folder: String) throws {
        let digits = "\(Self.repository)/demo/digits"
        let files = FileManager.default
        for (index, name) in try files.contentsOfDirectory(atPath: digits).sorted().enumerated() {
            let target = "\(folder)/photos/\(index < 10 ? "a" : "b")"
            try files.createDirectory(atPath: target, withIntermediateDirectories: true)
            try files.copyItem(atPath: "\(digits)/\(name)", toPath: "\(target)/\(name)")
        }
        try files.copyItem(atPath: "\(digits)/one_1.png", toPath: "\(folder)/new.jpg")
        try ModelName.cifar_resnet14.model(seed: 1).save(to: "\(folder)/resnet18.safetensors")
        try files.moveItem(atPath: "\(folder)/resnet18.safetensors", toPath: "\(folder)/resnet18.pth")
    }

    func testTheExampleRuns() throws {
        let files = FileManager.default
        let (before, folder) = (
            files.currentDirectoryPath,
            files.temporaryDirectory.appendingPathComponent("tutorial-\(UUID().uuidString)").path
        )
        defer {
            XCTAssertTrue(files.changeCurrentDirectoryPath(before))
            try? files.removeItem(atPath: folder)
        }
        try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
        XCTAssertTrue(files.changeCurrentDirectoryPath(folder))
        try writeFiles(folder)
        // begin of the example
        let photos = try Dataset.imageFolder("photos")
        let (training, validation) = try photos.split(validation: 0.2, seed: 0)
        let start = try Model(from: WeightFile.open("resnet18.pth"))
            .replacingHead(classes: photos.classNames.count, seed: 0).freezing(.allButHead)
        let data = TrainingData(
            training: training, validation: validation, transform: .imageNetTraining(),
            evaluationTransform: .imageNetV1())
        let trained = try start.trained(on: data, settings: TrainingSettings(epochs: 5, learningRate: 0.01))
        print(try trained.model.evaluated(on: validation).table())
        try trained.model.save(to: "photos.safetensors")

        let classifier = try Classifier(weights: "photos.safetensors")
        for score in try classifier.classify("new.jpg", top: 3) { print(score.name, score.probability) }
        // end of the example
        XCTAssertEqual(trained.history.records.count, 5)
        XCTAssertEqual(Set(try classifier.classify("new.jpg").map(\.name)), ["a", "b"])
    }

    func testThePageHasTheseLines() throws {
        let own = try String(contentsOfFile: #filePath, encoding: .utf8).components(separatedBy: "\n")
        let begin = try XCTUnwrap(own.firstIndex { $0.hasSuffix("// begin of the example") })
        let end = try XCTUnwrap(own.firstIndex { $0.hasSuffix("// end of the example") })
        let lines = own[(begin + 1)..<end].map { String($0.dropFirst(8)) }
        XCTAssertLessThanOrEqual(lines.count { !$0.isEmpty }, 12)
        let page = try String(contentsOfFile: "\(Self.repository)/docs/tutorial.md", encoding: .utf8)
        XCTAssertTrue(page.contains("```swift\n\(lines.joined(separator: "\n"))\n```"))
    }
}
