// Pictures on disk as a network's input: which files, which transform, and what is reported while they run.

import ArgumentParser
import Glibc
import ResNetSwift

struct PictureOptions: ParsableArguments {
    @Argument(help: ArgumentHelp("Pictures (JPEG, PNG, WebP, GIF, BMP, TIFF) or folders of them.", valueName: "image"))
    var images: [String]

    @Option(
        help: ArgumentHelp(
            "How a picture becomes input: imagenet, imagenet-v2, inception, cifar, digits, or a JSON file. Default: what "
                + "the weight file says, else imagenet (cifar for CIFAR networks).",
            valueName: "name"))
    var transform: String?

    /// All files, folders opened.
    func paths() throws -> [String] {
        var paths: [String] = []
        for image in images {
            var about = stat()
            guard stat(image, &about) == 0, about.st_mode & S_IFMT == S_IFDIR else {
                paths.append(image)
                continue
            }
            let found = try PictureFiles.list(in: image)
            guard !found.isEmpty else {
                throw ToolError("\(image): expected a folder with pictures, found none")
            }
            paths += found
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

/// Runs picture files in batches; those that cannot be read are reported, counted and left out.
struct PictureRunner {
    let classifier: Classifier
    private var failures = 0

    init(_ classifier: Classifier) { self.classifier = classifier }

    /// Calls `body` with the paths and the prediction of every batch, in order.
    mutating func run(_ paths: [String], _ body: ([String], Prediction, inout Progress) throws -> Void) throws {
        var progress = Progress(total: paths.count, unit: "pictures")
        var failures = 0
        var isAnnounced = false
        try classifier.run(
            paths.map(PictureInput.file), batch: min(classifier.options.batch, paths.count)
        ) { event in
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
