// A file as bytes in memory, mapped read-only: opening costs nothing, pages come and go with use.
//
// A mapping survives the file being renamed over or deleted. It does not survive somebody truncating the file in place:
// the kernel then answers the next touch with SIGBUS, as it does for every program that maps files.

import Glibc

/// Immutable bytes with an owner: a mapped file, or a copy of an array (for bytes that come from elsewhere).
package final class MappedFile: @unchecked Sendable {
    package let bytes: UnsafeRawBufferPointer
    /// True where dropping a page loses nothing, because the file has it.
    package let isFileBacked: Bool

    package init(path: String) throws(FileFault) {
        guard !path.utf8.contains(0) else { throw .cannotRead("the path contains a NUL") }
        // O_NONBLOCK: opening a named pipe must fail below, not wait for a writer.
        let descriptor = path.withFileName { Glibc.open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        guard descriptor >= 0 else { throw .cannotRead(errorText(errno)) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .cannotRead(errorText(errno)) }
        switch status.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: throw .cannotRead("it is a directory")
        default: throw .cannotRead("it is not a regular file")
        }
        let size = Int(status.st_size)
        guard size > 0 else { throw .isEmpty }
        guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
            throw .cannotRead(errorText(errno))
        }
        bytes = UnsafeRawBufferPointer(start: base, count: size)
        isFileBacked = true
    }

    package init(copying contents: [UInt8]) {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(contents.count, 1), alignment: 64)
        memory.copyBytes(from: contents)
        bytes = UnsafeRawBufferPointer(rebasing: memory[..<contents.count])
        isFileBacked = false
    }

    deinit {
        let start = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
        if isFileBacked { munmap(start, bytes.count) } else { start?.deallocate() }
    }

    /// Gives the pages of `range` back to the kernel; they are read again when touched again.
    package func discardPages(_ range: Range<Int>) {
        guard isFileBacked, let base = bytes.baseAddress else { return }
        discardFilePages(base + range.lowerBound, range.count)
    }
}

/// For read-only file mappings only: on other memory this call would destroy the contents.
package func discardFilePages(_ start: UnsafeRawPointer, _ count: Int) {
    guard count > 0 else { return }
    let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
    // Outward to whole pages: neighbors on the edge pages merely fault in again.
    let first = UInt(bitPattern: start) / page * page
    let end = (UInt(bitPattern: start) + UInt(count) + page - 1) / page * page
    guard let address = UnsafeMutableRawPointer(bitPattern: first) else { return }
    _ = madvise(address, Int(end - first), MADV_DONTNEED)
}

/// The C library's sentence for an errno.
package func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }
