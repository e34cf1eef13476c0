// The tool where the disk is full, files may not grow and memory is short: an error in a line, and the old file intact.

import Foundation
import ResNetSwift
import XCTest

final class ToolLimitsTests: XCTestCase {
    private static let convert = ["convert", "demo/digits.safetensors"]

    /// What is in the folder besides the link to the demo.
    private func names(_ path: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).filter { $0 != "demo" }.sorted()
    }

    func testFilesThatMayNotGrow() throws {
        let folder = try ToolFolder()
        try folder.writePictures([1, 1, 32, 32], to: "x.npy")
        XCTAssertEqual(try folder.resnet(Self.convert + ["out.safetensors"]).status, 0)
        let old = try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/out.safetensors"))
        let before = try names(folder.path)
        // 100 blocks of 512 bytes; the digits take six times that. The signal that comes with it is ignored.
        let limit = "trap '' XFSZ; ulimit -f 100"
        let predict = [
            "predict", "-w", "demo/digits.safetensors", "-i", "x.npy", "-o", "y.npy", "--packed", "out.packed",
        ]
        for arguments in [Self.convert + ["out.safetensors"], Self.convert + ["new.npz"], predict] {
            let result = try folder.resnet(arguments, under: limit)
            XCTAssertEqual(result.status, 1, "\(arguments)")
            XCTAssertTrue(result.error.contains("out.") || result.error.contains("new.npz"), result.error)
            XCTAssertTrue(result.error.contains("cannot be written: File too large"), result.error)
            XCTAssertEqual(try names(folder.path), before, "\(arguments)")
        }
        XCTAssertEqual(try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/out.safetensors")), old)

        // The signal that comes with the limit is no way to end: the write fails, and says so.
        let limited = try folder.resnet(Self.convert + ["out.safetensors"], under: "ulimit -f 100")
        XCTAssertEqual(limited.status, 1)
        XCTAssertTrue(limited.error.contains("cannot be written: File too large"), limited.error)
        XCTAssertEqual(try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/out.safetensors")), old)
    }

    func testFullDisk() throws {
        let folder = try ToolFolder()
        let disk = "\(folder.path)/disk"
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: false)
        func run(_ program: String, _ arguments: String...) -> Bool {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: program)
            process.arguments = arguments
            process.standardError = FileHandle.nullDevice
            guard (try? process.run()) != nil else { return false }
            process.waitUntilExit()
            return process.terminationStatus == 0
        }
        guard run("/bin/mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk) else {
            throw XCTSkip("a small disk needs the right to mount one")
        }
        defer { XCTAssertTrue(run("/bin/umount", disk)) }
        XCTAssertEqual(try folder.resnet(Self.convert + ["disk/out.safetensors"]).status, 0)
        let old = try Data(contentsOf: URL(fileURLWithPath: "\(disk)/out.safetensors"))
        try folder.assertFails(
            "convert", "demo/digits.safetensors", "disk/out.safetensors",
            naming: "disk/out.safetensors: cannot be written: No space left on device")
        XCTAssertEqual(try names(disk), ["out.safetensors"])
        XCTAssertEqual(try Data(contentsOf: URL(fileURLWithPath: "\(disk)/out.safetensors")), old)
    }

    /// A ResNet-18 on 64 pictures of 3000 x 3000 needs some 100 GB.
    func testMemoryThatIsNotThere() throws {
        let folder = try ToolFolder()
        let result = try folder.resnet(
            ["time", "--model", "resnet18", "--batch", "64", "--input-size", "3000", "--seconds", "0.1"],
            environment: ["OPENBLAS_NUM_THREADS": "1"], under: "ulimit -v 4000000")
        XCTAssertEqual(result.status, 1)
        XCTAssertTrue(result.error.contains("no memory for"), result.error)
        XCTAssertEqual(result.error.split(separator: "\n").count, 1, result.error)
    }
}
