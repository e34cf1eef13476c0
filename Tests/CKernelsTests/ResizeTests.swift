// ck_resize_u8 against Pillow's pixels: equal, every one.

import CKernels
import Foundation
import XCTest

/// Byte patterns and hashes as scripts/make_picture_fixtures.py makes them.
private enum PixelPattern {
    static func bytes(count: Int, seed: Int) -> [UInt8] {
        (0..<count).map { index in
            var value = UInt32(truncatingIfNeeded: index + seed) &* 2_654_435_761
            value ^= value >> 15
            return UInt8((value &* 2_246_822_519) >> 24)
        }
    }

    static func hash(_ bytes: [UInt8]) -> String {
        let value = bytes.reduce(UInt64(0xcbf2_9ce4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

private struct ResizeFixtures: Decodable {
    struct Case: Decodable {
        let height, width, channels, seed, outHeight, outWidth: Int
        let filter: String
        let box: [Double]
        let offset, count: Int?
        let hash: String?
    }
    let resize, resizeHashes: [Case]

    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Fixtures/pictures")

    static func load() throws -> (ResizeFixtures, pixels: [UInt8]) {
        let index = try Data(contentsOf: folder.appendingPathComponent("index.json"))
        let pixels = try Data(contentsOf: folder.appendingPathComponent("pixels.bin"))
        return (try JSONDecoder().decode(ResizeFixtures.self, from: index), [UInt8](pixels))
    }
}

final class ResizeTests: XCTestCase {
    /// Resizes the case's pattern. `margin`: bytes of rubbish behind each source row, which must not matter.
    private func resize(_ item: ResizeFixtures.Case, threads: Int32 = 1, margin: Int = 0) -> (ck_status, [UInt8]) {
        let row = item.width * item.channels
        let plain = PixelPattern.bytes(count: item.height * row, seed: item.seed)
        var source: [UInt8] = []
        for y in 0..<item.height {
            source += plain[y * row..<(y + 1) * row] + [UInt8](repeating: 255, count: margin)
        }
        var target = [UInt8](repeating: 7, count: item.outHeight * item.outWidth * item.channels + 16)
        let status = ck_resize_u8(
            source, Int32(item.height), Int32(item.width), Int32(item.channels), row + margin, item.box[0], item.box[1],
            item.box[2], item.box[3], &target, Int32(item.outHeight), Int32(item.outWidth),
            item.filter == "bilinear" ? CK_BILINEAR : CK_BICUBIC, threads)
        XCTAssertEqual([UInt8](target.suffix(16)), [UInt8](repeating: 7, count: 16), "wrote past the end: \(item)")
        return (status, target.dropLast(16))
    }

    func testPixelsEqualPillows() throws {
        let (fixtures, pixels) = try ResizeFixtures.load()
        XCTAssertEqual(fixtures.resize.count, 32)
        for item in fixtures.resize {
            let expected = [UInt8](pixels[item.offset!..<item.offset! + item.count!])
            let (status, found) = resize(item)
            XCTAssertEqual(status, CK_OK)
            let differences = zip(found, expected).map { abs(Int($0) - Int($1)) }
            XCTAssertEqual(
                differences.max(), 0, "\(item): mean difference \(differences.reduce(0, +)) / \(expected.count)")
        }
    }

    func testManyShapesAndBoxesEqualPillowsByHash() throws {
        let (fixtures, _) = try ResizeFixtures.load()
        XCTAssertEqual(fixtures.resizeHashes.count, 160)
        for item in fixtures.resizeHashes {
            let (status, found) = resize(item, margin: item.seed % 2 * 5)
            XCTAssertEqual(status, CK_OK)
            XCTAssertEqual(PixelPattern.hash(found), item.hash!, "\(item)")
        }
    }

    func testThreadsChangeNothing() {
        for (outHeight, outWidth) in [(128, 341), (500, 100)] {
            let item = ResizeFixtures.Case(
                height: 300, width: 250, channels: 3, seed: 1, outHeight: outHeight, outWidth: outWidth,
                filter: "bicubic", box: [0, 0, 250, 300], offset: nil, count: nil, hash: nil)
            let one = resize(item).1
            for threads: Int32 in [0, 2, 3, 16] {
                let (status, found) = resize(item, threads: threads)
                XCTAssertEqual(status, CK_OK)
                XCTAssertTrue(found == one, "\(threads) threads")
            }
        }
    }

    func testManyChannelsAreResizedOneByOne() {
        let shape = (height: 13, width: 17, outHeight: 6, outWidth: 30)
        func run(_ source: [UInt8], channels: Int) -> [UInt8] {
            var target = [UInt8](repeating: 0, count: shape.outHeight * shape.outWidth * channels)
            let status = ck_resize_u8(
                source, Int32(shape.height), Int32(shape.width), Int32(channels), shape.width * channels, 0, 0,
                Double(shape.width), Double(shape.height), &target, Int32(shape.outHeight), Int32(shape.outWidth),
                CK_BICUBIC, 1)
            XCTAssertEqual(status, CK_OK)
            return target
        }
        for channels in [2, 5, 7] {
            let source = PixelPattern.bytes(count: shape.height * shape.width * channels, seed: channels)
            let together = run(source, channels: channels)
            for c in 0..<channels {
                let plane = stride(from: c, to: source.count, by: channels).map { source[$0] }
                let expected = run(plane, channels: 1)
                XCTAssertEqual(stride(from: c, to: together.count, by: channels).map { together[$0] }, expected)
            }
        }
    }

    func testHugeRatiosAndConstantPictures() {
        // A constant picture stays constant whatever the filter: its weights sum to one.
        for (height, width, outHeight, outWidth) in [
            (1, 100_000, 1, 1), (100_000, 1, 1, 1), (1, 1, 300, 300), (3000, 2, 2, 3),
        ] {
            for filter in [CK_BILINEAR, CK_BICUBIC] {
                let source = [UInt8](repeating: 201, count: height * width)
                var target = [UInt8](repeating: 0, count: outHeight * outWidth)
                let status = ck_resize_u8(
                    source, Int32(height), Int32(width), 1, width, 0, 0, Double(width), Double(height), &target,
                    Int32(outHeight), Int32(outWidth), filter, 1)
                XCTAssertEqual(status, CK_OK)
                XCTAssertEqual(Set(target), [201], "\(height) x \(width) to \(outHeight) x \(outWidth)")
            }
        }
    }

    func testWrongArgumentsAreRefused() {
        let source = [UInt8](repeating: 0, count: 4 * 5 * 3)
        var target = [UInt8](repeating: 0, count: 64)
        func status(
            height: Int32 = 4, width: Int32 = 5, channels: Int32 = 3, stride: Int = 15, box: [Double] = [0, 0, 5, 4],
            outHeight: Int32 = 2, outWidth: Int32 = 2, filter: UInt32 = 0, threads: Int32 = 1
        ) -> ck_status {
            ck_resize_u8(
                source, height, width, channels, stride, box[0], box[1], box[2], box[3], &target, outHeight, outWidth,
                ck_filter(filter), threads)
        }
        XCTAssertEqual(status(), CK_OK)
        XCTAssertEqual(status(height: 0), CK_INVALID_ARGUMENT)
        XCTAssertEqual(status(width: -1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(status(channels: 0), CK_INVALID_ARGUMENT)
        XCTAssertEqual(status(stride: 14), CK_INVALID_ARGUMENT)
        XCTAssertEqual(status(outHeight: 0), CK_INVALID_ARGUMENT)
        XCTAssertEqual(status(outWidth: 0), CK_INVALID_ARGUMENT)
        XCTAssertEqual(status(filter: 2), CK_INVALID_ARGUMENT)
        XCTAssertEqual(status(threads: -1), CK_INVALID_ARGUMENT)
        for box in [
            [-0.1, 0, 5, 4], [0, 0, 5.1, 4], [0, 0, 5, 4.1], [3, 0, 3, 4], [0, 3, 5, 2], [0, .nan, 5, 4],
            [0, 0, .nan, 4],
            [0, 0, .infinity, 4],
        ] {
            XCTAssertEqual(status(box: box), CK_INVALID_ARGUMENT, "\(box)")
        }
        XCTAssertEqual(ck_resize_u8(nil, 4, 5, 3, 15, 0, 0, 5, 4, &target, 2, 2, CK_BILINEAR, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_resize_u8(source, 4, 5, 3, 15, 0, 0, 5, 4, nil, 2, 2, CK_BILINEAR, 1), CK_INVALID_ARGUMENT)
    }
}
