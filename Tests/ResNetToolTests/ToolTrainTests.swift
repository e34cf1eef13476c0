// resnet train: what it leaves in its folder, what it says about wrong input.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetTraining

final class ToolTrainTests: XCTestCase {
    func testTrainsOnDigitsAndClassifiesWithTheCheckpoint() throws {
        let folder = try ToolFolder()
        let trained = try folder.resnet(
            "train", "demo/digits.npz", "--model", "cifar_resnet14", "--epochs", "2", "--lr", "0.05", "--out", "run")
        XCTAssertEqual(trained.status, 0, trained.error)
        XCTAssertEqual(
            try FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/run").sorted(),
            [
                "best.safetensors", "evaluation.json", "evaluation.txt", "history.csv", "history.jsonl", "history.svg",
                "last.safetensors", "report.html",
            ])
        XCTAssert(trained.output.hasPrefix("loss "), trained.output)
        XCTAssert(trained.output.contains("actual \\ predicted"), trained.output)
        XCTAssert(trained.error.contains("\nepoch   train loss   top-1"), trained.error)
        XCTAssert(trained.error.contains("\n  2/2 "), trained.error)
        let csv = try String(contentsOfFile: "\(folder.path)/run/history.csv", encoding: .utf8)
        XCTAssertEqual(csv.split(separator: "\n").count, 3)

        let scores = try JSONValue.parse(
            String(contentsOfFile: "\(folder.path)/run/evaluation.json", encoding: .utf8))
        let top1 = try XCTUnwrap(scores["top1"]?.doubleValue)
        XCTAssertGreaterThan(top1, 0.9)
        // The same pictures and weights through the other command.
        let evaluated = try folder.resnet(
            "evaluate", "demo/digits.npz", "--weights", "run/best.safetensors", "--json", "--report", "page.html")
        XCTAssertEqual(try evaluated.objects()[0]["top1"]?.doubleValue, top1)

        for (path, part) in [
            ("run/report.html", "<h2>Training</h2>"),
            ("page.html", "<span>evaluate</span> <span>demo/digits.npz</span>"),
        ] {
            let page = try String(contentsOfFile: "\(folder.path)/\(path)", encoding: .utf8)
            XCTAssertTrue(page.contains(part) && page.hasSuffix("</html>\n"), path)
            XCTAssertGreaterThan(page.components(separatedBy: "alt=\"what speaks for it\"").count, 12, path)
        }

        // Class names, transform and model come with the file; the network never saw these pictures.
        let classified = try folder.resnet(
            "classify", "demo/digits", "--weights", "run/best.safetensors", "--top", "1", "--json")
        XCTAssertEqual(classified.status, 0, classified.error)
        let names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
        let right = try classified.objects().count { object in
            let path = object["path"]?.stringValue ?? ""
            let found = object["top"]?.arrayValue?.first?["class"]?.stringValue.flatMap { Int($0) } ?? -1
            return names.indices.contains(found) && path.contains("/\(names[found])_")
        }
        XCTAssertGreaterThanOrEqual(right, 17)

        // A run is not lost by mistake.
        try folder.assertFails(
            "train", "demo/digits.npz", "--model", "cifar_resnet14", "--out", "run", naming: "--resume", "--overwrite")
        try folder.assertFails(
            "train", "demo/digits.npz", "--model", "cifar_resnet14", "--epochs", "2", "--out", "run", "--resume",
            naming: "learning rate", "0.05", "0.01")
    }

    func testTrainsWithRandAugmentAndTrivialAugment() throws {
        let folder = try ToolFolder()
        func losses(_ options: [String], _ out: String) throws -> String {
            let result = try folder.resnet(
                ["train", "demo/digits.npz", "--model", "cifar_resnet14", "--epochs", "1", "--out", out] + options)
            XCTAssertEqual(result.status, 0, result.error)
            return try String(contentsOfFile: "\(folder.path)/\(out)/history.csv", encoding: .utf8)
                .split(separator: "\n")[1].split(separator: ",").prefix(3).joined(separator: ",")
        }
        let plain = try losses([], "plain")
        let rand = try losses(["--rand-augment", "2,9"], "rand")
        XCTAssertEqual(try losses(["--rand-augment", "2,9"], "again"), rand)
        XCTAssertEqual(Set([plain, rand, try losses(["--trivial-augment"], "trivial")]).count, 3)
        try folder.assertFails(
            "train", "demo/digits.npz", "--model", "cifar_resnet14", "--rand-augment", "2,31", "--out", "x", code: 64,
            naming: "--rand-augment")
        try folder.assertFails(
            "train", "demo/digits.npz", "--model", "cifar_resnet14", "--rand-augment", "2,9", "--trivial-augment",
            "--out", "x", code: 64, naming: "not both")
    }

    func testPicturesGrowWhileItTrains() throws {
        let folder = try ToolFolder()
        let usual = ["train", "demo/digits.npz", "--model", "cifar_resnet8", "--out", "run", "--size", "16,24,32"]
        let result = try folder.resnet(usual + ["--epochs", "4"])
        XCTAssertEqual(result.status, 0, result.error)
        for note in ["16x16 from epoch 1 on", "24x24 from epoch 3 on", "32x32 from epoch 4 on"] {
            XCTAssert(result.error.contains("pictures of \(note)"), result.error)
        }
        let evaluation = try folder.resnet("evaluate", "demo/digits.npz", "--weights", "run/best.safetensors", "--json")
        XCTAssertEqual(evaluation.status, 0, evaluation.error)
        let described = try folder.resnet("inspect", "run/best.safetensors")
        XCTAssert(described.output.contains("32"), described.output)
        try folder.assertFails(
            "train", "demo/digits.npz", "--model", "cifar_resnet8", "--size", "16,24,32", "--epochs", "2", "--out", "x",
            naming: "sizes", "2 epochs")
        try folder.assertFails(
            "train", "demo/digits.npz", "--model", "cifar_resnet8", "--size", "16,", "--out", "x", code: 64,
            naming: "--size")
    }

    func testAnotherTaskGetsAnotherHead() throws {
        let folder = try ToolFolder()
        let pictures = "\(folder.path)/shapes"
        for (index, name) in ["five", "two", "six", "nine"].enumerated() {
            let target = "\(pictures)/\(index % 2 == 0 ? "left" : "right")"
            try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
            for number in 1...2 {
                try FileManager.default.copyItem(
                    atPath: "\(ToolFolder.repository)/demo/digits/\(name)_\(number).png",
                    toPath: "\(target)/\(name)\(number).png")
            }
        }
        let result = try folder.resnet(
            "train", "shapes", "--weights", "demo/digits.safetensors", "--freeze", "allButHead", "--epochs", "2",
            "--batch", "3", "--validation", "0.25", "--out", "run", "--json")
        XCTAssertEqual(result.status, 0, result.error)
        XCTAssert(result.error.contains("the last layer of demo/digits.safetensors is replaced"), result.error)
        XCTAssert(result.error.contains("its features are computed once"), result.error)
        let (old, new) = (
            try WeightFile.open("\(ToolFolder.repository)/demo/digits.safetensors"),
            try WeightFile.open("\(folder.path)/run/best.safetensors")
        )
        for entry in old.entries where !entry.key.hasPrefix("fc.") {
            XCTAssertEqual(try new.tensor(entry.key).bits, try old.tensor(entry.key).bits, entry.key)
        }
        XCTAssertEqual(try new.tensor("fc.weight").shape, [2, 64])
        let classified = try folder.resnet(
            "classify", "demo/digits/six_1.png", "--weights", "run/best.safetensors", "--json")
        let top = try XCTUnwrap(classified.objects()[0]["top"]?.arrayValue)
        XCTAssertEqual(Set(top.map { $0["class"]?.stringValue }), ["left", "right"])
    }

    func testSeveralLabelsAPictureAndAHeadOfItsOwn() throws {
        let folder = try ToolFolder()
        let names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
        // Label 0: below five; label 1: even.
        var table = "path,labels\n"
        for (digit, name) in names.enumerated() {
            for number in 1...2 {
                let labels = (digit < 5 ? ["0"] : []) + (digit % 2 == 0 ? ["1"] : [])
                table += "demo/digits/\(name)_\(number).png,\(labels.joined(separator: " "))\n"
            }
        }
        try folder.write(table, "labels.csv")
        let result = try folder.resnet(
            "train", "labels.csv", "--multi-label", "--weights", "demo/digits.safetensors", "--head", "hidden:24:0.1",
            "--class-weights", "auto", "--monitor", "val_f1", "--epochs", "2", "--batch", "8", "--out", "run", "--json")
        XCTAssertEqual(result.status, 0, result.error)
        let classes = try XCTUnwrap(result.objects()[0]["classes"]?.arrayValue)
        let thresholds = classes.compactMap { $0["threshold"]?.doubleValue }
        XCTAssertEqual(thresholds.count, 2)

        // The head and the thresholds come with the file; every label has a probability of its own.
        let model = try Model(from: WeightFile.open("\(folder.path)/run/best.safetensors"))
        XCTAssertEqual(model.headKind, .hidden(24, dropout: 0.1))
        XCTAssertEqual(model.labelThresholds?.values, thresholds)
        let classified = try folder.resnet(
            "classify", "demo/digits/two_1.png", "--weights", "run/best.safetensors", "--json")
        XCTAssertEqual(classified.status, 0, classified.error)
        for label in try XCTUnwrap(classified.objects()[0]["top"]?.arrayValue) {
            let index = try XCTUnwrap(label["index"]?.integerValue)
            let probability = try XCTUnwrap(label["probability"]?.doubleValue)
            XCTAssertEqual(label["present"]?.boolValue, probability >= thresholds[index])
        }
    }

    // MARK: - Stopped and killed

    private static let run = [
        "train", "demo/digits.npz", "--model", "cifar_resnet14", "--epochs", "4", "--optimizer", "adam", "--crop",
        "0.8,1", "--checkpoint-every", "2", "--resume", "--out",
    ]

    /// Tensors and state of a checkpoint, but for the time it took.
    private func contents(_ path: String) throws -> (tensors: [String: [UInt32]], state: RunState) {
        let graph = try ModelName.cifar_resnet14.graph(inputChannels: 1)
        let shapes = Dictionary(uniqueKeysWithValues: graph.parameters.map { ($0.name, $0.shape) })
        var state = try TrainingCheckpoint(contentsOf: path, shapes: shapes).state
        for index in state.history.indices { state.history[index].seconds = 0 }
        state.seconds = 0
        let file = try WeightFile.open(path)
        var tensors: [String: [UInt32]] = [:]
        for entry in file.entries { tensors[entry.key] = try file.tensor(entry.key).bits }
        return (tensors, state)
    }

    /// Which file it is and when it was written: changes with every checkpoint.
    private func written(_ path: String) -> [Int] {
        var about = stat()
        guard stat(path, &about) == 0 else { return [] }
        return [Int(about.st_ino), about.st_mtim.tv_sec, about.st_mtim.tv_nsec]
    }

    private func wait(for process: Process, until holds: () -> Bool) {
        for _ in 0..<60_000 where process.isRunning && !holds() { usleep(500) }
    }

    private func assertSame(_ one: String, _ other: String, line: UInt = #line) throws {
        let (a, b) = (try contents(one), try contents(other))
        XCTAssertEqual(a.state, b.state, line: line)
        XCTAssertEqual(Set(a.tensors.keys), Set(b.tensors.keys), line: line)
        for (key, bits) in a.tensors { XCTAssert(bits == b.tensors[key], key, line: line) }
    }

    /// kill -9 at 20 random moments, then Ctrl-C: each leaves a whole checkpoint, and the run that goes on ends with the
    /// bits of one that was left alone.
    func testKilledAtRandomMomentsItGoesOnAsIfNever() throws {
        let folder = try ToolFolder()
        let whole = try folder.resnet(Self.run + ["whole"])
        XCTAssertEqual(whole.status, 0, whole.error)
        let last = "\(folder.path)/killed/last.safetensors"
        var random = SampleRandom(seed: 11)
        var (kills, places) = (0, Set<[Int]>())
        for round in 0..<60 where kills < 20 {
            let before = written(last)
            let process = try folder.start(Self.run + ["killed"])
            // Sometimes while it starts; mostly some updates after it has gone on.
            if round % 4 > 0 { wait(for: process) { written(last) != before } }
            usleep(UInt32(random.integer(below: 15_000)))
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
            guard process.terminationReason == .uncaughtSignal else {
                // It was faster, and must have come to the same end. Once more from the beginning.
                try assertSame("\(folder.path)/whole/last.safetensors", last)
                try FileManager.default.removeItem(atPath: "\(folder.path)/killed")
                continue
            }
            kills += 1
            guard FileManager.default.fileExists(atPath: last) else { continue }
            let state = try contents(last).state
            places.insert([state.epoch, state.batch])
        }
        XCTAssertEqual(kills, 20)
        XCTAssertGreaterThan(places.count, 4, "the moments differ")

        let before = written(last)
        let stopped = try folder.start(Self.run + ["killed"])
        wait(for: stopped) { written(last) != before }
        stopped.interrupt()
        stopped.waitUntilExit()
        XCTAssertEqual(stopped.terminationReason, .exit)
        XCTAssertEqual(stopped.terminationStatus, 128 + SIGINT)

        let survivor = try folder.resnet(Self.run + ["killed"])
        XCTAssertEqual(survivor.status, 0, survivor.error)
        try assertSame("\(folder.path)/whole/last.safetensors", last)
        XCTAssertEqual(
            try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/whole/best.safetensors")),
            try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/killed/best.safetensors")))
        XCTAssertEqual(survivor.output, whole.output)
    }

    func testLearningRateSearch() throws {
        let folder = try ToolFolder()
        let result = try folder.resnet(
            "lr-find", "demo/digits.npz", "--model", "cifar_resnet14", "--updates", "60", "--out", "search.svg",
            "--json")
        XCTAssertEqual(result.status, 0, result.error)
        let found = try result.objects()[0]
        let rate = try XCTUnwrap(found["suggestion"]?.doubleValue)
        XCTAssert(1e-4...1 ~= rate, "\(rate)")
        XCTAssertEqual(found["rates"]?.arrayValue?.count, found["losses"]?.arrayValue?.count)
        XCTAssert(try String(contentsOfFile: "\(folder.path)/search.svg", encoding: .utf8).contains("steepest"))
        XCTAssertEqual(
            try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted(), ["demo", "search.svg"])
    }

    func testATrainingStepIsTimed() throws {
        let folder = try ToolFolder()
        let step = try folder.resnet(
            "time", "--model", "cifar_resnet14", "--train", "--freeze", "allButHead", "--batch", "4", "--seconds", "0",
            "--json")
        let inference = try folder.resnet(
            "time", "--model", "cifar_resnet14", "--batch", "4", "--seconds", "0", "--json")
        XCTAssertEqual(step.status, 0, step.error)
        func keys(_ result: ToolResult) throws -> [String] {
            guard case .object(let members) = try result.objects()[0] else { return [] }
            return members.map(\.key)
        }
        XCTAssertEqual(try keys(step), try keys(inference))
        XCTAssertGreaterThan(try XCTUnwrap(step.objects()[0]["images_per_s"]?.doubleValue), 0)
        try folder.assertFails(
            "time", "--model", "cifar_resnet14", "--freeze", "none", code: 64, naming: "--freeze", "--train")
        try folder.assertFails(
            "time", "--model", "cifar_resnet14", "--train", "--freeze", "upTo:nothing", naming: "nothing", "nearest")
    }

    func testWrongInputIsSaidInOneLine() throws {
        let folder = try ToolFolder()
        let data = "demo/digits.npz"
        try folder.assertFails("train", data, code: 64, naming: "--model", "--weights")
        try folder.assertFails("train", "nowhere", "--model", "resnet18", naming: "nowhere", "no such file")
        try folder.assertFails("train", data, "--model", "resnet19", naming: "resnet19", "did you mean 'resnet18'")
        try folder.assertFails(
            "train", data, "--model", "cifar_resnet14", "--freeze", "upTo:layer9", naming: "layer9", "nearest")
        try folder.assertFails(
            "train", data, "--model", "cifar_resnet14", "--schedule", "sine", code: 64, naming: "sine")
        try folder.assertFails(
            "train", data, "--model", "cifar_resnet14", "--monitor", "val_f1", naming: "monitor", "val_f1")
        try folder.assertFails(
            "train", data, "--model", "cifar_resnet14", "--class-weights", "1,2", naming: "--class-weights", "10", "2")
        try folder.assertFails(
            "train", data, "--model", "cifar_resnet14", "--stage-rates", "layer7=1", naming: "layer7", "layer3, head")
        try folder.assertFails(
            "train", data, "--model", "cifar_resnet14", "--optimizer", "adam", "--momentum", "0.5", code: 64,
            naming: "--momentum", "sgd")
        try folder.write("", "file")
        try folder.assertFails("train", data, "--model", "cifar_resnet14", "--out", "file", naming: "file", "folder")
        try folder.assertFails(
            "train", data, "--model", "cifar_resnet14", "--lr", "1e20", "--out", "far", naming: "epoch 1",
            "batch 2", "1e20", "no number")
        XCTAssertFalse(FileManager.default.fileExists(atPath: "\(folder.path)/run"))
    }
}
