// Tests/Fixtures/models, written by scripts/make_model_fixtures.py.

import Foundation
import ResNetSwift

enum ModelFixtures {
    struct Parameters: Decodable {
        let count: Int
        let tensors: Int
        let fnv1a: String
        let lines: [String]?
    }

    struct Shapes: Decodable {
        let modules: [String: [Int]]?
        let macs: Int
    }

    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../Fixtures/models")

    static func text(_ name: String) throws -> String {
        try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
    }

    private static func json<T: Decodable>(_ name: String) throws -> T {
        try JSONDecoder().decode(T.self, from: Data(contentsOf: folder.appendingPathComponent(name)))
    }

    static func parameters() throws -> [String: Parameters] { try json("parameters.json") }

    /// By model, then by picture size as `224x224`.
    static func shapes() throws -> [String: [String: Shapes]] { try json("shapes.json") }

    /// The 64-bit FNV-1a hash, in hexadecimal.
    static func fnv1a(_ text: String) -> String {
        var value: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
