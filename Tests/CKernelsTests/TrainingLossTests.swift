// Losses: against PyTorch's pinned results, against the reference, and at their edges.

import CKernels
import CReference
import XCTest

final class TrainingLossTests: XCTestCase {
    /// The loss to a double's precision; the gradient rounded once.
    func testLossesAgreeWithPyTorch() throws {
        let pinned = try PinnedOperations.load()
        XCTAssertEqual(pinned.losses.count, 10)
        for item in pinned.losses {
            for scale in [1, 0.25] {
                var loss = ck_loss()
                let dx = GuardedBuffer<Float>(count: item.logits.count, alignment: 4)
                let x = GuardedBuffer(item.logits, alignment: 4)
                let status: ck_status
                if item.kind == "cross entropy" {
                    status = ck_cross_entropy(
                        x.pointer, item.labels!, pinned.rows, pinned.classes, item.weights, item.smoothing, -100, scale,
                        &loss, dx.pointer)
                } else if item.kind == "soft cross entropy" {
                    status = ck_soft_cross_entropy(
                        x.pointer, item.targets!, pinned.rows, pinned.classes, item.weights, item.smoothing, scale,
                        &loss, dx.pointer)
                    XCTAssertEqual(loss.weight, Double(pinned.rows))
                } else {
                    status = ck_bce_with_logits(
                        x.pointer, item.targets!, pinned.rows, pinned.classes, item.weights, scale, &loss, dx.pointer)
                    XCTAssertEqual(loss.weight, Double(pinned.rows * pinned.classes))
                }
                XCTAssertEqual(status, CK_OK)
                XCTAssertEqual(loss.mean, item.loss, accuracy: 1e-13 * abs(item.loss), item.kind)
                let expected = item.gradient.map { $0 * scale }
                assertClose(
                    dx.array, expected, relative: expected.map(abs), factor: 1.01 * roundoff, absolute: 1e-15, item.kind
                )
                XCTAssertTrue(dx.slackIsIntact)
            }
        }
    }

    func testLossesAgainstTheReference() {
        for (rows, n): (Int32, Int32) in [(1, 1), (3, 2), (7, 10), (33, 1000)] {
            for size in [1.0, 40] {
                let count = Int(rows * n)
                let x = uniform(count, seed: UInt64(n), -size...size)
                let targets = uniform(count, seed: 2, 0...1)
                let weights = uniform(Int(n), seed: 3, 0.5...2)
                let labels = (0..<rows).map { $0 % 5 == 3 ? -1 : $0 * 7 % n }
                for smoothing in [0, 0.1, 1] {
                    for w in [nil, weights] {
                        var loss = ck_loss()
                        var dx = [Float](repeating: .nan, count: count)
                        var expected = [Double](repeating: 0, count: count)
                        func check(_ value: Double, _ what: String) {
                            XCTAssertEqual(loss.mean, value, accuracy: 1e-12 * max(1, abs(value)), what)
                            assertClose(
                                dx, expected, relative: expected.map(abs), factor: 1.01 * roundoff, absolute: 1e-14,
                                what)
                        }
                        XCTAssertEqual(ck_cross_entropy(x, labels, rows, n, w, smoothing, -1, 1, &loss, &dx), CK_OK)
                        check(cr_cross_entropy(x, labels, rows, n, w, smoothing, -1, &expected), "cross entropy")
                        let kept = labels.filter { $0 >= 0 }.map { Double(w?[Int($0)] ?? 1) }.reduce(0, +)
                        XCTAssertEqual(loss.weight, kept, accuracy: 1e-12 * kept)
                        XCTAssertEqual(ck_soft_cross_entropy(x, targets, rows, n, w, smoothing, 1, &loss, &dx), CK_OK)
                        check(cr_soft_cross_entropy(x, targets, rows, n, w, smoothing, &expected), "soft")
                        XCTAssertEqual(ck_bce_with_logits(x, targets, rows, n, w, 1, &loss, &dx), CK_OK)
                        check(cr_bce_with_logits(x, targets, rows, n, w, &expected), "binary")
                    }
                }
            }
        }
    }

    func testEdgesOfLosses() {
        var loss = ck_loss()
        var dx: [Float] = [9, 9]
        XCTAssertEqual(ck_cross_entropy([1000, -1000], [1], 1, 2, nil, 0, -100, 1, &loss, &dx), CK_OK)
        XCTAssertEqual(loss.mean, 2000)
        XCTAssertEqual(dx, [1, -1])
        XCTAssertEqual(ck_cross_entropy([1, 2], [-100], 1, 2, nil, 0, -100, 1, &loss, &dx), CK_OK)
        XCTAssertTrue(loss.mean.isNaN, "a mean over nothing")
        XCTAssertEqual(loss.weight, 0)
        XCTAssertEqual(dx, [0, 0])
        XCTAssertEqual(ck_cross_entropy([.nan, 2], [0], 1, 2, nil, 0, -100, 1, &loss, &dx), CK_OK)
        XCTAssertTrue(loss.mean.isNaN && dx[0].isNaN, "a NaN is not lost")
        XCTAssertEqual(ck_cross_entropy([2, .nan], [0], 1, 2, nil, 0, -100, 1, &loss, &dx), CK_OK)
        XCTAssertTrue(loss.mean.isNaN && dx[0].isNaN, "a NaN is not lost")
        XCTAssertEqual(ck_bce_with_logits([-800, 800], [1, 0], 1, 2, nil, 1, &loss, &dx), CK_OK)
        XCTAssertEqual(loss.mean, 800)
        XCTAssertEqual(dx, [-0.5, 0.5])
        XCTAssertEqual(ck_cross_entropy([1, 2], [1], 1, 2, nil, 0, -100, 1, &loss, nil), CK_OK, "the loss alone")

        dx = [9, 9]
        for label: Int32 in [2, -1, .max, .min] {
            XCTAssertEqual(ck_cross_entropy([1, 2], [label], 1, 2, nil, 0, -100, 1, &loss, &dx), CK_INVALID_ARGUMENT)
        }
        XCTAssertEqual(dx, [9, 9], "nothing is written before the labels are checked")
        for smoothing in [-0.1, 1.1, .nan] {
            XCTAssertEqual(ck_cross_entropy([1, 2], [1], 1, 2, nil, smoothing, -1, 1, &loss, &dx), CK_INVALID_ARGUMENT)
            XCTAssertEqual(
                ck_soft_cross_entropy([1, 2], [0, 1], 1, 2, nil, smoothing, 1, &loss, &dx), CK_INVALID_ARGUMENT)
        }
        for (rows, n): (Int32, Int32) in [(0, 2), (1, 0), (-1, 2)] {
            XCTAssertEqual(ck_cross_entropy([1, 2], [1], rows, n, nil, 0, -1, 1, &loss, &dx), CK_INVALID_ARGUMENT)
            XCTAssertEqual(ck_soft_cross_entropy([1, 2], [0, 1], rows, n, nil, 0, 1, &loss, &dx), CK_INVALID_ARGUMENT)
            XCTAssertEqual(ck_bce_with_logits([1, 2], [0, 1], rows, n, nil, 1, &loss, &dx), CK_INVALID_ARGUMENT)
        }
        XCTAssertEqual(ck_bce_with_logits([1, 2], [0, 1], 1, 2, nil, .infinity, &loss, &dx), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_bce_with_logits(nil, [0, 1], 1, 2, nil, 1, &loss, &dx), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_bce_with_logits([1, 2], [0, 1], 1, 2, nil, 1, nil, &dx), CK_INVALID_ARGUMENT)
    }
}
