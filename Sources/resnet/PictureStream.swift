// Pictures read, decoded and transformed ahead of their use, in the order of their paths.
//
//     workers   claim the next path -> decode -> slot          at most `ahead` pictures before the one that is waited for
//     caller    next() waits for its slot, in order

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
    // Unchecked: everything that changes is touched under `lock` only; `workers` by the caller only.
    private let paths: [String]
    private let transform: ImageTransform
    private let ahead: Int
    private let lock = ConditionLock()
    private var slots: [Int: PreparedPicture] = [:]
    private var nextToClaim = 0
    private var nextToUse = 0
    private var isStopped = false
    private var workers: WorkerThreads?

    /// Starts to decode at once.
    /// - Parameter ahead: the most decoded pictures that wait; bounds the memory.
    init(_ paths: [String], transform: ImageTransform, threads: Int, ahead: Int) {
        self.paths = paths
        self.transform = transform
        self.ahead = max(ahead, 1)
        workers = WorkerThreads(count: min(max(threads, 1), paths.count)) { self.work() }
    }

    /// The next picture in order; nil after the last.
    func next() -> PreparedPicture? {
        guard nextToUse < paths.count else { return nil }
        // Where the system gave no thread at all, the caller decodes.
        guard workers != nil else {
            defer { nextToUse += 1 }
            return prepare(paths[nextToUse])
        }
        return lock.locked {
            while slots[nextToUse] == nil { lock.wait() }
            defer {
                nextToUse += 1
                lock.broadcast()
            }
            return slots.removeValue(forKey: nextToUse)
        }
    }

    /// Ends the workers; call it when done, read to the end or not.
    func stop() {
        lock.locked {
            isStopped = true
            lock.broadcast()
        }
        workers?.join()
        workers = nil
    }

    private func work() {
        while let index = claim() {
            let prepared = prepare(paths[index])
            lock.locked {
                slots[index] = prepared
                lock.broadcast()
            }
        }
    }

    private func claim() -> Int? {
        lock.locked {
            while !isStopped, nextToClaim < paths.count, nextToClaim >= nextToUse + ahead { lock.wait() }
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
