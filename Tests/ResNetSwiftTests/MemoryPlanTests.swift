import ResNetSwift
import XCTest

@testable import ResNetExecution

final class MemoryPlanTests: XCTestCase {
    func testArenaReusesWhatIsDead() {
        // Two long buffers, and three short ones of which two follow one another.
        let layout = ArenaLayout([
            ArenaRequest(bytes: 1000, lifetime: 0...1), ArenaRequest(bytes: 3000, lifetime: 1...2),
            ArenaRequest(bytes: 900, lifetime: 2...3), ArenaRequest(bytes: 100, lifetime: 0...3),
        ])
        XCTAssertEqual(layout.bytes, 3008 + 1024 + 128)
        XCTAssertEqual(layout.offsets[0], layout.offsets[2])
    }

    func testArenaNeverOverlapsLiveBuffers() {
        for seed in 0..<200 as Range<UInt64> {
            var random = SplitMix(state: seed)
            let requests = (0..<30).map { _ in
                let start = Int.random(in: 0..<40, using: &random)
                return ArenaRequest(
                    bytes: Int.random(in: 1...5000, using: &random),
                    lifetime: start...start + Int.random(in: 0..<10, using: &random))
            }
            let layout = ArenaLayout(requests)
            for (i, a) in requests.enumerated() {
                XCTAssertEqual(layout.offsets[i] % ArenaLayout.alignment, 0)
                XCTAssertLessThanOrEqual(layout.offsets[i] + a.bytes, layout.bytes)
                for (j, b) in requests.enumerated() where j < i && a.lifetime.overlaps(b.lifetime) {
                    let apart =
                        layout.offsets[i] + a.bytes <= layout.offsets[j]
                        || layout.offsets[j] + b.bytes <= layout.offsets[i]
                    XCTAssertTrue(apart, "seed \(seed): \(i) and \(j)")
                }
            }
        }
    }

    /// Any cut into segments, any chunks: what a policy may choose and more.
    private func anySegments(_ steps: Int, batch: Int, _ random: inout SplitMix) -> [PlanSegment] {
        var segments: [PlanSegment] = []
        var start = 0
        while start < steps {
            let end = min(steps, start + Int.random(in: 1...8, using: &random))
            segments.append(PlanSegment(steps: start..<end, chunk: Int.random(in: 1...batch, using: &random)))
            start = end
        }
        return segments
    }

    /// Runs random programs on an arena of tags: every float written carries (value, image, index), and every read must
    /// find the tags of the value it reads.
    func testStepsFindWhatTheyRead() throws {
        var inPlaceSteps = 0
        var slices = 0
        for seed in 0..<80 as Range<UInt64> {
            let random = RandomGraph(seed: seed)
            var decline = SplitMix(state: seed ^ 99)
            let program = try Lowering.program(
                graph: random.graph, shapes: random.graph.shapes(input: random.image), taps: random.taps
            ) { $0.pool == .none && !$0.readsPicture || decline.chance(60) }
            let batch = [1, 1, 2, 5].randomElement(using: &decline)!
            let block = [4, 8, 16].randomElement(using: &decline)!
            let segments = anySegments(program.steps.count, batch: batch, &decline)
            let memory = MemoryPlan(program: program, segments: segments, batch: batch, block: block)
            var simulation = ArenaSimulation(program: program, memory: memory, segments: segments, block: block)
            for images in Set([batch, max(1, batch - 2)]) {
                let faults = simulation.run(images: images)
                XCTAssertEqual(faults, [], "seed \(seed), batch \(batch), \(images) images")
            }
            inPlaceSteps += simulation.inPlaceSteps
            slices += simulation.slices
        }
        // The graphs do exercise what is tested.
        XCTAssertGreaterThan(inPlaceSteps, 50)
        XCTAssertGreaterThan(slices, 20)
    }
}

private struct ArenaSimulation {
    let program: PlanProgram
    let memory: MemoryPlan
    let segments: [PlanSegment]
    let block: Int
    var inPlaceSteps = 0
    var slices = 0
    private var arena: [UInt64]
    private var outputs: [[UInt64]]
    /// By value: the inputs of a concat that its result already contains, with their offsets.
    private var parts: [[(value: Int, offset: Int)]]

    init(program: PlanProgram, memory: MemoryPlan, segments: [PlanSegment], block: Int) {
        self.program = program
        self.memory = memory
        self.segments = segments
        self.block = block
        arena = Array(repeating: 0, count: memory.arenaBytes / 4)
        parts = Array(repeating: [], count: program.values.count)
        outputs = program.ports.map { port in Array(repeating: 0, count: port.shape.count * 8) }
        for step in program.steps where step.kind == .concat { parts[step.output!] = partsInPlace(step) }
    }

    private func tag(_ value: Int, _ image: Int, _ index: Int) -> UInt64 {
        1 + UInt64(index) + UInt64(image) << 24 + UInt64(value) << 32
    }

    private func floats(_ value: Int) -> Int { program.values[program.base(value)].floats(block: block) }

    /// Where image `image` of `value` starts: nil for the picture.
    private func start(_ value: Int, _ image: Int, _ chunkStart: Int) -> (port: Int?, offset: Int)? {
        let place = memory.places[value]
        let offset = (place.isWholeBatch ? image : image - chunkStart) * place.imageFloats + place.offsetFloats
        switch place.base {
        case .picture: return nil
        case .output(let port): return (port, offset)
        case .arena(let bytes): return (nil, bytes / 4 + offset)
        }
    }

    private func partsInPlace(_ step: PlanStep) -> [(value: Int, offset: Int)] {
        guard let output = step.output else { return [] }
        let whole = memory.places[output]
        let map = program.values[output].shape
        var channel = 0
        return step.inputs.compactMap { part in
            let offset = channel * map.height * map.width
            channel += program.values[part].shape.channels
            let place = memory.places[part]
            let isInPlace = place.base == whole.base && place.offsetFloats == whole.offsetFloats + offset
            return isInPlace ? (part, offset) : nil
        }
    }

    /// The tag that float `index` of an image of `value` must carry.
    private func expected(_ value: Int, _ image: Int, _ index: Int) -> UInt64 {
        let value = program.base(value)
        for part in parts[value] where index >= part.offset && index < part.offset + floats(part.value) {
            return expected(part.value, image, index - part.offset)
        }
        return tag(value, image, index)
    }

    private func mayWorkInPlace(_ step: PlanStep, input: Int) -> Bool {
        switch step.kind {
        case .scaleShift, .relu, .sigmoid, .add: true
        case .conv(let conv): conv.pool == .none && input == step.inputs.count - 1 && step.residual != nil
        case .concat: parts[step.output!].contains { $0.value == step.inputs[input] }
        default: false
        }
    }

    mutating func run(images: Int) -> [String] {
        var faults: [String] = []
        inPlaceSteps = 0
        slices = 0
        for segment in segments {
            for chunkStart in stride(from: 0, to: images, by: segment.chunk) {
                let chunk = chunkStart..<min(chunkStart + segment.chunk, images)
                for index in segment.steps { faults += step(index, chunk) }
            }
        }
        return faults
    }

    private mutating func step(_ index: Int, _ chunk: Range<Int>) -> [String] {
        let step = program.steps[index]
        var faults: [String] = []
        for (position, input) in step.inputs.enumerated() {
            for image in chunk {
                guard let from = start(input, image, chunk.lowerBound) else { continue }
                for float in 0..<floats(input) {
                    let found = from.port.map { outputs[$0][from.offset + float] } ?? arena[from.offset + float]
                    if found != expected(input, image, float) {
                        faults.append("step \(index) reads \(program.values[input].name) at \(float)")
                        break
                    }
                }
                if let output = step.output, let to = start(output, image, chunk.lowerBound), to.port == from.port,
                    to.offset < from.offset + floats(input), from.offset < to.offset + floats(output)
                {
                    if !mayWorkInPlace(step, input: position) { faults.append("step \(index) overwrites its input") }
                    if step.kind == .concat {
                        slices += 1
                    } else {
                        if to.offset != from.offset { faults.append("step \(index) overlaps its input") }
                        inPlaceSteps += 1
                    }
                }
            }
        }
        // Kernels take images one after another without gaps.
        for value in step.inputs + (step.output.map { [$0] } ?? []) where chunk.count > 1 {
            let isRows = program.values[value].layout == .plain
            if memory.places[value].imageFloats != floats(value), !isRows { faults.append("step \(index): gaps") }
        }
        guard let output = step.output else { return faults }
        let inPlace = parts[output]
        for image in chunk {
            guard let to = start(output, image, chunk.lowerBound) else { continue }
            for float in 0..<floats(output) {
                if inPlace.contains(where: { float >= $0.offset && float < $0.offset + floats($0.value) }) { continue }
                if let port = to.port {
                    outputs[port][to.offset + float] = tag(output, image, float)
                } else {
                    arena[to.offset + float] = tag(output, image, float)
                }
            }
        }
        return faults
    }
}
