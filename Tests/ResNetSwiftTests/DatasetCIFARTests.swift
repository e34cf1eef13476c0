// CIFAR-10's own files, as scripts/make_cifar_fixtures.py made them, and files that only look like them.

import Foundation
import ResNetSwift
import XCTest

final class DatasetCIFARTests: XCTestCase {
    private static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures/cifar").path

    /// The pattern of the script, channels last.
    private func picture(_ number: Int) -> [UInt8] {
        (0..<1024 * 3).map { (index: Int) -> UInt8 in
            let (place, channel) = (index / 3, index % 3)
            let value: Int = number * 89 + channel * 101 + place * 7 + place / 32 * 3
            return UInt8(value % 256)
        }
    }

    func testBothFormatsGiveTheSamePictures() throws {
        for format in ["bin", "py"] {
            let arrays = try Dataset.cifar10("\(Self.fixtures)/cifar-10-batches-\(format)")
            for (dataset, first, labels) in [
                (arrays.training, 0, [3, 0, 9, 5]), (try XCTUnwrap(arrays.validation), 4, [7, 1]),
            ] {
                XCTAssertEqual(dataset.labels, .classes(labels), format)
                XCTAssertEqual(dataset.classNames[labels[0]], first == 0 ? "cat" : "horse")
                guard case .pictures(let images) = dataset.source else { return XCTFail("pictures in memory") }
                XCTAssertEqual(
                    [images.count, images.height, images.width, images.channels], [labels.count, 32, 32, 3])
                XCTAssertEqual(images.pixels, (first..<first + labels.count).flatMap(picture), format)
            }
            XCTAssertEqual(arrays.training.notes.count, 3, "three batches are missing")
        }
        // The folder above is as good.
        XCTAssertEqual(try Dataset.cifar10(Self.fixtures).training.count, 4)
        XCTAssert(Dataset.hasCIFAR10(Self.fixtures))
        XCTAssertFalse(Dataset.hasCIFAR10(PictureFixtures.folder))
    }

    func testWhatIsNoCIFARIsRefused() throws {
        func fails(_ expected: String, _ name: String, _ bytes: [UInt8], line: UInt = #line) throws {
            try PictureFixtures.withFolder { root in
                try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
                try Data(bytes).write(to: URL(fileURLWithPath: "\(root)/\(name)"))
                XCTAssertThrowsError(try Dataset.cifar10(root), line: line) { error in
                    XCTAssert("\(error)".contains(expected), "\(error)", line: line)
                    XCTAssert(error is DatasetError, line: line)
                }
            }
        }
        let binary = [UInt8](
            try Data(contentsOf: URL(fileURLWithPath: "\(Self.fixtures)/cifar-10-batches-bin/data_batch_1.bin")))
        let pickle = [UInt8](
            try Data(contentsOf: URL(fileURLWithPath: "\(Self.fixtures)/cifar-10-batches-py/data_batch_1")))
        try fails("multiple of 3073", "data_batch_1.bin", binary.dropLast())
        try fails("0 to 9", "data_batch_1.bin", [10] + binary.dropFirst())
        try fails("the file is empty", "data_batch_1.bin", [])
        try fails("data_batch_1", "other.bin", binary)

        // Cut off anywhere, it is an error and no crash.
        for count in [1, 2, 40, 100, 200, pickle.count - 1] {
            try fails("data_batch_1", "data_batch_1", Array(pickle.prefix(count)))
        }
        func replacing(_ old: String, _ new: String) throws -> [UInt8] {
            let data = Data(pickle)
            var changed = data
            changed.replaceSubrange(try XCTUnwrap(data.range(of: Data(old.utf8))), with: Data(new.utf8))
            return [UInt8](changed)
        }
        try fails("bytes (N, 3072)", "data_batch_1", try replacing("numpy\ndtype", "posix\nsystem"))
        try fails("bytes (N, 3072)", "data_batch_1", try replacing("U\u{2}u1", "U\u{2}i1"))
        try fails("labels", "data_batch_1", try replacing("labels", "labelz"))
    }
}
