// Pictures in a folder for each class, torchvision's ImageFolder:
//
//     root/cat/0001.jpg   root/cat/more/0002.png   root/dog/0001.jpg     classes: cat, dog (sorted byte by byte)
//
// Where root holds `train` and `val` (or `valid`, `validation`, `test`), those two are the splits.

import Glibc

extension Dataset {
    /// Pictures in a folder for each class: torchvision's ImageFolder.
    /// - Parameters:
    ///   - root: a folder with a folder of pictures, at any depth, for each class.
    ///   - classNames: the classes in the order of a network's logits; nil means those of the folders, sorted byte by
    ///     byte.
    /// - Throws: `DatasetError` for a folder without classes, a class without pictures, or one that is not in `classNames`.
    public static func imageFolder(_ root: String, classNames: [String]? = nil) throws(DatasetError) -> Dataset {
        let folders = try subfolders(of: root)
        guard !folders.isEmpty else {
            throw .layout(path: root, expected: "a folder for each class", found: "no folders")
        }
        let names = classNames ?? folders
        for folder in folders where !names.contains(folder) {
            throw .layout(
                path: "\(root)/\(folder)", expected: "one of the classes \(names.joined(separator: ", "))",
                found: "'\(folder)'")
        }
        var paths: [String] = []
        var labels: [Int] = []
        for (label, name) in names.enumerated() where folders.contains(name) {
            let found = try pictures(in: "\(root)/\(name)", recursively: true)
            guard !found.isEmpty || classNames != nil else {
                throw .layout(path: "\(root)/\(name)", expected: "pictures", found: "none")
            }
            paths += found
            labels += Array(repeating: label, count: found.count)
        }
        guard !paths.isEmpty else { throw .layout(path: root, expected: "pictures", found: "none") }
        let stray = try pictures(in: root, recursively: false)
        return Dataset(
            classNames: names, labels: .classes(labels), source: .files(paths),
            notes: stray.first.map { ["\(stray.count) pictures beside the class folders are not used: \($0)..."] } ?? []
        )
    }

    /// The folders `train` and `val` (or `valid`, `validation`, `test`) of a root that has both; nil otherwise.
    /// - Throws: `DatasetError.cannotRead`.
    public static func splitFolders(_ root: String) throws(DatasetError) -> (training: String, validation: String)? {
        let folders = try subfolders(of: root)
        guard folders.contains("train"),
            let second = ["val", "valid", "validation", "test"].first(where: folders.contains)
        else { return nil }
        return ("\(root)/train", "\(root)/\(second)")
    }

    private static func pictures(in folder: String, recursively: Bool) throws(DatasetError) -> [String] {
        do { return try PictureFiles.list(in: folder, recursively: recursively) } catch {
            throw .cannotRead(path: error.path, reason: error.fault.description)
        }
    }

    /// Names of the folders in a folder, sorted byte by byte; hidden ones are passed over.
    static func subfolders(of root: String) throws(DatasetError) -> [String] {
        guard let handle = opendir(root) else {
            throw .cannotRead(path: root, reason: String(cString: strerror(errno)))
        }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            var about = stat()
            guard !name.hasPrefix("."), stat("\(root)/\(name)", &about) == 0, about.st_mode & S_IFMT == S_IFDIR else {
                continue
            }
            names.append(name)
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}
