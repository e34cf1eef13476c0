// The model is inferred from keys and shapes, for every ResNet that is built here.

import ResNetSwift
import XCTest

@testable import ResNetModels
@testable import ResNetWeights

final class WeightFileGuessTests: XCTestCase {
    private func entries(_ graph: Graph, dropping prefix: String? = nil) -> [WeightEntry] {
        graph.parameters.filter { prefix.map($0.name.hasPrefix) != true }.map {
            WeightEntry(key: $0.name, name: $0.name, type: .float32, shape: $0.shape, isView: true)
        }
    }

    func testEveryResNetIsRecognized() throws {
        for name in ModelName.allCases where name.resNet != nil && !name.isToldByName {
            for (classes, channels) in [(1000, 3), (2, 4)] {
                let graph = try name.graph(classes: classes, inputChannels: channels)
                let guess = try ModelGuess(entries(graph))
                XCTAssertEqual(guess.name, name.rawValue)
                XCTAssertEqual(guess.classes, classes)
                XCTAssertEqual(guess.inputChannels, channels)
            }
        }
    }

    func testTheGuessDescribesTheNetwork() throws {
        let guess = try ModelGuess(entries(try ModelName.resnext101_32x8d.graph()))
        XCTAssertEqual(guess.block, .bottleneck)
        XCTAssertEqual(guess.nBlocks, [3, 4, 23, 3])
        XCTAssertEqual(guess.channels, [64, 128, 256, 512])
        XCTAssertEqual(guess.groups, 32)
        XCTAssertEqual(guess.widthPerGroup, 8)
        XCTAssertEqual(guess.stemKernel, 7)
    }

    func testANetworkWithoutClassifierAndAnUnusualOne() throws {
        let headless = try ModelGuess(entries(try ModelName.resnet34.graph(), dropping: "fc."))
        XCTAssertEqual(headless.name, "resnet34")
        XCTAssertNil(headless.classes)
        let tiny = try WeightFile.open(WeightFixtures.path("tiny_hugging_face.safetensors")).guessModel()
        XCTAssertNil(tiny.name)
        XCTAssertEqual(tiny.nBlocks, [1, 1])
        XCTAssertEqual(tiny.channels, [4, 8])
        XCTAssertEqual(tiny.classes, 5)
    }

    func testNoResNetIsAnError() throws {
        XCTAssertThrowsError(try WeightFile.open(WeightFixtures.path("types.pth")).guessModel()) {
            XCTAssertTrue(
                "\($0)".contains("types.pth: unsupported: the weights are of no network that is known here"), "\($0)")
        }
        for shape in [[], [0], [64, 3, 7, 7]] {
            let odd = ["conv1.weight", "layer1.0.conv1.weight", "layer1.0.conv3.weight", "fc.weight"].map {
                WeightEntry(key: $0, name: $0, type: .float32, shape: shape, isView: true)
            }
            XCTAssertThrowsError(try ModelGuess(odd))
        }
    }
}
