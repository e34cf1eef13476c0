// The rooms of the library: the list of arrows in DESIGN.md, the dependencies in Package.swift and the imports in the sources
// are the same. SwiftPM alone does not see to the last: a module that some other target has built can be imported without
// being named.

import Foundation
import XCTest

final class RoomsTests: XCTestCase {
    /// What comes with the toolchain.
    private static let system: Set = ["FoundationEssentials", "Glibc", "Synchronization"]

    /// The folder of each room.
    private static let rooms = ["Support", "Graph", "Models", "Weights", "ONNX", "Data", "Execution", "Training"]

    func testTheManifestHasTheArrowsOfTheDesign() throws {
        let drawn = try designArrows()
        let declared = try manifestArrows()
        XCTAssertEqual(Set(drawn.keys), Set(Self.rooms))
        for room in Self.rooms { XCTAssertEqual(drawn[room], declared[room], "the arrows of \(room)") }
    }

    func testNoArrowLeadsBack() throws {
        let arrows = try manifestArrows()
        for (index, room) in Self.rooms.enumerated() {
            let below = Set(Self.rooms.prefix(index))
            for target in try XCTUnwrap(arrows[room]) where Self.rooms.contains(target) {
                XCTAssert(below.contains(target), "\(room) -> \(target)")
            }
        }
    }

    func testEveryImportIsAnArrowAndEveryArrowIsUsed() throws {
        let arrows = try manifestArrows()
        for room in Self.rooms {
            let allowed = try XCTUnwrap(arrows[room])
            var used: Set<String> = []
            for (file, module) in try imports(in: "Sources/ResNetSwift/\(room)") where !Self.system.contains(module) {
                let target = module.hasPrefix("ResNet") ? String(module.dropFirst("ResNet".count)) : module
                XCTAssert(allowed.contains(target), "\(file): \(room) does not declare \(module)")
                used.insert(target)
            }
            XCTAssertEqual(used, allowed, "\(room) declares what no file imports")
        }
    }

    func testTheUmbrellaReexportsEveryRoom() throws {
        let modules = Set(try imports(in: "Sources/ResNetSwift/ResNetSwift").map(\.module)).subtracting(Self.system)
        XCTAssertEqual(modules, Set(Self.rooms.map { "ResNet\($0)" }))
        let folders = try FileManager.default.contentsOfDirectory(
            atPath: "\(Documentation.repository)/Sources/ResNetSwift")
        XCTAssertEqual(Set(folders), Set(Self.rooms + ["ResNetSwift"]))
    }

    // MARK: - Reading

    /// `Weights   -> Models, Graph` in a block of DESIGN.md.
    private func designArrows() throws -> [String: Set<String>] {
        var arrows: [String: Set<String>] = [:]
        for (_, line) in try Documentation.lines(of: "DESIGN.md") {
            let parts = line.components(separatedBy: " -> ")
            let room = parts[0].trimmingCharacters(in: .whitespaces)
            guard parts.count == 2, Self.rooms.contains(room) else { continue }
            XCTAssertNil(arrows[room], "DESIGN.md lists \(room) twice")
            arrows[room] = Set(parts[1].components(separatedBy: ",").map { $0.trimmingCharacters(in: .whitespaces) })
        }
        return arrows
    }

    /// `room("Weights", "ResNetModels", "ResNetGraph")` in Package.swift.
    private func manifestArrows() throws -> [String: Set<String>] {
        let manifest = try Documentation.lines(of: "Package.swift").map(\.text).joined(separator: " ")
        var arrows: [String: Set<String>] = [:]
        for call in manifest.components(separatedBy: " room(").dropFirst() {
            let arguments = call.prefix { $0 != ")" }.components(separatedBy: "\"")
            let names = stride(from: 1, to: arguments.count, by: 2).map { arguments[$0] }
            guard let room = names.first, Self.rooms.contains(room) else { continue }
            arrows[room] = Set(
                names.dropFirst().map { $0.hasPrefix("ResNet") ? String($0.dropFirst("ResNet".count)) : $0 })
        }
        XCTAssertEqual(Set(arrows.keys), Set(Self.rooms), "what Package.swift calls rooms")
        return arrows
    }

    private func imports(in folder: String) throws -> [(file: String, module: String)] {
        let root = "\(Documentation.repository)/\(folder)"
        let files = try XCTUnwrap(FileManager.default.enumerator(atPath: root)).compactMap { $0 as? String }
            .filter { $0.hasSuffix(".swift") }.sorted()
        XCTAssertFalse(files.isEmpty, folder)
        return try files.flatMap { file in
            try Documentation.lines(of: "\(folder)/\(file)").compactMap { _, line in
                let words = line.split(separator: " ")
                guard words.first == "import" || (words.first?.hasPrefix("@") == true && words.contains("import"))
                else { return nil }
                return (file, String(words.last!.split(separator: ".")[0]))
            }
        }
    }
}
