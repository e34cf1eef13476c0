// RandAugment and TrivialAugment: torchvision's pixels for every change and magnitude, and its probabilities.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetData

final class AugmentationPolicyTests: XCTestCase {
    /// The pictures of scripts/check_augmentation_against_torchvision.py.
    private static let pictures: [String: Picture] = {
        let plain = PictureFixtures.pattern(height: 18, width: 26, channels: 3, seed: 2)
        let (shifts, offsets): ([UInt8], [UInt8]) = ([2, 3, 4], [40, 0, 200])
        let narrow = plain.pixels.enumerated().map { ($1 >> shifts[$0 % 3]) + offsets[$0 % 3] }
        return [
            "color": PictureFixtures.pattern(height: 40, width: 56, channels: 3, seed: 1),
            "narrow": Picture(height: 18, width: 26, channels: 3, pixels: narrow),
            "gray": PictureFixtures.pattern(height: 21, width: 21, channels: 1, seed: 3),
            "thin": PictureFixtures.pattern(height: 2, width: 5, channels: 3, seed: 4),
        ]
    }()

    private func hash(_ change: PictureChange, _ policy: AugmentationPolicy, of picture: Picture) -> String {
        var pixels: [UInt8] = []
        for bin in 0..<AugmentationPolicy.bins {
            let magnitude = policy.magnitude(change, bin: bin, of: Size2(picture.height, picture.width))
            for sign in change.isSigned ? [1.0, -1.0] : [1.0] {
                pixels += picture.changed(change, sign * magnitude).pixels
            }
        }
        return PictureFixtures.hash(pixels)
    }

    func testEveryChangeHasTorchvisionsPixels() throws {
        typealias Hashes = [String: [String: [String: String]]]
        let expected = try JSONDecoder().decode(
            Hashes.self, from: Data(try PictureFixtures.bytes("augmentation.json")))
        let policies: [(String, AugmentationPolicy)] = [
            ("RandAugment", .randAugment), ("TrivialAugmentWide", .trivialAugmentWide),
        ]
        for (name, policy) in policies {
            for (kind, picture) in Self.pictures {
                let hashes = try XCTUnwrap(expected[name]?[kind])
                XCTAssertEqual(Set(hashes.keys), Set(PictureChange.allCases.map(\.rawValue)))
                for change in PictureChange.allCases {
                    XCTAssertEqual(
                        hash(change, policy, of: picture), hashes[change.rawValue], "\(name) \(kind) \(change)")
                }
            }
        }
    }

    func testMagnitudesAreTorchvisions() {
        let size = Size2(224, 331)
        func value(_ policy: AugmentationPolicy, _ change: PictureChange, _ bin: Int) -> Double {
            policy.magnitude(change, bin: bin, of: size)
        }
        XCTAssertEqual(value(.randAugment, .shearX, 9), 0.09, accuracy: 1e-7)
        XCTAssertEqual(value(.randAugment, .translateX, 30), 150, accuracy: 1e-4)
        XCTAssertEqual(value(.randAugment, .translateY, 9), 150.0 / 331 * 224 * 0.3, accuracy: 1e-4)
        XCTAssertEqual(value(.randAugment, .rotate, 9), 9, accuracy: 1e-5)
        XCTAssertEqual(value(.randAugment, .posterize, 9), 7)
        XCTAssertEqual(value(.randAugment, .solarize, 9), 178.5)
        XCTAssertEqual(value(.trivialAugmentWide, .rotate, 30), 135)
        // 16 but for the rounding of floats; torchvision cuts it to 15 pixels.
        XCTAssertEqual(value(.trivialAugmentWide, .translateX, 15), 15.999999046325684)
        XCTAssertEqual(value(.trivialAugmentWide, .posterize, 30), 2)
        XCTAssertEqual(value(.trivialAugmentWide, .color, 30), 0.99, accuracy: 1e-7)
    }

    func testChangesSignsAndMagnitudesComeEquallyOften() {
        let draws = 28_000
        var changes: [PictureChange: Int] = [:]
        var (negative, signed) = (0, 0)
        var rotations: [Double: Int] = [:]
        for sample in 0..<draws {
            var random = SampleRandom(seed: 11, sample: sample)
            let drawn = AugmentationPolicy.trivialAugmentWide.draw(bin: nil, of: Size2(32, 32), &random)
            changes[drawn.change, default: 0] += 1
            if drawn.change == .rotate { rotations[abs(drawn.magnitude), default: 0] += 1 }
            if drawn.change.isSigned && drawn.magnitude != 0 {
                signed += 1
                if drawn.magnitude < 0 { negative += 1 }
            }
        }
        // Five standard errors.
        XCTAssertEqual(changes.count, 14)
        for count in changes.values { XCTAssertEqual(Double(count), 2000, accuracy: 216) }
        XCTAssertEqual(Double(negative) / Double(signed), 0.5, accuracy: 0.02)
        XCTAssertEqual(rotations.count, 31)
        for count in rotations.values { XCTAssertEqual(Double(count), 2000.0 / 31, accuracy: 40) }
    }

    func testRandAugmentAppliesChangesOfOneMagnitudeInTurn() throws {
        let picture = try XCTUnwrap(Self.pictures["color"])
        let transform = ImageTransform(steps: [.randAugment(operations: 3, magnitude: 12)])
        var results: Set<[UInt8]> = []
        for sample in 0..<40 {
            var random = SampleRandom(seed: 5, sample: sample)
            let result = try transform.apply(to: picture, random: &random)
            var again = SampleRandom(seed: 5, sample: sample)
            var expected = picture
            for _ in 0..<3 {
                let drawn = AugmentationPolicy.randAugment.draw(bin: 12, of: Size2(40, 56), &again)
                expected = expected.changed(drawn.change, drawn.magnitude)
            }
            XCTAssertEqual(result, expected)
            XCTAssertEqual(random, again)
            results.insert(result.pixels)
        }
        XCTAssertGreaterThan(results.count, 35)
        XCTAssertTrue(transform.isRandom)
        XCTAssertTrue(ImageTransform(steps: [.trivialAugmentWide]).isRandom)
    }

    func testWholeTransformsArePinned() throws {
        let picture = try XCTUnwrap(Self.pictures["color"])
        func result(_ step: ImageTransform.Step, _ sample: Int) throws -> String {
            let transform = ImageTransform(steps: [.randomResizedCrop(Size2(32, 32)), step, .toFloat])
            var random = SampleRandom(seed: 1, epoch: 2, sample: sample)
            return PictureFixtures.hash(try transform.apply(to: picture, random: &random).pixels)
        }
        // A resumed run of a later version must see the same pictures.
        XCTAssertEqual(try result(.randAugment(), 3), "06c2d2ec778aa067")
        XCTAssertEqual(try result(.trivialAugmentWide, 3), "2465147d6c2fad2e")
    }
}
