// Files that are no pictures, or no longer: each gets a typed error that names it; none a crash.

import ResNetSwift
import XCTest

final class PictureFaultTests: XCTestCase {
    private func fault(
        _ bytes: [UInt8], _ name: String = "x", limit: Int = Picture.pixelLimit
    ) -> PictureError.Fault? {
        do {
            _ = try Picture(bytes: bytes, name: name, pixelLimit: limit)
            return nil
        } catch {
            XCTAssertEqual(error.path, name)
            XCTAssertTrue("\(error)".hasPrefix("\(name): "), "\(error)")
            return error.fault
        }
    }

    private func bigEndian(_ value: Int, bytes: Int) -> [UInt8] {
        (0..<bytes).reversed().map { UInt8(value >> (8 * $0) & 255) }
    }

    private func crc32(_ bytes: ArraySlice<UInt8>) -> Int {
        let value = bytes.reduce(UInt32.max) { crc, byte in
            (0..<8).reduce(crc ^ UInt32(byte)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0xedb8_8320 : crc >> 1 }
        }
        return Int(~value)
    }

    /// A PNG whose header claims another size, with a right checksum.
    private func png(claiming height: Int, _ width: Int) throws -> [UInt8] {
        var bytes = try PictureFixtures.bytes("rgb8.png")
        bytes.replaceSubrange(16..<24, with: bigEndian(width, bytes: 4) + bigEndian(height, bytes: 4))
        bytes.replaceSubrange(29..<33, with: bigEndian(crc32(bytes[12..<29]), bytes: 4))
        return bytes
    }

    /// A JPEG whose frame header claims another size.
    private func jpeg(claiming height: Int, _ width: Int, in file: String = "baseline_444.jpg") throws -> [UInt8] {
        var bytes = try PictureFixtures.bytes(file)
        let frame = try XCTUnwrap(
            bytes.indices.first { bytes[$0] == 0xff && [0xc0, 0xc2].contains(bytes[$0 + 1]) && bytes[$0 + 4] == 8 })
        bytes.replaceSubrange(frame + 5..<frame + 9, with: bigEndian(height, bytes: 2) + bigEndian(width, bytes: 2))
        return bytes
    }

    // MARK: - Files

    func testPathsThatAreNoFiles() throws {
        func fault(_ path: String) -> PictureError.Fault? {
            do { _ = try Picture(contentsOf: path) } catch {
                XCTAssertEqual(error.path, path)
                return error.fault
            }
            return nil
        }
        XCTAssertEqual(fault("/nonexistent/cat.jpg"), .missing)
        XCTAssertEqual(fault(PictureFixtures.path("rgb8.png") + "/cat.jpg"), .missing)
        XCTAssertEqual(fault(PictureFixtures.folder), .notAFile)
        XCTAssertEqual(fault("/dev/null"), .notAFile)
        try PictureFixtures.withFolder { folder in
            XCTAssertEqual(mkfifo("\(folder)/pipe.jpg", 0o600), 0)
            XCTAssertEqual(fault("\(folder)/pipe.jpg"), .notAFile)
            XCTAssertTrue(FileManager.default.createFile(atPath: "\(folder)/empty.png", contents: Data()))
            XCTAssertEqual(fault("\(folder)/empty.png"), .empty)
            try FileManager.default.createSymbolicLink(atPath: "\(folder)/link.png", withDestinationPath: "nowhere")
            XCTAssertEqual(fault("\(folder)/link.png"), .missing)
            XCTAssertEqual(truncate("\(folder)/empty.png", off_t(Picture.fileLimit + 1)), 0)
            guard case .tooLarge = fault("\(folder)/empty.png") else { return XCTFail("a sparse file of a gigabyte") }
        }
    }

    func testOtherKindsOfFilesAreNamed() {
        func what(_ text: String) -> String? {
            guard case .unknownFormat(let what) = fault(Array(text.utf8)) else { return nil }
            return what
        }
        XCTAssertEqual(what("<!DOCTYPE html><html>"), "it is an HTML or XML page, perhaps a failed download")
        XCTAssertEqual(
            what("version https://git-lfs.github.com/spec/v1\n"), "it is a Git-LFS pointer: run git lfs pull")
        XCTAssertEqual(what("....ftypheic...."), "it is a HEIC: convert it first")
        XCTAssertEqual(what("....ftypavif...."), "it is an AVIF: convert it first")
        XCTAssertEqual(what("....ftypisom...."), "it is a HEIC, AVIF or video file: convert it first")
        XCTAssertEqual(what("<svg xmlns=\"http:"), "it is an SVG: convert it first")
        XCTAssertEqual(what("8BPS\0\u{1}......"), "it is a Photoshop file: convert it first")
        XCTAssertEqual(what("P6\n2 2\n255\n..."), "it is a PNM: convert it first")
        XCTAssertEqual(
            what("BM.............."), "it begins with the bytes 42 4d 2e 2e 2e 2e 2e 2e", "no header of a BMP")
        XCTAssertEqual(what("%PDF-1.7........"), "it is a PDF")
        XCTAssertEqual(what("abc"), "it has only 3 bytes")
        XCTAssertEqual(what("\u{1}bcdefghi"), "it begins with the bytes 01 62 63 64 65 66 67 68")
        XCTAssertNotNil(what("\u{89}PNG\r\n\u{1a}\r"), "a damaged PNG signature")
    }

    // MARK: - Bytes

    /// Cut anywhere, a JPEG is an error. A PNG is one until its last pixel has come; behind that, a warning.
    func testCutFiles() throws {
        for file in ["baseline_420.jpg", "progressive_444.jpg", "gray.jpg", "cmyk.jpg", "restart.jpg", "exif_6.jpg"] {
            let whole = try PictureFixtures.bytes(file)
            for count in 1..<whole.count {
                switch fault(Array(whole[..<count])) {
                case .truncated: break
                case .unknownFormat where count < 3: break
                case let other: XCTFail("\(file) cut at \(count): \(String(describing: other))")
                }
            }
        }
        for file in ["rgb8.png", "palette8.png", "interlaced_rgba16.png", "gray1.png"] {
            let whole = try PictureFixtures.bytes(file)
            let expected = try Picture(bytes: whole, name: file).pixels
            var complete = 0
            for count in 1..<whole.count {
                switch fault(Array(whole[..<count])) {
                case .truncated: XCTAssertEqual(complete, 0, "\(file) at \(count): read with fewer bytes")
                case .unknownFormat where count < 8: break
                case nil:
                    complete += 1
                    let picture = try Picture(bytes: Array(whole[..<count]), name: file)
                    XCTAssertEqual(picture.pixels, expected)
                    XCTAssertEqual(picture.warnings.count, 1, "\(file) at \(count)")
                case let other: XCTFail("\(file) cut at \(count): \(String(describing: other))")
                }
            }
            // IEND has 12 bytes; the checksum of IDAT and of zlib may come late too.
            XCTAssertTrue((1...24).contains(complete), "\(file): \(complete)")
        }
    }

    /// Cut before its last pixel, a picture of the other formats is an error too.
    func testCutFilesOfOtherFormats() throws {
        for (file, needed) in [
            ("lossless.webp", 1.0), ("lossy.webp", 1.0), ("animated.webp", 0.5), ("palette.gif", 0.9),
            ("interlaced.gif", 0.9), ("rgb24.bmp", 0.99), ("rle8.bmp", 0.9), ("palette1.bmp", 0.95),
            ("strips.tif", 0.9),
            ("tiles_deflate.tif", 0.9), ("lzw.tif", 0.9), ("group4.tif", 0.9),
        ] {
            let whole = try PictureFixtures.bytes(file)
            XCTAssertNil(fault(whole), file)
            for count in 1..<Int(Double(whole.count) * needed) {
                XCTAssertNotNil(fault(Array(whole[..<count])), "\(file) cut at \(count) of \(whole.count)")
            }
        }
    }

    func testLiesAboutTheSize() throws {
        for (height, width) in [(0, 10), (10, 0), (0, 0)] {
            guard case .corrupt = fault(try png(claiming: height, width)) else {
                return XCTFail("PNG \(height) x \(width)")
            }
            guard case .corrupt = fault(try jpeg(claiming: height, width)) else {
                return XCTFail("JPEG \(height) x \(width)")
            }
        }
        // More than the limit: refused before any pixel is paid for.
        for bytes in [try png(claiming: 20_000, 20_000), try jpeg(claiming: 20_000, 20_000)] {
            guard case .tooLarge(let why) = fault(bytes) else { return XCTFail("\(String(describing: fault(bytes)))") }
            XCTAssertEqual(why, "20000 x 20000 pixels are more than the limit of 200000000")
        }
        for (height, width) in [(1, 2_000_000_000), (2_000_000_000, 1), (0x8000_0000, 1)] {
            XCTAssertNotNil(fault(try png(claiming: height, width)), "\(height) x \(width)")
        }
        // Under the limit, but more than so few bytes can hold.
        XCTAssertEqual(
            fault(try jpeg(claiming: 14_000, 14_000)), .corrupt("the header claims more pixels than the file can hold"))
        // Taller than the data: a PNG lacks rows; a JPEG decoder fills in and warns.
        switch fault(try png(claiming: 40, 22)) {
        case .corrupt, .truncated: break
        case let other: XCTFail("\(String(describing: other))")
        }
        let tall = try Picture(bytes: try jpeg(claiming: 60, 34), name: "tall")
        XCTAssertEqual([tall.height, tall.width, tall.warnings.count], [60, 34, 1])
    }

    func testDamageThatIsSurvivedIsReported() throws {
        // Stray bytes between two segments: libjpeg skips them and says so.
        var bytes = try PictureFixtures.bytes("baseline_444.jpg")
        let whole = try Picture(bytes: bytes, name: "x")
        bytes.insert(contentsOf: [1, 2, 3], at: 4 + Int(bytes[4]) << 8 + Int(bytes[5]))
        let picture = try Picture(bytes: bytes, name: "x")
        XCTAssertEqual(picture.pixels, whole.pixels)
        XCTAssertEqual(picture.warnings, ["Corrupt JPEG data: 3 extraneous bytes before marker 0xdb"])
    }

    func testUnsupportedKinds() throws {
        // Lossless JPEG (SOF3) in place of baseline.
        var bytes = try PictureFixtures.bytes("baseline_444.jpg")
        let frame = try XCTUnwrap(bytes.indices.first { bytes[$0] == 0xff && bytes[$0 + 1] == 0xc0 })
        bytes[frame + 1] = 0xc3
        XCTAssertEqual(fault(bytes), .unsupported("Unsupported JPEG process: SOF type 0xc3"))
    }

    func testAWrongChecksumIsDamage() throws {
        var bytes = try PictureFixtures.bytes("rgb8.png")
        bytes[30] ^= 1  // of IHDR
        guard case .corrupt(let why) = fault(bytes) else { return XCTFail("IHDR") }
        XCTAssertEqual(why, "IHDR: CRC error")
    }

    /// Seeded damage of every kind: a picture or a typed error, never a crash (run it under the sanitizers).
    func testMutatedFilesNeverCrash() throws {
        let files = [
            "baseline_420.jpg", "progressive_420.jpg", "restart.jpg", "gray_progressive.jpg", "cmyk.jpg",
            "ycck_420.jpg",
            "exif_6.jpg", "rgb8.png", "palette4.png", "palette8_trns.png", "interlaced_rgba16.png", "gray16.png",
            "exif_behind_8.png", "profile_8.png", "lossless.webp", "lossy_alpha.webp", "animated.webp", "xmp_8.webp",
            "interlaced.gif", "animated.gif", "os2.bmp", "rgba_masks.bmp", "rle8.bmp", "rle4.bmp", "tiles_deflate.tif",
            "planes.tif", "lzw.tif", "group4.tif", "jpeg.tif", "zstd.tif", "ycbcr.tif", "gray_float.tif", "bigtiff.tif",
        ]
        // The libraries' own way is to print to stderr; here nothing may.
        let said = "\(FileManager.default.temporaryDirectory.path)/\(UUID().uuidString)"
        let (standardError, capture) = (dup(2), open(said, O_WRONLY | O_CREAT, 0o600))
        XCTAssertGreaterThanOrEqual(dup2(capture, 2), 0)
        var (read, refused) = (0, 0)
        for (number, file) in files.enumerated() {
            let whole = try PictureFixtures.bytes(file)
            for round in 0..<200 {
                var random = SampleRandom(seed: 1, epoch: number, sample: round)
                var bytes = whole
                for _ in 0...random.integer(below: 4) {
                    let at = random.integer(below: bytes.count)
                    switch random.integer(below: 5) {
                    case 0: bytes[at] = UInt8(random.integer(below: 256))
                    case 1: bytes[at] ^= 1 << UInt8(random.integer(below: 8))
                    case 2: bytes.remove(at: at)
                    case 3: bytes.insert(UInt8(random.integer(below: 256)), at: at)
                    default: bytes.replaceSubrange(at..<min(at + 4, bytes.count), with: [0xff, 0xff, 0xff, 0xff])
                    }
                }
                // Sizes that are merely large cost time, not safety: the limit keeps the loop short.
                if fault(bytes, limit: 1 << 22) == nil { read += 1 } else { refused += 1 }
            }
        }
        dup2(standardError, 2)
        close(standardError)
        close(capture)
        XCTAssertEqual(try String(contentsOfFile: said, encoding: .utf8), "")
        unlink(said)
        XCTAssertGreaterThan(read, 200, "some damage is survived")
        XCTAssertGreaterThan(refused, 1000, "most is not")
    }
}
