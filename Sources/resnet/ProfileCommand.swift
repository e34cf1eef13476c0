// resnet profile: where the time goes, layer by layer.

import ArgumentParser
import ResNetSwift

struct ProfileCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profile",
        abstract: "Times every layer: milliseconds, share, GFLOP/s, and the kernel that ran.",
        discussion: """
            Operations are counted as for a direct convolution, so Winograd may exceed the CPU's peak.

            EXAMPLES
              resnet profile --model resnet50
              resnet profile --weights resnet18.pth --batch 8 --threads 1 --accuracy strict
            """)

    @OptionGroup var model: AnyModelOptions
    @Option(name: .shortAndLong, help: ArgumentHelp("Pictures at a time.", valueName: "n"))
    var batch = 1
    @Option(help: ArgumentHelp("Runs to take the median of.", valueName: "n"))
    var repetitions = 20
    @OptionGroup var compute: ComputeOptions
    @Flag(help: "One JSON object a layer.")
    var json = false

    func validate() throws {
        try checkBatch(batch)
        guard 1...100_000 ~= repetitions else {
            throw ValidationError("--repetitions must be 1 to 100000, not \(repetitions).")
        }
    }

    func run() throws {
        let loaded = try model.load(compute, batch: batch)
        let plan = try loaded.plan()
        Terminal.note(try loaded.announcement(plan) + ", batch \(batch)")
        let timings = try plan.profile(repetitions: repetitions)
        guard json else { return Output.text(plan.table(timings)) }
        for timing in timings {
            Output.json(
                JSONValue(
                    ("step", .string(timing.step.name)), ("operations", .string(timing.step.operations)),
                    ("result", .string(timing.step.result)), ("kernel", .string(timing.step.kernel)),
                    ("ms", .number(timing.milliseconds)), ("gflops", .number(timing.gflops))
                ))
        }
    }
}
