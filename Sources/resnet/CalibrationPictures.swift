// The pictures of `resnet quantize`: read once, kept as bytes.

import ResNetSwift

/// The pictures that scales are chosen by, as a plan takes them.
struct CalibrationPictures {
    let input: InputKind
    let shape: ImageShape
    /// Each (H, W, C) bytes.
    private let pictures: [[UInt8]]
    /// That could not be read.
    let failures: Int

    var count: Int { pictures.count }

    init(_ path: String, for loaded: Classifier, limit: Int) throws {
        let transform = loaded.transform
        guard let size = transform.fixedOutputSize, !transform.isRandom, transform.channels == loaded.inputChannels
        else {
            throw ToolError(
                "\(loaded.name): expected a transform to \(loaded.inputChannels) channels and one size, without random steps; "
                    + "choose another with --transform")
        }
        input = .bytesNHWC(scale: transform.scale, shift: transform.shift)
        shape = ImageShape(channels: transform.channels, height: size.height, width: size.width)
        if path.hasSuffix(".npz") {
            (pictures, failures) = (try Self.arrays(path, transform, limit), 0)
        } else {
            (pictures, failures) = try Self.files(path, loaded, limit)
        }
        guard !pictures.isEmpty else { throw ToolError("\(path): expected pictures to choose scales by, found none") }
    }

    /// `limit` of `count`, evenly.
    private static func chosen(_ count: Int, _ limit: Int) -> [Int] {
        let taken = min(count, limit)
        return (0..<taken).map { $0 * count / taken }
    }

    private static func files(_ path: String, _ loaded: Classifier, _ limit: Int) throws -> ([[UInt8]], failures: Int) {
        let found = try PictureOptions.parse([path]).find()
        var pictures: [[UInt8]] = []
        var failures = found.skipped.count
        for file in found.skipped { Terminal.error("\(file.path): \(file.reason)") }
        try loaded.read(chosen(found.pictures.count, limit).map { found.pictures[$0] }) { _, picture in
            switch picture {
            case .success(let picture): pictures.append(try PictureBatch([picture], for: loaded.transform).pixels)
            case .failure(let error):
                failures += 1
                Terminal.error("\(error)")
            }
        }
        return (pictures, failures)
    }

    /// Those to train on.
    private static func arrays(_ path: String, _ transform: ImageTransform, _ limit: Int) throws -> [[UInt8]] {
        let dataset = try Dataset.arrays(npz: path).training
        guard !dataset.isFloats else {
            throw ToolError("\(path): expected pictures of bytes, found floats")
        }
        let loader = try BatchLoader(dataset.all, LoaderSettings(batchSize: 1, transform: transform))
        let wanted = Set(chosen(dataset.count, limit))
        var pictures: [[UInt8]] = []
        let stream = loader.batches(epoch: 0)
        while let loaded = stream.nextBatch() {
            guard wanted.contains(loaded.index), case .pictures(let batch)? = loaded.batch?.input else { continue }
            pictures.append(batch.pixels)
        }
        return pictures
    }

    func forEachBatch(_ batch: Int, _ body: (UnsafeRawPointer, Int) throws -> Void) throws {
        for start in stride(from: 0, to: pictures.count, by: batch) {
            let part = pictures[start..<min(start + batch, pictures.count)]
            try Array(part.joined()).withUnsafeBytes { try body($0.baseAddress!, part.count) }
        }
    }
}
