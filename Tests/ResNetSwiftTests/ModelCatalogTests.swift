// Models by name and by configuration: what is refused and how it is said; outputs; the summary.

import ResNetSwift
import XCTest

final class ModelCatalogTests: XCTestCase {
    private func message(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "no error"
        } catch { return "\(error)" }
    }

    func testNamesAreReadLeniently() throws {
        for text in ["resnet50", "ResNet-50", "resnet_50", "RESNET 50"] {
            XCTAssertEqual(try ModelName(named: text), .resnet50, text)
        }
        XCTAssertEqual(try ModelName(named: "resnext50-32x4d"), .resnext50_32x4d)
    }

    func testAnUnknownNameIsAnsweredByTheNearestTwo() {
        XCTAssertEqual(
            message { _ = try ModelName(named: "resnet51") },
            "no model is called 'resnet51'; did you mean 'resnet50' or 'resnet18'?")
        XCTAssertEqual(
            message { _ = try ModelName(named: "bert-large-uncased") }, "no model is called 'bert-large-uncased'")
    }

    func testCountsOutOfRangeAreErrors() {
        XCTAssertEqual(
            message { _ = try ModelName.resnet18.graph(classes: 0) },
            "resnet18: classes must be 1 to 1000000, not 0")
        XCTAssertEqual(
            message { _ = try ModelName.googlenet.graph(inputChannels: -3) },
            "googlenet: inputChannels must be 1 to 4096, not -3")
        XCTAssertEqual(
            message { _ = try ModelName.alexnet_mini.graph(inputSize: 1_000_000) },
            "alexnet_mini: inputSize must be 1 to 4096, not 1000000")
        let small = message { _ = try ModelName.alexnet_mini.graph(inputSize: 20) }
        XCTAssertTrue(small.contains("20x20") && small.contains("pool2"), small)
    }

    func testConfigurationsThatNoResNetHasAreErrors() {
        func text(_ n: [Int], _ c: [Int] = [64, 128, 256, 512], _ block: ResNetConfig.Block = .basic, groups: Int = 1)
            -> String
        {
            message { _ = try ResNetConfig(block: block, nBlocks: n, channels: c, groups: groups) }
        }
        XCTAssertEqual(text([2, 2, 2]), "ResNet: nBlocks must be 4 stages, not 3: [2, 2, 2]")
        XCTAssertEqual(text([]), "ResNet: nBlocks must be 4 stages, not 0: []")
        XCTAssertEqual(
            text([2, 0, 2, 2]), "ResNet: nBlocks must be 1 to 1000 blocks in every stage, not [2, 0, 2, 2]")
        XCTAssertEqual(
            text([2, 2, 2, 2], [64, 128, 256]), "ResNet: channels must be 4 stages, not 3: [64, 128, 256]")
        XCTAssertEqual(
            text([2, 2, 2, 2], [1, 2, 3, 4]), "ResNet: channels must be [64, 128, 256, 512], not [1, 2, 3, 4]")
        XCTAssertTrue(text([2, 2, 2, 2], groups: 32).hasPrefix("ResNet: block must be bottleneck"))
        XCTAssertEqual(text([2, 2, 2, 2], .init([64, 128, 256, 512]), .bottleneck, groups: 32), "no error")
        XCTAssertEqual(
            message { _ = try CIFARResNetConfig(nBlocks: [2, 2]) },
            "CIFAR ResNet: nBlocks must be 3 numbers of 1 to 10000, not [2, 2]")
    }

    func testAConfigurationWrittenOutIsThePreset() throws {
        let config = try ResNetConfig(block: .bottleneck, nBlocks: [3, 4, 6, 3], channels: [64, 128, 256, 512])
        XCTAssertEqual(config, .resnet50)
        XCTAssertEqual(try CIFARResNetConfig(nBlocks: [2, 2, 2]), .resnet14)
    }

    func testOutputsAreLogitsAndFeatures() throws {
        let features: [ModelName: Int] = [
            .resnet18: 512, .resnet50: 2048, .wide_resnet50_2: 2048, .cifar_resnet20: 64, .alexnet_mini: 128,
            .googlenet: 1024,
        ]
        for (name, count) in features {
            let graph = try name.graph(classes: 7)
            let shapes = try graph.shapes(input: name.defaultInputSize)
            XCTAssertEqual(shapes[graph.logits], .vector(7), name.rawValue)
            XCTAssertEqual(shapes[try XCTUnwrap(graph.features)], .vector(count), name.rawValue)
            XCTAssertNil(graph.probabilities, name.rawValue)
        }
        let one = try ModelName.googlenet.graph()
        let sigmoid = one.nodes[try XCTUnwrap(one.probabilities)]
        XCTAssertEqual(sigmoid.operation, .sigmoid)
        XCTAssertEqual(sigmoid.inputs, [one.logits])
    }

    func testEveryModelTakesOtherChannelsAndClasses() throws {
        for name in ModelName.allCases {
            for channels in [1, 4, 5] {
                let graph = try name.graph(classes: 3, inputChannels: channels)
                XCTAssertEqual(graph.inputChannels, channels)
                try graph.validate(input: name.defaultInputSize)
                XCTAssertEqual(graph.parameters[0].shape[1], channels, name.rawValue)
            }
        }
    }

    func testSummary() throws {
        let graph = try CIFARResNetConfig(nBlocks: [1, 1, 1], channels: [8, 16, 1100]).graph(inputChannels: 1)
        XCTAssertEqual(
            try graph.summary(input: Size2(9, 16)), try ModelFixtures.text("summary_cifar_resnet8.txt"))
    }

    func testSummaryTotalsAreTheModels() throws {
        let summary = try ResNetConfig.resnet50.graph().summary(input: 224)
        XCTAssertTrue(summary.contains("Parameters  25,557,032, 97.5 MiB in float32\n"), summary)
        XCTAssertTrue(summary.contains("Buffers     53,120 (running statistics)\n"), summary)
        XCTAssertTrue(summary.contains("MACs        4,089,184,256 a picture, 4.09 G\n"), summary)
        let lines = summary.split(separator: "\n")
        XCTAssertEqual(Set(lines.filter { $0.hasPrefix("---") }.map(\.count)).count, 1)
        XCTAssertLessThanOrEqual(lines.map(\.count).max()!, 100)
    }

    func testPicturesThatDoNotFitNameTheNode() {
        let message = message { _ = try GoogLeNet.graph().summary(input: 0) }
        XCTAssertEqual(message, "input: expected a picture of 1x1x1 up to 1048576 a side, found 3x0x0")
        XCTAssertTrue(
            self.message { _ = try GoogLeNet.graph().summary(input: Size2(5, .max)) }.contains("up to 1048576 a side"))
        XCTAssertEqual(
            self.message { _ = try AlexNetMini.graph().shapes(input: 281) },
            "no error", "one pixel more gives the same maps")
        XCTAssertEqual(
            self.message { _ = try AlexNetMini.graph().shapes(input: 320) },
            "fc1: expected 30976 features, found 36864, perhaps of another picture size")
    }
}
