// The thread that talks to the other processes.
//
//     trainer   gather ------- wait -> result                         compute    bucket 0 is whole -> post
//     thread             gather                                       thread                          exchange bucket 0
//
// MPI wants all calls from the thread that has started it (MPI_THREAD_FUNNELED), and gradients are exchanged while the
// backward pass goes on. Work is done in the order in which it was given; every process gives the same work in one order.

import Glibc
import ResNetSupport

package final class CommunicationThread: @unchecked Sendable {
    // Unchecked: what follows is guarded by `lock`; `handle` is written once, before anything is posted.
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var work: [() -> Void] = []
    private var isStopped = false
    private var handle = pthread_t()

    package init() {
        pthread_mutex_init(lock, nil)
        pthread_cond_init(changed, nil)
        switch startThread({ self.serve() }) {
        case .success(let started): handle = started
        case .failure(let fault): preconditionFailure("there is no thread to communicate with: error \(fault.errno)")
        }
    }

    deinit {
        lock.deallocate()
        changed.deallocate()
    }

    /// Ends the thread behind all that was given.
    package func stop() {
        locked { isStopped = true }
        pthread_join(handle, nil)
    }

    /// Does `job` behind all that was given before; returns at once.
    package func post(_ job: @escaping () -> Void) { locked { work.append(job) } }

    /// Does `job` behind all that was given before, and waits for its result.
    package func perform<R>(_ job: () throws(TrainingError) -> R) throws(TrainingError) -> R {
        if pthread_equal(pthread_self(), handle) != 0 { return try job() }
        var result: Result<R, TrainingError>?
        withoutActuallyEscaping(job) { job in
            var body: () -> Void = {
                do throws(TrainingError) { result = .success(try job()) } catch { result = .failure(error) }
            }
            var isDone = false
            // By address: the thread may still hold what was posted when this has returned.
            withUnsafeMutablePointer(to: &body) { body in
                post {
                    body.pointee()
                    self.locked { isDone = true }
                }
                pthread_mutex_lock(lock)
                while !isDone { pthread_cond_wait(changed, lock) }
                pthread_mutex_unlock(lock)
            }
        }
        return try result!.get()
    }

    private func locked(_ body: () -> Void) {
        pthread_mutex_lock(lock)
        body()
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(lock)
    }

    private func next() -> (() -> Void)? {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        while work.isEmpty && !isStopped { pthread_cond_wait(changed, lock) }
        return work.isEmpty ? nil : work.removeFirst()
    }

    private func serve() { while let job = next() { job() } }
}
