// The steps of a transform against torchvision's, on pixels and on numbers.

import ResNetSwift
import XCTest

@testable import ResNetData

final class ImageTransformTests: XCTestCase {
    func testResizeAndCenterCropGiveTorchvisionsPixels() throws {
        let cases = try PictureFixtures.load().transformHashes
        XCTAssertEqual(cases.count, 132)
        for item in cases {
            let picture = PictureFixtures.pattern(height: item.height, width: item.width, channels: 3, seed: item.seed)
            let transform = ImageTransform(steps: [
                .resizeShorterSide(item.resize, item.filter == "bicubic" ? .bicubic : .bilinear),
                .centerCrop(Size2(item.cropHeight, item.cropWidth)),
            ])
            let result = try transform.apply(to: picture)
            XCTAssertEqual([result.height, result.width], [item.cropHeight, item.cropWidth])
            XCTAssertEqual(PictureFixtures.hash(result.pixels), item.hash, "\(item)")
        }
    }

    func testTheImageNetPipelineFromAFileToNumbers() throws {
        let fixture = try PictureFixtures.load().pipeline
        let transform = ImageTransform.imageNetV1()
        let picture = try transform.picture(contentsOf: PictureFixtures.path(fixture.file))
        let expected = try Picture(contentsOf: PictureFixtures.path(fixture.expected))
        let result = try transform.apply(to: picture)
        XCTAssertEqual([result.height, result.width, result.channels], [224, 224, 3])
        let differences = zip(result.pixels, expected.pixels).map { abs(Int($0) - Int($1)) }
        XCTAssertEqual(differences.count, 224 * 224 * 3)
        XCTAssertLessThanOrEqual(differences.max()!, 1)
        XCTAssertLessThan(Double(differences.reduce(0, +)) / Double(differences.count), 0.02)

        let batch = try transform.batch([picture, picture])
        XCTAssertEqual(batch.pixels, result.pixels + result.pixels)
        let tensor = batch.tensor()
        XCTAssertEqual(tensor.shape, [2, 3, 224, 224])
        let values = tensor.values
        XCTAssertEqual(fixture.places.count, 48)
        for (place, value) in zip(fixture.places, fixture.values) {
            for image in 0..<2 {
                let found = values[((image * 3 + place[0]) * 224 + place[1]) * 224 + place[2]]
                XCTAssertEqual(found, value, accuracy: 2e-6)
            }
        }
        let sum = values.prefix(3 * 224 * 224).reduce(0.0) { $0 + Double($1) }
        XCTAssertEqual(sum, fixture.sum, accuracy: 1e-6 * 3 * 224 * 224)
        XCTAssertEqual(batch.tensor(threads: 2).values, values)
    }

    func testSizesFollowTorchvisionsRule() {
        let cases: [(Int, Size2, Size2)] = [
            (256, Size2(480, 640), Size2(256, 341)), (256, Size2(640, 480), Size2(341, 256)),
            (256, Size2(333, 500), Size2(256, 384)), (232, Size2(375, 500), Size2(232, 309)),
            (256, Size2(256, 256), Size2(256, 256)), (3, Size2(1, 10), Size2(3, 30)), (2, Size2(3, 1), Size2(6, 2)),
        ]
        for (length, size, expected) in cases {
            XCTAssertEqual(ImageTransform.shorterSideSize(length, of: size), expected)
            let transform = ImageTransform(steps: [.resizeShorterSide(length)])
            XCTAssertEqual(transform.outputSize(of: size), expected)
            XCTAssertNil(transform.fixedOutputSize)
        }
        XCTAssertEqual(ImageTransform.imageNetV1().fixedOutputSize, Size2(224, 224))
        XCTAssertEqual(ImageTransform.imageNetV2().outputSize(of: Size2(99, 45)), Size2(224, 224))
    }

    func testATransformForAnotherSizeKeepsItsProportions() {
        let plain = ImageTransform.imageNetV1().resized(to: Size2(112, 112))
        XCTAssertEqual(Array(plain.steps.prefix(2)), [.resizeShorterSide(128), .centerCrop(Size2(112, 112))])
        XCTAssertEqual(plain.resized(to: Size2(224, 224)), .imageNetV1())
        let training = ImageTransform.imageNetTraining()
        let smaller = training.resized(to: Size2(96, 64))
        XCTAssertEqual(smaller.fixedOutputSize, Size2(96, 64))
        XCTAssertEqual(smaller.steps.count, training.steps.count)
        XCTAssertEqual(smaller.scale, training.scale)
        let stretched = ImageTransform(steps: [.resize(Size2(40, 30)), .centerCrop(Size2(20, 20)), .toFloat])
        XCTAssertEqual(
            stretched.resized(to: Size2(10, 10)).steps, [.resize(Size2(20, 15)), .centerCrop(Size2(10, 10)), .toFloat])
    }

    func testScaleAndShiftSayWhatTheStepsSay() {
        let plain = ImageTransform(steps: [.toFloat])
        XCTAssertEqual(plain.scale, [1 / 255, 1 / 255, 1 / 255])
        XCTAssertEqual(plain.shift, [0, 0, 0])
        let half = ImageTransform.inceptionStyle()
        XCTAssertEqual(half.scale, [2 / 255, 2 / 255, 2 / 255])
        XCTAssertEqual(half.shift, [-1, -1, -1])
        let bytes = ImageTransform(channels: 2, steps: [.resize(Size2(2, 2))])
        XCTAssertEqual(bytes.scale, [1, 1])
        let twice = ImageTransform(
            channels: 1, steps: [.toFloat, .normalize(mean: [0.5], std: [0.5]), .normalize(mean: [1], std: [2])])
        XCTAssertEqual(twice.scale, [Float(1 / 255.0)])
        XCTAssertEqual(twice.shift, [-1])
        XCTAssertEqual(ImageTransform.imageNetV1().neutralBytes, [124, 116, 104])
    }

    func testPicturesThatDoNotFitAreErrors() throws {
        let gray = PictureFixtures.pattern(height: 4, width: 4, channels: 1, seed: 0)
        XCTAssertThrowsError(try ImageTransform.imageNetV1().apply(to: gray)) {
            XCTAssertEqual($0 as? TransformError, .channels(expected: 3, found: 1))
        }
        let thin = PictureFixtures.pattern(height: 1, width: 5000, channels: 3, seed: 0)
        XCTAssertThrowsError(try ImageTransform.imageNetV1().apply(to: thin)) {
            XCTAssertEqual($0 as? TransformError, .tooLarge(Size2(256, 1_280_000), limit: 200_000_000))
        }
        let (a, b) = (
            PictureFixtures.pattern(height: 4, width: 4, channels: 3, seed: 0),
            PictureFixtures.pattern(height: 4, width: 5, channels: 3, seed: 0)
        )
        XCTAssertThrowsError(try ImageTransform(steps: [.toFloat]).batch([a, b])) {
            XCTAssertEqual($0 as? TransformError, .sizesDiffer(Size2(4, 4), Size2(4, 5)))
        }
    }

    func testFourChannelsGoThroughLikeThree() throws {
        let parts = (0..<4).map { PictureFixtures.pattern(height: 21, width: 33, channels: 1, seed: 50 * $0) }
        func transform(_ channels: Int) -> ImageTransform {
            ImageTransform(
                channels: channels,
                steps: [
                    .resizeShorterSide(16), .centerCrop(Size2(12, 12)), .toFloat,
                    .normalize(
                        mean: Array(repeating: 0.1, count: channels), std: Array(repeating: 0.2, count: channels)),
                ])
        }
        let stains = try transform(4).batch([Picture(stacking: parts)]).tensor().values
        let single = try parts.flatMap { try transform(1).batch([$0]).tensor().values }
        XCTAssertEqual(stains, single)
    }

    // MARK: - JSON

    private static let everyStep = ImageTransform(
        channels: 3, exif: .ignore,
        steps: [
            .resizeShorterSide(300, .bicubic), .resize(Size2(64, 48)), .centerCrop(Size2(40, 41)),
            .randomResizedCrop(Size2(32, 33), scale: 0.25...1, ratio: 0.5...2, .bicubic),
            .randomHorizontalFlip(probability: 0.25),
            .colorJitter(brightness: 0.4, contrast: 0.3, saturation: 0.2, hue: 0.1),
            .randAugment(operations: 3, magnitude: 7), .trivialAugmentWide,
            .randomErasing(probability: 0.1, scale: 0.02...0.4, ratio: 0.3...3.3), .toFloat,
            .normalize(mean: [0.485, 0.456, 1.0 / 3], std: [0.229, 1, 0.225]),
        ])

    func testJsonRoundTrip() throws {
        let all = [
            Self.everyStep, .imageNetV1(), .imageNetV2(exif: .ignore), .inceptionStyle(filter: .bicubic), .cifar(),
            .digits(),
            .imageNetTraining(), ImageTransform(channels: 7, steps: []),
        ]
        for transform in all {
            XCTAssertEqual(try ImageTransform(json: transform.json), transform)
            XCTAssertFalse(transform.json.contains("\n"))
        }
        XCTAssertEqual(
            ImageTransform.digits(size: 8).json,
            #"{"channels":1,"exif":"apply","steps":[{"step":"resize","height":8,"width":8,"filter":"bilinear"},"#
                + #"{"step":"toFloat"},{"step":"normalize","mean":[0.5],"std":[0.5]}]}"#)
    }

    func testStoredTransformsThatMakeNoSense() {
        func fault(_ steps: String, channels: String = "3", exif: String = "apply") -> String? {
            do {
                _ = try ImageTransform(json: #"{"channels":\#(channels),"exif":"\#(exif)","steps":[\#(steps)]}"#)
                return nil
            } catch { return "\(error)" }
        }
        XCTAssertNil(fault(#"{"step":"toFloat"}"#))
        let faults: [(String?, String)] = [
            (fault(#"{"step":"sharpen"}"#), #"has an unknown step "sharpen""#),
            (fault(#"{"size":3}"#), "has a step without a name"),
            (
                fault(#"{"step":"resize","height":2,"width":2.5,"filter":"bilinear"}"#),
                #"has a step resize without an integer "width""#
            ),
            (
                fault(#"{"step":"resize","height":2,"width":2,"filter":"lanczos"}"#),
                #"has a step resize with the filter "lanczos"; bilinear and bicubic are known"#
            ),
            (fault(#"{"step":"centerCrop","height":0,"width":2}"#), "has a size of 0 x 2; 1...65536 are possible"),
            (
                fault(#"{"step":"centerCrop","height":70000,"width":2}"#),
                "has a size of 70000 x 2; 1...65536 are possible"
            ),
            (fault(#"{"step":"toFloat"},{"step":"toFloat"}"#), "has toFloat twice"),
            (
                fault(#"{"step":"toFloat"},{"step":"centerCrop","height":1,"width":2}"#),
                "has a step on pictures behind toFloat"
            ),
            (fault(#"{"step":"normalize","mean":[0,0,0],"std":[1,1,1]}"#), "normalizes before toFloat"),
            (
                fault(#"{"step":"toFloat"},{"step":"normalize","mean":[0],"std":[1]}"#),
                "normalizes 1 means and 1 stds on 3 channels"
            ),
            (
                fault(#"{"step":"toFloat"},{"step":"normalize","mean":[0,0,0],"std":[1,0,1]}"#),
                "normalizes by mean [0.0, 0.0, 0.0] and std [1.0, 0.0, 1.0]; they must be finite, and std positive"
            ),
            (fault(#"{"step":"randomHorizontalFlip","probability":1.5}"#), "has a probability of 1.5"),
            (
                fault(#"{"step":"randomErasing","probability":0.5,"scale":[0.5,0.1],"ratio":[1,2]}"#),
                #"has a step randomErasing without a range of two numbers "scale""#
            ),
            (
                fault(#"{"step":"colorJitter","brightness":0,"contrast":0,"saturation":0,"hue":0.6}"#),
                "has a hue jitter of 0.6; 0...0.5 are possible"
            ),
            (
                fault(#"{"step":"randAugment","operations":2,"magnitude":31}"#),
                "has a RandAugment of magnitude 31; 0...30 are possible"
            ),
            (
                fault(#"{"step":"randAugment","operations":0,"magnitude":9}"#),
                "has a RandAugment of 0 operations; 1...100 are possible"
            ),
            (
                fault(#"{"step":"trivialAugmentWide"}"#, channels: "4"),
                "has TrivialAugment on 4 channels; 1 or 3 are possible"
            ),
            (fault("", channels: "0"), "has 0 channels; 1...4096 are possible"),
            (fault("", channels: "\"3\""), "has no number of channels"),
            (fault("", exif: "maybe"), "has no EXIF policy, apply or ignore"),
        ]
        for (found, expected) in faults { XCTAssertEqual(found, "the stored transform \(expected)") }
        for text in ["", "{", "[]", "null", #"{"channels":3,"exif":"apply"}"#] {
            XCTAssertThrowsError(try ImageTransform(json: text), text)
        }
    }

    func testAnotherSizeInProportion() {
        XCTAssertEqual(
            ImageTransform.imageNetV1().yielding(Size2(288, 288)).steps.prefix(2),
            [.resizeShorterSide(329), .centerCrop(Size2(288, 288))])
        XCTAssertEqual(ImageTransform.cifar().yielding(Size2(40, 64)).steps.first, .resize(Size2(40, 64)))
        let free = ImageTransform(steps: [.resizeShorterSide(100), .toFloat])
        XCTAssertNil(free.fixedOutputSize)
        XCTAssertEqual(free.yielding(Size2(50, 60)).fixedOutputSize, Size2(50, 60))
        // Every size of pictures is large enough for the crop.
        for side in [7, 96, 225, 512] {
            let steps = ImageTransform.imageNetV1().yielding(Size2(side, side / 2 + 1)).steps
            guard case .resizeShorterSide(let length, _) = steps[0] else { return XCTFail("\(steps)") }
            XCTAssertGreaterThanOrEqual(length, side)
        }
    }
}
