// Data sets from folders, tables and arrays.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetData

final class DatasetTests: XCTestCase {
    private func write(_ text: String, to path: String) throws {
        let url = URL(fileURLWithPath: path)
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
    }

    private func classes(_ dataset: Dataset) -> [Int]? {
        if case .classes(let labels) = dataset.labels { labels } else { nil }
    }

    private func files(_ dataset: Dataset) -> [String]? {
        if case .files(let paths) = dataset.source { paths } else { nil }
    }

    private func assertFails<T>(
        _ expected: String, _ body: @autoclosure () throws -> T, file: StaticString = #filePath, line: UInt = #line
    ) {
        XCTAssertThrowsError(try body(), file: file, line: line) { error in
            XCTAssert("\(error)".contains(expected), "\(error)", file: file, line: line)
        }
    }

    // MARK: - Folders

    func testImageFolderSortsClassesAndTakesPicturesOfSubfolders() throws {
        try PictureFixtures.withFolder { root in
            for path in ["dog/2.PNG", "dog/1.jpg", "cat/more/9.jpeg", "Zebra/1.jpg", "dog/notes.txt", "stray.png"] {
                try write("", to: "\(root)/\(path)")
            }
            try write("", to: "\(root)/.cache/hidden.jpg")
            let dataset = try Dataset.imageFolder(root)
            XCTAssertEqual(dataset.classNames, ["Zebra", "cat", "dog"])
            XCTAssertEqual(classes(dataset), [0, 1, 2, 2])
            XCTAssertEqual(
                files(dataset), ["Zebra/1.jpg", "cat/more/9.jpeg", "dog/1.jpg", "dog/2.PNG"].map { "\(root)/\($0)" })
            XCTAssert(dataset.notes.contains { $0.contains("stray.png") }, "\(dataset.notes)")
        }
    }

    func testImageFolderFollowsTheClassesOfANetwork() throws {
        try PictureFixtures.withFolder { root in
            try write("", to: "\(root)/dog/1.jpg")
            try write("", to: "\(root)/bird/1.jpg")
            let dataset = try Dataset.imageFolder(root, classNames: ["dog", "cat", "bird"])
            XCTAssertEqual(dataset.classNames, ["dog", "cat", "bird"])
            XCTAssertEqual(classes(dataset), [0, 2])
            assertFails("'bird'", try Dataset.imageFolder(root, classNames: ["dog", "cat"]))
        }
    }

    func testImageFolderFaults() throws {
        try PictureFixtures.withFolder { root in
            assertFails("no folders", try Dataset.imageFolder(root))
            assertFails("No such file", try Dataset.imageFolder("\(root)/nowhere"))
            try write("", to: "\(root)/cat/readme.txt")
            try write("", to: "\(root)/dog/1.jpg")
            assertFails("\(root)/cat: expected pictures", try Dataset.imageFolder(root))
        }
    }

    func testSplitFoldersAreFound() throws {
        try PictureFixtures.withFolder { root in
            try write("", to: "\(root)/train/cat/1.jpg")
            XCTAssertNil(try Dataset.splitFolders(root))
            try write("", to: "\(root)/valid/cat/1.jpg")
            let folders = try XCTUnwrap(try Dataset.splitFolders(root))
            XCTAssertEqual(folders.training, "\(root)/train")
            XCTAssertEqual(folders.validation, "\(root)/valid")
        }
    }

    // MARK: - Tables

    func testTableQuotingAndLineEnds() throws {
        let text = "\u{feff}path,label\r\n\"a,b.png\",\"say \"\"cat\"\"\"\r\n\r\n\"two\nlines.png\",\nlast.png,x"
        let table = try CSVTable(text: Array(text.utf8), path: "t.csv")
        XCTAssertEqual(table.header, ["path", "label"])
        XCTAssertEqual(
            table.rows.map(\.fields), [["a,b.png", "say \"cat\""], ["two\nlines.png", ""], ["last.png", "x"]])
        XCTAssertEqual(table.rows.map(\.line), [2, 4, 6])
    }

    func testWhatIsQuotedIsReadBack() throws {
        let fields = ["plain", "a,b", "say \"x\"", "two\nlines", "\r", "", " spaced "]
        let text = CSVTable.line(["h1", "h2", "h3", "h4", "h5", "h6", "h7"]) + CSVTable.line(fields)
        XCTAssertEqual(try CSVTable(text: Array(text.utf8), path: "t.csv").rows.map(\.fields), [fields])
    }

    func testTableFaultsNameTheLine() {
        func table(_ text: String) throws -> CSVTable { try CSVTable(text: Array(text.utf8), path: "t.csv") }
        assertFails("t.csv, line 3: expected 2 fields, found 3", try table("a,b\n1,2\n1,2,3\n"))
        assertFails("t.csv, line 2: expected a closing quote", try table("a,b\n\"1,2\n3,4\n"))
        assertFails("t.csv, line 2: expected a comma after the quote", try table("a,b\n\"1\"x,2\n"))
        assertFails("t.csv, line 1: expected a header", try table(""))
        XCTAssertThrowsError(try CSVTable(text: [0x61, 0x2c, 0xff, 0x0a], path: "t.csv"))
    }

    func testClassesOfATable() throws {
        try PictureFixtures.withFolder { root in
            try write("label,path\ndog,1.jpg\ncat,sub/2.png\ndog,/abs/3.jpg\n", to: "\(root)/t.csv")
            let dataset = try Dataset.csv("\(root)/t.csv", labels: .classes)
            XCTAssertEqual(dataset.classNames, ["cat", "dog"])
            XCTAssertEqual(classes(dataset), [1, 0, 1])
            XCTAssertEqual(files(dataset), ["\(root)/1.jpg", "\(root)/sub/2.png", "/abs/3.jpg"])

            try write("file,class\n1.jpg,10\n2.jpg,9\n3.jpg,10\n", to: "\(root)/n.csv")
            let numbers = try Dataset.csv("\(root)/n.csv", labels: .classes, root: "/data")
            XCTAssertEqual(numbers.classNames, ["9", "10"])
            XCTAssertEqual(classes(numbers), [1, 0, 1])
            XCTAssertEqual(files(numbers)?.first, "/data/1.jpg")
        }
    }

    func testSeveralLabelsOfATable() throws {
        try PictureFixtures.withFolder { root in
            try write("path,labels\n1.png,16 0\n2.png,\n3.png, 3  3 1 \n", to: "\(root)/t.csv")
            let dataset = try Dataset.csv("\(root)/t.csv", labels: .multiLabel())
            XCTAssertEqual(dataset.labels, .multiLabel([[0, 16], [], [1, 3]]))
            XCTAssertEqual(dataset.classNames.count, 17)
            assertFails(
                "line 2: expected label numbers in 0..<16, with spaces between, found '16'",
                try Dataset.csv("\(root)/t.csv", labels: .multiLabel(count: 16)))
        }
    }

    func testTableOfPicturesFaults() throws {
        try PictureFixtures.withFolder { root in
            let path = "\(root)/t.csv"
            func dataset(_ text: String, _ kind: Dataset.LabelColumn = .classes) throws -> Dataset {
                try write(text, to: path)
                return try Dataset.csv(path, labels: kind)
            }
            assertFails("line 1: expected a header", try dataset("1.jpg,cat\n2.jpg,dog\n"))
            assertFails("expected a column of paths and one of labels", try dataset("path\n1.jpg\n"))
            assertFails("line 3: expected a class, found an empty field", try dataset("path,label\n1.jpg,a\n2.jpg,\n"))
            assertFails("line 2: expected the path of a picture", try dataset("path,label\nnumber one,a\n"))
            assertFails("line 2: expected label numbers", try dataset("path,labels\n1.jpg,a b\n", .multiLabel()))
            assertFails("line 2: expected a picture", try dataset("path,label\n"))
            assertFails("nowhere.csv", try Dataset.csv("\(root)/nowhere.csv", labels: .classes))
        }
    }

    func testProteinAtlasStacksItsStains() throws {
        try PictureFixtures.withFolder { root in
            try write("Id,Target\naa-1,16 0\n", to: "\(root)/train.csv")
            for (index, stain) in ["red", "green", "blue", "yellow"].enumerated() {
                let gray = Picture(
                    height: 2, width: 3, channels: 1, pixels: Array(repeating: UInt8(index * 10), count: 6))
                try gray.writePNG(to: "\(root)/aa-1_\(stain).png")
            }
            let four = try Dataset.proteinAtlas("\(root)/train.csv", folder: root)
            XCTAssertEqual(four.labels, .multiLabel([[0, 16]]))
            XCTAssertEqual(four.classNames.count, 28)
            let transform = ImageTransform(channels: 4, steps: [.toFloat])
            XCTAssertEqual(
                try four.picture(0, for: transform).pixels, Array(repeating: [0, 10, 20, 30], count: 6).flatMap { $0 })
            let three = try Dataset.proteinAtlas("\(root)/train.csv", folder: root, channels: 3)
            XCTAssertEqual(try three.picture(0, for: ImageTransform(steps: [.toFloat])).channels, 3)
        }
    }

    // MARK: - Arrays

    /// Data set files that NumPy wrote (scripts/make_training_fixtures.py).
    private func fixture(_ name: String) -> String { TrainingFixtures.path(name) }

    func testBytesFromNumPy() throws {
        let arrays = try Dataset.arrays(npz: fixture("bytes_gray.npz"))
        XCTAssertNil(arrays.validation)
        guard case .pictures(let images) = arrays.training.source else { return XCTFail("no pictures") }
        XCTAssertEqual([images.count, images.height, images.width, images.channels], [5, 2, 3, 1])
        XCTAssertEqual(images.pixels, (0..<30).map { UInt8($0 * 7) })
        XCTAssertEqual(classes(arrays.training), [0, 2, 1, 2, 0])
        XCTAssertEqual(arrays.training.classNames, ["0", "1", "2"])
    }

    func testKerasPairsDeflated() throws {
        let arrays = try Dataset.arrays(npz: fixture("keras_pairs.npz"))
        guard case .pictures(let images) = arrays.training.source else { return XCTFail("no pictures") }
        XCTAssertEqual([images.count, images.height, images.width, images.channels], [4, 3, 2, 3])
        XCTAssertEqual(images.pixels, (0..<72).map { UInt8($0 * 3) })
        XCTAssertEqual(arrays.validation?.count, 2)
        XCTAssertEqual(arrays.validation?.classNames, ["0", "1"])
    }

    func testFloatsAndSeveralLabelsFromNumPy() throws {
        let dataset = try Dataset.arrays(npz: fixture("floats_multi.npz")).training
        guard case .floats(let tensor) = dataset.source else { return XCTFail("no floats") }
        XCTAssertEqual(tensor.shape, [3, 2, 2, 2])
        XCTAssertEqual(tensor.values, (0..<24).map { Float($0) / 8 })
        XCTAssertEqual(dataset.labels, .multiLabel([[0, 2], [], [1]]))
    }

    func testBytesWithTheirChannelsFirstFromNumPy() throws {
        let dataset = try Dataset.arrays(npz: fixture("channels_first.npz")).training
        guard case .pictures(let images) = dataset.source else { return XCTFail("no pictures") }
        XCTAssertEqual([images.count, images.height, images.width, images.channels], [2, 32, 32, 3])
    }

    func testArrayFaults() throws {
        assertFails("expected arrays `images` and `labels`", try Dataset.arrays(npz: fixture("other_names.npz")))
        assertFails("labels for 5 pictures", try Dataset.arrays(npz: fixture("too_few_labels.npz")))
        assertFails("finite values", try Dataset.arrays(npz: fixture("nan.npz")))
        assertFails(
            "class numbers below 2", try Dataset.arrays(npz: fixture("bytes_gray.npz"), classNames: ["a", "b"]))
    }
}
