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
        let classifier = try Classifier(weights: weights)  // .pth, .safetensors or .npz: a path, or bytes in memory
        for scores in try classifier.classify(paths, top: 3) {
            for score in scores { print(score.name, score.probability) }
        }
        let h = try classifier.embed(paths)  // (N, features)
        // end of the example
        XCTAssertEqual(try classifier.classify(paths).map { $0[0].name }, ["three", "five"])
        XCTAssertEqual(h.shape, [2, 64])
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
