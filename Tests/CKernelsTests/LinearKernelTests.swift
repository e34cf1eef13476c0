// The linear layer and softmax against the reference.

import CKernels
import CReference
import XCTest

final class LinearKernelTests: XCTestCase {
    /// (n, in, out): around vectors of 4, 8 and 16, the register tile of four rows, the chunk of 64 images, and the
    /// heads of real networks.
    private let shapes: [(Int32, Int32, Int32)] =
        [1, 3, 15, 16, 17, 33, 64].flatMap { [(1, $0, 5), (2, $0, 4), (5, $0, 7), (3, $0, 1)] } + [
            (1, 1, 1), (4, 8, 3), (7, 50, 1), (66, 20, 9), (131, 17, 2), (1, 512, 1000), (3, 2048, 1000), (33, 512, 10),
        ]

    private func check(_ isa: ck_isa, whole: Bool) {
        for (i, s) in shapes.enumerated() {
            let (n, inputs, outputs) = s
            let (rows, columns, results) = (Int(n), Int(inputs), Int(outputs))
            let seed = UInt64(i)
            func data(_ count: Int, _ salt: UInt64) -> [Float] {
                whole ? integers(count, seed: seed * 8 + salt, -4...4) : uniform(count, seed: seed * 8 + salt)
            }
            let x = data(rows * columns, 0)
            let w = data(results * columns, 1)
            let b = data(results, 2)
            let hasBias = i % 3 != 0
            let relu = i % 2 == 1
            var expected = [Double](repeating: 0, count: rows * results)
            var spread = expected
            cr_linear(x, w, hasBias ? b : nil, n, inputs, outputs, &expected, &spread)
            cr_error_scale(&spread, expected, n, outputs, 1, hasBias ? b : nil, nil)
            if relu { for j in expected.indices where expected[j] < 0 { expected[j] = 0 } }

            // Rows apart by more than their length: the gaps must neither matter nor change.
            let xStride = columns + i % 3
            let yStride = results + i % 4
            let xs = GuardedBuffer<Float>(count: (rows - 1) * xStride + columns, alignment: 4)
            for row in 0..<rows {
                for column in 0..<columns { xs.pointer[row * xStride + column] = x[row * columns + column] }
            }
            let ws = GuardedBuffer(w, alignment: 4)
            let bs = GuardedBuffer(b, alignment: 4)
            let ys = GuardedBuffer<Float>(count: (rows - 1) * yStride + results, alignment: 4)
            let status = ck_linear(
                xs.pointer, xStride, ws.pointer, hasBias ? bs.pointer : nil, n, inputs, outputs, ys.pointer, yStride,
                relu ? 1 : 0, Int32(i % 4))
            XCTAssertEqual(status, CK_OK)
            var y: [Float] = []
            for row in 0..<rows {
                for column in 0..<results { y.append(ys.pointer[row * yStride + column]) }
                for gap in results..<yStride where row + 1 < rows {
                    XCTAssertTrue(ys.pointer[row * yStride + gap].isNaN, "wrote between rows")
                }
            }
            XCTAssertTrue(ys.slackIsIntact)
            let factor = whole ? 0 : roundoff * Double(columns + 4).squareRoot()
            assertClose(y, expected, relative: spread, factor: factor, "\(isa.title) \(s)")
        }
    }

    func testSmallIntegersAreExact() { forEachISA { check($0, whole: true) } }

    func testUniform() { forEachISA { check($0, whole: false) } }

    /// A row's result does not depend on the batch it is in or on the threads.
    func testResultsDoNotDependOnThreads() {
        forEachISA { isa in
            let x = uniform(9 * 300, seed: 1)
            let w = uniform(77 * 300, seed: 2)
            var first = [Float](repeating: 0, count: 9 * 77)
            XCTAssertEqual(ck_linear(x, 300, w, nil, 9, 300, 77, &first, 77, 0, 1), CK_OK)
            for threads: Int32 in [2, 3, 8] {
                var y = [Float](repeating: 0, count: 9 * 77)
                XCTAssertEqual(ck_linear(x, 300, w, nil, 9, 300, 77, &y, 77, 0, threads), CK_OK)
                XCTAssertEqual(y, first, "\(isa.title) \(threads) threads")
            }
        }
    }

    func testBadArgumentsAreRefused() {
        let x = [Float](repeating: 0, count: 64)
        var y = x
        XCTAssertEqual(ck_linear(nil, 4, x, nil, 1, 4, 4, &y, 4, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_linear(x, 4, nil, nil, 1, 4, 4, &y, 4, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_linear(x, 4, x, nil, 1, 4, 4, nil, 4, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_linear(x, 3, x, nil, 1, 4, 4, &y, 4, 0, 1), CK_INVALID_ARGUMENT, "rows overlap")
        XCTAssertEqual(ck_linear(x, 4, x, nil, 1, 4, 4, &y, 3, 0, 1), CK_INVALID_ARGUMENT, "rows overlap")
        XCTAssertEqual(ck_linear(x, 4, x, nil, 1, 4, 4, &y, 4, 0, -1), CK_INVALID_ARGUMENT)
        for bad: Int32 in [0, -1, .min] {
            XCTAssertEqual(ck_linear(x, 4, x, nil, bad, 4, 4, &y, 4, 0, 1), CK_INVALID_ARGUMENT)
            XCTAssertEqual(ck_linear(x, 4, x, nil, 1, bad, 4, &y, 4, 0, 1), CK_INVALID_ARGUMENT)
            XCTAssertEqual(ck_linear(x, 4, x, nil, 1, 4, bad, &y, 4, 0, 1), CK_INVALID_ARGUMENT)
        }
        XCTAssertEqual(ck_linear(x, .max, x, nil, 2, 4, 4, &y, 4, 0, 1), CK_OUT_OF_MEMORY)
        XCTAssertEqual(ck_linear(x, 4, x, nil, 2, 4, 4, &y, Int.max / 2, 0, 1), CK_OUT_OF_MEMORY)
    }

    func testSoftmax() {
        for (rows, n): (Int32, Int32) in [(1, 1), (3, 2), (5, 10), (2, 1000)] {
            for scale in [1.0, 30, 500] {
                let x = uniform(Int(rows * n), seed: UInt64(n), -scale...scale)
                var expected = [Double](repeating: 0, count: x.count)
                cr_softmax(x, rows, n, &expected)
                let src = GuardedBuffer(x, alignment: 4)
                let dst = GuardedBuffer<Float>(count: x.count, alignment: 4)
                XCTAssertEqual(ck_softmax(src.pointer, rows, n, dst.pointer), CK_OK)
                // x - max errs by u |x - max|, which is a relative error of e^x; expf and the division add two ulp.
                assertClose(
                    dst.array, expected, relative: expected, factor: (2 * scale + 4) * roundoff, absolute: 0x1p-126,
                    "\(rows)x\(n) +-\(scale)")
                XCTAssertEqual(ck_softmax(src.pointer, rows, n, src.pointer), CK_OK)
                XCTAssertEqual(src.array, dst.array, "in place")
            }
        }
        var y: [Float] = [0, 0, 0]
        XCTAssertEqual(ck_softmax([1000, 1000, -.infinity], 1, 3, &y), CK_OK)
        XCTAssertEqual(y, [0.5, 0.5, 0])
        XCTAssertEqual(ck_softmax(nil, 1, 3, &y), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_softmax([1], 1, 1, nil), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_softmax([1], 0, 1, &y), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_softmax([1], 1, 0, &y), CK_INVALID_ARGUMENT)
    }
}
