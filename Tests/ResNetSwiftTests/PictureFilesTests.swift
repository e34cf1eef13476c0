// Which files of a folder are pictures, and in what order.

import ResNetSwift
import XCTest

final class PictureFilesTests: XCTestCase {
    private func makeTree(_ folder: String) throws {
        let files = FileManager.default
        for sub in ["b", "b/deep", ".hidden", "empty", "B"] {
            try files.createDirectory(atPath: "\(folder)/\(sub)", withIntermediateDirectories: true)
        }
        let jpeg = PictureFixtures.path("gray.jpg")
        let png = PictureFixtures.path("rgb8.png")
        for (source, name) in [
            (jpeg, "z.JPG"), (png, "a.png"), (jpeg, "b/10.jpeg"), (jpeg, "b/9.jpeg"), (png, "b/deep/x.PNG"),
            (png, ".hidden/no.png"), (png, ".no.png"), (jpeg, "B/photo"), (png, "b/noext.txt"), (jpeg, "ümlaut.jpg"),
        ] {
            try files.copyItem(atPath: source, toPath: "\(folder)/\(name)")
        }
        XCTAssertTrue(files.createFile(atPath: "\(folder)/broken.jpg", contents: Data("no picture".utf8)))
        XCTAssertTrue(files.createFile(atPath: "\(folder)/readme.txt", contents: Data("text".utf8)))
        try files.createSymbolicLink(atPath: "\(folder)/b/loop", withDestinationPath: "..")
        try files.createSymbolicLink(atPath: "\(folder)/b/dangling.jpg", withDestinationPath: "nowhere")
    }

    func testListsByName() throws {
        try PictureFixtures.withFolder { folder in
            try makeTree(folder)
            let expected = ["a.png", "b/10.jpeg", "b/9.jpeg", "b/deep/x.PNG", "broken.jpg", "z.JPG", "ümlaut.jpg"]
            XCTAssertEqual(try PictureFiles.list(in: folder), expected.map { "\(folder)/\($0)" })
            XCTAssertEqual(try PictureFiles.list(in: folder + "/"), expected.map { "\(folder)/\($0)" })
            XCTAssertEqual(
                try PictureFiles.list(in: folder, recursively: false),
                ["a.png", "broken.jpg", "z.JPG", "ümlaut.jpg"].map { "\(folder)/\($0)" })
        }
    }

    func testListsByContent() throws {
        try PictureFixtures.withFolder { folder in
            try makeTree(folder)
            let expected = [
                "B/photo", "a.png", "b/10.jpeg", "b/9.jpeg", "b/deep/x.PNG", "b/noext.txt", "z.JPG", "ümlaut.jpg",
            ]
            XCTAssertEqual(try PictureFiles.list(in: folder, by: .content), expected.map { "\(folder)/\($0)" })
        }
    }

    func testFoldersThatCannotBeListed() throws {
        XCTAssertThrowsError(try PictureFiles.list(in: "/nonexistent")) {
            XCTAssertEqual($0 as? PictureError, PictureError(path: "/nonexistent", fault: .missing))
        }
        let file = PictureFixtures.path("rgb8.png")
        XCTAssertThrowsError(try PictureFiles.list(in: file)) {
            XCTAssertEqual($0 as? PictureError, PictureError(path: file, fault: .unreadable("Not a directory")))
        }
        try PictureFixtures.withFolder { XCTAssertEqual(try PictureFiles.list(in: $0), []) }
    }
}
