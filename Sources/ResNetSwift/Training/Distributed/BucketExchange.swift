// The sum of an update's contributions over all processes, bucket by bucket, while the backward pass goes on.

import ResNetExecution
import ResNetSupport

/// Of one update. Buckets are posted in their order, in every process the same; what has arrived is in the
/// tree once something that was called after all posts has returned.
final class BucketExchange: @unchecked Sendable {
    // Unchecked: a bucket is written by who computes before it is posted, and by the thread of communication after.
    private let tree: TreeSum
    private let buckets: [[Range<Int>]]
    private let type: GradientType
    private let gradients: Int
    private let processes: any ProcessGroup
    private var posted = 0
    private var failure: TrainingError?

    /// - Parameters:
    ///   - buckets: Ranges of a contribution, together all of it.
    ///   - gradients: Floats of a contribution that are gradients; running statistics stay float32.
    init(
        _ tree: TreeSum, _ buckets: [[Range<Int>]], _ type: GradientType, gradients: Int,
        _ processes: any ProcessGroup
    ) {
        self.tree = tree
        self.buckets = buckets
        self.type = type
        self.gradients = gradients
        self.processes = processes
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

    /// What went wrong on the way, once something that was called after all posts has returned.
    func check() throws(TrainingError) { if let failure { throw failure } }

    private func exchange(_ ranges: [Range<Int>]) {
        let parts = ranges.filter { !$0.isEmpty }.map(tree.fold)
        guard failure == nil, let first = parts.first else { return }
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
        } catch { failure = error }
    }
}
