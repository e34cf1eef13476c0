// How many images pass through which steps at a time.
//
//     batch 32     | stem, layer1: 1 image | layer2: 4 | layer3: 8 | layer4, fc: 32 |
//
// A segment is a run of steps that a chunk of images passes through before the next chunk starts, so that what one step
// writes is still in the cache when the next one reads it. Against that stand two things: every chunk reads the
// segment's weights again, and between segments the whole batch goes through memory. The schedule is the one with the
// least traffic under a simple model of the caches, found exactly by dynamic programming over the places where a segment
// may start.

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
    /// Of one image, what is alive before the step, if images may be regrouped there: at most one buffer.
    var aliveBytes: Int?
}

struct SchedulePolicy: Sendable, Hashable {
    /// Activations of a chunk in one step that stay in the shared cache: about a fifth of a 32-MiB L3, as the weights and
    /// the neighbors on a shared machine want their part.
    var activationBudget = 6 << 20
    /// Weights of a segment that stay in the shared cache from one chunk to the next.
    var weightBudget = 16 << 20
    /// The time of a byte that comes from the shared cache, relative to one from memory.
    var cacheCost = 0.3
    /// The bytes from memory that take as long as starting a step: handing it to the threads and waiting for the last.
    var callBytes = 64 << 10

    /// Segments that cover all steps in order.
    func segments(_ traffic: [StepTraffic], batch: Int) -> [PlanSegment] {
        guard batch > 1, !traffic.isEmpty else { return [PlanSegment(steps: 0..<traffic.count, chunk: batch)] }
        let starts = traffic.indices.filter { $0 == 0 || traffic[$0].aliveBytes != nil }
        let ends = starts.dropFirst() + [traffic.count]
        // Chunks of equal size as nearly as may be: 32 images in five go as 7 7 7 7 4, in chunks of 7.
        let chunks = Set((1...batch).map { (batch + $0 - 1) / $0 }).sorted()

        // best[u]: the least cost of all steps before unit u, and the segment that ends there.
        var best: [(cost: Double, segment: PlanSegment?)] = [(0, nil)]
        for (unit, end) in ends.enumerated() {
            var choice = (cost: Double.infinity, segment: PlanSegment?.none)
            for first in 0...unit {
                let steps = starts[first]..<end
                for chunk in chunks {
                    let cost = best[first].cost + cost(traffic[steps], chunk: chunk, batch: batch, isFirst: first == 0)
                    if cost < choice.cost { choice = (cost, PlanSegment(steps: steps, chunk: chunk)) }
                }
            }
            best.append(choice)
        }
        var segments: [PlanSegment] = []
        var end = traffic.count
        while let segment = best[starts.firstIndex { $0 >= end } ?? ends.count].segment {
            segments.append(segment)
            end = segment.steps.lowerBound
        }
        return segments.reversed()
    }

    /// Bytes that a segment moves, those from the shared cache at their discount.
    func cost(_ steps: ArraySlice<StepTraffic>, chunk: Int, batch: Int, isFirst: Bool) -> Double {
        var activations = 0.0
        var weights = 0
        for step in steps {
            let fits = step.activationBytes * chunk <= activationBudget
            activations += Double(step.activationBytes * batch) * (fits ? cacheCost : 1)
            weights += step.weightBytes
        }
        let runs = (batch + chunk - 1) / chunk
        let rereads = Double(runs - 1) * (weights <= weightBudget ? cacheCost : 1)
        var crossing = 0.0
        if !isFirst, let alive = steps.first?.aliveBytes, alive * batch > activationBudget {
            // Written to memory and read from it, beyond what the steps on either side count.
            crossing = Double(2 * alive * batch) * (1 - cacheCost)
        }
        return activations + Double(weights) * (1 + rereads) + crossing + Double(callBytes * (runs * steps.count + 1))
    }
}

extension PlanProgram {
    /// What each step moves; `weightBytes` by step.
    func traffic(block: Int, weightBytes: [Int]) -> [StepTraffic] {
        let alive = aliveBytes(block: block)
        return steps.indices.map { index in
            let step = steps[index]
            let touched = step.inputs + (step.output.map { [$0] } ?? [])
            return StepTraffic(
                activationBytes: touched.reduce(0) { $0 + values[base($1)].floats(block: block) * 4 },
                weightBytes: weightBytes[index], aliveBytes: alive[index])
        }
    }

    /// Bytes alive before each step; nil where more than one buffer is, or where an export would part from its value.
    private func aliveBytes(block: Int) -> [Int?] {
        var lastRead: [Int: Int] = [:]
        for (index, step) in steps.enumerated() {
            for value in step.inputs where values[base(value)].layout != .picture { lastRead[base(value)] = index }
        }
        var alive: Set<Int> = []
        return steps.enumerated().map { index, step in
            alive = alive.filter { lastRead[$0]! >= index }
            defer { if let output = step.output, lastRead[output] != nil { alive.insert(output) } }
            if case .export = step.kind { return nil }
            return alive.count > 1 ? nil : alive.reduce(0) { $0 + values[$1].floats(block: block) * 4 }
        }
    }
}
