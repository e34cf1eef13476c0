// A program with everything its kernels need but a run's memory, and the loop that runs it.
import CKernels
import Glibc
import ResNetSupport

final class CompiledProgram: Sendable {
    let layout: ProgramLayout
    /// By step.
    private let kernels: [Kernel]

    var program: Program { layout.program }

    /// - Parameter parameters: For steps that read them; they stay in place as long as the program.
    init(_ layout: ProgramLayout, parameters: (any ParameterMemory)? = nil) {
        self.layout = layout
        kernels = layout.program.steps.enumerated().map { index, step in
            step.operation.compile(
                StepContext(
                    layout: layout, step: step, chunk: layout.chunks[index],
                    preparation: layout.preparations[index], parameters: parameters))
        }
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
        for step in program.setup {
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
    private func execute(_ run: Run) -> Failure? {
        for segment in layout.segments {
            var start = 0
            while start < run.images {
                let end = min(start + segment.chunk, run.images)
                if let failure = execute(segment, images: start..<end, run) { return failure }
                start = end
            }
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

package func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
