// Every convolution of the table x every instruction set x every algorithm that takes it x epilogues x threads, against
// the reference. Each test also demands that the algorithms were really exercised.

import CKernels
import CReference
import XCTest

final class ConvolutionTableTests: XCTestCase {
    private static let forced: [ck_algorithm] = (1..<CK_ALGORITHM_COUNT.rawValue).map { ck_algorithm(rawValue: $0) }

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

    /// Runs it and keeps the books; the placement alternates, so that both ends of all buffers meet a guard page.
    private func check(_ oracle: ConvolutionOracle, _ run: ConvolutionRun, _ isa: ck_isa) {
        var run = run
        run.placement = runs % 2 == 0 ? .end : .start
        run.packsScale = runs / 2 % 2 == 1
        switch oracle.check(run) {
        case .unsupported:
            let pools = run.epilogue.has(Int(CK_MAX_POOL_3X3_S2)) || run.epilogue.has(Int(CK_GLOBAL_AVERAGE))
            if run.algorithm == CK_AUTO && !(pools && run.epilogue.has(Int(CK_RESIDUAL)))
                && !run.epilogue.has(Int(CK_MAX_POOL_3X3_S2))
            {
                failures.append("\(oracle.shape.text) \(run.epilogue): no algorithm takes it")
            }
        case .passed(let algorithm):
            runs += 1
            exercised[isa.title + " " + (run.algorithm == CK_AUTO ? CK_AUTO : algorithm).title, default: 0] += 1
            if run.accuracy == CK_ACCURACY_STRICT && algorithm.winogradError != nil {
                failures.append("\(oracle.shape.text): strict chose \(algorithm.title)")
            }
        case .failed(let fault):
            runs += 1
            failures.append(
                "\(oracle.shape.text) \(oracle.values) layout \(oracle.layout.rawValue): \(isa.title)"
                    + " \(run.algorithm.title) \(run.threads) threads, \(run.epilogue), batch \(run.batch): \(fault)")
        }
    }

    /// Uniform data under every epilogue, each with another number of threads; integers where these are exact.
    private func checkAll(
        _ shapes: [cr_conv], layouts: [ck_layout] = [CK_NCHWC], epilogues: [Epilogue] = Epilogue.plain,
        threads: [Int32] = [1, 2, 3]
    ) {
        for (number, shape) in shapes.enumerated() {
            for layout in layouts {
                let seed = UInt64(number + 1)
                let real = ConvolutionOracle(shape, .uniform, layout: layout, seed: seed)
                let exact = ConvolutionOracle(shape, .integers, layout: layout, seed: seed)
                forEachISA { isa in
                    for algorithm in Self.forced + [CK_AUTO] {
                        for (i, epilogue) in epilogues.enumerated() {
                            let team = threads[(i + number) % threads.count]
                            check(real, ConvolutionRun(algorithm: algorithm, epilogue: epilogue, threads: team), isa)
                        }
                        for team in threads {
                            let all = Epilogue(Int(CK_BIAS | CK_RESIDUAL | CK_RELU))
                            check(
                                exact, ConvolutionRun(algorithm: algorithm, epilogue: Epilogue(0), threads: team), isa)
                            check(exact, ConvolutionRun(algorithm: algorithm, epilogue: all, threads: team), isa)
                        }
                    }
                    check(exact, ConvolutionRun(algorithm: CK_AUTO, accuracy: CK_ACCURACY_STRICT), isa)
                }
            }
        }
    }

    private func assertExercised(
        _ algorithms: [ck_algorithm], atLeast count: Int, file: StaticString = #filePath, line: UInt = #line
    ) {
        for isa in availableISAs {
            for algorithm in algorithms {
                let key = isa.title + " " + algorithm.title
                XCTAssertGreaterThanOrEqual(exercised[key, default: 0], count, key, file: file, line: line)
            }
        }
    }

    func testChannelsAroundTheBlock() {
        checkAll(ConvolutionCases.channels)
        assertExercised([CK_GEMM, CK_DIRECT, CK_POINTWISE, CK_WINOGRAD_2, CK_WINOGRAD_4, CK_AUTO], atLeast: 300)
    }

    func testSizesAroundTheTile() {
        checkAll(ConvolutionCases.sizes)
        assertExercised([CK_GEMM, CK_DIRECT, CK_POINTWISE, CK_WINOGRAD_2, CK_WINOGRAD_4, CK_AUTO], atLeast: 250)
    }

    func testKernelsStridesPaddingDilation() {
        checkAll(ConvolutionCases.kernels, epilogues: [Epilogue(0), Epilogue(Int(CK_BIAS | CK_RESIDUAL | CK_RELU))])
        assertExercised([CK_GEMM, CK_DIRECT, CK_AUTO], atLeast: 600)
    }

    func testGroups() {
        checkAll(ConvolutionCases.groups)
        assertExercised([CK_GEMM, CK_AUTO], atLeast: 200)
        assertExercised([CK_DIRECT], atLeast: 50)
    }

    func testBatchesAndThreads() {
        checkAll(ConvolutionCases.batches, threads: [1, 2, 3, 7])
        assertExercised([CK_GEMM, CK_DIRECT, CK_POINTWISE, CK_WINOGRAD_2, CK_WINOGRAD_4, CK_AUTO], atLeast: 40)
    }

    func testStems() {
        checkAll(
            ConvolutionCases.stems, layouts: [CK_NCHWC, CK_NCHW, CK_NHWC8],
            epilogues: Epilogue.plain + Epilogue.pooled)
        assertExercised([CK_STEM, CK_AUTO], atLeast: 500)
        assertExercised([CK_STEM_WINOGRAD], atLeast: 350)
        assertExercised([CK_GEMM, CK_DIRECT], atLeast: 150)
    }

    /// Random shapes, each under every instruction set and algorithm with a random rest.
    func testRandomShapes() {
        var generator = SeededGenerator(seed: 11)
        for (number, shape) in ConvolutionCases.random(250, seed: 12).enumerated() {
            let layouts = shape.c <= 8 ? [CK_NCHWC, CK_NCHW, CK_NHWC8] : [CK_NCHWC]
            let values: ConvolutionOracle.Values = number % 2 == 0 ? .uniform : .integers
            let layout = layouts.randomElement(using: &generator)!
            let oracle = ConvolutionOracle(shape, values, layout: layout, seed: UInt64(300 + number))
            forEachISA { isa in
                for algorithm in Self.forced + [CK_AUTO] {
                    let run = ConvolutionRun(
                        algorithm: algorithm,
                        epilogue: (Epilogue.plain + Epilogue.pooled).randomElement(using: &generator)!,
                        threads: .random(in: 1...5, using: &generator),
                        batch: .random(in: 0...shape.n, using: &generator))
                    check(oracle, run, isa)
                }
            }
        }
        assertExercised([CK_GEMM, CK_DIRECT, CK_AUTO], atLeast: 150)
    }

    func testLargePictures() {
        let plain = Epilogue(Int(CK_BIAS | CK_RESIDUAL | CK_RELU), inPlace: true)
        let pooled = Epilogue(Int(CK_BIAS | CK_RELU | CK_MAX_POOL_3X3_S2))
        for (number, shape) in (ConvolutionCases.large + ConvolutionCases.largeStems).enumerated() {
            for layout in shape.c <= 8 ? [CK_NCHW, CK_NHWC8] : [CK_NCHWC] {
                let oracle = ConvolutionOracle(shape, .uniform, layout: layout, seed: UInt64(200 + number))
                forEachISA { isa in
                    for algorithm in Self.forced {
                        for epilogue in [plain, pooled] {
                            for threads: Int32 in [1, 3] {
                                let run = ConvolutionRun(algorithm: algorithm, epilogue: epilogue, threads: threads)
                                check(oracle, run, isa)
                            }
                        }
                    }
                }
            }
        }
        assertExercised([CK_GEMM, CK_DIRECT], atLeast: 2 * ConvolutionCases.large.count)
        assertExercised([CK_POINTWISE, CK_WINOGRAD_2, CK_WINOGRAD_4], atLeast: 6)
        assertExercised([CK_STEM], atLeast: 8 * ConvolutionCases.largeStems.count)
    }

    func testResNetLayers() {
        let epilogue = Epilogue(Int(CK_BIAS | CK_RESIDUAL | CK_RELU), inPlace: true)
        for (number, shape) in ConvolutionCases.resNet.enumerated() {
            let oracle = ConvolutionOracle(shape, .uniform, seed: UInt64(100 + number))
            forEachISA { isa in
                for algorithm in Self.forced + [CK_AUTO] {
                    check(oracle, ConvolutionRun(algorithm: algorithm, epilogue: epilogue, threads: 2), isa)
                }
            }
        }
        assertExercised([CK_GEMM, CK_AUTO, CK_DIRECT], atLeast: ConvolutionCases.resNet.count)
        assertExercised([CK_POINTWISE], atLeast: 18)
        assertExercised([CK_WINOGRAD_2, CK_WINOGRAD_4], atLeast: 7)
    }

    /// A plan for many images runs fewer, and touches nothing beyond them.
    func testFewerImagesThanThePlanTakes() {
        let shapes: [cr_conv] = [
            .square(n: 5, 16, 32, 7, 6, kernel: 3, pad: 1), .square(n: 5, 32, 48, 5, 7, kernel: 1),
            .square(n: 5, 17, 33, 8, 7, kernel: 3, stride: 2, pad: 1),
            .square(n: 5, 3, 64, 13, 12, kernel: 7, stride: 2, pad: 3),
            .square(n: 16, 64, 32, 7, 7, kernel: 3, pad: 1), .square(n: 5, 32, 32, 6, 5, kernel: 3, pad: 1, groups: 32),
        ]
        for shape in shapes {
            let layouts = shape.c <= 8 ? [CK_NCHWC, CK_NCHW, CK_NHWC8] : [CK_NCHWC]
            for layout in layouts {
                let oracle = ConvolutionOracle(shape, .uniform, layout: layout, seed: 77)
                forEachISA { isa in
                    for algorithm in Self.forced + [CK_AUTO] {
                        for epilogue in [Epilogue.plain[5], Epilogue.plain[9], Epilogue.pooled[1]] {
                            for batch in [1, 2, shape.n - 1, shape.n] {
                                let run = ConvolutionRun(
                                    algorithm: algorithm, epilogue: epilogue, threads: 2, batch: batch)
                                check(oracle, run, isa)
                            }
                        }
                    }
                }
            }
        }
        assertExercised(
            [CK_GEMM, CK_DIRECT, CK_POINTWISE, CK_STEM, CK_STEM_WINOGRAD, CK_WINOGRAD_2, CK_WINOGRAD_4], atLeast: 8)
    }
}
