// Tables of pictures as people download them: columns of zeros and ones, names of several labels, other separators.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetData

final class DatasetTableTests: XCTestCase {
    private func parts(
        _ text: String, _ kind: Dataset.LabelColumn = .classes, classNames: [String]? = nil
    ) throws -> DatasetParts {
        try parts(bytes: Array(text.utf8), kind, classNames: classNames)
    }

    private func parts(
        bytes: [UInt8], _ kind: Dataset.LabelColumn = .classes, classNames: [String]? = nil
    ) throws -> DatasetParts {
        var result: DatasetParts?
        try PictureFixtures.withFolder { root in
            try Data(bytes).write(to: URL(fileURLWithPath: "\(root)/t.csv"))
            result = try Dataset.csvParts("\(root)/t.csv", labels: kind, root: "/d", classNames: classNames)
        }
        return try XCTUnwrap(result)
    }

    private func assertFails<T>(
        _ parts: String..., by body: @autoclosure () throws -> T, file: StaticString = #filePath, line: UInt = #line
    ) {
        XCTAssertThrowsError(try body(), file: file, line: line) { error in
            for part in parts { XCTAssert("\(error)".contains(part), "\(error)", file: file, line: line) }
        }
    }

    // MARK: - Zeros and ones

    func testColumnsOfZerosAndAOneAreClasses() throws {
        for (yes, no) in [("1", "0"), ("1.0", "0.0"), ("True", "False")] {
            let dataset = try parts("image,MEL,NV,BCC\na.jpg,\(yes),\(no),\(no)\nb.jpg,\(no),\(no),\(yes)\n").training
            XCTAssertEqual(dataset.classNames, ["MEL", "NV", "BCC"])
            XCTAssertEqual(dataset.labels, .classes([0, 2]))
        }
        // A network's order decides.
        let known = try parts("image,MEL,NV\na.jpg,1,0\nb.jpg,0,1\n", classNames: ["NV", "MEL"]).training
        XCTAssertEqual(known.labels, .classes([1, 0]))
        assertFails(
            "columns NV, BCC", by: try parts("image,MEL,NV\na.jpg,1,0\nb.jpg,0,1\n", classNames: ["NV", "BCC"]))
    }

    func testColumnsOfSeveralOnes() throws {
        let text = "image,age,cat,dog\na.jpg,30,1,1\nb.jpg,40,0,0\n"
        assertFails("line 2", "one 1 among cat, dog", "--multi-label", by: try parts(text))
        let dataset = try parts(text, .multiLabel()).training
        XCTAssertEqual(dataset.classNames, ["cat", "dog"])
        XCTAssertEqual(dataset.labels, .multiLabel([[0, 1], []]))
        XCTAssert(dataset.notes.contains { $0.contains("not used: age") }, "\(dataset.notes)")
        assertFails("5 columns of labels", by: try parts(text, .multiLabel(count: 5)))
        // Neither a label nor zeros and ones.
        assertFails("one column by the name label", by: try parts("image,age,size\na.jpg,30,5\nb.jpg,40,6\n"))
    }

    // MARK: - Several labels in a column

    func testNumbersOfSeveralLabelsAreNoClasses() throws {
        assertFails("line 2", "--multi-label", by: try parts("Id,Target\na.png,16 0\nb.png,7\n"))
        // Names may have spaces.
        XCTAssertEqual(
            try parts("path,label\na.png,tabby cat\nb.png,dog\n").training.classNames, ["dog", "tabby cat"])
    }

    func testNamesOfSeveralLabels() throws {
        let text = "Image Index,Finding Labels\n1.png,Mass|Edema\n2.png,No Finding\n3.png,Edema\n"
        let dataset = try parts(text, .multiLabel()).training
        XCTAssertEqual(dataset.classNames, ["Edema", "Mass", "No Finding"])
        XCTAssertEqual(dataset.labels, .multiLabel([[0, 1], [2], [0]]))
        let known = try parts(text, .multiLabel(), classNames: ["No Finding", "Mass", "Edema"]).training
        XCTAssertEqual(known.labels, .multiLabel([[1, 2], [0], [2]]))
        assertFails("line 3", "'No Finding'", by: try parts(text, .multiLabel(), classNames: ["Mass", "Edema"]))
        assertFails("2 labels", "3", by: try parts(text, .multiLabel(count: 2)))
        XCTAssertEqual(
            try parts("path,labels\n1.png,0|2\n2.png,1\n", .multiLabel()).training.labels, .multiLabel([[0, 2], [1]]))
    }

    func testLabelsAreBounded() throws {
        assertFails("0..<65536", by: try parts("path,labels\n1.png,100000\n2.png,1\n", .multiLabel()))
        assertFails(
            "3 labels", "5",
            by: try parts("path,labels\n1.png,1\n", .multiLabel(count: 5), classNames: ["a", "b", "c"]))
    }

    // MARK: - Parts, separators, encodings

    func testAColumnThatSplits() throws {
        let text = "path,label,split\n1.png,a,train\n2.png,b,Train\n3.png,a,valid\n4.png,b,test\n"
        let parts = try self.parts(text)
        XCTAssertEqual([parts.training.count, parts.validation?.count, parts.test?.count], [2, 1, 1])
        XCTAssertEqual(parts.training.labels, .classes([0, 1]))
        XCTAssertEqual(parts.test?.labels, .classes([1]))
        assertFails(
            "line 3", "train, val or test", "'b'", by: try self.parts("path,label,split\n1.png,a,train\n2.png,b,b\n"))
    }

    func testOtherSeparatorsAndEncodings() throws {
        let text = "path,label\n1.png,ä\n2.png,b\n"
        let semicolons = Array(text.replacingOccurrences(of: ",", with: ";").utf8)
        let tabs = Array(text.replacingOccurrences(of: ",", with: "\t").utf8)
        let marked: [UInt8] = [0xef, 0xbb, 0xbf] + Array(text.utf8)
        var (littleEndian, bigEndian): ([UInt8], [UInt8]) = ([0xff, 0xfe], [0xfe, 0xff])
        for unit in text.utf16 {
            let (low, high) = (UInt8(unit & 255), UInt8(unit >> 8))
            littleEndian += [low, high]
            bigEndian += [high, low]
        }
        let cases: [(String, [UInt8])] = [
            ("semicolons", semicolons), ("tabs", tabs), ("a mark", marked), ("UTF-16 LE", littleEndian),
            ("UTF-16 BE", bigEndian),
        ]
        for (name, bytes) in cases {
            let dataset = try parts(bytes: bytes).training
            XCTAssertEqual(dataset.classNames, ["b", "ä"], name)
            XCTAssertEqual(dataset.labels, .classes([1, 0]), name)
        }
        assertFails("line 2", "UTF-8", by: try parts(bytes: Array("path,label\n1.png,".utf8) + [0xe4, 0x0a]))
    }
}
