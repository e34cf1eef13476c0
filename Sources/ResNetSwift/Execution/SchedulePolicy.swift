// How many images pass through which steps at a time.
//
//     batch 32     | stem, layer1: 1 image | layer2: 3 | layer3: 7 | layer4, fc: 32 |
//
// A segment is a run of steps that a chunk of images passes through before the next chunk starts, so that what one step
// writes is still in the cache when the next one reads it. Against that stands the weights' way: every chunk reads the
// segment's weights again, so late layers with small maps and large weights take more images at a time.

struct PlanSegment: Sendable, Hashable {
    let steps: Range<Int>
    /// Images at a time.
    let chunk: Int
}

/// What a step moves.
struct StepTraffic: Sendable, Hashable {
    /// Of one image: source, result and residual.
    var activationBytes: Int
    var weightBytes: Int
    /// Images may be regrouped before this step: at most one buffer is alive there.
    var canStartSegment: Bool
}

struct SchedulePolicy: Sendable, Hashable {
    /// Activations of a chunk in one step, at most: about a fifth of a 32-MiB L3, as the weights and the neighbours on
    /// a shared machine want their part.
    var activationBudget = 6 << 20
    /// Neighbours whose best chunks differ by less than this factor share a segment.
    var mergeRatio = 2

    /// Segments that cover all steps in order.
    func segments(_ traffic: [StepTraffic], batch: Int) -> [PlanSegment] {
        guard batch > 1, !traffic.isEmpty else { return [PlanSegment(steps: 0..<traffic.count, chunk: batch)] }
        // Units between the places where regrouping is possible, and the chunk that suits each.
        var starts = [0]
        for index in traffic.indices.dropFirst() where traffic[index].canStartSegment { starts.append(index) }
        let ends = starts.dropFirst() + [traffic.count]
        var segments: [(steps: Range<Int>, chunk: Int)] = []
        for (start, end) in zip(starts, ends) {
            let wanted = idealChunk(traffic[start..<end], batch: batch)
            if let last = segments.last, max(last.chunk, wanted) < mergeRatio * min(last.chunk, wanted) {
                segments[segments.count - 1] = (last.steps.lowerBound..<end, min(last.chunk, wanted))
            } else {
                segments.append((start..<end, wanted))
            }
        }
        // 32 images in chunks of 7 are 7 7 7 7 4; in chunks of as many, evenly, 7 7 6 6 6.
        return segments.map { segment in
            let chunks = (batch + segment.chunk - 1) / segment.chunk
            return PlanSegment(steps: segment.steps, chunk: (batch + chunks - 1) / chunks)
        }
    }

    /// As many images as the budget holds, or as make the activations outweigh the weights that a chunk reads again.
    private func idealChunk(_ steps: ArraySlice<StepTraffic>, batch: Int) -> Int {
        let activations = max(steps.map(\.activationBytes).max() ?? 1, 1)
        let heaviest = steps.map { $0.weightBytes / max($0.activationBytes, 1) }.max() ?? 1
        return min(max(activationBudget / activations, heaviest, 1), batch)
    }
}

extension PlanProgram {
    /// What each step moves; `weightBytes` by step.
    func traffic(block: Int, weightBytes: [Int]) -> [StepTraffic] {
        let canStart = regroupingPoints()
        return steps.indices.map { index in
            let step = steps[index]
            let touched = step.inputs + (step.output.map { [$0] } ?? [])
            return StepTraffic(
                activationBytes: touched.reduce(0) { $0 + values[$1].floats(block: block) * 4 },
                weightBytes: weightBytes[index], canStartSegment: canStart[index])
        }
    }

    /// Steps before which at most one buffer is alive.
    private func regroupingPoints() -> [Bool] {
        var firstStep: [Int: Int] = [:]
        var lastStep: [Int: Int] = [:]
        for (index, step) in steps.enumerated() {
            for value in step.inputs where values[base(value)].layout != .picture { lastStep[base(value)] = index }
            if let output = step.output { firstStep[output] = index }
        }
        var changes = Array(repeating: 0, count: steps.count + 1)
        for (value, first) in firstStep {
            guard let last = lastStep[value] else { continue }
            changes[first + 1] += 1
            changes[last + 1] -= 1
        }
        var alive = 0
        return steps.indices.map { index in
            alive += changes[index]
            if case .export = steps[index].kind { return false }
            return alive <= 1
        }
    }
}
