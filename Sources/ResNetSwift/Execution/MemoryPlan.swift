// A place for every value of a program: in the caller's buffers, or in one arena shared by liveness.
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

/// Where a value lies. Image i of a chunk that starts at image s is at
/// base + (isWholeBatch ? s + i : i) * imageFloats + offsetFloats, in floats.
struct ValuePlace: Sendable, Hashable {
    enum Base: Sendable, Hashable {
        case picture
        case output(port: Int)
        /// Byte offset in the arena.
        case arena(Int)
    }

    var base: Base
    /// Floats from one image to the next; bytes of a picture given as bytes count the same.
    var imageFloats: Int
    var offsetFloats: Int
    var isWholeBatch: Bool
}

struct MemoryPlan: Sendable {
    /// By value.
    private(set) var places: [ValuePlace] = []
    private(set) var arenaBytes = 0
    /// By step: the images that pass at a time.
    let chunks: [Int]

    private let program: PlanProgram
    private let batch: Int
    private let block: Int
    private let segments: [PlanSegment]
    /// By step: index of its segment.
    private let segmentOfStep: [Int]

    // By value; views stand for their base.
    private var firstStep: [Int?]
    private var readSteps: [[Int]]
    /// The value in whose buffer this one lies, and where.
    private var host: [(value: Int, offset: Int)?]
    private var isWhole: [Bool]
    private var directPort: [Int?]
    /// By buffer (a value without host): the last step that reads anything in it.
    private var lastRead: [Int]

    init(program: PlanProgram, segments: [PlanSegment], batch: Int, block: Int) {
        self.program = program
        self.segments = segments
        self.batch = batch
        self.block = block
        segmentOfStep = segments.enumerated().flatMap { index, segment in segment.steps.map { _ in index } }
        chunks = segments.flatMap { segment in segment.steps.map { _ in segment.chunk } }
        precondition(chunks.count == program.steps.count, "the segments must cover the steps")

        let count = program.values.count
        firstStep = Array(repeating: nil, count: count)
        readSteps = Array(repeating: [], count: count)
        host = Array(repeating: nil, count: count)
        isWhole = Array(repeating: true, count: count)
        directPort = Array(repeating: nil, count: count)
        lastRead = Array(repeating: -1, count: count)
        for (index, step) in program.steps.enumerated() {
            if let output = step.output { firstStep[output] = index }
            for value in step.inputs { readSteps[program.base(value)].append(index) }
        }
        for (index, port) in program.ports.enumerated() where port.isDirect { directPort[port.value] = index }
        for value in 0..<count {
            guard let first = firstStep[value] else { continue }
            let crosses = readSteps[value].contains { segmentOfStep[$0] != segmentOfStep[first] }
            isWhole[value] = crosses || chunks[first] == batch || directPort[value] != nil
            lastRead[value] = readSteps[value].last ?? first
        }

        for (index, step) in program.steps.enumerated() where step.kind == .concat { placeParts(of: step, at: index) }
        for (index, step) in program.steps.enumerated() { reuseDeadBuffer(for: step, at: index) }
        layOut()
    }

    private func floats(_ value: Int) -> Int { program.values[value].floats(block: block) }

    /// The buffer in which `value` lies and where, in floats of one image.
    private func buffer(_ value: Int) -> (value: Int, offset: Int) {
        var value = program.base(value)
        var offset = 0
        while let next = host[value] {
            value = next.value
            offset += next.offset
        }
        return (value, offset)
    }

    private func isCallers(_ value: Int) -> Bool {
        program.values[value].layout == .picture || directPort[value] != nil
    }

    /// Lets the inputs of a concat write straight into its result where slices allow.
    private mutating func placeParts(of step: PlanStep, at index: Int) {
        guard let output = step.output else { return }
        let shape = program.values[output].shape
        var channel = 0
        for (position, part) in step.inputs.enumerated() {
            let channels = program.values[part].shape.channels
            let offset = channel * shape.height * shape.width
            channel += channels
            let isLast = position == step.inputs.count - 1
            guard let first = firstStep[part], host[part] == nil, !isCallers(part), part != output,
                (channel - channels) % block == 0, isLast || channels % block == 0,
                isWhole[output] || !isWhole[part],
                ([first] + readSteps[part]).allSatisfy({ chunks[$0] == 1 })
            else { continue }
            host[part] = (output, offset)
            let root = buffer(output).value
            lastRead[root] = max(lastRead[root], lastRead[part])
        }
    }

    /// Lets a step write where an input dies, or where another value of the whole batch died earlier in the segment.
    private mutating func reuseDeadBuffer(for step: PlanStep, at index: Int) {
        guard let output = step.output, host[output] == nil, !isCallers(output), step.kind != .concat else { return }
        guard let root = dyingInput(of: step, at: index, output) ?? deadInSegment(at: index, output) else { return }
        host[output] = (root, 0)
        lastRead[root] = max(lastRead[root], lastRead[output])
    }

    /// The buffer of an input that the step may overwrite and that nobody reads any more.
    private func dyingInput(of step: PlanStep, at index: Int, _ output: Int) -> Int? {
        let candidates: [Int]
        switch step.kind {
        case .conv(let conv):
            guard let residual = step.residual, conv.pool == .none,
                buffer(residual).value != buffer(step.inputs[0]).value
            else { return nil }
            candidates = [residual]
        case .scaleShift, .relu, .sigmoid, .add: candidates = step.inputs
        default: return nil
        }
        return candidates.lazy.map { buffer($0) }.first { root, offset in
            offset == 0 && !isCallers(root) && floats(root) == floats(output) && isWhole[root] == isWhole[output]
                && lastRead[root] == index
        }?.value
    }

    /// A buffer of the whole batch that the chunk at hand has read for the last time: later chunks still read their own
    /// images of it, and this chunk writes only its own.
    private func deadInSegment(at index: Int, _ output: Int) -> Int? {
        guard isWhole[output], chunks[index] < batch else { return nil }
        return program.values.indices.first { value in
            firstStep[value] != nil && host[value] == nil && !isCallers(value) && isWhole[value]
                && floats(value) == floats(output) && lastRead[value] < index && lastRead[value] >= 0
                && segmentOfStep[lastRead[value]] == segmentOfStep[index]
        }
    }

    /// The steps in which `value` holds something, from the first chunk of its segments to their last.
    private func lifetime(_ value: Int) -> ClosedRange<Int> {
        guard let first = firstStep[value] else { preconditionFailure("nothing makes this value") }
        var start = first
        var end = max(readSteps[value].last ?? first, first)
        let (from, to) = (segmentOfStep[first], segmentOfStep[end])
        if from != to {
            if segments[from].chunk < batch { start = segments[from].steps.lowerBound }
            if segments[to].chunk < batch { end = segments[to].steps.upperBound - 1 }
        }
        return start...end
    }

    private mutating func layOut() {
        let bases = program.values.indices.filter { firstStep[$0] != nil && !isCallers($0) }
        var lifetimes: [Int: ClosedRange<Int>] = [:]
        for value in bases {
            let own = lifetime(value)
            lifetimes[buffer(value).value, default: own].formUnion(own)
        }
        let roots = lifetimes.keys.sorted()
        let requests = roots.map { root in
            ArenaRequest(
                bytes: floats(root) * 4 * (isWhole[root] ? batch : chunks[firstStep[root]!]),
                lifetime: lifetimes[root]!)
        }
        let layout = ArenaLayout(requests)
        arenaBytes = layout.bytes
        let arenaOffset = Dictionary(uniqueKeysWithValues: zip(roots, layout.offsets))
        places = program.values.indices.map { value in
            let (root, offset) = buffer(value)
            let base: ValuePlace.Base =
                if program.values[root].layout == .picture { .picture } else if let port = directPort[root] {
                    .output(port: port)
                } else { .arena(arenaOffset[root]!) }
            return ValuePlace(
                base: base, imageFloats: floats(root), offsetFloats: offset, isWholeBatch: isWhole[root])
        }
    }
}

extension ClosedRange<Int> {
    fileprivate mutating func formUnion(_ other: Self) {
        self = Swift.min(lowerBound, other.lowerBound)...Swift.max(upperBound, other.upperBound)
    }
}
