// kill -9 at any moment leaves a whole checkpoint, and the run that goes on from it gives the bits of one that was left
// alone. The victim is this test program itself, started again with one test and an environment variable.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetTraining

final class TrainerCrashTests: XCTestCase {
    private static let variable = "RESNET_TEST_CRASH_FOLDER"

    /// Long enough to be killed several times, with a checkpoint after every update.
    private func trainer(_ folder: String) throws -> Trainer {
        try Trainer(
            backend: ToyBackend(channels: 3, features: 384, optimizer: .adam()),
            data: TrainerTests.data(training: 24, augments: true),
            settings: TrainingSettings(
                epochs: 4, learningRate: 0.001, schedule: .init(.cosine()), seed: 5, averageDecay: 0.9,
                folder: folder, checkpointUpdates: 1),
            callbacks: [EarlyStopping(patience: 3), ReduceLROnPlateau(patience: 1)])
    }

    /// The victim's work; in an ordinary run of the tests, the same once and without a crash.
    func testVictim() throws {
        if let folder = ProcessInfo.processInfo.environment[Self.variable] {
            let resumes = FileManager.default.fileExists(atPath: "\(folder)/last.safetensors")
            XCTAssertEqual(try trainer(folder).run(resuming: resumes).history.records.count, 4)
        } else {
            try PictureFixtures.withFolder { folder in
                XCTAssertEqual(try trainer(folder).run().history.records.count, 4)
            }
        }
    }

    private func start(_ folder: String) throws -> Process {
        let process = Process()
        process.executableURL = URL(
            fileURLWithPath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
        process.arguments = ["ResNetSwiftTests.TrainerCrashTests/testVictim"]
        process.environment = ProcessInfo.processInfo.environment.merging([Self.variable: folder]) { $1 }
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    private func contents(_ path: String) throws -> (tensors: [String: [Float]], state: RunState) {
        let graph = ToyBackend.graph(channels: 3, features: 384, classes: 3)
        let shapes = Dictionary(uniqueKeysWithValues: graph.parameters.map { ($0.name, $0.shape) })
        var state = try TrainingCheckpoint(contentsOf: path, shapes: shapes).state
        for index in state.history.indices { state.history[index].seconds = 0 }
        state.seconds = 0
        let file = try WeightFile.open(path)
        var tensors: [String: [Float]] = [:]
        for entry in file.entries { tensors[entry.key] = try file.tensor(entry.key).values }
        return (tensors, state)
    }

    func testKilledAtRandomMoments() throws {
        try PictureFixtures.withFolder { folder in
            _ = try trainer("\(folder)/whole").run()
            let path = "\(folder)/killed/last.safetensors"
            var random = SampleRandom(seed: 17)
            var (kills, places) = (0, Set<[Int]>())
            while kills < 8 {
                let process = try start("\(folder)/killed")
                usleep(UInt32(random.integer(below: 400_000)))
                kill(process.processIdentifier, SIGKILL)
                process.waitUntilExit()
                guard process.terminationReason == .uncaughtSignal else { break }
                kills += 1
                if FileManager.default.fileExists(atPath: path) {
                    let state = try contents(path).state
                    places.insert([state.epoch, state.batch])
                }
            }
            let survivor = try start("\(folder)/killed")
            survivor.waitUntilExit()
            XCTAssertEqual(survivor.terminationStatus, 0)
            let (killed, whole) = (try contents(path), try contents("\(folder)/whole/last.safetensors"))
            XCTAssertEqual(killed.state, whole.state)
            XCTAssertEqual(Set(killed.tensors.keys), Set(whole.tensors.keys))
            for (name, values) in killed.tensors { XCTAssert(values == whole.tensors[name]!, name) }
            XCTAssertEqual(
                try FileManager.default.contentsOfDirectory(atPath: "\(folder)/killed").sorted(),
                ["best.safetensors", "history.csv", "history.jsonl", "history.svg", "last.safetensors"])
        }
    }
}
