// resnet classify: what is on these pictures?

import ArgumentParser
import Glibc
import ResNetSwift

struct ClassifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "classify",
        abstract: "Names what is in pictures.",
        discussion: """
            The model is inferred from the weights; transform and class names are the file's if it has any, otherwise \
            ImageNet's. Networks for several labels a picture give each label its own probability; labels above their threshold \
            are listed as present. Pictures that cannot be read are reported and skipped; the exit code is then 2.

            EXAMPLES
              resnet classify photo.jpg --weights resnet50.pth
              resnet classify photos/ more/*.png --weights resnet18.safetensors --top 3 --threads 2
              curl -s https://example.com/photo.jpg | resnet classify - --weights resnet50.pth
              find . -name '*.jpg' -print0 | resnet classify --files-from - -0 --weights resnet50.pth --json
              resnet classify photos/ --weights mine.npz --labels names.txt --json > results.jsonl
              resnet classify demo/digits --weights demo/digits.safetensors --top 1
            """)

    @OptionGroup var pictures: PictureOptions
    @OptionGroup var weights: WeightOptions
    @Option(
        help: ArgumentHelp(
            "Class names: one a line, a JSON list, or a JSON object such as id2label.", valueName: "file"))
    var labels: String?
    @Option(help: ArgumentHelp("How many classes to show.", valueName: "n"))
    var top = 5
    @OptionGroup var views: ViewOptions
    @OptionGroup var batch: BatchOptions
    @OptionGroup var compute: ComputeOptions
    @Flag(
        help: ArgumentHelp(
            "One JSON object a picture: path, model, top: [{class, index, probability}], with several labels present; "
                + "or path, error."))
    var json = false

    func validate() throws {
        guard !pictures.areMissing else { throw ValidationError("Give at least one picture or folder.") }
        guard top >= 1 else { throw ValidationError("--top must be at least 1, not \(top).") }
    }

    func run() throws {
        var options = compute.options(batch: batch.batch)
        if let labels {
            options.classNames = try readClassNames(labels)
            options.classNamesOrigin = labels
        }
        options.augmentation = views.tta
        let classifier = try pictures.load(weights, options)
        try classifier.requireHead()
        let found = try pictures.find()
        var runner = PictureRunner(classifier)
        let table = ScoreTable(paths: found.names, names: classifier.classNames)
        var isFirst = true
        var noNumbers = 0
        func skip(_ file: SkippedFile) {
            guard json else { return }
            Output.json(JSONValue(("path", .string(file.path.withoutRawBytes)), ("error", .string(file.reason))))
        }
        try runner.run(found, skip: skip) { paths, prediction, progress in
            progress.hide()
            if isFirst && !json { Output.text(table.header) }
            isFirst = false
            for (path, scores) in zip(paths, classifier.scores(prediction.logits, top: top)) {
                guard scores.allSatisfy({ !$0.probability.isNaN }) else {
                    let reason = "the network's output is no number: \(classifier.faultOfOutputs)"
                    Terminal.error("\(path): \(reason)")
                    skip(SkippedFile(path: path, reason: reason))
                    noNumbers += 1
                    continue
                }
                if json {
                    Output.json(object(path, classifier.name, scores))
                } else {
                    Output.text(table.rows(path, scores))
                }
            }
            fflush(nil)
        }
        try runner.finish(of: found.count, others: noNumbers)
    }

    private func object(_ path: String, _ model: String, _ scores: [Classifier.Score]) -> JSONValue {
        let top = scores.map { score in
            var members = [
                JSONMember(key: "class", value: .string(score.name)),
                JSONMember(key: "index", value: .integer(score.index)),
                JSONMember(key: "probability", value: .number(score.probability)),
            ]
            if let isPresent = score.isPresent {
                members.append(JSONMember(key: "present", value: .bool(isPresent)))
            }
            return JSONValue.object(members)
        }
        return JSONValue(("path", .string(path.withoutRawBytes)), ("model", .string(model)), ("top", .array(top)))
    }
}

/// The results as people read them: a line a class, the path on the first.
private struct ScoreTable {
    private let widths: [Int]
    private static let barWidth = 20

    init(paths: [String], names: [String]?) {
        let longestName = names?.map(TextTable.width).max() ?? "class 1000".count
        let longestPath = paths.map(TextTable.width).max() ?? 0
        widths = [min(max(longestPath, 7), 48), min(max(longestName, 5), 32), 7, Self.barWidth]
    }

    var header: String { line(["picture", "class", "score", ""]) }

    func rows(_ path: String, _ scores: [Classifier.Score]) -> String {
        scores.enumerated().map { position, score in
            line([
                position == 0 ? Self.shortened(path, to: widths[0]) : "", score.name,
                fixed(100 * score.probability, 2) + "%",
                Self.bar(score.probability) + (score.isPresent == true ? "  present" : ""),
            ])
        }.joined(separator: "\n")
    }

    private func line(_ cells: [String]) -> String { TextTable.line(cells, widths: widths, rightAligned: [2]) }

    /// The end of a path tells files apart.
    private static func shortened(_ path: String, to width: Int) -> String {
        let shown = path.escapedForTerminal
        return shown.terminalWidth <= width ? shown : "…" + shown.suffix(terminalWidth: width - 1)
    }

    /// In eighths of a character.
    private static func bar(_ share: Double) -> String {
        guard share.isFinite else { return "" }
        let eighths = Int((share * Double(barWidth * 8)).rounded())
        let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]
        return String(repeating: "█", count: eighths / 8) + rest
    }
}

extension JSONValue {
    /// An object; the order is kept.
    init(_ members: (String, JSONValue)...) {
        self = .object(members.map { JSONMember(key: $0.0, value: $0.1) })
    }
}
