// The oracle itself: values worked by hand, and each gradient against its definition.

import CReference
import XCTest

final class ReferenceTests: XCTestCase {
    /// 1x1x3x3 and a 2x2 kernel, by hand.
    func testConvolutionByHand() {
        var s = cr_conv.square(1, 1, 3, 3, kernel: 2)
        let x: [Float] = [1, 2, 3, 4, 5, 6, 7, 8, 9]
        var y = [Double](repeating: .nan, count: 4)
        var spread = y
        cr_conv_forward(&s, x, [1, 0, 0, -1], &y, &spread)
        XCTAssertEqual(y, [-4, -4, -4, -4])
        XCTAssertEqual(spread[0], (1.0 + 25).squareRoot(), accuracy: 1e-12)

        s = cr_conv.square(1, 1, 3, 3, kernel: 3, stride: 2, pad: 1)
        cr_conv_forward(&s, x, [Float](repeating: 1, count: 9), &y, nil)
        XCTAssertEqual(y, [12, 16, 24, 28], "sums of the corners of the padded picture")

        s = cr_conv.square(1, 1, 3, 3, kernel: 2, pad: 0, dilation: 2)
        cr_conv_forward(&s, x, [1, 2, 3, 4], &y, nil)
        XCTAssertEqual(y[0], 64, "1 + 2 * 3 + 3 * 7 + 4 * 9")

        s = cr_conv.square(2, 2, 1, 2, kernel: 1, groups: 2)
        cr_conv_forward(&s, [1, 2, 3, 4], [10, 100], &y, nil)
        XCTAssertEqual(y, [10, 20, 300, 400])
    }

    /// <conv(x, w), dy> = <x, dx> = <w, dw>: what makes them gradients, because convolution is linear in both.
    func testConvolutionGradientsAreAdjoints() {
        let shapes: [cr_conv] = [
            .square(n: 2, 3, 4, 7, 6, kernel: 3, pad: 1),
            .square(n: 2, 4, 6, 8, 9, kernel: 3, stride: 2, pad: 1, groups: 2),
            .square(5, 5, 6, 7, kernel: 5, pad: 2, groups: 5), .square(3, 2, 9, 9, kernel: 3, pad: 2, dilation: 2),
            cr_conv(n: 3, c: 2, k: 3, h: 5, w: 8, kernel: (1, 3), stride: (2, 3), pad: (0, 2)),
        ]
        for (i, shape) in shapes.enumerated() {
            var s = shape
            let x = uniform(Int(s.n * s.c) * s.inPlane, seed: UInt64(i))
            let w = uniform(s.weightCount, seed: 50)
            let dy = uniform(Int(s.n * s.k) * s.outPlane, seed: 60)
            var y = [Double](repeating: .nan, count: dy.count)
            var dx = [Double](repeating: .nan, count: x.count)
            var dw = [Double](repeating: .nan, count: w.count)
            cr_conv_forward(&s, x, w, &y, nil)
            cr_conv_data_gradient(&s, dy, w, &dx, nil)
            cr_conv_weight_gradient(&s, x, dy, &dw, nil)
            XCTAssertEqual(dot(y, dy), dot(dx, x), accuracy: 1e-10, s.text)
            XCTAssertEqual(dot(y, dy), dot(dw, w), accuracy: 1e-10, s.text)
        }
    }

    private func dot(_ a: [Double], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * Double($1.1) } }

    func testPoolingByHand() {
        var s = cr_pool(
            planes: 1, h: 3, w: 3, kernel_h: 2, kernel_w: 2, stride_h: 2, stride_w: 2, pad_h: 0, pad_w: 0, ceil_mode: 1)
        let x: [Float] = [1, 9, 3, 4, 5, 6, 7, 8, 2]
        var y = [Double](repeating: .nan, count: 4)
        var places = [Int32](repeating: -1, count: 4)
        cr_max_pool(&s, x, &y, &places)
        XCTAssertEqual(y, [9, 6, 8, 2])
        XCTAssertEqual(places, [1, 5, 7, 8])
        cr_average_pool(&s, x, &y)
        XCTAssertEqual(y, [19.0 / 4, 9.0 / 2, 15.0 / 2, 2], "cut windows divide by what is left of them")
        (s.pad_h, s.pad_w, s.ceil_mode) = (1, 1, 0)
        cr_average_pool(&s, x, &y)
        XCTAssertEqual(y, [1.0 / 4, 12.0 / 4, 11.0 / 4, 21.0 / 4], "padding counts")
        var dx = [Double](repeating: .nan, count: 9)
        cr_max_pool_backward(&s, [0, 1, 1, 8], [1, 2, 4, 8], &dx)
        XCTAssertEqual(dx, [1, 6, 0, 0, 0, 0, 0, 0, 8])
        cr_average_pool_backward(&s, [4, 0, 0, 8], &dx)
        XCTAssertEqual(dx, [1, 0, 0, 0, 2, 2, 0, 2, 2])
    }

    /// Central differences of the loss <y, dy> in each input. Values are multiples of 2^-10 and the step is 2^-8, so that
    /// nothing is rounded; the error is that of the difference, h^2 / 6 times a third derivative.
    private func assertGradient(
        _ x: [Float], _ gradient: [Double], _ what: String, loss: ([Float]) -> Double, file: StaticString = #filePath,
        line: UInt = #line
    ) {
        let h: Float = 0x1p-8
        let scale = gradient.map(abs).max()!
        for i in x.indices {
            var up = x
            var down = x
            up[i] += h
            down[i] -= h
            let difference = (loss(up) - loss(down)) / Double(2 * h)
            XCTAssertEqual(gradient[i], difference, accuracy: 1e-3 * scale, "\(what) \(i)", file: file, line: line)
        }
    }

    private func dyadic(_ count: Int, seed: UInt64) -> [Float] {
        integers(count, seed: seed, -1024...1024).map { $0 / 1024 }
    }

    func testBatchNormGradients() {
        let (n, c, plane): (Int32, Int32, Int) = (3, 2, 4)
        let count = Int(n * c) * plane
        let x = dyadic(count, seed: 1)
        let dy = dyadic(count, seed: 2)
        let gamma: [Float] = [1.5, -0.75]
        let beta: [Float] = [0.25, 1]
        let mean: [Float] = [0.25, -0.5]
        let variance: [Float] = [0.5, 2]
        var batchMean = [0.0, 0]
        var batchVariance = [0.0, 0]
        func training(_ x: [Float], _ gamma: [Float], _ beta: [Float]) -> Double {
            var y = [Double](repeating: 0, count: count)
            cr_bn_training(x, n, c, plane, gamma, beta, 1e-5, 0, &y, &batchMean, &batchVariance, nil, nil)
            return dot(y, dy)
        }
        func inference(_ x: [Float], _ gamma: [Float], _ beta: [Float]) -> Double {
            var y = [Double](repeating: 0, count: count)
            cr_bn_inference(x, n, c, plane, gamma, beta, mean, variance, 1e-5, &y)
            return dot(y, dy)
        }
        var dx = [Double](repeating: 0, count: count)
        var dgamma = [0.0, 0]
        var dbeta = [0.0, 0]
        _ = training(x, gamma, beta)
        cr_bn_training_backward(
            x, dy, n, c, plane, gamma, batchMean, batchVariance, 1e-5, &dx, &dgamma, &dbeta)
        assertGradient(x, dx, "training dx") { training($0, gamma, beta) }
        assertGradient(gamma, dgamma, "training dgamma") { training(x, $0, beta) }
        assertGradient(beta, dbeta, "training dbeta") { training(x, gamma, $0) }
        cr_bn_inference_backward(x, dy, n, c, plane, gamma, mean, variance, 1e-5, &dx, &dgamma, &dbeta)
        assertGradient(x, dx, "inference dx") { inference($0, gamma, beta) }
        assertGradient(gamma, dgamma, "inference dgamma") { inference(x, $0, beta) }
        assertGradient(beta, dbeta, "inference dbeta") { inference(x, gamma, $0) }
    }

    func testBatchNormStatistics() {
        var y = [0.0, 0, 0, 0]
        var mean = [0.0]
        var variance = [0.0]
        var runningMean = [1.0]
        var runningVariance = [1.0]
        cr_bn_training(
            [1, 2, 3, 6], 2, 1, 2, [2], [1], 0, 0.5, &y, &mean, &variance, &runningMean, &runningVariance)
        XCTAssertEqual(mean, [3])
        XCTAssertEqual(variance, [3.5])
        XCTAssertEqual(runningMean, [2])
        XCTAssertEqual(runningVariance[0], 1 + 0.5 * (14.0 / 3 - 1), accuracy: 1e-12, "unbiased: 14 / 3")
        XCTAssertEqual(y[3], 1 + 2 * 3 / 3.5.squareRoot(), accuracy: 1e-12)
    }

    func testLinearGradients() {
        let x = dyadic(6, seed: 3)
        let w = dyadic(12, seed: 4)
        let b = dyadic(4, seed: 5)
        let dy = dyadic(8, seed: 6)
        func loss(_ x: [Float], _ w: [Float], _ b: [Float]) -> Double {
            var y = [Double](repeating: 0, count: 8)
            cr_linear(x, w, b, 2, 3, 4, &y, nil)
            return dot(y, dy)
        }
        var dx = [Double](repeating: .nan, count: 6)
        var dw = [Double](repeating: .nan, count: 12)
        var db = [Double](repeating: .nan, count: 4)
        cr_linear_backward(x, w, dy, 2, 3, 4, &dx, &dw, &db)
        assertGradient(x, dx, "dx") { loss($0, w, b) }
        assertGradient(w, dw, "dw") { loss(x, $0, b) }
        assertGradient(b, db, "db") { loss(x, w, $0) }
    }

    func testLossGradients() {
        let x = dyadic(15, seed: 7)
        let labels: [Int32] = [2, -100, 4]
        let weights: [Float] = [1, 2, 0.5, 1, 3]
        let targets: [Float] = (0..<15).map { [0, 1, 0.25][$0 % 3] }
        for smoothing in [0, 0.1] {
            for classWeights in [nil, weights] {
                var dx = [Double](repeating: .nan, count: 15)
                _ = cr_cross_entropy(x, labels, 3, 5, classWeights, smoothing, -100, &dx)
                assertGradient(x, dx, "cross entropy") {
                    cr_cross_entropy($0, labels, 3, 5, classWeights, smoothing, -100, nil)
                }
                _ = cr_bce_with_logits(x, targets, 3, 5, classWeights, &dx)
                assertGradient(x, dx, "binary cross entropy") {
                    cr_bce_with_logits($0, targets, 3, 5, classWeights, nil)
                }
                _ = cr_soft_cross_entropy(x, targets, 3, 5, classWeights, smoothing, &dx)
                assertGradient(x, dx, "soft cross entropy") {
                    cr_soft_cross_entropy($0, targets, 3, 5, classWeights, smoothing, nil)
                }
            }
        }
        let even = [Float](repeating: 0.5, count: 4)
        XCTAssertEqual(cr_cross_entropy(even, [3], 1, 4, nil, 0, -100, nil), 4.0.logarithm, accuracy: 1e-12)
        XCTAssertEqual(cr_bce_with_logits([0, 0], [0, 1], 1, 2, nil, nil), 2.0.logarithm, accuracy: 1e-12)
    }

    func testSigmoidGradient() {
        let x = dyadic(9, seed: 8)
        let dy = dyadic(9, seed: 9)
        var y = [Double](repeating: 0, count: 9)
        var dx = y
        cr_sigmoid(x, 9, &y)
        cr_sigmoid_backward(y.map(Float.init), dy, 9, &dx)
        assertGradient(x, dx, "sigmoid") {
            var y = [Double](repeating: 0, count: 9)
            cr_sigmoid($0, 9, &y)
            return dot(y, dy)
        }
    }

    func testComparisonSeesWhatItShould() {
        XCTAssertEqual(cr_compare([1, 2], [1, 2], 2, nil, 0, 0).worst, 0)
        XCTAssertEqual(cr_compare([1, 2.5], [1, 2], 2, nil, 0, 0.25).worst, 2)
        XCTAssertEqual(cr_compare([1, 2.5], [1, 2], 2, [1, 4], 0.25, 0).worst, 0.5)
        XCTAssertEqual(cr_compare([1.001], [1], 1, nil, 0, 0).worst, .infinity)
        XCTAssertEqual(cr_compare([1, .nan], [1, 2], 2, nil, 0, 1e9).index, 1)
        XCTAssertEqual(cr_compare([1, .nan], [1, 2], 2, nil, 0, 1e9).worst, .infinity)
        XCTAssertEqual(cr_compare([1, 2], [.nan, 2], 2, nil, 0, 1e9).worst, .infinity)
        XCTAssertEqual(cr_compare([.nan, -.infinity], [.nan, -.infinity], 2, nil, 0, 0).worst, 0)
    }

    func testBlockedLayoutByHand() {
        var y = [Float](repeating: .nan, count: 16)
        cr_to_blocked([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 1, 5, 2, 4, &y)
        XCTAssertEqual(y, [1, 3, 5, 7, 2, 4, 6, 8, 9, 0, 0, 0, 10, 0, 0, 0])
        XCTAssertEqual(cr_surplus_nonzero(y, 1, 5, 2, 4), 0)
        y[9] = 1
        XCTAssertEqual(cr_surplus_nonzero(y, 1, 5, 2, 4), 1)
    }
}

extension Double {
    fileprivate var logarithm: Double { log(self) }
}
