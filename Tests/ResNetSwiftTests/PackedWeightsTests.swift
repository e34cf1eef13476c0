import Foundation
import ResNetSwift
import XCTest

final class PackedWeightsTests: XCTestCase {
    private var folder = ""

    override func setUpWithError() throws {
        folder = NSTemporaryDirectory() + "packed-\(getpid())-\(name.hashValue)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    override func tearDownWithError() throws { try FileManager.default.removeItem(atPath: folder) }

    private func message(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "no error"
        } catch { return "\(error)" }
    }

    func testMappedWeightsGiveTheSameResults() throws {
        for seed in 0..<8 as Range<UInt64> {
            let random = RandomGraph(seed: seed, steps: 8)
            let isBytes = random.image.channels == 3
            let options = PlanOptions(
                input: isBytes ? .bytesNHWC(scale: [0.1, 0.2, 0.3], shift: [0, 1, 2]) : .floatNCHW)
            let path = "\(folder)/\(seed).packed"
            let plan = try InferencePlan(
                model: Model.random(random.graph), input: random.image, batch: 2, options: options)
            try plan.writePacked(to: path)
            func logits(_ plan: InferencePlan) throws -> [Float] {
                isBytes
                    ? try plan.predict((0..<random.image.count * 2).map { UInt8(truncatingIfNeeded: $0 &* 37) }).logits
                        .values
                    : try plan.predict(randomPictures(2, random.image)).logits.values
            }
            let expected = try logits(plan)
            for copies in [false, true] {
                let again = try InferencePlan(
                    graph: random.graph, packed: path, input: random.image, batch: 2, options: options, copies: copies)
                XCTAssertEqual(try logits(again), expected, "seed \(seed), copies \(copies)")
            }
        }
    }

    func testAnyOtherPlanRefusesTheFile() throws {
        let random = RandomGraph(seed: 2)
        let path = "\(folder)/a.packed"
        try InferencePlan(model: Model.random(random.graph), input: random.image, batch: 2).writePacked(to: path)
        func open(_ graph: Graph, options: PlanOptions = PlanOptions()) -> String {
            message {
                _ = try InferencePlan(graph: graph, packed: path, input: random.image, batch: 2, options: options)
            }
        }
        XCTAssertEqual(open(random.graph), "no error")
        XCTAssertEqual(open(random.graph, options: PlanOptions(threads: 1)), "no error")
        XCTAssertTrue(
            open(random.graph, options: PlanOptions(forcedAlgorithm: .gemm)).contains("packed for another network"))

        // The same network with another eps, or with a module of another name, folds other numbers.
        var renamed = Graph(modelName: "Random")
        for (index, node) in random.graph.nodes.enumerated() {
            var module = node.module
            if case .conv = node.operation { module += "x" }
            renamed.add(module, node.operation, node.inputs.map { Node(index: $0) })
            XCTAssertEqual(renamed.nodes.count, index + 1)
        }
        renamed.setOutputs(
            logits: Node(index: random.graph.logits), features: random.graph.features.map { Node(index: $0) })
        XCTAssertTrue(open(renamed).contains("packed for another network"))
    }

    func testDamagedFilesAreRefused() throws {
        let random = RandomGraph(seed: 2)
        let path = "\(folder)/a.packed"
        let plan = try InferencePlan(model: Model.random(random.graph), input: random.image)
        try plan.writePacked(to: path)
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        XCTAssertEqual(whole.count, 4096 + plan.constantBytes)
        func open(_ contents: Data) throws -> String {
            let damaged = "\(folder)/damaged.packed"
            try contents.write(to: URL(fileURLWithPath: damaged))
            return message { _ = try InferencePlan(graph: random.graph, packed: damaged, input: random.image) }
        }
        XCTAssertTrue(try open(whole.prefix(whole.count - 1)).contains("bytes long instead of \(whole.count)"))
        XCTAssertTrue(try open(whole.prefix(100)).contains("100 bytes long instead of 4096"))
        XCTAssertTrue(try open(whole.prefix(5)).contains("not a file of packed weights"))
        XCTAssertTrue(try open(whole + [0]).contains("bytes long instead of \(whole.count)"))
        XCTAssertTrue(try open(Data()).contains("not a file of packed weights"))
        var format = whole
        format[8] = 1
        XCTAssertTrue(try open(format).contains("format 1, but this version reads 2"))
        var flipped = whole
        flipped[17] ^= 1
        XCTAssertTrue(try open(flipped).contains("packed for"))
        // Opening does not read the contents; looking at the file does.
        let sound = try PackedWeights(path: path)
        XCTAssertNoThrow(try sound.check())
        XCTAssertEqual(sound.bytes, whole.count)
        XCTAssertTrue(sound.madeFor.hasPrefix("Random on "), sound.madeFor)
        var rotten = whole
        rotten[whole.count - 64] ^= 4
        XCTAssertEqual(try open(rotten), "no error")
        let file = try PackedWeights(path: "\(folder)/damaged.packed")
        XCTAssertTrue(message { try file.check() }.contains("damaged: its contents have checksum"))
        XCTAssertTrue(
            message { _ = try InferencePlan(graph: random.graph, packed: folder, input: random.image) }
                .contains("directory"))
        XCTAssertTrue(message { try plan.writePacked(to: "\(folder)/none/a.packed") }.contains("cannot be written"))
    }
}
