// Arrays of pictures and labels in npz files as people make them: all names, integer types and layouts.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetData
@testable import ResNetSupport
@testable import ResNetWeights

final class DatasetArrayTests: XCTestCase {
    /// An array as NumPy writes it.
    private struct Array_ {
        let descr: String
        let shape: [Int]
        let bytes: [UInt8]

        var file: [UInt8] {
            let shape = "(" + shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? ",)" : ")")
            return BuiltNpy.file(BuiltNpy.literal(descr: "'\(descr)'", shape: shape), data: 0) + bytes
        }

        static func integers<T: FixedWidthInteger>(_ descr: String, _ values: [T], _ shape: [Int]? = nil) -> Array_ {
            Array_(descr: descr, shape: shape ?? [values.count], bytes: values.flatMap { littleEndianBytes($0) })
        }

        static func bytes(_ shape: [Int]) -> Array_ {
            Array_(descr: "|u1", shape: shape, bytes: (0..<shape.reduce(1, *)).map { UInt8(truncatingIfNeeded: $0) })
        }

        static func floats(_ shape: [Int], scale: Float = 0.01) -> Array_ {
            let values = (0..<shape.reduce(1, *)).map { Float($0) * scale }
            return Array_(descr: "<f4", shape: shape, bytes: values.flatMap { littleEndianBytes($0.bitPattern) })
        }

        static func text(_ values: [String]) -> Array_ {
            let width = values.map(\.unicodeScalars.count).max()!
            let bytes = values.flatMap { value -> [UInt8] in
                let scalars = value.unicodeScalars.map(\.value)
                return (scalars + Array(repeating: 0, count: width - scalars.count)).flatMap { littleEndianBytes($0) }
            }
            return Array_(descr: "<U\(width)", shape: [values.count], bytes: bytes)
        }
    }

    private func parts(
        _ arrays: KeyValuePairs<String, Array_>, classNames: [String]? = nil, multiLabel: Bool? = nil
    ) throws -> DatasetParts {
        var zip = BuiltZip()
        zip.members = arrays.map { BuiltZip.Member("\($0.key).npy", $0.value.file) }
        var result: DatasetParts?
        try PictureFixtures.withFolder { root in
            try Data(zip.build()).write(to: URL(fileURLWithPath: "\(root)/data.npz"))
            result = try Dataset.arrays(npz: "\(root)/data.npz", classNames: classNames, multiLabel: multiLabel)
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

    private let pictures = Array_.bytes([3, 4, 5, 3])
    private let labels = Array_.integers("<i8", [0, 1, 1])

    // MARK: - Names

    func testNamesOfParts() throws {
        typealias Pair = (String, String)
        let names: [(Pair, Pair, Pair)] = [
            (("x_train", "y_train"), ("x_val", "y_val"), ("x_test", "y_test")),
            (("X_train", "y_train"), ("X_valid", "y_valid"), ("X_test", "y_test")),
            (("train_images", "train_labels"), ("val_images", "val_labels"), ("test_images", "test_labels")),
            (("trainX", "trainY"), ("valX", "valY"), ("testX", "testY")),
            (("xtrain", "ytrain"), ("xdev", "ydev"), ("xtest", "ytest")),
            (("train_data", "train_targets"), ("validation_data", "validation_targets"), ("test_data", "test_targets")),
        ]
        for (training, validation, test) in names {
            let parts = try self.parts([
                test.1: .integers("<i8", [1]), test.0: .bytes([1, 4, 5, 3]), training.0: pictures, training.1: labels,
                validation.0: .bytes([2, 4, 5, 3]), validation.1: .integers("<i8", [1, 0]),
            ])
            XCTAssertEqual(
                [parts.training.count, parts.validation?.count, parts.test?.count], [3, 2, 1], training.0)
            XCTAssertEqual(parts.validation?.labels, .classes([1, 0]), training.0)
        }
    }

    func testNamesOfOnePart() throws {
        for (images, labelsName) in [
            ("images", "labels"), ("x", "y"), ("data", "target"), ("X", "Y"), ("imgs", "targets"), ("image", "label"),
        ] {
            XCTAssertEqual(
                try parts([labelsName: labels, images: pictures]).training.labels, .classes([0, 1, 1]), images)
        }
        assertFails("`images` and `labels`", "pixels, kinds", by: try parts(["pixels": pictures, "kinds": labels]))
    }

    func testNamesOfClassesBeside() throws {
        for key in ["class_names", "classes", "label_names"] {
            let dataset = try parts([key: .text(["cat", "dög"]), "images": pictures, "labels": labels]).training
            XCTAssertEqual(dataset.classNames, ["cat", "dög"], key)
            XCTAssertEqual(dataset.labels, .classes([0, 1, 1]))
        }
        // Numbers are no names, and another array is said to be unused.
        let dataset = try parts(["images": pictures, "labels": labels, "class_names": labels, "ids": labels]).training
        XCTAssertEqual(dataset.classNames, ["0", "1"])
        XCTAssert(dataset.notes.contains { $0.contains("class_names holds no text") }, "\(dataset.notes)")
        XCTAssert(dataset.notes.contains { $0.contains("not used: ids") }, "\(dataset.notes)")
    }

    // MARK: - Labels

    func testEveryTypeOfLabels() throws {
        let types: [(String, Array_)] = [
            ("u1", .integers("|u1", [UInt8(0), 1, 1])), ("i1", .integers("|i1", [Int8(0), 1, 1])),
            ("u2", .integers("<u2", [UInt16(0), 1, 1])), ("i2", .integers("<i2", [Int16(0), 1, 1])),
            ("u4", .integers("<u4", [UInt32(0), 1, 1])), ("i4", .integers("<i4", [Int32(0), 1, 1])),
            ("u8", .integers("<u8", [UInt64(0), 1, 1])), ("i8", .integers("<i8", [0, 1, 1])),
            ("b1", .integers("|b1", [UInt8(0), 1, 1])), ("big u2", .integers(">u2", [UInt16(0), 256, 256])),
            ("column", .integers("<u2", [UInt16(0), 1, 1], [3, 1])),
            (
                "floats",
                Array_(descr: "<f4", shape: [3], bytes: [Float(0), 1, 1].flatMap { littleEndianBytes($0.bitPattern) })
            ),
        ]
        for (name, labels) in types {
            let dataset = try parts(["images": pictures, "labels": labels]).training
            XCTAssertEqual(dataset.labels, .classes([0, 1, 1]), name)
        }
    }

    func testLabelsThatAreNone() throws {
        func dataset(_ labels: Array_) throws -> Dataset { try parts(["images": pictures, "labels": labels]).training }
        assertFails("below 65536", "999999", by: try dataset(.integers("<i8", [0, 1, 999_999])))
        assertFails("class numbers from 0", "-1", by: try dataset(.integers("<i8", [0, 1, -1])))
        assertFails("two classes or more", by: try dataset(.integers("<i8", [0, 0, 0])))
        assertFails("labels", "text", by: try dataset(.text(["a", "b", "a"])))
        assertFails("0 and 1", "2", by: try dataset(.integers("<i8", [0, 2, 1, 0, 1, 0], [3, 2])))
    }

    func testLabelsThatCountFromOne() throws {
        let dataset = try parts(["images": pictures, "labels": .integers("<i8", [3, 1, 2])]).training
        XCTAssertEqual(dataset.classNames, ["1", "2", "3"])
        XCTAssertEqual(dataset.labels, .classes([2, 0, 1]))
        XCTAssert(dataset.notes.contains { $0.contains("count from 1") })
        let named = try parts(["images": pictures, "labels": .integers("<i8", [2, 1, 2])], classNames: ["a", "b"])
        XCTAssertEqual(named.training.labels, .classes([1, 0, 1]))
    }

    func testRowsOfZerosAndOnes() throws {
        let one = Array_.integers("|u1", [UInt8(0), 1, 1, 0, 0, 1], [3, 2])
        XCTAssertEqual(try parts(["x": pictures, "y": one]).training.labels, .classes([1, 0, 1]))
        XCTAssertEqual(
            try parts(["x": pictures, "y": one], multiLabel: true).training.labels, .multiLabel([[1], [0], [1]]))
        let several = Array_.integers("|u1", [UInt8(1), 1, 0, 0, 0, 1], [3, 2])
        XCTAssertEqual(try parts(["x": pictures, "y": several]).training.labels, .multiLabel([[0, 1], [], [1]]))
        assertFails(
            "one 1 in every row", by: try parts(["x": pictures, "y": several], multiLabel: false))
    }

    // MARK: - Layouts

    func testFloatsWithTheirChannelsLast() throws {
        let arrays: KeyValuePairs = ["x": Array_.floats([3, 8, 6, 3]), "y": labels]
        let dataset = try parts(arrays).training
        guard case .floats(let tensor) = dataset.source else { return XCTFail("no floats") }
        XCTAssertEqual(tensor.shape, [3, 3, 8, 6])
        // (sample 1, channel 2, row 3, column 4)
        let place: Int = ((1 * 3 + 2) * 8 + 3) * 6 + 4
        let stored: Int = ((1 * 8 + 3) * 6 + 4) * 3 + 2
        XCTAssertEqual(tensor.values[place], Float(stored) * 0.01)
        XCTAssert(dataset.notes.contains { $0.contains("(N, H, W, C)") }, "\(dataset.notes)")
    }

    func testBytesWithTheirChannelsFirst() throws {
        let dataset = try parts(["x": .bytes([3, 3, 8, 20]), "y": labels]).training
        guard case .pictures(let images) = dataset.source else { return XCTFail("no pictures") }
        XCTAssertEqual([images.height, images.width, images.channels], [8, 20, 3])
        let place: Int = ((1 * 8 + 3) * 20 + 4) * 3 + 2
        let stored: Int = ((1 * 3 + 2) * 8 + 3) * 20 + 4
        XCTAssertEqual(images.pixels[place], UInt8(truncatingIfNeeded: stored))
    }

    func testLayoutsThatSizesDoNotTell() throws {
        // Square pictures speak for themselves, and so do 1 and 3 channels.
        func shape(_ shape: [Int]) throws -> [Int]? {
            guard case .floats(let tensor) = try parts(["x": .floats(shape), "y": labels]).training.source else {
                return nil
            }
            return tensor.shape
        }
        XCTAssertEqual(try shape([3, 8, 8, 4]), [3, 4, 8, 8])
        XCTAssertEqual(try shape([3, 4, 8, 8]), [3, 4, 8, 8])
        XCTAssertEqual(try shape([3, 6, 8, 1]), [3, 1, 6, 8])
        XCTAssertEqual(try shape([3, 28, 28]), [3, 1, 28, 28])
        assertFails("either end", by: try parts(["x": .floats([3, 4, 8, 5]), "y": labels]))
    }

    func testPicturesThatAreNone() throws {
        assertFails(
            "uint8 or floats", "int64",
            by: try parts(["x": .integers("<i8", [Int](repeating: 5, count: 48), [3, 4, 4, 1]), "y": labels]))
        assertFails("labels for 3 pictures", by: try parts(["x": pictures, "y": .integers("<i8", [0, 1])]))
        let notes = try parts(["x": .floats([3, 1, 8, 8], scale: 1), "y": labels]).training.notes
        XCTAssert(notes.contains { $0.contains("only uint8 is scaled") }, "\(notes)")
    }
}
