// Turning, converting and coloring bytes, each against its definition written out plainly.

import CKernels
import XCTest

final class PixelKernelTests: XCTestCase {
    private func noise(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: ($0 &* 7919 + 13) ^ ($0 >> 3)) }
    }

    func testEveryOrientationMovesEveryPixelWhereExifSays() {
        // 70 and 33 pass the edge of a tile.
        for (height, width, channels) in [(1, 1, 3), (2, 3, 1), (5, 4, 3), (70, 33, 3), (33, 70, 4)] {
            let source = noise(height * width * channels)
            for orientation in 1...8 {
                let swapped = orientation > 4
                let (rows, columns) = swapped ? (width, height) : (height, width)
                var target = [UInt8](repeating: 0, count: source.count)
                let status = ck_orient_u8(
                    source, Int32(height), Int32(width), Int32(channels), Int32(orientation), &target)
                XCTAssertEqual(status, CK_OK)
                for y in 0..<rows {
                    for x in 0..<columns {
                        // Which row and column of the stored picture is shown at (y, x): EXIF's table.
                        let (row, column) =
                            switch orientation {
                            case 1: (y, x)
                            case 2: (y, width - 1 - x)
                            case 3: (height - 1 - y, width - 1 - x)
                            case 4: (height - 1 - y, x)
                            case 5: (x, y)
                            case 6: (height - 1 - x, y)
                            case 7: (height - 1 - x, width - 1 - y)
                            default: (x, width - 1 - y)
                            }
                        for c in 0..<channels
                        where target[(y * columns + x) * channels + c]
                            != source[(row * width + column) * channels + c]
                        {
                            return XCTFail("orientation \(orientation) of \(height) x \(width) at (\(y), \(x))")
                        }
                    }
                }
            }
        }
    }

    func testBytesBecomeFloatsPlaneByPlane() {
        for (n, c, h, w) in [(1, 1, 1, 1), (2, 3, 5, 7), (3, 4, 2, 9), (2, 3, 120, 110)] {
            let source = noise(n * c * h * w)
            let scale = (0..<c).map { 0.25 + Float($0) }
            let shift = (0..<c).map { Float($0) - 1.5 }
            for threads: Int32 in [1, 2, 5] {
                var target = [Float](repeating: .nan, count: source.count)
                let status = ck_nhwc8_to_nchw(
                    source, Int32(n), Int32(c), Int32(h), Int32(w), scale, shift, &target, threads)
                XCTAssertEqual(status, CK_OK)
                for i in 0..<n {
                    for k in 0..<c {
                        for p in 0..<h * w {
                            let expected = Float(source[(i * h * w + p) * c + k]) * scale[k] + shift[k]
                            let found = target[(i * c + k) * h * w + p]
                            if found != expected { return XCTFail("(\(i), \(k), \(p)): \(found), not \(expected)") }
                        }
                    }
                }
            }
        }
    }

    func testInterleavePutsPartsSideBySide() {
        let (a, b): ([UInt8], [UInt8]) = ([1, 2, 3], [10, 11, 20, 21, 30, 31])
        var target = [UInt8](repeating: 0, count: 9)
        target.withUnsafeMutableBufferPointer {
            XCTAssertEqual(ck_interleave_u8(a, 3, 1, $0.baseAddress, 3), CK_OK)
            XCTAssertEqual(ck_interleave_u8(b, 3, 2, $0.baseAddress! + 1, 3), CK_OK)
        }
        XCTAssertEqual(target, [1, 10, 11, 2, 20, 21, 3, 30, 31])
    }

    func testWrongArgumentsAreRefused() {
        let source = noise(12)
        var target = [UInt8](repeating: 0, count: 12)
        var floats = [Float](repeating: 0, count: 12)
        let one: [Float] = [1, 1, 1]
        for orientation: Int32 in [0, 9, -1] {
            XCTAssertEqual(ck_orient_u8(source, 2, 2, 3, orientation, &target), CK_INVALID_ARGUMENT)
        }
        XCTAssertEqual(ck_orient_u8(source, 0, 2, 3, 2, &target), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_orient_u8(nil, 2, 2, 3, 2, &target), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_nhwc8_to_nchw(source, 1, 3, 2, 2, nil, one, &floats, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_nhwc8_to_nchw(source, 1, 3, 0, 2, one, one, &floats, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_interleave_u8(source, 3, 4, &target, 3), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_grey_u8(nil, 3, &target), CK_INVALID_ARGUMENT)
        for factor: Float in [-0.1, .nan] {
            XCTAssertEqual(ck_brightness_u8(&target, 12, factor), CK_INVALID_ARGUMENT)
            XCTAssertEqual(ck_contrast_u8(&target, 4, 3, factor), CK_INVALID_ARGUMENT)
            XCTAssertEqual(ck_saturation_u8(&target, 4, factor), CK_INVALID_ARGUMENT)
        }
        XCTAssertEqual(ck_contrast_u8(&target, 6, 2, 0.5), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_hue_u8(&target, 4, 0.51), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_hue_u8(&target, 4, .nan), CK_INVALID_ARGUMENT)
    }
}
