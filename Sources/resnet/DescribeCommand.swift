// resnet describe: what a plan will do, without running it.

import ArgumentParser
import ResNetSwift

struct DescribeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "describe",
        abstract: "Shows the plan: what is fused, which kernel runs, where results lie, how much memory.",
        discussion: """
            EXAMPLES
              resnet describe --model resnet50
              CK_ISA=avx2 resnet describe --weights resnet18.pth --batch 32 --threads 1
            """)

    @OptionGroup var model: AnyModelOptions
    @Option(name: .shortAndLong, help: ArgumentHelp("Pictures at a time.", valueName: "n"))
    var batch = 1
    @OptionGroup var compute: ComputeOptions

    func validate() throws { try checkBatch(batch) }

    func run() throws {
        let loaded = try model.load(compute, batch: batch)
        let plan = try loaded.plan()
        Output.text(plan.describe())
    }
}
