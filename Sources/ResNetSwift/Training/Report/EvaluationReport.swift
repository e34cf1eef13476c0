// report.html: what a training or an evaluation came to, as a page to look at.

import ResNetData
import ResNetGraph
import ResNetSupport
import ResNetWeights

/// What a training or an evaluation came to, as one page of HTML that opens offline.
package struct EvaluationReport {
    /// Such as `resnet18 on photos`.
    package var title: String
    /// The weights, and what they were scored on.
    package var lead: String
    package var evaluation: Evaluation
    /// What was evaluated.
    package var slice: DatasetSlice
    /// Of the evaluation.
    package var transform: ImageTransform
    /// Of the training, if there was one.
    package var history: TrainingHistory?
    package var topK: Int
    /// What else is worth knowing: name and value.
    package var facts: [(name: String, value: String)] = []
    /// Commands that do it again.
    package var commands: [String] = []
    /// The picture as the network sees it, with where a class (or label) comes from in color; nil where that cannot be told.
    package var heat: (_ picture: Picture, _ index: Int) -> Picture? = { _, _ in nil }

    package init(
        title: String, lead: String, evaluation: Evaluation, slice: DatasetSlice, transform: ImageTransform, topK: Int
    ) {
        self.title = title
        self.lead = lead
        self.evaluation = evaluation
        self.slice = slice
        self.transform = transform
        self.topK = topK
    }

    /// Writes the page.
    /// - Throws: `WeightFileError` where the file cannot be written.
    package func write(to path: String) throws(WeightFileError) { try writeText(html, to: path) }

    var html: String {
        var page = ReportPage(title: title, lead: lead)
        page.numbers(numbers)
        if let history, !history.records.isEmpty { page.section("Training", curves(history)) }
        addConfusions(to: &page)
        page.section("Scores by class", classTable)
        addRanking(to: &page)
        addCalibration(to: &page)
        addPictures(to: &page)
        addFacts(to: &page)
        return page.html
    }

    // MARK: - Numbers

    private var calibration: Reliability {
        let answers = evaluation.outcomes.answers
        guard evaluation.isMultiLabel else {
            return Reliability(
                confidences: answers.map(\.confidence), isRight: answers.map { $0.actual == $0.predicted })
        }
        // Of each label, whether it is present.
        return Reliability(
            confidences: evaluation.outcomes.probabilities.map(Float.init), isRight: evaluation.outcomes.present)
    }

    private var numbers: [(name: String, value: String)] {
        let scores = evaluation.scores
        var values: [(name: String, value: String)] = []
        if let top1 = scores.top1 { values.append((evaluation.isMultiLabel ? "labels right" : "top-1", percent(top1))) }
        if let k = scores.topK, topK < evaluation.classNames.count { values.append(("top-\(topK)", percent(k))) }
        values.append(("macro F1", fixed(evaluation.macroF1, 4)))
        values.append(("loss", fixed(scores.loss, 4)))
        values.append(("calibration error", percent(calibration.expectedError)))
        values.append(("pictures", (slice.count - evaluation.skipped.count).grouped))
        if !evaluation.skipped.isEmpty { values.append(("left out", evaluation.skipped.count.grouped)) }
        return values
    }

    private func curves(_ history: TrainingHistory) -> String {
        let rates = history.records.map { LineChart.Point(Double($0.epoch + 1), $0.learningRate) }
        let rate = LineChart(
            title: "learning rate", xLabel: "epoch", yLabel: "learning rate",
            series: [LineChart.Series(name: "learning rate", points: rates)], hasWholeX: true)
        return ReportPage.row((history.charts(title: "training") + [rate]).map { ($0.yLabel, $0.element()) })
    }

    private var classTable: String {
        let limits = evaluation.thresholds?.values
        let rows = evaluation.labels.enumerated().map { index, counts -> [ReportPage.Cell] in
            [
                .text(evaluation.classNames[index]), .bar(counts.precision), .bar(counts.recall), .bar(counts.f1),
                .number(counts.support.grouped),
            ] + (limits.map { [.number(fixed($0[index], 3))] } ?? [])
        }
        let header =
            [evaluation.isMultiLabel ? "label" : "class", "precision", "recall", "F1", "pictures"]
            + (limits == nil ? [] : ["threshold"])
        let table = ReportPage.table(header, rows)
        guard rows.count > 40 else { return table }
        let worst = evaluation.labels.indices.filter { evaluation.labels[$0].support > 0 }
            .sorted { (evaluation.labels[$0].f1, $0) < (evaluation.labels[$1].f1, $1) }.prefix(20)
        return "<p class=\"note\">The 20 with the lowest F1; all below.</p>\n"
            + ReportPage.table(header, worst.map { rows[$0] })
            + ReportPage.folded("all \(rows.count.grouped) classes", table)
    }

    // MARK: - Sections

    private func addConfusions(to page: inout ReportPage) {
        guard let confusion = evaluation.confusion else { return }
        let pairs = confusion.confusions(limit: 10).map { pair -> [ReportPage.Cell] in
            [
                .text(confusion.classNames[pair.actual]), .text(confusion.classNames[pair.predicted]),
                .number(pair.count.grouped),
            ]
        }
        var parts: [(caption: String, html: String)] = []
        if let drawing = confusion.drawing() {
            parts.append(("Rows are what the pictures show, columns what they were taken for.", drawing))
        }
        if !pairs.isEmpty {
            parts.append(("Most frequent", ReportPage.table(["class", "taken for", "pictures"], pairs)))
        }
        let html = confusion.isWide ? parts.map { ReportPage.row([$0]) }.joined(separator: "\n") : ReportPage.row(parts)
        page.section("Confusions", html)
    }

    /// For yes and no, and for each of several labels.
    private func addRanking(to page: inout ReportPage) {
        let curves = rankings.filter(\.curves.isDefined)
        guard let worst = curves.min(by: { $0.curves.area < $1.curves.area }) else { return }
        let shown = curves.count <= 6 ? curves : [worst]
        var roc = LineChart(
            title: "ROC", xLabel: "false positive rate", yLabel: "true positive rate",
            series: shown.map { .init(name: "\($0.name), \(fixed($0.curves.area, 4))", points: $0.curves.roc) })
        roc.series.append(.init(name: "chance, 0.5", points: [.init(0, 0), .init(1, 1)], isDashed: true))
        roc.hasUnitAxes = true
        var precision = LineChart(
            title: "precision and recall", xLabel: "recall", yLabel: "precision",
            series: shown.map {
                .init(name: "\($0.name), \(fixed($0.curves.averagePrecision, 4))", points: $0.curves.precisionRecall)
            })
        precision.hasUnitAxes = true
        var html = ReportPage.row([
            ("ROC; the number is the area below", roc.element()),
            ("Precision and recall; the number is the average precision", precision.element()),
        ])
        if curves.count > shown.count {
            let rows = curves.map { curve -> [ReportPage.Cell] in
                [.text(curve.name), .bar(curve.curves.area), .bar(curve.curves.averagePrecision)]
            }
            html += ReportPage.folded(
                "all \(curves.count) labels; the curves are of \(worst.name), the worst",
                ReportPage.table(["label", "area below ROC", "average precision"], rows))
        }
        page.section("Ranking", html)
    }

    private var rankings: [(name: String, curves: RankingCurves)] {
        let (outcomes, names) = (evaluation.outcomes, evaluation.classNames)
        if evaluation.isMultiLabel {
            let rows = outcomes.probabilities.count / max(names.count, 1)
            return names.indices.map { label in
                let places = (0..<rows).map { $0 * names.count + label }
                return (
                    names[label],
                    RankingCurves(
                        scores: places.map { outcomes.probabilities[$0] },
                        isPositive: places.map { outcomes.present[$0] })
                )
            }
        }
        guard names.count == 2 else { return [] }
        let scores = outcomes.answers.map { Double($0.actual == 1 ? $0.share : 1 - $0.share) }
        return [(names[1], RankingCurves(scores: scores, isPositive: outcomes.answers.map { $0.actual == 1 }))]
    }

    private func addCalibration(to page: inout ReportPage) {
        let bins = calibration.bins.filter { $0.count > 0 }
        guard !bins.isEmpty else { return }
        let isMulti = evaluation.isMultiLabel
        var chart = LineChart(
            title: "calibration", xLabel: isMulti ? "stated probability" : "confidence",
            yLabel: isMulti ? "part present" : "part right",
            series: [
                .init(name: "this network", points: bins.map { .init($0.confidence, $0.accuracy) }),
                .init(name: "as it should be", points: [.init(0, 0), .init(1, 1)], isDashed: true),
            ])
        chart.hasUnitAxes = true
        let rows = bins.map { bin -> [ReportPage.Cell] in
            [.bar(bin.confidence), .bar(bin.accuracy), .number(bin.count.grouped)]
        }
        page.section(
            "Calibration",
            ReportPage.row([
                ("Above the dashed line it is too modest, below it too sure.", chart.element()),
                (
                    "In bins of equal width",
                    ReportPage.table([chart.xLabel, chart.yLabel, isMulti ? "answers" : "pictures"], rows)
                ),
            ]),
            note: "Expected calibration error: \(percent(calibration.expectedError))")
    }

    private func addPictures(to page: inout ReportPage) {
        let isMulti = evaluation.isMultiLabel
        let outcomes = evaluation.outcomes
        let choice =
            isMulti
            ? ReportChoice(outcomes, classNames: evaluation.classNames, thresholds: evaluation.thresholds)
            : ReportChoice(outcomes, classNames: evaluation.classNames)
        let pictures = ReportPictures(dataset: slice.dataset, transform: transform, heat: heat)
        if let (figures, hasHeat) = pictures.figures(choice.mostWrong) {
            let colors = " In color: what speaks for the \(isMulti ? "label" : "answer")."
            page.section(
                "Most wrong", figures,
                note: "As the network sees them: what it says, and what it should say.\(hasHeat ? colors : "")")
        }
        if let (figures, _) = pictures.figures(choice.leastSure) {
            page.section(
                "Least sure", figures,
                note: isMulti
                    ? "A label is nearest to its threshold." : "The two best classes are nearest to each other.")
        }
    }

    private func addFacts(to page: inout ReportPage) {
        if !facts.isEmpty {
            page.section("Settings", ReportPage.list(facts))
        }
        if !commands.isEmpty {
            page.section("How to repeat it", ReportPage.commands(commands))
        }
    }
}
