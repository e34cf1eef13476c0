// The commands of README.md run, in order, as a reader would type them.

import Foundation
import XCTest

final class ReadmeTests: XCTestCase {
    /// Lines `$ resnet ...` in blocks fenced as `console`; output lines between them are passed over.
    private func commands() throws -> [[String]] {
        let text = try String(contentsOfFile: "\(ToolFolder.repository)/README.md", encoding: .utf8)
        var commands: [[String]] = []
        var isInside = false
        for line in text.components(separatedBy: "\n") {
            if line.hasPrefix("```") { isInside = line == "```console" }
            if isInside, line.hasPrefix("$ resnet ") {
                let words = line.dropFirst("$ resnet ".count).components(separatedBy: "#")[0]
                commands.append(words.split(separator: " ").map(String.init))
            }
        }
        return commands
    }

    func testCommandsOfTheReadmeRun() throws {
        let folder = try ToolFolder()
        let commands = try commands()
        XCTAssertGreaterThanOrEqual(commands.count, 6)
        for command in commands {
            let result = try folder.resnet(command)
            XCTAssertEqual(result.status, 0, "resnet \(command.joined(separator: " ")): \(result.error)")
        }
    }
}
