// One thread on which a workspace's kernels run, and its team.
//
// OpenMP keeps a team of workers for every thread that opens a parallel region. Swift's concurrency moves a task between
// threads as it likes, so kernels called from tasks would grow a team for each of them. Here one thread leads a team for its
// whole life (`ck_with_team`) and sleeps between runs; callers hand it a job and wait.
//
//     caller    post ------------------------- wait -> result
//     thread         spin or sleep -> job -> done
//     team                             parts
//
// Subnormals are flushed to zero on this thread (they cost a hundred cycles each and mean nothing to a network); the
// team computes each part as the thread that posts it would.
//
// A forked child has no such thread. The process is remembered, and a run from another process is an error, not a hang.
import CKernels
import Glibc
import ResNetSupport
import Synchronization

final class ComputeThread: Sendable {
    typealias Job = @convention(c) (UnsafeMutableRawPointer) -> Void

    private let mailbox: Mailbox
    private let creator = getpid()
    private let handle: pthread_t

    /// - Parameter threads: of the team, this one counted; 0 means `Machine.defaultThreads`.
    init(threads: Int) throws(ExecutionError) {
        let mailbox = Mailbox(threads: Int32(clamping: max(threads, 0)))
        self.mailbox = mailbox
        let started = startThread {
            flushSubnormals()
            mailbox.serveWithTeam()
        }
        switch started {
        case .success(let thread): handle = thread
        case .failure(let fault): throw .noThread(errno: fault.errno)
        }
    }

    deinit {
        guard isInThisProcess else { return }
        mailbox.stop()
        pthread_join(handle, nil)
    }

    /// False in a forked child.
    var isInThisProcess: Bool { getpid() == creator }

    /// Runs `job(context)` on the thread and waits for its end. Allocates nothing.
    /// - Precondition: one caller at a time.
    func run(_ job: Job, _ context: UnsafeMutableRawPointer) throws(ExecutionError) {
        let process = getpid()
        guard process == creator else { throw .usedAfterFork(createdBy: creator, usedBy: process) }
        mailbox.run(job, context)
    }

    /// Runs a closure on the thread and waits for its result.
    func perform<R>(_ body: () throws(ExecutionError) -> R) throws(ExecutionError) -> R {
        var result: Result<R, ExecutionError>?
        try withoutActuallyEscaping(body) { (body) throws(ExecutionError) in
            var work: () -> Void = {
                do throws(ExecutionError) { result = .success(try body()) } catch { result = .failure(error) }
            }
            try withUnsafeMutablePointer(to: &work) { (work) throws(ExecutionError) in
                try run({ $0.assumingMemoryBound(to: (() -> Void).self).pointee() }, work)
            }
        }
        return try result!.get()
    }
}

/// One job at a time, handed over under a lock and awaited by spinning a little, then sleeping.
private final class Mailbox: @unchecked Sendable {
    // Unchecked: `job` is written by the caller before `state` becomes posted and read by the thread after.
    private enum State {
        static let idle: UInt32 = 0
        static let posted: UInt32 = 1
        static let done: UInt32 = 2
        static let stopped: UInt32 = 3
    }

    private let state = Atomic<UInt32>(State.idle)
    private var job: (ComputeThread.Job, UnsafeMutableRawPointer)?
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    /// Looks at the state before sleeping: some microseconds, less than a wake-up costs.
    private static let spins = 2000

    private let threads: Int32

    init(threads: Int32) {
        self.threads = threads
        pthread_mutex_init(lock, nil)
        pthread_cond_init(changed, nil)
    }

    deinit {
        // Not destroyed: in a forked child a thread that does not exist may seem to wait on them.
        lock.deallocate()
        changed.deallocate()
    }

    private func set(_ new: UInt32) {
        pthread_mutex_lock(lock)
        state.store(new, ordering: .releasing)
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(lock)
    }

    /// Waits until the state is one of two, and returns it.
    private func wait(for a: UInt32, or b: UInt32) -> UInt32 {
        for _ in 0..<Self.spins {
            let now = state.load(ordering: .acquiring)
            if now == a || now == b { return now }
        }
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        while true {
            let now = state.load(ordering: .acquiring)
            if now == a || now == b { return now }
            pthread_cond_wait(changed, lock)
        }
    }

    func run(_ job: ComputeThread.Job, _ context: UnsafeMutableRawPointer) {
        precondition(state.load(ordering: .relaxed) == State.idle, "two callers use one workspace at once")
        self.job = (job, context)
        set(State.posted)
        _ = wait(for: State.done, or: State.done)
        self.job = nil
        state.store(State.idle, ordering: .releasing)
    }

    func stop() { set(State.stopped) }

    /// The thread's life. Where there is no memory for a team, every kernel opens a region of its own.
    func serveWithTeam() {
        let context = Unmanaged.passUnretained(self).toOpaque()
        let status = ck_with_team(
            threads, { Unmanaged<Mailbox>.fromOpaque($0!).takeUnretainedValue().serve() }, context)
        if status != CK_OK { serve() }
    }

    /// Jobs until stopped.
    private func serve() {
        while wait(for: State.posted, or: State.stopped) == State.posted {
            if let (job, context) = job { job(context) }
            set(State.done)
        }
    }
}

/// Subnormal operands and results of this thread count as zero.
private func flushSubnormals() {
    #if arch(x86_64)
        var environment = fenv_t()
        fegetenv(&environment)
        environment.__mxcsr |= 0x8040  // flush to zero, denormals are zero
        fesetenv(&environment)
    #elseif arch(arm64)
        var environment = fenv_t()
        fegetenv(&environment)
        environment.__fpcr |= 1 << 24  // flush to zero
        fesetenv(&environment)
    #endif
}
