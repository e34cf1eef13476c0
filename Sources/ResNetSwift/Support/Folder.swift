// Folders: the one a file is in, the names in one, making one.

import Glibc

extension String {
    /// `a/b` of `a/b/c.csv`, `.` of `c.csv`, `/` of `/c.csv`.
    package var parentFolder: String {
        guard let slash = utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == startIndex ? "/" : String(self[..<slash])
    }

    /// The names in this folder but for `.` and `..`, in no order. nil where it cannot be opened, with the reason in `errno`.
    package func namesInFolder() -> [String]? {
        guard let folder = withFileName({ opendir($0) }) else { return nil }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(fileName: bytes.prefix { $0 != 0 })
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    /// Makes the folder of this path and those above it, if they are not there.
    package func makeFolder() throws(FileFault) {
        var made = hasPrefix("/") ? "/" : ""
        for part in split(separator: "/") {
            made += (made.isEmpty || made.hasSuffix("/") ? "" : "/") + part
            if made.withFileName({ mkdir($0, 0o777) }) != 0 && errno != EEXIST {
                throw .cannotWrite(errorText(errno))
            }
        }
        guard let about = fileStatus, about.st_mode & S_IFMT == S_IFDIR else {
            throw .cannotWrite("something else than a folder is there")
        }
    }
}
