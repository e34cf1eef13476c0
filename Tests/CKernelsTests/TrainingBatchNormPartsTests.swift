// Batch norm in parts, over ranges of images, gives the bits of the whole.

import CKernels
import CReference
import XCTest

final class TrainingBatchNormPartsTests: XCTestCase {
    private let (n, c, h, w): (Int32, Int32, Int32, Int32) = (5, 37, 6, 7)
    private var plane: Int { Int(h * w) }

    private struct Outcome: Equatable {
        var y: [Float], again: [Float], dx: [Float], dresidual: [Float]
        var vectors: [[Float]]
    }

    /// - Parameter ranges: How many images each part takes at a time; nil: the functions for the whole.
    private func run(training: Bool, relu: Bool, residual: Bool, ranges: [Int32]?, threads: Int32) -> Outcome {
        var d = ck_bn_desc(
            batch: n, channels: c, height: h, width: w, training: training ? 1 : 0, relu: relu ? 1 : 0, eps: 1e-5,
            momentum: 0.1, threads: threads)
        let count = Int(n * c) * plane
        func map(_ seed: UInt64) -> GuardedBuffer<Float> {
            GuardedBuffer(blocked(uniform(count, seed: seed), n: n, c: c, plane: plane))
        }
        func vector(_ seed: UInt64, _ range: ClosedRange<Double>) -> GuardedBuffer<Float> {
            GuardedBuffer(uniform(Int(c), seed: seed, range), alignment: 4)
        }
        let (x, added, dy) = (map(1), map(2), map(3))
        let (y, again, dx, dresidual) = (map(4), map(4), map(4), map(4))
        let (gamma, beta) = (vector(5, -2...2), vector(6, -1...1))
        let (runningMean, runningVariance) = (vector(7, -1...1), vector(8, 0.1...2))
        let (mean, invstd, dgamma, dbeta) = (vector(9, 0...1), vector(9, 0...1), vector(9, 0...1), vector(9, 0...1))
        let workspace = GuardedBuffer<UInt8>(count: ck_bn_workspace_size(&d))
        let image = y.count / Int(n)

        var forward = ck_bn_forward_args()
        (forward.gamma, forward.beta) = (UnsafePointer(gamma.pointer), UnsafePointer(beta.pointer))
        (forward.running_mean, forward.running_var) = (runningMean.pointer, runningVariance.pointer)
        (forward.mean, forward.invstd) = (mean.pointer, invstd.pointer)
        forward.workspace = UnsafeMutableRawPointer(workspace.pointer)
        func at(_ first: Int32, into target: GuardedBuffer<Float>) -> ck_bn_forward_args {
            var args = forward
            args.x = UnsafePointer(x.pointer + Int(first) * image)
            if residual { args.residual = UnsafePointer(added.pointer + Int(first) * image) }
            args.y = target.pointer + Int(first) * image
            return args
        }
        var backward = ck_bn_backward_args()
        (backward.gamma, backward.beta) = (forward.gamma, forward.beta)
        (backward.mean, backward.invstd) = (UnsafePointer(mean.pointer), UnsafePointer(invstd.pointer))
        (backward.dgamma, backward.dbeta) = (dgamma.pointer, dbeta.pointer)
        backward.workspace = forward.workspace
        func back(_ first: Int32) -> ck_bn_backward_args {
            var args = backward
            args.dy = UnsafePointer(dy.pointer + Int(first) * image)
            args.x = UnsafePointer(x.pointer + Int(first) * image)
            if residual { args.y = UnsafePointer(y.pointer + Int(first) * image) }
            if residual { args.dresidual = dresidual.pointer + Int(first) * image }
            args.dx = dx.pointer + Int(first) * image
            return args
        }
        guard let ranges else {
            var whole = at(0, into: y)
            XCTAssertEqual(ck_bn_forward(&d, &whole), CK_OK)
            whole = at(0, into: again)
            XCTAssertEqual(ck_bn_forward_apply(&d, &whole, n), CK_OK)
            var wholeBack = back(0)
            XCTAssertEqual(ck_bn_backward(&d, &wholeBack), CK_OK)
            return outcome()
        }
        func each(_ body: (Int32, Int32) -> ck_status) {
            var first: Int32 = 0
            for count in ranges {
                XCTAssertEqual(body(first, count), CK_OK)
                first += count
            }
            XCTAssertEqual(first, n)
        }
        func outcome() -> Outcome {
            func plain(_ buffer: GuardedBuffer<Float>) -> [Float] {
                unblocked(buffer.pointer, n: n, c: c, plane: plane)
            }
            return Outcome(
                y: plain(y), again: plain(again), dx: plain(dx), dresidual: residual ? plain(dresidual) : [],
                vectors: [mean, invstd, runningMean, runningVariance, dgamma, dbeta].map(\.array))
        }
        each { first, count in
            var args = at(first, into: y)
            return ck_bn_forward_sums(&d, &args, first, count)
        }
        XCTAssertEqual(ck_bn_forward_finish(&d, &forward), CK_OK)
        each { first, count in
            var args = at(first, into: y)
            return ck_bn_forward_apply(&d, &args, count)
        }
        // Once more, with a workspace that knows nothing.
        let other = GuardedBuffer<UInt8>(count: ck_bn_workspace_size(&d))
        each { first, count in
            var args = at(first, into: again)
            args.workspace = UnsafeMutableRawPointer(other.pointer)
            return ck_bn_forward_apply(&d, &args, count)
        }
        each { first, count in
            var args = back(first)
            return ck_bn_backward_sums(&d, &args, first, count)
        }
        XCTAssertEqual(ck_bn_backward_finish(&d, &backward), CK_OK)
        each { first, count in
            var args = back(first)
            return ck_bn_backward_apply(&d, &args, count)
        }
        XCTAssertTrue(workspace.slackIsIntact && dx.slackIsIntact && y.slackIsIntact)
        return outcome()
    }

    func testPartsGiveTheBitsOfTheWhole() {
        forEachISA { isa in
            for training in [true, false] {
                for (relu, residual) in [(false, false), (true, false), (false, true), (true, true)] {
                    let whole = run(training: training, relu: relu, residual: residual, ranges: nil, threads: 2)
                    XCTAssertEqual(whole.again, whole.y)
                    for (ranges, threads) in [([5], 1), ([1, 1, 1, 1, 1], 3), ([2, 3], 2), ([4, 1], 1)]
                        as [([Int32], Int32)]
                    {
                        let parts = run(
                            training: training, relu: relu, residual: residual, ranges: ranges, threads: threads)
                        XCTAssertEqual(parts, whole, "\(isa.title) training \(training) relu \(relu) \(ranges)")
                    }
                }
            }
        }
    }

    func testBadRangesAreRefused() {
        var d = ck_bn_desc(
            batch: 2, channels: 3, height: 2, width: 2, training: 1, relu: 0, eps: 1e-5, momentum: 0.1, threads: 1)
        let map = GuardedBuffer<Float>(count: cr_blocked_count(2, 3, 4, ck_block()))
        let workspace = GuardedBuffer<UInt8>(count: ck_bn_workspace_size(&d))
        var args = ck_bn_forward_args()
        args.x = UnsafePointer(map.pointer)
        args.y = map.pointer
        args.workspace = UnsafeMutableRawPointer(workspace.pointer)
        for (first, count) in [(0, 0), (0, 3), (1, 2), (-1, 1), (2, 1)] as [(Int32, Int32)] {
            XCTAssertEqual(ck_bn_forward_sums(&d, &args, first, count), CK_INVALID_ARGUMENT)
        }
        XCTAssertEqual(ck_bn_forward_apply(&d, &args, 1), CK_INVALID_ARGUMENT, "apply reads mean and invstd")
        XCTAssertEqual(ck_bn_forward_finish(nil, &args), CK_INVALID_ARGUMENT)
        var backward = ck_bn_backward_args()
        XCTAssertEqual(ck_bn_backward_sums(&d, &backward, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_bn_backward_finish(&d, &backward), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_bn_backward_apply(&d, &backward, 1), CK_INVALID_ARGUMENT)
    }
}
