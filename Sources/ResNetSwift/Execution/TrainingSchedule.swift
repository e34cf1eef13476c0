// In which runs, and how many images at a time, a program's steps are done.
//
//     all images    | finish bn1 |                                       | finish bn2 |
//     a few                      | apply bn1 . conv2 . sums bn2 | x 8               | apply bn2 ...
//
// Consecutive steps that take images one by one form a segment; a few images pass through all of it before the next ones
// start, so that what one step writes is in the cache when the next one reads it, and values that live within the segment
// need room for those few only. Small steps on the whole batch (packing filters, the coefficients of a batch norm) move up
// to the first place where they can be done, so as not to cut a segment.

struct TrainingSegment: Sendable, Hashable {
    let steps: Range<Int>
    /// Images at a time.
    let chunk: Int
}

struct TrainingSchedule: Sendable {
    /// In the order in which they are done.
    let steps: [TrainingStep]
    /// Cover all steps in order.
    let segments: [TrainingSegment]
    /// By step: index of its segment.
    let segmentOfStep: [Int]

    /// - Parameters:
    ///   - budget: Bytes of activations that a segment's images may take.
    ///   - weightBytes: By step.
    init(
        _ program: TrainingProgram, batch: Int, block: Int, budget: Int, weightBytes: (TrainingStep) -> Int
    ) {
        var order: [TrainingStep] = []
        var segments: [TrainingSegment] = []
        var open: [TrainingStep] = []
        var written: Set<Int> = []
        var touched: Set<Int> = []
        func append(_ steps: [TrainingStep], chunk: Int) {
            segments.append(TrainingSegment(steps: order.count..<order.count + steps.count, chunk: chunk))
            order += steps
        }
        func close() {
            guard !open.isEmpty else { return }
            append(open, chunk: Self.chunk(open, program, batch, block, budget, weightBytes))
            open = []
            written = []
            touched = []
        }
        for step in program.steps {
            if step.operation.isPerImage {
                open.append(step)
                written.formUnion(step.outputs + step.updates)
                touched.formUnion(step.touched)
                continue
            }
            let waits =
                step.inputs.contains(where: written.contains)
                || (step.outputs + step.updates).contains(where: touched.contains)
            if waits || !step.operation.isHoisted { close() }
            append([step], chunk: batch)
        }
        close()
        self.steps = order
        self.segments = segments
        segmentOfStep = segments.enumerated().flatMap { index, segment in segment.steps.map { _ in index } }
    }

    /// As many images as the budget holds, or as make the activations outweigh the weights that every chunk reads again.
    private static func chunk(
        _ steps: [TrainingStep], _ program: TrainingProgram, _ batch: Int, _ block: Int, _ budget: Int,
        _ weightBytes: (TrainingStep) -> Int
    ) -> Int {
        func bytes(_ values: [Int]) -> Int {
            Set(values).reduce(0) { sum, value in
                let value = program.values[value]
                return value.isPerImage ? sum + value.floats(block: block) * 4 : sum
            }
        }
        let together = max(bytes(steps.flatMap(\.touched)), 1)
        let heaviest = steps.map { weightBytes($0) / max(bytes($0.touched), 1) }.max() ?? 1
        let wanted = min(max(budget / together, heaviest, 1), batch)
        // 32 images in chunks of 7 are 7 7 7 7 4; in chunks of as many, evenly, 7 7 6 6 6.
        let chunks = (batch + wanted - 1) / wanted
        return (batch + chunks - 1) / chunks
    }
}
