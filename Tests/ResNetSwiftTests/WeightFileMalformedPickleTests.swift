// Hostile and broken pickles, in the zip and in the stream container. None may run anything; most would like to.

import ResNetSwift
import XCTest

final class WeightFileMalformedPickleTests: XCTestCase {
    private typealias P = BuiltPickle

    /// A tensor of four floats over the one storage.
    private let good = P.tensor(P.storage("0", count: 4), shape: [4], strides: [1])

    func testTheBuilderBuildsGoodFiles() throws {
        let view = P.mark + P.text("v") + P.integer(1) + P.integer(3) + P.tuple
        let viewed = P.tensor(P.storage("0", count: 4, view: view), shape: [3], strides: [1])
        let none: [UInt8] = [0x4e]
        let plain = P.tensor(P.storage("0", count: 4, view: none), shape: [2, 2], strides: [1, 2])
        for bytes in [
            BuiltTorch.zip(P.dict(good)), BuiltTorch.stream(P.dict(plain)), BuiltTorch.stream(P.dict(viewed)),
        ] {
            let file = try WeightFile.open(bytes: bytes, name: "right")
            XCTAssertTrue(try file.tensor("w").values.allSatisfy { $0 == 0 })
        }
    }

    /// Calls are kept as data and never made: beside a tensor they harm nobody, alone they are no weights.
    func testCallsAreNeverMade() throws {
        let mark = "/tmp/resnet-weights-\(UInt64.random(in: 0 ... .max))"
        let command = P.mark + P.text("touch \(mark)") + P.tuple
        func classic(_ module: String, _ name: String) -> [UInt8] { P.global(module, name) + command + P.reduce }
        func stacked(_ module: String, _ name: String) -> [UInt8] {
            P.shortText(module) + P.shortText(name) + [0x93] + command + P.reduce
        }
        let calls: [(name: String, value: [UInt8])] = [
            ("os.system", classic("os", "system")), ("posix.system", classic("posix", "system")),
            ("builtins.eval", classic("builtins", "eval")), ("__builtin__.getattr", classic("__builtin__", "getattr")),
            ("subprocess.Popen", classic("subprocess", "Popen")), ("torch.load", classic("torch", "load")),
            ("torch.FloatStorage", classic("torch", "FloatStorage")), ("nt.system", stacked("nt", "system")),
            ("os.system", P.mark + command + [0x69] + Array("os\nsystem\n".utf8)),
            ("os.system", P.mark + P.global("os", "system") + command + [0x6f]),
            ("os.system", P.global("os", "system") + command + [0x81]),
            ("os.system", P.global("os", "system") + command + P.emptyDict + [0x92]),
            ("argparse.Namespace", P.global("argparse", "Namespace") + P.emptyTuple + [0x81] + P.emptyDict + [0x62]),
            ("an object", P.text("f") + P.emptyTuple + P.reduce),
            ("a dict", P.emptyDict + P.emptyDict + [0x62]),
        ]
        for (index, call) in calls.enumerated() {
            let inside = P.dict([("a", call.value), ("w", good), ("b", call.value)])
            let withView = P.tensor(P.storage("0", count: 4, view: [0x4e]), shape: [4], strides: [1])
            let files = [
                BuiltTorch.zip(inside), BuiltTorch.stream(P.dict([("a", call.value), ("w", withView)])),
                BuiltTorch.tar(
                    storages: BuiltTorch.tarStorages(), tensors: BuiltTorch.tarTensors(),
                    pickle: P.dict([("a", call.value), ("w", P.integer(9) + P.persistentId)])),
            ]
            for bytes in files {
                let file = try WeightFile.open(bytes: bytes, name: call.name)
                XCTAssertEqual(file.entries.map(\.key), ["w"], call.name)
                XCTAssertEqual(try file.tensor("w").values, [0, 0, 0, 0])
                XCTAssertTrue(file.ignored.contains("a"), "\(call.name): \(file.ignored)")
            }
            try checkMalformed([
                .init("alone-\(index)", BuiltTorch.zip(P.dict(call.value)), "notWeights", "its keys are: w"),
                .init("bare-\(index)", P.dict(call.value), "notWeights", "its keys are: w"),
                // A tensor that depends on the call.
                .init(
                    "storage-\(index)",
                    BuiltTorch.zip(P.dict(P.tensor(call.value, shape: [4], strides: [1]))),
                    call.name == "a dict" ? "malformed" : "unsupported",
                    call.name == "a dict" ? "a dict in place of a storage" : "w: its storage is made by"),
            ])
        }
        XCTAssertNotEqual(access(mark, F_OK), 0, "nothing ran")
    }

    func testWhatNoPickleOfWeightsDoes() throws {
        func zip(_ value: [UInt8]) -> [UInt8] { BuiltTorch.zip(P.dict(value)) }
        func opcode(_ bytes: UInt8...) -> [UInt8] { BuiltTorch.zip(P.proto + bytes) }
        try checkMalformed([
            .init("whole-model", zip(P.global("torchvision.models.resnet", "ResNet")), "notWeights", "its keys are: w"),
            .init("ext1", opcode(0x82, 1), "forbiddenPickle", "extension registry"),
            .init("ext2", opcode(0x83, 1, 0), "forbiddenPickle", "extension registry"),
            .init("ext4", opcode(0x84, 1, 0, 0, 0), "forbiddenPickle", "extension registry"),
            .init("unknown-opcode", opcode(0xff), "malformed", "opcode 0xff at byte 2"),
            .init("stack-global-empty", opcode(0x93), "malformed", "the stack is empty"),
            .init("stack-global-numbers", opcode(0x4b, 1, 0x4b, 2, 0x93), "malformed", "STACK_GLOBAL of an integer"),
            .init("inst-cut", opcode(0x69), "truncated", "data.pkl"),
            .init("frame-long", opcode(0x95, 9, 0, 0, 0, 0, 0, 0, 0), "truncated", "needs 9 bytes, 0"),
            .init("protocol-9", BuiltTorch.zip([0x80, 9]), "unsupported", "pickle protocol 9"),
            .init(
                "module-id", zip(P.mark + P.text("module") + P.tuple + P.persistentId), "malformed",
                "persistent id is not a tuple of 5"),
            .init(
                "globals", BuiltTorch.zip(P.proto + (0..<20_000).flatMap { P.global("m", "n\($0)") + [0x30] }),
                "exceedsLimit", "10000 globals"),
            // A function that calls itself, as deep as the pickle is long.
            .init(
                "nested-rebuild",
                zip(
                    (0..<1000).flatMap { _ in P.global("torch._tensor", "_rebuild_from_type_v2") + P.mark + P.text("f")
                    }
                        + P.emptyTuple + (0..<1000).flatMap { _ in P.tuple + P.reduce }), "unsupported",
                "w: it is made by"),
        ])
    }

    func testBrokenPickles() throws {
        func raw(_ bytes: [UInt8]) -> [UInt8] { BuiltTorch.zip(P.proto + bytes) }
        func zip(_ value: [UInt8]) -> [UInt8] { BuiltTorch.zip(P.dict(value)) }
        func tensor(
            _ type: String = "FloatStorage", key: String = "0", count: Int = 4, offset: Int = 0, shape: [Int] = [4],
            strides: [Int] = [1]
        ) -> [UInt8] {
            zip(P.tensor(P.storage(key, type, count: count), offset: offset, shape: shape, strides: strides))
        }
        // A list of 100,000 items, then an OrderedDict of it again and again.
        let pair = P.mark + P.integer(1) + P.integer(2) + P.tuple
        let pairs = P.emptyList + [0x71, 0] + P.mark + [UInt8](repeating: 0x4e, count: 100_000) + [0x65]
        let copies = pairs + (0..<1000).flatMap { _ in P.global("collections", "OrderedDict") + [0x68, 0, 0x85, 0x52] }
        let nest = [UInt8](repeating: 0x5d, count: 100_000) + [UInt8](repeating: 0x61, count: 99_999)
        let selfReference: [UInt8] = [0x7d, 0x71, 0] + P.text("state_dict") + [0x68, 0, 0x73, 0x2e]
        var bigPickle = BuiltZip(.init("a/data.pkl", [UInt8](repeating: 0, count: 70_000)))
        bigPickle.members[0].deflated = true
        bigPickle.members[0].size = 65 << 20
        try checkMalformed([
            .init("stop-early", raw(P.stop), "malformed", "the stack is empty"),
            .init("cut", BuiltTorch.zip(P.dict(good).dropLast()), "truncated", "data.pkl needs 1 bytes, 0"),
            .init("trailing", BuiltTorch.zip(P.dict(good) + [0x2e]), "malformed", "1 bytes more"),
            .init("values-left", raw([0x4e, 0x4e, 0x2e]), "malformed", "values left on the stack"),
            .init("no-mark", raw([0x74]), "malformed", "no MARK"),
            .init("no-list", raw([0x4e, 0x4e, 0x61]), "malformed", "a list is expected"),
            .init("no-dict", raw([0x5d, 0x4e, 0x4e, 0x73]), "malformed", "a dict is expected"),
            .init("odd-items", raw([0x7d, 0x28, 0x4e, 0x75]), "malformed", "a key without a value"),
            .init("through-mark", raw([0x4e, 0x28, 0x85]), "malformed", "the stack is empty"),
            .init("memo-unset", raw([0x68, 5]), "malformed", "memo 5 was never set"),
            .init("memo-far", raw([0x4e, 0x72, 0xff, 0xff, 0, 0]), "exceedsLimit", "memo 65535 after 0"),
            .init(
                "memo-long",
                raw([0x4e] + (0..<1_000_100).flatMap { [0x72] + littleEndianBytes(UInt32($0)) }), "exceedsLimit",
                "memo 1000000"),
            .init("memo-empty", raw([0x71, 5]), "malformed", "the stack is empty"),
            .init("text-long", raw([0x58, 0xff, 0xff, 0xff, 0xff]), "truncated", "needs 4294967295 bytes"),
            .init("text-negative", raw([0x54, 0xff, 0xff, 0xff, 0xff]), "truncated", "data.pkl"),
            .init("number-odd", raw([0x49] + Array("1x\n".utf8)), "malformed", "'1x' in place of an integer"),
            .init("long-odd", raw([0x4c] + Array("1xL\n".utf8)), "malformed", "'1xL' in place of an integer"),
            .init("float-odd", raw([0x46] + Array("x\n".utf8)), "malformed", "'x' in place of a number"),
            .init("get-odd", raw([0x67] + Array("-1\n".utf8)), "malformed", "memo -1 was never set"),
            .init("put-odd", raw([0x4e, 0x70] + Array("-1\n".utf8)), "exceedsLimit", "memo -1"),
            .init("quote-missing", raw([0x53] + Array("'a\n".utf8)), "malformed", "odd escape"),
            .init("escape-cut", raw([0x56] + Array("\\u12\n".utf8)), "malformed", "odd escape"),
            .init(
                "text-much",
                raw(
                    P.text(String(repeating: "a", count: 4096)) + [0x71, 0, 0x8c, 6] + Array("latin1".utf8) + [0x71, 1]
                        + (0..<40_000).flatMap { _ in
                            P.global("_codecs", "encode") + [0x68, 0, 0x68, 1, 0x86, 0x52, 0x30]
                        }), "exceedsLimit", "encodes text over and over"),
            .init("global-cut", raw([0x63, 0x6f, 0x73]), "truncated", "data.pkl"),
            .init(
                "global-long", raw([0x63] + [UInt8](repeating: 0x61, count: 1000)), "malformed", "more than 512 bytes"),
            .init("marks", raw([UInt8](repeating: 0x28, count: 2000)), "exceedsLimit", "1000 marks"),
            .init("objects", raw([UInt8](repeating: 0x5d, count: 1_000_000)), "exceedsLimit", "600000 objects"),
            .init("stack", raw([UInt8](repeating: 0x4e, count: 1_100_000)), "exceedsLimit", "1000000 values"),
            .init(
                "steps",
                raw([UInt8](repeating: 0x4e, count: 4_200_000).enumerated().map { $0.0 % 2 == 0 ? 0x4e : 0x30 }),
                "exceedsLimit", "4000000 steps"),
            .init("nest", raw(nest + P.stop), "notWeights", "holds a list"),
            .init("self-reference", raw(selfReference), "notWeights", "without named tensors"),
            .init("copies", raw(copies), "truncated", "data.pkl"),
            .init(
                "copies-of-pairs",
                raw(
                    P.emptyList + [0x71, 0] + P.mark + pair + [0x71, 1]
                        + [UInt8](repeating: 0x68, count: 100_000).flatMap { [$0, 1] } + [0x65]
                        + (0..<1000).flatMap { _ in P.global("collections", "OrderedDict") + [0x68, 0, 0x85, 0x52] }),
                "exceedsLimit", "3,000,000 values"),
            .init("pickle-large", bigPickle.build(), "exceedsLimit", "zip member a/data.pkl has 68157440 bytes"),
            .init("root-text", raw(P.text("weights") + P.stop), "notWeights", "holds a string"),
            .init("no-tensors", zip(P.text("x")), "notWeights", "its keys are: w"),
            .init("duplicate", BuiltTorch.zip(P.dict([("w", good), ("w", good)])), "duplicateKey", "key w"),
            .init("storage-missing", tensor(key: "1"), "malformed", "storage 1, which is not in the archive"),
            .init("storage-count", tensor(count: 5), "malformed", "5 elements of float32 are announced, 16 bytes"),
            .init("storage-type", tensor("DoubleStorage"), "malformed", "4 elements of float64"),
            .init("storage-negative", tensor(count: -4), "malformed", "no valid count"),
            .init("storage-overflow", tensor(count: .max), "malformed", "9223372036854775807 elements"),
            .init("storage-unknown", tensor("QInt8Storage"), "unsupported", "w: its type is torch.QInt8Storage"),
            .init("storage-tensor", tensor("FloatTensor"), "unsupported", "w: its type is torch.FloatTensor"),
            .init("shape-long", tensor(shape: [5]), "malformed", "reaches element 4 of a storage of 4"),
            .init("shape-negative", tensor(shape: [-1]), "malformed", "negative or overflowing"),
            .init("shape-overflow", tensor(shape: [1 << 62, 4], strides: [0, 0]), "malformed", "overflowing shape"),
            .init("shape-stride-count", tensor(shape: [2, 2]), "malformed", "2 sizes, but 1 strides"),
            .init(
                "shape-dimensions",
                tensor(shape: Array(repeating: 1, count: 40), strides: Array(repeating: 1, count: 40)),
                "malformed", "40 dimensions"),
            .init(
                "stride-negative", tensor(offset: 3, strides: [-1]), "malformed", "negative offset 3 or strides [-1]"),
            .init("stride-overflow", tensor(strides: [.max]), "malformed", "overflowing strides"),
            .init("offset-outside", tensor(offset: 1), "malformed", "reaches element 4"),
            .init("offset-negative", tensor(offset: -1), "malformed", "negative offset"),
            .init("offset-overflow", tensor(offset: .max), "malformed", "overflowing"),
            .init("expanded-bomb", tensor(shape: [1 << 40], strides: [0]), "exceedsLimit", "1099511627776 elements"),
            .init(
                "torchscript", BuiltTorch.zip(P.dict(good), others: [.init("archive/constants.pkl", [0x2e])]),
                "unsupported", "TorchScript"),
            .init(
                "byte-order", BuiltTorch.zip(P.dict(good), others: [.init("archive/byteorder", Array("middle".utf8))]),
                "unsupported", "byte order middle"),
            .init(
                "pickle-crc", BuiltZip(.init("a/data.pkl", P.dict(good)) { $0.crc = 1 }).build(), "malformed",
                "a/data.pkl: its checksum"),
        ])
    }

    func testBrokenStreams() throws {
        let none: [UInt8] = [0x4e]
        func value(_ view: [UInt8] = [0x4e], count: Int = 4) -> [UInt8] {
            P.dict(P.tensor(P.storage("0", count: count, view: view), shape: [4], strides: [1]))
        }
        func view(_ start: Int, _ count: Int) -> [UInt8] {
            P.mark + P.text("v") + P.integer(start) + P.integer(count) + P.tuple
        }
        let two = P.dict([
            ("a", P.tensor(P.storage("0", count: 4, view: none), shape: [4], strides: [1])),
            ("b", P.tensor(P.storage("0", "IntStorage", count: 4, view: none), shape: [4], strides: [1])),
        ])
        var magic = BuiltTorch.stream(value())
        magic[5] ^= 1
        try checkMalformed([
            .init("stream-magic", magic, "malformed", "another magic number"),
            .init("stream-version", BuiltTorch.stream(value(), version: 1002), "malformed", "than 1001"),
            .init("stream-ends", BuiltTorch.magic, "truncated", "PyTorch stream"),
            .init("stream-keys", BuiltTorch.stream(value(), keys: ["1"]), "malformed", "that no tensor uses"),
            .init(
                "stream-no-key", BuiltTorch.stream(value(), keys: [], counts: [], data: []), "malformed",
                "not in its key"),
            .init(
                "stream-key-twice",
                BuiltTorch.stream(value(), keys: ["0", "0"], counts: [4], data: BuiltTorch.four + BuiltTorch.four),
                "duplicateKey", "storage 0"),
            .init("stream-count", BuiltTorch.stream(value(), counts: [5]), "malformed", "the pickle says 4"),
            .init("stream-count-negative", BuiltTorch.stream(value(), counts: [-4]), "malformed", "-4 elements"),
            .init(
                "stream-count-long", BuiltTorch.stream(value(count: 1 << 40), counts: [1 << 40]), "truncated",
                "storage 0"),
            .init("stream-cut", BuiltTorch.stream(value()).dropLast(), "truncated", "storage 0 needs 16 bytes, 15"),
            .init("stream-trailing", BuiltTorch.stream(value()) + [0], "malformed", "1 bytes after the last storage"),
            .init("stream-view", BuiltTorch.stream(value(view(1, 4))), "malformed", "a view outside of it"),
            .init("stream-view-overflow", BuiltTorch.stream(value(view(.max, 1))), "malformed", "a view outside"),
            .init("stream-view-negative", BuiltTorch.stream(value(view(-1, 2))), "malformed", "a view outside"),
            .init("stream-view-short", BuiltTorch.stream(value(view(1, 3))), "malformed", "reaches element 3"),
            .init("stream-two-types", BuiltTorch.stream(two), "malformed", "announced with two types"),
        ])
    }
}
