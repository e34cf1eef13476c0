// Checkpoints as training scripts write them: weights among everything else that Python can pickle, in every protocol and
// container. What nobody needs harms nobody; what a model needs and cannot be read is named.

import ResNetSupport
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
        ("wild_bare0.pkl", .pickle, []), ("wild_bare1.pkl", .pickle, []), ("wild_bare4.pkl", .pickle, []),
        ("wild.npz", .npz, []),
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
        XCTAssertEqual(Set(reasons.keys), ["text", "complex", "date", "void", "structured", "named_\u{e9}"])
        XCTAssertTrue(reasons["text"]!.contains("<U4"), reasons["text"]!)
        XCTAssertEqual(arrays.entry("uint32")?.type, .uint32)
        let safetensors = try WeightFile.open(WeightFixtures.path("wild.safetensors"))
        XCTAssertEqual(safetensors.unread, [UnreadTensor(key: "scale.a", reason: "its dtype is F8_E4M3")])
        XCTAssertEqual(safetensors.report(for: WeightFixtures.tinyGraph()).left, ["scale.b"])
    }

    /// A pickle of every opcode that Python writes in protocols 0 and 1, by hand.
    func testTextOpcodes() throws {
        func text(_ lines: String) -> [UInt8] { Array(lines.utf8) }
        var pickle = P.mark + text("N") + text((0..<300).map { "p\($0)\n" }.joined()) + text("0")
        pickle += text("Va\nI01\nVb\nI-7\nVc\nL12345678901L\nVd\nF1.5\nVe\\u00e9\nS'x\\x41\\n'\nS\"f\"\n")
        let latin1: [UInt8] = [0x55, 2, 0xe9, 0x41]
        pickle += latin1 + text("Vg\n(NlVh\n(Vk\nI1\ndVi\nN20Vj\n(N1NVl\n")
        let long4: [UInt8] = [0x8b, 2, 0, 0, 0, 0xff, 0xff]
        pickle += long4 + text("Vm\nNp300\n0g300\n")
        pickle += P.text("w") + P.tensor(P.storage("0", count: 4), shape: [4], strides: [1]) + text("d.")
        let file = try WeightFile.open(bytes: BuiltTorch.zip(pickle), name: "text")
        XCTAssertEqual(file.entries.map(\.key), ["w"])
        XCTAssertEqual(
            file.metadata, ["a": "true", "b": "-7", "c": "12345678901", "d": "1.5", "e\u{e9}": "xA\n", "l": "-1"])
        XCTAssertEqual(Set(file.ignored), ["f", "g", "h", "i", "j", "m"])
    }

    /// None, numbers and tuples among the names, or above them.
    func testKeysThatAreNoText() throws {
        let network = WildNetwork()
        let state = BuiltState(network.tensors { $0 })
        let none: [UInt8] = [0x4e]
        let half: [UInt8] = [0x47, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0]
        let count = network.model[network.model.graph.parameters[0].name].count
        let stray = P.tensor(P.storage("0", count: count), shape: [4], strides: [1])
        var among = state.value()
        for key in [none, half, P.integers([1, 2]), P.integer(3)] { among += key + stray + P.setItem }
        among += P.mark + P.text("a") + none + P.tuple + P.text("b") + P.setItem
        var files = [among]
        for key in [none, half, P.integers([1, 2]), P.integer(3)] {
            files.append(P.emptyDict + key + state.value() + P.setItem)
        }
        for (number, value) in files.enumerated() {
            let bytes = BuiltState.zip(P.proto + value + P.stop, state.storages())
            let file = try WeightFile.open(bytes: bytes, name: "keys.pth")
            let found = try Model(from: file)
            XCTAssertEqual(found.parameters.mapValues(\.bits), network.model.parameters.mapValues(\.bits))
            XCTAssertEqual(file.wrapper, number == 0 ? [] : [["None", "a float", "a tuple", "3"][number - 1]])
            if number == 0 { XCTAssertEqual(Set(file.ignored), ["None", "a float", "a tuple"]) }
        }
    }

    func testProtocol4And5Opcodes() throws {
        let frame: [UInt8] = [0x80, 5, 0x95, 1, 0, 0, 0, 0, 0, 0, 0]
        func long(_ code: UInt8, _ data: [UInt8]) -> [UInt8] { [code] + littleEndianBytes(UInt64(data.count)) + data }
        let items: [(String, [UInt8])] = [
            ("bytes8", long(0x8e, [1, 2])), ("array8", long(0x96, [1, 2])), ("text8", long(0x8d, Array("abc".utf8))),
            ("bytes", [0x42, 2, 0, 0, 0, 1, 2]), ("short", [0x43, 1, 0xff]), ("buffer", [0x97]),
            ("frozen", P.mark + [0x4e, 0x91]),
            ("read_only", [0x97, 0x98]), ("set", [0x8f] + P.mark + [0x4e, 0x90]),
            ("memo", [0x4e, 0x94, 0x30, 0x68, 0]),
        ]
        let tensor = P.tensor(P.storage("0", count: 4), shape: [4], strides: [1])
        var pickle = frame + P.emptyDict + P.mark
        for item in items { pickle += P.shortText(item.0) + item.1 }
        pickle += P.shortText("w") + tensor + [0x75] + P.stop
        let file = try WeightFile.open(bytes: BuiltTorch.zip(pickle), name: "new")
        XCTAssertEqual(file.entries.map(\.key), ["w"])
        XCTAssertEqual(file.metadata, ["text8": "abc"])
        XCTAssertEqual(Set(file.ignored), Set(items.map(\.0)).subtracting(["text8"]))
    }

    /// The elements of an array of 4,500 values in protocol 0: escaped text, in Python 3 encoded by a call.
    func testLongLinesAreTheBytesOfArrays() throws {
        let values: [UInt8] = (0..<4_500).map { UInt8($0 % 256) }
        var escaped: [UInt8] = Array("S'".utf8)
        // raw-unicode-escape keeps Latin-1 as it is, but for line feeds and backslashes.
        var raw: [UInt8] = Array("V".utf8)
        for byte in values {
            let digits: [UInt8] = Array((byte < 16 ? "0" : "").utf8) + Array(String(byte, radix: 16).utf8)
            escaped += Array("\\x".utf8) + digits
            raw += byte == 0x0a || byte == 0x5c ? Array("\\u00".utf8) + digits : [byte]
        }
        escaped += Array("'\n".utf8)
        raw += Array("\n".utf8)
        let encoded = Self.call("_codecs", "encode", raw + P.text("latin1"))
        for elements in [escaped, encoded] {
            let file = try WeightFile.open(bytes: P.dict(Self.byteArray(elements, count: 4_500)), name: "old.pkl")
            XCTAssertEqual(file.unread, [])
            XCTAssertEqual(try file.tensor(named: "w").values, values.map(Float.init))
        }
    }

    private static func call(_ module: String, _ name: String, _ arguments: [UInt8]) -> [UInt8] {
        P.global(module, name) + P.mark + arguments + P.tuple + P.reduce
    }

    /// NumPy's array of bytes, as it pickles itself.
    private static func byteArray(_ elements: [UInt8], count: Int) -> [UInt8] {
        let build: [UInt8] = [0x62]
        let nothing: [UInt8] = [0x4e, 0x4e, 0x4e]
        var type = call("numpy", "dtype", P.text("u1") + P.integer(0) + P.integer(1))
        type += P.mark + P.integer(3) + P.text("|") + nothing
        type += P.integer(-1) + P.integer(-1) + P.integer(0) + P.tuple + build
        var array = P.global("numpy", "ndarray")
        array += P.integers([0]) + P.text("b")
        array = call("numpy.core.multiarray", "_reconstruct", array)
        array += P.mark + P.integer(1) + P.integers([count]) + type
        return array + [0x89] + elements + P.tuple + build
    }

    /// PyTorch's old stream in every protocol that can hold a storage, 1 to 5.
    func testStreamsOfEveryProtocol() throws {
        let long: [UInt8] = [0x8a, 10] + TorchStream.magic + P.stop
        let frame: [UInt8] = [0x95] + littleEndianBytes(UInt64(long.count))
        let storage = P.storage("0", count: 4, view: [0x4e])
        let rest = BuiltTorch.stream(P.dict(P.tensor(storage, shape: [4], strides: [1])))
            .dropFirst(BuiltTorch.magic.count)
        let starts: [[UInt8]] = [
            Array("L119547037146038801333356L\n.".utf8), [0x80, 2] + long, [0x80, 3] + long, [0x80, 4] + frame + long,
            [0x80, 5] + frame + long,
        ]
        for start in starts {
            let file = try WeightFile.open(bytes: start + rest, name: "stream")
            XCTAssertEqual(file.container, .torchStream)
            XCTAssertEqual(try file.tensor(named: "w").values, [0, 0, 0, 0])
        }
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
