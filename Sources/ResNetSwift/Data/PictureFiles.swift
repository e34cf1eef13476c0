// The picture files of a folder.

import Glibc
import ResNetSupport

/// Finds pictures on disk.
public enum PictureFiles {
    /// How a file is recognized as a picture.
    public enum Criterion: Sendable, Hashable {
        /// The extension, in any case. Opens no file, and finds damaged pictures too.
        case name
        /// The first bytes: opens every file, and finds pictures whatever they are called.
        case content
    }

    /// The pictures below a folder, as `search` finds them, without what it passes over.
    /// - Returns: paths that begin with `folder`, sorted byte by byte, so the same on every machine.
    /// - Throws: `PictureError` for a folder that cannot be listed.
    public static func list(
        in folder: String, by criterion: Criterion = .name, recursively: Bool = true
    ) throws(PictureError) -> [String] {
        try search(folder, by: criterion, recursively: recursively).pictures
    }

    /// Everything below a folder, with subfolders unless told otherwise. Hidden files and folders (".git", "._a.jpg") and
    /// those that systems leave behind ("__MACOSX", "Thumbs.db") are skipped; links are followed, but no folder is visited
    /// twice. A folder inside that cannot be listed is noted, and the others are searched.
    /// - Throws: `PictureError` where `folder` itself cannot be listed.
    public static func search(
        _ folder: String, by criterion: Criterion = .name, recursively: Bool = true
    ) throws(PictureError) -> PictureListing {
        var found = PictureListing()
        var visited: Set<FileIdentity> = []
        let root = folder.count > 1 && folder.hasSuffix("/") ? String(folder.dropLast()) : folder
        guard status(root) != nil else { throw PictureError(path: folder, fault: .missing) }
        var pending = [root]
        while let current = pending.popLast() {
            guard let about = status(current) else { continue }  // it vanished meanwhile
            guard visited.insert(FileIdentity(device: about.st_dev, file: about.st_ino)).inserted else { continue }
            let names: [String]
            do throws(PictureError) { names = try Self.names(in: current) } catch {
                if current == root { throw error }
                found.unread.append(SkippedFile(path: current, reason: error.fault.description))
                continue
            }
            for name in names {
                let path = current == "/" ? "/\(name)" : "\(current)/\(name)"
                guard let about = status(path) else {
                    noteUnreachable(path, errno, in: &found)
                    continue
                }
                switch about.st_mode & S_IFMT {
                case S_IFDIR: if recursively { pending.append(path) }
                case S_IFREG: add(path, criterion, to: &found)
                default: break
                }
            }
        }
        found.pictures.sort { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        found.unread.sort { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        return found
    }

    private struct FileIdentity: Hashable {
        let device: dev_t
        let file: ino_t
    }

    static func status(_ path: String) -> stat? {
        var about = stat()
        return path.withFileName { stat($0, &about) } == 0 ? about : nil
    }

    static func isFile(_ path: String) -> Bool { status(path).map { $0.st_mode & S_IFMT == S_IFREG } ?? false }

    /// A picture that is a link to nowhere, an endless link, a name too long, what lies in a folder that may not be entered.
    private static func noteUnreachable(_ path: String, _ code: Int32, in found: inout PictureListing) {
        guard hasPictureName(path) || code != ENOENT else { return }
        found.unread.append(SkippedFile(path: path, reason: "cannot be read: \(errorText(code))"))
    }

    private static func add(_ path: String, _ criterion: Criterion, to found: inout PictureListing) {
        let kind = path.fileExtension
        if criterion == .name ? PictureFormat.extensions.contains(kind) : hasPictureContent(path) {
            found.pictures.append(path)
        } else if PictureFormat.otherExtensions.contains(kind) {
            found.unread.append(
                SkippedFile(path: path, reason: "pictures of the kind .\(kind) are not read: convert it first"))
        } else {
            found.others[kind, default: 0] += 1
        }
    }

    /// What systems and tools put beside everybody's files.
    private static let leftovers: Set<String> = [
        "__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information", "lost+found",
        "__pycache__",
    ]

    /// The names in a folder, but for hidden ones and leftovers.
    static func names(in folder: String) throws(PictureError) -> [String] {
        guard let names = folder.namesInFolder() else {
            throw PictureError(path: folder, fault: .unreadable(errorText(errno)))
        }
        return names.filter { !$0.hasPrefix(".") && !leftovers.contains($0.lowercased()) }
    }

    private static func hasPictureContent(_ path: String) -> Bool {
        let descriptor = path.withFileName { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var start = [UInt8](repeating: 0, count: 18)
        let count = read(descriptor, &start, start.count)
        return PictureFormat(ofFile: start.prefix(max(count, 0))) != nil
    }

    /// An extension of pictures that are read, in any case.
    static func hasPictureName(_ path: String) -> Bool { PictureFormat.extensions.contains(path.fileExtension) }
}
