// Pooling against the reference: kernels, strides, padding, ceil mode, NaN, ties.

import CKernels
import CReference
import XCTest

final class PoolingKernelTests: XCTestCase {
    private struct Case {
        var n: Int32 = 2, c: Int32, h: Int32, w: Int32
        var kernel: (Int32, Int32), stride: (Int32, Int32), pad: (Int32, Int32)
        var ceil: Int32 = 0
        var threads: Int32 = 1

        var desc: ck_pool_desc {
            ck_pool_desc(
                batch: n, channels: c, in_height: h, in_width: w, kernel_height: kernel.0, kernel_width: kernel.1,
                stride_height: stride.0, stride_width: stride.1, pad_height: pad.0, pad_width: pad.1, ceil_mode: ceil,
                threads: threads)
        }
        var reference: cr_pool {
            cr_pool(
                planes: n * c, h: h, w: w, kernel_h: kernel.0, kernel_w: kernel.1, stride_h: stride.0,
                stride_w: stride.1, pad_h: pad.0, pad_w: pad.1, ceil_mode: ceil)
        }
    }

    private var cases: [Case] {
        var all: [Case] = []
        for kernel: Int32 in 1...5 {
            for stride: Int32 in 1...4 {
                for pad in 0...kernel / 2 {
                    for ceil: Int32 in 0...1 {
                        let i = Int32(all.count)
                        all.append(
                            Case(
                                c: [3, 16, 17, 33][all.count % 4], h: kernel + i % 7, w: kernel + i % 5,
                                kernel: (kernel, kernel), stride: (stride, stride), pad: (pad, pad), ceil: ceil,
                                threads: i % 4))
                    }
                }
            }
        }
        return all + [
            Case(n: 1, c: 64, h: 28, w: 112, kernel: (3, 3), stride: (2, 2), pad: (1, 1), threads: 2),
            Case(n: 3, c: 16, h: 1, w: 9, kernel: (1, 3), stride: (1, 2), pad: (0, 1), threads: 2),
            Case(n: 1, c: 5, h: 9, w: 6, kernel: (4, 2), stride: (3, 1), pad: (2, 0), ceil: 1, threads: 3),
        ]
    }

    /// The cases that PyTorch's documentation and source single out.
    func testOutputSizes() {
        func size(_ h: Int32, _ kernel: Int32, _ stride: Int32, _ pad: Int32, _ ceil: Int32) -> Int32 {
            var desc = Case(c: 1, h: h, w: h, kernel: (kernel, kernel), stride: (stride, stride), pad: (pad, pad)).desc
            desc.ceil_mode = ceil
            var (oh, ow): (Int32, Int32) = (-1, -1)
            XCTAssertEqual(ck_pool_output_size(&desc, &oh, &ow), CK_OK)
            XCTAssertEqual(oh, ow)
            return oh
        }
        XCTAssertEqual(size(112, 3, 2, 1, 0), 56)
        XCTAssertEqual(size(112, 3, 2, 0, 1), 56)
        XCTAssertEqual(size(112, 3, 2, 0, 0), 55)
        XCTAssertEqual(size(5, 2, 2, 0, 1), 3)
        XCTAssertEqual(size(5, 2, 2, 1, 1), 3, "the fourth window would start in the right padding")
        XCTAssertEqual(size(1, 1, 3, 0, 1), 1)
        XCTAssertEqual(size(4, 1, 3, 0, 1), 2, "the third window would start outside")
    }

    func testMaxPool() {
        forEachISA { isa in
            for (i, c) in cases.enumerated() {
                var desc = c.desc
                var reference = c.reference
                var (oh, ow): (Int32, Int32) = (0, 0)
                XCTAssertEqual(ck_pool_output_size(&desc, &oh, &ow), CK_OK)
                XCTAssertEqual(oh, cr_pool_out_h(&reference))
                XCTAssertEqual(ow, cr_pool_out_w(&reference))
                let plane = Int(c.h * c.w)
                let out = Int(oh * ow)
                let planes = Int(c.n * c.c)
                // Few distinct values, so that ties are common; all negative, so that no zero may slip in.
                var input = integers(planes * plane, seed: UInt64(i), -9 ... -3)
                if i % 3 == 0 { input[input.count / 2] = .nan }
                var expected = [Double](repeating: 0, count: planes * out)
                var places = [Int32](repeating: 0, count: planes * out)
                cr_max_pool(&reference, input, &expected, &places)

                let src = GuardedBuffer(
                    blocked(input, n: c.n, c: c.c, plane: plane), placement: i % 2 == 0 ? .start : .end)
                let dst = GuardedBuffer<Float>(count: ck_blocked_count(c.n, c.c, oh, ow))
                let argmax = GuardedBuffer<Int32>(count: dst.count)
                XCTAssertEqual(ck_max_pool(&desc, src.pointer, dst.pointer, nil), CK_OK)
                let alone = dst.array
                XCTAssertEqual(ck_max_pool(&desc, src.pointer, dst.pointer, argmax.pointer), CK_OK)
                XCTAssertTrue(dst.slackIsIntact && argmax.slackIsIntact)
                XCTAssertTrue(zip(alone, dst.array).allSatisfy { $0 == $1 || ($0.isNaN && $1.isNaN) })
                assertClose(
                    unblocked(dst.pointer, n: c.n, c: c.c, plane: out), expected, "\(isa.title) \(c)")
                XCTAssertEqual(cr_surplus_nonzero(dst.pointer, c.n, c.c, out, ck_block()), 0)
                // Offsets are small integers: exact as floats, whatever the type that moves them.
                let found = unblocked(argmax.array.map(Float.init), n: c.n, c: c.c, plane: out)
                XCTAssertEqual(found, places.map(Float.init), "\(isa.title) \(c)")
            }
        }
    }

    func testAveragePool() {
        forEachISA { isa in
            for (i, c) in cases.enumerated() {
                var desc = c.desc
                var reference = c.reference
                let plane = Int(c.h * c.w)
                let planes = Int(c.n * c.c)
                let (oh, ow) = (cr_pool_out_h(&reference), cr_pool_out_w(&reference))
                let input = uniform(planes * plane, seed: UInt64(i), 0...1)
                var expected = [Double](repeating: 0, count: planes * Int(oh * ow))
                cr_average_pool(&reference, input, &expected)
                let src = GuardedBuffer(
                    blocked(input, n: c.n, c: c.c, plane: plane), placement: i % 2 == 0 ? .start : .end)
                let dst = GuardedBuffer<Float>(count: ck_blocked_count(c.n, c.c, oh, ow))
                XCTAssertEqual(ck_average_pool(&desc, src.pointer, dst.pointer), CK_OK)
                XCTAssertTrue(dst.slackIsIntact)
                // Positive terms: n - 1 additions and a division, each within u of a sum below 1.
                let terms = Double(c.kernel.0 * c.kernel.1)
                assertClose(
                    unblocked(dst.pointer, n: c.n, c: c.c, plane: Int(oh * ow)), expected, relative: expected,
                    factor: (terms + 1) * roundoff, "\(isa.title) \(c)")
                XCTAssertEqual(cr_surplus_nonzero(dst.pointer, c.n, c.c, Int(oh * ow), ck_block()), 0)
            }
        }
    }

    func testGlobalAveragePool() {
        let shapes: [(Int32, Int32, Int32, Int32)] = [
            (1, 1, 1, 1), (2, 17, 7, 7), (3, 64, 3, 5), (1, 33, 56, 55), (5, 512, 7, 7), (1, 3, 224, 224),
        ]
        forEachISA { isa in
            for (i, s) in shapes.enumerated() {
                let (n, c, h, w) = s
                let plane = Int(h * w)
                let planes = Int(n * c)
                let input = uniform(planes * plane, seed: UInt64(i), 0...1)
                var expected = [Double](repeating: 0, count: planes)
                cr_global_average_pool(input.map(Double.init), Int32(planes), plane, &expected)
                let src = GuardedBuffer(blocked(input, n: n, c: c, plane: plane))
                let dst = GuardedBuffer<Float>(count: ck_blocked_count(n, c, 1, 1))
                XCTAssertEqual(
                    ck_global_average_pool(src.pointer, n, c, h, w, dst.pointer, Int32(i % 4)), CK_OK)
                XCTAssertTrue(dst.slackIsIntact)
                // Sums of rows, then of these: h + w additions and a division, positive terms.
                assertClose(
                    unblocked(dst.pointer, n: n, c: c, plane: 1), expected, relative: expected,
                    factor: Double(h + w + 1) * roundoff, "\(isa.title) \(s)")
                XCTAssertEqual(cr_surplus_nonzero(dst.pointer, n, c, 1, ck_block()), 0)
            }
        }
    }

    func testBadArgumentsAreRefused() {
        let good = Case(n: 1, c: 4, h: 5, w: 5, kernel: (3, 3), stride: (2, 2), pad: (1, 1)).desc
        let src = [Float](repeating: 0, count: 1024)
        var dst = src
        func status(_ change: (inout ck_pool_desc) -> Void) -> ck_status {
            var desc = good
            change(&desc)
            var (oh, ow): (Int32, Int32) = (0, 0)
            let size = ck_pool_output_size(&desc, &oh, &ow)
            XCTAssertEqual(ck_max_pool(&desc, src, &dst, nil), size)
            XCTAssertEqual(ck_average_pool(&desc, src, &dst), size)
            return size
        }
        XCTAssertEqual(status { _ in }, CK_OK)
        let fields: [(WritableKeyPath<ck_pool_desc, Int32>, [Int32])] = [
            (\.batch, [0, -1]), (\.channels, [0, -1]), (\.in_height, [0, -1]), (\.in_width, [0, -1]),
            (\.kernel_height, [0, -1, 8, .max]), (\.kernel_width, [0, -1, 8, .max]), (\.stride_height, [0, -1]),
            (\.stride_width, [0, -1, .max]), (\.pad_height, [-1, 2, .max]), (\.pad_width, [-1, 2, .max]),
            (\.ceil_mode, [-1, 2]), (\.threads, [-1]),
        ]
        for (path, values) in fields {
            for value in values {
                XCTAssertEqual(status { $0[keyPath: path] = value }, CK_INVALID_ARGUMENT, "\(path) = \(value)")
            }
        }
        var desc = good
        var (out, other): (Int32, Int32) = (0, 0)
        XCTAssertEqual(ck_pool_output_size(nil, &out, &other), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_pool_output_size(&desc, nil, &out), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_max_pool(nil, src, &dst, nil), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_max_pool(&desc, nil, &dst, nil), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_average_pool(&desc, src, nil), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_global_average_pool(nil, 1, 1, 1, 1, &dst, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_global_average_pool(src, 1, 1, 0, 1, &dst, 1), CK_INVALID_ARGUMENT)
        (desc.batch, desc.channels, desc.in_height, desc.in_width) = (.max, .max, 40000, 40000)
        XCTAssertEqual(ck_max_pool(&desc, src, &dst, nil), CK_OUT_OF_MEMORY)
    }
}
