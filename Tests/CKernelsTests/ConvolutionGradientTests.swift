// The convolution's gradients: the shapes of the forward tests x every instruction set x every algorithm that takes them x
// threads, against the reference. Each test also demands that the algorithms were really exercised.

import CKernels
import CReference
import XCTest

final class ConvolutionGradientTests: XCTestCase {
    private static let algorithms: [ck_algorithm] = (0..<CK_ALGORITHM_COUNT.rawValue).map { ck_algorithm(rawValue: $0) }

    private var exercised: [String: Int] = [:]
    private var failures: [String] = []
    private var runs = 0

    override func setUp() {
        exercised = [:]
        failures = []
        runs = 0
    }

    override func tearDown() {
        if !failures.isEmpty {
            let shown = failures.prefix(12).joined(separator: "\n")
            XCTFail("\(failures.count) of \(runs) runs failed, among them:\n\(shown)")
        }
    }

    private func name(_ pass: ck_pass) -> String { pass == CK_DATA_GRADIENT ? "data" : "weights" }

    private func check(_ oracle: GradientOracle, _ run: GradientRun, _ isa: ck_isa) {
        var run = run
        run.placement = runs % 2 == 0 ? .end : .start
        switch oracle.check(run) {
        case .unsupported:
            if run.algorithm == CK_AUTO || run.algorithm == CK_GEMM {
                failures.append("\(oracle.shape.text) \(name(run.pass)): \(run.algorithm.title) does not take it")
            }
        case .passed(let algorithm):
            runs += 1
            let asked = run.algorithm == CK_AUTO ? CK_AUTO : algorithm
            exercised["\(name(run.pass)) \(isa.title) \(asked.title)", default: 0] += 1
            if run.accuracy == CK_ACCURACY_STRICT && algorithm.winogradError != nil {
                failures.append("\(oracle.shape.text): strict chose \(algorithm.title)")
            }
        case .failed(let fault):
            runs += 1
            failures.append(
                "\(oracle.shape.text) \(oracle.values) layout \(oracle.layout.rawValue): \(isa.title) \(name(run.pass))"
                    + " \(run.algorithm.title) \(run.threads) threads, batch \(run.batch): \(fault)")
        }
    }

    private func checkAll(
        _ shapes: [cr_conv], layouts: [ck_layout] = [CK_NCHWC], threads: [Int32] = [1, 2, 3], data: Bool = true
    ) {
        for (number, shape) in shapes.enumerated() {
            for layout in layouts {
                let seed = UInt64(number + 1)
                let real = GradientOracle(shape, .uniform, layout: layout, seed: seed)
                let exact = GradientOracle(shape, .integers, layout: layout, seed: seed)
                forEachISA { isa in
                    for algorithm in Self.algorithms {
                        for (i, team) in threads.enumerated() {
                            let oracle = (i + number) % 2 == 0 ? real : exact
                            let other = (i + number) % 2 == 0 ? exact : real
                            var run = GradientRun(pass: CK_WEIGHT_GRADIENT, algorithm: algorithm, threads: team)
                            check(real, run, isa)
                            run.twice = i == 0
                            check(exact, run, isa)
                            guard data else { continue }
                            run.twice = false
                            run.pass = CK_DATA_GRADIENT
                            check(oracle, run, isa)
                            run.residual = true
                            check(other, run, isa)
                            run.inPlace = true
                            check(oracle, run, isa)
                        }
                    }
                    check(exact, GradientRun(pass: CK_WEIGHT_GRADIENT, accuracy: CK_ACCURACY_STRICT), isa)
                    if data { check(exact, GradientRun(pass: CK_DATA_GRADIENT, accuracy: CK_ACCURACY_STRICT), isa) }
                }
            }
        }
    }

    private func assertExercised(
        _ pass: ck_pass, _ algorithms: [ck_algorithm], atLeast count: Int, file: StaticString = #filePath,
        line: UInt = #line
    ) {
        for isa in availableISAs {
            for algorithm in algorithms {
                let key = "\(name(pass)) \(isa.title) \(algorithm.title)"
                XCTAssertGreaterThanOrEqual(exercised[key, default: 0], count, key, file: file, line: line)
            }
        }
    }

    func testChannelsAroundTheBlock() {
        checkAll(ConvolutionCases.channels)
        for pass in [CK_DATA_GRADIENT, CK_WEIGHT_GRADIENT] { assertExercised(pass, [CK_GEMM, CK_AUTO], atLeast: 250) }
    }

    func testSizesAroundTheTile() {
        checkAll(ConvolutionCases.sizes)
        for pass in [CK_DATA_GRADIENT, CK_WEIGHT_GRADIENT] { assertExercised(pass, [CK_GEMM, CK_AUTO], atLeast: 250) }
        assertExercised(CK_WEIGHT_GRADIENT, [CK_WINOGRAD_4, CK_DIRECT], atLeast: 100)
    }

    func testKernelsStridesPaddingDilation() {
        checkAll(ConvolutionCases.kernels)
        for pass in [CK_DATA_GRADIENT, CK_WEIGHT_GRADIENT] {
            assertExercised(pass, [CK_GEMM, CK_AUTO], atLeast: 250)
            assertExercised(pass, [CK_DIRECT], atLeast: 100)
        }
    }

    func testGroups() {
        checkAll(ConvolutionCases.groups)
        for pass in [CK_DATA_GRADIENT, CK_WEIGHT_GRADIENT] { assertExercised(pass, [CK_GEMM, CK_AUTO], atLeast: 40) }
    }

    func testBatchesAndThreads() {
        checkAll(ConvolutionCases.batches, threads: [1, 2, 3, 7])
        for pass in [CK_DATA_GRADIENT, CK_WEIGHT_GRADIENT] { assertExercised(pass, [CK_GEMM, CK_AUTO], atLeast: 40) }
    }

    /// First layers need no data gradient.
    func testStems() {
        checkAll(ConvolutionCases.stems, layouts: [CK_NCHWC, CK_NCHW, CK_NHWC8], data: false)
        assertExercised(CK_WEIGHT_GRADIENT, [CK_STEM, CK_GEMM, CK_AUTO], atLeast: 30)
    }

    func testResNetLayers() {
        for (number, shape) in ConvolutionCases.resNet.enumerated() {
            let oracle = GradientOracle(shape, .uniform, seed: UInt64(100 + number))
            forEachISA { isa in
                for algorithm in Self.algorithms {
                    for pass in [CK_DATA_GRADIENT, CK_WEIGHT_GRADIENT] {
                        check(oracle, GradientRun(pass: pass, algorithm: algorithm, threads: 2), isa)
                    }
                }
            }
        }
        for pass in [CK_DATA_GRADIENT, CK_WEIGHT_GRADIENT] {
            assertExercised(pass, [CK_GEMM, CK_AUTO], atLeast: ConvolutionCases.resNet.count)
        }
    }

    /// A plan for many images runs fewer, and touches nothing beyond them.
    func testFewerImagesThanThePlanTakes() {
        let shapes: [cr_conv] = [
            .square(n: 5, 16, 32, 7, 6, kernel: 3, pad: 1), .square(n: 5, 32, 48, 5, 7, kernel: 1),
            .square(n: 5, 17, 33, 8, 7, kernel: 3, stride: 2, pad: 1),
            .square(n: 5, 33, 17, 8, 7, kernel: 1, stride: 2),
            .square(n: 16, 64, 32, 7, 7, kernel: 3, pad: 1), .square(n: 5, 32, 32, 6, 5, kernel: 3, pad: 1, groups: 32),
        ]
        for shape in shapes {
            let oracle = GradientOracle(shape, .uniform, seed: 77)
            forEachISA { isa in
                for algorithm in Self.algorithms {
                    for pass in [CK_DATA_GRADIENT, CK_WEIGHT_GRADIENT] {
                        for batch in [1, 2, shape.n - 1, shape.n] {
                            check(oracle, GradientRun(pass: pass, algorithm: algorithm, threads: 2, batch: batch), isa)
                        }
                    }
                }
            }
        }
        for pass in [CK_DATA_GRADIENT, CK_WEIGHT_GRADIENT] { assertExercised(pass, [CK_GEMM, CK_AUTO], atLeast: 24) }
    }

    /// A second run on other contents of workspace and dst gives the same bits.
    func testTheSameBitsAgain() {
        for shape: cr_conv in [
            .square(n: 5, 33, 48, 9, 8, kernel: 3, pad: 1), .square(n: 5, 33, 48, 9, 8, kernel: 3, stride: 2, pad: 1),
            .square(n: 5, 48, 33, 9, 8, kernel: 1), .square(n: 5, 48, 33, 9, 8, kernel: 1, stride: 2),
        ] {
            forEachISA { isa in
                for algorithm in Self.algorithms {
                    for pass in [CK_DATA_GRADIENT, CK_WEIGHT_GRADIENT] {
                        for threads: Int32 in [1, 2, 5] {
                            let run = GradientRun(pass: pass, algorithm: algorithm, threads: threads)
                            let oracle = GradientOracle(shape, .uniform, seed: 5)
                            guard let first = oracle.result(run), let second = oracle.result(run) else { continue }
                            XCTAssertEqual(first, second, "\(shape.text) \(isa.title) \(algorithm.title) \(threads)")
                        }
                    }
                }
            }
        }
    }
}
