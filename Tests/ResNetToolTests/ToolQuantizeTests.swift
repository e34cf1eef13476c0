// resnet quantize, and the commands that take what it writes.

import Foundation
import ResNetSwift
import XCTest

final class ToolQuantizeTests: XCTestCase {
    private func quantized(_ folder: ToolFolder, _ arguments: [String] = []) throws -> String {
        let path = "\(folder.path)/q.safetensors"
        let result = try folder.resnet(
            ["quantize", "demo/digits.safetensors", "--calibrate", "demo/digits.npz", "--out", path] + arguments)
        XCTAssertEqual(result.status, 0, result.error)
        return path
    }

    private func top1(_ folder: ToolFolder, _ weights: String) throws -> Double {
        let result = try folder.resnet(["evaluate", "demo/digits.npz", "--weights", weights, "--json"])
        XCTAssertEqual(result.status, 0, result.error)
        guard case .number(let value)? = try XCTUnwrap(try result.objects().first)["top1"] else { return .nan }
        return value
    }

    func testDigitsInBytesAreAsGoodAsInFloats() throws {
        let folder = try ToolFolder()
        let weights = try quantized(folder)
        let size = { (path: String) in try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0 }
        XCTAssertLessThan(try size(weights), try size("\(folder.path)/demo/digits.safetensors") * 2 / 5)
        XCTAssertEqual(
            try top1(folder, weights), try top1(folder, "demo/digits.safetensors"), accuracy: 0.003)
        let classified = try folder.resnet(["classify", "demo/digits", "--weights", weights, "--top", "1", "--json"])
        XCTAssertEqual(classified.status, 0)
        XCTAssertTrue(classified.error.contains(", int8"), classified.error)
        for object in try classified.objects() {
            let path = try XCTUnwrap(object["path"]?.stringValue)
            let name = path.dropFirst("demo/digits/".count).prefix { $0 != "_" }
            XCTAssertEqual(object["top"]?.arrayValue?.first?["class"]?.stringValue, String(name), path)
        }
    }

    func testTheOtherCommandsTakeTheFile() throws {
        let folder = try ToolFolder()
        let weights = try quantized(folder, ["--method", "minmax", "--keep-float", "layer3"])
        func run(_ arguments: [String]) throws -> ToolResult {
            let result = try folder.resnet(arguments + ["--weights", weights])
            XCTAssertEqual(result.status, 0, "\(arguments): \(result.error)")
            return result
        }
        let described = try run(["describe"]).output
        XCTAssertTrue(described.contains("int8 ") && described.contains("to bytes"), described)
        XCTAssertFalse(try run(["describe", "--precision", "float32"]).output.contains("int8"))
        XCTAssertTrue(try run(["profile", "--repetitions", "1"]).output.contains("int8 "))
        let timed = try run(["time", "--seconds", "0", "--json"])
        XCTAssertEqual(try timed.objects().first?["dtype"], .string("int8"))
        _ = try run(["embed", "demo/digits", "--output", "\(folder.path)/h.npy"])
        let inspected = try folder.resnet(["inspect", weights])
        XCTAssertEqual(inspected.status, 0, inspected.error)
        let floats = "\(folder.path)/f.safetensors"
        let converted = try folder.resnet(["convert", weights, floats])
        XCTAssertEqual(converted.status, 0, converted.error)
        XCTAssertFalse(try folder.resnet(["describe", "--weights", floats]).output.contains("int8"))
    }

    func testTheReportAndTheSameFileAgain() throws {
        let folder = try ToolFolder()
        func report(_ name: String) throws -> JSONValue {
            let result = try folder.resnet([
                "quantize", "demo/digits.safetensors", "--calibrate", "demo/digits", "--out", "\(folder.path)/\(name)",
                "--json",
            ])
            XCTAssertEqual(result.status, 0, result.error)
            return try XCTUnwrap(try result.objects().first)
        }
        let first = try report("a.safetensors")
        XCTAssertEqual(first, try report("b.safetensors"))
        XCTAssertEqual(
            try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/a.safetensors")),
            try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/b.safetensors")))
        XCTAssertEqual(first["pictures"], .integer(20))
        XCTAssertEqual(first["agreeing"], .integer(20))
        XCTAssertEqual(first["float32"], .array([.string("conv1")]))
        XCTAssertEqual(first["fallback"], .array([]))
    }

    func testAnAgreementAndScoresOfBoth() throws {
        let folder = try ToolFolder()
        let out = "\(folder.path)/q.safetensors"
        let common = ["quantize", "demo/digits.safetensors", "--calibrate", "demo/digits", "--out", out]
        let result = try folder.resnet(common + ["--agreement", "1", "--evaluate", "demo/digits.npz", "--json"])
        XCTAssertEqual(result.status, 0, result.error)
        let report = try XCTUnwrap(try result.objects().first)
        XCTAssertEqual(report["agreeing"], .integer(20))
        XCTAssertEqual(report["fallback"], .array([]))
        for (key, weights) in [("float32", "demo/digits.safetensors"), ("int8", out)] {
            guard case .number(let top1)? = report["evaluation"]?[key]?["top1"] else { return XCTFail("no top-1") }
            XCTAssertEqual(top1, try self.top1(folder, weights), key)
        }
        let text = try folder.resnet(common + ["--evaluate", "demo/digits.npz"])
        XCTAssertTrue(text.output.contains("top-1 "), text.output)
        XCTAssertEqual(try folder.resnet(common + ["--agreement", "1.5"]).status, 64)
    }

    func testWhatCannotBeDoneSaysSo() throws {
        let folder = try ToolFolder()
        let weights = try quantized(folder)
        let digits = ["--weights", "demo/digits.safetensors"]
        for (arguments, message) in [
            (["classify", "demo/digits", "--precision", "int8"] + digits, "not quantized to int8"),
            (
                ["quantize", weights, "--calibrate", "demo/digits", "--out", "\(folder.path)/r.safetensors"],
                "quantized already"
            ),
            (
                [
                    "quantize", "demo/digits.safetensors", "--calibrate", "demo/digits", "--keep-float", "layer9",
                    "--out",
                    "\(folder.path)/r.safetensors",
                ], "no node layer9"
            ),
        ] {
            let result = try folder.resnet(arguments)
            XCTAssertEqual(result.status, 1, result.error)
            XCTAssertTrue(result.error.contains(message), result.error)
        }
        let npz = try folder.resnet([
            "quantize", "demo/digits.safetensors", "--calibrate", "demo/digits", "--out", "\(folder.path)/r.npz",
        ])
        XCTAssertEqual(npz.status, 64)
    }
}
