// Runs the tool as its user does: the program that was built beside the tests, in a folder of its own.

import Foundation
import ResNetSwift
import XCTest

struct ToolResult {
    let status: Int32
    let output: String
    let error: String

    var lines: [String] { output.split(separator: "\n").map(String.init) }

    /// Every line of the output as a JSON object.
    func objects(file: StaticString = #filePath, line: UInt = #line) throws -> [JSONValue] {
        try lines.map { text in
            let value = try JSONValue.parse(text)
            guard case .object = value else {
                XCTFail("not an object: \(text)", file: file, line: line)
                return value
            }
            return value
        }
    }
}

/// A folder that goes away with the test, with the repository's `demo` in it.
final class ToolFolder {
    static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../..").standardized.path

    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("resnet-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
        try FileManager.default.createSymbolicLink(
            atPath: "\(path)/demo", withDestinationPath: "\(Self.repository)/demo")
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Runs `resnet` here and waits for its end. One thread, unless the environment says otherwise.
    func resnet(_ arguments: String..., environment: [String: String] = [:]) throws -> ToolResult {
        try resnet(arguments, environment: environment)
    }

    /// - Parameter limits: Commands of the shell that come before, such as `ulimit`.
    /// - Parameter dies: A signal ends it, whose number is then the status.
    func resnet(
        _ arguments: [String], environment: [String: String] = [:], under limits: String? = nil, dies: Bool = false
    ) throws -> ToolResult {
        let process = prepared(arguments, environment)
        if let limits {
            process.arguments = ["-c", "\(limits); exec \"$0\" \"$@\"", process.executableURL!.path] + arguments
            process.executableURL = URL(fileURLWithPath: "/bin/sh")
        }
        // Files, not pipes: a pipe that nobody empties stops the writer.
        let names = ["out", "err"].map { "\(path)/.\($0)-\(UUID().uuidString)" }
        let handles = try names.map { name -> FileHandle in
            XCTAssertTrue(FileManager.default.createFile(atPath: name, contents: nil))
            return try XCTUnwrap(FileHandle(forWritingAtPath: name))
        }
        process.standardOutput = handles[0]
        process.standardError = handles[1]
        try process.run()
        wait(for: process)
        XCTAssertEqual(process.terminationReason == .uncaughtSignal, dies, "ended by a signal or not: \(arguments)")
        let texts = try names.map { name -> String in
            defer { try? FileManager.default.removeItem(atPath: name) }
            return String(decoding: try Data(contentsOf: URL(fileURLWithPath: name)), as: UTF8.self)
        }
        return ToolResult(status: process.terminationStatus, output: texts[0], error: texts[1])
    }

    /// What hangs is ended, and is a failure: by a signal. Nothing here takes a tenth of the time.
    private func wait(for process: Process) {
        let id = process.processIdentifier
        let ending = DispatchWorkItem { _ = kill(id, SIGKILL) }
        DispatchQueue.global().asyncAfter(deadline: .now() + 300, execute: ending)
        process.waitUntilExit()
        ending.cancel()
    }

    /// Runs `resnet` here, what it prints goes nowhere; for those who want to stop it.
    func start(_ arguments: [String]) throws -> Process {
        let process = prepared(arguments, [:])
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    private func prepared(_ arguments: [String], _ environment: [String: String]) -> Process {
        let process = Process()
        let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        process.executableURL = program.deletingLastPathComponent().appendingPathComponent("resnet")
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: path)
        var all = ProcessInfo.processInfo.environment
        all["CK_ISA"] = nil
        all["CK_CACHES"] = nil
        all["OMP_NUM_THREADS"] = "1"
        // Where a crash is a failure of the test, a minute of looking for symbols helps nobody.
        all["SWIFT_BACKTRACE"] = "enable=no"
        all.merge(environment) { _, new in new }
        process.environment = all
        process.standardInput = FileHandle.nullDevice
        return process
    }

    /// Runs `resnet` and checks that it failed as a user's mistake should: this exit code, one line of error with all of
    /// `parts` in it, nothing on standard output.
    func assertFails(
        _ arguments: String..., code: Int32 = 1, naming parts: String..., environment: [String: String] = [:],
        file: StaticString = #filePath, line: UInt = #line
    ) throws {
        let result = try resnet(arguments, environment: environment)
        XCTAssertEqual(result.status, code, "\(arguments): \(result.error)", file: file, line: line)
        XCTAssertEqual(result.output, "", file: file, line: line)
        let errors = result.error.split(separator: "\n").filter { $0.hasPrefix("resnet: error: ") }
        XCTAssertEqual(errors.count, 1, result.error, file: file, line: line)
        for part in parts {
            XCTAssertTrue(
                errors.first?.contains(part) == true, "no '\(part)' in: \(result.error)", file: file, line: line)
        }
    }

    func write(_ data: Data, _ name: String) throws { try data.write(to: URL(fileURLWithPath: "\(path)/\(name)")) }

    func write(_ text: String, _ name: String) throws { try write(Data(text.utf8), name) }

    /// A copy of a fixture or of a file of the demo, cut to `prefix` bytes if given.
    func copy(_ source: String, to name: String, prefix: Int? = nil) throws {
        let data = try Data(contentsOf: URL(fileURLWithPath: "\(Self.repository)/\(source)"))
        try write(prefix.map { data.prefix($0) } ?? data, name)
    }

    func array(_ name: String) throws -> Tensor { try WeightFile.open("\(path)/\(name)").tensor("array") }

    /// An array of pictures as PyTorch's `randn` would fill it.
    func writePictures(_ shape: [Int], to name: String) throws {
        let storage = FloatStorage(count: shape.reduce(1, *)) { CounterRandom(seed: 7).fillNormal($0, std: 1) }
        try WeightWriter.writeArray(Tensor(shape: shape, storage: storage), to: "\(path)/\(name)")
    }
}

extension Tensor {
    var bits: [UInt32] { values.map(\.bitPattern) }
}
