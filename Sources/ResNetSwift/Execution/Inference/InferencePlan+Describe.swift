// What a plan does, step by step, and how long each step takes.

import ResNetGraph
import ResNetSupport

extension InferencePlan {
    /// In the order in which they run.
    public var stepInfos: [PlanStepInfo] { layout.stepInfos(macs: graph.macs(shapes: shapes)) }

    /// How the convolutions divide among the plan's threads, all together, each for the pictures that pass at a time.
    public var workBalance: WorkBalance { layout.workBalance }

    /// The plan as a table, with the sizes of its memory and, for several threads, how evenly they share each
    /// convolution: what the busiest does over the mean.
    public func describe() -> String {
        let mebibytes = { (bytes: Int) in fixed(Double(bytes) / 1_048_576, 1) + " MiB" }
        let balances = threads > 1 ? layout.balances() : []
        let all = WorkBalance(sum: balances)
        let balanceText =
            threads > 1
            ? "\nshare: of a convolution's work, what the busiest thread does over the mean; "
                + "\(fixed(all.largestShare(threads: threads), 2)) for all, in \(all.waits) parallel regions" : ""
        return """
            \(graph.modelName) for \(inputText), at most \(batch) at a time, on \(threads) threads, \(isaName), \(precision.rawValue)
            arena \(mebibytes(layout.memory.arenaBytes)), convolution workspace \(mebibytes(layout.scratchBytes)), \
            weights \(mebibytes(constantBytes))\(precisionText)\(balanceText)

            \(stepTable(stepInfos, shares: balances.map { $0?.largestShare(threads: threads) }))
            """
    }

    /// How many of the layers have the precision that was asked, where not all can.
    private var precisionText: String {
        guard precision != .float32 else { return "" }
        let layers = layout.program.steps.map(\.operation).filter { $0 is Convolution || $0 is Linear }
        let count = layers.count { precision == .bf16 ? $0.weights == .bfloat16 : ($0 as? Convolution)?.int8 != nil }
        return "\n\(count) of \(layers.count) layers in \(precision.rawValue), the others in float32"
    }

    /// Runs `images` random pictures `repetitions` times and takes the time of every step.
    /// - Throws: `ExecutionError`, as a run.
    public func profile(images: Int? = nil, repetitions: Int = 20) throws(ExecutionError) -> [StepTiming] {
        let images = images ?? batch
        precondition(images >= 1 && images <= batch, "the plan takes 1 to \(batch) pictures, not \(images)")
        precondition(repetitions >= 1, "a profile needs at least one repetition")
        let isBytes = options.input != .floatNCHW
        let picture = try AlignedBuffer(bytes: images * input.count * (isBytes ? 1 : 4), for: "a picture")
        fill(picture, isBytes: isBytes)

        let infos = stepInfos
        var samples: [[UInt64]] = []
        try withPooledWorkspace { (workspace) throws(ExecutionError) in
            // The first run brings weights and pages in and is not counted.
            for repetition in 0...repetitions {
                var nanoseconds = [UInt64](repeating: 0, count: infos.count)
                try run(picture.base, images, workspace, nanoseconds: &nanoseconds)
                if repetition > 0 { samples.append(nanoseconds) }
            }
        }
        return timings(infos, nanoseconds: samples, images: images)
    }

    /// Pseudo-random values, as pictures are: zeros would be kinder to a CPU than real work.
    private func fill(_ picture: AlignedBuffer, isBytes: Bool) {
        var state: UInt32 = 1
        func next() -> UInt32 {
            state = state &* 1_664_525 &+ 1_013_904_223
            return state >> 8
        }
        if isBytes {
            let bytes = picture.base.assumingMemoryBound(to: UInt8.self)
            for index in 0..<picture.bytes { bytes[index] = UInt8(truncatingIfNeeded: next() >> 8) }
        } else {
            let floats = picture.floats(at: 0)
            for index in 0..<picture.bytes / 4 { floats[index] = Float(next()) / 8_388_608 - 1 }
        }
    }

    /// A profile as a table, slowest parts visible at a glance.
    public func table(_ timings: [StepTiming]) -> String { profileTable(timings) }
}
