// inspect, summary, describe, time, profile: what the tool tells about models, and how it answers mistakes.

import Foundation
import ResNetSwift
import XCTest

final class ToolReportTests: XCTestCase {
    private static let commands = [
        "classify", "predict", "embed", "inspect", "summary", "convert", "init", "time", "profile", "describe",
    ]

    func testEveryCommandHelps() throws {
        let folder = try ToolFolder()
        let help = try folder.resnet("--help")
        XCTAssertEqual(help.status, 0)
        XCTAssertEqual(help.error, "")
        for command in Self.commands {
            XCTAssertTrue(help.output.contains("\n  \(command) "), command)
            let own = try folder.resnet(command, "--help")
            XCTAssertEqual(own.status, 0)
            XCTAssertEqual(own.error, "")
            XCTAssertTrue(own.output.contains("EXAMPLE") && own.output.contains("\n  resnet \(command)"), command)
            XCTAssertTrue(own.output.contains("USAGE: resnet \(command)"), command)
        }
        XCTAssertEqual(try folder.resnet("--version").output, "resnet \(Machine.kernelVersion)\n")
    }

    func testWrongUsageIsExitCode64() throws {
        let folder = try ToolFolder()
        let calls = [
            ["frobnicate"], ["classify"], ["classify", "a.png"], ["classify", "a.png", "-w", "b", "--top", "0"],
            ["classify", "a.png", "-w", "b", "--batch", "0"], ["classify", "a.png", "-w", "b", "--threads", "-1"],
            ["classify", "a.png", "-w", "b", "--accuracy", "sloppy"], ["time"],
            ["time", "--model", "resnet18", "--seconds", "x"],
            ["summary", "resnet18", "--input-size", "0"], ["summary", "resnet18", "--input-size", "1x2x3"],
            ["convert", "a.npz", "b.bin"], ["init", "resnet18", "b"], ["init", "resnet18", "b.npz", "--seed", "-1"],
            ["profile", "--model", "resnet18", "--repetitions", "0"], ["predict", "-w", "a", "-i", "b"],
        ]
        for call in calls {
            let result = try folder.resnet(call)
            XCTAssertEqual(result.status, 64, "\(call)")
            XCTAssertEqual(result.output, "", "\(call)")
            XCTAssertTrue(result.error.hasPrefix("resnet: error: "), "\(call): \(result.error)")
            XCTAssertTrue(result.error.contains("Usage: resnet"), "\(call): \(result.error)")
        }
    }

    func testFilesThatAreNoWeights() throws {
        let folder = try ToolFolder()
        try folder.write("<!DOCTYPE html><html></html>", "page.pth")
        try folder.copy("demo/digits.safetensors", to: "cut.safetensors", prefix: 200_000)
        try folder.copy("Tests/Fixtures/weights/tiny.pth", to: "cut.pth", prefix: 1500)
        try folder.write("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "pointer.npz")
        for command in ["inspect", "convert", "classify"] {
            func fails(_ name: String, _ part: String, line: UInt = #line) throws {
                var arguments = [command, name]
                if command == "convert" { arguments.append("out.npz") }
                if command == "classify" { arguments = ["classify", "demo/digits", "-w", name] }
                let result = try folder.resnet(arguments)
                XCTAssertEqual(result.status, 1, line: line)
                XCTAssertEqual(result.output, "", line: line)
                XCTAssertTrue(result.error.hasPrefix("resnet: error: \(name): "), result.error, line: line)
                XCTAssertTrue(result.error.contains(part), result.error, line: line)
                XCTAssertFalse(FileManager.default.fileExists(atPath: "\(folder.path)/out.npz"), line: line)
            }
            try fails("page.pth", "HTML page")
            try fails("cut.safetensors", "truncated")
            try fails("cut.pth", "cut short")
            try fails("pointer.npz", "Git-LFS pointer")
            try fails("gone.pth", "No such file or directory")
            try fails("demo", "it is a directory")
        }
    }

    func testInspectTellsWhatDoesNotFit() throws {
        let folder = try ToolFolder()
        let text = try folder.resnet("inspect", "demo/digits.safetensors")
        XCTAssertEqual(text.status, 0)
        XCTAssertTrue(text.output.contains("model       cifar_resnet8, 1 input channels, 10 classes"), text.output)
        XCTAssertTrue(text.output.contains("fits        47 tensors match"), text.output)
        XCTAssertTrue(text.output.contains("conv1.weight"), text.output)
        let object = try folder.resnet("inspect", "demo/digits.safetensors", "-m", "cifar_resnet14", "--json")
            .objects()[0]
        XCTAssertEqual(object["fits"], .bool(false))
        XCTAssertTrue(object["refused"]?.stringValue?.contains("missing in the file (30)") == true, object.text)
        try folder.assertFails(
            "classify", "demo/digits", "-w", "demo/digits.safetensors", "-m", "cifar_resnet14",
            naming: "demo/digits.safetensors: does not fit the model")
        try folder.assertFails(
            "classify", "demo/digits", "-w", "demo/digits.safetensors", "-m", "cifar_resnet15",
            naming: "no model is called 'cifar_resnet15'; did you mean 'cifar_resnet14' or 'cifar_resnet18'?")
    }

    /// A name that is printed is a name that is taken.
    func testModelsListsWhatEveryCommandTakes() throws {
        let folder = try ToolFolder()
        let all = try folder.resnet("models")
        XCTAssertEqual(all.status, 0, all.error)
        let lines = all.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        XCTAssertEqual(lines.count, ModelName.allCases.count + 1)
        XCTAssertEqual(lines[0], ["model", "pictures", "classes", "parameters"])
        XCTAssertTrue(lines.contains(["resnet50", "224x224", "1000", "25,557,032"]), all.output)
        let wrong = try folder.resnet("summary", "resnet5x")
        XCTAssertTrue(wrong.error.hasSuffix("\nresnet: `resnet models` lists the names\n"), wrong.error)
        let some = try folder.resnet("models", "CIFAR_ResNet8")
        XCTAssertEqual(some.output.split(separator: "\n").count, 2, some.output)
        try folder.assertFails("models", "bert", naming: "no name of a model contains 'bert'")
        let text = try folder.resnet("inspect", "demo/digits.safetensors", "-m", "cifar_resnet8")
        XCTAssertTrue(text.output.contains("fits        47 tensors match"), text.output)
    }

    func testSummaryCountsParameters() throws {
        let folder = try ToolFolder()
        for (model, count) in [("resnet18", "11,689,512"), ("resnet50", "25,557,032"), ("ResNet-152", "60,192,808")] {
            let result = try folder.resnet("summary", model)
            XCTAssertEqual(result.status, 0)
            XCTAssertTrue(result.output.contains("Parameters  \(count), "), model)
        }
        let small = try folder.resnet("summary", "resnet18", "--input-size", "193x257", "--classes", "2")
        XCTAssertTrue(small.output.hasPrefix("ResNet for pictures of 3x193x257\n"), small.output)
        XCTAssertTrue(small.output.contains("512x7x9"), small.output)
        XCTAssertTrue(try folder.resnet("summary", "resnet18", "--tree").output.hasPrefix("ResNet(\n  (conv1): Conv2d"))
        try folder.assertFails("summary", "alexnet_mini", "--input-size", "8", naming: "alexnet_mini: inputSize")
        try folder.assertFails("summary", "resnet18", "--classes", "0", naming: "classes must be 1 to 1000000, not 0")
    }

    func testTimePrintsItsKeysInOrder() throws {
        let result = try ToolFolder().resnet(
            "time", "--weights", "demo/digits.safetensors", "--batch", "2", "--threads", "1", "--seconds", "0", "--json"
        )
        XCTAssertEqual(result.status, 0, result.error)
        guard case .object(let members) = try result.objects()[0] else { return XCTFail("no object") }
        XCTAssertEqual(
            members.map(\.key),
            [
                "model", "batch", "threads", "isa", "dtype", "median_ms", "min_ms", "images_per_s", "samples", "plan_s",
                "first_result_s", "peak_rss_mib",
            ])
        XCTAssertEqual(members[0].value, .string("cifar_resnet8"))
        XCTAssertEqual(members[1].value, .integer(2))
        XCTAssertEqual(members[2].value, .integer(1))
        XCTAssertEqual(members[3].value, .string(try Machine.instructionSet()))
        XCTAssertEqual(members[4].value, .string("float32"))
        XCTAssertEqual(members[8].value, .integer(5))
        var numbers: [String: Double] = [:]
        for member in members { if case .number(let value) = member.value { numbers[member.key] = value } }
        XCTAssertGreaterThan(numbers["min_ms"]!, 0)
        XCTAssertGreaterThanOrEqual(numbers["median_ms"]!, numbers["min_ms"]!)
        // All pictures over all the time: no more than the fastest run alone would give.
        XCTAssertGreaterThan(numbers["images_per_s"]!, 0)
        XCTAssertLessThanOrEqual(numbers["images_per_s"]!, 1.001 * 2000 / numbers["min_ms"]!)
        XCTAssertGreaterThan(numbers["first_result_s"]!, numbers["plan_s"]!)
        XCTAssertGreaterThan(numbers["peak_rss_mib"]!, 1)
    }

    func testProfileAndDescribeNameEveryLayer() throws {
        let folder = try ToolFolder()
        let profile = try folder.resnet(
            "profile", "--weights", "demo/digits.safetensors", "--repetitions", "2", "--json")
        let steps = try profile.objects().compactMap { $0["step"]?.stringValue }
        for name in ["conv1", "layer1.0.conv1", "layer3.0.conv2", "fc"] { XCTAssertTrue(steps.contains(name), name) }
        let table = try folder.resnet("profile", "--model", "cifar_resnet14", "--repetitions", "2")
        XCTAssertTrue(table.output.contains("GFLOP/s") && table.output.contains("\ntotal "), table.output)
        let isa = try Machine.instructionSet()
        let described = try folder.resnet("describe", "--model", "cifar_resnet14", "--batch", "3")
        XCTAssertTrue(described.output.contains("at most 3 at a time, on 1 threads, \(isa)"), described.output)
        XCTAssertTrue(described.output.contains("layer2.0.downsample.0"), described.output)
    }

    func testAWrongInstructionSetIsAnError() throws {
        let folder = try ToolFolder()
        for arguments in [
            ["classify", "demo/digits", "-w", "demo/digits.safetensors"], ["time", "--model", "cifar_resnet14"],
            ["describe", "--model", "cifar_resnet14"],
        ] {
            let result = try folder.resnet(arguments, environment: ["CK_ISA": "sse9"])
            XCTAssertEqual(result.status, 1)
            XCTAssertEqual(result.output, "")
            let known = Machine.instructionSets.joined(separator: ", ")
            XCTAssertTrue(
                result.error.contains("resnet: error: CK_ISA: expected one of \(known) on this machine, found 'sse9'"),
                result.error)
        }
    }

    func testWrongCachesAreAnError() throws {
        let folder = try ToolFolder()
        let arguments = ["time", "--model", "cifar_resnet14", "--seconds", "0"]
        for wrong in [
            "32K", "32K,512K", "32K,512K,32M,1", "32K,512K,32M/0", "32K, 512K, 32M", "0,512K,32M", "32k,1M,2M",
            "1T,1M,2M",
        ] {
            let result = try folder.resnet(arguments, environment: ["CK_CACHES": wrong])
            XCTAssertEqual(result.status, 1, wrong)
            XCTAssertEqual(result.output, "")
            XCTAssertTrue(
                result.error.contains("resnet: error: CK_CACHES: expected three sizes, found '\(wrong)'"), result.error)
        }
        for right in ["", "8K,64K,0", "48K,2M,32M/8", "32768/2,512K,1G"] {
            XCTAssertEqual(try folder.resnet(arguments, environment: ["CK_CACHES": right]).status, 0, right)
        }
    }

    func testTheThreadsOfTheEnvironmentAreUsed() throws {
        let folder = try ToolFolder()
        let result = try folder.resnet(
            "time", "-m", "cifar_resnet14", "--seconds", "0", "--json", environment: ["OMP_NUM_THREADS": "3"])
        XCTAssertEqual(try result.objects()[0]["threads"], .integer(3))
        let asked = try folder.resnet("time", "-m", "cifar_resnet14", "--seconds", "0", "--json", "--threads", "2")
        XCTAssertEqual(try asked.objects()[0]["threads"], .integer(2))
    }
}
