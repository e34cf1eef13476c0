// resnet train: what it leaves in its folder, what it says about wrong input.

import Foundation
import XCTest

@testable import ResNetSwift

final class ToolTrainTests: XCTestCase {
    func testTrainsOnDigitsAndClassifiesWithTheCheckpoint() throws {
        let folder = try ToolFolder()
        let trained = try folder.resnet(
            "train", "demo/digits.npz", "--model", "cifar_resnet14", "--epochs", "2", "--lr", "0.05", "--out", "run")
        XCTAssertEqual(trained.status, 0, trained.error)
        XCTAssertEqual(
            try FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/run").sorted(),
            [
                "best.safetensors", "evaluation.json", "evaluation.txt", "history.csv", "history.jsonl", "history.svg",
                "last.safetensors",
            ])
        XCTAssert(trained.output.hasPrefix("loss "), trained.output)
        XCTAssert(trained.output.contains("actual \\ predicted"), trained.output)
        XCTAssert(trained.error.contains("epoch 2/2  loss "), trained.error)
        let csv = try String(contentsOfFile: "\(folder.path)/run/history.csv", encoding: .utf8)
        XCTAssertEqual(csv.split(separator: "\n").count, 3)

        let scores = try JSONValue.parse(
            String(contentsOfFile: "\(folder.path)/run/evaluation.json", encoding: .utf8))
        let top1 = try XCTUnwrap(scores["top1"]?.doubleValue)
        XCTAssertGreaterThan(top1, 0.9)
        // The same pictures and weights through the other command.
        let evaluated = try folder.resnet(
            "evaluate", "demo/digits.npz", "--weights", "run/best.safetensors", "--json")
        XCTAssertEqual(try evaluated.objects()[0]["top1"]?.doubleValue, top1)

        // Class names, transform and model come with the file; the network never saw these pictures.
        let classified = try folder.resnet(
            "classify", "demo/digits", "--weights", "run/best.safetensors", "--top", "1", "--json")
        XCTAssertEqual(classified.status, 0, classified.error)
        let names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
        let right = try classified.objects().count { object in
            let path = object["path"]?.stringValue ?? ""
            let found = object["top"]?.arrayValue?.first?["class"]?.stringValue.flatMap { Int($0) } ?? -1
            return names.indices.contains(found) && path.contains("/\(names[found])_")
        }
        XCTAssertGreaterThanOrEqual(right, 17)

        // A run is not lost by mistake.
        try folder.assertFails(
            "train", "demo/digits.npz", "--model", "cifar_resnet14", "--out", "run", naming: "--resume", "--overwrite")
        try folder.assertFails(
            "train", "demo/digits.npz", "--model", "cifar_resnet14", "--epochs", "2", "--out", "run", "--resume",
            naming: "learning rate", "0.05", "0.01")
    }

    func testAnotherTaskGetsAnotherHead() throws {
        let folder = try ToolFolder()
        let pictures = "\(folder.path)/shapes"
        for (index, name) in ["five", "two", "six", "nine"].enumerated() {
            let target = "\(pictures)/\(index % 2 == 0 ? "left" : "right")"
            try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
            for number in 1...2 {
                try FileManager.default.copyItem(
                    atPath: "\(ToolFolder.repository)/demo/digits/\(name)_\(number).png",
                    toPath: "\(target)/\(name)\(number).png")
            }
        }
        let result = try folder.resnet(
            "train", "shapes", "--weights", "demo/digits.safetensors", "--freeze", "allButHead", "--epochs", "2",
            "--batch", "3", "--validation", "0.25", "--out", "run", "--json")
        XCTAssertEqual(result.status, 0, result.error)
        XCTAssert(result.error.contains("the last layer of demo/digits.safetensors is replaced"), result.error)
        XCTAssert(result.error.contains("its features are computed once"), result.error)
        let (old, new) = (
            try WeightFile.open("\(ToolFolder.repository)/demo/digits.safetensors"),
            try WeightFile.open("\(folder.path)/run/best.safetensors")
        )
        for entry in old.entries where !entry.key.hasPrefix("fc.") {
            XCTAssertEqual(try new.tensor(entry.key).bits, try old.tensor(entry.key).bits, entry.key)
        }
        XCTAssertEqual(try new.tensor("fc.weight").shape, [2, 64])
        let classified = try folder.resnet(
            "classify", "demo/digits/six_1.png", "--weights", "run/best.safetensors", "--json")
        let top = try XCTUnwrap(classified.objects()[0]["top"]?.arrayValue)
        XCTAssertEqual(Set(top.map { $0["class"]?.stringValue }), ["left", "right"])
    }

    func testWrongInputIsSaidInOneLine() throws {
        let folder = try ToolFolder()
        let data = "demo/digits.npz"
        try folder.assertFails("train", data, code: 64, naming: "--model", "--weights")
        try folder.assertFails("train", "nowhere", "--model", "resnet18", naming: "nowhere", "No such file")
        try folder.assertFails("train", data, "--model", "resnet19", naming: "resnet19", "did you mean 'resnet18'")
        try folder.assertFails(
            "train", data, "--model", "cifar_resnet14", "--freeze", "upTo:layer9", naming: "layer9", "nearest")
        try folder.assertFails(
            "train", data, "--model", "cifar_resnet14", "--schedule", "sine", code: 64, naming: "sine")
        try folder.assertFails(
            "train", data, "--model", "cifar_resnet14", "--monitor", "val_f1", naming: "monitor", "val_f1")
        try folder.assertFails(
            "train", data, "--model", "cifar_resnet14", "--class-weights", "1,2", naming: "--class-weights", "10", "2")
        try folder.assertFails(
            "train", data, "--model", "cifar_resnet14", "--stage-rates", "layer7=1", naming: "layer7", "layer3, head")
        try folder.assertFails(
            "train", data, "--model", "cifar_resnet14", "--optimizer", "adam", "--momentum", "0.5", code: 64,
            naming: "--momentum", "sgd")
        XCTAssertFalse(FileManager.default.fileExists(atPath: "\(folder.path)/run"))
    }
}
