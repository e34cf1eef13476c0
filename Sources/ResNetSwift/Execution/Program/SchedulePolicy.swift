// How many images pass through which steps at a time.
//
//     batch 32     | stem, layer1: 1 image | layer2: 4 | layer3: 8 | layer4, fc: 32 |
//
// A segment is a run of steps that a chunk of images passes through before the next chunk starts, so that what one step
// writes is still in the cache when the next one reads it. Against that stand two things: every chunk reads the
// segment's weights again, and between segments the whole batch goes through memory. The schedule is the one with the
// least traffic under a simple model of the caches, found exactly by dynamic programming over the places where a segment
// may start.
//
// Between two sums over the batch a training step has few steps, all on values of that run alone: it stays one segment.

/// What a step moves.
struct StepTraffic: Sendable, Hashable {
    /// Of one image: all that the step touches.
    var activationBytes: Int
    var weightBytes: Int
    /// Of one image, what is alive before the step, if images may be regrouped there: at most one buffer.
    var aliveBytes: Int?
}

struct SchedulePolicy: Sendable, Hashable {
    /// Cuts runs of steps into segments where that pays; else each is one segment.
    var cuts = true
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
    func segments(_ traffic: [StepTraffic], batch: Int) -> [Segment] {
        guard batch > 1, !traffic.isEmpty else { return [Segment(steps: 0..<traffic.count, chunk: batch)] }
        let starts = traffic.indices.filter { $0 == 0 || traffic[$0].aliveBytes != nil }
        let ends = starts.dropFirst() + [traffic.count]
        let chunks = Set((1...batch).map { evenChunk($0, batch) }).sorted()

        // best[u]: the least cost of all steps before unit u, and the segment that ends there.
        var best: [(cost: Double, segment: Segment?)] = [(0, nil)]
        for (unit, end) in ends.enumerated() {
            var choice = (cost: Double.infinity, segment: Segment?.none)
            for first in 0...unit {
                let steps = starts[first]..<end
                for chunk in chunks {
                    let cost = best[first].cost + cost(traffic[steps], chunk: chunk, batch: batch, isFirst: first == 0)
                    if cost < choice.cost { choice = (cost, Segment(steps: steps, chunk: chunk)) }
                }
            }
            best.append(choice)
        }
        var segments: [Segment] = []
        var end = traffic.count
        while let segment = best[starts.firstIndex { $0 >= end } ?? ends.count].segment {
            segments.append(segment)
            end = segment.steps.lowerBound
        }
        return segments.reversed()
    }

    /// As many images as the budget holds, or as make the activations outweigh the weights that every chunk reads again.
    /// `together`: bytes of an image's values in all of the steps.
    func chunk(_ traffic: [StepTraffic], together: Int, batch: Int) -> Int {
        let heaviest = traffic.map { $0.weightBytes / max($0.activationBytes, 1) }.max() ?? 1
        let wanted = min(max(activationBudget / max(together, 1), heaviest, 1), batch)
        return evenChunk((batch + wanted - 1) / wanted, batch)
    }

    /// Chunks of equal size as nearly as may be: 32 images in five go as 7 7 7 7 4, in chunks of 7.
    private func evenChunk(_ chunks: Int, _ batch: Int) -> Int { (batch + chunks - 1) / chunks }

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
