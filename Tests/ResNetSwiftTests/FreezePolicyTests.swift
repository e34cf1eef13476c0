import ResNetSwift
import XCTest

@testable import ResNetModels

final class FreezePolicyTests: XCTestCase {
    private let graph = ResNetConfig.resnet18.graph()
    private var keys: [String] { graph.parameters.map(\.name) }

    private func trainable(_ policy: FreezePolicy) throws -> [String] {
        let frozen = try graph.selection(of: policy)
        return keys.filter { !frozen.contains($0) }
    }

    private func message(_ policy: @autoclosure () throws -> FreezePolicy) -> String {
        do {
            _ = try graph.selection(of: policy())
            return "no error"
        } catch { return "\(error)" }
    }

    func testNoneAndAllButHead() throws {
        XCTAssertEqual(try graph.selection(of: .none), [])
        XCTAssertEqual(try trainable(.allButHead), ["fc.weight", "fc.bias"])
    }

    func testUpToAStageIncludesItAndAllBefore() throws {
        let trained = try trainable(.upTo("layer2"))
        XCTAssertEqual(
            trained, keys.filter { !["conv1", "bn1", "layer1", "layer2"].contains($0.split(separator: ".")[0]) })
        XCTAssertEqual(trained.first, "layer3.0.conv1.weight")
        XCTAssertEqual(try trainable(.upTo("layer1.0.conv2")).first, "layer1.0.bn2.weight")
        XCTAssertEqual(
            message(.upTo("layer5")),
            "freezing 'layer5': expected a parameter or module of ResNet, found none; the nearest is 'layer1'")
        XCTAssertNotEqual(message(.upTo("layer")), "no error", "half a name is no module")
    }

    func testFirstLayersCountsLayersWithParameters() throws {
        XCTAssertEqual(try graph.selection(of: .firstLayers(0)), [])
        XCTAssertEqual(try graph.selection(of: .firstLayers(1)), ["conv1.weight"])
        XCTAssertEqual(
            try graph.selection(of: .firstLayers(2)),
            ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"])
        // 20 convolutions, 20 norms and fc.
        XCTAssertEqual(try trainable(.firstLayers(40)), ["fc.weight", "fc.bias"])
        XCTAssertEqual(try trainable(.firstLayers(41)), [])
        for count in [-1, 42] {
            XCTAssertEqual(
                message(.firstLayers(count)),
                "freezing 'firstLayers:\(count)': expected 0 to 41 layers, found \(count)")
        }
    }

    func testGlobsSelectKeysAndModules() throws {
        XCTAssertEqual(try graph.selection(of: .matching(["conv1"])), ["conv1.weight"])
        XCTAssertEqual(
            try graph.selection(of: .matching(["conv1", "layer1"])),
            Set(keys.filter { $0 == "conv1.weight" || $0.hasPrefix("layer1.") }))
        XCTAssertEqual(
            try graph.selection(of: .matching(["*.conv?.weight"])),
            Set(keys.filter { $0.hasPrefix("layer") && $0.contains(".conv") }))
        XCTAssertEqual(try graph.selection(of: .matching(["*bn*"])), Set(keys.filter { $0.contains("bn") }))
        XCTAssertEqual(try graph.selection(of: .matching(["*"])), Set(keys))
        XCTAssertTrue(message(.matching(["conv1", "conv9*"])).hasPrefix("freezing 'conv9*': expected a parameter"))
        XCTAssertNotEqual(message(.matching([])), "no error")
    }

    func testNamesAreExact() throws {
        XCTAssertEqual(
            try graph.selection(of: .names(["fc.bias", "bn1"])),
            ["fc.bias", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"])
        XCTAssertTrue(message(.names(["conv*"])).contains("the nearest is"))
    }

    func testGlobMatching() {
        let table: [(String, String, Bool)] = [
            ("", "", true), ("*", "", true), ("?", "", false), ("a*b", "ab", true), ("a*b", "a.x.b", true),
            ("a*b", "a.x.bc", false), ("*a*a*", "banana", true), ("*a?a", "banana", true), ("a?", "a", false),
            ("**", "x", true), ("*x", "yyyx", true), ("*xy", "xxxy", true),
        ]
        for (glob, text, fits) in table { XCTAssertEqual(matchesGlob(glob, text), fits, "\(glob) \(text)") }
    }

    func testFreezingCoversRunningStatisticsUnlessToldOtherwise() throws {
        let model = Model.initialized(CIFARResNetConfig.resnet14.graph(), seed: 0)
        let frozen = try model.freezing(.upTo("bn1")).frozen
        XCTAssertEqual(frozen.count, 5)
        let updating = try model.freezing(.upTo("bn1"), updatesStatistics: true).frozen
        XCTAssertEqual(updating, ["conv1.weight", "bn1.weight", "bn1.bias"])
        // A policy says all that is frozen: it does not add to what was.
        XCTAssertEqual(try model.freezing(.allButHead).freezing(.none).frozen, [])
    }

    func testTheFourSituations() {
        XCTAssertEqual(FreezePolicy.recommended(data: .plenty, task: .similar), .none)
        XCTAssertEqual(FreezePolicy.recommended(data: .little, task: .similar), .allButHead)
        XCTAssertEqual(FreezePolicy.recommended(data: .plenty, task: .different), .none)
        XCTAssertEqual(FreezePolicy.recommended(data: .little, task: .different), .upTo("layer1"))
    }

    func testPoliciesAreReadFromText() throws {
        let table: [(String, FreezePolicy)] = [
            ("none", .none), ("allButHead", .allButHead), ("upTo:layer2", .upTo("layer2")),
            ("firstLayers:3", .firstLayers(3)), ("conv1", .matching(["conv1"])),
            ("conv1, layer1,*.bias", .matching(["conv1", "layer1", "*.bias"])),
        ]
        for (text, policy) in table { XCTAssertEqual(try FreezePolicy(parsing: text), policy, text) }
        for text in ["firstLayers:x", "upTo:", "before:layer1", "", "a:b:c"] {
            XCTAssertNotEqual(message(try FreezePolicy(parsing: text)), "no error", text)
        }
    }
}
