// A place for every value of a training program, in one arena by liveness.
//
//     step      forward .............. | loss | .............. backward
//     conv x    |==========================================|            kept for the gradient of its batch norm
//     relu y        |==|                               |==|             computed again
//     dx                                     |==|==|==|                 one gradient after the other
//
// A value that lives within one segment holds the images of one chunk, any other the whole batch. A step that may work in
// place writes over an input that dies there.

struct TrainingPlace: Sendable, Hashable {
    /// In the arena, in bytes.
    var offset: Int
    /// From one image to the next; 0 for what belongs to the whole batch.
    var imageBytes: Int
    /// Holds the whole batch, not one chunk.
    var isWhole: Bool
}

struct TrainingMemory: Sendable {
    /// By value; nil for those given from outside and those nobody touches.
    let places: [TrainingPlace?]
    let bytes: Int

    /// - Parameter sizes: Bytes of the values that have no images, by value.
    init(_ program: TrainingProgram, _ schedule: TrainingSchedule, batch: Int, block: Int, sizes: [Int: Int]) {
        let count = program.values.count
        var first: [Int?] = Array(repeating: nil, count: count)
        var last = Array(repeating: -1, count: count)
        for (index, step) in schedule.steps.enumerated() {
            for value in step.touched {
                if first[value] == nil { first[value] = index }
                last[value] = index
            }
        }
        func isOwn(_ value: Int) -> Bool { first[value] != nil && program.values[value].boundary == nil }
        func segment(_ step: Int) -> TrainingSegment { schedule.segments[schedule.segmentOfStep[step]] }
        func isWhole(_ value: Int) -> Bool {
            let (from, to) = (schedule.segmentOfStep[first[value]!], schedule.segmentOfStep[last[value]])
            return from != to || schedule.segments[from].chunk == batch || !program.values[value].isPerImage
        }
        func imageBytes(_ value: Int) -> Int {
            program.values[value].isPerImage ? program.values[value].floats(block: block) * 4 : 0
        }
        func bytes(_ value: Int) -> Int {
            if let size = sizes[value] { return size }
            return imageBytes(value) * (isWhole(value) ? batch : segment(first[value]!).chunk)
        }
        /// Every chunk of a segment still needs what any of them reads from outside it, and has all it leaves behind.
        func lifetime(_ value: Int) -> ClosedRange<Int> {
            var (start, end) = (first[value]!, last[value])
            if schedule.segmentOfStep[start] != schedule.segmentOfStep[end] {
                if segment(start).chunk < batch { start = segment(start).steps.lowerBound }
                if segment(end).chunk < batch { end = segment(end).steps.upperBound - 1 }
            }
            return start...end
        }

        // The buffer in which a value lies, named by the first value in it.
        var buffer = Array(0..<count)
        var dies = last
        for (index, step) in schedule.steps.enumerated() {
            guard let output = step.outputs.first, isOwn(output), first[output] == index else { continue }
            for candidate in step.operation.overwritable.compactMap({ step.inputs.element($0) })
            where isOwn(candidate) {
                let root = buffer[candidate]
                guard dies[root] == index, bytes(root) == bytes(output), isWhole(root) == isWhole(output) else {
                    continue
                }
                buffer[output] = root
                dies[root] = last[output]
                break
            }
        }
        var lifetimes: [Int: ClosedRange<Int>] = [:]
        for value in 0..<count where isOwn(value) {
            let own = lifetime(value)
            let whole = lifetimes[buffer[value]] ?? own
            lifetimes[buffer[value]] =
                min(whole.lowerBound, own.lowerBound)...max(whole.upperBound, own.upperBound)
        }
        let roots = lifetimes.keys.sorted()
        let layout = ArenaLayout(roots.map { ArenaRequest(bytes: bytes($0), lifetime: lifetimes[$0]!) })
        let offsets = Dictionary(uniqueKeysWithValues: zip(roots, layout.offsets))
        self.bytes = layout.bytes
        places = (0..<count).map { value in
            guard isOwn(value) else { return nil }
            return TrainingPlace(
                offset: offsets[buffer[value]]!, imageBytes: imageBytes(value), isWhole: isWhole(value))
        }
    }
}

extension TrainingOperation {
    /// Positions of the inputs that the first result may be written over.
    fileprivate var overwritable: [Int] {
        switch self {
        case .relu, .sigmoid, .dropout: [0]
        case .add, .reluGradient, .sigmoidGradient: [1, 0]
        case .normApply(_, _, let addsResidual): addsResidual ? [1, 0] : [0]
        // The gradient and, as the last one, x.
        case .normGradientApply(let gradient): gradient.applyReadsX ? [0, 2] : [0]
        default: []
        }
    }
}

extension Array {
    fileprivate func element(_ index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}
