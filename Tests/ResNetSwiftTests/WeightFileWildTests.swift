// Checkpoints as training scripts write them: weights among everything else that Python can pickle, in every protocol and
// container. What nobody needs harms nobody; what a model needs and cannot be read is named.

import ResNetSwift
import XCTest

@testable import ResNetWeights

final class WeightFileWildTests: XCTestCase {
    private typealias P = BuiltPickle

    /// Name, container, keys above the state dict.
    private static let files: [(name: String, kind: ContainerKind, wrapper: [String])] = [
        ("wild_protocol2.pth", .torchZip, ["model_state_dict"]),
        ("wild_protocol5.pth", .torchZip, ["model_state_dict"]),
        ("wild_stream.pth", .torchStream, ["model_state_dict"]), ("wild_tar.pth", .torchTar, ["state_dict"]),
        ("wild_arrays2.pth", .torchZip, ["net"]), ("wild_arrays5.pth", .torchZip, ["net"]),
        ("wild_arrays_deflated.pth", .torchZip, ["net"]), ("wild_arrays_swapped.pth", .torchZip, []),
        ("wild_bare1.pkl", .pickle, []), ("wild_bare4.pkl", .pickle, []), ("wild.npz", .npz, []),
        ("wild.safetensors", .safetensors, []),
    ]

    func testTheWeightsAreReadBitForBit() throws {
        let graph = WeightFixtures.tinyGraph()
        let expected = try WeightFixtures.expected("tiny")
        for fixture in Self.files {
            let file = try WeightFile.open(WeightFixtures.path(fixture.name))
            XCTAssertEqual(file.container, fixture.kind, fixture.name)
            XCTAssertEqual(file.wrapper, fixture.wrapper, fixture.name)
            let model = try Model(graph: graph, from: file)
            for (name, tensor) in model.parameters {
                XCTAssertEqual(
                    tensor.bits, expected[name]!.bits.map { UInt32($0, radix: 16)! }, "\(fixture.name) \(name)")
            }
            // The same from memory.
            let bytes = try WeightFile.open(bytes: try WeightFixtures.bytes(fixture.name), name: fixture.name)
            XCTAssertEqual(try bytes.tensor(named: "fc.bias").bits, model["fc.bias"].bits)
        }
    }

    func testWhatWasNotReadIsListed() throws {
        let pickled = try WeightFile.open(WeightFixtures.path("wild_protocol5.pth"))
        for key in ["namespace", "random_state", "deque", "hparams", "module", "tuples"] {
            XCTAssertTrue(pickled.ignored.contains(key), "\(key) in \(pickled.ignored)")
        }
        XCTAssertEqual(pickled.metadata["epoch"], "3")
        XCTAssertTrue(try XCTUnwrap(pickled.summary).hasPrefix("found under model_state_dict"))
        let arrays = try WeightFile.open(WeightFixtures.path("wild.npz"))
        let reasons = Dictionary(uniqueKeysWithValues: arrays.unread.map { ($0.key, $0.reason) })
        XCTAssertEqual(Set(reasons.keys), ["text", "complex", "date", "void", "nested", "structured", "named_\u{e9}"])
        XCTAssertTrue(reasons["text"]!.contains("<U4"), reasons["text"]!)
        XCTAssertEqual(arrays.entry("uint32")?.type, .uint32)
        let safetensors = try WeightFile.open(WeightFixtures.path("wild.safetensors"))
        XCTAssertEqual(safetensors.unread, [UnreadTensor(key: "scale.a", reason: "its dtype is F8_E4M3")])
        XCTAssertEqual(safetensors.report(for: WeightFixtures.tinyGraph()).left, ["scale.b"])
    }

    /// A pickle of every opcode that Python writes in protocols 0 and 1, by hand.
    func testTextOpcodes() throws {
        func line(_ code: UInt8, _ text: String) -> [UInt8] { [code] + Array("\(text)\n".utf8) }
        var items: [UInt8] = []
        func item(_ key: String, _ parts: [UInt8]...) {
            items += line(0x56, key)
            for part in parts { items += part }
        }
        item("a", line(0x49, "01"))
        item("b", line(0x49, "-7"))
        item("c", line(0x4c, "12345678901L"))
        item("d", line(0x46, "1.5"))
        item("e\\u00e9", line(0x53, "'x\\x41\\n'"))
        items += line(0x53, "\"f\"") + [0x55, 2, 0xe9, 0x41]
        item("g", P.mark, [0x4e, 0x6c])
        item("h", P.mark, line(0x56, "k"), [0x4b, 1, 0x64])
        item("i", [0x4e, 0x32, 0x30])
        item("j", P.mark, [0x4e, 0x31, 0x4e])
        item("l", [0x8b, 2, 0, 0, 0, 0xff, 0xff])
        item("m", [0x4e], line(0x70, "300"), [0x30], line(0x67, "300"))
        let tensor = P.tensor(P.storage("0", count: 4), shape: [4], strides: [1])
        var pickle: [UInt8] = P.mark + [0x4e]
        for place in 0..<300 { pickle += line(0x70, String(place)) }
        pickle += [0x30]
        pickle += items
        pickle += P.text("w")
        pickle += tensor
        pickle += [0x64]
        pickle += P.stop
        let file = try WeightFile.open(bytes: BuiltTorch.zip(pickle), name: "text")
        XCTAssertEqual(file.entries.map(\.key), ["w"])
        XCTAssertEqual(
            file.metadata, ["a": "true", "b": "-7", "c": "12345678901", "d": "1.5", "e\u{e9}": "xA\n", "l": "-1"])
        XCTAssertEqual(Set(file.ignored), ["f", "g", "h", "i", "j", "m"])
    }

    func testProtocol4And5Opcodes() throws {
        let frame: [UInt8] = [0x80, 5, 0x95, 1, 0, 0, 0, 0, 0, 0, 0]
        func long(_ code: UInt8, _ data: [UInt8]) -> [UInt8] { [code] + littleEndianBytes(UInt64(data.count)) + data }
        let set: [UInt8] = [0x8f] + P.mark + [0x4e, 0x90]
        let frozen: [UInt8] = P.mark + [0x4e, 0x91]
        let items: [(String, [UInt8])] = [
            ("bytes8", long(0x8e, [1, 2])), ("array8", long(0x96, [1, 2])), ("text8", long(0x8d, Array("abc".utf8))),
            ("bytes", [0x42, 2, 0, 0, 0, 1, 2]), ("short", [0x43, 1, 0xff]), ("buffer", [0x97]), ("frozen", frozen),
            ("read_only", [0x97, 0x98]), ("set", set), ("memo", [0x4e, 0x94, 0x30, 0x68, 0]),
        ]
        let tensor = P.tensor(P.storage("0", count: 4), shape: [4], strides: [1])
        var pickle: [UInt8] = frame + P.emptyDict + P.mark
        for item in items { pickle += P.shortText(item.0) + item.1 }
        pickle += P.shortText("w") + tensor
        pickle += [0x75]
        pickle += P.stop
        let file = try WeightFile.open(bytes: BuiltTorch.zip(pickle), name: "new")
        XCTAssertEqual(file.entries.map(\.key), ["w"])
        XCTAssertEqual(file.metadata, ["text8": "abc"])
        XCTAssertEqual(Set(file.ignored), Set(items.map(\.0)).subtracting(["text8"]))
    }

    /// History as people keep it: 200,000 pairs in a list, and in one tuple.
    func testManySmallObjects() throws {
        let pair: [UInt8] = [0x4b, 1, 0x4b, 2, 0x86, 0x94]
        let pairs = (0..<200_000).flatMap { _ in pair }
        let tensor = P.tensor(P.storage("0", count: 4), shape: [4], strides: [1])
        for (open, close) in [(P.emptyList + P.mark, [0x65]), (P.mark, P.tuple)] as [([UInt8], [UInt8])] {
            let pickle = P.dict([("history", open + pairs + close), ("w", tensor)])
            let file = try WeightFile.open(bytes: BuiltTorch.zip(pickle), name: "many")
            XCTAssertEqual(file.entries.map(\.key), ["w"])
            XCTAssertEqual(file.ignored, ["history"])
        }
    }

    func testAWeightThatIsNotReadIsNamed() throws {
        let graph = WeightFixtures.tinyGraph()
        let cases: [(value: [UInt8], words: String)] = [
            (P.global("numpy.random", "rand") + P.emptyTuple + P.reduce, "missing in the file (1): fc.weight"),
            (
                P.global("torch._utils", "_rebuild_sparse_tensor") + P.emptyTuple + P.reduce,
                "cannot be read (1): fc.weight, it is made by torch._utils._rebuild_sparse_tensor"
            ),
            (
                P.tensor(P.storage("0", "QInt8Storage", count: 40), shape: [5, 8], strides: [8, 1]),
                "cannot be read (1): fc.weight, its type is torch.QInt8Storage"
            ),
        ]
        for (value, words) in cases {
            let state = WeightFixtures.tinyGraph().parameters.map { ($0.name, $0.shape) }
            var built = BuiltState(state)
            built.replacements["fc.weight"] = value
            let file = try WeightFile.open(bytes: built.zip(), name: "without.pth")
            XCTAssertThrowsError(try Model(graph: graph, from: file)) {
                XCTAssertTrue("\($0)".contains(words), "\($0)")
            }
            var model = WeightFixtures.model(graph, value: 3)
            let report = try model.load(from: file, policy: .skipMismatched)
            XCTAssertEqual(report.missing, ["fc.weight"])
            XCTAssertEqual(model["fc.weight"].values.first, 3)
        }
        // The same in safetensors: a network whose classifier is float8 is no backbone.
        let network = WildNetwork()
        var entries = network.entries.filter { $0.name != "fc.weight" }
        entries.append((name: "fc.weight", shape: [3, 16]))
        let header = entries.reduce(into: (text: "", end: 0)) { header, entry in
            let size = entry.shape.reduce(1, *) * (entry.name == "fc.weight" ? 1 : 4)
            let type = entry.name == "fc.weight" ? "F8_E5M2" : "F32"
            header.text += header.text.isEmpty ? "{" : ","
            header.text += "\"\(entry.name)\":{\"dtype\":\"\(type)\",\"shape\":\(entry.shape),"
            header.text += "\"data_offsets\":[\(header.end),\(header.end + size)]}"
            header.end += size
        }
        let file = try WeightFile.open(
            bytes: BuiltSafetensors.file(header.text + "}", data: header.end), name: "float8.safetensors")
        XCTAssertThrowsError(try Model(from: file)) {
            XCTAssertTrue("\($0)".contains("cannot be read (1): fc.weight, its dtype is F8_E5M2"), "\($0)")
        }
    }
}
