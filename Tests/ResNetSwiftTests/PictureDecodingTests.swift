// Every flavor of every format against Pillow's pixels.

import ResNetSwift
import XCTest

final class PictureDecodingTests: XCTestCase {
    func testEveryFlavourGivesPillowsPixels() throws {
        let expected = try PictureFixtures.bytes("pixels.bin")
        let cases = try PictureFixtures.load().decode
        XCTAssertEqual(cases.count, 151)
        for item in cases {
            let picture = try Picture(contentsOf: PictureFixtures.path(item.file))
            XCTAssertEqual([picture.height, picture.width, picture.channels], [item.height, item.width, 3], item.file)
            XCTAssertEqual(picture.warnings, [], item.file)
            // Lossless is equal; the others differ by nothing today, and may by one level under another libjpeg-turbo or
            // libwebp.
            let differences = zip(picture.pixels, expected[item.offset..<item.offset + item.count]).map {
                abs(Int($0) - Int($1))
            }
            XCTAssertEqual(differences.count, item.count)
            XCTAssertLessThanOrEqual(differences.max()!, item.isLossy ? 1 : 0, item.file)
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
            ("rgba8.png", 3), ("gray1.png", 1), ("gray.gif", 1), ("palette.gif", 3), ("gray8.bmp", 1),
            ("lossless.webp", 3),
            ("gray16.tif", 1), ("cmyk.tif", 3), ("palette1.tif", 3), ("gray_alpha.tif", 1),
        ] {
            XCTAssertEqual(try Picture(contentsOf: PictureFixtures.path(file), channels: nil).channels, channels, file)
        }
    }

    func testSixteenBitGrayIsScaledAndNotClipped() throws {
        let picture = try Picture(contentsOf: PictureFixtures.path("gray16.png"), channels: 1)
        XCTAssertGreaterThan(Set(picture.pixels).count, 50, "Pillow's convert would leave almost only 255")
    }

    func testSixteenBitGrayThatIsEightBitsKeepsItsValues() throws {
        // The fixture has 16-bit noise shifted right by 8.
        let picture = try Picture(contentsOf: PictureFixtures.path("gray16_dark.tif"), channels: 1)
        XCTAssertGreaterThan(Set(picture.pixels).count, 50)
    }

    func testRefusedKindsAndSizes() throws {
        let cases = try PictureFixtures.load().refused
        XCTAssertEqual(cases.count, 14)
        for item in cases {
            XCTAssertThrowsError(try Picture(contentsOf: PictureFixtures.path(item.file)), item.file) { error in
                switch (error as? PictureError)?.fault {
                case .unsupported: XCTAssertEqual(item.fault, "unsupported", item.file)
                case .tooLarge: XCTAssertEqual(item.fault, "tooLarge", item.file)
                case let other: XCTFail("\(item.file): \(String(describing: other))")
                }
            }
        }
    }

    func testThePixelLimitIsTheCallers() throws {
        for file in ["gray.jpg", "rgb8.png", "lossless.webp", "palette.gif", "rgb24.bmp", "strips.tif"] {
            let bytes = try PictureFixtures.bytes(file)
            let picture = try Picture(bytes: bytes, name: file)
            let count = picture.height * picture.width
            XCTAssertEqual(try Picture(bytes: bytes, name: file, pixelLimit: count), picture)
            XCTAssertThrowsError(try Picture(bytes: bytes, name: file, pixelLimit: count - 1)) {
                guard case .tooLarge? = ($0 as? PictureError)?.fault else { return XCTFail("\($0)") }
            }
        }
    }

    func testTheExtensionDoesNotMatter() throws {
        try PictureFixtures.withFolder { folder in
            for (file, name) in [
                ("rgb8.png", "a.jpg"), ("baseline_444.jpg", "b.png"), ("gray.jpg", "c"), ("gray8.png", "d.txt"),
                ("lossless.webp", "e.gif"), ("palette.gif", "f.tif"), ("strips.tif", "g.bmp"), ("rle8.bmp", "h.webp"),
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
        for (file, expected) in [
            ("exif_behind_others.jpg", ExifOrientation.turn90), ("xmp_6.jpg", .turn90), ("profile_8.png", .turn270),
            ("xmp_deflated_6.png", .turn90), ("exif_6.webp", .turn90), ("xmp_8.webp", .turn270),
            ("oriented_6.tif", .turn90), ("oriented_big_8.tif", .turn270), ("xmp_3.tif", .turn180),
        ] {
            let whole = try PictureFixtures.bytes(file)
            XCTAssertEqual(ExifOrientation(inFile: whole), expected, file)
            for count in 0..<whole.count {
                let orientation = ExifOrientation(inFile: Array(whole[..<count]))
                XCTAssertTrue(orientation == .upright || orientation == expected, file)
            }
            // Any byte of the file, any wrong value: some orientation comes out, and nothing traps.
            var random = SampleRandom(seed: 6)
            for _ in 0..<1_000 {
                var changed = whole
                for _ in 0..<3 {
                    changed[random.integer(below: min(whole.count, 450))] = UInt8(random.integer(below: 256))
                }
                XCTAssertTrue((1...8).contains(ExifOrientation(inFile: changed).rawValue))
            }
        }
    }
}
