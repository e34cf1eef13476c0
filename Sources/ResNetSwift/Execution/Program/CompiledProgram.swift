// A program with everything its kernels need but a run's memory, and the loop that runs it.
import CKernels
import Glibc
import ResNetSupport

final class CompiledProgram: Sendable {
    let layout: ProgramLayout
    /// By step.
    private let kernels: [Kernel]
    /// By segment, of those whose step needs sums over the whole batch.
    private let totals: [Int: TotalsReader]

    var program: Program { layout.program }

    /// - Parameter parameters: For steps that read them; they stay in place as long as the program.
    init(_ layout: ProgramLayout, parameters: (any ParameterMemory)? = nil) {
        self.layout = layout
        let contexts = layout.program.steps.enumerated().map { index, step in
            StepContext(
                layout: layout, step: step, chunk: layout.chunks[index], preparation: layout.preparations[index],
                parameters: parameters)
        }
        kernels = contexts.map { $0.step.operation.compile($0) }
        totals = Dictionary(
            uniqueKeysWithValues: layout.segments.enumerated().compactMap { index, segment in
                // Steps of the whole batch are segments of their own.
                let context = contexts[segment.steps.lowerBound]
                return context.step.operation.totals(context).map { (index, $0) }
            })
    }

    /// Fills the constants, of `layout.constantBytes`, zeroed. On the compute thread.
    /// - Parameter didConsume: Called with the nodes of every step whose parameters are no longer needed.
    func setUp(
        _ constants: UnsafeMutableRawPointer, from parameters: any ParameterMemory,
        didConsume: ([Int]) -> Void = { _ in }
    ) throws(ExecutionError) {
        let run = Run(
            images: layout.settings.batch, threads: Int32(layout.settings.threads), arena: constants,
            scratch: constants, constants: UnsafeRawPointer(constants))
        // The largest parameters first: what they are read from is in memory beside them while the rest is not yet.
        func values(_ step: Step) -> Int { step.inputs.map { program.values[$0].shape.count }.max() ?? 0 }
        for (_, step) in program.setup.enumerated().sorted(by: {
            (values($0.element), $1.offset) > (values($1.element), $0.offset)
        }) {
            let context = StepContext(
                layout: layout, step: step, chunk: run.images, preparation: Preparation(), parameters: parameters)
            try check(step.operation.compile(context)(run, 0, run.images), "packing \(layout.name(of: step))")
            didConsume(step.nodes)
        }
    }

    // MARK: - Running

    /// Runs on `thread` and waits for the end. Allocates nothing.
    func execute(_ run: Run, on thread: ComputeThread) throws(ExecutionError) {
        var job = Job(program: Unmanaged.passUnretained(self), run: run)
        try withUnsafeMutablePointer(to: &job) { (job) throws(ExecutionError) in
            try thread.run(
                { context in
                    let job = context.assumingMemoryBound(to: Job.self)
                    job.pointee.failure = job.pointee.program.takeUnretainedValue().execute(job.pointee.run)
                }, job)
        }
        if let failure = job.failure {
            try check(failure.status, "running \(layout.name(of: program.steps[failure.step]))")
        }
    }

    /// Runs the parts of a batch side by side: where a step needs sums over the whole batch, those of all parts are added in
    /// the order of a binary tree, and `exchange` adds those of other processes, which it does equally often whatever fails.
    func execute(_ parts: [Run], on thread: ComputeThread, exchange: TotalsExchange) throws(ExecutionError) {
        exchange.hasBegun = true
        var (runs, failure) = (parts, ExecutionError?.none)
        func attempt(_ body: () throws(ExecutionError) -> Void) {
            do throws(ExecutionError) { try thread.perform(body) } catch { (runs, failure) = ([], failure ?? error) }
        }
        var begin = 0
        for end in totals.keys.sorted() {
            let reader = totals[end]!
            var vectors: [[Double]] = []
            attempt { () throws(ExecutionError) in
                try execute(segments: begin..<end, runs)
                for run in runs {
                    var vector = [Double](repeating: 0, count: reader.count)
                    try check(reader.read(run, &vector), "sums of a batch norm")
                    vectors.append(vector)
                }
            }
            if failure != nil { vectors = [] }
            var total = exchange.sum(vectors, count: reader.count)
            if exchange.failure != nil { return }
            guard total[0] > 1 else {
                throw .input(
                    expected: "more than one sample, as "
                        + "\(layout.name(of: program.steps[layout.segments[end].steps.lowerBound])) "
                        + "normalizes one value a channel", found: "\(Int(total[0]))")
            }
            attempt { () throws(ExecutionError) in
                for index in runs.indices {
                    try execute(segment: end, runs[index], totals: &total)
                }
            }
            begin = end + 1
        }
        attempt { () throws(ExecutionError) in try execute(segments: begin..<layout.segments.count, runs) }
        if let failure { throw failure }
    }

    private func execute(segments: Range<Int>, _ runs: [Run]) throws(ExecutionError) {
        for run in runs {
            guard let failure = execute(run, segments: layout.segments[segments]) else { continue }
            try check(failure.status, "running \(layout.name(of: program.steps[failure.step]))")
        }
    }

    private func execute(segment: Int, _ run: Run, totals: inout [Double]) throws(ExecutionError) {
        var run = run
        let failure = totals.withUnsafeBufferPointer {
            run.totals = $0.baseAddress
            return execute(run, segments: layout.segments[segment...segment])
        }
        if let failure { try check(failure.status, "running \(layout.name(of: program.steps[failure.step]))") }
    }

    private struct Failure {
        let step: Int
        let status: ck_status
    }

    /// A run as the compute thread sees it.
    private struct Job {
        let program: Unmanaged<CompiledProgram>
        let run: Run
        var failure: Failure?
    }

    /// Every segment, chunk by chunk.
    private func execute(_ run: Run) -> Failure? { execute(run, segments: layout.segments[...]) }

    private func execute(_ run: Run, segments: ArraySlice<Segment>) -> Failure? {
        for (index, segment) in zip(segments.indices, segments) {
            var start = 0
            while start < run.images {
                let end = min(start + segment.chunk, run.images)
                if let failure = execute(segment, images: start..<end, run) { return failure }
                start = end
            }
            run.progress?.didFinish(segment: index)
        }
        return nil
    }

    /// Images of one chunk through all of a segment, on the run's threads.
    private func execute(_ segment: Segment, images: Range<Int>, _ run: Run) -> Failure? {
        for index in segment.steps {
            let begin = run.nanoseconds == nil ? 0 : monotonicNanoseconds()
            let status = kernels[index](run, images.lowerBound, images.count)
            if let nanoseconds = run.nanoseconds { nanoseconds[index] += monotonicNanoseconds() - begin }
            if status != CK_OK { return Failure(step: index, status: status) }
        }
        if segment.steps.lowerBound == 0, run.discardable > 0, let picture = run.picture {
            discardFilePages(picture + images.lowerBound * run.discardable, images.count * run.discardable)
        }
        return nil
    }
}

/// How the sums of the parts of a batch become those of the whole.
final class TotalsExchange {
    private let others: (UnsafeMutableBufferPointer<Double>) throws -> Void
    /// Whether a program has begun to call it.
    var hasBegun = false
    /// What went wrong; nothing is exchanged any more.
    private(set) var failure: (any Error)?

    /// - Parameter others: Replaces a vector by the sum of all processes' vectors.
    init(_ others: @escaping (UnsafeMutableBufferPointer<Double>) throws -> Void) { self.others = others }

    /// Vectors of `count` numbers of this process, none or more, and those of the others.
    func sum(_ own: [[Double]], count: Int) -> [Double] {
        var vectors = own
        while vectors.count > 1 {
            vectors = stride(from: 0, to: vectors.count, by: 2).map { index in
                guard index + 1 < vectors.count else { return vectors[index] }
                return zip(vectors[index], vectors[index + 1]).map { $0 + $1 }
            }
        }
        var total = vectors.first ?? [Double](repeating: 0, count: count)
        do { try total.withUnsafeMutableBufferPointer { try others($0) } } catch { failure = error }
        return total
    }
}

package func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
