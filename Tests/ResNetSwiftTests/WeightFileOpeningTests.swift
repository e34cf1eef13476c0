// From a file to a model when nobody says which one it is.

import ResNetSwift
import XCTest

final class WeightFileOpeningTests: XCTestCase {
    private func saved(
        _ name: ModelName, classes: Int, inputChannels: Int, _ change: (inout Model) -> Void = { _ in }
    ) throws -> (file: WeightFile, model: Model) {
        let folder = try TemporaryFolder()
        var model = try name.model(classes: classes, inputChannels: inputChannels, seed: 5)
        change(&model)
        try model.save(to: "\(folder.path)/model.safetensors")
        return (try WeightFile.open("\(folder.path)/model.safetensors"), model)
    }

    private func assertEqual(_ found: Model, _ expected: Model) {
        XCTAssertEqual(found.graph, expected.graph)
        for (name, tensor) in expected.parameters { XCTAssertEqual(found[name].bits, tensor.bits, name) }
    }

    func testTheShapesTellTheModel() throws {
        let (file, model) = try saved(.cifar_resnet14, classes: 7, inputChannels: 4) { $0.metadata = [:] }
        XCTAssertNil(file.metadata["model"])
        let found = try Model(from: file)
        assertEqual(found, model)
        XCTAssertEqual(found.metadata["model"], "cifar_resnet14")
    }

    func testTheMetadataTellsTheModel() throws {
        let (file, model) = try saved(.alexnet_mini, classes: 3, inputChannels: 1)
        XCTAssertThrowsError(try file.guessModel())
        assertEqual(try Model(from: file), model)
    }

    func testAnUnknownNameInTheMetadataIsPassedOver() throws {
        let (file, model) = try saved(.cifar_resnet20, classes: 10, inputChannels: 3) { $0.metadata["model"] = "mine" }
        assertEqual(try Model(from: file), model)
    }

    func testTheModelThatIsAskedForMustFit() throws {
        let (file, model) = try saved(.cifar_resnet14, classes: 10, inputChannels: 3)
        assertEqual(try Model(from: file, named: .cifar_resnet14), model)
        XCTAssertThrowsError(try Model(from: file, named: .cifar_resnet20)) {
            XCTAssertEqual(($0 as? WeightFileError)?.fault.kind, "doesNotFit")
        }
    }

    func testANetworkOfUnknownDepthIsDescribed() throws {
        XCTAssertThrowsError(try Model(from: try WeightFile.open(WeightFixtures.path("tiny_tar.pth")))) {
            XCTAssertTrue("\($0)".contains("a basic ResNet of [1, 1] blocks with [4, 8] channels"), "\($0)")
        }
    }
}
