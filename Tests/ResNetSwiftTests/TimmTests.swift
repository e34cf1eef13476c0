// timm's relatives of ResNet: names, shapes and parameter counts of all that load, logits of small ones, the table of the
// documentation.

import Foundation
import XCTest

@testable import ResNetModels
@testable import ResNetSwift

final class TimmTests: XCTestCase {
    private static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../Fixtures/timm").standardized.path

    private func read(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    func testNamesShapesAndCountsAreTimms() throws {
        let models = try JSONValue.parse(try read("\(Self.fixtures)/parameters.json"))
        guard case .object(let members) = models else { return XCTFail("no object") }
        for member in members {
            let graph = try ModelName(named: member.key).graph()
            let lines = graph.parameters.map { "\($0.name) \($0.shape.map(String.init).joined(separator: "x"))" }
                .sorted()
            XCTAssertEqual(graph.parameterCount, member.value["count"]?.integerValue, member.key)
            XCTAssertEqual(lines.count, member.value["tensors"]?.integerValue, member.key)
            XCTAssertEqual(
                ModelFixtures.fnv1a(lines.map { $0 + "\n" }.joined()), member.value["fnv1a"]?.stringValue, member.key)
        }
        XCTAssertEqual(
            Set(ModelName.allCases.filter { $0.resNet != nil }.map(\.rawValue)), Set(members.map(\.key)),
            "scripts/make_timm_fixtures.py lists what is built")
    }

    /// Small networks of timm's blocks, whose depths and widths nobody published, recognized from their files.
    func testLogitsAreTimms() throws {
        let x = try WeightFile.open("\(Self.fixtures)/x.npy").tensor("array")
        let logits = try WeightFile.open("\(Self.fixtures)/logits.npz")
        for entry in logits.entries {
            let model = try Model(from: WeightFile.open("\(Self.fixtures)/\(entry.key).safetensors"))
            let input = ImageShape(channels: 3, height: x.shape[2], width: x.shape[3])
            let plan = try InferencePlan(
                model: model, input: input, batch: x.shape[0], options: PlanOptions(accuracy: .strict))
            let wanted = try logits.tensor(entry.key).values
            let largest = wanted.map(\.magnitude).max()!
            for (a, b) in zip(try plan.predict(x).logits.values, wanted) {
                XCTAssertEqual(a, b, accuracy: 3e-6 * largest, entry.key)
            }
        }
        XCTAssertGreaterThanOrEqual(logits.entries.count, 3)
    }

    func testTheDocumentedTableIsWhatLoads() throws {
        let text = try read("\(ToolFolderPath.repository)/docs/weights.md")
        let lines = text.split(separator: "\n").filter { $0.hasPrefix("| ") && $0.hasSuffix(" yes |") }
        let names = lines.flatMap { $0.split(separator: "|")[0].split(separator: ",") }.map {
            $0.trimmingCharacters(in: .whitespaces)
        }
        for model in ModelName.allCases where model.resNet != nil {
            XCTAssertTrue(names.contains(model.rawValue), model.rawValue)
        }
        for name in names where name.contains("res") { XCTAssertNotNil(ModelName(rawValue: name), name) }
    }
}

private enum ToolFolderPath {
    static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../..").standardized.path
}
