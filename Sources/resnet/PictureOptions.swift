// Pictures on disk as a network's input: which files, which transform, and what is reported while they run.

import ArgumentParser
import Glibc
import ResNetSwift

struct PictureOptions: ParsableArguments {
    @Argument(
        help: ArgumentHelp(
            "Pictures (JPEG, PNG, WebP, GIF, BMP, TIFF) or folders of them; - is a picture on standard input.",
            valueName: "image"))
    var images: [String] = []

    @Option(
        help: ArgumentHelp(
            "A file with the paths of more pictures or folders, one a line; - is standard input.", valueName: "file"))
    var filesFrom: String?

    @Flag(
        name: [.customShort("0"), .long],
        help: "The paths of --files-from end with a NUL, as those of find -print0, instead of a line's end.")
    var null = false

    @Option(
        help: ArgumentHelp(
            "How a picture becomes input: imagenet, imagenet-v2, inception, cifar, digits, or a JSON file. Default: what "
                + "the weight file says, else imagenet (cifar for CIFAR networks).",
            valueName: "name"))
    var transform: String?

    @Option(
        help: ArgumentHelp(
            "Size of the pictures that the network sees, 288 or HEIGHTxWIDTH; other sizes of the transform are scaled along.",
            valueName: "size"))
    var size: PictureSize?

    /// Whether no picture is named, which is wrong usage.
    var areMissing: Bool { images.isEmpty && filesFrom == nil }

    func validate() throws {
        if null && filesFrom == nil { throw ValidationError("-0 is of --files-from.") }
        let readers = images.count { $0 == "-" } + (filesFrom == "-" ? 1 : 0)
        guard readers <= 1 else { throw ValidationError("Standard input holds one picture, or one list of files.") }
    }

    /// All pictures, folders opened, and what in them cannot be read.
    func find() throws -> FoundPictures {
        var found = FoundPictures()
        for image in try images + listed() {
            if image == "-" && images.contains("-") {
                found.pictures.append(.bytes(try readStandardInput(), name: "standard input"))
                continue
            }
            do throws(PictureError) {
                switch fileKind(image) {
                case S_IFDIR:
                    let listing = try PictureFiles.search(image)
                    if let others = listing.othersInWords {
                        Terminal.note("\(image): no pictures, passed over: \(others)")
                    }
                    found.pictures += listing.pictures.map(PictureInput.file)
                    found.skipped += listing.unread
                    if listing.pictures.isEmpty && listing.unread.isEmpty { found.emptyFolders.append(image) }
                // A picture may come through a pipe: `<(curl ...)`, `/dev/stdin`.
                case S_IFIFO: found.pictures.append(.bytes(try readPipe(image), name: image))
                default: found.pictures.append(.file(image))
                }
            } catch { found.skipped.append(SkippedFile(path: image, reason: error.fault.description)) }
        }
        if let folder = found.emptyFolders.first {
            throw ToolError("\(folder): expected a folder with pictures, found none")
        }
        return found
    }

    /// What --files-from lists.
    private func listed() throws -> [String] {
        guard let filesFrom else { return [] }
        let bytes = filesFrom == "-" ? try readStandardInput() : readText(filesFrom).map { Array($0.utf8) }
        guard let bytes else { throw ToolError("\(filesFrom): expected a list of files, found nothing to read") }
        let paths = bytes.split(separator: UInt8(ascii: null ? "\0" : "\n")).map { String(decoding: $0, as: UTF8.self) }
        guard !paths.isEmpty else {
            throw ToolError(
                "\(filesFrom == "-" ? "standard input" : filesFrom): expected paths of pictures, found none")
        }
        return paths
    }

    /// The network for these pictures.
    func load(_ weights: WeightOptions, _ options: ClassifierOptions) throws -> Classifier {
        var options = options
        options.inputSize = size?.size
        options.transform = try transform.map(namedTransform)
        return try weights.load(options)
    }
}

/// Pictures that the user named or that were found in folders.
struct FoundPictures {
    var pictures: [PictureInput] = []
    /// Pictures of kinds that are not read, folders that cannot be searched.
    var skipped: [SkippedFile] = []
    fileprivate var emptyFolders: [String] = []

    var names: [String] { pictures.map(\.name) }
    var count: Int { pictures.count + skipped.count }
}

/// `S_IFREG` and so on; nil where there is nothing.
func fileKind(_ path: String) -> mode_t? {
    path.fileStatus.map { $0.st_mode & S_IFMT }
}

/// The file of a picture that comes through a pipe.
private func readPipe(_ path: String) throws(PictureError) -> [UInt8] {
    // Opening a named pipe again waits for another writer: what is open already is used as it is.
    let prefixes = ["/dev/fd/", "/proc/self/fd/"]
    let number =
        path == "/dev/stdin"
        ? 0 : prefixes.lazy.compactMap { path.hasPrefix($0) ? Int32(path.dropFirst($0.count)) : nil }.first
    let descriptor = number.map { dup($0) } ?? path.withFileName { open($0, O_RDONLY | O_CLOEXEC) }
    func failed() -> PictureError {
        PictureError(path: path, fault: .unreadable(String(cString: strerror(errno))))
    }
    guard descriptor >= 0 else { throw failed() }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count < 0 && errno == EINTR { continue }
        if count < 0 { throw failed() }
        if count == 0 { return bytes }
        bytes += chunk[..<count]
        guard bytes.count <= Picture.fileLimit else {
            throw PictureError(
                path: path, fault: .tooLarge("more than \(Picture.fileLimit) bytes came through the pipe"))
        }
    }
}

/// A transform by name, or from a JSON file.
func namedTransform(_ name: String) throws -> ImageTransform {
    if let known = ImageTransform(named: name) { return known }
    guard let text = readText(name) else {
        throw ToolError(
            "--transform: expected imagenet, imagenet-v2, inception, cifar, digits or a JSON file, found '\(name)'")
    }
    do { return try ImageTransform(json: text) } catch { throw ToolError("\(name): \(error)") }
}

/// All of it, to the end.
private func readStandardInput() throws -> [UInt8] {
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = read(STDIN_FILENO, &part, part.count)
        if count == 0 { return bytes }
        if count > 0 {
            bytes += part[..<count]
        } else if errno != EINTR {
            throw ToolError("standard input: \(String(cString: strerror(errno)))")
        }
        // Larger than any picture that is read.
        guard bytes.count <= 1 << 31 else { throw ToolError("standard input: expected at most 2 GiB, found more") }
    }
}

/// Runs pictures in batches; those that cannot be read are reported, counted and left out.
struct PictureRunner {
    let classifier: Classifier
    private var failures = 0

    init(_ classifier: Classifier) { self.classifier = classifier }

    /// Calls `body` with the paths and the prediction of every batch, in order, and `skip` with what has none.
    mutating func run(
        _ found: FoundPictures, skip: (SkippedFile) -> Void = { _ in },
        _ body: ([String], Prediction, inout Progress) throws -> Void
    ) throws {
        let paths = found.names
        var progress = Progress(total: paths.count, unit: "pictures")
        var failures = 0
        var isAnnounced = false
        func failed(_ file: SkippedFile) {
            failures += 1
            Terminal.error("\(file.path): \(file.reason)")
            skip(file)
        }
        for file in found.skipped { failed(file) }
        try classifier.run(
            found.pictures, batch: max(min(classifier.options.batch, paths.count), 1)
        ) { event in
            switch event {
            case .planned(let plan):
                if !isAnnounced { Terminal.note(try classifier.announcement(plan)) }
                isAnnounced = true
            case .warning(let picture, let text):
                progress.hide()
                Terminal.warning("\(paths[picture]): \(text)")
            case .failed(_, let error):
                progress.hide()
                failed(SkippedFile(path: error.path, reason: error.fault.description))
                progress.advance()
            case .answered(let pictures, let prediction):
                try body(pictures.map { paths[$0] }, prediction, &progress)
                progress.advance(by: pictures.count)
            }
        }
        progress.hide()
        self.failures = failures
        if failures > 0 {
            Terminal.note("\(failures) of \(found.count) pictures could not be read")
        }
    }

    /// 2 where some pictures failed, 1 where all did.
    /// - Parameter others: failures that the caller has seen.
    func finish(of count: Int, others: Int = 0) throws {
        let failures = failures + others
        if failures > 0 { throw ExitCode(failures == count ? 1 : 2) }
    }
}
