// Data of other people through the tool: what cannot be used is said, counted and in the exit code, never silently something else.

import Foundation
import Glibc
import ResNetSwift
import XCTest

@testable import ResNetSupport
@testable import ResNetTraining

final class ToolDataTests: XCTestCase {
    /// Copies of a demo picture by these names, which may hold bytes that are no UTF-8.
    private func copies(_ names: [String], in folder: ToolFolder, of digit: String = "one_1") throws {
        let bytes = try Data(contentsOf: URL(fileURLWithPath: "\(ToolFolder.repository)/demo/digits/\(digit).png"))
        for name in names {
            var path = folder.path
            for part in name.split(separator: "/").dropLast() {
                path += "/\(part)"
                _ = path.withFileName { mkdir($0, 0o755) }
            }
            let descriptor = "\(folder.path)/\(name)".withFileName { open($0, O_CREAT | O_WRONLY, 0o644) }
            bytes.withUnsafeBytes { XCTAssertEqual(write(descriptor, $0.baseAddress, $0.count), $0.count) }
            close(descriptor)
        }
    }

    private let latin1 = String(fileName: [0x63, 0x61, 0x66, 0xe9] as [UInt8])

    func testNamesThatAreNotUTF8OrHaveLineFeeds() throws {
        let folder = try ToolFolder()
        try copies(["p/\(latin1).png", "p/a\nb.png", "p/c.png"], in: folder)
        let text = try folder.resnet("classify", "p", "--weights", "demo/digits.safetensors", "--top", "1")
        XCTAssertEqual(text.status, 0, text.error)
        XCTAssertEqual(text.lines.count, 4, text.output)
        XCTAssert(text.output.contains("p/caf\\xe9.png") && text.output.contains("p/a\\nb.png"), text.output)

        let json = try folder.resnet("classify", "p", "--weights", "demo/digits.safetensors", "--json")
        XCTAssertEqual(
            try json.objects().map { $0["path"]?.stringValue }, ["p/a\nb.png", "p/c.png", "p/caf\u{fffd}.png"])

        // Given by name, through a shell that knows bytes only.
        let named = try folder.resnet(
            ["classify", "--weights", "demo/digits.safetensors", "--top", "1", "p/c.png"],
            under: "set -- \"$@\" \"$(printf 'p/caf\\351.png')\"")
        XCTAssertEqual(named.status, 0, named.error)
        XCTAssert(named.output.contains("caf\\xe9.png"), named.output)

        let rows = try folder.resnet("embed", "p", "--weights", "demo/digits.safetensors", "--output", "h.npy")
        XCTAssertEqual(rows.lines.count, 3, rows.output)
        XCTAssertEqual(try folder.array("h.npy").shape[0], 3)
    }

    func testWhatIsSkippedStandsInTheResultsAndInTheExitCode() throws {
        let folder = try ToolFolder()
        try copies(["p/a.png", "p/b.heic"], in: folder)
        try folder.write("no picture", "p/c.jpg")
        try folder.write("text", "p/d.txt")
        let result = try folder.resnet("classify", "p", "nowhere", "--weights", "demo/digits.safetensors", "--json")
        XCTAssertEqual(result.status, 2)
        let objects = try result.objects()
        XCTAssertEqual(Set(objects.map { $0["path"]?.stringValue }), ["p/a.png", "p/b.heic", "p/c.jpg", "nowhere"])
        XCTAssertEqual(objects.count { $0["error"]?.stringValue?.isEmpty == false }, 3)
        XCTAssert(result.error.contains("passed over: 1 .txt"), result.error)
        XCTAssert(result.error.contains("3 of 4 pictures could not be read"), result.error)

        let verified = try folder.resnet("verify", "p", "--json")
        XCTAssertEqual(verified.status, 2)
        XCTAssertEqual(try verified.objects().last?["pictures"]?.integerValue, 3)
        XCTAssertEqual(try verified.objects().last?["broken"]?.integerValue, 2)
    }

    func testEvaluationSaysWhatItSkipped() throws {
        let folder = try ToolFolder()
        try copies(["p/one/a.png", "p/one/b.heic"], in: folder)
        try copies(["p/two/a.png"], in: folder, of: "two_1")
        try folder.write("no picture", "p/two/c.png")
        let result = try folder.resnet("evaluate", "p", "--weights", "demo/digits.safetensors", "--json")
        XCTAssertEqual(result.status, 2, result.error)
        let object = try result.objects()[0]
        XCTAssertEqual(object["top1"]?.doubleValue, 1)
        let skipped = try XCTUnwrap(object["skipped"]?.arrayValue).compactMap { $0["path"]?.stringValue }
        XCTAssertEqual(skipped.count, 2, "\(skipped)")
        XCTAssert(skipped.contains { $0.contains("b.heic") } && skipped.contains { $0.contains("c.png") }, "\(skipped)")
        // Eight classes have no pictures: they do not pull the mean down, and are said.
        XCTAssertEqual(object["macro_f1"]?.doubleValue, 1)
        XCTAssert(result.error.contains("no pictures of 8 of the classes"), result.error)
    }

    func testLabelsOfAnotherNetworkAreRefused() throws {
        let folder = try ToolFolder()
        try copies(["a.png"], in: folder)
        try copies(["b.png"], in: folder, of: "two_1")
        try folder.write("path,labels\na.png,0\nb.png,1 2\n", "three.csv")
        try folder.write("path,labels\na.png,0\nb.png,1 4\n", "five.csv")
        let trained = try folder.resnet(
            "train", "three.csv", "--multi-label", "--label-count", "3", "--model", "cifar_resnet14", "--epochs", "1",
            "--validation", "0", "--channels", "1", "--size", "16", "--out", "run")
        XCTAssertEqual(trained.status, 0, trained.error)
        try folder.assertFails(
            "evaluate", "five.csv", "--multi-label", "--label-count", "5", "--weights", "run/last.safetensors",
            naming: "3 labels", "5")
        try folder.assertFails(
            "evaluate", "five.csv", "--multi-label", "--weights", "run/last.safetensors", naming: "line 3", "'4'")
        try folder.assertFails(
            "train", "five.csv", "--multi-label", "--label-count", "100000", "--model", "cifar_resnet14", code: 64,
            naming: "1 to 65536")
    }

    func testTheSamePictureInBothParts() throws {
        let folder = try ToolFolder()
        try copies(["p/train/1/a.png", "p/val/1/b.png", "p/train/2/c.png"], in: folder)
        try copies(["p/train/2/d.png", "p/val/2/e.png"], in: folder, of: "two_1")
        let result = try folder.resnet(
            "train", "p", "--weights", "demo/digits.safetensors", "--epochs", "1", "--batch", "4", "--out", "run")
        XCTAssertEqual(result.status, 0, result.error)
        XCTAssert(result.error.contains("2 of 2 validation pictures are training pictures too"), result.error)
        XCTAssert(result.error.contains("1 picture occurs under different labels"), result.error)
    }

    func testNamesOfClassesInAllTheirForms() throws {
        let folder = try ToolFolder()
        let names = (0...9).map { "digit \($0)" }
        let list = names.joined(separator: "\n")
        let object = names.enumerated().reversed().map { "\"\($0.offset)\": \"\($0.element)\"" }.joined(separator: ", ")
        let inverse = names.enumerated().map { "\"\($0.element)\": \($0.offset)" }.joined(separator: ", ")
        let pairs = names.enumerated().map { "\"\($0.offset)\": [\"n\($0.offset)\", \"\($0.element)\"]" }
        let utf16: [UInt8] = list.utf16.reduce(into: [0xff, 0xfe]) { $0 += [UInt8($1 & 255), UInt8($1 >> 8)] }
        let forms: [(String, Data)] = [
            ("plain.txt", Data(list.utf8)), ("mark.txt", Data([0xef, 0xbb, 0xbf] + Array(list.utf8))),
            ("crlf.txt", Data(names.joined(separator: "\r\n").utf8)), ("utf16.txt", Data(utf16)),
            ("list.json", Data(("[" + names.map { "\"\($0)\"" }.joined(separator: ",") + "]").utf8)),
            ("id2label.json", Data("{\(object)}".utf8)), ("config.json", Data("{\"id2label\": {\(object)}}".utf8)),
            ("label2id.json", Data("{\"label2id\": {\(inverse)}}".utf8)),
            ("imagenet.json", Data("{\(pairs.joined(separator: ", "))}".utf8)),
        ]
        for (name, data) in forms {
            try folder.write(data, name)
            let result = try folder.resnet(
                "classify", "demo/digits/one_1.png", "--weights", "demo/digits.safetensors", "--labels", name, "--json",
                "--top", "1")
            XCTAssertEqual(result.status, 0, result.error)
            let top = try result.objects().first?["top"]?.arrayValue?.first
            XCTAssertEqual(top?["class"]?.stringValue, "digit 1", name)
        }
    }

    func testPipesAndOtherEndings() throws {
        let folder = try ToolFolder()
        let picture = "\(ToolFolder.repository)/demo/digits/one_1.png"
        // A picture may come through a pipe; data, which are read more than once, may not.
        let piped = try folder.resnet(
            ["classify", "/dev/stdin", "--weights", "demo/digits.safetensors", "--top", "1"],
            under: "mkfifo q; cat '\(picture)' > q & exec < q")
        XCTAssertEqual(piped.status, 0, piped.error)
        try folder.assertFails(
            "train", "/dev/null", "--model", "cifar_resnet14", naming: "/dev/null", "a pipe or a device")
        try folder.assertFails(
            "train", "nowhere", "--model", "cifar_resnet14", naming: "nowhere: no such file or folder")
        try folder.write("path,label\na.png,x\n", "t.xlsx")
        try folder.assertFails("train", "t.xlsx", "--model", "cifar_resnet14", naming: "t.xlsx: expected a folder")
        // Capitals are an ending, too.
        try copies(["a.png"], in: folder)
        try copies(["b.png"], in: folder, of: "two_1")
        try folder.write("path,label\na.png,one\nb.png,two\n", "T.CSV")
        let result = try folder.resnet("evaluate", "T.CSV", "--weights", "demo/digits.safetensors", "--json")
        XCTAssertEqual(result.status, 0, result.error)
        XCTAssertEqual(try result.objects()[0]["top1"]?.doubleValue, 1)
    }

    func testOutputsThatAreNoNumbers() throws {
        let folder = try ToolFolder()
        let digits = try Model(from: WeightFile.open("\(ToolFolder.repository)/demo/digits.safetensors"))
        var parameters = digits.parameters
        let weight = try XCTUnwrap(parameters["fc.weight"])
        parameters["fc.weight"] = Tensor(
            shape: weight.shape, values: Array(repeating: .nan, count: weight.values.count))
        var model = Model(graph: digits.graph, parameters: parameters)
        model.metadata = digits.metadata
        try model.save(to: "\(folder.path)/nan.safetensors")
        let result = try folder.resnet("classify", "demo/digits/one_1.png", "--weights", "nan.safetensors", "--json")
        XCTAssertEqual(result.status, 1)
        XCTAssert(try result.objects()[0]["error"]?.stringValue?.contains("no number") == true, result.output)
        XCTAssert(result.error.contains("fc.weight holds 640 values that are no finite numbers"), result.error)
        try folder.writePictures([1, 1, 32, 32], to: "x.npy")
        let array = try folder.resnet("predict", "-i", "x.npy", "-o", "y.npy", "-w", "nan.safetensors")
        XCTAssertEqual(array.status, 0)
        XCTAssert(array.error.contains("10 of 10 values are no finite numbers"), array.error)
        try folder.assertFails(
            "evaluate", "demo/digits.npz", "-w", "nan.safetensors", naming: "scores mean nothing", "fc.weight")
    }

    func testLabelsGiveNumbersTheirNames() throws {
        let folder = try ToolFolder()
        try copies(["a.png"], in: folder)
        try copies(["b.png"], in: folder, of: "two_1")
        try folder.write("path,label\na.png,0\nb.png,2\n", "t.csv")
        try folder.write("cat\ndog\nbird\n", "names.txt")
        let trained = try folder.resnet(
            "train", "t.csv", "--labels", "names.txt", "--weights", "demo/digits.safetensors", "--epochs", "1",
            "--validation", "0", "--out", "run")
        XCTAssertEqual(trained.status, 0, trained.error)
        let classified = try folder.resnet("classify", "a.png", "--weights", "run/last.safetensors", "--json")
        let top = try XCTUnwrap(classified.objects()[0]["top"]?.arrayValue)
        XCTAssertEqual(Set(top.compactMap { $0["class"]?.stringValue }), ["bird", "cat", "dog"])
        try folder.write("cat\ndog\n", "two.txt")
        try folder.assertFails(
            "train", "t.csv", "--labels", "two.txt", "--model", "cifar_resnet14", naming: "two.txt",
            "expected names for classes")
    }

    func testClassifyAtAnotherSize() throws {
        let folder = try ToolFolder()
        let usual = ["classify", "demo/digits/one_1.png", "--weights", "demo/digits.safetensors", "--json"]
        let (own, same, other) = (
            try folder.resnet(usual), try folder.resnet(usual + ["--size", "32"]),
            try folder.resnet(usual + ["--size", "48x40"])
        )
        XCTAssertEqual(own.output, same.output)
        XCTAssertEqual(other.status, 0, other.error)
        XCTAssert(other.error.contains("48x40"), other.error)
        XCTAssertNotEqual(other.output, own.output)
        try folder.assertFails(
            "classify", "demo/digits", "--weights", "demo/digits.safetensors", "--size", "0", code: 64, naming: "--size"
        )
    }

    func testSearchForALearningRateSaysWhatItSkipped() throws {
        let folder = try ToolFolder()
        try copies(["p/one/a.png", "p/one/b.png", "p/one/c.heic"], in: folder)
        try copies(["p/two/a.png", "p/two/b.png"], in: folder, of: "two_1")
        let result = try folder.resnet(
            "lr-find", "p", "--weights", "demo/digits.safetensors", "--batch", "2", "--updates", "8", "--json")
        XCTAssertEqual(result.status, 2, result.error)
        let skipped = try result.objects()[0]["skipped"]?.arrayValue?.compactMap { $0["path"]?.stringValue }
        XCTAssertEqual(skipped, ["p/one/c.heic"])
    }
}
