// The history of a run and the files it is kept in. Files are written whole after each epoch: a run that is killed and
// resumed has every epoch in them once.
//
//     history.csv     epoch,learning_rate,loss,top1,top5,val_loss,val_top1,val_top5,skipped,seconds
//     history.jsonl   one object an epoch
//     history.svg     curves of loss and accuracy

import ResNetData
import ResNetSupport
import ResNetWeights

/// What the epochs of a run came to, and the files it is kept in.
public struct TrainingHistory: Sendable, Hashable {
    /// By epoch.
    public var records: [EpochRecord]
    /// Of top-k.
    public let k: Int
    /// Decides which epoch is the best.
    public let monitor: Monitor

    public init(records: [EpochRecord] = [], k: Int = 5, monitor: Monitor = .validationLoss) {
        self.records = records
        self.k = k
        self.monitor = monitor
    }

    /// The epoch with the best monitored value; of equals the first.
    public var best: EpochRecord? {
        var best: (record: EpochRecord, value: Double)?
        for record in records {
            guard let value = monitor.value(in: record), monitor.isBetter(value, than: best?.value) else { continue }
            best = (record, value)
        }
        return best?.record
    }

    private typealias Column = (name: String, label: String, value: (Scores) -> Double?)

    private var columns: [Column] {
        let all: [Column] = [
            ("loss", "loss", { $0.loss }), ("top1", "top-1", { $0.top1 }), ("top\(k)", "top-\(k)", { $0.topK }),
            ("f1", "macro F1", { $0.macroF1 }),
        ]
        let scores = records.map(\.training) + records.compactMap(\.validation)
        return all.filter { column in scores.contains { column.value($0) != nil } }
    }

    /// A line an epoch under a header; epochs count from 1.
    public var csv: String {
        let columns = columns
        let isValidated = records.contains { $0.validation != nil }
        var text = CSVTable.line(
            ["epoch", "learning_rate"] + columns.map(\.name) + (isValidated ? columns.map { "val_\($0.name)" } : [])
                + ["skipped", "seconds"])
        for record in records {
            func values(_ scores: Scores?) -> [String] {
                columns.map { column in scores.flatMap(column.value).map { "\($0)" } ?? "" }
            }
            text += CSVTable.line(
                ["\(record.epoch + 1)", "\(record.learningRate)"] + values(record.training)
                    + (isValidated ? values(record.validation) : []) + ["\(record.skipped)", fixed(record.seconds, 3)])
        }
        return text
    }

    /// An object an epoch; epochs count from 1.
    public var jsonLines: String { records.map { $0.json.text + "\n" }.joined() }

    /// The epochs that have the value; nil where none has.
    private func curve(
        _ name: String, isDashed: Bool = false, _ value: (EpochRecord) -> Double?
    ) -> LineChart.Series? {
        let points = records.compactMap { record in
            value(record).map { LineChart.Point(Double(record.epoch + 1), $0) }
        }
        return points.isEmpty ? nil : LineChart.Series(name: name, points: points, isDashed: isDashed)
    }

    /// Loss on the left, everything that should rise on the right.
    package func charts(title: String) -> [LineChart] {
        func series(_ column: Column) -> [LineChart.Series] {
            let parts: [(String, (EpochRecord) -> Scores?)] = [
                ("training", { $0.training }), ("validation", { $0.validation }),
            ]
            return parts.compactMap { part, scores in
                curve(column.name == "loss" ? part : "\(part) \(column.label)") { scores($0).flatMap(column.value) }
            }
        }
        let losses = columns.filter { $0.name == "loss" }
        let others = columns.filter { $0.name != "loss" }
        return [("loss", losses), (others.contains { $0.name == "f1" } ? "score" : "accuracy", others)].compactMap {
            label, columns in
            guard !columns.isEmpty else { return nil }
            var chart = LineChart(
                title: "\(title): \(label)", xLabel: "epoch", yLabel: label, series: columns.flatMap(series),
                hasWholeX: true)
            if let best { chart.mark = .init(x: Double(best.epoch + 1), text: "best \(monitor)") }
            return chart
        }
    }

    /// Writes the three files; the folder is made if it is not there.
    /// - Throws: `WeightFileError` where the folder or a file cannot be written.
    public func write(to folder: String, title: String) throws(WeightFileError) {
        try naming(folder) { () throws(FileFault) in try folder.makeFolder() }
        try writeText(csv, to: "\(folder)/history.csv")
        try writeText(jsonLines, to: "\(folder)/history.jsonl")
        if !records.isEmpty { try writeText(LineChart.svg(charts(title: title)), to: "\(folder)/history.svg") }
    }
}

extension TrainingHistory {
    /// The losses of several runs in one chart, those of training dashed, and their validation accuracies in another.
    package static func charts(comparing runs: [(name: String, history: TrainingHistory)], title: String) -> [LineChart]
    {
        func line(
            _ run: (name: String, history: TrainingHistory), _ part: String, _ value: (EpochRecord) -> Double?
        ) -> LineChart.Series? {
            run.history.curve("\(run.name) \(part)", isDashed: part == "training", value)
        }
        let losses =
            runs.compactMap { line($0, "validation") { $0.validation?.loss } }
            + runs.compactMap { line($0, "training") { $0.training.loss } }
        let accuracies = runs.compactMap { line($0, "validation") { $0.validation?.top1 } }
        return [("loss", losses), ("accuracy", accuracies)].filter { !$1.isEmpty }.map { label, series in
            LineChart(
                title: "\(title): \(label)", xLabel: "epoch", yLabel: label, series: series, hasWholeX: true)
        }
    }

    /// Writes one SVG file with the curves of several runs: losses on the left, validation accuracies on the right.
    /// - Parameter runs: each with its name in the legend; those without epochs are left out.
    /// - Throws: `WeightFileError` where the file cannot be written.
    public static func write(
        comparing runs: [(name: String, history: TrainingHistory)], to path: String, title: String
    ) throws(WeightFileError) {
        try writeText(LineChart.svg(charts(comparing: runs, title: title)), to: path)
    }
}

/// Writes a text file whole or not at all.
package func writeText(_ text: String, to path: String) throws(WeightFileError) {
    try naming(path) { () throws(FileFault) in
        let file = try AtomicFile(path)
        try file.write(Array(text.utf8))
        try file.commit()
    }
}

/// As `durationText`, with tenths below ten seconds: `0.4s`.
package func fineDurationText(_ seconds: Double) -> String {
    0..<9.95 ~= seconds ? "\(fixed(seconds, 1))s" : durationText(seconds)
}

/// `48s`, `1m 12s`, `2h 05m 09s`.
public func durationText(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds < 1e9 else { return "?" }
    let whole = Int(max(seconds, 0).rounded())
    func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
    if whole < 60 { return "\(whole)s" }
    if whole < 3600 { return "\(whole / 60)m \(two(whole % 60))s" }
    return "\(whole / 3600)h \(two(whole / 60 % 60))m \(two(whole % 60))s"
}
