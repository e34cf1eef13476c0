// Pictures read, decoded and transformed ahead of their use, in the order of their paths.
//
//     workers   claim the next path -> decode -> slot          at most `ahead` pictures from the window's first on
//     caller    next() waits for a whole window, of a batch, and takes it picture by picture, in order
//
// A wait for each picture would wake the caller for each, and every time that pushes a worker off its core.

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
    private let window: Int
    private let lock = ConditionLock()
    private var slots: [Int: PreparedPicture] = [:]
    private var nextToClaim = 0
    private var nextToUse = 0
    /// Pictures windowStart..<windowEnd are the caller's; so many of them are still to come.
    private var windowStart = 0
    private var windowEnd = 0
    private var missing = 0
    private var isStopped = false
    private var workers: WorkerThreads?

    /// Starts to decode at once.
    /// - Parameters:
    ///   - window: pictures that the caller uses together.
    ///   - ahead: the most decoded pictures that wait; bounds the memory. At least a window.
    init(_ paths: [String], transform: ImageTransform, threads: Int, window: Int, ahead: Int) {
        self.paths = paths
        self.transform = transform
        self.window = max(window, 1)
        self.ahead = max(ahead, self.window)
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
            if nextToUse == windowEnd { waitForWindow() }
            defer { nextToUse += 1 }
            return slots.removeValue(forKey: nextToUse)
        }
    }

    /// Under the lock.
    private func waitForWindow() {
        windowStart = windowEnd
        windowEnd = min(windowStart + window, paths.count)
        missing = (windowStart..<windowEnd).count { slots[$0] == nil }
        lock.broadcast()  // there is room for more
        while missing > 0 { lock.wait() }
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
                guard index < windowEnd else { return }
                missing -= 1
                if missing == 0 { lock.broadcast() }
            }
        }
    }

    private func claim() -> Int? {
        lock.locked {
            while !isStopped, nextToClaim < paths.count, nextToClaim >= windowStart + ahead { lock.wait() }
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
