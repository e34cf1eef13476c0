// Which gradients are whole when, in the backward pass: they leave in buckets while it goes on.
//
//     backward   fc, layer4.2   layer4.1, layer4.0   layer3.5 ...   conv1
//     buckets    | 0 |          | 1 | 2 | 3 |        | 4 ...        | last |
//
// The first is small, so that the exchange begins early; what is left for the end is small, since the first layers are.

import ResNetGraph

struct GradientBucket: Sendable {
    /// In the flat gradients, in floats; with the gaps behind parameters.
    var ranges: [Range<Int>]
    /// After this segment of the program they are whole.
    var segment: Int

    /// Floats of the first bucket, and of the others: 1 MiB and 4 MiB.
    private static let (firstCount, count) = (1 << 18, 1 << 20)

    /// - Parameters:
    ///   - slots: Ranges of the gradients, without gaps between them.
    ///   - segments: By slot, after which it is whole.
    static func buckets(_ slots: [Range<Int>], segments: [Int]) -> [GradientBucket] {
        var buckets: [GradientBucket] = []
        var open: (ranges: [Range<Int>], count: Int) = ([], 0)
        let order = slots.indices.sorted {
            (segments[$0], -slots[$0].lowerBound) < (segments[$1], -slots[$1].lowerBound)
        }
        for (place, slot) in order.enumerated() {
            open.ranges.append(slots[slot])
            open.count += slots[slot].count
            let isFull = open.count >= (buckets.isEmpty ? firstCount : count)
            if isFull || place == order.count - 1 {
                buckets.append(GradientBucket(ranges: joined(open.ranges), segment: segments[slot]))
                open = ([], 0)
            }
        }
        return buckets
    }

    /// Neighbors are one range.
    private static func joined(_ ranges: [Range<Int>]) -> [Range<Int>] {
        var joined: [Range<Int>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = joined.last, last.upperBound == range.lowerBound {
                joined[joined.count - 1] = last.lowerBound..<range.upperBound
            } else {
                joined.append(range)
            }
        }
        return joined
    }
}

/// Hears of a pass that buckets are whole.
final class PassProgress {
    private let segments: [Int]
    private var next = 0
    /// With the number of a bucket, on the compute thread.
    let body: (Int) -> Void

    var count: Int { segments.count }

    init(_ buckets: [GradientBucket], _ body: @escaping (Int) -> Void) {
        segments = buckets.map(\.segment)
        self.body = body
    }

    func didFinish(segment: Int) {
        while next < segments.count, segments[next] <= segment {
            body(next)
            next += 1
        }
    }
}

extension ProgramLayout {
    /// After which segment the gradient of each parameter is whole.
    func lastSegments(ofGradients keys: [String]) -> [Int] {
        var last: [String: Int] = [:]
        for (index, segment) in segments.enumerated() {
            for step in segment.steps {
                for value in program.steps[step].updates + program.steps[step].outputs {
                    if case .gradient(let key) = program.values[value].home { last[key] = index }
                }
            }
        }
        // A parameter that the pass does not reach has no gradient at all.
        return keys.map { last[$0] ?? segments.count - 1 }
    }
}
