// resnet verify: can every picture of a folder be read?

import ArgumentParser
import ResNetSwift

struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Decodes every picture of a folder and lists those that cannot be read.",
        discussion: """
            Training skips broken pictures, and those of kinds that are not read, and counts them; this command finds them \
            beforehand. Damaged pictures decode, but not cleanly. No file is changed. The exit code is 2 if any picture is \
            broken.

            EXAMPLES
              resnet verify photos
              resnet verify photos --json | grep broken
            """)

    @Argument(help: ArgumentHelp("Searched with its subfolders.", valueName: "folder"))
    var folder: String

    @Option(help: ArgumentHelp("Decoding threads; 0 means the physical cores.", valueName: "n"))
    var workers = 0

    @Flag(help: "One JSON object a finding: path, state (broken, damaged), reason; and a last one with the counts.")
    var json = false

    func validate() throws {
        guard 0...256 ~= workers else { throw ValidationError("--workers must be 0 to 256, not \(workers).") }
    }

    func run() throws {
        var progress = Progress(total: 0, unit: "pictures")
        let check = try PictureCheck.run(folder: folder, threads: workers > 0 ? workers : Machine.defaultThreads) {
            done, count in
            if done == 0 { progress = Progress(total: count, unit: "pictures") }
            progress.advance(by: done - progress.done)
        }
        progress.hide()
        if let others = check.others { Terminal.note("\(folder): no pictures, passed over: \(others)") }
        guard check.count > 0 else { throw ToolError("\(folder): expected a folder with pictures, found none") }
        for (state, findings) in [("broken", check.broken), ("damaged", check.damaged)] {
            for finding in findings {
                guard json else {
                    Output.line("\(state)  \(finding.path): \(finding.reason)")
                    continue
                }
                Output.json(
                    JSONValue(
                        ("path", .string(finding.path.withoutRawBytes)), ("state", .string(state)),
                        ("reason", .string(finding.reason))))
            }
        }
        if json {
            Output.json(
                JSONValue(
                    ("pictures", .integer(check.count)), ("broken", .integer(check.broken.count)),
                    ("damaged", .integer(check.damaged.count))
                ))
        } else {
            let rest = check.count - check.broken.count - check.damaged.count
            Output.line(
                "\(check.count) pictures: \(rest) sound, \(check.damaged.count) damaged, \(check.broken.count) broken")
        }
        if !check.broken.isEmpty { throw ExitCode(2) }
    }
}
