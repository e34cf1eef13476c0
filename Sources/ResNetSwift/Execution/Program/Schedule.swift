// In which order, in which segments and how many images at a time a program's steps are done.
//
//     all images    | finish bn1 |                                       | finish bn2 |
//     a few                      | apply bn1 . conv2 . sums bn2 | x 8               | apply bn2 ...
//
// A few images pass through all of a segment before the next ones start, so that what one step writes is in the cache when
// the next one reads it, and values that live within the segment need room for those few only. Steps on the whole batch
// are segments of their own; small ones (packing filters, the coefficients of a batch norm) move up to the first place
// where they can be done, so as not to cut a run of others. SchedulePolicy cuts the runs.

/// Steps that a few images pass through before the next ones start.
struct Segment: Sendable, Hashable {
    let steps: Range<Int>
    /// Images at a time.
    let chunk: Int
}

extension Program {
    /// The segments of all steps, which are put in the order in which they are done.
    mutating func schedule(_ policy: SchedulePolicy, batch: Int, block: Int) -> [Segment] {
        var order: [Step] = []
        var segments: [Segment] = []
        var run: [Step] = []
        var written: Set<Int> = []
        var touched: Set<Int> = []
        func closeRun() {
            guard !run.isEmpty else { return }
            segments += self.segments(of: run, policy, batch, block).map {
                Segment(
                    steps: $0.steps.lowerBound + order.count..<$0.steps.upperBound + order.count, chunk: $0.chunk)
            }
            order += run
            (run, written, touched) = ([], [], [])
        }
        for step in steps {
            if step.operation.isPerImage {
                run.append(step)
                written.formUnion(step.outputs + step.updates)
                touched.formUnion(step.touched)
                continue
            }
            let waits =
                step.inputs.contains(where: written.contains)
                || (step.outputs + step.updates).contains(where: touched.contains)
            if waits || !step.operation.isHoisted { closeRun() }
            segments.append(Segment(steps: order.count..<order.count + 1, chunk: batch))
            order.append(step)
        }
        closeRun()
        steps = order
        return segments
    }

    /// Of consecutive steps that take images one by one.
    private func segments(of run: [Step], _ policy: SchedulePolicy, _ batch: Int, _ block: Int) -> [Segment] {
        let traffic = traffic(of: run, block: block)
        if policy.cuts { return policy.segments(traffic, batch: batch) }
        let chunk = policy.chunk(traffic, together: activationBytes(run.flatMap(\.touched), block), batch: batch)
        return [Segment(steps: run.indices, chunk: chunk)]
    }

    /// Of one image, each value once.
    private func activationBytes(_ touched: [Int], _ block: Int) -> Int {
        Set(touched.map(base)).reduce(0) { $0 + values[$1].imageBytes(block: block) }
    }

    /// What each step moves.
    func traffic(of run: [Step], block: Int) -> [StepTraffic] {
        let alive = aliveBytes(run, block: block)
        return run.indices.map { index in
            StepTraffic(
                activationBytes: activationBytes(run[index].touched, block), weightBytes: run[index].weightBytes,
                aliveBytes: alive[index])
        }
    }

    /// Bytes alive before each step; nil where more than one buffer is, or where a step would part from its source.
    private func aliveBytes(_ run: [Step], block: Int) -> [Int?] {
        var lastRead: [Int: Int] = [:]
        for (index, step) in run.enumerated() {
            for value in step.inputs.map(base) where values[value].isPerImage && values[value].home != .picture {
                lastRead[value] = index
            }
        }
        var alive: Set<Int> = []
        return run.enumerated().map { index, step in
            alive = alive.filter { lastRead[$0]! >= index }
            defer { alive.formUnion(step.outputs.filter { lastRead[$0] != nil }) }
            if step.operation.followsItsSource { return nil }
            return alive.count > 1 ? nil : alive.reduce(0) { $0 + values[$1].imageBytes(block: block) }
        }
    }
}
