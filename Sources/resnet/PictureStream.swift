// Pictures read, decoded and transformed ahead of their use, in the order of their paths.
//
//     workers   claim the next path -> decode -> slot          at most `ahead` pictures before the one that is waited for
//     caller    next() waits for its slot, in order

import Glibc
import ResNetSwift

/// What became of one file.
struct PreparedPicture: Sendable {
    let path: String
    let picture: Result<Picture, PreparationError>
    /// What the decoder got over.
    let warnings: [String]
}

/// One line that names the file.
struct PreparationError: Error, CustomStringConvertible {
    let description: String
}

final class PictureStream: @unchecked Sendable {
    // Unchecked: everything that changes is touched under `lock` only.
    private let paths: [String]
    private let transform: ImageTransform
    private let ahead: Int
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var slots: [Int: PreparedPicture] = [:]
    private var nextToClaim = 0
    private var nextToUse = 0
    private var isStopped = false
    private var workers: [pthread_t] = []

    /// Starts to decode at once.
    /// - Parameter ahead: the most decoded pictures that wait; bounds the memory.
    init(_ paths: [String], transform: ImageTransform, threads: Int, ahead: Int) {
        self.paths = paths
        self.transform = transform
        self.ahead = max(ahead, 1)
        pthread_mutex_init(lock, nil)
        pthread_cond_init(changed, nil)
        for _ in 0..<min(max(threads, 1), paths.count) {
            var thread = pthread_t()
            let context = Unmanaged.passRetained(self)
            let failed = pthread_create(
                &thread, nil,
                { context in
                    Unmanaged<PictureStream>.fromOpaque(context!).takeRetainedValue().work()
                    return nil
                }, context.toOpaque())
            if failed == 0 { workers.append(thread) } else { context.release() }
        }
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(lock)
        changed.deallocate()
        lock.deallocate()
    }

    private func locked<R>(_ body: () -> R) -> R {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return body()
    }

    /// The next picture in order; nil after the last.
    func next() -> PreparedPicture? {
        guard nextToUse < paths.count else { return nil }
        // Where the system gave no thread at all, the caller decodes.
        if workers.isEmpty {
            defer { nextToUse += 1 }
            return prepare(paths[nextToUse])
        }
        return locked {
            while slots[nextToUse] == nil { pthread_cond_wait(changed, lock) }
            defer {
                nextToUse += 1
                pthread_cond_broadcast(changed)
            }
            return slots.removeValue(forKey: nextToUse)
        }
    }

    /// Ends the workers; call it when done, read to the end or not.
    func stop() {
        locked {
            isStopped = true
            pthread_cond_broadcast(changed)
        }
        for worker in workers { pthread_join(worker, nil) }
        workers = []
    }

    private func work() {
        while let index = claim() {
            let prepared = prepare(paths[index])
            locked {
                slots[index] = prepared
                pthread_cond_broadcast(changed)
            }
        }
    }

    private func claim() -> Int? {
        locked {
            while !isStopped, nextToClaim < paths.count, nextToClaim >= nextToUse + ahead {
                pthread_cond_wait(changed, lock)
            }
            guard !isStopped, nextToClaim < paths.count else { return nil }
            defer { nextToClaim += 1 }
            return nextToClaim
        }
    }

    private func prepare(_ path: String) -> PreparedPicture {
        var warnings: [String] = []
        let picture = Result { () throws(PreparationError) in
            do {
                let decoded = try transform.picture(contentsOf: path)
                warnings = decoded.warnings
                return try transform.apply(to: decoded)
            } catch let error as PictureError {
                throw PreparationError(description: "\(error)")
            } catch {
                throw PreparationError(description: "\(path): \(error)")
            }
        }
        return PreparedPicture(path: path, picture: picture, warnings: warnings)
    }
}
