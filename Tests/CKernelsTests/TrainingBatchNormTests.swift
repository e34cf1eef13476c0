// Batch norm forward and backward against the reference: training and frozen, with and without residual and ReLU, on every
// instruction set and several teams.
//
// Bounds count roundings, each at most u = 2^-24 of what is rounded: y = x scale + shift rounds invstd, scale, mean, shift,
// product and sum once each; dx likewise. Sums are in double, so that only the rounding of the mean to float remains, which
// moves a sum of dy (x - mean) by at most u |mean| |sum of dy|, and that of each x - mean.

import CKernels
import CReference
import XCTest

final class TrainingBatchNormTests: XCTestCase {
    private struct Case {
        var n: Int32, c: Int32, h: Int32, w: Int32
        var offset = 0.0, spread = 1.0
        var plane: Int { Int(h * w) }
        var count: Int { Int(n * c) * plane }
        var text: String { "\(n)x\(c)x\(h)x\(w)" }
    }

    /// Channels around the block, planes from one pixel up, few and many blocks for a team, and a mean far from 0.
    private let cases: [Case] = [
        Case(n: 2, c: 1, h: 1, w: 1), Case(n: 1, c: 3, h: 1, w: 2), Case(n: 5, c: 16, h: 1, w: 1),
        Case(n: 2, c: 17, h: 5, w: 7), Case(n: 3, c: 33, h: 4, w: 4), Case(n: 1, c: 64, h: 14, w: 9),
        Case(n: 7, c: 5, h: 3, w: 3), Case(n: 3, c: 96, h: 5, w: 5), Case(n: 4, c: 15, h: 28, w: 3),
        Case(n: 3, c: 16, h: 9, w: 9, offset: 300, spread: 0.5), Case(n: 2, c: 8, h: 9, w: 1, offset: -7),
    ]

    private final class Problem {
        let c: Case
        let x: [Float], dy: [Float], residual: [Float], gamma: [Float], beta: [Float]
        let runningMean: [Float], runningVariance: [Float]

        init(_ c: Case, seed: UInt64) {
            self.c = c
            x = uniform(c.count, seed: seed, (c.offset - c.spread)...(c.offset + c.spread))
            dy = uniform(c.count, seed: seed + 1)
            residual = uniform(c.count, seed: seed + 2)
            gamma = uniform(Int(c.c), seed: seed + 3, -2...2)
            beta = uniform(Int(c.c), seed: seed + 4)
            runningMean = uniform(Int(c.c), seed: seed + 5, (c.offset - 0.5)...(c.offset + 0.5))
            runningVariance = uniform(Int(c.c), seed: seed + 6, 0.01...2)
        }

        func blockedGuarded(_ values: [Float]) -> GuardedBuffer<Float> {
            GuardedBuffer(blocked(values, n: c.n, c: c.c, plane: c.plane))
        }
        func plain(_ buffer: GuardedBuffer<Float>) -> [Float] {
            unblocked(buffer.pointer, n: c.n, c: c.c, plane: c.plane)
        }
        var blockedCount: Int { cr_blocked_count(c.n, c.c, c.plane, ck_block()) }
        func channel(_ i: Int) -> Int { i / c.plane % Int(c.c) }
    }

    private func desc(_ c: Case, training: Bool, relu: Bool, threads: Int32) -> ck_bn_desc {
        ck_bn_desc(
            batch: c.n, channels: c.c, height: c.h, width: c.w, training: training ? 1 : 0, relu: relu ? 1 : 0,
            eps: 1e-5, momentum: 0.1, threads: threads)
    }

    /// What one run of the kernels gives, in plain layout.
    private struct Outcome: Equatable {
        var y: [Float] = [], mean: [Float] = [], invstd: [Float] = []
        var runningMean: [Float] = [], runningVariance: [Float] = []
        var dx: [Float] = [], dresidual: [Float] = [], dgamma: [Float] = [], dbeta: [Float] = []
    }

    private struct Options {
        var training = true, relu = false, residual = false, affine = true
        var threads: Int32 = 1
        var text: String {
            "\(training ? "training" : "frozen")\(relu ? " relu" : "")\(residual ? " residual" : "")"
                + "\(affine ? "" : " plain"), \(threads) threads"
        }
    }

    private func run(_ p: Problem, _ o: Options, _ what: String) -> Outcome {
        var d = desc(p.c, training: o.training, relu: o.relu, threads: o.threads)
        let channels = Int(p.c.c)
        func vector() -> GuardedBuffer<Float> { GuardedBuffer(count: channels, alignment: 4) }
        let workspace = GuardedBuffer<UInt8>(count: ck_bn_workspace_size(&d))
        let x = p.blockedGuarded(p.x)
        let residual = p.blockedGuarded(p.residual)
        let y = GuardedBuffer<Float>(count: p.blockedCount)
        let gamma = GuardedBuffer(p.gamma, alignment: 4)
        let beta = GuardedBuffer(p.beta, alignment: 4)
        let runningMean = GuardedBuffer(p.runningMean, alignment: 4)
        let runningVariance = GuardedBuffer(p.runningVariance, alignment: 4)
        let (mean, invstd, dgamma, dbeta) = (vector(), vector(), vector(), vector())
        var forward = ck_bn_forward_args(
            x: x.pointer, gamma: o.affine ? UnsafePointer(gamma.pointer) : nil,
            beta: o.affine ? UnsafePointer(beta.pointer) : nil,
            residual: o.residual ? UnsafePointer(residual.pointer) : nil, running_mean: runningMean.pointer,
            running_var: runningVariance.pointer, mean: mean.pointer, invstd: invstd.pointer, y: y.pointer,
            workspace: workspace.pointer)
        XCTAssertEqual(ck_bn_forward(&d, &forward), CK_OK, what)
        XCTAssertEqual(cr_surplus_nonzero(y.pointer, p.c.n, p.c.c, p.c.plane, ck_block()), 0, what)

        let dy = p.blockedGuarded(p.dy)
        let dx = GuardedBuffer<Float>(count: p.blockedCount)
        let dresidual = GuardedBuffer<Float>(count: p.blockedCount)
        var backward = ck_bn_backward_args(
            dy: dy.pointer, x: x.pointer, y: o.relu && o.residual ? UnsafePointer(y.pointer) : nil,
            gamma: forward.gamma, beta: forward.beta, mean: mean.pointer, invstd: invstd.pointer, dx: dx.pointer,
            dresidual: o.residual ? dresidual.pointer : nil, dgamma: dgamma.pointer, dbeta: dbeta.pointer,
            workspace: workspace.pointer)
        XCTAssertEqual(ck_bn_backward(&d, &backward), CK_OK, what)
        XCTAssertEqual(cr_surplus_nonzero(dx.pointer, p.c.n, p.c.c, p.c.plane, ck_block()), 0, what)
        for buffer in [y, mean, invstd, dx, dresidual, dgamma, dbeta, runningMean, runningVariance] {
            XCTAssertTrue(buffer.slackIsIntact, what)
        }
        XCTAssertTrue(workspace.slackIsIntact, what)
        return Outcome(
            y: p.plain(y), mean: mean.array, invstd: invstd.array, runningMean: runningMean.array,
            runningVariance: runningVariance.array, dx: p.plain(dx), dresidual: o.residual ? p.plain(dresidual) : [],
            dgamma: dgamma.array, dbeta: dbeta.array)
    }

    private func checkForward(_ p: Problem, _ o: Options, _ got: Outcome, _ what: String) -> (m: [Double], v: [Double])
    {
        let gamma = o.affine ? p.gamma : nil
        let beta = o.affine ? p.beta : nil
        var y = [Double](repeating: 0, count: p.c.count)
        var mean = p.runningMean.map(Double.init)
        var variance = p.runningVariance.map(Double.init)
        var runningMean = mean
        var runningVariance = variance
        if o.training {
            cr_bn_training(
                p.x, p.c.n, p.c.c, p.c.plane, gamma, beta, 1e-5, 0.1, &y, &mean, &variance, &runningMean,
                &runningVariance)
        } else {
            cr_bn_inference(
                p.x, p.c.n, p.c.c, p.c.plane, gamma, beta, p.runningMean, p.runningVariance, 1e-5, &y)
        }
        let scale = mean.indices.map { abs(Double(gamma?[$0] ?? 1)) / (variance[$0] + 1e-5).squareRoot() }
        var bound = [Double](repeating: 0, count: y.count)
        for i in y.indices {
            let k = p.channel(i)
            let sizes = 3 * (abs(Double(p.x[i])) + abs(mean[k])) * scale[k] + abs(Double(beta?[k] ?? 0)) + abs(y[i])
            if o.residual { y[i] += Double(p.residual[i]) }
            bound[i] = sizes + abs(y[i])
            if o.relu && y[i] < 0 { y[i] = 0 }
        }
        // The variance in double loses mean^2 / variance times a double's rounding.
        let slack = 1.01
        assertClose(got.y, y, relative: bound, factor: slack * roundoff, "\(what) y")
        assertClose(got.mean, mean, relative: mean.map(abs), factor: slack * roundoff, absolute: 1e-13, "\(what) mean")
        let invstd = variance.map { 1 / ($0 + 1e-5).squareRoot() }
        assertClose(got.invstd, invstd, relative: invstd, factor: slack * roundoff, "\(what) invstd")
        assertClose(
            got.runningMean, runningMean, relative: runningMean.map(abs), factor: slack * roundoff, absolute: 1e-13,
            "\(what) running mean")
        assertClose(
            got.runningVariance, runningVariance, relative: runningVariance, factor: slack * roundoff,
            "\(what) running variance")
        return (mean, variance)
    }

    private func checkBackward(
        _ p: Problem, _ o: Options, _ got: Outcome, mean: [Double], variance: [Double], _ what: String
    ) {
        // The mask is that of the result as it was stored; what it lets through is exact.
        let g = p.dy.indices.map { !o.relu || got.y[$0] > 0 ? p.dy[$0] : 0 }
        if o.residual { XCTAssertEqual(got.dresidual, g, "\(what) dresidual") }
        let gamma = o.affine ? p.gamma : nil
        var dx = [Double](repeating: 0, count: g.count)
        var dgamma = mean
        var dbeta = mean
        if o.training {
            cr_bn_training_backward(
                p.x, g, p.c.n, p.c.c, p.c.plane, gamma, mean, variance, 1e-5, &dx, &dgamma, &dbeta)
        } else {
            cr_bn_inference_backward(
                p.x, g, p.c.n, p.c.c, p.c.plane, gamma, p.runningMean, p.runningVariance, 1e-5, &dx, &dgamma, &dbeta)
        }
        let channels = Int(p.c.c)
        let m = Double(p.c.count / channels)
        let invstd = variance.map { 1 / ($0 + 1e-5).squareRoot() }
        var sizes = [Double](repeating: 0, count: channels)  // of the terms of the sum of g (x - mean)
        for i in g.indices {
            sizes[p.channel(i)] += abs(Double(g[i])) * abs(Double(p.x[i]) - mean[p.channel(i)])
        }
        let dot = (0..<channels).map { sizes[$0] + abs(mean[$0] * dbeta[$0]) }
        assertClose(
            got.dbeta, dbeta, relative: dbeta.map(abs), factor: 1.01 * roundoff, absolute: 1e-12, "\(what) dbeta")
        assertClose(
            got.dgamma, dgamma, relative: (0..<channels).map { 3 * dot[$0] * invstd[$0] }, factor: roundoff,
            absolute: 1e-12, "\(what) dgamma")
        let bound = g.indices.map { i in
            let k = p.channel(i)
            let scale = abs(Double(gamma?[k] ?? 1)) * invstd[k]
            let byX = o.training ? scale * invstd[k] * abs(dgamma[k]) / m : 0
            let error = o.training ? scale * invstd[k] * invstd[k] / m * 2 * dot[k] : 0
            return 3 * abs(Double(g[i])) * scale + 4 * (abs(Double(p.x[i])) + abs(mean[k])) * byX
                + (o.training ? 4 * scale * abs(dbeta[k]) / m : 0) + abs(Double(p.x[i]) - mean[k]) * error + abs(dx[i])
        }
        assertClose(got.dx, dx, relative: bound, factor: 1.01 * roundoff, absolute: 1e-13, "\(what) dx")
    }

    func testAgainstTheReference() {
        for (number, c) in cases.enumerated() {
            let p = Problem(c, seed: UInt64(number * 10))
            forEachISA { isa in
                for training in [true, false] {
                    for (relu, residual) in [(false, false), (true, false), (false, true), (true, true)] {
                        for affine in [true, false] {
                            var o = Options(training: training, relu: relu, residual: residual, affine: affine)
                            o.threads = Int32(1 + (number + (affine ? 1 : 0)) % 3)
                            let what = "\(isa.title) \(c.text) \(o.text)"
                            let got = run(p, o, what)
                            let (mean, variance) = checkForward(p, o, got, what)
                            checkBackward(p, o, got, mean: mean, variance: variance, what)
                        }
                    }
                }
            }
        }
    }

    /// The team neither changes a bit, whether it shares blocks or planes.
    func testResultsDoNotDependOnThreads() {
        for c in [Case(n: 5, c: 37, h: 9, w: 11), Case(n: 3, c: 128, h: 14, w: 14), Case(n: 9, c: 16, h: 20, w: 20)] {
            let p = Problem(c, seed: 5)
            forEachISA { isa in
                for residual in [false, true] {
                    var o = Options(relu: true, residual: residual)
                    let first = run(p, o, isa.title)
                    for threads: Int32 in [1, 2, 3, 4, 7] {
                        o.threads = threads
                        XCTAssertEqual(run(p, o, isa.title), first, "\(isa.title) \(c.text) \(threads) threads")
                    }
                }
            }
        }
    }

    /// y over x or the residual, dx over dy or x, dresidual over dy, the mask from y or from x: the same bits.
    func testInPlaceAndEitherMask() {
        let c = Case(n: 3, c: 21, h: 5, w: 6)
        let p = Problem(c, seed: 9)
        forEachISA { isa in
            for training in [true, false] {
                let o = Options(training: training, relu: true, residual: true)
                let expected = run(p, o, isa.title)
                var d = desc(c, training: training, relu: true, threads: 2)
                let workspace = GuardedBuffer<UInt8>(count: ck_bn_workspace_size(&d))
                var mean = expected.mean
                var invstd = expected.invstd
                for overX in [true, false] {
                    let x = p.blockedGuarded(p.x)
                    let residual = p.blockedGuarded(p.residual)
                    var runningMean = p.runningMean
                    var runningVariance = p.runningVariance
                    runningMean.withUnsafeMutableBufferPointer { m in
                        runningVariance.withUnsafeMutableBufferPointer { v in
                            var args = ck_bn_forward_args()
                            (args.x, args.residual) = (UnsafePointer(x.pointer), UnsafePointer(residual.pointer))
                            (args.running_mean, args.running_var) = (m.baseAddress, v.baseAddress)
                            args.y = overX ? x.pointer : residual.pointer
                            args.workspace = UnsafeMutableRawPointer(workspace.pointer)
                            p.gamma.withUnsafeBufferPointer { gamma in
                                p.beta.withUnsafeBufferPointer { beta in
                                    (args.gamma, args.beta) = (gamma.baseAddress, beta.baseAddress)
                                    XCTAssertEqual(ck_bn_forward(&d, &args), CK_OK)
                                }
                            }
                        }
                    }
                    XCTAssertEqual(p.plain(overX ? x : residual), expected.y, "\(isa.title) in place")
                }
                func backward(
                    residual: Bool, y: [Float]?, change: (inout ck_bn_backward_args, [GuardedBuffer<Float>]) -> Void
                )
                    -> [GuardedBuffer<Float>]
                {
                    let buffers = [p.dy, p.x, y ?? p.x].map { p.blockedGuarded($0) }
                    var args = ck_bn_backward_args()
                    (args.dy, args.x) = (UnsafePointer(buffers[0].pointer), UnsafePointer(buffers[1].pointer))
                    args.y = y == nil ? nil : UnsafePointer(buffers[2].pointer)
                    args.workspace = UnsafeMutableRawPointer(workspace.pointer)
                    mean.withUnsafeMutableBufferPointer { m in
                        invstd.withUnsafeMutableBufferPointer { s in
                            p.gamma.withUnsafeBufferPointer { gamma in
                                p.beta.withUnsafeBufferPointer { beta in
                                    (args.gamma, args.beta) = (gamma.baseAddress, beta.baseAddress)
                                    (args.mean, args.invstd) = (
                                        UnsafePointer(m.baseAddress), UnsafePointer(s.baseAddress)
                                    )
                                    change(&args, buffers)
                                    XCTAssertEqual(ck_bn_backward(&d, &args), CK_OK)
                                }
                            }
                        }
                    }
                    return buffers
                }
                let overDy = backward(residual: true, y: expected.y) { $0.dx = $1[0].pointer }
                XCTAssertEqual(p.plain(overDy[0]), expected.dx, "\(isa.title) dx over dy")
                let both = backward(residual: true, y: expected.y) {
                    ($0.dx, $0.dresidual) = ($1[1].pointer, $1[0].pointer)
                }
                XCTAssertEqual(p.plain(both[1]), expected.dx, "\(isa.title) dx over x")
                XCTAssertEqual(p.plain(both[0]), expected.dresidual, "\(isa.title) dresidual over dy")

                let plain = run(p, Options(training: training, relu: true, residual: false), isa.title)
                let fromY = backward(residual: false, y: plain.y) { $0.dx = $1[0].pointer }
                XCTAssertEqual(p.plain(fromY[0]), plain.dx, "\(isa.title) mask from y")
            }
        }
    }

    /// A frozen layer whose parameters are frozen too needs no x.
    func testFrozenBackwardWithoutX() {
        let c = Case(n: 2, c: 19, h: 4, w: 5)
        let p = Problem(c, seed: 11)
        forEachISA { isa in
            let expected = run(p, Options(training: false, relu: true, residual: true), isa.title)
            var d = desc(c, training: false, relu: true, threads: 1)
            let workspace = GuardedBuffer<UInt8>(count: ck_bn_workspace_size(&d))
            let (dy, y) = (p.blockedGuarded(p.dy), p.blockedGuarded(expected.y))
            let dx = GuardedBuffer<Float>(count: p.blockedCount)
            var args = ck_bn_backward_args()
            (args.dy, args.y, args.dx) = (UnsafePointer(dy.pointer), UnsafePointer(y.pointer), dx.pointer)
            args.workspace = UnsafeMutableRawPointer(workspace.pointer)
            p.gamma.withUnsafeBufferPointer { gamma in
                expected.mean.withUnsafeBufferPointer { mean in
                    expected.invstd.withUnsafeBufferPointer { invstd in
                        (args.gamma, args.mean, args.invstd) = (gamma.baseAddress, mean.baseAddress, invstd.baseAddress)
                        XCTAssertEqual(ck_bn_backward(&d, &args), CK_OK)
                        XCTAssertEqual(p.plain(dx), expected.dx, isa.title)
                        args.y = nil
                        XCTAssertEqual(ck_bn_backward(&d, &args), CK_INVALID_ARGUMENT, "no mask")
                        (args.y, d.training) = (UnsafePointer(y.pointer), 1)
                        XCTAssertEqual(ck_bn_backward(&d, &args), CK_INVALID_ARGUMENT, "training needs x")
                    }
                }
            }
        }
    }

    func testBadArgumentsAreRefused() {
        let good = desc(Case(n: 2, c: 3, h: 4, w: 5), training: true, relu: false, threads: 1)
        func size(_ change: (inout ck_bn_desc) -> Void) -> Int {
            var d = good
            change(&d)
            return ck_bn_workspace_size(&d)
        }
        XCTAssertGreaterThan(size { _ in }, 0)
        XCTAssertEqual(ck_bn_workspace_size(nil), 0)
        for bad: Int32 in [0, -1, .min] {
            for path in [\ck_bn_desc.batch, \.channels, \.height, \.width] {
                XCTAssertEqual(size { $0[keyPath: path] = bad }, 0)
            }
        }
        XCTAssertEqual(size { $0.threads = -1 }, 0)
        XCTAssertEqual(size { $0.training = 2 }, 0)
        XCTAssertEqual(size { $0.relu = -1 }, 0)
        for bad in [-1, Double.nan] {
            XCTAssertEqual(size { $0.eps = bad }, 0)
            XCTAssertEqual(size { $0.momentum = bad }, 0)
        }
        XCTAssertEqual(size { $0.momentum = 1.5 }, 0)
        XCTAssertEqual(size { ($0.batch, $0.height, $0.width) = (1, 1, 1) }, 0, "one value a channel has no variance")
        var d = good
        var forward = ck_bn_forward_args()
        var backward = ck_bn_backward_args()
        XCTAssertEqual(ck_bn_forward(&d, nil), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_bn_forward(&d, &forward), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_bn_backward(&d, nil), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_bn_backward(&d, &backward), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_bn_forward(nil, &forward), CK_INVALID_ARGUMENT)
    }
}
