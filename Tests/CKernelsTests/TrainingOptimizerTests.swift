// Optimizers and flat-array arithmetic: against PyTorch's pinned results, element by element, and at their edges.

import CKernels
import CReference
import Foundation
import XCTest

/// Tests/Fixtures/training/operations.json, from scripts/make_training_op_fixtures.py.
struct PinnedOperations: Decodable {
    struct Loss: Decodable {
        var kind: String, loss: Double, smoothing: Double
        var logits: [Float], gradient: [Double]
        var labels: [Int32]?, targets: [Float]?, weights: [Float]?
    }
    struct Optimizer: Decodable {
        var name: String, lr: Double, weight_decay: Double, betas: [Double]
        var momentum: Double?, dampening: Double?, eps: Double?, nesterov: Bool?
        var start: [Float], gradients: [[Float]], after: [[Double]]
    }
    var rows: Int32, classes: Int32
    var losses: [Loss], optimizers: [Optimizer]

    static func load() throws -> PinnedOperations {
        let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let data = try Data(contentsOf: fixtures.appendingPathComponent("Fixtures/training/operations.json"))
        return try JSONDecoder().decode(PinnedOperations.self, from: data)
    }
}

final class TrainingOptimizerTests: XCTestCase {
    /// Every step rounds a handful of times relative to the parameter and to the step taken; both are float on both sides.
    func testOptimizersAgreeWithPyTorch() throws {
        let pinned = try PinnedOperations.load()
        XCTAssertEqual(pinned.optimizers.count, 9)
        for item in pinned.optimizers {
            try forEachISA { isa in
                let count = item.start.count
                let w = GuardedBuffer(item.start, alignment: 4)
                let first = GuardedBuffer([Float](repeating: 0, count: count), alignment: 4)
                let second = GuardedBuffer([Float](repeating: 0, count: count), alignment: 4)
                for (step, gradient) in item.gradients.enumerated() {
                    let grad = GuardedBuffer(gradient, alignment: 4)
                    let before = w.array
                    if item.name == "sgd" {
                        let momentum = try XCTUnwrap(item.momentum)
                        var settings = ck_sgd(
                            lr: item.lr, momentum: momentum, dampening: try XCTUnwrap(item.dampening),
                            weight_decay: item.weight_decay, nesterov: item.nesterov == true ? 1 : 0,
                            first: step == 0 ? 1 : 0)
                        XCTAssertEqual(
                            ck_sgd_step(
                                &settings, w.pointer, grad.pointer, momentum == 0 ? nil : first.pointer, count, 2),
                            CK_OK)
                    } else {
                        var settings = ck_adam(
                            lr: item.lr, beta1: item.betas[0], beta2: item.betas[1], eps: try XCTUnwrap(item.eps),
                            weight_decay: item.weight_decay, decoupled: item.name == "adamw" ? 1 : 0,
                            step: Int64(step + 1))
                        XCTAssertEqual(
                            ck_adam_step(&settings, w.pointer, grad.pointer, first.pointer, second.pointer, count, 2),
                            CK_OK)
                    }
                    let expected = item.after[step]
                    let sizes = expected.indices.map { abs(expected[$0]) + abs(expected[$0] - Double(before[$0])) }
                    assertClose(
                        w.array, expected, relative: sizes, factor: 8 * Double(step + 1) * roundoff,
                        "\(isa.title) \(item.name) lr \(item.lr) step \(step)")
                    for buffer in [w, first, second] { XCTAssertTrue(buffer.slackIsIntact) }
                }
            }
        }
    }

    /// Long arrays give the same bits on any team, and every element the bits that it has alone.
    func testElementsAreIndependent() {
        let count = 50_003
        let start = uniform(count, seed: 1)
        let grad = uniform(count, seed: 2)
        forEachISA { isa in
            func adam(_ from: Int, _ length: Int, _ threads: Int32) -> [Float] {
                var w = Array(start[from..<from + length])
                var m = Array(grad[from..<from + length])
                var v = m.map { $0 * $0 }
                var settings = ck_adam(
                    lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1, decoupled: 1, step: 3)
                let g = Array(grad[from..<from + length])
                XCTAssertEqual(ck_adam_step(&settings, &w, g, &m, &v, length, threads), CK_OK)
                return w + m + v
            }
            let whole = adam(0, count, 1)
            for threads: Int32 in [2, 3, 7] { XCTAssertEqual(adam(0, count, threads), whole, isa.title) }
            let part = adam(count - 5, 5, 1)
            for i in 0..<5 {
                XCTAssertEqual(part[i], whole[count - 5 + i], isa.title)
                XCTAssertEqual(part[5 + i], whole[2 * count - 5 + i], isa.title)
            }
        }
    }

    func testSumsAndCombinations() {
        for count in [1, 5, 16, 17, 4099, 100_001] {
            let x = uniform(count, seed: 1)
            let y = uniform(count, seed: 2)
            // In chunks: one running sum of 100 000 doubles is itself off by more than what is asked here.
            let squares = stride(from: 0, to: count, by: 256).reduce(0.0) { total, first in
                total + x[first..<min(first + 256, count)].reduce(0.0) { $0 + Double($1) * Double($1) }
            }
            forEachISA { isa in
                var first = 0.0
                XCTAssertEqual(ck_sum_of_squares(x, count, &first, 1), CK_OK)
                XCTAssertEqual(first, squares, accuracy: 1e-13 * squares)
                for threads: Int32 in [2, 3, 7] {
                    var sum = 0.0
                    XCTAssertEqual(ck_sum_of_squares(x, count, &sum, threads), CK_OK)
                    XCTAssertEqual(sum, first, "the same bits on any team")
                }
                let buffer = GuardedBuffer(y, alignment: 4)
                func check(_ expected: (Int) -> (value: Double, size: Double), _ what: String) {
                    let all = (0..<count).map(expected)
                    assertClose(
                        buffer.array, all.map(\.value), relative: all.map(\.size), factor: 3 * roundoff,
                        "\(isa.title) \(what)")
                    XCTAssertTrue(buffer.slackIsIntact)
                    for i in 0..<count { buffer.pointer[i] = y[i] }
                }
                XCTAssertEqual(ck_scale(buffer.pointer, count, 0.3, 2), CK_OK)
                check({ (0.3 * Double(y[$0]), abs(Double(y[$0]))) }, "scale")
                XCTAssertEqual(ck_accumulate(x, buffer.pointer, count, -0.7, 2), CK_OK)
                check(
                    { (Double(y[$0]) - 0.7 * Double(x[$0]), abs(Double(y[$0])) + abs(Double(x[$0]))) }, "accumulate")
                XCTAssertEqual(ck_moving_average(x, buffer.pointer, count, 0.9, 2), CK_OK)
                check(
                    { (0.9 * Double(y[$0]) + 0.1 * Double(x[$0]), abs(Double(y[$0])) + abs(Double(x[$0]))) }, "average")
            }
        }
        var sum = 0.0
        XCTAssertEqual(ck_sum_of_squares([1, .nan, 2], 3, &sum, 1), CK_OK)
        XCTAssertTrue(sum.isNaN)
        XCTAssertEqual(ck_sum_of_squares([1, -.infinity, 2], 3, &sum, 1), CK_OK)
        XCTAssertEqual(sum, .infinity)
        let large = [Float](repeating: .greatestFiniteMagnitude, count: 100)
        XCTAssertEqual(ck_sum_of_squares(large, 100, &sum, 1), CK_OK)
        XCTAssertTrue(sum.isFinite, "finite values have a finite sum")
    }

    func testBadArgumentsAreRefused() {
        var w: [Float] = [1, 2]
        var m: [Float] = [0, 0]
        var v: [Float] = [0, 0]
        let g: [Float] = [1, 1]
        var sgd = ck_sgd(lr: 0.1, momentum: 0.9, dampening: 0, weight_decay: 0, nesterov: 0, first: 1)
        XCTAssertEqual(ck_sgd_step(&sgd, &w, g, nil, 2, 1), CK_INVALID_ARGUMENT, "momentum needs a velocity")
        XCTAssertEqual(ck_sgd_step(&sgd, &w, nil, &m, 2, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_sgd_step(nil, &w, g, &m, 2, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_sgd_step(&sgd, &w, g, &m, 0, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_sgd_step(&sgd, &w, g, &m, 2, -1), CK_INVALID_ARGUMENT)
        (sgd.nesterov, sgd.dampening) = (1, 0.1)
        XCTAssertEqual(ck_sgd_step(&sgd, &w, g, &m, 2, 1), CK_INVALID_ARGUMENT, "Nesterov takes no dampening")
        sgd.lr = .nan
        XCTAssertEqual(ck_sgd_step(&sgd, &w, g, &m, 2, 1), CK_INVALID_ARGUMENT)
        let good = ck_adam(lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0, decoupled: 0, step: 1)
        for change: (inout ck_adam) -> Void in [
            { $0.step = 0 }, { $0.beta1 = 1 }, { $0.beta2 = -0.1 }, { $0.eps = -1 }, { $0.lr = .infinity },
        ] {
            var bad = good
            change(&bad)
            XCTAssertEqual(ck_adam_step(&bad, &w, g, &m, &v, 2, 1), CK_INVALID_ARGUMENT)
        }
        XCTAssertEqual(w, [1, 2], "nothing is written")
        XCTAssertEqual(ck_scale(&w, 2, .nan, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_scale(nil, 2, 1, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_accumulate(nil, &w, 2, 1, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_moving_average(g, &w, 2, 1.5, 1), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_sum_of_squares(g, 2, nil, 1), CK_INVALID_ARGUMENT)
    }
}
