// Random steps: what they may do, how often, and that the same sample always gets the same.

import ResNetSwift
import XCTest

@testable import ResNetData

final class AugmentationTests: XCTestCase {
    private func source(_ height: Int = 40, _ width: Int = 56) -> Picture {
        PictureFixtures.pattern(height: height, width: width, channels: 3, seed: 3)
    }

    // MARK: - Numbers

    func testNumbersDependOnTheirPlaceOnly() {
        func first(_ seed: UInt64, _ purpose: SampleRandom.Purpose, _ epoch: Int, _ sample: Int) -> [Double] {
            var random = SampleRandom(seed: seed, purpose: purpose, epoch: epoch, sample: sample)
            return (0..<4).map { _ in random.uniform() }
        }
        XCTAssertEqual(first(1, .augmentation, 2, 3), first(1, .augmentation, 2, 3))
        let others = [
            first(2, .augmentation, 2, 3), first(1, .order, 2, 3), first(1, .augmentation, 3, 3),
            first(1, .augmentation, 2, 4), first(1, .augmentation, 3, 2),
        ]
        XCTAssertEqual(Set(others + [first(1, .augmentation, 2, 3)]).count, 6)
    }

    func testNumbersAreSpreadEvenly() {
        // One number from each of 20,000 samples: neighboring samples must be as unrelated as neighboring draws.
        var (sum, bins) = (0.0, [Int](repeating: 0, count: 10))
        for sample in 0..<20_000 {
            var random = SampleRandom(seed: 7, sample: sample)
            let value = random.uniform()
            XCTAssertTrue((0..<1).contains(value))
            sum += value
            bins[random.integer(below: 10)] += 1
        }
        XCTAssertEqual(sum / 20_000, 0.5, accuracy: 0.01)  // 5 standard errors
        for count in bins { XCTAssertEqual(Double(count), 2000, accuracy: 215) }
    }

    func testPermutationsHoldEveryNumberOnce() {
        var random = SampleRandom(seed: 1, purpose: .order)
        XCTAssertEqual(random.permutation(0), [])
        XCTAssertEqual(random.permutation(1), [0])
        let order = random.permutation(1000)
        XCTAssertEqual(order.sorted(), Array(0..<1000))
        XCTAssertNotEqual(order, Array(0..<1000))
        // Each of the 6 orders of 3 comes equally often.
        var counts: [[Int]: Int] = [:]
        for _ in 0..<6000 { counts[random.permutation(3), default: 0] += 1 }
        XCTAssertEqual(counts.count, 6)
        for count in counts.values { XCTAssertEqual(Double(count), 1000, accuracy: 150) }
    }

    // MARK: - Windows

    func testRandomResizedCropKeepsItsBounds() {
        let size = Size2(100, 150)
        var (areas, tops) = ([Double](), Set<Int>())
        for sample in 0..<4000 {
            var random = SampleRandom(seed: 5, sample: sample)
            let window = Window.random(of: size, scale: 0.2...0.8, ratio: 0.75...(4.0 / 3), &random)
            XCTAssertTrue(window.top >= 0 && window.left >= 0)
            XCTAssertTrue(window.top + window.height <= 100 && window.left + window.width <= 150)
            let ratio = Double(window.width) / Double(window.height)
            XCTAssertTrue((0.73...1.36).contains(ratio), "\(ratio)")
            areas.append(Double(window.width * window.height) / 15_000)
            tops.insert(window.top)
        }
        XCTAssertGreaterThan(areas.min()!, 0.19)
        XCTAssertLessThan(areas.max()!, 0.81)
        // Uniform in 0.2...0.8 but for large parts that did not fit and were drawn again.
        XCTAssertEqual(areas.reduce(0, +) / 4000, 0.46, accuracy: 0.03)
        XCTAssertGreaterThan(tops.count, 40)
    }

    func testRandomResizedCropOfAVeryLongPictureIsItsMiddle() {
        var random = SampleRandom(seed: 1)
        let window = Window.random(of: Size2(10, 1000), scale: 0.5...1, ratio: 0.75...(4.0 / 3), &random)
        XCTAssertEqual(window, Window(top: 0, left: 493, height: 10, width: 13))
        let tall = Window.random(of: Size2(1000, 9), scale: 0.5...1, ratio: 0.75...(4.0 / 3), &random)
        XCTAssertEqual(tall, Window(top: 494, left: 0, height: 12, width: 9))
        let pixel = Window.random(of: Size2(1, 1), scale: 0.01...0.02, ratio: 1...1, &random)
        XCTAssertEqual(pixel, Window(top: 0, left: 0, height: 1, width: 1))
    }

    func testCroppedPartsAreResizedLikePicturesOfTheirOwn() throws {
        let picture = source()
        let transform = ImageTransform(steps: [.randomResizedCrop(Size2(16, 20), scale: 0.1...0.5)])
        for sample in 0..<20 {
            var random = SampleRandom(seed: 9, sample: sample)
            let result = try transform.apply(to: picture, random: &random)
            var again = SampleRandom(seed: 9, sample: sample)
            let window = Window.random(of: Size2(40, 56), scale: 0.1...0.5, ratio: 0.75...(4.0 / 3), &again)
            XCTAssertEqual(result, try picture.cropped(window).resized(to: Size2(16, 20)))
        }
    }

    // MARK: - Steps

    func testFlipMirrorsAsOftenAsAsked() throws {
        let picture = source(3, 5)
        let mirrored = picture.oriented(.mirror)
        XCTAssertNotEqual(mirrored, picture)
        let transform = ImageTransform(steps: [.randomHorizontalFlip(probability: 0.3)])
        var flips = 0
        for sample in 0..<3000 {
            var random = SampleRandom(seed: 2, sample: sample)
            let result = try transform.apply(to: picture, random: &random)
            XCTAssertTrue(result == picture || result == mirrored)
            if result == mirrored { flips += 1 }
        }
        XCTAssertEqual(Double(flips), 900, accuracy: 126)  // 5 standard errors
    }

    func testColorsChangeAsPillowChangesThem() throws {
        let levels = Array(stride(from: 0, through: 255, by: 15))
        let grid = levels.flatMap { r in levels.flatMap { g in levels.flatMap { b in [UInt8(r), UInt8(g), UInt8(b)] } }
        }
        let gray = PictureFixtures.pattern(height: 30, width: 20, channels: 1, seed: 5).pixels
        let cases = try PictureFixtures.load().colorHashes
        XCTAssertEqual(cases.count, 26)
        for item in cases {
            func changed(_ pixels: [UInt8], channels: Int) -> String {
                var pixels = pixels
                pixels.withUnsafeMutableBufferPointer {
                    switch item.change {
                    case "brightness": PixelKernels.brightness($0, factor: item.amount)
                    case "contrast": PixelKernels.contrast($0, channels: channels, factor: item.amount)
                    case "saturation": PixelKernels.saturation($0, factor: item.amount)
                    case "hue": PixelKernels.hue($0, turn: item.amount)
                    default: break
                    }
                }
                return PictureFixtures.hash(pixels)
            }
            if item.change == "gray" {
                let picture = Picture(height: 18 * 18, width: 18, channels: 3, pixels: grid)
                XCTAssertEqual(PictureFixtures.hash(picture.converted(toChannels: 1)!.pixels), item.hash)
            } else {
                XCTAssertEqual(changed(grid, channels: 3), item.hash, "\(item)")
                if let grayHash = item.grayHash { XCTAssertEqual(changed(gray, channels: 1), grayHash, "\(item)") }
            }
        }
    }

    func testJitterTriesEveryOrderAndStaysInItsBounds() throws {
        let picture = Picture(height: 1, width: 1, channels: 3, pixels: [100, 100, 100])
        let transform = ImageTransform(steps: [.colorJitter(brightness: 0.4)])
        var values: Set<UInt8> = []
        for sample in 0..<2000 {
            var random = SampleRandom(seed: 3, sample: sample)
            values.insert(try transform.apply(to: picture, random: &random).pixels[0])
        }
        XCTAssertEqual(values.min(), 60)
        XCTAssertEqual(values.max(), 139)
        // Brightness before or behind contrast differ, so both orders must turn up.
        let both = ImageTransform(steps: [.colorJitter(brightness: 0.9, contrast: 0.9)])
        let picture2 = Picture(height: 1, width: 2, channels: 3, pixels: [10, 20, 30, 200, 210, 220])
        var results: Set<[UInt8]> = []
        for sample in 0..<50 {
            var random = SampleRandom(seed: 3, sample: sample)
            results.insert(try both.apply(to: picture2, random: &random).pixels)
        }
        XCTAssertGreaterThan(results.count, 45)
        let none = ImageTransform(steps: [.colorJitter()])
        var random = SampleRandom(seed: 3)
        XCTAssertEqual(try none.apply(to: picture2, random: &random), picture2)
    }

    func testErasingFillsOneRectangleWithTheMean() throws {
        let picture = source(30, 30)
        let transform = ImageTransform(steps: [
            .randomErasing(probability: 1, scale: 0.1...0.3, ratio: 0.5...2), .toFloat,
            .normalize(mean: ImageTransform.imageNetMean, std: ImageTransform.imageNetStd),
        ])
        for sample in 0..<200 {
            var random = SampleRandom(seed: 4, sample: sample)
            let result = try transform.apply(to: picture, random: &random)
            var again = SampleRandom(seed: 4, sample: sample)
            XCTAssertTrue(again.chance(1))
            let window = try XCTUnwrap(Window.erasing(of: Size2(30, 30), scale: 0.1...0.3, ratio: 0.5...2, &again))
            XCTAssertTrue((80...280).contains(window.height * window.width), "\(window)")
            for y in 0..<30 {
                for x in 0..<30 {
                    let at = (y * 30 + x) * 3
                    let inside =
                        (window.top..<window.top + window.height).contains(y)
                        && (window.left..<window.left + window.width).contains(x)
                    let expected = inside ? [124, 116, 104] : Array(picture.pixels[at..<at + 3])
                    if Array(result.pixels[at..<at + 3]) != expected {
                        return XCTFail("sample \(sample) at (\(y), \(x))")
                    }
                }
            }
        }
        // Zero once normalized, to half a level.
        let erased = try PictureBatch(
            [Picture(height: 1, width: 1, channels: 3, pixels: transform.neutralBytes)], for: transform)
        for value in erased.tensor().values { XCTAssertEqual(value, 0, accuracy: 0.5 / 255 / 0.224) }
        let never = ImageTransform(steps: [.randomErasing(probability: 0)])
        var random = SampleRandom(seed: 4)
        XCTAssertEqual(try never.apply(to: picture, random: &random), picture)
    }

    func testAWholeTrainingTransformRepeatsItselfAndIsPinned() throws {
        let picture = source(60, 80)
        let transform = ImageTransform(steps: [
            .randomResizedCrop(Size2(32, 32)), .randomHorizontalFlip(),
            .colorJitter(brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1), .randomErasing(), .toFloat,
        ])
        XCTAssertTrue(transform.isRandom)
        XCTAssertFalse(ImageTransform.imageNetV1().isRandom)
        func result(_ seed: UInt64, _ epoch: Int, _ sample: Int) throws -> String {
            var random = SampleRandom(seed: seed, epoch: epoch, sample: sample)
            return PictureFixtures.hash(try transform.apply(to: picture, random: &random, threads: sample % 3).pixels)
        }
        var seen: Set<String> = []
        for epoch in 0..<3 {
            for sample in 0..<10 {
                XCTAssertEqual(try result(1, epoch, sample), try result(1, epoch, sample))
                seen.insert(try result(1, epoch, sample))
            }
        }
        XCTAssertEqual(seen.count, 30)
        // Pinned, so that a resumed run of a later version still sees the same pictures.
        XCTAssertEqual(try result(1, 2, 3), "bdd13f0b7e18223a")
    }
}
