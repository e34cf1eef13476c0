// Parameter groups, freezing over time, and which features are constant.

import ResNetSwift
import XCTest

@testable import ResNetTraining

final class ParameterGroupTests: XCTestCase {
    func testStagesOfAResNet() throws {
        let graph = try ModelName.resnet18.graph()
        XCTAssertEqual(graph.stages.map(\.name), ["stem", "layer1", "layer2", "layer3", "layer4", "head"])
        XCTAssertEqual(graph.stages.flatMap(\.parameters).sorted(), graph.trainable.sorted())
        XCTAssertEqual(graph.stages[0].parameters, ["conv1.weight", "bn1.weight", "bn1.bias"])
        XCTAssertEqual(graph.stages[5].parameters, ["fc.weight", "fc.bias"])
    }

    func testGroupsScaleAndSpare() throws {
        let graph = try ModelName.resnet18.graph()
        let decayed = ParameterGroup.layerwiseDecay(graph, decay: 0.5, weightDecay: 0.1)
        XCTAssertEqual(decayed.map(\.learningRateScale), [1.0 / 32, 1.0 / 16, 0.125, 0.25, 0.5, 1])
        XCTAssertEqual(Set(decayed.map(\.weightDecay)), [0.1])
        let stages = try ParameterGroup.byStage(graph, scales: ["stem": 0, "layer1": 0.1, "head": 10])
        XCTAssertEqual(stages.map(\.learningRateScale), [0, 0.1, 1, 1, 1, 10])
        XCTAssertThrowsError(try ParameterGroup.byStage(graph, scales: ["layer9": 1])) {
            XCTAssert("\($0)".contains("layer9") && "\($0)".contains("layer4"), "\($0)")
        }
        let spared = ParameterGroup.single(graph, weightDecay: 0.1, decaysAll: false)
        XCTAssertEqual(spared.map(\.weightDecay), [0.1, 0])
        XCTAssertEqual(spared[0].parameters.count, 21)  // 20 convolutions and fc.weight
        XCTAssertEqual(spared.flatMap(\.parameters).sorted(), graph.trainable.sorted())
        XCTAssertTrue(spared[1].parameters.contains("fc.bias") && spared[1].parameters.contains("bn1.weight"))
    }

    func testGradualUnfreezingGoesTowardsTheInput() throws {
        let graph = try ModelName.resnet18.graph()
        let schedule = UnfreezeSchedule.gradual(graph, everyEpochs: 2)
        XCTAssertEqual(
            schedule.policies,
            [
                0: .allButHead, 2: .upTo("layer3"), 4: .upTo("layer2"), 6: .upTo("layer1"),
                8: .names(["bn1", "conv1"]),
                10: FreezePolicy.none,
            ])
        let frozen = try (0..<12).map { try XCTUnwrap(schedule.frozen(in: $0, of: graph)).count }
        XCTAssertEqual(frozen, frozen.sorted(by: >))
        XCTAssertEqual(frozen[0], frozen[1])
        XCTAssertEqual(frozen[8], 5, "the stem: a weight and the four of a batch norm")
        XCTAssertEqual(frozen[10], 0)
        let loose = UnfreezeSchedule([1: .allButHead], updatesStatistics: true)
        XCTAssertNil(try loose.frozen(in: 0, of: graph))
        XCTAssertFalse(try XCTUnwrap(loose.frozen(in: 1, of: graph)).contains("bn1.running_mean"))
    }

    func testConstantFeaturesAreRecognized() throws {
        let graph = try ModelName.resnet18.graph(classes: 5)
        let head = try graph.selection(of: .allButHead)
        XCTAssertTrue(graph.hasConstantFeatures(frozen: head))
        XCTAssertFalse(graph.hasConstantFeatures(frozen: try graph.selection(of: .upTo("layer3"))))
        XCTAssertFalse(
            graph.hasConstantFeatures(frozen: head.subtracting(["layer4.1.bn2.running_mean"])),
            "running statistics that move change the features")
        XCTAssertEqual(graph.featureWidth(input: 64), 512)
        XCTAssertFalse(graph.trainsBatchNorm(frozen: head))
        XCTAssertTrue(graph.trainsBatchNorm(frozen: []))
    }
}
