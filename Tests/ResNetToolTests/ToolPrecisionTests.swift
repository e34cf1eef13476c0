// --precision bf16 in every command that runs a network.

import Foundation
import ResNetSwift
import XCTest

final class ToolPrecisionTests: XCTestCase {
    func testEveryCommandTakesBF16AndSaysSo() throws {
        let folder = try ToolFolder()
        let options = ["--weights", "demo/digits.safetensors", "--precision", "bf16"]
        func run(_ arguments: [String]) throws -> ToolResult {
            let result = try folder.resnet(arguments + options)
            XCTAssertEqual(result.status, 0, "\(arguments): \(result.error)")
            return result
        }
        let described = try run(["describe"]).output
        XCTAssertTrue(described.contains("linear, bf16 weights"), described)
        XCTAssertTrue(described.contains("layers in bf16, the others in float32"), described)
        XCTAssertTrue(try run(["profile", "--repetitions", "1"]).output.contains("bf16 weights"))
        XCTAssertEqual(
            try run(["time", "--seconds", "0", "--json"]).objects().first?["dtype"], .string("bf16"))
        XCTAssertTrue(try run(["embed", "demo/digits", "--output", "\(folder.path)/h.npy"]).error.contains(", bf16"))
        let classified = try run(["classify", "demo/digits", "--top", "1", "--json"])
        XCTAssertTrue(classified.error.contains(", bf16"), classified.error)
        let evaluated = try run(["evaluate", "demo/digits.npz", "--json"])
        let floats = try folder.resnet(["evaluate", "demo/digits.npz", "--json"] + options.dropLast(2))
        let scores = try [evaluated, floats].map { try XCTUnwrap(try $0.objects().first?["top1"]) }
        guard case (.number(let bf16), .number(let float32)) = (scores[0], scores[1]) else {
            return XCTFail("no top-1")
        }
        XCTAssertEqual(bf16, float32, accuracy: 0.003)
    }

    func testTrainingRefusesIt() throws {
        let result = try ToolFolder().resnet([
            "time", "--train", "--model", "cifar_resnet14", "--seconds", "0", "--precision", "bf16",
        ])
        XCTAssertEqual(result.status, 64, result.error)
    }
}
