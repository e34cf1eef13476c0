// Every flavour of JPEG and PNG against Pillow's pixels.

import ResNetSwift
import XCTest

final class PictureDecodingTests: XCTestCase {
    func testEveryFlavourGivesPillowsPixels() throws {
        let expected = try PictureFixtures.bytes("pixels.bin")
        let cases = try PictureFixtures.load().decode
        XCTAssertEqual(cases.count, 56)
        for item in cases {
            let picture = try Picture(contentsOf: PictureFixtures.path(item.file))
            XCTAssertEqual([picture.height, picture.width, picture.channels], [item.height, item.width, 3], item.file)
            XCTAssertEqual(picture.warnings, [], item.file)
            // PNG is lossless, so equal; JPEG differs by nothing today, and may by one level under another libjpeg-turbo.
            let differences = zip(picture.pixels, expected[item.offset..<item.offset + item.count]).map {
                abs(Int($0) - Int($1))
            }
            XCTAssertEqual(differences.count, item.count)
            XCTAssertLessThanOrEqual(differences.max()!, item.file.hasSuffix(".png") ? 0 : 1, item.file)
            XCTAssertLessThan(Double(differences.reduce(0, +)) / Double(item.count), 0.02, item.file)
        }
    }

    func testGrayAndIgnoredExifGivePillowsPixels() throws {
        for item in try PictureFixtures.load().decode where item.grayHash != nil {
            let path = PictureFixtures.path(item.file)
            let gray = try Picture(contentsOf: path, channels: 1)
            XCTAssertEqual(gray.channels, 1)
            XCTAssertEqual(PictureFixtures.hash(gray.pixels), item.grayHash, item.file)
            let stored = try Picture(contentsOf: path, exif: .ignore)
            XCTAssertEqual(PictureFixtures.hash(stored.pixels), item.storedHash, item.file)
        }
    }

    func testChannelsAsStored() throws {
        for (file, channels) in [
            ("gray.jpg", 1), ("cmyk.jpg", 3), ("rgb.jpg", 3), ("gray16.png", 1), ("gray_alpha8.png", 1),
            ("palette4.png", 3),
            ("rgba8.png", 3), ("gray1.png", 1),
        ] {
            XCTAssertEqual(try Picture(contentsOf: PictureFixtures.path(file), channels: nil).channels, channels, file)
        }
    }

    func testSixteenBitGrayIsScaledAndNotClipped() throws {
        let picture = try Picture(contentsOf: PictureFixtures.path("gray16.png"), channels: 1)
        XCTAssertGreaterThan(Set(picture.pixels).count, 50, "Pillow's convert would leave almost only 255")
    }

    func testTheExtensionDoesNotMatter() throws {
        try PictureFixtures.withFolder { folder in
            for (file, name) in [
                ("rgb8.png", "a.jpg"), ("baseline_444.jpg", "b.png"), ("gray.jpg", "c"), ("gray8.png", "d.txt"),
            ] {
                try FileManager.default.copyItem(atPath: PictureFixtures.path(file), toPath: "\(folder)/\(name)")
                XCTAssertEqual(
                    try Picture(contentsOf: "\(folder)/\(name)").pixels,
                    try Picture(contentsOf: PictureFixtures.path(file)).pixels)
            }
        }
    }

    func testPngWritingKeepsEveryByte() throws {
        try PictureFixtures.withFolder { folder in
            for (height, width, channels) in [(1, 1, 1), (1, 1, 3), (17, 31, 3), (40, 3, 1), (200, 300, 3)] {
                let picture = PictureFixtures.pattern(height: height, width: width, channels: channels, seed: 9)
                let path = "\(folder)/out.png"  // replaces the one before
                try picture.writePNG(to: path)
                XCTAssertEqual(try Picture(contentsOf: path, channels: nil), picture)
                XCTAssertEqual(try Picture(bytes: try picture.pngBytes(), name: "memory", channels: nil), picture)
                XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder), ["out.png"])
            }
        }
    }

    func testWritingWhereNothingCanBeWritten() throws {
        let picture = PictureFixtures.pattern(height: 2, width: 2, channels: 3, seed: 1)
        XCTAssertThrowsError(try picture.writePNG(to: "/nonexistent/out.png")) { error in
            XCTAssertEqual("\(error)", "/nonexistent/out.png: cannot be written: No such file or directory")
        }
    }

    func testStackingMakesOnePictureOfStains() throws {
        let parts = (0..<4).map { PictureFixtures.pattern(height: 3, width: 5, channels: 1, seed: $0 * 100) }
        let stacked = Picture(stacking: parts)
        XCTAssertEqual([stacked.height, stacked.width, stacked.channels], [3, 5, 4])
        for pixel in 0..<15 {
            for c in 0..<4 { XCTAssertEqual(stacked.pixels[pixel * 4 + c], parts[c].pixels[pixel]) }
        }
        XCTAssertNil(stacked.converted(toChannels: 3))
    }

    func testOrientationOfBytesWithoutSense() {
        XCTAssertEqual(ExifOrientation(inFile: []), .upright)
        XCTAssertEqual(ExifOrientation(inFile: [0xff, 0xd8]), .upright)
        XCTAssertEqual(ExifOrientation(inFile: [0xff, 0xd8, 0xff, 0xe1, 0, 0]), .upright)
        XCTAssertEqual(ExifOrientation(inFile: [UInt8](repeating: 0xff, count: 100)), .upright)
    }

    func testCutOrChangedExifNeverFailsAndNeverInventsAnOrientation() throws {
        let whole = try PictureFixtures.bytes("exif_behind_others.jpg")
        XCTAssertEqual(ExifOrientation(inFile: whole), .turn90)
        for count in 0..<whole.count {
            let orientation = ExifOrientation(inFile: Array(whole[..<count]))
            XCTAssertTrue(orientation == .upright || orientation == .turn90)
        }
        // Any byte of the file, any wrong value: some orientation comes out, and nothing traps.
        var random = SampleRandom(seed: 6)
        for _ in 0..<20_000 {
            var changed = whole
            for _ in 0..<3 { changed[random.integer(below: 450)] = UInt8(random.integer(below: 256)) }
            XCTAssertTrue((1...8).contains(ExifOrientation(inFile: changed).rawValue))
        }
    }
}
