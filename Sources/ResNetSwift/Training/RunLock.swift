// One run a folder: two that write the same checkpoints would lose one of them.

import Glibc
import ResNetSupport

/// Holds `folder/.lock` while it lives, and removes it then. The kernel lets go of it with the process, however that ends.
final class RunLock {
    private let descriptor: Int32
    private let path: String

    /// - Throws: `TrainingError.checkpoint` where another run holds it.
    init(_ folder: String) throws(TrainingError) {
        path = "\(folder)/.lock"
        while true {
            let opened = path.withFileName { open($0, O_RDWR | O_CREAT | O_CLOEXEC, 0o666) }
            guard opened >= 0 else {
                throw .settings(field: "folder", expected: "\(folder) to be writable", found: errorText(errno))
            }
            guard flock(opened, LOCK_EX | LOCK_NB) == 0 else {
                let owner = Self.owner(opened)
                close(opened)
                throw .checkpoint(
                    path: folder, expected: "a folder in which no other run is going on",
                    found: "one of process \(owner)")
            }
            // Somebody may have removed the file between the two calls: then this is a lock on nothing.
            var held = stat()
            if fstat(opened, &held) == 0, let named = path.fileStatus, held.st_ino == named.st_ino {
                descriptor = opened
                break
            }
            close(opened)
        }
        let own = Array("\(getpid())".utf8)
        ftruncate(descriptor, 0)
        _ = write(descriptor, own, own.count)
    }

    private static func owner(_ descriptor: Int32) -> String {
        var text = [UInt8](repeating: 0, count: 32)
        let count = read(descriptor, &text, text.count)
        return count > 0 ? String(decoding: text[..<count], as: UTF8.self) : "unknown"
    }

    deinit {
        _ = path.withFileName { unlink($0) }
        close(descriptor)
    }
}
