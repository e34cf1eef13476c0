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
    private func anySegments(_ steps: Int, batch: Int, _ random: inout SplitMix) -> [Segment] {
        var segments: [Segment] = []
        var start = 0
        while start < steps {
            let end = min(steps, start + Int.random(in: 1...8, using: &random))
            segments.append(Segment(steps: start..<end, chunk: Int.random(in: 1...batch, using: &random)))
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
            let batch = [1, 1, 2, 5].randomElement(using: &decline)!
            let block = [4, 8, 16].randomElement(using: &decline)!
            let program = try Lowering.program(
                graph: random.graph, shapes: random.graph.shapes(input: random.image),
                wishes: Lowering.Wishes(taps: random.taps), block: block
            ) { $0.pool == .none && !$0.readsPicture || decline.chance(60) }
            let segments = anySegments(program.steps.count, batch: batch, &decline)
            let memory = MemoryPlan(program, segments: segments, batch: batch, block: block)
            var simulation = ArenaSimulation(
                program: program, memory: memory, segments: segments, batch: batch, block: block)
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

    /// The same for training: forward, backward, whole-batch steps between, values that steps change.
    func testTrainingStepsFindWhatTheyRead() throws {
        var inPlaceSteps = 0
        for seed in 0..<60 as Range<UInt64> {
            let random = RandomGraph(seed: seed, steps: 10)
            var choice = SplitMix(state: seed ^ 55)
            let block = [4, 8, 16].randomElement(using: &choice)!
            let shapes = try random.graph.shapes(input: random.image)
            let scope = try TrainingScope(graph: random.graph, shapes: shapes, frozen: [])
            guard
                var program = try? Differentiator.program(
                    scope: scope, mode: seed % 5 == 0 ? .inference : .training, loss: .crossEntropy(),
                    checkpointing: Checkpointing.allCases.randomElement(using: &choice)!, block: block,
                    takesPlanes: { _, _ in seed % 2 == 0 })
            else { continue }
            let batch = [1, 2, 5].randomElement(using: &choice)!
            var policy = SchedulePolicy(cuts: seed % 3 == 0)
            policy.activationBudget = 1 << Int.random(in: 8...16, using: &choice)
            let segments = program.schedule(policy, batch: batch, block: block)
            // What the kernels would say.
            let sizes = Dictionary(uniqueKeysWithValues: program.values.indices.map { ($0, 64 + 4 * ($0 % 50)) })
            let memory = MemoryPlan(program, segments: segments, batch: batch, block: block, sizes: sizes)
            var simulation = ArenaSimulation(
                program: program, memory: memory, segments: segments, batch: batch, block: block, sizes: sizes)
            for images in Set([batch, max(1, batch - 2)]) {
                XCTAssertEqual(simulation.run(images: images), [], "seed \(seed), batch \(batch), \(images) images")
            }
            inPlaceSteps += simulation.inPlaceSteps
        }
        XCTAssertGreaterThan(inPlaceSteps, 100)
    }
}

/// Runs a program on tags instead of numbers: what is written carries value, image, index and how often the value has
/// changed.
private struct ArenaSimulation {
    let program: Program
    let memory: MemoryPlan
    let segments: [Segment]
    let block: Int
    let sizes: [Int: Int]
    var inPlaceSteps = 0
    var slices = 0
    private var arena: [UInt64]
    private var outputs: [[UInt64]]
    /// By value: the inputs of a concat that its result already contains, with their offsets.
    private var parts: [[(value: Int, offset: Int)]]
    /// By value and image: how often a step has changed it since it was written.
    private var changes: [[UInt64]]

    init(
        program: Program, memory: MemoryPlan, segments: [Segment], batch: Int, block: Int, sizes: [Int: Int] = [:]
    ) {
        self.program = program
        self.memory = memory
        self.segments = segments
        self.block = block
        self.sizes = sizes
        arena = Array(repeating: 0, count: memory.arenaBytes / 4)
        parts = Array(repeating: [], count: program.values.count)
        changes = Array(repeating: Array(repeating: 0, count: batch), count: program.values.count)
        outputs = program.ports.map { port in Array(repeating: 0, count: port.shape.count * 8) }
        for step in program.steps where step.operation.joinsInputs { parts[step.outputs[0]] = partsInPlace(step) }
    }

    private func tag(_ value: Int, _ image: Int, _ index: Int) -> UInt64 {
        1 + UInt64(index) + UInt64(image) << 24 + UInt64(value) << 32 + changes[value][image] << 52
    }

    /// Floats of one image, or of all of a value that has no images.
    private func floats(_ value: Int) -> Int {
        let base = program.values[program.base(value)]
        guard base.isPerImage else { return (base.wholeBytes ?? sizes[value] ?? 0) / 4 }
        return base.imageBytes(block: block) / 4
    }

    /// Where image `image` of `value` starts, in floats: nil for what is neither in the arena nor in an output.
    private func start(_ value: Int, _ image: Int, _ chunkStart: Int) -> (port: Int?, offset: Int)? {
        let place = memory.places[value]
        let offset = ((place.isWhole ? image : image - chunkStart) * place.imageBytes + place.offset) / 4
        switch place.home {
        case .arena: return (nil, offset)
        case .output(let port): return (port, offset)
        default: return nil
        }
    }

    /// Images of a chunk that a value has; one for what belongs to the whole batch.
    private func images(_ value: Int, _ chunk: Range<Int>) -> Range<Int> {
        program.values[value].isPerImage ? chunk : 0..<1
    }

    private func partsInPlace(_ step: Step) -> [(value: Int, offset: Int)] {
        let output = step.outputs[0]
        let map = program.values[output].shape
        var channel = 0
        return step.inputs.compactMap { part in
            let offset = channel * map.height * map.width
            channel += program.values[part].shape.channels
            return memory.isInPlace(part, in: output, at: offset * 4) ? (part, offset) : nil
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

    private func mayWorkInPlace(_ step: Step, input: Int) -> Bool {
        step.operation.overwritable.contains(input)
            || step.operation.joinsInputs && parts[step.outputs[0]].contains { $0.value == step.inputs[input] }
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
            for image in images(input, chunk) {
                guard let from = start(input, image, chunk.lowerBound) else { continue }
                faults += read(input, image, from, index)
                guard let output = step.outputs.first, let to = start(output, image, chunk.lowerBound),
                    to.port == from.port, to.offset < from.offset + floats(input),
                    from.offset < to.offset + floats(output)
                else { continue }
                if !mayWorkInPlace(step, input: position) { faults.append("step \(index) overwrites its input") }
                if step.operation.joinsInputs {
                    slices += 1
                } else {
                    if to.offset != from.offset { faults.append("step \(index) overlaps its input") }
                    inPlaceSteps += 1
                }
            }
        }
        // Kernels take images one after another without gaps.
        for value in step.touched where chunk.count > 1 && program.values[value].isPerImage {
            var isRows = false
            if case .rows = program.values[value].storage { isRows = true }
            let isPlane = program.values[value].storage == .planes
            if memory.places[value].imageBytes != 4 * floats(value), !isRows, !isPlane {
                faults.append("step \(index): gaps")
            }
        }
        for value in step.updates {
            for image in images(value, chunk) {
                guard let place = start(value, image, chunk.lowerBound) else { continue }
                faults += read(value, image, place, index)
                changes[value][image] += 1
                write(value, image, place)
            }
        }
        for value in step.outputs {
            for image in images(value, chunk) {
                guard let place = start(value, image, chunk.lowerBound) else { continue }
                changes[value][image] = 0
                write(value, image, place)
            }
        }
        return faults
    }

    private func read(_ value: Int, _ image: Int, _ place: (port: Int?, offset: Int), _ step: Int) -> [String] {
        for float in 0..<floats(value) {
            let found = place.port.map { outputs[$0][place.offset + float] } ?? arena[place.offset + float]
            if found != expected(value, image, float) {
                return ["step \(step) reads \(program.values[value].name) at \(float)"]
            }
        }
        return []
    }

    private mutating func write(_ value: Int, _ image: Int, _ place: (port: Int?, offset: Int)) {
        let inPlace = parts[value]
        for float in 0..<floats(value) {
            if inPlace.contains(where: { float >= $0.offset && float < $0.offset + floats($0.value) }) { continue }
            if let port = place.port {
                outputs[port][place.offset + float] = tag(value, image, float)
            } else {
                arena[place.offset + float] = tag(value, image, float)
            }
        }
    }
}
