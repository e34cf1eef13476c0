// init, inspect, convert, predict, embed: weights and arrays through the tool come out as they went in.

import Foundation
import ResNetSwift
import XCTest

final class ToolArrayTests: XCTestCase {
    private func succeed(
        _ folder: ToolFolder, _ arguments: String..., file: StaticString = #filePath, line: UInt = #line
    ) throws -> ToolResult {
        let result = try folder.resnet(arguments)
        XCTAssertEqual(result.status, 0, result.error, file: file, line: line)
        return result
    }

    func testInitInspectConvertPredict() throws {
        let folder = try ToolFolder()
        _ = try succeed(folder, "init", "cifar_resnet14", "a.safetensors", "--seed", "3", "--classes", "7")
        _ = try succeed(folder, "init", "cifar_resnet14", "b.npz", "--seed", "3", "--classes", "7")
        let object = try succeed(folder, "inspect", "a.safetensors", "--json").objects()[0]
        XCTAssertEqual(object["container"], .string("safetensors"))
        XCTAssertEqual(object["model"], .string("cifar_resnet14"))
        XCTAssertEqual(object["fits"], .bool(true))
        XCTAssertEqual(object["refused"], .null)
        XCTAssertEqual(object["tensors"]?.arrayValue?.count, 77)

        _ = try succeed(folder, "convert", "a.safetensors", "c.npz")
        _ = try succeed(folder, "convert", "c.npz", "d.safetensors")
        XCTAssertEqual(
            try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/a.safetensors")),
            try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/d.safetensors")))

        try folder.writePictures([5, 3, 32, 32], to: "x.npy")
        for name in ["a.safetensors", "b.npz", "c.npz"] {
            _ = try succeed(folder, "predict", "--weights", name, "--input", "x.npy", "--output", "\(name).npy")
            XCTAssertEqual(try folder.array("\(name).npy").shape, [5, 7])
            XCTAssertEqual(try folder.array("\(name).npy").bits, try folder.array("a.safetensors.npy").bits, name)
        }
    }

    func testABackboneWithoutItsHead() throws {
        let folder = try ToolFolder()
        let whole = try Model(from: try WeightFile.open("\(ToolFolder.repository)/demo/digits.safetensors"))
        let tensors = whole.parameters.filter { !$0.key.hasPrefix("fc.") }.sorted { $0.key < $1.key }
        try WeightWriter.write(
            tensors.map { ($0.key, $0.value) }, metadata: ["transform": whole.metadata["transform"] ?? ""],
            to: "\(folder.path)/bare.safetensors", format: .safetensors)
        for name in ["bare.safetensors", "demo/digits.safetensors"] {
            _ = try succeed(folder, "embed", "demo/digits", "-w", name, "-o", "\(name.prefix(4)).npy")
        }
        XCTAssertEqual(try folder.array("bare.npy").bits, try folder.array("demo.npy").bits)
        let refusal = "bare.safetensors: expected a network with a classifier"
        try folder.assertFails("classify", "demo/digits", "-w", "bare.safetensors", naming: refusal)
        try folder.writePictures([1, 1, 32, 32], to: "x.npy")
        try folder.assertFails("predict", "-w", "bare.safetensors", "-i", "x.npy", "-o", "y.npy", naming: refusal)
        try folder.assertFails("evaluate", "demo/digits.npz", "-w", "bare.safetensors", naming: refusal)
        try folder.assertFails("time", "--train", "-w", "bare.safetensors", naming: refusal)
        let trained = try succeed(
            folder, "train", "demo/digits.npz", "-w", "bare.safetensors", "--freeze", "allButHead", "--epochs", "1",
            "--out", "run")
        XCTAssertTrue(trained.error.contains("the last layer of bare.safetensors is replaced"), trained.error)
        XCTAssertEqual(
            try succeed(folder, "classify", "demo/digits", "-w", "run/best.safetensors", "--json").lines.count, 20)
    }

    func testAWrongNumberOfClassNames() throws {
        let folder = try ToolFolder()
        var model = try Model(from: try WeightFile.open("\(ToolFolder.repository)/demo/digits.safetensors"))
        model.classNames = ["a", "b"]
        try model.save(to: "\(folder.path)/two.safetensors")
        try folder.write("a\nb\n", "two.txt")
        try folder.write((0..<10).map { "digit \($0)\n" }.joined(), "ten.txt")
        let sentence = "expected 10 class names for cifar_resnet8, found 2"
        for arguments in [
            ["classify", "demo/digits", "-w", "two.safetensors"], ["convert", "two.safetensors", "x.npz"],
            ["profile", "-w", "two.safetensors"], ["evaluate", "demo/digits.npz", "-w", "two.safetensors"],
        ] {
            let result = try folder.resnet(arguments)
            XCTAssertEqual(result.status, 1, "\(arguments)")
            XCTAssertTrue(result.error.hasSuffix("resnet: error: two.safetensors: \(sentence)\n"), result.error)
        }
        try folder.assertFails(
            "convert", "demo/digits.safetensors", "x.npz", "--labels", "two.txt", naming: "two.txt: \(sentence)")
        XCTAssertEqual(
            try succeed(folder, "inspect", "two.safetensors", "--json").objects()[0]["refused"], .string(sentence))
        _ = try succeed(folder, "convert", "two.safetensors", "ten.safetensors", "--labels", "ten.txt")
        _ = try succeed(folder, "classify", "demo/digits", "-w", "ten.safetensors")
        _ = try succeed(folder, "classify", "demo/digits", "-w", "two.safetensors", "--labels", "ten.txt")
    }

    func testONNXOutAndIn() throws {
        let folder = try ToolFolder()
        _ = try succeed(folder, "init", "cifar_resnet14", "a.safetensors", "--seed", "3", "--classes", "7")
        _ = try succeed(folder, "convert", "a.safetensors", "a.onnx", "--transform", "cifar")
        _ = try succeed(folder, "convert", "a.onnx", "b.safetensors")
        let object = try succeed(folder, "inspect", "a.onnx", "--json").objects()[0]
        XCTAssertEqual(object["container"], .string("onnx"))
        XCTAssertEqual(object["model"], .string("cifar_resnet14"))
        XCTAssertEqual(object["tensors"]?.arrayValue?.count, 77)
        try folder.writePictures([2, 3, 32, 32], to: "x.npy")
        for name in ["a.safetensors", "a.onnx", "b.safetensors"] {
            _ = try succeed(folder, "predict", "--weights", name, "--input", "x.npy", "--output", "\(name).npy")
            XCTAssertEqual(try folder.array("\(name).npy").bits, try folder.array("a.safetensors.npy").bits, name)
        }
        // A network that only its file describes: it runs, and its weights alone are not written.
        let foreign = "\(ToolFolder.repository)/Tests/Fixtures/onnx/torchscript.onnx"
        _ = try succeed(folder, "time", "--weights", foreign, "--batch", "1", "--seconds", "0.01")
        let refused = try folder.resnet(["convert", foreign, "c.npz"])
        XCTAssertEqual(refused.status, 1)
        XCTAssertTrue(refused.error.contains("without their network"), refused.error)
        let trained = try folder.resnet(["train", "demo/digits.npz", "--weights", foreign, "--out", "run"])
        XCTAssertEqual(trained.status, 1)
        XCTAssertTrue(trained.error.contains("only this ONNX file describes"), trained.error)
    }

    func testPredictAndEmbedAreThePlansOutputs() throws {
        let folder = try ToolFolder()
        try folder.writePictures([3, 1, 40, 24], to: "x.npy")
        let model = try Model(from: try WeightFile.open("\(ToolFolder.repository)/demo/digits.safetensors"))
        let plan = try InferencePlan(
            model: model, input: ImageShape(channels: 1, height: 40, width: 24), batch: 3,
            options: PlanOptions(threads: 1))
        let expected = try plan.predict(try folder.array("x.npy"))
        for batch in ["1", "2", "8"] {
            _ = try succeed(
                folder, "predict", "-w", "demo/digits.safetensors", "-i", "x.npy", "-o", "y.npy", "--batch", batch)
            let found = try folder.array("y.npy")
            XCTAssertEqual(found.shape, [3, 10])
            for (a, b) in zip(found.values, expected.logits.values) { XCTAssertEqual(a, b, accuracy: 1e-4) }
        }
        _ = try succeed(folder, "embed", "x.npy", "-w", "demo/digits.safetensors", "-o", "h.npy")
        XCTAssertEqual(try folder.array("h.npy").bits, expected.features?.bits)
        XCTAssertEqual(try folder.array("h.npy").shape, [3, 64])
    }

    func testEmbedsPicturesAndNamesTheRows() throws {
        let folder = try ToolFolder()
        let result = try succeed(
            folder, "embed", "demo/digits/one_1.png", "demo/digits/nine_2.png", "-w", "demo/digits.safetensors", "-o",
            "h.npy")
        XCTAssertEqual(result.lines, ["demo/digits/one_1.png", "demo/digits/nine_2.png"])
        XCTAssertEqual(try folder.array("h.npy").shape, [2, 64])
        let partly = try folder.resnet(
            "embed", "gone.png", "demo/digits/nine_2.png", "-w", "demo/digits.safetensors", "-o", "part.npy")
        XCTAssertEqual(partly.status, 2)
        XCTAssertEqual(partly.lines, ["demo/digits/nine_2.png"])
        let whole = try folder.array("h.npy").values
        for (a, b) in zip(try folder.array("part.npy").values, whole[64...]) { XCTAssertEqual(a, b, accuracy: 1e-4) }
    }

    func testTheSameSeedGivesTheSameFile() throws {
        let folder = try ToolFolder()
        for (name, seed) in [("a", "5"), ("b", "5"), ("c", "6")] {
            _ = try succeed(
                folder, "init", "cifar-resnet20", "\(name).npz", "--seed", seed, "--input-channels", "1",
                "--zero-init-residual")
        }
        let files = try ["a", "b", "c"].map { try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/\($0).npz")) }
        XCTAssertEqual(files[0], files[1])
        XCTAssertNotEqual(files[0], files[2])
        let file = try WeightFile.open("\(folder.path)/a.npz")
        XCTAssertEqual(try file.tensor("layer3.2.bn2.weight").values.max(), 0)
        XCTAssertEqual(file.entry("conv1.weight")?.shape, [16, 1, 3, 3])
    }

    func testConvertReadsEveryContainer() throws {
        let folder = try ToolFolder()
        for name in ["tiny.pth", "tiny_stream.pth", "tiny_tar.pth", "tiny.npz", "tiny_hugging_face.safetensors"] {
            let fixture = "\(ToolFolder.repository)/Tests/Fixtures/weights/\(name)"
            let result = try succeed(folder, "convert", fixture, "out.safetensors")
            let found = try WeightFile.open("\(folder.path)/out.safetensors")
            let expected = try WeightFile.open(fixture)
            let kept = expected.entries.filter(\.type.isFloatingPoint)
            XCTAssertEqual(found.entries.map(\.key), kept.map(\.name), name)
            for entry in kept {
                XCTAssertEqual(try found.tensor(entry.name).bits, try expected.tensor(entry.key).bits, entry.key)
            }
            XCTAssertTrue(result.error.contains("\(kept.count) tensors"), result.error)
        }
    }

    func testConvertAddsNamesAndTransform() throws {
        let folder = try ToolFolder()
        _ = try succeed(folder, "init", "cifar_resnet14", "a.npz", "--classes", "2")
        try folder.write("cat\ndog\n", "names.txt")
        _ = try succeed(
            folder, "convert", "a.npz", "b.safetensors", "--labels", "names.txt", "--transform", "cifar")
        let model = try Model(from: try WeightFile.open("\(folder.path)/b.safetensors"))
        XCTAssertEqual(model.classNames, ["cat", "dog"])
        XCTAssertEqual(model.metadata["transform"], ImageTransform.cifar().json)
        try folder.write("cat\n", "one.txt")
        try folder.assertFails(
            "convert", "a.npz", "c.npz", "--labels", "one.txt",
            naming: "expected 2 class names for cifar_resnet14, found 1")
        XCTAssertFalse(FileManager.default.fileExists(atPath: "\(folder.path)/c.npz"))
    }

    func testPackedWeightsAreWrittenThenMapped() throws {
        let folder = try ToolFolder()
        try folder.writePictures([2, 1, 32, 32], to: "x.npy")
        let arguments = ["predict", "-w", "demo/digits.safetensors", "-i", "x.npy", "-o"]
        for output in ["packed.npy", "mapped.npy"] {
            XCTAssertEqual(try folder.resnet(arguments + [output, "--packed", "digits.packed"]).status, 0)
        }
        XCTAssertEqual(try folder.resnet(arguments + ["plain.npy"]).status, 0)
        XCTAssertEqual(try folder.array("mapped.npy").bits, try folder.array("plain.npy").bits)
        XCTAssertEqual(try folder.array("packed.npy").bits, try folder.array("plain.npy").bits)

        // Other weights of the same network are other weights.
        var model = try Model(from: try WeightFile.open("\(folder.path)/demo/digits.safetensors"))
        model["fc.bias"] = Tensor(shape: [10], repeating: 0.5)
        try model.save(to: "\(folder.path)/other.safetensors")
        try folder.assertFails(
            "predict", "-w", "other.safetensors", "-i", "x.npy", "-o", "y.npy", "--packed", "digits.packed",
            naming: "digits.packed: packed for CIFARResNet", "but needed is")
        try folder.assertFails(
            "predict", "-w", "demo/digits.safetensors", "-i", "x.npy", "-o", "y.npy", "--packed", "x.npy",
            naming: "x.npy: not a file of packed weights")

        // What it is, and whether it still is.
        let about = try succeed(folder, "inspect", "digits.packed").output
        XCTAssertTrue(about.contains("contents sound") && about.contains("packed for  CIFARResNet on"), about)
        try folder.assertFails(
            "predict", "-w", "digits.packed", "-i", "x.npy", "-o", "y.npy", naming: "digits.packed", "with --packed")
        let packed = URL(fileURLWithPath: "\(folder.path)/digits.packed")
        var contents = try Data(contentsOf: packed)
        contents[contents.count / 2] ^= 1
        try contents.write(to: packed)
        try folder.assertFails("inspect", "digits.packed", naming: "digits.packed: damaged", "make the file again")
    }

    func testArraysThatDoNotFit() throws {
        let folder = try ToolFolder()
        func fails(_ input: String, naming part: String, line: UInt = #line) throws {
            try folder.assertFails(
                "predict", "-w", "demo/digits.safetensors", "-i", input, "-o", "y.npy", naming: part, line: line)
            XCTAssertFalse(FileManager.default.fileExists(atPath: "\(folder.path)/y.npy"))
        }
        try folder.writePictures([2, 3, 32, 32], to: "rgb.npy")
        try fails("rgb.npy", naming: "rgb.npy: expected 1 channels for cifar_resnet8, found 3")
        try folder.writePictures([32, 32], to: "flat.npy")
        try fails("flat.npy", naming: "expected pictures (N, C, H, W), found an array of shape [32, 32]")
        try fails("gone.npy", naming: "gone.npy: cannot be read: No such file or directory")
        try fails("demo/digits.safetensors", naming: "expected a NumPy array (.npy), found safetensors")
        try folder.copy("Tests/Fixtures/weights/version1.npy", to: "cut.npy", prefix: 130)
        try fails("cut.npy", naming: "cut.npy: truncated")
        try folder.writePictures([1, 1, 8, 8], to: "x.npy")
        try folder.assertFails(
            "predict", "-w", "demo/digits.safetensors", "-i", "x.npy", "-o", "gone/y.npy",
            naming: "gone/y.npy: cannot be written")
    }
}
