// Decodes every picture of a folder and says which cannot be read, before a long run finds out.

import ResNetSupport

/// What became of the pictures of a folder.
public struct PictureCheck: Sendable, Hashable {
    /// A file with something the matter.
    public struct Finding: Sendable, Hashable {
        /// Begins with the folder that was searched.
        public let path: String
        /// The fault, or the decoder's warning.
        public let reason: String
    }

    /// Pictures found, of kinds that are read and others.
    public let count: Int
    /// Cannot be read; a training run would skip them. Pictures of kinds that are not read and folders that cannot be
    /// searched are among them.
    public let broken: [Finding]
    /// Can be read, but the decoder had to get over something.
    public let damaged: [Finding]
    /// What else is in the folder, in words; nil where there is nothing.
    public let others: String?

    /// Decodes every picture of a folder, to see which cannot be read.
    /// - Parameters:
    ///   - folder: searched at any depth.
    ///   - threads: that decode.
    ///   - progress: called first with 0 and later now and then with the number of files done and of all, from the
    ///     calling thread.
    /// - Throws: `PictureError` for a folder that cannot be listed.
    public static func run(
        folder: String, threads: Int = 2, progress: (_ done: Int, _ of: Int) -> Void = { _, _ in }
    ) throws(PictureError) -> PictureCheck {
        let listing = try PictureFiles.search(folder)
        let paths = listing.pictures
        let shared = Findings(paths)
        if let workers = WorkerThreads(count: max(1, min(threads, paths.count)), { shared.work() }) {
            shared.follow(progress)
            workers.join()
        } else {
            shared.work()
        }
        progress(paths.count, paths.count)
        return shared.result(listing)
    }

    /// Unchecked: `lock` guards all that changes.
    private final class Findings: @unchecked Sendable {
        private let paths: [String]
        private let lock = ConditionLock()
        private var next = 0
        private var done = 0
        private var broken: [Int: String] = [:]
        private var damaged: [Int: String] = [:]

        init(_ paths: [String]) { self.paths = paths }

        func work() {
            while let index = lock.locked({ () -> Int? in
                guard next < paths.count else { return nil }
                defer { next += 1 }
                return next
            }) {
                var fault: String?
                var warnings: [String] = []
                do { warnings = try Picture(contentsOf: paths[index]).warnings } catch {
                    fault = error.fault.description
                }
                lock.locked {
                    broken[index] = fault
                    damaged[index] = warnings.isEmpty ? nil : warnings.joined(separator: "; ")
                    done += 1
                    lock.broadcast()
                }
            }
        }

        /// Reports until all is done.
        func follow(_ progress: (Int, Int) -> Void) {
            progress(0, paths.count)
            var reported = 0
            while reported < paths.count {
                reported = lock.locked {
                    while done == reported { lock.wait() }
                    return done
                }
                progress(reported, paths.count)
            }
        }

        func result(_ listing: PictureListing) -> PictureCheck {
            func list(_ reasons: [Int: String]) -> [Finding] {
                reasons.sorted { $0.key < $1.key }.map { Finding(path: paths[$0.key], reason: $0.value) }
            }
            let unread = listing.unread.map { Finding(path: $0.path, reason: $0.reason) }
            return PictureCheck(
                count: paths.count + unread.count, broken: list(broken) + unread, damaged: list(damaged),
                others: listing.othersInWords)
        }
    }
}
