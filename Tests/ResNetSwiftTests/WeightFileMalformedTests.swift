// A table of files that are wrong, each in one way: every one gives a typed error that names the file and the fault, in
// bounded memory, and leaves the model as it was.

import Foundation
import ResNetSwift
import XCTest

/// One wrong file, the kind of the fault, and words that its description must contain.
struct MalformedCase {
    let name: String
    let bytes: [UInt8]
    let kind: String
    let words: String

    init(_ name: String, _ bytes: [UInt8], _ kind: String, _ words: String) {
        self.name = name
        self.bytes = bytes
        self.kind = kind
        self.words = words
    }
}

extension WeightFault {
    /// The name of the case.
    var kind: String { String("\(Mirror(reflecting: self).children.first?.label ?? caseName)") }

    /// Cases without values have no mirror children.
    private var caseName: String {
        switch self {
        case .htmlPage: "htmlPage"
        case .gitLFSPointer: "gitLFSPointer"
        default: "unknown"
        }
    }
}

extension XCTestCase {
    /// Asserts that each file is refused with its fault, that this costs less than 64 MB, and that no model changes.
    func checkMalformed(_ cases: [MalformedCase]) throws {
        XCTAssertEqual(Set(cases.map(\.name)).count, cases.count, "two cases of one name")
        let folder = try TemporaryFolder()
        var model = WeightFixtures.model(WeightFixtures.tinyGraph(), value: 3)
        for test in cases {
            let path = try folder.write(test.bytes, "\(test.name).bin")
            PeakMemory.reset()
            let before = PeakMemory.peak()
            do {
                let file = try WeightFile.open(path)
                for entry in file.entries { _ = try file.tensor(entry.key) }
                XCTFail("\(test.name): accepted")
            } catch {
                XCTAssertEqual(error.path, path)
                XCTAssertEqual(error.fault.kind, test.kind, "\(test.name): \(error)")
                XCTAssertTrue("\(error)".contains(test.words), "\(test.name): \(error)")
                XCTAssertTrue("\(error)".hasPrefix(path), "\(test.name): \(error)")
            }
            XCTAssertLessThan(PeakMemory.peak() - before, 64 << 20, test.name)
            XCTAssertThrowsError(try model.load(from: try WeightFile.open(path), policy: .skipMismatched), test.name)
        }
        for tensor in model.parameters.values { XCTAssertTrue(tensor.values.allSatisfy { $0 == 3 }) }
    }
}

final class WeightFileMalformedTests: XCTestCase {
    func testPeakMemoryIsSeen() throws {
        PeakMemory.reset()
        let before = PeakMemory.peak()
        // Mapped, not allocated: malloc may hand out pages that are resident already.
        let bytes = 80 << 20
        let memory = try XCTUnwrap(mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        XCTAssertNotEqual(memory, MAP_FAILED)
        memset(memory, 1, bytes)
        XCTAssertGreaterThan(PeakMemory.peak() - before, 64 << 20)
        munmap(memory, bytes)
    }

    func testOtherFiles() throws {
        let page = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102530333\n"
        try checkMalformed([
            .init("empty", [], "notWeights", "the file is empty"),
            .init("html", Array(page.utf8), "htmlPage", "HTML page"),
            .init("html-after-spaces", Array("\u{feff}\n \n<html>".utf8), "htmlPage", "HTML page"),
            .init("lfs", Array(pointer.utf8), "gitLFSPointer", "git lfs pull"),
            .init("gzip", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0], "notWeights", "gzip"),
            .init("hdf5", [0x89] + Array("HDF\r\n\u{1a}\n".utf8), "notWeights", "HDF5"),
            .init("json", Array("{\"weights\": []}".utf8), "notWeights", "JSON"),
            .init("zeros", [UInt8](repeating: 0, count: 1000), "notWeights", "zeros only"),
            .init("bare-pickle", [0x80, 4, 0x7d, 0x2e], "notWeights", "without named tensors"),
            .init("text", Array("conv1.weight = 3".utf8), "notWeights", "begins with the bytes 63 6f 6e"),
            .init("one-byte", [0x50], "notWeights", "begins with the bytes 50"),
            .init("damaged-zip", Array("PK\u{7}\u{8}....".utf8), "notWeights", "damaged zip"),
        ])
    }

    func testWhatIsNoFile() throws {
        let folder = try TemporaryFolder()
        let pipe = "\(folder.path)/pipe"
        XCTAssertEqual(mkfifo(pipe, 0o600), 0)
        for (path, words) in [
            (folder.path, "directory"), ("\(folder.path)/none.pth", "No such file"), (pipe, "not a regular file"),
            ("\(folder.path)/none\u{0}.pth", "NUL"),
        ] {
            XCTAssertThrowsError(try WeightFile.open(path)) { error in
                let error = error as? WeightFileError
                XCTAssertEqual(error?.path, path)
                XCTAssertEqual(error?.fault.kind, "cannotRead")
                XCTAssertTrue(error.map { "\($0)".contains(words) } ?? false, "\(String(describing: error))")
            }
        }
    }

    func testSafetensors() throws {
        typealias S = BuiltSafetensors
        func file(_ entries: String..., data: Int = 16) -> [UInt8] {
            S.file("{\(entries.joined(separator: ","))}", data: data)
        }
        XCTAssertNoThrow(try WeightFile.open(bytes: file(S.entry()), name: "right"))
        let nested = String(repeating: "[", count: 100_000)
        let manyValues = "{\"w\":[" + String(repeating: "0,", count: 500_000) + "0]}"
        try checkMalformed([
            .init("st-oversized-header", S.file("{}", announced: 100_000_001), "exceedsLimit", "100000001 bytes"),
            .init("st-negative-header", S.file("{}", announced: -1), "exceedsLimit", "header of 18446744073709551615"),
            .init("st-header-past-end", S.file("{}", announced: 1000), "truncated", "header needs 1000 bytes, 18"),
            .init("st-header-cut", S.file("{\"w\":", data: 0), "malformed", "text ends"),
            .init("st-header-garbage", S.file("{} x"), "malformed", "trailing bytes"),
            .init("st-not-an-object", S.file("{\"w\":[1]}"), "malformed", "entry is not an object"),
            .init("st-not-utf8", S.file(bytes: [0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), "malformed", "not UTF-8"),
            .init("st-surrogate", S.file("{\"\\ud800\":1}"), "malformed", "surrogate"),
            .init("st-control-character", S.file("{\"\u{1}\":1}"), "malformed", "control character"),
            .init("st-deep", S.file("{\"w\":" + nested), "exceedsLimit", "nested too deeply"),
            .init("st-many-values", S.file(manyValues), "exceedsLimit", "too many values"),
            .init("st-duplicate-key", file(S.entry(), S.entry()), "duplicateKey", "key w occurs twice"),
            .init(
                "st-duplicate-escaped", file(S.entry(), S.entry("\\u0077")), "duplicateKey", "key w occurs twice"),
            .init(
                "st-duplicate-field", S.file("{\"w\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}"), "duplicateKey", "dtype"),
            .init(
                "st-unknown-field", S.file("{\"w\":{\"dtype\":\"F32\",\"code\":1}}"), "malformed", "unknown field code"),
            .init("st-no-dtype", S.file("{\"w\":{\"shape\":[4],\"data_offsets\":[0,16]}}"), "malformed", "no dtype"),
            .init("st-no-shape", S.file("{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}"), "malformed", "shape"),
            .init("st-no-offsets", S.file("{\"w\":{\"dtype\":\"F32\",\"shape\":[4]}}"), "malformed", "data_offsets"),
            .init("st-dtype-number", file(S.entry(dtype: "4")), "malformed", "no dtype"),
            .init("st-dtype-unknown", file(S.entry(dtype: "\"F8_E4M3\"", shape: "[16]")), "unsupported", "F8_E4M3"),
            .init("st-dtype-lie", file(S.entry(dtype: "\"F64\"")), "malformed", "takes 32 bytes, its range has 16"),
            .init("st-shape-lie", file(S.entry(shape: "[5]")), "malformed", "takes 20 bytes"),
            .init("st-shape-negative", file(S.entry(shape: "[-4]")), "malformed", "non-negative"),
            .init("st-shape-nan", file(S.entry(shape: "[NaN]")), "malformed", "no value starts like this"),
            .init("st-shape-infinite", file(S.entry(shape: "[1e999]")), "malformed", "beyond range"),
            .init("st-shape-fraction", file(S.entry(shape: "[4.0]")), "malformed", "non-negative integers"),
            .init("st-shape-text", file(S.entry(shape: "\"4\"")), "malformed", "non-negative integers"),
            .init("st-shape-leading-zero", file(S.entry(shape: "[04]")), "malformed", "leading zero"),
            .init(
                "st-shape-overflow", file(S.entry(shape: "[4611686018427387904,4]")), "malformed", "overflowing shape"),
            .init(
                "st-shape-overflow-bytes", file(S.entry(shape: "[4611686018427387904]")), "malformed", "overflowing"),
            .init(
                "st-shape-hidden-overflow", file(S.entry(shape: "[0,9223372036854775807,2]")), "malformed",
                "overflowing"),
            .init("st-shape-beyond-64-bits", file(S.entry(shape: "[18446744073709551616]")), "malformed", "integers"),
            .init(
                "st-rank", file(S.entry(shape: "[" + String(repeating: "1,", count: 40) + "4]")), "malformed",
                "41 dimensions"),
            .init("st-backwards", file(S.entry(offsets: "[16,0]")), "malformed", "before it begins"),
            .init("st-three-offsets", file(S.entry(offsets: "[0,8,16]")), "malformed", "not a pair"),
            .init("st-past-end", file(S.entry(shape: "[8]", offsets: "[0,32]")), "truncated", "needs 32 bytes, 16"),
            .init(
                "st-offset-overflow", file(S.entry(offsets: "[9223372036854775800,9223372036854775807]")), "truncated",
                "tensor w"),
            .init("st-trailing", file(S.entry(), data: 17), "malformed", "1 bytes at its end belong to no tensor"),
            .init("st-no-tensors-but-data", S.file("{}"), "malformed", "belong to no tensor"),
            .init(
                "st-overlap", file(S.entry(), S.entry("v", shape: "[2]", offsets: "[8,16]")), "malformed",
                "tensor v: its range overlaps"),
            .init(
                "st-hole", file(S.entry("v", shape: "[1]", offsets: "[0,4]"), S.entry(shape: "[2]", offsets: "[8,16]")),
                "malformed", "follows a hole"),
            .init("st-metadata-list", S.file("{\"__metadata__\":[]}"), "malformed", "__metadata__ is not an object"),
            .init("st-metadata-number", S.file("{\"__metadata__\":{\"a\":1}}"), "malformed", "a is not a string"),
        ])
    }

    func testNpy() throws {
        typealias N = BuiltNpy
        func npy(_ literal: String) -> [UInt8] { N.file(literal) }
        XCTAssertNoThrow(try WeightFile.open(bytes: npy(N.literal()), name: "right"))
        let wrongMagic = BuiltZip(.init("w.npy", Array("not an array at all".utf8))).build()
        try checkMalformed([
            .init("npy-magic", wrongMagic, "malformed", "array w.npy: it does not begin with the npy magic"),
            .init("npy-version", N.file(N.literal(), version: 9), "unsupported", "npy version 9.0"),
            .init("npy-header-long", N.file(N.literal(), version: 2, length: 1 << 31), "exceedsLimit", "2147483648"),
            .init("npy-header-past-end", N.file(N.literal(), length: 9999), "truncated", "needs 9999 bytes"),
            .init("npy-header-cut", Array(N.file(N.literal()).prefix(9)), "truncated", "npy array"),
            .init("npy-object", npy(N.literal(descr: "'|O'")), "unsupported", "object array"),
            .init("npy-structured", npy(N.literal(descr: "[('a', '<f4')]")), "unsupported", "structured"),
            .init("npy-complex", npy(N.literal(descr: "'<c8'")), "unsupported", "<c8"),
            .init("npy-text", npy(N.literal(descr: "'<U4'")), "unsupported", "<U4"),
            .init("npy-no-order", npy(N.literal(descr: "'|f4'")), "unsupported", "|f4"),
            .init("npy-shape-long", npy(N.literal(shape: "(5,)")), "truncated", "needs 20 bytes, 16"),
            .init("npy-shape-short", npy(N.literal(shape: "(3,)")), "malformed", "4 bytes more than its shape"),
            .init("npy-shape-negative", npy(N.literal(shape: "(-4,)")), "malformed", "negative or overflowing"),
            .init("npy-shape-nan", npy(N.literal(shape: "(nan,)")), "malformed", "no integer"),
            .init("npy-shape-number", npy(N.literal(shape: "4")), "malformed", "no value starts"),
            .init(
                "npy-shape-overflow", npy(N.literal(shape: "(9223372036854775807, 9)")), "malformed", "overflowing"),
            .init("npy-shape-call", npy(N.literal(shape: "tuple([4])")), "malformed", "no value starts"),
            .init("npy-fortran", npy(N.literal(fortran: "'maybe'")), "malformed", "fortran_order"),
            .init("npy-no-dict", npy("[]"), "malformed", "a dict is expected"),
            .init("npy-field-missing", npy("{'descr': '<f4'}"), "malformed", "has the fields"),
            .init("npy-field-twice", npy("{'descr': '<f4', 'descr': '<f4'}"), "malformed", "occurs twice"),
            .init("npy-unclosed", npy("{'descr': '<f4"), "malformed", "odd string"),
            .init("npy-more-text", npy(N.literal() + "import os"), "malformed", "more text"),
        ])
    }

    func testEveryFixtureCutAnywhereIsAnError() throws {
        for fixture in WeightFixtures.files {
            let bytes = try WeightFixtures.bytes(fixture.name)
            // The blocks of zeros that end a tar archive are not read.
            let end = fixture.kind == .torchTar ? bytes.lastIndex { $0 != 0 }! : bytes.count
            for length in stride(from: 0, to: end, by: max(1, end / 97)) {
                XCTAssertThrowsError(
                    try WeightFile.open(bytes: Array(bytes[..<length]), name: fixture.name), "\(fixture.name) \(length)"
                ) { XCTAssertEqual(($0 as? WeightFileError)?.path, fixture.name) }
            }
        }
    }
}

/// The high-water mark of resident memory, as the kernel keeps it.
enum PeakMemory {
    static func reset() {
        try? "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .ascii)
    }

    static func peak() -> Int {
        let text = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("VmHWM:") } ?? ""
        return (line.split(whereSeparator: { !$0.isNumber }).first.flatMap { Int($0) } ?? 0) << 10
    }
}
