// resnet classify: the demo's digits, folders, formats, and pictures that are none.

import Foundation
import ResNetSwift
import XCTest

final class ToolClassifyTests: XCTestCase {
    private let digits = ["demo/digits", "--weights", "demo/digits.safetensors"]

    private func classify(_ folder: ToolFolder, _ arguments: [String], _ environment: [String: String] = [:]) throws
        -> [JSONValue]
    {
        let result = try folder.resnet(["classify"] + arguments + ["--json"], environment: environment)
        XCTAssertEqual(result.status, 0, result.error)
        return try result.objects()
    }

    private func top(_ object: JSONValue) -> [JSONValue] { object["top"]?.arrayValue ?? [] }

    private func probability(_ score: JSONValue) -> Double {
        if case .number(let value)? = score["probability"] { return value }
        return .nan
    }

    func testReadsTheDigitsOfTheDemo() throws {
        let objects = try classify(try ToolFolder(), digits)
        XCTAssertEqual(objects.count, 20)
        for object in objects {
            let path = try XCTUnwrap(object["path"]?.stringValue)
            let name = path.dropFirst("demo/digits/".count).prefix { $0 != "_" }
            XCTAssertEqual(object["model"], .string("cifar_resnet8"))
            XCTAssertEqual(top(object).first?["class"]?.stringValue, String(name), path)
            XCTAssertEqual(top(object).count, 5)
            XCTAssertGreaterThan(probability(top(object)[0]), 0.5, path)
        }
        XCTAssertEqual(
            objects.compactMap { $0["path"]?.stringValue }, objects.compactMap { $0["path"]?.stringValue }.sorted())
    }

    func testProbabilitiesAreADistributionInFallingOrder() throws {
        for object in try classify(try ToolFolder(), digits + ["--top", "99"]) {
            let scores = top(object).map(probability)
            XCTAssertEqual(scores.count, 10)
            XCTAssertEqual(scores.reduce(0, +), 1, accuracy: 1e-9)
            XCTAssertEqual(scores, scores.sorted(by: >))
            XCTAssertEqual(Set(top(object).map { $0["index"]! }).count, 10)
        }
    }

    func testSeveralViewsOfAPicture() throws {
        let folder = try ToolFolder()
        let plain = try classify(folder, digits)
        let flipped = try classify(folder, digits + ["--tta", "flip"])
        XCTAssertEqual(plain.map { $0["path"] }, flipped.map { $0["path"] })
        XCTAssertNotEqual(plain, flipped)
        try folder.write(
            #"{"channels":1,"exif":"apply","steps":[{"step":"resizeShorterSide","length":36,"filter":"bilinear"},"#
                + #"{"step":"centerCrop","height":32,"width":32},{"step":"toFloat"},"#
                + #"{"step":"normalize","mean":[0.5],"std":[0.5]}]}"#, "crop.json")
        let crops = try classify(folder, digits + ["--tta", "ten-crop", "--transform", "crop.json"])
        XCTAssertEqual(crops.count, 20)

        let evaluate = ["evaluate", "demo/digits.npz", "--weights", "demo/digits.safetensors"]
        for options in [["--tta", "flip"], ["--tta", "five-crop", "--transform", "crop.json"]] {
            let result = try folder.resnet(evaluate + ["--json"] + options)
            XCTAssertEqual(result.status, 0, result.error)
            guard case .number(let top1)? = try result.objects()[0]["top1"] else { return XCTFail(result.output) }
            XCTAssertGreaterThan(top1, 0.5)
        }
        for words in [["classify"] + digits, evaluate] {
            let result = try folder.resnet(words + ["--tta", "five-crop"])
            XCTAssertEqual(result.status, 1)
            XCTAssertTrue(result.error.contains("five-crop") && result.error.contains("centerCrop"), result.error)
        }
    }

    func testTheTableForPeople() throws {
        let result = try ToolFolder().resnet(["classify"] + digits + ["--top", "1"])
        XCTAssertEqual(result.status, 0)
        XCTAssertEqual(result.lines.count, 21)
        XCTAssertTrue(result.lines[0].hasPrefix("picture "), result.lines[0])
        let row = try XCTUnwrap(result.lines.first { $0.hasPrefix("demo/digits/nine_1.png") })
        XCTAssertTrue(row.contains("  nine  ") && row.contains("%  █"), row)
        let isa = try Machine.instructionSet()
        XCTAssertEqual(result.error, "resnet: cifar_resnet8 (demo/digits.safetensors), 32x32, \(isa), 1 thread\n")
    }

    func testBatchesThreadsAndInstructionSetsDoNotMatter() throws {
        let folder = try ToolFolder()
        let expected = try classify(folder, digits)
        let others = [
            try classify(folder, digits + ["--batch", "3", "--threads", "2"]),
            try classify(folder, digits + ["--batch", "1", "--accuracy", "strict"]),
            try classify(folder, digits, ["CK_ISA": "portable"]),
        ]
        for objects in others {
            XCTAssertEqual(objects.map { $0["path"] }, expected.map { $0["path"] })
            for (found, wanted) in zip(objects, expected) {
                XCTAssertEqual(top(found)[0]["class"], top(wanted)[0]["class"])
                XCTAssertEqual(probability(top(found)[0]), probability(top(wanted)[0]), accuracy: 1e-4)
            }
        }
    }

    func testManyPicturesKeepTheirOrder() throws {
        let folder = try ToolFolder()
        try FileManager.default.createDirectory(atPath: "\(folder.path)/many", withIntermediateDirectories: true)
        for copy in 100..<110 {
            for name in ["two_1", "six_2", "nine_1"] {
                try folder.copy("demo/digits/\(name).png", to: "many/\(copy)_\(name).png")
            }
        }
        let objects = try classify(
            folder, ["many", "--weights", "demo/digits.safetensors", "--batch", "4"], ["OMP_NUM_THREADS": "3"])
        XCTAssertEqual(objects.count, 30)
        for object in objects {
            let name = try XCTUnwrap(object["path"]?.stringValue).dropFirst("many/100_".count).prefix { $0 != "_" }
            XCTAssertEqual(top(object)[0]["class"]?.stringValue, String(name))
        }
        XCTAssertEqual(objects.map { $0["path"]!.text }, objects.map { $0["path"]!.text }.sorted())
    }

    func testBadPicturesAreReportedAndTheRestIsDone() throws {
        let folder = try ToolFolder()
        try folder.copy("demo/digits/two_1.png", to: "cut.png", prefix: 300)
        try folder.write("no picture", "text.png")
        let result = try folder.resnet(
            "classify", "cut.png", "demo/digits/six_1.png", "text.png", "gone.png", "demo/digits/one_2.png",
            "--weights",
            "demo/digits.safetensors", "--json", "--batch", "2")
        XCTAssertEqual(result.status, 2)
        let objects = try result.objects()
        XCTAssertEqual(
            objects.filter { $0["error"] == nil }.map { $0["path"]?.stringValue },
            ["demo/digits/six_1.png", "demo/digits/one_2.png"])
        XCTAssertEqual(
            Set(objects.filter { $0["error"] != nil }.map { $0["path"]?.stringValue }),
            ["cut.png", "text.png", "gone.png"])
        XCTAssertTrue(result.error.contains("resnet: error: cut.png: the picture is cut off"), result.error)
        XCTAssertTrue(
            result.error.contains("resnet: error: text.png: is not a JPEG, PNG, WebP, GIF, BMP or TIFF picture"),
            result.error)
        XCTAssertTrue(result.error.contains("resnet: error: gone.png: no such file"), result.error)
        XCTAssertTrue(result.error.contains("resnet: 3 of 5 pictures could not be read"), result.error)
    }

    func testOnlyBadPictures() throws {
        let folder = try ToolFolder()
        try folder.write("", "empty.jpg")
        try folder.assertFails(
            "classify", "empty.jpg", "--weights", "demo/digits.safetensors", naming: "empty.jpg: the file is empty")
    }

    func testAPictureOfOnePixelAndPicturesInColor() throws {
        let folder = try ToolFolder()
        for name in ["one_pixel.png", "one_pixel.jpg", "cmyk.jpg", "rgba16.png", "exif_6.jpg", "palette1.png"] {
            try folder.copy("Tests/Fixtures/pictures/\(name)", to: name)
            XCTAssertEqual(try classify(folder, [name, "--weights", "demo/digits.safetensors"]).count, 1, name)
        }
    }

    func testFoldersWithoutPictures() throws {
        let folder = try ToolFolder()
        try FileManager.default.createDirectory(atPath: "\(folder.path)/empty", withIntermediateDirectories: true)
        try folder.write("x", "empty/notes.txt")
        try folder.assertFails(
            "classify", "empty", "--weights", "demo/digits.safetensors",
            naming: "empty: expected a folder with pictures")
    }

    func testLabels() throws {
        let folder = try ToolFolder()
        try folder.write((0..<10).map { "digit \($0)\n" }.joined(), "names.txt")
        try folder.write("[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"j\"]", "names.json")
        let arguments = ["demo/digits/seven_1.png", "--weights", "demo/digits.safetensors", "--labels"]
        XCTAssertEqual(top(try classify(folder, arguments + ["names.txt"])[0])[0]["class"], .string("digit 7"))
        XCTAssertEqual(top(try classify(folder, arguments + ["names.json"])[0])[0]["class"], .string("h"))
        try folder.write("one\ntwo\n", "two.txt")
        try folder.assertFails(
            "classify", "demo/digits", "--weights", "demo/digits.safetensors", "--labels", "two.txt",
            naming: "two.txt: expected 10 class names for cifar_resnet8, found 2")
        try folder.assertFails(
            "classify", "demo/digits", "--weights", "demo/digits.safetensors", "--labels", "gone.txt",
            naming: "gone.txt")
    }

    func testATransformForOtherPictures() throws {
        let folder = try ToolFolder()
        try folder.assertFails(
            "classify", "demo/digits", "--weights", "demo/digits.safetensors", "--transform", "imagenet",
            naming: "expected pictures of 1 channels", "yields 3")
        try folder.assertFails(
            "classify", "demo/digits", "--weights", "demo/digits.safetensors", "--transform", "imagnet",
            naming: "found 'imagnet'")
        try folder.write(ImageTransform.digits(size: 32).json, "transform.json")
        let own = try classify(folder, digits)
        XCTAssertEqual(try classify(folder, digits + ["--transform", "transform.json"]), own)
        XCTAssertEqual(try classify(folder, digits + ["--transform", "digits"]), own)
        // Sizes follow the pictures where the transform leaves them alone.
        let free = ImageTransform(channels: 1, steps: [.toFloat, .normalize(mean: [0.5], std: [0.5])])
        try folder.write(free.json, "free.json")
        XCTAssertEqual(try classify(folder, digits + ["--transform", "free.json"]), own)
    }

    func testPicturesOfDifferentSizes() throws {
        let folder = try ToolFolder()
        let free = ImageTransform(channels: 1, steps: [.toFloat, .normalize(mean: [0.5], std: [0.5])])
        try folder.write(free.json, "free.json")
        let names = ["gray8.png", "one_pixel.png", "exif_1.jpg", "exif_6.jpg", "thin.png", "rgb8.png"]
        for name in names { try folder.copy("Tests/Fixtures/pictures/\(name)", to: name) }
        let objects = try classify(
            folder, names + ["--weights", "demo/digits.safetensors", "--transform", "free.json"])
        XCTAssertEqual(objects.compactMap { $0["path"]?.stringValue }, names)
    }
}
