// The commands of README.md and of the pages about the tool run, in order, as a reader would type them.

import Foundation
import XCTest

final class ReadmeTests: XCTestCase {
    /// Lines `$ resnet ...` in blocks fenced as `console`; output lines between them are passed over.
    private func commands(of page: String) throws -> [[String]] {
        let text = try String(contentsOfFile: "\(ToolFolder.repository)/\(page)", encoding: .utf8)
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

    private func runCommands(of page: String, atLeast least: Int) throws {
        let folder = try ToolFolder()
        let commands = try commands(of: page)
        XCTAssertGreaterThanOrEqual(commands.count, least)
        for command in commands {
            let result = try folder.resnet(command)
            XCTAssertEqual(result.status, 0, "resnet \(command.joined(separator: " ")): \(result.error)")
        }
    }

    func testCommandsOfTheReadmeRun() throws { try runCommands(of: "README.md", atLeast: 6) }
    func testCommandsOfTheCommandLinePageRun() throws { try runCommands(of: "docs/command-line.md", atLeast: 6) }
    func testCommandsOfTheTrainingPageRun() throws { try runCommands(of: "docs/training.md", atLeast: 3) }
}
