// A place for every value of a program: in the caller's buffers, or in one arena shared by liveness.
//
//     step      forward .............. | loss | .............. backward
//     conv x    |==========================================|            kept for the gradient of its batch norm
//     relu y        |==|                               |==|             computed again
//     dx                                     |==|==|==|                 one gradient after the other
//
// Values share a buffer when they are the same bytes (flattening), when one overwrites the other where it dies (a ReLU,
// an addition, a residual that the convolution turns into its result; or image by image, from one end of a segment to
// the other), or when one is a slice of the other:
//
//     concat, one image at a time     (C/c, H, W, c)  | branch 1 | branch 2 | branch 3 |
//
// A channel slice is contiguous within one image only, so branches write straight into the result where images pass one
// at a time, and are copied elsewhere.
//
// A buffer holds the images of one chunk if all who touch it are in one segment, else those of the whole batch. A buffer
// between segments lives as long as its segments run: the last chunk still reads it, the first already writes it.

/// Where a value lies. Image i of a chunk that starts at image s is at offset + (isWhole ? s + i : i) * imageBytes.
struct ValuePlace: Sendable, Hashable {
    var home: ValueHome
    /// In the arena, or in an output of its own; constants have theirs in `ProgramLayout`.
    var offset: Int
    /// From one image to the next; 0 for what no image has a part of.
    var imageBytes: Int
    /// Holds the whole batch, not one chunk.
    var isWhole: Bool
}

struct MemoryPlan: Sendable {
    /// By value.
    private(set) var places: [ValuePlace] = []
    private(set) var arenaBytes = 0

    /// Nothing in it.
    init() {}

    /// - Parameter sizes: Bytes of values of the whole batch that do not know them, by value.
    init(_ program: Program, segments: [Segment], batch: Int, block: Int, sizes: [Int: Int] = [:]) {
        var planner = MemoryPlanner(program, segments, batch: batch, block: block, sizes: sizes)
        planner.shareBuffers()
        (places, arenaBytes) = planner.layOut()
    }

    /// Whether `part` lies in the buffer of `whole` already, so many bytes behind the start of each of its images.
    func isInPlace(_ part: Int, in whole: Int, at offset: Int) -> Bool {
        var expected = places[whole]
        expected.offset += offset
        return places[part] == expected
    }
}

private struct MemoryPlanner {
    let program: Program
    let segments: [Segment]
    let batch: Int
    let block: Int
    let sizes: [Int: Int]
    /// By step: index of its segment.
    let segmentOfStep: [Int]
    /// By value: of one image.
    let imageBytes: [Int]

    // By value; views stand for their base. nil and -1 where no step touches it.
    var touches: [[Int]]
    var isWhole: [Bool]
    /// The value in whose buffer this one lies, and where.
    var host: [(value: Int, offset: Int)?]
    /// By buffer (a value without host): the last step that touches anything in it.
    var lastTouch: [Int]

    init(_ program: Program, _ segments: [Segment], batch: Int, block: Int, sizes: [Int: Int]) {
        self.program = program
        self.segments = segments
        self.batch = batch
        self.block = block
        self.sizes = sizes
        segmentOfStep = segments.enumerated().flatMap { index, segment in segment.steps.map { _ in index } }
        precondition(segmentOfStep.count == program.steps.count, "the segments must cover the steps")
        imageBytes = program.values.map { $0.imageBytes(block: block) }
        touches = Array(repeating: [], count: program.values.count)
        for (index, step) in program.steps.enumerated() {
            for value in Set(step.touched.map(program.base)) { touches[value].append(index) }
        }
        host = Array(repeating: nil, count: program.values.count)
        lastTouch = touches.map { $0.last ?? -1 }
        isWhole = []
        for (index, value) in program.values.enumerated() {
            let steps = touches[index]
            guard value.home == .arena, value.isPerImage, let first = steps.first, let last = steps.last else {
                isWhole.append(true)
                continue
            }
            isWhole.append(segmentOfStep[first] != segmentOfStep[last] || chunk(first) == batch)
        }
    }

    private func chunk(_ step: Int) -> Int { segments[segmentOfStep[step]].chunk }

    private func isInArena(_ value: Int) -> Bool {
        program.values[value].home == .arena && !touches[value].isEmpty
    }

    /// The buffer in which `value` lies and where in an image of it.
    private func buffer(_ value: Int) -> (value: Int, offset: Int) {
        var value = program.base(value)
        var offset = 0
        while let next = host[value] {
            value = next.value
            offset += next.offset
        }
        return (value, offset)
    }

    // MARK: - Sharing

    mutating func shareBuffers() {
        for (index, step) in program.steps.enumerated() where step.operation.joinsInputs {
            placeParts(of: step, at: index)
        }
        for (index, step) in program.steps.enumerated() {
            guard let output = step.outputs.first, isInArena(output), program.values[output].isPerImage,
                host[output] == nil, !step.operation.joinsInputs,
                let root = dyingInput(of: step, at: index, output) ?? deadInSegment(at: index, output)
            else { continue }
            host[output] = (root, 0)
            lastTouch[root] = max(lastTouch[root], lastTouch[output])
        }
    }

    /// Lets what is joined be written straight into the result where slices allow.
    private mutating func placeParts(of step: Step, at index: Int) {
        let output = step.outputs[0]
        let (shape, element) = (program.values[output].shape, program.values[output].element)
        var channel = 0
        for (position, part) in step.inputs.enumerated() {
            let channels = program.values[part].shape.channels
            let offset = channel * shape.height * shape.width * element.bytes
            let isAligned = channel % block == 0
            channel += channels
            let isLast = position == step.inputs.count - 1
            guard isInArena(part), host[part] == nil, part != output,
                isAligned, isLast || channels % block == 0, isWhole[output] || !isWhole[part],
                touches[part].allSatisfy({ chunk($0) == 1 })
            else { continue }
            host[part] = (output, offset)
            let root = buffer(output).value
            lastTouch[root] = max(lastTouch[root], lastTouch[part])
        }
    }

    /// The buffer of an input that the step may overwrite and that nobody reads any more.
    private func dyingInput(of step: Step, at index: Int, _ output: Int) -> Int? {
        let overwritable = step.operation.overwritable
        let fixed = step.inputs.indices.filter { !overwritable.contains($0) }.map { buffer(step.inputs[$0]).value }
        return overwritable.lazy.map { buffer(step.inputs[$0]) }.first { root, offset in
            offset == 0 && isInArena(root) && canHold(root, output) && lastTouch[root] == index && !fixed.contains(root)
        }?.value
    }

    /// A buffer of the whole batch that the chunk at hand has read for the last time: later chunks still read their own
    /// images of it, and this chunk writes only its own.
    private func deadInSegment(at index: Int, _ output: Int) -> Int? {
        guard isWhole[output], chunk(index) < batch else { return nil }
        return program.values.indices.first { value in
            isInArena(value) && host[value] == nil && canHold(value, output) && lastTouch[value] < index
                && segmentOfStep[lastTouch[value]] == segmentOfStep[index]
        }
    }

    private func canHold(_ root: Int, _ output: Int) -> Bool {
        program.values[root].isPerImage && imageBytes[root] == imageBytes[output] && isWhole[root] == isWhole[output]
    }

    // MARK: - Places

    /// The steps in which `value` holds something, from the first chunk of its segments to their last.
    private func lifetime(_ value: Int) -> ClosedRange<Int> {
        guard var start = touches[value].first, var end = touches[value].last else {
            preconditionFailure("nobody touches this value")
        }
        let (from, to) = (segmentOfStep[start], segmentOfStep[end])
        if from != to {
            if segments[from].chunk < batch { start = segments[from].steps.lowerBound }
            if segments[to].chunk < batch { end = segments[to].steps.upperBound - 1 }
        }
        return start...end
    }

    private func bufferBytes(_ root: Int) -> Int {
        let value = program.values[root]
        guard value.isPerImage else {
            guard let bytes = value.wholeBytes ?? sizes[root] else { preconditionFailure("\(value.name) has no size") }
            return bytes
        }
        return imageBytes[root] * (isWhole[root] ? batch : chunk(touches[root][0]))
    }

    func layOut() -> (places: [ValuePlace], arenaBytes: Int) {
        var lifetimes: [Int: ClosedRange<Int>] = [:]
        for value in program.values.indices where isInArena(value) && isInArena(buffer(value).value) {
            let own = lifetime(value)
            let whole = lifetimes[buffer(value).value] ?? own
            lifetimes[buffer(value).value] =
                min(whole.lowerBound, own.lowerBound)...max(whole.upperBound, own.upperBound)
        }
        let roots = lifetimes.keys.sorted()
        let arena = ArenaLayout(roots.map { ArenaRequest(bytes: bufferBytes($0), lifetime: lifetimes[$0]!) })
        let offsets = Dictionary(uniqueKeysWithValues: zip(roots, arena.offsets))
        let places = program.values.indices.map { value in
            let (root, offset) = buffer(value)
            return ValuePlace(
                home: program.values[root].home, offset: (offsets[root] ?? 0) + offset, imageBytes: imageBytes[root],
                isWhole: isWhole[root])
        }
        return (places, arena.bytes)
    }
}
