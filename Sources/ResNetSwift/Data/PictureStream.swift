// Pictures read, decoded and transformed ahead of their use, in order.
//
//     workers   claim the next picture -> decode -> slot       at most `ahead` pictures from the window's first on
//     caller    next() waits for a whole window, of a batch, and takes it picture by picture, in order
//
// A wait for each picture would wake the caller for each, and every time that pushes a worker off its core.

import ResNetSupport

/// What became of a picture.
package struct PreparedPicture: Sendable {
    /// Its place among all.
    package let index: Int
    /// Through the transform, each view.
    package let views: Result<[Picture], PictureError>
    /// Faults that the decoder could repair.
    package let warnings: [String]
}

/// Decodes pictures in threads of its own, ahead of the caller, who takes them in order.
package final class PictureStream: @unchecked Sendable {
    // Unchecked: everything that changes is touched under `lock` only; `workers` by the caller only.
    private let pictures: [PictureInput]
    private let transform: ImageTransform
    private let views: [PictureView]
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
    ///   - views: of each picture.
    ///   - window: pictures that the caller uses together.
    ///   - ahead: the most decoded pictures that wait; bounds the memory. At least a window.
    package init(
        _ pictures: [PictureInput], transform: ImageTransform, views: [PictureView], threads: Int, window: Int,
        ahead: Int
    ) {
        self.views = views
        self.pictures = pictures
        self.transform = transform
        self.window = max(window, 1)
        self.ahead = max(ahead, self.window)
        workers = WorkerThreads(count: min(max(threads, 1), pictures.count)) { self.work() }
    }

    /// The next picture in order; nil after the last.
    package func next() -> PreparedPicture? {
        guard nextToUse < pictures.count else { return nil }
        // Where the system gave no thread at all, the caller decodes.
        guard workers != nil else {
            defer { nextToUse += 1 }
            return prepare(nextToUse)
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
        windowEnd = min(windowStart + window, pictures.count)
        missing = (windowStart..<windowEnd).count { slots[$0] == nil }
        lock.broadcast()  // there is room for more
        while missing > 0 { lock.wait() }
    }

    /// Ends the workers; call it when done, read to the end or not.
    package func stop() {
        lock.locked {
            isStopped = true
            lock.broadcast()
        }
        workers?.join()
        workers = nil
    }

    private func work() {
        while let index = claim() {
            let prepared = prepare(index)
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
            while !isStopped, nextToClaim < pictures.count, nextToClaim >= windowStart + ahead { lock.wait() }
            guard !isStopped, nextToClaim < pictures.count else { return nil }
            defer { nextToClaim += 1 }
            return nextToClaim
        }
    }

    private func prepare(_ index: Int) -> PreparedPicture {
        var warnings: [String] = []
        let prepared = Result { () throws(PictureError) in
            try transform.prepared(pictures[index], views: views, warnings: &warnings)
        }
        return PreparedPicture(index: index, views: prepared, warnings: warnings)
    }
}
