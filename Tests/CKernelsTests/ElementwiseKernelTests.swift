// Elementwise operations, scale and shift, concatenation and batch-norm folding.

import CKernels
import CReference
import XCTest

final class ElementwiseKernelTests: XCTestCase {
    private let counts = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1000, 40_001]

    func testAddAndReLUAreExact() {
        forEachISA { isa in
            for (i, count) in counts.enumerated() {
                var a = uniform(count, seed: UInt64(i))
                var b = uniform(count, seed: UInt64(i + 100))
                a[count / 2] = i % 2 == 0 ? .nan : -.infinity
                b[0] = -0.0
                let threads = Int32(i % 4)
                let placement: GuardedBuffer<Float>.Placement = i % 2 == 0 ? .start : .end
                let left = GuardedBuffer(a, alignment: 4, placement: placement)
                let right = GuardedBuffer(b, alignment: 4, placement: placement)
                let y = GuardedBuffer<Float>(count: count, alignment: 4, placement: placement)
                func same(_ actual: [Float], _ expected: [Float], _ what: String) {
                    let equal = zip(actual, expected).allSatisfy { $0 == $1 || ($0.isNaN && $1.isNaN) }
                    XCTAssertTrue(equal, "\(what) \(count) \(isa.title)")
                }
                let sum = zip(a, b).map { $0 + $1 }
                let positive = sum.map { $0 < 0 ? 0 : $0 }
                XCTAssertEqual(ck_add(left.pointer, right.pointer, y.pointer, count, 0, threads), CK_OK)
                same(y.array, sum, "add")
                XCTAssertEqual(ck_add(left.pointer, right.pointer, y.pointer, count, 1, threads), CK_OK)
                same(y.array, positive, "add+relu")
                XCTAssertEqual(ck_relu(left.pointer, y.pointer, count, threads), CK_OK)
                same(y.array, a.map { $0 < 0 ? 0 : $0 }, "relu")
                XCTAssertEqual(ck_add(left.pointer, right.pointer, right.pointer, count, 1, threads), CK_OK)
                same(right.array, positive, "add+relu onto b")
                XCTAssertEqual(ck_relu(left.pointer, left.pointer, count, threads), CK_OK)
                same(left.array, a.map { $0 < 0 ? 0 : $0 }, "relu in place")
                XCTAssertTrue(y.slackIsIntact && left.slackIsIntact && right.slackIsIntact)
            }
        }
    }

    func testSigmoid() {
        for (i, count) in counts.enumerated() {
            let x = uniform(count, seed: UInt64(i), -40...40)
            var expected = [Double](repeating: 0, count: count)
            cr_sigmoid(x, count, &expected)
            let src = GuardedBuffer(x, alignment: 4)
            let dst = GuardedBuffer<Float>(count: count, alignment: 4)
            XCTAssertEqual(ck_sigmoid(src.pointer, dst.pointer, count, Int32(i % 4)), CK_OK)
            // expf within an ulp (2 u), an addition and a division.
            assertClose(dst.array, expected, relative: expected, factor: 5 * roundoff, "sigmoid \(count)")
            XCTAssertTrue(dst.slackIsIntact)
        }
        var y: [Float] = [0, 0, 0, 0]
        XCTAssertEqual(ck_sigmoid([-.infinity, .infinity, 0, -200], &y, 4, 1), CK_OK)
        XCTAssertEqual(y, [0, 1, 0.5, 0])
        XCTAssertEqual(ck_sigmoid([.nan], &y, 1, 1), CK_OK)
        XCTAssertTrue(y[0].isNaN)
    }

    func testScaleShift() {
        let shapes: [(Int32, Int32, Int32, Int32)] = [
            (1, 1, 1, 1), (2, 3, 3, 5), (3, 16, 7, 7), (1, 17, 5, 6), (2, 33, 40, 41), (1, 64, 9, 1),
        ]
        forEachISA { isa in
            for (i, s) in shapes.enumerated() {
                let (n, c, h, w) = s
                let plane = Int(h * w)
                let relu = i % 2
                let x = uniform(Int(n * c) * plane, seed: UInt64(i))
                let scale = uniform(Int(c), seed: 50)
                let shift = uniform(Int(c), seed: 51)
                var expected = [Double](repeating: 0, count: x.count)
                var size = expected
                for j in x.indices {
                    let channel = j / plane % Int(c)
                    let product = Double(x[j]) * Double(scale[channel])
                    expected[j] = product + Double(shift[channel])
                    size[j] = abs(product) + abs(Double(shift[channel]))
                    if relu == 1 && expected[j] < 0 { expected[j] = 0 }
                }
                let src = GuardedBuffer(blocked(x, n: n, c: c, plane: plane))
                let scales = GuardedBuffer(padded(scale), alignment: 4)
                let shifts = GuardedBuffer(padded(shift), alignment: 4)
                let dst = GuardedBuffer<Float>(count: src.count)
                for y in [dst, src] {
                    let status = ck_scale_shift(
                        src.pointer, scales.pointer, shifts.pointer, n, c, h, w, y.pointer, Int32(relu), Int32(i % 4))
                    XCTAssertEqual(status, CK_OK)
                    assertClose(
                        unblocked(y.pointer, n: n, c: c, plane: plane), expected, relative: size,
                        factor: 2 * roundoff, "\(isa.title) \(s)")
                    XCTAssertEqual(cr_surplus_nonzero(y.pointer, n, c, plane, ck_block()), 0)
                    XCTAssertTrue(y.slackIsIntact)
                }
            }
        }
    }

    /// Parts of many sizes in both orders, into a buffer that starts as NaN.
    func testConcatCopy() {
        let lists: [[Int32]] = [
            [1], [16, 16], [3, 5], [5, 16, 11], [64, 128, 32, 32], [1, 1, 1, 1, 13, 15, 17], [8, 8, 1],
        ]
        let (n, h, w): (Int32, Int32, Int32) = (2, 3, 5)
        let plane = Int(h * w)
        forEachISA { isa in
            for (i, parts) in lists.enumerated() {
                for reversed in [false, true] {
                    let total = parts.reduce(0, +)
                    let whole = uniform(Int(n * total) * plane, seed: UInt64(i))
                    let dst = GuardedBuffer<Float>(count: ck_blocked_count(n, total, h, w))
                    var placed: [(offset: Int32, channels: Int32)] = []
                    for part in parts { placed.append((placed.last.map { $0.offset + $0.channels } ?? 0, part)) }
                    for (offset, channels) in reversed ? placed.reversed() : placed {
                        var part: [Float] = []
                        for image in 0..<Int(n) {
                            let first = (image * Int(total) + Int(offset)) * plane
                            part += whole[first..<first + Int(channels) * plane]
                        }
                        let src = GuardedBuffer(blocked(part, n: n, c: channels, plane: plane))
                        XCTAssertEqual(
                            ck_concat_copy(
                                src.pointer, n, channels, h, w, dst.pointer, total, offset, Int32(i % 4)), CK_OK)
                    }
                    XCTAssertEqual(
                        dst.array, blocked(whole, n: n, c: total, plane: plane), "\(isa.title) \(parts)")
                    XCTAssertTrue(dst.slackIsIntact)
                }
            }
        }
    }

    func testBatchNormFolding() {
        let c = 37
        let gamma = uniform(c, seed: 1)
        let beta = uniform(c, seed: 2)
        let mean = uniform(c, seed: 3, -5...5)
        let variance = uniform(c, seed: 4, 1e-6...3)
        for (g, b) in [(gamma, beta), (nil, beta), (gamma, nil), (nil, nil)] as [([Float]?, [Float]?)] {
            var scale = [Float](repeating: .nan, count: c)
            var shift = scale
            var scales = [Double](repeating: 0, count: c)
            var shifts = scales
            XCTAssertEqual(ck_bn_fold(g, b, mean, variance, 1e-5, Int32(c), &scale, &shift), CK_OK)
            cr_bn_fold(g, b, mean, variance, 1e-5, Int32(c), &scales, &shifts)
            assertClose(scale, scales, relative: scales.map(abs), factor: roundoff, "scale")
            assertClose(shift, shifts, relative: shifts.map(abs), factor: roundoff, "shift")
        }
    }

    func testBadArgumentsAreRefused() {
        let x = [Float](repeating: 1, count: 256)
        var y = x
        var z = x
        XCTAssertEqual(ck_add(nil, x, &y, 4, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_add(x, nil, &y, 4, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_add(x, x, nil, 4, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_add(x, x, &y, 0, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_add(x, x, &y, Int.max, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_add(x, x, &y, 4, 0, -1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_relu(nil, &y, 4, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_sigmoid(x, nil, 4, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_scale_shift(x, nil, x, 1, 1, 1, 1, &y, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_scale_shift(x, x, x, 1, 0, 1, 1, &y, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_scale_shift(x, x, x, .max, .max, .max, .max, &y, 0, 1), CK_OUT_OF_MEMORY)
        XCTAssertEqual(ck_concat_copy(nil, 1, 1, 1, 1, &y, 4, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_concat_copy(x, 1, 3, 1, 1, &y, 4, 2, 1), CK_INVALID_ARGUMENT, "beyond the last channel")
        XCTAssertEqual(ck_concat_copy(x, 1, 5, 1, 1, &y, 4, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_concat_copy(x, 1, 1, 1, 1, &y, 4, -1, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_concat_copy(x, 1, 1, 1, 1, &y, .max, .max, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_bn_fold(nil, nil, nil, x, 0, 1, &y, &z), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_bn_fold(nil, nil, x, x, -1, 1, &y, &z), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_bn_fold(nil, nil, x, x, .nan, 1, &y, &z), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_bn_fold(nil, nil, x, x, 0, 0, &y, &z), CK_INVALID_ARGUMENT)
    }
}
