// Plain threads and the lock they share, for work that blocks and computes: decoding pictures has no place on Swift's
// cooperative pool.

import Glibc

/// A mutex with one condition, which all waiters share.
package final class ConditionLock: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    package init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    package func locked<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body()
    }

    /// Sleeps until somebody calls `broadcast`; inside `locked` only.
    package func wait() { pthread_cond_wait(changed, mutex) }

    package func broadcast() { pthread_cond_broadcast(changed) }
}

/// Threads that run one closure each, joined by `join`.
package final class WorkerThreads: @unchecked Sendable {
    private var handles: [pthread_t] = []

    /// Fewer threads start where the system has no more; at least one is required.
    /// - Returns: nil if there is not even one.
    package init?(count: Int, _ body: @escaping @Sendable () -> Void) {
        for _ in 0..<count {
            guard case .success(let handle) = startThread(body) else { break }
            handles.append(handle)
        }
        if handles.isEmpty { return nil }
    }

    /// Waits for the end of all; call it once.
    package func join() {
        for handle in handles { pthread_join(handle, nil) }
        handles = []
    }
}

/// Why the system gave no thread.
package struct ThreadFault: Error {
    package let errno: Int32
}

/// Starts a thread to be joined. It takes no signals, which are for the threads of the host, and has a stack that Swift's
/// runtime and the kernels can work in, whatever `ulimit -s` says: `leastStack` bytes.
package func startThread(
    leastStack: Int = 1 << 20, _ body: @escaping @Sendable () -> Void
) -> Result<pthread_t, ThreadFault> {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    var stack = 0
    if pthread_attr_getstacksize(&attributes, &stack) != 0 || stack < leastStack {
        pthread_attr_setstacksize(&attributes, leastStack)
    }
    var all = sigset_t()
    var before = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    let job = Unmanaged.passRetained(ThreadJob(body))
    var handle = pthread_t()
    let error = pthread_create(
        &handle, &attributes,
        { context in
            Unmanaged<ThreadJob>.fromOpaque(context!).takeRetainedValue().body()
            return nil
        }, job.toOpaque())
    guard error == 0 else {
        job.release()
        return .failure(ThreadFault(errno: error))
    }
    return .success(handle)
}

private final class ThreadJob: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
