// Random damage to every fixture: bytes changed, removed, repeated, numbers replaced by extreme ones. Whatever comes of it,
// a reader either yields tensors of the announced shape or throws its typed error; it never traps and never hangs.

import ResNetSwift
import XCTest

@testable import ResNetWeights

final class WeightFileMutationTests: XCTestCase {
    /// Mutations per fixture; WEIGHT_MUTATIONS asks for more, in a release build say.
    private var rounds: Int {
        ProcessInfo.processInfo.environment["WEIGHT_MUTATIONS"].flatMap(Int.init) ?? 2000
    }

    func testDamagedFilesNeverTrap() throws {
        for fixture in WeightFixtures.files {
            try mutate(try WeightFixtures.bytes(fixture.name), fixture.name, rounds: rounds)
        }
    }

    /// Zip archives hide most damage behind checksums: their pickles are damaged inside.
    func testDamagedPicklesNeverTrap() throws { try mutatePickle(of: "tiny_wrapped.pth", rounds: rounds) }

    func testDamagedFilesOfTrainingScriptsNeverTrap() throws {
        for name in [
            "wild_protocol2.pth", "wild_protocol5.pth", "wild_stream.pth", "wild_tar.pth", "wild_bare0.pkl",
            "wild_bare1.pkl", "wild_arrays2.pth",
        ] {
            try mutate(try WeightFixtures.bytes(name), name, rounds: 300)
        }
        for name in ["wild_protocol2.pth", "wild_protocol5.pth", "wild_arrays2.pth"] {
            try mutatePickle(of: name, rounds: 300)
        }
    }

    func mutatePickle(of name: String, rounds: Int) throws {
        let bytes = try WeightFixtures.bytes(name)
        let archive = try bytes.withUnsafeBytes { try ZipArchive($0) }
        let members = archive.members.map { member in
            BuiltZip.Member(member.name, Array(bytes[member.range])) { $0.crc = 0 }
        }
        let pickle = try XCTUnwrap(members.firstIndex { $0.name.hasSuffix("data.pkl") })
        var random = CounterRandomSequence(seed: 11)
        for _ in 0..<rounds {
            var zip = BuiltZip()
            zip.members = members
            zip.members[pickle].data = damaged(members[pickle].data, &random)
            open(zip.build(), "pickle")
        }
    }

    func testDamagedTextNeverTraps() throws {
        let header =
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},\"__metadata__\":{\"\\u00e9\":\"x\"}}"
        var random = CounterRandomSequence(seed: 12)
        for _ in 0..<rounds {
            let text = damaged(Array(header.utf8), &random)
            open(BuiltSafetensors.file(bytes: text), "safetensors header")
            let literal = damaged(Array(BuiltNpy.literal().utf8), &random)
            var array = BuiltNpy.file("")
            array.replaceSubrange(8..<array.count, with: littleEndianBytes(UInt16(literal.count)) + literal)
            open(array + BuiltTorch.four, "npy header")
        }
    }

    func mutate(_ bytes: [UInt8], _ name: String, rounds: Int) throws {
        var random = CounterRandomSequence(seed: UInt64(bytes.count))
        for _ in 0..<rounds { open(damaged(bytes, &random), name) }
    }

    private func open(_ bytes: [UInt8], _ name: String) {
        do {
            let file = try WeightFile.open(bytes: bytes, name: name)
            for entry in file.entries {
                guard let tensor = try? file.tensor(entry.key) else { continue }
                XCTAssertEqual(tensor.shape, entry.shape)
                XCTAssertEqual(tensor.count, entry.count)
            }
            _ = try? file.guessModel()
        } catch {
            XCTAssertEqual(error.path, name)
        }
    }

    /// One to four wounds.
    private func damaged(_ bytes: [UInt8], _ random: inout CounterRandomSequence) -> [UInt8] {
        let extremes: [UInt64] = [
            0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 62, UInt64(Int64.max), 1 << 63, .max,
        ]
        var result = bytes
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            guard !result.isEmpty else { break }
            // Half of the wounds near the ends, where the directories are.
            let near = min(result.count, 400)
            let place: Int
            switch Int.random(in: 0..<4, using: &random) {
            case 0: place = Int.random(in: 0..<near, using: &random)
            case 1: place = result.count - 1 - Int.random(in: 0..<near, using: &random)
            default: place = Int.random(in: 0..<result.count, using: &random)
            }
            let length = min(Int.random(in: 1...16, using: &random), result.count - place)
            switch Int.random(in: 0..<7, using: &random) {
            case 0: result[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: result[place] = UInt8.random(in: .min ... .max, using: &random)
            case 2: result.removeSubrange(place..<place + length)
            case 3: result.insert(contentsOf: result[place..<place + length], at: place)
            case 4:
                let value = littleEndianBytes(extremes.randomElement(using: &random) ?? 0)
                let width = min([1, 2, 4, 8].randomElement(using: &random) ?? 1, result.count - place)
                result.replaceSubrange(place..<place + width, with: value[..<width])
            case 5:
                let from = Int.random(in: 0...(result.count - length), using: &random)
                result.replaceSubrange(place..<place + length, with: Array(result[from..<from + length]))
            default: result.removeLast(min(length, result.count))
            }
        }
        return result
    }
}

/// A generator that counts through `CounterRandom`.
struct CounterRandomSequence: RandomNumberGenerator {
    private let source: CounterRandom
    private var counter: UInt64 = 0

    init(seed: UInt64) { source = CounterRandom(seed: seed) }

    mutating func next() -> UInt64 {
        defer { counter += 1 }
        return source.bits(counter)
    }
}
