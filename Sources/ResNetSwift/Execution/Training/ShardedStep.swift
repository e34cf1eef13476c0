// One update from several shards of a batch, computed one after the other or by several processes.
//
//     shard 0   shard 1   shard 2   shard 3        weight * gradient, samples * change of the running statistics
//          \   /               \   /
//           sum                 sum                a binary tree over the shards, whoever computes them
//               \             /
//                 sum / weights  -> update
//
// A shard changes neither parameters nor statistics, so its contribution depends on its samples alone. The tree depends on
// the number of shards alone. So 1, 2, 4 or 8 processes that share 8 shards give the same bits.
import CKernels
import Glibc
import ResNetGraph

/// A backend whose update may come from several shards.
public protocol ShardedBackend: TrainingBackend {
    /// Floats of a contribution. Changes with `frozen`.
    func contributionCount() throws -> Int
    /// Forward and backward over one shard in training mode; changes neither parameters nor running statistics.
    /// - Parameters:
    ///   - step: Decides dropout, as `StepSettings.step`.
    ///   - weight: What the shard counts: the gradient of its mean loss is multiplied by it.
    ///   - target: `contributionCount()` floats; the contribution.
    /// - Throws: for a batch that the backend does not take.
    func contribute(
        _ batch: TrainingBatch, step: Int, weight: Double, to target: UnsafeMutableBufferPointer<Float>
    ) throws -> StepResult
    /// One update from the sum of contributions, which is overwritten.
    /// - Parameters:
    ///   - weight: The sum of the shards' weights.
    ///   - samples: The sum of the shards' samples.
    /// - Throws: where memory for the optimizer runs short.
    func update(
        fromSum sum: UnsafeMutableBufferPointer<Float>, weight: Double, samples: Int, _ settings: StepSettings
    ) throws
}

extension TrainingPlan: ShardedBackend {
    public func contributionCount() throws(ExecutionError) -> Int {
        try withStore { (store) throws(ExecutionError) in store.count + store.statisticsCount }
    }

    public func contribute(
        _ batch: TrainingBatch, step: Int, weight: Double, to target: UnsafeMutableBufferPointer<Float>
    ) throws(ExecutionError) -> StepResult {
        try withStore { (store) throws(ExecutionError) in
            precondition(target.count == store.count + store.statisticsCount, "a contribution has another length")
            precondition(!store.hasGradients, "shards do not mix with accumulated batches")
            let before = Array(store.runningStatistics)
            defer { _ = store.runningStatistics.update(fromContentsOf: before) }
            let result = try pass(
                batch.input, batch.labels, mode: .training, dropoutSeed: step, gradientScale: weight)
            let (gradients, statistics) = (store.allGradients, store.runningStatistics)
            _ = target.update(fromContentsOf: gradients)
            let samples = Float(batch.input.count)
            for index in statistics.indices {
                target[gradients.count + index] = samples * (statistics[index] - before[index])
            }
            return result
        }
    }

    public func update(
        fromSum sum: UnsafeMutableBufferPointer<Float>, weight: Double, samples: Int, _ settings: StepSettings
    ) throws(ExecutionError) {
        try withStore { (store) throws(ExecutionError) in
            precondition(sum.count == store.count + store.statisticsCount, "a sum has another length")
            let (gradients, statistics) = (store.allGradients, store.runningStatistics)
            let factor = weight > 0 ? 1 / weight : 0
            for index in gradients.indices { gradients[index] = Float(Double(sum[index]) * factor) }
            if samples > 0 {
                for index in statistics.indices {
                    statistics[index] += Float(Double(sum[gradients.count + index]) / Double(samples))
                }
            }
            _ = try updateParameters(settings)
        }
    }
}

/// Adds vectors in the order of a binary tree, as few of them in memory as the tree is deep.
public final class TreeSum {
    private var stack: [(level: Int, values: UnsafeMutableBufferPointer<Float>)] = []
    private var spare: [UnsafeMutableBufferPointer<Float>] = []
    /// Floats of a vector.
    public let count: Int

    /// - Parameter count: Floats of a vector.
    public init(count: Int) { self.count = count }

    deinit {
        for entry in stack { entry.values.deallocate() }
        for values in spare { values.deallocate() }
    }

    /// Forgets what was added.
    public func reset() {
        while let entry = stack.popLast() { spare.append(entry.values) }
    }

    /// Adds the next vector, which `body` writes. A vector that is missing counts as zeros and has to be written as such.
    public func add(_ body: (UnsafeMutableBufferPointer<Float>) throws -> Void) rethrows {
        let values = spare.popLast() ?? .allocate(capacity: count)
        stack.append((0, values))
        try body(values)
        while stack.count > 1, stack[stack.count - 1].level == stack[stack.count - 2].level {
            fold()
            stack[stack.count - 1].level += 1
        }
    }

    /// The sum of all; zeros where nothing was added. Empties the tree.
    public func finish(_ body: (UnsafeMutableBufferPointer<Float>) throws -> Void) rethrows {
        if stack.isEmpty { add { $0.update(repeating: 0) } }
        while stack.count > 1 { fold() }
        let values = stack.removeLast().values
        spare.append(values)
        try body(values)
    }

    private func fold() {
        let last = stack.removeLast().values
        let status = ck_accumulate(last.baseAddress, stack[stack.count - 1].values.baseAddress, count, 1, 1)
        precondition(status == CK_OK, "adding \(count) floats fails")
        spare.append(last)
    }
}
