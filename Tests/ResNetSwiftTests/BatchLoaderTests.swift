// Batches: what they hold does not depend on threads, timing or where the epoch was begun; faults are skipped and told.

import ResNetSwift
import XCTest

final class BatchLoaderTests: XCTestCase {
    private let augmenting = ImageTransform(steps: [
        .randomResizedCrop(8), .randomHorizontalFlip(), .colorJitter(brightness: 0.4), .toFloat,
        .normalize(mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]),
    ])

    private func images(_ count: Int, size: Int = 12) -> Dataset {
        let picture = PictureFixtures.pattern(height: size * count, width: size, channels: 3, seed: 3)
        return Dataset(
            classNames: ["a", "b", "c"], labels: .classes((0..<count).map { $0 % 3 }),
            source: .pictures(
                ByteImages(count: count, height: size, width: size, channels: 3, pixels: picture.pixels)))
    }

    private struct Content: Equatable {
        var samples: [Int] = []
        var pixels: [UInt8] = []
        var floats: [Float] = []
        var labels: [Float] = []
    }

    private func content(_ batch: LoadedBatch) -> Content {
        var result = Content(samples: batch.samples)
        switch batch.batch?.input {
        case .pictures(let pictures)?: result.pixels = pictures.pixels
        case .floats(let tensor)?: result.floats = tensor.values
        default: break
        }
        switch batch.batch?.labels {
        case .classes(let labels)?: result.labels = labels.map(Float.init)
        case .probabilities(let rows)?, .multiHot(let rows)?: result.labels = rows.values
        default: break
        }
        return result
    }

    private func epoch(_ loader: BatchLoader, _ epoch: Int, from first: Int = 0) -> [Content] {
        let stream = loader.batches(epoch: epoch, from: first)
        var contents: [Content] = []
        while let batch = stream.nextBatch() {
            XCTAssertEqual(batch.index, first + contents.count)
            contents.append(content(batch))
        }
        return contents
    }

    private func loader(_ dataset: Dataset, threads: Int, mixing: BatchMixing? = nil, seed: UInt64 = 1) throws
        -> BatchLoader
    {
        try BatchLoader(
            dataset.all,
            LoaderSettings(
                batchSize: 4, transform: augmenting, order: .shuffled, mixing: mixing, seed: seed, threads: threads,
                prefetch: 2))
    }

    func testBatchesDependOnSeedAndEpochAlone() throws {
        let data = images(21)
        let one = try loader(data, threads: 1)
        let three = try loader(data, threads: 3)
        let first = epoch(one, 0)
        XCTAssertEqual(first.map(\.samples.count), [4, 4, 4, 4, 4, 1])
        XCTAssertEqual(Set(first.flatMap(\.samples)).count, 21)
        for round in 0..<3 { XCTAssertEqual(epoch(three, 0), first, "round \(round)") }
        XCTAssertEqual(epoch(three, 0, from: 2), Array(first[2...]))
        XCTAssertEqual(epoch(three, 0, from: 6), [])
        XCTAssertNotEqual(epoch(one, 1), first)
        XCTAssertNotEqual(epoch(try loader(data, threads: 1, seed: 2), 0), first)
        // The same sample of another epoch is augmented otherwise.
        let again = epoch(one, 1)
        func pixels(_ contents: [Content], of sample: Int) -> [UInt8] {
            for batch in contents {
                if let place = batch.samples.firstIndex(of: sample) {
                    return Array(batch.pixels[place * 192..<(place + 1) * 192])
                }
            }
            return []
        }
        XCTAssertNotEqual(pixels(first, of: 5), pixels(again, of: 5))
    }

    func testMixedBatchesDependOnSeedAndEpochAlone() throws {
        let mixing = BatchMixing(mixup: 0.4, cutmix: 1)
        let first = epoch(try loader(images(10), threads: 1, mixing: mixing), 3)
        XCTAssertEqual(epoch(try loader(images(10), threads: 3, mixing: mixing), 3), first)
        XCTAssertEqual(epoch(try loader(images(10), threads: 2, mixing: mixing), 3, from: 1), Array(first[1...]))
        XCTAssertEqual(first[0].labels.count, 12)
        for row in stride(from: 0, to: 12, by: 3) {
            XCTAssertEqual(first[0].labels[row..<row + 3].reduce(0, +), 1, accuracy: 1e-6)
        }
    }

    func testPixelsAreThoseOfTheTransform() throws {
        let data = images(3, size: 8)
        let transform = ImageTransform(steps: [.toFloat, .normalize(mean: [0.1, 0.2, 0.3], std: [1, 2, 4])])
        let loader = try BatchLoader(data.all, LoaderSettings(batchSize: 3, transform: transform))
        guard case .pictures(let batch)? = loader.batches(epoch: 0).nextBatch()?.batch?.input,
            case .pictures(let images) = data.source
        else { return XCTFail("no pictures") }
        XCTAssertEqual(batch.pixels, images.pixels)
        XCTAssertEqual(batch.scale, transform.scale)
        XCTAssertEqual(batch.shift, transform.shift)
        XCTAssertEqual(loader.pictureShape, ImageShape(channels: 3, height: 8, width: 8))
    }

    func testFloatsAreGivenAsTheyAre() throws {
        let tensor = Tensor(shape: [5, 1, 2, 2], values: (0..<20).map(Float.init))
        let data = Dataset(
            classNames: ["x", "y"], labels: .multiLabel([[0], [1], [], [0, 1], [1]]), source: .floats(tensor))
        let plain = ImageTransform(channels: 1, steps: [])
        let loader = try BatchLoader(data.all, LoaderSettings(batchSize: 2, transform: plain, dropsSingleSample: true))
        XCTAssertEqual(loader.batchesPerEpoch, 2)
        XCTAssertTrue(loader.dropsTail)
        let batches = epoch(loader, 0)
        XCTAssertEqual(batches.map(\.floats), [(0..<8).map(Float.init), (8..<16).map(Float.init)])
        XCTAssertEqual(batches.map(\.labels), [[1, 0, 0, 1], [0, 0, 1, 1]])
        XCTAssertThrowsError(
            try BatchLoader(
                data.all,
                LoaderSettings(batchSize: 2, transform: ImageTransform(channels: 1, steps: [.randomHorizontalFlip()]))))
    }

    func testOnlyATailOfOneIsDropped() throws {
        func counts(_ count: Int, drops: Bool) throws -> [Int] {
            let loader = try BatchLoader(
                images(count).all,
                LoaderSettings(batchSize: 4, transform: augmenting, dropsSingleSample: drops))
            XCTAssertEqual(loader.plan(epoch: 0).count, loader.batchesPerEpoch)
            return loader.plan(epoch: 0).map(\.count)
        }
        XCTAssertEqual(try counts(9, drops: true), [4, 4])
        XCTAssertEqual(try counts(9, drops: false), [4, 4, 1])
        XCTAssertEqual(try counts(10, drops: true), [4, 4, 2])
        XCTAssertEqual(try counts(8, drops: true), [4, 4])
    }

    func testUnreadablePicturesAreSkippedAndTold() throws {
        let good = PictureFixtures.path("rgb8.png")
        let bad = ["/nowhere/1.png", TrainingFixtures.path("class_weights.json")]
        let paths = [good, bad[0], good, good, bad[1], good]
        let data = Dataset(
            classNames: ["a", "b"], labels: .classes([0, 1, 0, 1, 0, 1]), source: .files(paths))
        let transform = ImageTransform(steps: [.resize(4), .toFloat])
        for threads in [1, 3] {
            let loader = try BatchLoader(data.all, LoaderSettings(batchSize: 3, transform: transform, threads: threads))
            let stream = loader.batches(epoch: 0)
            let first = try XCTUnwrap(stream.nextBatch())
            XCTAssertEqual(first.samples, [0, 2])
            XCTAssertEqual(first.skipped.map(\.sample), [1])
            XCTAssert(first.skipped[0].reason.hasPrefix("/nowhere/1.png: no such file"))
            guard case .classes(let labels)? = first.batch?.labels, case .pictures(let pictures)? = first.batch?.input
            else { return XCTFail("no batch") }
            XCTAssertEqual(labels, [0, 0])
            XCTAssertEqual(pictures.count, 2)
            XCTAssertEqual(pictures.pixels.prefix(48), pictures.pixels.suffix(48), "the gap is closed")
            XCTAssertEqual(stream.nextBatch()?.skipped.map(\.sample), [4])
            XCTAssertNil(stream.nextBatch())
        }
        // Nothing left of a batch, or one sample where that is too few.
        let lonely = DatasetSlice(dataset: data, samples: [1, 4, 0])
        let stream = try BatchLoader(lonely, LoaderSettings(batchSize: 2, transform: transform)).batches(epoch: 0)
        XCTAssertNil(try XCTUnwrap(stream.nextBatch()).batch)
        XCTAssertEqual(stream.nextBatch()?.batch?.count, 1)
        let strict = LoaderSettings(batchSize: 3, transform: transform, dropsSingleSample: true)
        XCTAssertNil(try XCTUnwrap(try BatchLoader(lonely, strict).batches(epoch: 0).nextBatch()).batch)
    }

    func testAStreamMayBeLeftInTheMiddle() throws {
        let loader = try loader(images(40), threads: 3)
        for taken in 0..<5 {
            let stream = loader.batches(epoch: taken)
            for _ in 0..<taken { XCTAssertNotNil(stream.nextBatch()) }
        }
    }

    func testTransformsThatCannotMakeABatchAreRefused() {
        let files = Dataset(classNames: ["a"], labels: .classes([0]), source: .files(["1.png"]))
        let loose = ImageTransform(steps: [.resizeShorterSide(8), .toFloat])
        XCTAssertThrowsError(try BatchLoader(files.all, LoaderSettings(batchSize: 1, transform: loose)))
        let five = Dataset(
            classNames: ["a"], labels: .classes([0]),
            source: .pictures(ByteImages(count: 1, height: 1, width: 1, channels: 5, pixels: [0, 0, 0, 0, 0])))
        XCTAssertThrowsError(try BatchLoader(five.all, LoaderSettings(batchSize: 1, transform: augmenting)))
        XCTAssertThrowsError(
            try BatchLoader(
                DatasetSlice(dataset: files, samples: []), LoaderSettings(batchSize: 1, transform: augmenting)))
    }

    func testFolderCheckListsWhatIsBroken() throws {
        try PictureFixtures.withFolder { folder in
            let good = Picture(height: 2, width: 2, channels: 3, pixels: Array(0..<12))
            for name in ["a.png", "b.png", "d.png"] { try good.writePNG(to: "\(folder)/\(name)") }
            let bytes = try good.pngBytes()
            try Data(bytes.prefix(bytes.count / 2)).write(to: URL(fileURLWithPath: "\(folder)/c.png"))
            try Data("<html>".utf8).write(to: URL(fileURLWithPath: "\(folder)/e.jpg"))
            for threads in [1, 3] {
                var last = (0, 0)
                let check = try PictureCheck.run(folder: folder, threads: threads) { last = ($0, $1) }
                XCTAssertEqual(check.count, 5)
                XCTAssertEqual(check.broken.map(\.path), ["\(folder)/c.png", "\(folder)/e.jpg"])
                XCTAssert(check.broken[1].reason.contains("HTML"))
                XCTAssertEqual(check.damaged, [])
                XCTAssertEqual(last.0, 5)
            }
            XCTAssertThrowsError(try PictureCheck.run(folder: "\(folder)/nowhere"))
        }
    }
}
