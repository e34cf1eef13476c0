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
        help: ArgumentHelp("A file with the paths of more pictures or folders, one a line; - is standard input.", valueName: "file"))
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

    /// Whether no picture is named, which is wrong usage.
    var areMissing: Bool { images.isEmpty && filesFrom == nil }

    func validate() throws {
        if null && filesFrom == nil { throw ValidationError("-0 is of --files-from.") }
        let readers = images.count { $0 == "-" } + (filesFrom == "-" ? 1 : 0)
        guard readers <= 1 else { throw ValidationError("Standard input holds one picture, or one list of files.") }
    }

    /// All pictures, folders opened.
    func inputs() throws -> [PictureInput] {
        var inputs: [PictureInput] = []
        for image in try images + listed() {
            var about = stat()
            if image == "-" && images.contains("-") {
                inputs.append(.bytes(try readStandardInput(), name: "standard input"))
            } else if stat(image, &about) == 0, about.st_mode & S_IFMT == S_IFDIR {
                let found = try PictureFiles.list(in: image)
                guard !found.isEmpty else { throw ToolError("\(image): expected a folder with pictures, found none") }
                inputs += found.map(PictureInput.file)
            } else {
                inputs.append(.file(image))
            }
        }
        return inputs
    }

    /// What --files-from lists.
    private func listed() throws -> [String] {
        guard let filesFrom else { return [] }
        let bytes = filesFrom == "-" ? try readStandardInput() : readText(filesFrom).map { Array($0.utf8) }
        guard let bytes else { throw ToolError("\(filesFrom): expected a list of files, found nothing to read") }
        let paths = bytes.split(separator: UInt8(ascii: null ? "\0" : "\n")).map { String(decoding: $0, as: UTF8.self) }
        guard !paths.isEmpty else {
            throw ToolError("\(filesFrom == "-" ? "standard input" : filesFrom): expected paths of pictures, found none")
        }
        return paths
    }

    /// The network for these pictures.
    func load(_ weights: WeightOptions, _ options: ClassifierOptions) throws -> Classifier {
        var options = options
        options.transform = try transform.map(namedTransform)
        return try weights.load(options)
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

    /// Calls `body` with the paths and the prediction of every batch, in order.
    mutating func run(_ pictures: [PictureInput], _ body: ([String], Prediction, inout Progress) throws -> Void) throws {
        let paths = pictures.map(\.name)
        var progress = Progress(total: paths.count, unit: "pictures")
        var failures = 0
        var isAnnounced = false
        try classifier.run(pictures, batch: min(classifier.options.batch, max(pictures.count, 1))) { event in
            switch event {
            case .planned(let plan):
                if !isAnnounced { Terminal.note(try classifier.announcement(plan)) }
                isAnnounced = true
            case .warning(let picture, let text):
                progress.hide()
                Terminal.warning("\(paths[picture]): \(text)")
            case .failed(_, let error):
                failures += 1
                progress.hide()
                Terminal.error("\(error)")
                progress.advance()
            case .answered(let pictures, let prediction):
                try body(pictures.map { paths[$0] }, prediction, &progress)
                progress.advance(by: pictures.count)
            }
        }
        progress.hide()
        self.failures = failures
        if failures > 0 {
            Terminal.note("\(failures) of \(paths.count) pictures could not be read")
        }
    }

    /// 2 where some pictures failed, 1 where all did.
    func finish(of count: Int) throws {
        if failures > 0 { throw ExitCode(failures == count ? 1 : 2) }
    }
}
