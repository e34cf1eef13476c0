// Writing a file so that its name always stands for a whole one: write beside it, flush to disk, rename.
//
// A crash, a full disk or a kill at any moment leaves the old file as it was, at worst with a `.name.tmp-...` beside it.

import Glibc

/// A file in the making. Dropped without `commit`, it leaves nothing behind.
package final class AtomicFile {
    private let target: String
    private let temporary: String
    private var descriptor: Int32
    private var committed = false

    package init(_ path: String) throws(FileFault) {
        guard !path.isEmpty, !path.utf8.contains(0) else { throw .cannotWrite("the path is empty or contains a NUL") }
        var target = path
        var status = stat()
        var mode: mode_t?
        if path.withFileName({ stat($0, &status) }) == 0 {
            mode = status.st_mode & 0o7777
            // Renaming over a device or a directory would do harm; renaming over a link would cut it.
            guard status.st_mode & S_IFMT == S_IFREG else { throw .cannotWrite("something else than a file is there") }
            if let real = path.withFileName({ realpath($0, nil) }) {
                target = String(fileName: real)
                free(real)
            }
        }
        self.target = target
        let slash = target.utf8.lastIndex(of: UInt8(ascii: "/"))
        let folder = slash.map { String(target[...$0]) } ?? ""
        let name = slash.map { String(target[target.index(after: $0)...]) } ?? target
        guard !name.isEmpty else { throw .cannotWrite("the path names a folder") }
        var random = SystemRandomNumberGenerator()
        temporary = "\(folder).\(name.prefix(100)).tmp-\(getpid())-\(String(random.next(), radix: 36))"
        descriptor = temporary.withFileName { Glibc.open($0, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666) }
        guard descriptor >= 0 else { throw .cannotWrite(errorText(errno)) }
        // What is replaced keeps its permissions: a private file must not become readable.
        if let mode { fchmod(descriptor, mode) }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        if !committed { _ = temporary.withFileName { unlink($0) } }
    }

    package func write(_ bytes: UnsafeRawBufferPointer) throws(FileFault) {
        var rest = bytes
        while let base = rest.baseAddress, !rest.isEmpty {
            let written = Glibc.write(descriptor, base, min(rest.count, 1 << 30))
            if written < 0 {
                if errno == EINTR { continue }
                throw .cannotWrite(errorText(errno))
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[written...])
        }
    }

    package func write(_ bytes: [UInt8]) throws(FileFault) {
        // withUnsafeBytes knows no typed throws for its closure; the result carries the error across.
        try bytes.withUnsafeBytes { buffer -> Result<Void, FileFault> in
            do throws(FileFault) { return .success(try write(buffer)) } catch { return .failure(error) }
        }.get()
    }

    /// Flushes to disk and gives the file its name.
    package func commit() throws(FileFault) {
        guard fsync(descriptor) == 0 else { throw .cannotWrite(errorText(errno)) }
        let closed = close(descriptor)
        descriptor = -1
        guard closed == 0 else { throw .cannotWrite(errorText(errno)) }
        let renamed = temporary.withFileName { from in target.withFileName { rename(from, $0) } }
        guard renamed == 0 else { throw .cannotWrite(errorText(errno)) }
        committed = true
        // The rename itself is durable only once the folder is; some file systems refuse this, which harms nothing.
        let folder = target.parentFolder.withFileName { Glibc.open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }
}
