// From logits to class names, and the numbers and tables that people read.

import ResNetSwift
import XCTest

final class ClassScoresTests: XCTestCase {
    private let network = CIFARResNetConfig.resnet14.graph(classes: 4, inputChannels: 1)

    func testSoftmaxOfEachRow() {
        let logits = Tensor(shape: [2, 4], values: [0, 1, 2, 3, 1000, -1000, 1000, 0])
        let scores = network.topScores(logits, count: 3)
        XCTAssertEqual(scores[0].map(\.index), [3, 2, 1])
        // exp(3) / (1 + e + e^2 + e^3) and its neighbors, from their definition.
        for (score, expected) in zip(scores[0], [0.643_914_26, 0.236_882_82, 0.087_144_32]) {
            XCTAssertEqual(score.probability, expected, accuracy: 1e-8)
        }
        // No overflow, and of equals the lower index first.
        XCTAssertEqual(scores[1].map(\.index), [0, 2, 1])
        XCTAssertEqual(scores[1].map(\.probability), [0.5, 0.5, 0])
    }

    func testSigmoidWhereTheNetworkEndsInOne() throws {
        let graph = GoogLeNet.graph(classes: 2, sigmoid: true)
        let scores = graph.topScores(Tensor(shape: [1, 2], values: [0, 2]), count: 9)
        XCTAssertEqual(scores[0].map(\.index), [1, 0])
        XCTAssertEqual(scores[0][0].probability, 0.880_797_08, accuracy: 1e-8)
        XCTAssertEqual(scores[0][1].probability, 0.5)
    }

    func testSigmoidWhereLabelsAreIndependent() throws {
        let scores = network.topScores(Tensor(shape: [1, 4], values: [0, 2, -2, 1]), count: 2, areIndependent: true)
        XCTAssertEqual(scores[0].map(\.index), [1, 3])
        XCTAssertEqual(scores[0][0].probability, 0.880_797_08, accuracy: 1e-8)
        XCTAssertEqual(scores[0][1].probability, 0.731_058_58, accuracy: 1e-8)
    }

    func testNotANumberGoesLast() {
        let graph = GoogLeNet.graph(classes: 3, sigmoid: true)
        let scores = graph.topScores(Tensor(shape: [1, 3], values: [.nan, -50, 1]), count: 3)
        XCTAssertEqual(scores[0].map(\.index), [2, 1, 0])
        XCTAssertTrue(scores[0][2].probability.isNaN)
    }

    func testTheNamesOfImageNet() {
        XCTAssertEqual(ImageNet.classNames.count, 1000)
        XCTAssertEqual(Set(ImageNet.classNames).count, 1000)
        XCTAssertEqual(ImageNet.classNames[0], "tench")
        XCTAssertEqual(ImageNet.classNames[281], "tabby")
        XCTAssertEqual(ImageNet.classNames[999], "toilet tissue")
        XCTAssertFalse(ImageNet.classNames.contains { $0.isEmpty || $0.first == " " || $0.last == " " })
    }

    func testNumbersWithFixedPlaces() {
        for (value, places, text) in [
            (0, 0, "0"), (0, 2, "0.00"), (1.005, 1, "1.0"), (0.05, 1, "0.1"), (-0.004, 2, "0.00"), (-1.5, 2, "-1.50"),
            (99.996, 2, "100.00"), (0.5, 0, "1"), (1234567.891, 3, "1234567.891"), (.infinity, 2, "inf"),
            (.nan, 2, "nan"),
            (1e300, 2, "1e+300"),
        ] as [(Double, Int, String)] {
            XCTAssertEqual(fixed(value, places), text)
        }
    }

    func testATableAlignsItsColumns() {
        var table = TextTable(["name", "ms", ""], rightAligned: [1])
        table.rows.append(["a", "10.5", "x"])
        table.rows.append(["longer", "1", ""])
        XCTAssertEqual(table.text, "name      ms\na       10.5  x\nlonger     1")
    }

    /// Columns of a terminal: two for wide characters, none for marks, and what is escaped as it is shown.
    func testATableAlignsNamesOfAllScripts() {
        var table = TextTable(["name", "n"])
        for (name, columns) in [
            ("plain", 5), ("日本", 4), ("ｆｕ", 4), ("e\u{301}te\u{301}", 3), ("ไทย", 3), ("กี่", 1), ("한", 2), ("😀", 2),
            ("a\tb", 4), ("\u{1b}[2J", 7), ("\u{202e}x", 7), ("é", 1), ("日\u{200b}", 2), ("\u{10fee9}", 4),
        ] {
            XCTAssertEqual(TextTable.width(name), columns, name.escapedForTerminal)
            table.rows.append([name, "1"])
        }
        for line in table.lines.dropFirst() { XCTAssertEqual(line.terminalWidth, 7 + 2 + 1, line) }
        XCTAssertEqual("写真.png".suffix(terminalWidth: 5), ".png")
        XCTAssertEqual("写真.png".suffix(terminalWidth: 6), "真.png")
        XCTAssertEqual("写真".suffix(terminalWidth: 9), "写真")
        XCTAssertEqual("写真".suffix(terminalWidth: 1), "")
    }

    func testAModelThatNobodyPublishedOpensFromItsFile() throws {
        let folder = try TemporaryFolder()
        let graph = try CIFARResNetConfig(nBlocks: [1, 2, 1], channels: [8, 12, 20]).graph(classes: 3, inputChannels: 2)
        let model = Model.initialized(graph, seed: 4)
        try model.save(to: "\(folder.path)/small.npz")
        let file = try WeightFile.open("\(folder.path)/small.npz")
        let found = try Model(from: file)
        XCTAssertEqual(found.graph, graph)
        XCTAssertEqual(found.metadata["model"], "CIFARResNet")
        XCTAssertTrue(file.report(for: graph).isComplete)
        let other = CIFARResNetConfig.resnet14.graph(classes: 3, inputChannels: 2)
        XCTAssertFalse(file.report(for: other).isComplete)

        let deep = try ResNetConfig(block: .bottleneck, nBlocks: [1, 1, 2, 1]).graph(classes: 3, inputChannels: 3)
        try Model.initialized(deep, seed: 4).save(to: "\(folder.path)/deep.safetensors")
        XCTAssertEqual(try Model(from: WeightFile.open("\(folder.path)/deep.safetensors")).graph, deep)
    }
}
