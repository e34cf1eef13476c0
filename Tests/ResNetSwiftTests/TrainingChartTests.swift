// Curves as SVG, and the history's text files.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetTraining

#if canImport(FoundationXML)
    import FoundationXML
#endif

final class TrainingChartTests: XCTestCase {
    /// Texts, paths and circles of an SVG file.
    private final class Reader: NSObject, XMLParserDelegate {
        var texts: [String] = []
        var paths: [String] = []
        var circles = 0
        var isInText = false

        func parser(
            _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
            attributes: [String: String] = [:]
        ) {
            if name == "text" { texts.append("") }
            isInText = name == "text"
            if name == "path", attributes["stroke-width"] == "2" { paths.append(attributes["d"] ?? "") }
            if name == "circle" { circles += 1 }
        }

        func parser(_ parser: XMLParser, foundCharacters string: String) {
            if isInText { texts[texts.count - 1] += string }
        }

        func parser(
            _ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?
        ) { isInText = false }
    }

    private func read(_ svg: String, file: StaticString = #filePath, line: UInt = #line) -> Reader {
        let reader = Reader()
        let parser = XMLParser(data: Data(svg.utf8))
        parser.delegate = reader
        XCTAssertTrue(parser.parse(), "\(String(describing: parser.parserError))", file: file, line: line)
        return reader
    }

    private func line(_ values: [Double]) -> [LineChart.Point] {
        values.enumerated().map { .init(Double($0.offset + 1), $0.element) }
    }

    func testAChartHasTitleAxesLegendAndLines() {
        var chart = LineChart(
            title: "loss of <cats & dogs>", xLabel: "epoch", yLabel: "loss",
            series: [
                .init(name: "training", points: line([1, 0.5, 0.3])),
                .init(name: "validation", points: line([0.9, 0.6, .nan, 0.4, 0.35])),
            ], hasWholeX: true)
        chart.mark = .init(x: 2, text: "best")
        let found = read(LineChart.svg([chart]))
        for text in [
            "loss of <cats & dogs>", "epoch", "loss", "training", "validation", "best", "0.2", "1.0", "1", "5",
        ] {
            XCTAssertTrue(found.texts.contains(text), "\(text) in \(found.texts)")
        }
        XCTAssertEqual(found.paths.count, 3, "one line, and one broken in two")
        XCTAssertFalse(found.texts.contains("1.5"), "epochs are whole")
    }

    func testChartsOfOnePointNoneAndHugeNumbers() {
        func chart(_ points: [LineChart.Point], logarithmic: Bool = false) -> Reader {
            read(
                LineChart.svg([
                    LineChart(
                        title: "t", xLabel: "x", yLabel: "y", series: [.init(name: "s", points: points)],
                        hasLogarithmicX: logarithmic)
                ]))
        }
        XCTAssertEqual(chart([.init(1, 5)]).circles, 1)
        XCTAssertEqual(chart([]).paths, [])
        for points in [
            line([1e9, 3e9]), line([-1e-9, 2e-9]), line([0, 0]), line([.infinity, .nan]), [.init(-5, -7), .init(3, 1)],
        ] {
            XCTAssertFalse(chart(points).paths.contains { $0.contains("nan") || $0.contains("inf") })
        }
        let rates = chart([.init(1e-6, 1), .init(1e-3, 0.5), .init(0, 3), .init(10, 2)], logarithmic: true)
        XCTAssertTrue(rates.texts.contains("1e-6") && rates.texts.contains("0.01") && rates.texts.contains("1"))
    }

    func testTicksAreRound() {
        XCTAssertEqual(
            Axis([0.03, 0.97], isTight: false, isWhole: false, isLogarithmic: false).ticks.map { fixed($0, 1) },
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"])
        let epochs = Axis([1, 10], isTight: true, isWhole: true, isLogarithmic: false)
        XCTAssertEqual(epochs.ticks, [2, 4, 6, 8, 10])
        XCTAssertEqual(epochs.label(4), "4")
        XCTAssertEqual(Axis([1, 3], isTight: true, isWhole: true, isLogarithmic: false).ticks, [1, 2, 3])
    }

    private var history: TrainingHistory {
        TrainingHistory(
            records: (0..<3).map { epoch in
                EpochRecord(
                    epoch: epoch, learningRate: 0.1 / Double(epoch + 1),
                    training: Scores(loss: 1 / Double(epoch + 1), top1: 0.5, topK: 0.9),
                    validation: epoch == 1 ? nil : Scores(loss: 0.75, top1: 0.25, topK: 1), skipped: epoch,
                    seconds: 1.25)
            }, k: 3)
    }

    func testHistoryFiles() throws {
        XCTAssertEqual(
            history.csv,
            """
            epoch,learning_rate,loss,top1,top3,val_loss,val_top1,val_top3,skipped,seconds
            1,0.1,1.0,0.5,0.9,0.75,0.25,1.0,0,1.250
            2,0.05,0.5,0.5,0.9,,,,1,1.250
            3,0.03333333333333333,0.3333333333333333,0.5,0.9,0.75,0.25,1.0,2,1.250

            """)
        let lines = history.jsonLines.split(separator: "\n")
        XCTAssertEqual(lines.count, 3)
        for (line, record) in zip(lines, history.records) {
            XCTAssertEqual(EpochRecord(json: try JSONValue.parse(String(line))), record)
        }
        XCTAssertEqual(history.best?.epoch, 0)
        XCTAssertEqual(
            TrainingHistory(records: history.records, monitor: Monitor(.loss, ofValidation: false)).best?.epoch, 2)

        let charts = history.charts(title: "digits")
        XCTAssertEqual(charts.map(\.title), ["digits: loss", "digits: accuracy"])
        XCTAssertEqual(
            charts[1].series.map(\.name),
            ["training top-1", "validation top-1", "training top-3", "validation top-3"])
        XCTAssertEqual(charts[0].mark?.x, 1)
        let found = read(LineChart.svg(charts))
        XCTAssertEqual(found.texts.filter { $0 == "epoch" }.count, 2)
    }

    func testRunsSideBySide() throws {
        var short = history
        short.records.removeLast()
        let runs: [(name: String, history: TrainingHistory)] = [
            ("alexnet", history), ("googlenet", short), ("none", TrainingHistory()),
        ]
        let charts = TrainingHistory.charts(comparing: runs, title: "glomeruli")
        XCTAssertEqual(charts.map(\.title), ["glomeruli: loss", "glomeruli: accuracy"])
        XCTAssertEqual(
            charts[0].series.map(\.name),
            ["alexnet validation", "googlenet validation", "alexnet training", "googlenet training"])
        XCTAssertEqual(charts[0].series.map(\.isDashed), [false, false, true, true])
        XCTAssertEqual(charts[0].series.map(\.points.count), [2, 1, 3, 2])
        XCTAssertEqual(charts[1].series.map(\.points), [[.init(1, 0.25), .init(3, 0.25)], [.init(1, 0.25)]])

        let folder = try TemporaryFolder()
        try TrainingHistory.write(comparing: runs, to: "\(folder.path)/curves.svg", title: "glomeruli")
        let found = read(try String(contentsOfFile: "\(folder.path)/curves.svg", encoding: .utf8))
        XCTAssertEqual(found.texts.filter { $0 == "epoch" }.count, 2)
        XCTAssertTrue(found.texts.contains("googlenet validation"))
        XCTAssertThrowsError(
            try TrainingHistory.write(comparing: runs, to: "\(folder.path)/missing/curves.svg", title: "glomeruli"))
    }
}
