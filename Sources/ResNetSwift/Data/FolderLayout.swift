// How people lay out pictures of classes in folders, recognized from names and from what is where:
//
//     root/cat/1.jpg  root/dog/2.jpg                          classes
//     root/root/cat/1.jpg                                     a folder in a folder, as archives unpack: classes below
//     root/train/cat/1.jpg  root/val/cat/2.jpg  root/test/... parts, by any usual name
//     root/seg_train/seg_train/cat/1.jpg  root/seg_test/...   both
//
// What fits several of these, or none, is refused with what was seen: a classifier of `train` against `val` is worthless.

import Glibc
import ResNetSupport

/// A part of a data set, as the names of folders and arrays say it.
enum DatasetPart: Int, Sendable, CaseIterable {
    case training, validation, test

    /// Words that stand for a part, in lower case.
    private static let partWords: [String: DatasetPart] = {
        var words: [String: DatasetPart] = [:]
        for (part, stems) in [
            (DatasetPart.training, ["train", "training", "trn"]),
            (.validation, ["val", "valid", "validation", "dev", "eval"]),
            (.test, ["test", "testing", "tst", "holdout"]),
        ] {
            for stem in stems { for end in ["", "set", "data", "dir"] { words[stem + end] = part } }
        }
        return words
    }()

    /// Words beside them that mean nothing.
    private static let fillers: Set<String> = [
        "set", "seg", "data", "dataset", "image", "images", "img", "imgs", "picture", "pictures", "photo", "photos",
        "split",
        "folder", "dir", "new", "final",
    ]

    /// The part that a name stands for, and what else is in it: `asl_alphabet_train` is (training, "asl alphabet"). nil where
    /// no word, or more than one, names a part.
    static func named(_ name: String) -> (part: DatasetPart, rest: String)? {
        let tokens = words(of: name)
        let parts = tokens.compactMap { partWords[$0] }
        guard parts.count == 1 else { return nil }
        let rest = tokens.filter { partWords[$0] == nil && !fillers.contains($0) && Int($0) == nil }
        return (parts[0], rest.joined(separator: " "))
    }

    /// `PublicTest_2017`, `train2017`: public test 2017, train 2017.
    static func words(of name: String) -> [String] {
        var words: [String] = []
        var word = ""
        var last: Character = " "
        for character in name {
            let isInside = character.isLetter || character.isNumber
            if !isInside || last.isLowercase && character.isUppercase || last.isLetter && character.isNumber {
                if !word.isEmpty { words.append(word.lowercased()) }
                word = ""
            }
            if isInside { word.append(character) }
            last = character
        }
        if !word.isEmpty { words.append(word.lowercased()) }
        return words
    }

    /// For messages.
    var name: String {
        switch self {
        case .training: "training"
        case .validation: "validation"
        case .test: "test"
        }
    }
}

/// Where the pictures of a data set's classes are.
struct ClassFolders: Sendable {
    /// The folder that holds them: the one that was given, or one further down.
    let root: String
    /// Sorted byte by byte. Spellings of one name that differ in bytes only (é as one character or two) are one class.
    let classes: [(name: String, folders: [String])]
    /// Folders that every class has in it.
    let inside: [String]
    let notes: [String]

    private static let deepest = 8

    /// - Parameters:
    ///   - known: the classes of a network; a folder by such a name is a class, even where it is the only one.
    ///   - inner: the folder in that of each class which holds the pictures: `train` where there is `cat/train`.
    init(_ given: String, known: [String]?, inner: String? = nil) throws(DatasetError) {
        var root = given
        var folders = try Self.subfolders(of: root)
        var depth = 0
        // A folder in a folder, which holds the classes.
        while folders.count == 1, depth < Self.deepest, known?.contains(folders[0]) != true {
            let only = "\(root)/\(folders[0])"
            let below = try Self.subfolders(of: only)
            guard !below.isEmpty, try Self.hasNoPictures(root), try Self.hasNoPictures(only) else { break }
            (root, folders) = (only, below)
            depth += 1
        }
        self.root = root
        var names: [String] = []
        var byName: [String: [String]] = [:]  // a String equals its other spellings
        for folder in folders {
            let name = Self.className(folder)
            if byName[name] == nil { names.append(name) }
            byName[name, default: []].append(inner.map { "\(folder)/\($0)" } ?? folder)
        }
        classes = names.map { ($0, byName[$0]!) }
        var notes = root == given ? [] : ["\(given): the classes are in \(root)"]
        for (name, folders) in classes where folders.count > 1 {
            notes.append("\(root): \(folders.count) folders spell '\(name)' with different bytes and are one class")
        }
        let inside = try Self.sameFolders(in: root, classes.map(\.folders[0]))
        self.inside = inside
        if !inside.isEmpty {
            let list = classes.prefix(3).map(\.name).joined(separator: ", ") + (classes.count > 3 ? "..." : "")
            notes.append(
                "\(root): the classes are \(list); each has the same folders in it: "
                    + inside.prefix(5).joined(separator: ", ") + (inside.count > 5 ? "..." : ""))
        }
        self.notes = notes
    }

    /// The folders that every class has in it, such as `cat, dog`: perhaps those are the classes. None where they differ.
    private static func sameFolders(in root: String, _ folders: [String]) throws(DatasetError) -> [String] {
        guard folders.count > 1 else { return [] }
        var common: [String] = []
        for (position, folder) in folders.enumerated() {
            let inner = try? subfolders(of: "\(root)/\(folder)")
            if position == 0 { common = inner ?? [] }
            guard common.count > 1, inner == common else { return [] }
        }
        return common
    }

    /// A name that text files can hold.
    private static func className(_ folder: String) -> String {
        guard folder.hasRawBytes else { return folder }
        var name = ""
        for scalar in folder.unicodeScalars {
            if let byte = String.rawByte(scalar) {
                name += "\\x" + String(byte, radix: 16)
            } else {
                name.unicodeScalars.append(scalar)
            }
        }
        return name
    }

    /// Names of the folders in a folder, sorted byte by byte; hidden ones and leftovers are passed over.
    static func subfolders(of root: String) throws(DatasetError) -> [String] {
        let names: [String]
        do throws(PictureError) { names = try PictureFiles.names(in: root) } catch {
            if case .unreadable(let reason) = error.fault { throw .cannotRead(path: root, reason: reason) }
            throw .cannotRead(path: root, reason: error.fault.description)
        }
        return names.filter { name in
            PictureFiles.status("\(root)/\(name)").map { $0.st_mode & S_IFMT == S_IFDIR } ?? false
        }.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// No pictures directly in it.
    static func hasNoPictures(_ folder: String) throws(DatasetError) -> Bool {
        try pictureCount(folder) == 0
    }

    static func pictureCount(_ folder: String) throws(DatasetError) -> Int {
        do throws(PictureError) { return try PictureFiles.list(in: folder, recursively: false).count } catch {
            throw .cannotRead(path: folder, reason: error.fault.description)
        }
    }
}

/// The folders of a data set's parts.
struct PartFolders: Sendable {
    let training: String
    let validation: String?
    let test: String?
    let notes: [String]

    /// nil where the folder does not consist of parts.
    init?(_ root: String) throws(DatasetError) {
        let folders = try ClassFolders.subfolders(of: root)
        guard let (found, areSeveral) = try Self.parts(among: folders, in: root) else { return nil }
        func folder(_ part: DatasetPart) throws(DatasetError) -> String? {
            let names = found.filter { $0.part == part }.map(\.name)
            guard names.count < 2 else {
                throw .layout(
                    path: root, expected: "one folder for the \(part.name) pictures",
                    found: names.joined(separator: ", "))
            }
            return names.first.map { "\(root)/\($0)" }
        }
        guard let training = try folder(.training) else {
            throw .layout(
                path: root, expected: "a folder for training beside \(found.map(\.name).joined(separator: " and "))",
                found: folders.joined(separator: ", "))
        }
        self.training = training
        var notes: [String] = []
        validation = try folder(.validation)
        var test = try folder(.test)
        for part in [training, validation].compactMap({ $0 }) {
            let count = try Self.unsortedPictures(part)
            guard count == 0 else {
                throw .layout(
                    path: part, expected: "a folder for each class",
                    found:
                        "\(count) pictures and no folders; a table with the columns path and label can name their classes"
                )
            }
        }
        if let path = test, case let count = try Self.unsortedPictures(path), count > 0 {
            notes.append("\(path): \(count) pictures without classes are not used")
            test = nil
        }
        self.test = test
        let unused = folders.filter { name in !found.contains { $0.name == name } }
        if !unused.isEmpty { notes.append("\(root): not used: \(unused.joined(separator: ", "))") }
        if !areSeveral { notes.append("\(root): the pictures are those of \(training)") }
        self.notes = notes
    }

    /// Pictures of a folder that has no folders.
    private static func unsortedPictures(_ folder: String) throws(DatasetError) -> Int {
        try ClassFolders.subfolders(of: folder).isEmpty ? ClassFolders.pictureCount(folder) : 0
    }

    /// The folders whose names make parts of one data set, and whether there are several; nil where there are none.
    private static func parts(
        among folders: [String], in root: String
    ) throws(DatasetError) -> (found: [(part: DatasetPart, name: String)], areSeveral: Bool)? {
        let named = folders.compactMap { name in
            DatasetPart.named(name).map { (part: $0.part, rest: $0.rest, name: name) }
        }
        let groups = Dictionary(grouping: named, by: \.rest)
        let several = groups.values.filter { Set($0.map(\.part)).count > 1 }
        guard several.count < 2 else {
            throw .layout(
                path: root, expected: "the parts of one data set", found: named.map(\.name).joined(separator: ", "))
        }
        if let group = several.first { return (group.map { ($0.part, $0.name) }, true) }
        // `train` alone: its folders are the classes, unless it is a class among others like it.
        guard let lone = named.first, named.count == 1, lone.part == .training, lone.rest.isEmpty else { return nil }
        let path = "\(root)/\(lone.name)"
        guard try ClassFolders.subfolders(of: path).count > 1, try ClassFolders.hasNoPictures(path) else { return nil }
        for other in folders where other != lone.name {
            guard try ClassFolders.subfolders(of: "\(root)/\(other)").isEmpty else { return nil }
        }
        return ([(lone.part, lone.name)], false)
    }
}
