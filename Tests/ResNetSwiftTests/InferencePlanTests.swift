import ResNetSwift
import XCTest

@testable import ResNetExecution

final class InferencePlanTests: XCTestCase {
    /// Views of a mapped array give what a copy gives, also the second time, when the pages were given back.
    func testMappedPicturesAreReadWhereTheyLie() throws {
        let random = RandomGraph(seed: 3, steps: 9)
        let plan = try InferencePlan(
            model: Model.random(random.graph), input: random.image, batch: 4, options: PlanOptions(threads: 1))
        let pictures = randomPictures(7, random.image)
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).npy").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try WeightWriter.writeArray(pictures, to: path)
        let mapped = try WeightFile.open(path).tensor("array")
        XCTAssertTrue(mapped.storage.isFileBacked)
        let expected = try plan.predict(pictures).logits
        for _ in 0..<2 { XCTAssertEqual(try plan.predict(mapped).logits.values, expected.values) }
        let view = mapped.entries(2..<5)
        XCTAssertEqual(view.shape, [3] + pictures.shape.dropFirst())
        XCTAssertEqual(view.values, Array(pictures.values[(2 * random.image.count)..<(5 * random.image.count)]))
        let classes = expected.shape[1]
        XCTAssertEqual(
            try plan.predict(view).logits.values, Array(expected.values[(2 * classes)..<(5 * classes)]))
        XCTAssertEqual(mapped.entries(0..<0).count, 0)
    }

    /// Every output of a plan against the reference, for random graphs under the given options.
    private func compare(
        seeds: Range<UInt64>, tolerance: Float, file: StaticString = #filePath, line: UInt = #line,
        _ adjust: (inout PlanOptions) -> Void
    ) throws {
        for seed in seeds {
            let random = RandomGraph(seed: seed, steps: 9)
            let graph = random.graph
            let model = Model.random(graph)
            var choice = SplitMix(state: seed ^ 1234)
            var options = PlanOptions(threads: Int.random(in: 1...2, using: &choice))
            options.taps = random.taps.map { graph.nodes[$0].name }
            options.schedule.activationBudget = 1 << Int.random(in: 10...16, using: &choice)
            adjust(&options)
            let batch = [1, 2, 5].randomElement(using: &choice)!
            let images = [1, batch, 3].randomElement(using: &choice)!

            let pictures = randomPictures(images, random.image)
            let plan = try InferencePlan(model: model, input: random.image, batch: batch, options: options)
            let prediction = try plan.predict(pictures)
            let expected = try ReferenceNetwork(model: model).values(
                pictures.values, images: images, size: random.image)
            func check(_ tensor: Tensor, _ node: Int, _ what: String) {
                let difference = relativeDifference(tensor.values, expected[node])
                XCTAssertLessThan(
                    difference, tolerance,
                    "seed \(seed), batch \(batch), \(images) images: \(what)\n\(plan.describe())",
                    file: file, line: line)
            }
            check(prediction.logits, graph.logits, "logits")
            if let h = graph.features { check(try XCTUnwrap(prediction.features), h, "features") }
            XCTAssertEqual(Set(prediction.taps.keys), Set(options.taps))
            for tap in random.taps {
                let name = graph.nodes[tap].name
                check(try XCTUnwrap(prediction.taps[name]), tap, name)
            }
        }
    }

    func testRandomGraphsAgreeWithTheReferenceWhenStrict() throws {
        try compare(seeds: 0..<60, tolerance: 2e-5) { $0.accuracy = .strict }
    }

    func testRandomGraphsAgreeWithTheReferenceByDefault() throws {
        try compare(seeds: 60..<110, tolerance: 1e-4) { _ in }
    }

    func testEveryForcedAlgorithmAgrees() throws {
        for (index, algorithm) in ConvAlgorithm.allCases.enumerated() {
            let first = UInt64(200 + 10 * index)
            try compare(seeds: first..<first + 10, tolerance: 1e-4) { $0.forcedAlgorithm = algorithm }
        }
    }

    func testBytesAreScaledAndPaddedWithZeroAfterwards() throws {
        for seed in 300..<330 as Range<UInt64> {
            let random = RandomGraph(seed: seed, steps: 4)
            let model = Model.random(random.graph)
            let size = random.image
            let scale = (0..<size.channels).map { 0.01 + 0.002 * Float($0) }
            let shift = (0..<size.channels).map { -1 + 0.3 * Float($0) }
            var bits = SplitMix(state: seed)
            let images = 3
            let bytes = (0..<images * size.count).map { _ in UInt8.random(in: 0...255, using: &bits) }
            var floats = [Float](repeating: 0, count: bytes.count)
            for image in 0..<images {
                for pixel in 0..<size.height * size.width {
                    for c in 0..<size.channels {
                        let byte = bytes[(image * size.height * size.width + pixel) * size.channels + c]
                        floats[(image * size.channels + c) * size.height * size.width + pixel] =
                            Float(byte) * scale[c] + shift[c]
                    }
                }
            }
            let plan = try InferencePlan(
                model: model, input: size, batch: 2,
                options: PlanOptions(accuracy: .strict, input: .bytesNHWC(scale: scale, shift: shift)))
            let expected = try ReferenceNetwork(model: model).values(floats, images: images, size: size)
            let logits = try plan.predict(bytes).logits.values
            XCTAssertLessThan(
                relativeDifference(logits, expected[random.graph.logits]), 2e-5, "seed \(seed)\n\(plan.describe())")
        }
    }

    /// Machines with many cores are rarer than users who have them: what the busiest thread does is computed.
    func testManyThreadsShareTheWorkEvenly() throws {
        let input = ImageShape(channels: 3, height: 224, width: 224)
        for (name, batch, bound) in [("resnet18", 1, 1.35), ("resnet50", 1, 1.35), ("resnet18", 8, 1.2)] {
            let graph = try ModelName(named: name).graph()
            for threads in [1, 4, 8, 16, 32, 64] {
                let balance = try PlanParts(
                    graph: graph, quantization: nil, input: input, batch: batch, options: PlanOptions(threads: threads)
                ).layout.workBalance
                let share = balance.largestShare(threads: threads)
                XCTAssertGreaterThan(balance.work, 1e6)
                XCTAssertGreaterThan(share, 0.999)
                XCTAssertLessThan(share, threads == 1 ? 1.001 : bound, "\(name), batch \(batch), \(threads) threads")
                XCTAssertLessThan(balance.waits, 120)
            }
        }
        let plan = try InferencePlan(
            model: Model.random(RandomGraph(seed: 5).graph), input: RandomGraph(seed: 5).image, batch: 2,
            options: PlanOptions(threads: 3))
        let share = fixed(plan.workBalance.largestShare(threads: 3), 2)
        XCTAssertTrue(plan.describe().contains("\(share) for all"), plan.describe())
    }

    func testAPlanRunsInManyThreadsAtOnce() async throws {
        let random = RandomGraph(seed: 5)
        let plan = try InferencePlan(
            model: Model.random(random.graph), input: random.image, batch: 2, options: PlanOptions(threads: 2))
        let pictures = (0..<6).map { randomPictures(2, random.image, name: "pictures \($0)") }
        let alone = try pictures.map { try plan.predict($0).logits.values }
        for _ in 0..<5 {
            let together = try await withThrowingTaskGroup(of: (Int, [Float]).self) { group in
                for (index, picture) in pictures.enumerated() {
                    group.addTask { (index, try plan.predict(picture).logits.values) }
                }
                var results = [[Float]](repeating: [], count: pictures.count)
                for try await (index, logits) in group { results[index] = logits }
                return results
            }
            XCTAssertEqual(together, alone)
        }
    }

    func testAWorkspaceKeepsItsResultsUntilItsNextRun() throws {
        let random = RandomGraph(seed: 8)
        let plan = try InferencePlan(model: Model.random(random.graph), input: random.image, batch: 2)
        let (first, second) = (try plan.makeWorkspace(), try plan.makeWorkspace())
        let pictures = ["a", "b"].map { randomPictures(2, random.image, name: $0) }
        for (workspace, picture) in zip([first, second], pictures) {
            try picture.withUnsafeFloats { try plan.run($0, images: 2, in: workspace) }
        }
        let kept = first.withOutput(0) { Array($0) }
        XCTAssertEqual(kept, try plan.predict(pictures[0]).logits.values)
        XCTAssertNotEqual(kept, second.withOutput(0) { Array($0) })
    }

    /// A child has no threads but its own: old workspaces are refused there, and predictions make new ones.
    func testAForkedChildPredictsWithNewWorkspaces() throws {
        typealias Fork = @convention(c) () -> pid_t
        let fork = unsafeBitCast(try XCTUnwrap(dlsym(nil, "fork")), to: Fork.self)
        let random = RandomGraph(seed: 8)
        let plan = try InferencePlan(
            model: Model.random(random.graph), input: random.image, options: PlanOptions(threads: 2))
        let pictures = randomPictures(1, random.image)
        let expected = try plan.predict(pictures).logits.values
        let workspace = try plan.makeWorkspace()
        let child = fork()
        if child == 0 {
            alarm(30)  // a hang ends the child, and the test fails
            var code: Int32 = 1
            do throws(ExecutionError) {
                try pictures.withUnsafeFloats { floats in
                    Result { () throws(ExecutionError) in try plan.run(floats, images: 1, in: workspace) }
                }.get()
            } catch {
                if case .usedAfterFork = error, (try? plan.predict(pictures).logits.values) == expected { code = 7 }
            }
            _exit(code)
        }
        var status: Int32 = 0
        XCTAssertEqual(waitpid(child, &status, 0), child)
        XCTAssertEqual(status, 7 << 8)
        XCTAssertEqual(try plan.predict(pictures).logits.values, expected)
    }

    func testWrongPicturesAreRefused() throws {
        let random = RandomGraph(seed: 3)
        let plan = try InferencePlan(model: Model.random(random.graph), input: random.image, batch: 2)
        var wide = random.image
        wide.width += 1
        XCTAssertThrowsError(try plan.predict(randomPictures(1, wide))) {
            XCTAssertTrue("\($0)".hasPrefix("the plan takes floats (N, "), "\($0)")
        }
        XCTAssertThrowsError(try plan.predict([UInt8](repeating: 0, count: random.image.count)))
        let workspace = try plan.makeWorkspace()
        try randomPictures(3, random.image).withUnsafeFloats { floats in
            XCTAssertThrowsError(try plan.run(floats, images: 3, in: workspace)) {
                XCTAssertTrue("\($0)".contains("N at most 2"), "\($0)")
            }
        }
    }

    func testWrongGraphsAndOptionsAreRefused() throws {
        let random = RandomGraph(seed: 3)
        let model = Model.random(random.graph)
        func message(_ size: ImageShape, _ options: PlanOptions) -> String {
            do {
                _ = try InferencePlan(model: model, input: size, options: options)
                return "no error"
            } catch { return "\(error)" }
        }
        XCTAssertEqual(message(random.image, PlanOptions(taps: ["nowhere"])), "the model has no node nowhere")
        XCTAssertTrue(
            message(random.image, PlanOptions(input: .bytesNHWC(scale: [], shift: []))).contains("a scale and a shift"))
        var other = random.image
        other.channels += 1
        XCTAssertTrue(message(other, PlanOptions()).hasPrefix("input: "))
    }

    func testEveryParameterIsReportedOnceConsumed() throws {
        let random = RandomGraph(seed: 12)
        let names = Locked<[String]>([])
        let plan = try InferencePlan(model: Model.random(random.graph), input: random.image) { name in
            names.withLock { $0.append(name) }
        }
        let used = Set(plan.program.steps.flatMap(\.nodes).flatMap(random.graph.parameters(of:)).map(\.name))
        XCTAssertFalse(used.isEmpty)
        XCTAssertEqual(names.withLock { $0 }.sorted(), used.sorted())
    }

    func testDescriptionAndProfileNameEveryStep() throws {
        let random = RandomGraph(seed: 21)
        let plan = try InferencePlan(model: Model.random(random.graph), input: random.image, batch: 3)
        let text = plan.describe()
        for info in plan.stepInfos { XCTAssertTrue(text.contains(info.name), info.name) }
        let shapes = try random.graph.shapes(input: random.image)
        let live = Set(plan.program.steps.flatMap(\.nodes))
        let macs = random.graph.macs(shapes: shapes).enumerated().filter { live.contains($0.offset) }
        XCTAssertEqual(plan.stepInfos.reduce(0) { $0 + $1.flops }, 2 * macs.reduce(0) { $0 + $1.element })
        let timings = try plan.profile(repetitions: 3)
        XCTAssertEqual(timings.map(\.step), plan.stepInfos)
        XCTAssertTrue(timings.allSatisfy { $0.milliseconds > 0 })
        XCTAssertEqual(plan.table(timings).split(separator: "\n").count, timings.count + 2)
    }
}

/// A value behind a lock, for closures that run on other threads.
private final class Locked<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) { self.value = value }

    func withLock<R>(_ body: (inout Value) -> R) -> R {
        lock.lock()
        defer { lock.unlock() }
        return body(&value)
    }
}
