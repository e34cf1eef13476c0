// The Swift example of README.md, compiled and run: the lines between the marks stand there word for word.

import Foundation
import ResNetSwift
import XCTest

final class ReadmeExampleTests: XCTestCase {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../..").standardized.path

    private func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    func testTheExampleRuns() throws {
        let weights = "\(Self.repository)/demo/digits.safetensors"
        let paths = ["\(Self.repository)/demo/digits/three_1.png", "\(Self.repository)/demo/digits/five_2.png"]
        // begin of the example
        let file = try WeightFile.open(weights)  // .pth, .safetensors or .npz; recognized by content
        let model = try Model(from: file)  // recognized by names and shapes
        let transform = try model.metadata["transform"].map(ImageTransform.init(json:)) ?? .imageNetV1()
        let size = transform.fixedOutputSize ?? 224

        let plan = try InferencePlan(
            model: model,
            input: ImageShape(channels: transform.channels, height: size.height, width: size.width),
            batch: 8,
            options: PlanOptions(input: .bytesNHWC(scale: transform.scale, shift: transform.shift)))

        let pictures = try paths.map { try transform.picture(contentsOf: $0) }
        let prediction = try plan.predict(try transform.batch(pictures).pixels)  // logits, and the features h
        for scores in model.graph.topScores(prediction.logits, count: 3) {
            for score in scores { print(score.index, score.probability) }
        }
        // end of the example
        XCTAssertEqual(model.graph.topScores(prediction.logits, count: 1).map { $0[0].index }, [3, 5])
        XCTAssertEqual(prediction.features?.shape, [2, 64])
    }

    func testTheReadmeHasTheseLines() throws {
        let own = try text(#filePath).components(separatedBy: "\n")
        let begin = try XCTUnwrap(own.firstIndex { $0.hasSuffix("// begin of the example") })
        let end = try XCTUnwrap(own.firstIndex { $0.hasSuffix("// end of the example") })
        let example = own[(begin + 1)..<end].map { String($0.dropFirst(8)) }.joined(separator: "\n")
        XCTAssertTrue(try text("\(Self.repository)/README.md").contains("```swift\n\(example)\n```"))
    }

    func testChangesToAModel() throws {
        let start = try ModelName.cifar_resnet14.model(seed: 1)
        let posture = try start.replacingHead(classes: 2, seed: 0).freezing(.allButHead)
        XCTAssertEqual(Set(posture.parameters.keys).subtracting(posture.frozen), ["fc.weight", "fc.bias"])
        XCTAssertEqual(try start.adaptingInputChannels(4).graph.inputChannels, 4)
    }
}
