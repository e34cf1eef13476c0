// Pictures in a folder for each class, torchvision's ImageFolder:
//
//     root/cat/0001.jpg   root/cat/more/0002.png   root/dog/0001.jpg     classes: cat, dog (sorted byte by byte)
//
// FolderLayout.swift says how folders are recognized that have parts for training and validation.

import ResNetSupport

/// The parts of a data set: what to train on, and what was kept apart.
public struct DatasetParts: Sendable {
    /// What to train on; all there is where the data do not come in parts.
    public let training: Dataset
    /// What training is watched by: the part for validation, or for test where there is only that; nil where there is none.
    public let validation: Dataset?
    /// What the result is judged by: the part for test where there is one for validation too.
    public let test: Dataset?

    public init(training: Dataset, validation: Dataset? = nil, test: Dataset? = nil) {
        self.training = training
        self.validation = validation
        self.test = test
    }
}

extension Dataset {
    /// Pictures in a folder for each class: torchvision's ImageFolder.
    /// - Parameters:
    ///   - root: a folder with a folder of pictures, at any depth, for each class; or a folder that holds nothing but that.
    ///   - classNames: the classes in the order of a network's logits; nil means those of the folders, sorted byte by
    ///     byte.
    /// - Throws: `DatasetError` for a folder with fewer than two classes, a class without pictures, or one that is not in
    ///   `classNames`.
    public static func imageFolder(_ root: String, classNames: [String]? = nil) throws(DatasetError) -> Dataset {
        try imageFolder(try ClassFolders(root, known: classNames), classNames)
    }

    private static func imageFolder(_ layout: ClassFolders, _ classNames: [String]?) throws(DatasetError) -> Dataset {
        let names = classNames ?? layout.classes.map(\.name)
        try check(layout, names, isKnown: classNames != nil)
        var all = PictureListing()
        var labels: [Int] = []
        var missing: [String] = []
        for (label, name) in names.enumerated() {
            let folders = (layout.classes.first { $0.name == name }?.folders ?? []).map { "\(layout.root)/\($0)" }
            var ofClass = PictureListing()
            for folder in folders { ofClass.add(try listing(of: folder, recursively: true)) }
            if ofClass.pictures.isEmpty {
                let isUnreadable = ofClass.unread.contains { folders.contains($0.path) }
                guard classNames != nil || isUnreadable else {
                    throw .layout(
                        path: "\(layout.root)/\(name)", expected: "pictures",
                        found: "none" + (ofClass.unreadInWords.map { "; not read: \($0)" } ?? ""))
                }
                missing.append(name)
            }
            labels += Array(repeating: label, count: ofClass.pictures.count)
            all.add(ofClass)
        }
        guard !all.pictures.isEmpty else { throw .layout(path: layout.root, expected: "pictures", found: "none") }
        return Dataset(
            classNames: names, labels: .classes(labels), source: .files(all.pictures),
            notes: layout.notes + (try notes(layout, all, missing: missing)), skipped: all.unread)
    }

    private static func check(
        _ layout: ClassFolders, _ names: [String], isKnown: Bool
    ) throws(DatasetError) {
        guard !layout.classes.isEmpty else {
            let count = try ClassFolders.pictureCount(layout.root)
            throw .layout(
                path: layout.root, expected: "a folder for each class",
                found: count == 0 ? "no folders" : "no folders, but \(count) pictures")
        }
        guard isKnown || layout.classes.count > 1 else {
            throw .layout(
                path: layout.root, expected: "folders for two classes or more",
                found: "one, '\(layout.classes[0].name)'")
        }
        for (name, folders) in layout.classes where !names.contains(name) {
            throw .layout(
                path: "\(layout.root)/\(folders[0])",
                expected:
                    "one of the classes \(names.prefix(20).joined(separator: ", "))\(names.count > 20 ? "..." : "")",
                found: "'\(name)'")
        }
    }

    private static func notes(
        _ layout: ClassFolders, _ found: PictureListing, missing: [String]
    ) throws(DatasetError) -> [String] {
        var notes: [String] = []
        let stray = try listing(of: layout.root, recursively: false).pictures
        if let first = stray.first {
            notes.append("\(stray.count) pictures beside the class folders are not used: \(first)...")
        }
        if let others = found.othersInWords { notes.append("\(layout.root): no pictures, passed over: \(others)") }
        if let unread = found.unreadInWords { notes.append("\(layout.root): pictures that are not read: \(unread)") }
        if !missing.isEmpty {
            let list = missing.prefix(5).joined(separator: ", ") + (missing.count > 5 ? "..." : "")
            notes.append("\(layout.root): no pictures of \(missing.count) of the classes: \(list)")
        }
        return notes
    }

    private static func listing(of folder: String, recursively: Bool) throws(DatasetError) -> PictureListing {
        do throws(PictureError) { return try PictureFiles.search(folder, recursively: recursively) } catch {
            // A class that may not be read is left out; the others are there.
            if recursively, case .unreadable = error.fault {
                var listing = PictureListing()
                listing.unread = [SkippedFile(path: folder, reason: error.fault.description)]
                return listing
            }
            throw .cannotRead(path: error.path, reason: error.fault.description)
        }
    }

    /// Pictures in folders of classes, in parts for training, validation and test where the folder has such: `train` and
    /// `val`, `Training` and `Testing`, `seg_train` and `seg_test`, by any usual name. The classes are those of the training
    /// part.
    /// - Throws: `DatasetError`, as `imageFolder`, and for parts that cannot be recognized.
    public static func imageFolders(
        _ root: String, classNames: [String]? = nil
    ) throws(DatasetError) -> DatasetParts {
        guard let parts = try parts(of: root) else { return try classesInParts(root, classNames) }
        let training = try imageFolder(parts.training, classNames: classNames).adding(notes: parts.notes)
        func part(_ folder: String?) throws(DatasetError) -> Dataset? {
            guard let folder else { return nil }
            return try imageFolder(folder, classNames: training.classNames)
        }
        return DatasetParts(
            training: training, validation: try part(parts.validation ?? parts.test),
            test: parts.validation == nil ? nil : try part(parts.test))
    }

    /// Classes that have a folder for each part in them, `cat/train/1.jpg` and `cat/val/2.jpg`, or no parts at all.
    private static func classesInParts(_ root: String, _ classNames: [String]?) throws(DatasetError) -> DatasetParts {
        let layout = try ClassFolders(root, known: classNames)
        var folders: [DatasetPart: String] = [:]
        for name in layout.inside {
            guard let part = DatasetPart.named(name)?.part, folders.updateValue(name, forKey: part) == nil else {
                folders = [:]
                break
            }
        }
        guard let inner = folders[.training], folders.count > 1 else {
            return DatasetParts(training: try imageFolder(layout, classNames))
        }
        let training = try imageFolder(ClassFolders(root, known: classNames, inner: inner), classNames)
        func part(_ part: DatasetPart) throws(DatasetError) -> Dataset? {
            guard let inner = folders[part] else { return nil }
            let names = training.classNames
            return try imageFolder(ClassFolders(root, known: names, inner: inner), names)
        }
        let validation = try part(.validation)
        let test = try part(.test)
        return DatasetParts(training: training, validation: validation ?? test, test: validation == nil ? nil : test)
    }

    /// The folders for training and validation of a root that has both, by any usual name (`test` where there is no other);
    /// nil otherwise.
    /// - Throws: `DatasetError`.
    public static func splitFolders(_ root: String) throws(DatasetError) -> (training: String, validation: String)? {
        guard let parts = try parts(of: root), let second = parts.validation ?? parts.test else { return nil }
        return (parts.training, second)
    }

    /// The parts of a folder, or of the one folder in it, as archives unpack.
    private static func parts(of root: String) throws(DatasetError) -> PartFolders? {
        var folder = root
        for _ in 0..<3 {
            if let parts = try PartFolders(folder) { return parts }
            let inner = try ClassFolders.subfolders(of: folder)
            guard inner.count == 1, try ClassFolders.hasNoPictures(folder) else { return nil }
            folder += "/\(inner[0])"
        }
        return nil
    }
}
