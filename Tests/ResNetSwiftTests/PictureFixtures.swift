// What scripts/make_picture_fixtures.py wrote: picture files, and what Pillow and torchvision made of them.

import Foundation
import ResNetSwift
import XCTest

struct PictureFixtures: Decodable {
    struct Decode: Decodable {
        let file: String
        let height, width, offset, count: Int
        /// Of the picture as gray, and of the pixels as stored, without EXIF. Not for 16-bit gray.
        let grayHash, storedHash: String?

        var isLossy: Bool {
            file.hasSuffix(".jpg") || ["lossy.webp", "lossy_alpha.webp", "exif_6.webp"].contains(file)
                || file.hasPrefix("jpeg")
        }
    }
    struct Refused: Decodable {
        let file, fault: String
    }
    struct Geometry: Decodable {
        let height, width, seed, resize, cropHeight, cropWidth: Int
        let filter, hash: String
    }
    struct Pipeline: Decodable {
        let file, expected: String
        let places: [[Int]]
        let values: [Float]
        let sum: Double
    }
    struct Color: Decodable {
        let change: String
        let amount: Double
        let hash: String
        let grayHash: String?
    }
    let decode: [Decode]
    let refused: [Refused]
    let transformHashes: [Geometry]
    let pipeline: Pipeline
    let colorHashes: [Color]

    /// Other pictures than the repository's in the folder PICTURE_FIXTURES, for a live check beside Pillow.
    static let folder =
        ProcessInfo.processInfo.environment["PICTURE_FIXTURES"]
        ?? URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Fixtures/pictures").path

    static func path(_ name: String) -> String { "\(folder)/\(name)" }

    static func bytes(_ name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: path(name))))
    }

    static func load() throws -> PictureFixtures {
        try JSONDecoder().decode(PictureFixtures.self, from: Data(try bytes("index.json")))
    }

    /// FNV-1a, 64 bits.
    static func hash(_ bytes: [UInt8]) -> String {
        let value = bytes.reduce(UInt64(0xcbf2_9ce4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// The pattern of the script.
    static func pattern(height: Int, width: Int, channels: Int, seed: Int) -> Picture {
        let pixels = (0..<height * width * channels).map { index in
            var value = UInt32(truncatingIfNeeded: index + seed) &* 2_654_435_761
            value ^= value >> 15
            return UInt8((value &* 2_246_822_519) >> 24)
        }
        return Picture(height: height, width: width, channels: channels, pixels: pixels)
    }

    /// Runs `body` with a fresh folder that is removed afterwards.
    static func withFolder(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder.path)
    }
}
