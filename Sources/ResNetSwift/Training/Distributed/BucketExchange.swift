// The sum of an update's contributions over all processes, bucket by bucket, while the backward pass goes on.

import ResNetExecution
import ResNetSupport

/// Of one update. What the shards count goes first, then buckets are posted in their order, in every process the same. What
/// has arrived is in the tree.
final class BucketExchange: @unchecked Sendable {
    // Unchecked: a bucket is written by who computes before it is posted, and by the thread of communication after; what
    // both change is guarded by `lock`.
    private let tree: TreeSum
    private let buckets: [[Range<Int>]]
    private let type: GradientType
    private let gradients: Int
    private let processes: any ProcessGroup
    private var posted = 0
    private let lock = ConditionLock()
    /// Buckets that have arrived, or will not any more.
    private var arrived = 0
    private var failure: TrainingError?
    private var counts: [ScoredBatch] = []

    /// - Parameters:
    ///   - own: What this process's shards count.
    ///   - buckets: Ranges of a contribution, together all of it.
    ///   - gradients: Floats of a contribution that are gradients; running statistics stay float32.
    init(
        _ tree: TreeSum, _ buckets: [[Range<Int>]], _ type: GradientType, gradients: Int, own: [ScoredBatch],
        _ processes: any ProcessGroup
    ) {
        self.tree = tree
        self.buckets = buckets
        self.type = type
        self.gradients = gradients
        self.processes = processes
        processes.post {
            do throws(TrainingError) {
                self.counts = try ScoredBatch.gathered(own, from: processes)
            } catch { self.lock.locked { self.failure = error } }
        }
    }

    /// All buckets up to this one are whole in this process.
    func post(_ bucket: Int) {
        while posted <= bucket {
            let ranges = buckets[posted]
            posted += 1
            processes.post { self.exchange(ranges) }
        }
    }

    /// Posts what is left.
    func postAll() { post(buckets.count - 1) }

    /// Takes the buckets in their order, waiting for each; all have been posted.
    /// - Parameter body: Gets a bucket, and what the shards of all processes count.
    func drain(_ body: ([Range<Int>], _ weight: Double, _ samples: Int) throws -> Void) throws {
        // The memory is in use until all have arrived, whatever fails here.
        defer { _ = wait(for: buckets.count) }
        for (index, ranges) in buckets.enumerated() {
            if let failure = wait(for: index + 1) { throw failure }
            try body(ranges, counts.reduce(0) { $0 + $1.weight }, counts.reduce(0) { $0 + $1.samples })
        }
    }

    /// Until so many buckets have arrived, which are behind what the shards count.
    /// - Returns: what went wrong on the way.
    private func wait(for count: Int) -> TrainingError? {
        lock.locked {
            while arrived < count { lock.wait() }
            return failure
        }
    }

    private func exchange(_ ranges: [Range<Int>]) {
        defer {
            lock.locked {
                arrived += 1
                lock.broadcast()
            }
        }
        guard lock.locked({ failure }) == nil else { return }
        let parts = ranges.filter { !$0.isEmpty }.map(tree.fold)
        guard let first = parts.first else { return }
        let type = ranges[0].lowerBound < gradients ? type : .float32
        do throws(TrainingError) {
            if parts.count == 1 { return try processes.sum(first, type) }
            // One message of all parts.
            let packed = UnsafeMutableBufferPointer<Float>.allocate(capacity: parts.reduce(0) { $0 + $1.count })
            defer { packed.deallocate() }
            var start = 0
            for part in parts {
                (packed.baseAddress! + start).update(from: part.baseAddress!, count: part.count)
                start += part.count
            }
            try processes.sum(packed, type)
            start = 0
            for part in parts {
                part.baseAddress!.update(from: packed.baseAddress! + start, count: part.count)
                start += part.count
            }
        } catch { lock.locked { failure = error } }
    }
}
