// Layout conversion against the index formula, at every channel count around the block edges.

import CKernels
import CReference
import XCTest

final class BlockedLayoutTests: XCTestCase {
    private let shapes: [(n: Int32, c: Int32, h: Int32, w: Int32)] =
        [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48].flatMap { c -> [(Int32, Int32, Int32, Int32)] in
            [(1, c, 1, 1), (2, c, 3, 5), (3, c, 4, 4), (1, c, 7, 13)]
        } + [(1, 3, 65, 67), (2, 20, 33, 31)]

    func testCountIsWholeBlocksAndRefusesWhatDoesNotFit() {
        forEachISA { _ in
            let block = Int(ck_block())
            XCTAssertEqual(ck_blocked_count(2, 1, 3, 5), 2 * block * 15)
            XCTAssertEqual(ck_blocked_count(2, Int32(block), 3, 5), 2 * block * 15)
            XCTAssertEqual(ck_blocked_count(2, Int32(block) + 1, 3, 5), 4 * block * 15)
            for bad: Int32 in [0, -1, .min] {
                XCTAssertEqual(ck_blocked_count(bad, 1, 1, 1), 0)
                XCTAssertEqual(ck_blocked_count(1, bad, 1, 1), 0)
                XCTAssertEqual(ck_blocked_count(1, 1, bad, 1), 0)
                XCTAssertEqual(ck_blocked_count(1, 1, 1, bad), 0)
            }
            XCTAssertEqual(ck_blocked_count(.max, .max, .max, .max), 0)
            XCTAssertEqual(ck_blocked_count(.max, .max, 1, 1), 0, "2^62 floats have no address")
            XCTAssertGreaterThan(ck_blocked_count(1, .max, 1, 1), Int(Int32.max) - 1)
        }
    }

    func testNCHW() {
        forEachISA { isa in
            for (i, s) in shapes.enumerated() {
                let plane = Int(s.h * s.w)
                let threads = Int32(i % 4)
                let plain = uniform(Int(s.n * s.c) * plane, seed: UInt64(i))
                let expected = blocked(plain, n: s.n, c: s.c, plane: plane)
                let placement: GuardedBuffer<Float>.Placement = i % 2 == 0 ? .start : .end
                let src = GuardedBuffer(plain, alignment: 4, placement: placement)
                let dst = GuardedBuffer<Float>(count: expected.count, placement: placement)
                let back = GuardedBuffer<Float>(count: plain.count, alignment: 4, placement: placement)
                XCTAssertEqual(ck_nchw_to_blocked(src.pointer, s.n, s.c, s.h, s.w, dst.pointer, threads), CK_OK)
                XCTAssertEqual(dst.array, expected, "\(isa.title) \(s)")
                XCTAssertEqual(ck_blocked_to_nchw(dst.pointer, s.n, s.c, s.h, s.w, back.pointer, threads), CK_OK)
                XCTAssertEqual(back.array, plain, "\(isa.title) \(s)")
                XCTAssertTrue(dst.slackIsIntact && back.slackIsIntact)
            }
        }
    }

    func testNHWCFloatsAndBytes() {
        forEachISA { isa in
            for (i, s) in shapes.enumerated() {
                let plane = Int(s.h * s.w)
                let threads = Int32(i % 4)
                let channels = Int(s.c)
                let pixels = bytes(Int(s.n * s.c) * plane, seed: UInt64(i))
                // Powers of two and their multiples: exact with and without a fused multiply-add.
                let scale = (0..<channels).map { Float($0 % 3 + 1) * 0x1p-7 }
                let shift = (0..<channels).map { Float($0 % 5) * -0.25 }
                var planar = [Float](repeating: 0, count: pixels.count)
                var scaled = planar
                for (at, byte) in pixels.enumerated() {
                    let channel = at % channels
                    let pixel = at / channels % plane
                    let image = at / channels / plane
                    let to = (image * channels + channel) * plane + pixel
                    planar[to] = Float(byte)
                    scaled[to] = Float(byte) * scale[channel] + shift[channel]
                }
                let src8 = GuardedBuffer(pixels, alignment: 1)
                let src = GuardedBuffer(pixels.map(Float.init), alignment: 4)
                let scales = GuardedBuffer(scale, alignment: 4)
                let shifts = GuardedBuffer(shift, alignment: 4)
                let dst = GuardedBuffer<Float>(count: ck_blocked_count(s.n, s.c, s.h, s.w))
                XCTAssertEqual(ck_nhwc_to_blocked(src.pointer, s.n, s.c, s.h, s.w, dst.pointer, threads), CK_OK)
                XCTAssertEqual(dst.array, blocked(planar, n: s.n, c: s.c, plane: plane), "\(isa.title) \(s)")
                cr_poison(dst.pointer, dst.byteCount)
                XCTAssertEqual(
                    ck_nhwc8_to_blocked(
                        src8.pointer, s.n, s.c, s.h, s.w, scales.pointer, shifts.pointer, dst.pointer, threads), CK_OK)
                XCTAssertEqual(dst.array, blocked(scaled, n: s.n, c: s.c, plane: plane), "\(isa.title) \(s)")
                XCTAssertTrue(dst.slackIsIntact)
            }
        }
    }

    func testBadArgumentsAreRefused() {
        var a = [Float](repeating: 0, count: 64)
        var b = a
        let pixels = [UInt8](repeating: 0, count: 64)
        XCTAssertEqual(ck_nchw_to_blocked(nil, 1, 1, 1, 1, &b, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_nchw_to_blocked(a, 1, 1, 1, 1, nil, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_nchw_to_blocked(a, 1, 1, 1, 1, &b, -1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_blocked_to_nchw(nil, 1, 1, 1, 1, &a, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_nhwc_to_blocked(a, 1, 1, 1, 1, nil, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_nhwc8_to_blocked(pixels, 1, 1, 1, 1, nil, a, &b, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_nhwc8_to_blocked(pixels, 1, 1, 1, 1, a, nil, &b, 1), CK_INVALID_ARGUMENT)
        for bad: Int32 in [0, -1] {
            XCTAssertEqual(ck_nchw_to_blocked(a, bad, 1, 1, 1, &b, 1), CK_INVALID_ARGUMENT)
            XCTAssertEqual(ck_blocked_to_nchw(a, 1, bad, 1, 1, &b, 1), CK_INVALID_ARGUMENT)
            XCTAssertEqual(ck_nhwc_to_blocked(a, 1, 1, bad, 1, &b, 1), CK_INVALID_ARGUMENT)
            XCTAssertEqual(ck_nhwc8_to_blocked(pixels, 1, 1, 1, bad, a, a, &b, 1), CK_INVALID_ARGUMENT)
        }
        XCTAssertEqual(ck_nchw_to_blocked(a, .max, .max, .max, .max, &b, 1), CK_OUT_OF_MEMORY)
    }
}
