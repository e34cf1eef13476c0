// resnet lr-find: which learning rate should training begin with?

import ArgumentParser
import ResNetSwift

struct LearningRateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lr-find",
        abstract: "Tries learning rates, from tiny to too large, and suggests one.",
        discussion: """
            Trains for some updates while the learning rate rises exponentially. The suggestion is the rate at which the smoothed loss \
            falls fastest. Only a picture of the search is written. Data, model and optimizer are given as for `train`.

            EXAMPLES
              resnet lr-find photos --weights resnet18.pth --freeze allButHead
              resnet lr-find digits.npz --model cifar_resnet20 --optimizer adamw --out search.svg
            """)

    @OptionGroup var inputs: TrainingInputs
    @Option(help: ArgumentHelp("The first learning rate.", valueName: "r"))
    var from = 1e-6
    @Option(help: ArgumentHelp("The last learning rate.", valueName: "r"))
    var to = 10.0
    @Option(help: ArgumentHelp("Most updates; the search ends sooner if the loss explodes.", valueName: "n"))
    var updates = 100
    @Option(name: .shortAndLong, help: ArgumentHelp("The picture of the search.", valueName: "svg"))
    var out = "lr-find.svg"
    @Flag(help: "Every rate with its loss, too.")
    var table = false
    @Flag(help: "One JSON object: suggestion, rates, losses, smoothed, skipped.")
    var json = false

    func validate() throws {
        guard from > 0, to > from, to.isFinite else {
            throw ValidationError("--from must be positive and below --to, not \(from) and \(to).")
        }
        guard 2...1_000_000 ~= updates else { throw ValidationError("--updates must be at least 2, not \(updates).") }
    }

    func run() throws {
        let setup = try TrainingSetup(inputs)
        for note in setup.notes + setup.data.training.dataset.notes { Terminal.note(note) }
        reportSkipped(setup.skipped)
        Interruption.watch()
        var progress = Progress(total: updates, unit: "updates")
        let found = try LearningRateFinder.run(
            setup.backend, data: setup.data, from: from, to: to, updates: updates, seed: inputs.split.seed,
            progress: { done, _ in progress.advance(by: done - progress.done) },
            stopRequested: { Interruption.isRequested })
        progress.hide()
        if let signal = Interruption.signal {
            Terminal.note("stopped after \(found.points.count) of \(updates) updates; nothing was written")
            throw ExitCode(128 + signal)
        }
        try writeText(found.svg, to: out)
        if json {
            func list(_ value: (LearningRateFinder.Point) -> Double) -> JSONValue {
                .array(found.points.map { .number(value($0)) })
            }
            Output.json(
                JSONValue(
                    ("suggestion", found.suggestion.map(JSONValue.number) ?? .null), ("rates", list(\.learningRate)),
                    ("losses", list(\.loss)), ("smoothed", list(\.smoothed)),
                    ("skipped", skippedJSON(found.skipped, of: [setup.data.training.dataset], and: setup.skipped))
                ))
        } else if table {
            Output.text(found.table)
        }
        Terminal.note("\(found.points.count) updates; \(out) shows the loss over the rate")
        guard let suggestion = found.suggestion else {
            throw ToolError(
                "the loss never fell between \(rateText(from)) and \(rateText(to)); try other rates or a larger --batch"
            )
        }
        if !json { Output.text("suggested learning rate: \(rateText(suggestion)), where the loss falls fastest") }
        try end(found, setup)
    }

    private func end(_ found: LearningRateFinder, _ setup: TrainingSetup) throws {
        reportSkipped(found.skipped)
        if !found.skipped.isEmpty || !setup.skipped.isEmpty { throw ExitCode(2) }
    }
}
