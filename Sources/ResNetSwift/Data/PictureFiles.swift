// The picture files of a folder.

import Glibc

/// Finds pictures on disk.
public enum PictureFiles {
    /// How a file is recognized as a picture.
    public enum Criterion: Sendable, Hashable {
        /// The extension, in any case. Opens no file, and finds damaged pictures too.
        case name
        /// The first bytes: opens every file, and finds pictures whatever they are called.
        case content
    }

    /// The pictures below a folder, with subfolders unless told otherwise. Hidden files and folders (".git", "._a.jpg") are
    /// skipped; links are followed, but no folder is visited twice.
    /// - Returns: paths that begin with `folder`, sorted byte by byte, so the same on every machine.
    /// - Throws: `PictureError` for a folder that cannot be listed.
    public static func list(
        in folder: String, by criterion: Criterion = .name, recursively: Bool = true
    ) throws(PictureError) -> [String] {
        var found: [String] = []
        var visited: Set<FileIdentity> = []
        var pending = [folder.count > 1 && folder.hasSuffix("/") ? String(folder.dropLast()) : folder]
        while let current = pending.popLast() {
            var about = stat()
            // Nothing but the folder asked for must exist: entries can vanish while they are listed.
            guard stat(current, &about) == 0 else {
                if current == folder { throw PictureError(path: folder, fault: .missing) }
                continue
            }
            guard visited.insert(FileIdentity(device: about.st_dev, file: about.st_ino)).inserted else { continue }
            for name in try names(in: current) {
                let path = current == "/" ? "/\(name)" : "\(current)/\(name)"
                guard stat(path, &about) == 0 else { continue }
                switch about.st_mode & S_IFMT {
                case S_IFDIR: if recursively { pending.append(path) }
                case S_IFREG: if isPicture(path, criterion) { found.append(path) }
                default: break
                }
            }
        }
        return found.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    private struct FileIdentity: Hashable {
        let device: dev_t
        let file: ino_t
    }

    private static func names(in folder: String) throws(PictureError) -> [String] {
        guard let handle = opendir(folder) else {
            throw PictureError(path: folder, fault: .unreadable(String(cString: strerror(errno))))
        }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names
    }

    private static func isPicture(_ path: String, _ criterion: Criterion) -> Bool {
        switch criterion {
        case .name:
            return hasPictureName(path)
        case .content:
            let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
            guard descriptor >= 0 else { return false }
            defer { close(descriptor) }
            var start = [UInt8](repeating: 0, count: 18)
            let count = read(descriptor, &start, start.count)
            return PictureFormat(ofFile: start.prefix(max(count, 0))) != nil
        }
    }

    /// An extension of pictures that are read, in any case.
    static func hasPictureName(_ path: String) -> Bool {
        guard let dot = path.utf8.lastIndex(of: UInt8(ascii: ".")) else { return false }
        return PictureFormat.extensions.contains(path[dot...].dropFirst().lowercased())
    }
}
