// The backward passes of pooling, concat, the linear layer and the activations against the reference, and dropout.

import CKernels
import CReference
import XCTest

final class TrainingBackwardTests: XCTestCase {
    private func pools() -> [ck_pool_desc] {
        var all: [ck_pool_desc] = []
        for kernel: Int32 in 1...4 {
            for stride: Int32 in 1...3 {
                for pad in 0...kernel / 2 {
                    for ceil: Int32 in 0...1 {
                        let i = Int32(all.count)
                        all.append(
                            ck_pool_desc(
                                batch: 2, channels: [3, 16, 17, 33][all.count % 4], in_height: kernel + i % 7,
                                in_width: kernel + i % 5, kernel_height: kernel, kernel_width: kernel,
                                stride_height: stride, stride_width: stride, pad_height: pad, pad_width: pad,
                                ceil_mode: ceil, threads: i % 4))
                    }
                }
            }
        }
        all.append(
            ck_pool_desc(
                batch: 3, channels: 64, in_height: 28, in_width: 27, kernel_height: 3, kernel_width: 3,
                stride_height: 2, stride_width: 2, pad_height: 1, pad_width: 1, ceil_mode: 0, threads: 2))
        all.append(
            ck_pool_desc(
                batch: 1, channels: 5, in_height: 9, in_width: 6, kernel_height: 4, kernel_width: 2, stride_height: 3,
                stride_width: 1, pad_height: 2, pad_width: 0, ceil_mode: 1, threads: 3))
        return all
    }

    private func reference(_ d: ck_pool_desc) -> cr_pool {
        cr_pool(
            planes: d.batch * d.channels, h: d.in_height, w: d.in_width, kernel_h: d.kernel_height,
            kernel_w: d.kernel_width, stride_h: d.stride_height, stride_w: d.stride_width, pad_h: d.pad_height,
            pad_w: d.pad_width, ceil_mode: d.ceil_mode)
    }

    /// Integers, so that any order of the sums is exact; ties are frequent and must go to the same pixel.
    func testMaxPoolBackward() {
        for (i, d) in pools().enumerated() {
            var (desc, s) = (d, reference(d))
            let plane = Int(d.in_height * d.in_width)
            let out = Int(cr_pool_out_h(&s) * cr_pool_out_w(&s))
            let planes = Int(s.planes)
            let x = integers(planes * plane, seed: UInt64(i), -3...3)
            let dy = integers(planes * out, seed: UInt64(i + 100), -9...9)
            var y = [Double](repeating: 0, count: planes * out)
            var places = [Int32](repeating: 0, count: planes * out)
            var dx = [Double](repeating: 0, count: planes * plane)
            cr_max_pool(&s, x, &y, &places)
            cr_max_pool_backward(&s, places, dy, &dx)
            forEachISA { isa in
                let src = GuardedBuffer(blocked(x, n: d.batch, c: d.channels, plane: plane))
                let count = cr_blocked_count(d.batch, d.channels, out, ck_block())
                let result = GuardedBuffer<Float>(count: count)
                let argmax = GuardedBuffer<Int32>(count: count)
                XCTAssertEqual(ck_max_pool(&desc, src.pointer, result.pointer, argmax.pointer), CK_OK)
                let grad = GuardedBuffer(blocked(dy, n: d.batch, c: d.channels, plane: out))
                let dst = GuardedBuffer<Float>(count: src.count)
                XCTAssertEqual(ck_max_pool_backward(&desc, grad.pointer, argmax.pointer, dst.pointer), CK_OK)
                XCTAssertEqual(
                    unblocked(dst.pointer, n: d.batch, c: d.channels, plane: plane), dx.map(Float.init),
                    "\(isa.title) \(d)")
                XCTAssertEqual(cr_surplus_nonzero(dst.pointer, d.batch, d.channels, plane, ck_block()), 0)
                XCTAssertTrue(dst.slackIsIntact)
            }
        }
    }

    /// A pixel sums at most as many windows as meet there, each dy / divisor with two roundings.
    func testAveragePoolBackward() {
        for (i, d) in pools().enumerated() {
            var (desc, s) = (d, reference(d))
            let plane = Int(d.in_height * d.in_width)
            let out = Int(cr_pool_out_h(&s) * cr_pool_out_w(&s))
            let planes = Int(s.planes)
            let dy = uniform(planes * out, seed: UInt64(i))
            var dx = [Double](repeating: 0, count: planes * plane)
            var sizes = dx
            cr_average_pool_backward(&s, dy, &dx)
            cr_average_pool_backward(&s, dy.map(abs), &sizes)
            let windows = Double(d.kernel_height * d.kernel_width)
            forEachISA { isa in
                let grad = GuardedBuffer(blocked(dy, n: d.batch, c: d.channels, plane: out))
                let dst = GuardedBuffer<Float>(count: cr_blocked_count(d.batch, d.channels, plane, ck_block()))
                XCTAssertEqual(ck_average_pool_backward(&desc, grad.pointer, dst.pointer), CK_OK)
                assertClose(
                    unblocked(dst.pointer, n: d.batch, c: d.channels, plane: plane), dx, relative: sizes,
                    factor: (windows + 2) * roundoff, "\(isa.title) \(d)")
                XCTAssertEqual(cr_surplus_nonzero(dst.pointer, d.batch, d.channels, plane, ck_block()), 0)
                XCTAssertTrue(dst.slackIsIntact)
            }
        }
    }

    func testGlobalAveragePoolBackward() {
        for (n, c, h, w): (Int32, Int32, Int32, Int32) in [(1, 1, 1, 1), (3, 17, 7, 7), (2, 64, 5, 9), (5, 15, 1, 3)] {
            let plane = Int(h * w)
            let dy = uniform(Int(n * c), seed: 3)
            var dx = [Double](repeating: 0, count: dy.count * plane)
            cr_global_average_pool_backward(dy, n * c, plane, &dx)
            forEachISA { isa in
                let grad = GuardedBuffer(blocked(dy, n: n, c: c, plane: 1))
                let dst = GuardedBuffer<Float>(count: cr_blocked_count(n, c, plane, ck_block()))
                XCTAssertEqual(ck_global_average_pool_backward(grad.pointer, n, c, h, w, dst.pointer, n), CK_OK)
                assertClose(
                    unblocked(dst.pointer, n: n, c: c, plane: plane), dx, relative: dx.map(abs), factor: 2 * roundoff,
                    isa.title)
                XCTAssertEqual(cr_surplus_nonzero(dst.pointer, n, c, plane, ck_block()), 0)
                XCTAssertTrue(dst.slackIsIntact)
            }
        }
    }

    /// What ck_concat_copy puts together comes apart again, bit for bit.
    func testConcatSlice() {
        let lists: [[Int32]] = [
            [1], [16, 16], [3, 5], [5, 16, 11], [64, 128, 32, 32], [1, 1, 1, 1, 13, 15, 17], [8, 8, 1],
        ]
        let (n, h, w): (Int32, Int32, Int32) = (2, 3, 5)
        let plane = Int(h * w)
        forEachISA { isa in
            for (i, parts) in lists.enumerated() {
                let total = parts.reduce(0, +)
                let whole = uniform(Int(n * total) * plane, seed: UInt64(i))
                let src = GuardedBuffer(blocked(whole, n: n, c: total, plane: plane))
                var offset: Int32 = 0
                for part in parts {
                    var expected: [Float] = []
                    for image in 0..<Int(n) {
                        let first = (image * Int(total) + Int(offset)) * plane
                        expected += whole[first..<first + Int(part) * plane]
                    }
                    let dst = GuardedBuffer<Float>(count: ck_blocked_count(n, part, h, w))
                    XCTAssertEqual(
                        ck_concat_slice(src.pointer, n, total, h, w, offset, dst.pointer, part, Int32(i % 4)), CK_OK)
                    XCTAssertEqual(
                        dst.array, blocked(expected, n: n, c: part, plane: plane), "\(isa.title) \(parts) at \(offset)")
                    XCTAssertTrue(dst.slackIsIntact)
                    offset += part
                }
            }
        }
    }

    func testLinearBackward() {
        for (i, (n, inputs, outputs))
            in ([(1, 1, 1), (3, 17, 5), (8, 64, 10), (5, 33, 100), (33, 512, 7), (2, 100, 1000)]
            as [(Int32, Int32, Int32)])
            .enumerated()
        {
            for whole in [true, false] {
                let (rows, columns, results) = (Int(n), Int(inputs), Int(outputs))
                func data(_ count: Int, _ seed: UInt64) -> [Float] {
                    whole ? integers(count, seed: seed, -4...4) : uniform(count, seed: seed)
                }
                let x = data(rows * columns, 1)
                let w = data(results * columns, 2)
                let dy = data(rows * results, 3)
                var dx = [Double](repeating: 0, count: x.count)
                var dw = [Double](repeating: 0, count: w.count)
                var db = [Double](repeating: 0, count: results)
                cr_linear_backward(x, w, dy, n, inputs, outputs, &dx, &dw, &db)
                let (xStride, yStride, dxStride) = (columns + i % 3, results + i % 2, columns + i % 4)
                func spreadRows(_ values: [Float], _ width: Int, _ stride: Int) -> GuardedBuffer<Float> {
                    let buffer = GuardedBuffer<Float>(count: (rows - 1) * stride + width, alignment: 4)
                    for row in 0..<rows {
                        for k in 0..<width { buffer.pointer[row * stride + k] = values[row * width + k] }
                    }
                    return buffer
                }
                let xs = spreadRows(x, columns, xStride)
                let dys = spreadRows(dy, results, yStride)
                let ws = GuardedBuffer(w, alignment: 4)
                let dxs = GuardedBuffer<Float>(count: rows * dxStride, alignment: 4)
                let dws = GuardedBuffer<Float>(count: w.count, alignment: 4)
                let dbs = GuardedBuffer<Float>(count: results, alignment: 4)
                XCTAssertEqual(
                    ck_linear_backward(
                        xs.pointer, xStride, ws.pointer, dys.pointer, yStride, n, inputs, outputs, dxs.pointer,
                        dxStride,
                        dws.pointer, dbs.pointer, Int32(1 + i % 3)), CK_OK)
                var got: [Float] = []
                for row in 0..<rows {
                    for k in 0..<dxStride {
                        let value = dxs.pointer[row * dxStride + k]
                        if k < columns { got.append(value) } else { XCTAssertEqual(value, 0, "between rows") }
                    }
                }
                // Each term is at most 1 in size, or exact.
                let factor = whole ? 0 : roundoff
                assertClose(got, dx, factor: 0, absolute: factor * Double(results) * 2, "dx \(n) \(inputs) \(outputs)")
                assertClose(dws.array, dw, absolute: factor * Double(rows) * 2, "dw \(n) \(inputs) \(outputs)")
                assertClose(dbs.array, db, relative: db.map(abs), factor: 1.01 * roundoff, "db \(n) \(outputs)")
                for buffer in [dxs, dws, dbs] { XCTAssertTrue(buffer.slackIsIntact) }
            }
        }
        let x = [Float](repeating: 1, count: 16)
        var y = x
        XCTAssertEqual(ck_linear_backward(x, 4, x, nil, 4, 2, 4, 4, &y, 4, nil, nil, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(
            ck_linear_backward(x, 4, nil, x, 4, 2, 4, 4, &y, 4, nil, nil, 1), CK_INVALID_ARGUMENT, "dx needs w")
        XCTAssertEqual(
            ck_linear_backward(nil, 4, x, x, 4, 2, 4, 4, nil, 4, &y, nil, 1), CK_INVALID_ARGUMENT, "dw needs x")
        XCTAssertEqual(ck_linear_backward(nil, 0, nil, x, 4, 2, 4, 4, nil, 0, nil, &y, 1), CK_OK, "db needs neither")
        XCTAssertEqual(ck_linear_backward(x, 4, x, x, 4, 2, 4, 4, &y, 3, nil, nil, 1), CK_INVALID_ARGUMENT)
    }

    func testActivations() {
        for count in [1, 3, 4, 15, 16, 17, 1000, 40_000] {
            let x = uniform(count, seed: 1, -4...4)
            let dy = uniform(count, seed: 2)
            var relu = x.map { max($0, 0) }
            var dx = [Double](repeating: 0, count: count)
            cr_relu_backward(relu, dy, count, &dx)
            var sigmoid = [Float](repeating: 0, count: count)
            XCTAssertEqual(ck_sigmoid(x, &sigmoid, count, 1), CK_OK)
            var ds = dx
            cr_sigmoid_backward(sigmoid, dy, count, &ds)
            forEachISA { isa in
                for threads: Int32 in [1, 3] {
                    let dst = GuardedBuffer<Float>(count: count, alignment: 4)
                    XCTAssertEqual(ck_relu_backward(relu, dy, dst.pointer, count, threads), CK_OK)
                    XCTAssertEqual(dst.array, dx.map(Float.init), isa.title)
                    XCTAssertTrue(dst.slackIsIntact)
                    XCTAssertEqual(ck_sigmoid_backward(sigmoid, dy, dst.pointer, count, threads), CK_OK)
                    // 1 - y is exact for y >= 1/2, or errs by half an ulp of 1; then two products.
                    assertClose(
                        dst.array, ds, relative: dy.indices.map { abs(Double(dy[$0] * sigmoid[$0])) },
                        factor: 3 * roundoff,
                        isa.title)
                    XCTAssertTrue(dst.slackIsIntact)
                }
            }
            relu[0] = .nan
            var out = dy
            XCTAssertEqual(ck_relu_backward(relu, dy, &out, count, 1), CK_OK)
            XCTAssertEqual(out[0], dy[0], "a NaN lets the gradient through, as in PyTorch")
        }
        var y: [Float] = [1]
        XCTAssertEqual(ck_relu_backward(nil, [1], &y, 1, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_sigmoid_backward([1], nil, &y, 1, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_relu_backward([1], [1], nil, 1, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_relu_backward([1], [1], &y, 0, 1), CK_INVALID_ARGUMENT)
    }

    /// The published answer of Philox4x32-10 for counter 0 and key 0 decides about elements 0...3 of seed 0: an element is
    /// dropped if its number is below p 2^32.
    func testDropoutIsPhilox() {
        let numbers: [UInt32] = [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        let ones = [Float](repeating: 1, count: 4)
        for (i, number) in numbers.enumerated() {
            for above in [false, true] {
                var y = ones
                let p = (Double(number) + (above ? 1 : 0)) * 0x1p-32
                XCTAssertEqual(ck_dropout(ones, &y, 4, p, 0, 0, 1), CK_OK)
                XCTAssertEqual(y[i] == 0, above, "element \(i)")
            }
        }
    }

    func testDropout() {
        let count = 100_000
        let x = uniform(count, seed: 1, 1...2)
        for p in [0, 0.1, 0.5, 0.9, 1] {
            var whole = [Float](repeating: .nan, count: count)
            XCTAssertEqual(ck_dropout(x, &whole, count, p, 7, 0, 1), CK_OK)
            let dropped = whole.count { $0 == 0 }
            // Five standard deviations of a binomial count.
            XCTAssertEqual(
                Double(dropped), p * Double(count), accuracy: 5 * (Double(count) * p * (1 - p)).squareRoot(), "p = \(p)"
            )
            for i in 0..<count where whole[i] != 0 { XCTAssertEqual(whole[i], x[i] * Float(1 / (1 - p))) }
            for threads: Int32 in [2, 3] {
                var again = x
                again.withUnsafeMutableBufferPointer { y in
                    XCTAssertEqual(ck_dropout(y.baseAddress, y.baseAddress, count, p, 7, 0, threads), CK_OK, "in place")
                }
                XCTAssertEqual(again, whole)
            }
            // From any element on, the same decisions.
            for first in [1, 2, 3, 17, 4096] {
                let part = GuardedBuffer<Float>(count: 1000, alignment: 4)
                x.withUnsafeBufferPointer {
                    XCTAssertEqual(
                        ck_dropout($0.baseAddress! + first, part.pointer, 1000, p, 7, UInt64(first), 1), CK_OK)
                }
                XCTAssertEqual(part.array, Array(whole[first..<first + 1000]))
            }
            guard p > 0 && p < 1 else { continue }
            var other = whole
            XCTAssertEqual(ck_dropout(x, &other, count, p, 8, 0, 1), CK_OK)
            let both = (0..<count).count { whole[$0] == 0 && other[$0] == 0 }
            XCTAssertEqual(
                Double(both), p * p * Double(count), accuracy: 5 * (Double(count) * p * p).squareRoot(), "other seed")
        }
        var y: [Float] = [0]
        for p in [-0.1, 1.1, .nan] { XCTAssertEqual(ck_dropout([1], &y, 1, p, 0, 0, 1), CK_INVALID_ARGUMENT) }
    }

    func testBadPoolArgumentsAreRefused() {
        let x = [Float](repeating: 0, count: 1024)
        var y = x
        var d = pools()[0]
        XCTAssertEqual(ck_max_pool_backward(&d, x, nil, &y), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_max_pool_backward(nil, x, [0], &y), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_average_pool_backward(&d, nil, &y), CK_INVALID_ARGUMENT)
        d.stride_width = 0
        XCTAssertEqual(ck_average_pool_backward(&d, x, &y), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_global_average_pool_backward(nil, 1, 1, 1, 1, &y, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_global_average_pool_backward(x, 1, 0, 1, 1, &y, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_concat_slice(x, 1, 4, 1, 1, 2, &y, 3, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_concat_slice(x, 1, 4, 1, 1, -1, &y, 3, 1), CK_INVALID_ARGUMENT)
    }
}
