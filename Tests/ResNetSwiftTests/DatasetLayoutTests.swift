// Folders of pictures as people download them: parts by any usual name, names that are not UTF-8 or in two spellings, what lies
// beside pictures. Everything is recognized, or refused with what was seen.

import Foundation
import Glibc
import ResNetSwift
import XCTest

@testable import ResNetData
@testable import ResNetSupport

final class DatasetLayoutTests: XCTestCase {
    /// Empty files by these paths; a path may hold bytes that are no UTF-8.
    private func make(_ paths: [String], in root: String) {
        for path in paths {
            var folder = root
            for part in path.split(separator: "/").dropLast() {
                folder += "/\(part)"
                _ = folder.withFileName { mkdir($0, 0o755) }
            }
            let descriptor = "\(root)/\(path)".withFileName { open($0, O_CREAT | O_WRONLY, 0o644) }
            XCTAssertGreaterThanOrEqual(descriptor, 0, path)
            close(descriptor)
        }
    }

    private func withFiles(_ paths: [String], _ body: (String) throws -> Void) throws {
        try PictureFixtures.withFolder { root in
            make(paths, in: root)
            try body(root)
        }
    }

    private func assertFails<T>(
        _ parts: String..., by body: () throws -> T, file: StaticString = #filePath, line: UInt = #line
    ) {
        XCTAssertThrowsError(try body(), file: file, line: line) { error in
            for part in parts { XCTAssert("\(error)".contains(part), "\(error)", file: file, line: line) }
        }
    }

    // MARK: - Parts

    func testPartsByAllUsualNames() throws {
        for (training, held) in [
            ("train", "val"), ("Train", "Val"), ("TRAIN", "TEST"), ("training", "testing"), ("Training", "Validation"),
            ("seg_train/seg_train", "seg_test/seg_test"), ("train", "dev"), ("train_set", "test_set"),
            ("trainset", "valset"), ("training_data", "validation_data"), ("images_train", "images_valid"),
            ("train2017", "val2017"), ("TrainImages", "TestImages"), ("train", "test1"), ("train", "holdout"),
            ("cats_train", "cats_val"), ("data/train", "data/val"), ("photos/photos/train", "photos/photos/valid"),
        ] {
            try withFiles(["\(training)/cat/1.jpg", "\(training)/dog/2.jpg", "\(held)/cat/3.jpg", "\(held)/dog/4.jpg"])
            {
                root in
                let parts = try Dataset.imageFolders(root)
                XCTAssertEqual(parts.training.classNames, ["cat", "dog"], training)
                XCTAssertEqual(parts.training.count, 2, training)
                XCTAssertEqual(parts.validation?.classNames, ["cat", "dog"], held)
                XCTAssertEqual(parts.validation?.count, 2, held)
                XCTAssertNil(parts.test)
            }
        }
    }

    func testThreePartsAndAPartThatLacksAClass() throws {
        try withFiles([
            "train/a/1.jpg", "train/b/1.jpg", "valid/b/1.jpg", "test/a/1.jpg", "test/b/1.jpg", "extra/x.txt",
        ]) {
            let parts = try Dataset.imageFolders($0)
            XCTAssertEqual([parts.training.count, parts.validation?.count, parts.test?.count], [2, 1, 2])
            // The number of a class is that of the training part.
            XCTAssertEqual(parts.validation?.labels, .classes([1]))
            XCTAssert(parts.training.notes.contains { $0.contains("not used: extra") }, "\(parts.training.notes)")
        }
    }

    func testTestPicturesWithoutClassesAreNoted() throws {
        try withFiles(["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/b/1.jpg", "test/1.jpg", "test/2.jpg"]) {
            let parts = try Dataset.imageFolders($0)
            XCTAssertNil(parts.test)
            XCTAssert(parts.training.notes.contains { $0.contains("2 pictures without classes") })
        }
    }

    func testPartsThatCannotBeUsedAreRefused() throws {
        try withFiles(["train/cat.0.jpg", "train/dog.0.jpg", "test1/1.jpg"]) { root in
            assertFails("train: expected a folder for each class", "2 pictures and no folders") {
                try Dataset.imageFolders(root)
            }
        }
        try withFiles(["val/a/1.jpg", "val/b/1.jpg", "test/a/1.jpg", "test/b/1.jpg"]) { root in
            assertFails("a folder for training", "val") { try Dataset.imageFolders(root) }
        }
        try withFiles(["train/a/1.jpg", "training/b/1.jpg", "val/a/1.jpg"]) { root in
            assertFails("one folder for the training pictures") { try Dataset.imageFolders(root) }
        }
        try withFiles(["train/a/1.jpg", "train/b/1.jpg", "val/c/1.jpg"]) { root in
            assertFails("one of the classes a, b", "'c'") { try Dataset.imageFolders(root) }
        }
    }

    func testClassesWhoseNamesSoundLikeParts() throws {
        for names in [["train", "bus"], ["trains", "tests"], ["development", "valley"], ["test strip", "swab"]] {
            try withFiles(names.map { "\($0)/1.jpg" }) { root in
                let parts = try Dataset.imageFolders(root)
                XCTAssertEqual(parts.training.classNames, names.sorted())
                XCTAssertNil(parts.validation)
            }
        }
    }

    // MARK: - One folder too many, one class too few

    func testTrainAlone() throws {
        try withFiles(["train/cat/1.jpg", "train/dog/1.jpg", "notes/readme.txt"]) { root in
            let parts = try Dataset.imageFolders(root)
            XCTAssertEqual(parts.training.classNames, ["cat", "dog"])
            XCTAssertNil(parts.validation)
            XCTAssertFalse(parts.training.notes.isEmpty)
        }
    }

    func testClassesFurtherDown() throws {
        try withFiles(["photos/photos/cat/1.jpg", "photos/photos/dog/1.jpg", "__MACOSX/photos/cat/._1.jpg"]) { root in
            let dataset = try Dataset.imageFolder(root)
            XCTAssertEqual(dataset.classNames, ["cat", "dog"])
            XCTAssertEqual(dataset.count, 2)
            XCTAssert(dataset.notes.contains { $0.contains("the classes are in \(root)/photos/photos") })
        }
    }

    func testASingleClassIsRefused() throws {
        try withFiles(["cat/1.jpg", "cat/2.jpg"]) { root in
            assertFails("two classes or more", "one, 'cat'") { try Dataset.imageFolders(root) }
            // Of a network that knows more of them it is one of its classes.
            XCTAssertEqual(
                try Dataset.imageFolders(root, classNames: ["bird", "cat"]).training.labels, .classes([1, 1]))
        }
        try withFiles(["1.jpg", "2.jpg"]) { root in
            assertFails("a folder for each class", "2 pictures") { try Dataset.imageFolders(root) }
        }
    }

    func testClassesWithTheSameFoldersInThemAreNoted() throws {
        let folders = ["color", "gray"].flatMap { look in ["cat", "dog"].map { "\(look)/\($0)/1.jpg" } }
        try withFiles(folders) { root in
            let dataset = try Dataset.imageFolder(root)
            XCTAssertEqual(dataset.classNames, ["color", "gray"])
            XCTAssert(dataset.notes.contains { $0.contains("the same folders in it: cat, dog") }, "\(dataset.notes)")
        }
    }

    func testClassesThatHaveThePartsInThem() throws {
        let files = ["cat", "dog"].flatMap { ["\($0)/train/1.jpg", "\($0)/train/2.jpg", "\($0)/test/3.jpg"] }
        try withFiles(files) { root in
            let parts = try Dataset.imageFolders(root)
            XCTAssertEqual(parts.training.classNames, ["cat", "dog"])
            XCTAssertEqual(parts.training.labels, .classes([0, 0, 1, 1]))
            XCTAssertEqual(parts.validation?.labels, .classes([0, 1]))
            XCTAssertNil(parts.test)
        }
        // One class lacks a part: then they are folders like any other.
        try withFiles(files + ["owl/train/1.jpg"]) { root in
            XCTAssertEqual(try Dataset.imageFolders(root).training.count, 7)
        }
    }

    // MARK: - Names

    func testNamesThatAreNotUTF8() throws {
        let latin1 = String(fileName: [0x63, 0x61, 0x66, 0xe9] as [UInt8])  // café
        XCTAssertEqual(latin1.fileNameBytes, [0x63, 0x61, 0x66, 0xe9])
        XCTAssertEqual(latin1.escapedForTerminal, "caf\\xe9")
        XCTAssertEqual(latin1.withoutRawBytes, "caf\u{fffd}")
        XCTAssertEqual(String(fileName: Array("é.jpg".utf8)), "é.jpg")
        // A name that looks as if it held such a byte is kept apart from it.
        let private16 = String(Unicode.Scalar(0x10FEE9)!)
        XCTAssertEqual(String(fileName: Array(private16.utf8)).fileNameBytes, Array(private16.utf8))

        try withFiles(["\(latin1)/\(latin1)1.jpg", "dog/1.jpg", "dog/a\nb.jpg"]) { root in
            let dataset = try Dataset.imageFolder(root)
            XCTAssertEqual(dataset.classNames, ["caf\\xe9", "dog"])
            XCTAssertEqual(dataset.count, 3)
            guard case .files(let files) = dataset.source else { return XCTFail("no files") }
            let expected: [[UInt8]] = [
                Array("\(root)/".utf8), latin1.fileNameBytes, [0x2f], latin1.fileNameBytes, Array("1.jpg".utf8),
            ]
            XCTAssertEqual(files[0].fileNameBytes, expected.flatMap { $0 })
            XCTAssertEqual(files[0].withFileName { access($0, R_OK) }, 0)
        }
    }

    func testOneNameInTwoSpellings() throws {
        // é as one character in the training part, as two in the other.
        try withFiles(["train/caf\u{e9}/1.jpg", "train/dog/1.jpg", "val/cafe\u{301}/1.jpg", "val/dog/1.jpg"]) { root in
            let parts = try Dataset.imageFolders(root)
            XCTAssertEqual(parts.validation?.labels, .classes([0, 1]))
        }
        // Both in one folder are one class.
        try withFiles(["caf\u{e9}/1.jpg", "cafe\u{301}/2.jpg", "dog/1.jpg"]) { root in
            let dataset = try Dataset.imageFolder(root)
            XCTAssertEqual(dataset.classNames.count, 2)
            XCTAssertEqual(dataset.count, 3)
            XCTAssert(dataset.notes.contains { $0.contains("2 folders spell") })
        }
    }

    // MARK: - What lies beside pictures

    func testWhatIsPassedOverIsCounted() throws {
        try withFiles([
            "a/1.jpg", "a/2.heic", "a/3.HEIC", "a/4.svg", "b/1.jpg", "b/labels.txt", "b/Thumbs.db", "b/.DS_Store",
            "b/link.jpg",
        ]) { root in
            unlink("\(root)/b/link.jpg")
            symlink("nowhere", "\(root)/b/link.jpg")
            let dataset = try Dataset.imageFolder(root)
            XCTAssertEqual(dataset.count, 2)
            XCTAssertEqual(
                dataset.skipped.map(\.path), ["a/2.heic", "a/3.HEIC", "a/4.svg", "b/link.jpg"].map { "\(root)/\($0)" })
            XCTAssert(dataset.notes.contains { $0.contains("2 .heic, 1 .jpg, 1 .svg") }, "\(dataset.notes)")
            XCTAssert(dataset.notes.contains { $0.contains("passed over: 1 .txt") }, "\(dataset.notes)")
        }
    }

    func testAFolderThatMayNotBeReadIsReportedAndTheOthersAreUsed() throws {
        try XCTSkipIf(geteuid() == 0, "root may read everything")
        try withFiles(["a/1.jpg", "b/1.jpg", "b/locked/2.jpg"]) { root in
            chmod("\(root)/b/locked", 0)
            defer { chmod("\(root)/b/locked", 0o755) }
            let dataset = try Dataset.imageFolder(root)
            XCTAssertEqual(dataset.count, 2)
            XCTAssertEqual(dataset.skipped.map(\.path), ["\(root)/b/locked"])
        }
    }

    // MARK: - Duplicates

    func testPicturesInBothPartsAndUnderTwoLabels() throws {
        try withFiles([]) { root in
            func write(_ text: String, _ path: String) throws {
                make([path], in: root)
                try Data(text.utf8).write(to: URL(fileURLWithPath: "\(root)/\(path)"))
            }
            for (text, path) in [
                ("one", "train/a/1.jpg"), ("two", "train/a/2.jpg"), ("six", "train/b/3.jpg"), ("two", "train/b/4.jpg"),
                ("one", "val/a/5.jpg"), ("new", "val/b/6.jpg"),
            ] { try write(text, path) }
            let parts = try Dataset.imageFolders(root)
            let found = PictureDuplicates(training: parts.training.all, validation: parts.validation?.all)
            XCTAssertEqual([found.shared, found.contradictory], [1, 1])
            XCTAssertEqual(found.examples.count, 2)
            XCTAssert(found.examples[0].contains("5.jpg is "), found.examples[0])
        }
    }
}
