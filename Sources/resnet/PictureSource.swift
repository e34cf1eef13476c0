// Pictures on disk as a network's input: which files, which transform, and batches of them through a plan.

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

    /// The transform that the user asks for, else the file's, else the usual one of the model.
    func transform(for loaded: LoadedModel) throws -> ImageTransform {
        let chosen =
            try transform.map(namedTransform) ?? LoadedModel.transform(in: loaded.model, origin: loaded.origin)
            ?? loaded.usualTransform
        guard chosen.channels == loaded.inputChannels else {
            throw ToolError(
                "\(loaded.name): expected pictures of \(loaded.inputChannels) channels, but the transform yields "
                    + "\(chosen.channels); choose another with --transform")
        }
        guard !chosen.isRandom else {
            throw ToolError("\(loaded.origin): expected a transform without random steps, found one for training")
        }
        guard chosen.channels == 1 || chosen.channels == 3 else {
            throw ToolError(
                "\(loaded.name): picture files have 1 or 3 channels, the model takes \(chosen.channels); "
                    + "stack them into an array and use `resnet predict`")
        }
        return chosen
    }
}

/// A transform by name, or from a JSON file.
func namedTransform(_ name: String) throws -> ImageTransform {
    switch name {
    case "imagenet", "imagenet-v1": return .imageNetV1()
    case "imagenet-v2": return .imageNetV2()
    case "inception": return .inceptionStyle()
    case "cifar": return .cifar()
    case "digits": return .digits()
    default:
        guard let text = readText(name) else {
            throw ToolError(
                "--transform: expected imagenet, imagenet-v2, inception, cifar, digits or a JSON file, found '\(name)'")
        }
        do { return try ImageTransform(json: text) } catch { throw ToolError("\(name): \(error)") }
    }
}

/// Runs pictures in batches; files that cannot be read are reported, counted and left out.
struct PictureRunner {
    let loaded: LoadedModel
    let transform: ImageTransform
    let compute: ComputeOptions
    let batch: Int
    /// Plans by picture size, as pictures may come out of the transform with sizes of their own.
    private var plans: [Size2: InferencePlan] = [:]
    /// Other sizes than these make the oldest go.
    private static let planLimit = 4
    private(set) var failures = 0

    init(_ loaded: LoadedModel, _ transform: ImageTransform, _ compute: ComputeOptions, batch: Int) {
        self.loaded = loaded
        self.transform = transform
        self.compute = compute
        self.batch = batch
    }

    /// Calls `body` with the paths and the prediction of every batch, in order.
    mutating func run(_ paths: [String], _ body: ([String], Prediction, inout Progress) throws -> Void) throws {
        let batch = min(batch, paths.count)
        let threads = compute.threads > 0 ? compute.threads : Machine.defaultThreads
        let stream = PictureStream(
            paths, transform: transform, threads: threads, window: batch, ahead: 2 * batch + threads)
        defer { stream.stop() }
        // The weights are packed while the first pictures are decoded.
        if let size = transform.fixedOutputSize { try announce(plan(size, batch)) }

        var progress = Progress(total: paths.count, unit: "pictures")
        var waiting: [(path: String, picture: Picture)] = []
        func flush() throws {
            guard let first = waiting.first?.picture else { return }
            let plan = try plan(Size2(first.height, first.width), batch)
            let input = try PictureBatch(waiting.map(\.picture), for: transform)
            let prediction = try plan.predict(input.pixels)
            try body(waiting.map(\.path), prediction, &progress)
            progress.advance(by: waiting.count)
            waiting = []
        }
        while let next = stream.next() {
            for warning in next.warnings { report(&progress) { Terminal.warning("\(next.path): \(warning)") } }
            switch next.picture {
            case .success(let picture):
                if let first = waiting.first?.picture, first.height != picture.height || first.width != picture.width {
                    try flush()
                }
                waiting.append((next.path, picture))
                if waiting.count == batch { try flush() }
            case .failure(let error):
                failures += 1
                report(&progress) { Terminal.error("\(error)") }
                progress.advance()
            }
        }
        try flush()
        progress.hide()
        if failures > 0 {
            Terminal.note("\(failures) of \(paths.count) pictures could not be read")
        }
    }

    /// 2 where some pictures failed, 1 where all did.
    func finish(of count: Int) throws {
        if failures > 0 { throw ExitCode(failures == count ? 1 : 2) }
    }

    private func report(_ progress: inout Progress, _ message: () -> Void) {
        progress.hide()
        message()
    }

    private func announce(_ plan: InferencePlan) throws {
        Terminal.note(try loaded.announcement(plan))
    }

    private mutating func plan(_ size: Size2, _ batch: Int) throws -> InferencePlan {
        if let plan = plans[size] { return plan }
        if plans.count >= Self.planLimit { plans.removeAll() }
        let input = InputKind.bytesNHWC(scale: transform.scale, shift: transform.shift)
        let plan = try loaded.plan(size: size, batch: batch, compute, input: input)
        if transform.fixedOutputSize == nil, plans.isEmpty { try announce(plan) }
        plans[size] = plan
        return plan
    }
}
