// The trainer on a toy network: what it does between steps.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetTraining

final class TrainerTests: XCTestCase {
    /// Three colors with noise, one picture a sample.
    static func data(
        training: Int = 22, validation: Int = 11, batchSize: Int = 4, augments: Bool = false,
        mixing: BatchMixing? = nil, size: Int = 6
    ) -> TrainingData {
        func pictures(_ count: Int, _ seed: UInt64) -> Dataset {
            let random = CounterRandom(seed: seed)
            var pixels: [UInt8] = []
            for sample in 0..<count {
                for place in 0..<size * size * 3 {
                    let noise = random.integer(below: 90, UInt64(sample * size * size * 3 + place))
                    pixels.append(UInt8(noise + (place % 3 == sample % 3 ? 80 : 40)))
                }
            }
            return Dataset(
                classNames: ["red", "green", "blue"], labels: .classes((0..<count).map { $0 % 3 }),
                source: .pictures(ByteImages(count: count, height: size, width: size, channels: 3, pixels: pixels)))
        }
        let end: [ImageTransform.Step] = [.toFloat, .normalize(mean: [0.4, 0.4, 0.4], std: [0.2, 0.2, 0.2])]
        let random: [ImageTransform.Step] = [.randomResizedCrop(Size2(size, size)), .randomHorizontalFlip()]
        return TrainingData(
            training: pictures(training, 1).all, validation: validation == 0 ? nil : pictures(validation, 2).all,
            transform: ImageTransform(steps: (augments ? random : []) + end),
            evaluationTransform: ImageTransform(steps: end), batchSize: batchSize, mixing: mixing)
    }

    func testARunLearnsAndKeepsItsFiles() throws {
        try PictureFixtures.withFolder { folder in
            var events: [TrainingEvent] = []
            let backend = ToyBackend(channels: 3)
            let trainer = try Trainer(
                backend: backend, data: Self.data(training: 60),
                settings: TrainingSettings(
                    epochs: 12, learningRate: 0.1, topK: 2, folder: "\(folder)/a/run", title: "toy"),
                metadata: ["model": "toy"], report: { events.append($0) })
            let outcome = try trainer.run()
            XCTAssertEqual(outcome.reason, .completed)
            XCTAssertEqual(outcome.history.records.count, 12)
            let last = try XCTUnwrap(outcome.history.records.last)
            XCTAssertGreaterThan(try XCTUnwrap(last.validation?.top1), 0.9)
            XCTAssertLessThan(last.training.loss, outcome.history.records[0].training.loss / 2)
            XCTAssertEqual(last.training.topK.map { $0 >= last.training.top1! }, true)

            let files = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/a/run").sorted()
            XCTAssertEqual(
                files, ["best.safetensors", "history.csv", "history.jsonl", "history.svg", "last.safetensors"])
            let csv = try String(contentsOfFile: "\(folder)/a/run/history.csv", encoding: .utf8)
            XCTAssertEqual(csv.split(separator: "\n").count, 13)

            // The checkpoint can be opened as a model, without knowing about training.
            let model = try Model(
                graph: backend.graph, from: try WeightFile.open(try XCTUnwrap(outcome.lastCheckpoint)))
            for (name, tensor) in model.parameters {
                XCTAssertEqual(tensor.values, outcome.parameters[name]?.values, name)
            }
            XCTAssertEqual(model.classNames, ["red", "green", "blue"])
            XCTAssertEqual(model.metadata["model"], "toy")
            XCTAssertNil(model.metadata["training"], "the state of the run stays in the file")
            XCTAssertEqual(
                try ImageTransform(json: try XCTUnwrap(model.metadata[MetadataKey.transform])),
                Self.data().evaluationTransform)
            let best = try WeightFile.open(try XCTUnwrap(outcome.bestCheckpoint))
            XCTAssertEqual(best.entries.count, backend.graph.parameters.count)
            XCTAssert(best.metadata["trained"]?.hasPrefix("epoch ") == true)

            var ended = 0
            var trained = 0
            for event in events {
                if case .epochEnded = event { ended += 1 }
                if case .progress(let progress) = event, !progress.isValidation { trained += 1 }
            }
            XCTAssertEqual(ended, 12)
            XCTAssertEqual(trained, 12 * 15)
        }
    }

    // MARK: - Going on as if never stopped

    /// A run that can be made again, as after a restart of the program.
    struct Recipe {
        var data: TrainingData
        var settings: TrainingSettings
        var optimizer = Optimizer.adam()
        var callbacks: [any TrainingCallback] = []
        var unfreezes = false
        /// nil means the toy.
        var backend: (() throws -> any TrainingBackend)?

        func trainer(folder: String, stopAfter: Int? = nil) throws -> (Trainer, any TrainingBackend) {
            let backend = try backend?() ?? ToyBackend(channels: 3, dropout: 0.2, optimizer: optimizer, clip: 1)
            var settings = settings
            settings.folder = folder
            if unfreezes {
                settings.unfreezing = UnfreezeSchedule([0: .allButHead, 2: .names(["conv1"]), 3: .none])
            }
            var asked = 0
            let trainer = try Trainer(
                backend: backend, data: data, settings: settings, callbacks: callbacks,
                stopRequested: {
                    asked += 1
                    return asked == stopAfter
                })
            return (trainer, backend)
        }
    }

    static func tensors(_ path: String) throws -> [String: [UInt32]] {
        let file = try WeightFile.open(path)
        var result: [String: [UInt32]] = [:]
        for entry in file.entries { result[entry.key] = try file.tensor(entry.key).values.map(\.bitPattern) }
        return result
    }

    static func timeless(_ history: TrainingHistory) -> [EpochRecord] {
        history.records.map { record in
            var record = record
            record.seconds = 0
            return record
        }
    }

    /// Stops after every so many questions, resumes, and compares with a run that was left alone.
    static func assertResumesExactly(
        _ recipe: Recipe, stops: [Int], file: StaticString = #filePath, line: UInt = #line
    ) throws {
        try PictureFixtures.withFolder { folder in
            let (trainer, _) = try recipe.trainer(folder: "\(folder)/whole")
            let whole = try trainer.run()
            for stop in stops {
                let path = "\(folder)/\(stop)"
                var outcome = try recipe.trainer(folder: path, stopAfter: stop).0.run()
                var runs = 1
                while outcome.reason == .interrupted, runs < 200 {
                    // Every run is a new trainer and a new backend, as after a restart of the program.
                    // Not always after the same number, which would never get past a validation.
                    outcome = try recipe.trainer(folder: path, stopAfter: stop + runs % 4).0.run(resuming: true)
                    runs += 1
                }
                XCTAssertGreaterThan(runs, 1, "stop \(stop)", file: file, line: line)
                XCTAssertEqual(outcome.reason, whole.reason, file: file, line: line)
                XCTAssertEqual(
                    Self.timeless(outcome.history), Self.timeless(whole.history), "stop \(stop)", file: file, line: line
                )
                for name in ["last", "best"] {
                    let (found, wanted) = (
                        try tensors("\(path)/\(name).safetensors"),
                        try tensors("\(folder)/whole/\(name).safetensors")
                    )
                    XCTAssertEqual(Set(found.keys), Set(wanted.keys), "stop \(stop), \(name)", file: file, line: line)
                    for (key, values) in found {
                        XCTAssert(values == wanted[key], "stop \(stop), \(name), \(key)", file: file, line: line)
                    }
                }
                for (name, tensor) in outcome.parameters {
                    XCTAssert(tensor.values == whole.parameters[name]!.values, name, file: file, line: line)
                }
            }
        }
    }

    func testResumeAfterAnyUpdate() throws {
        // 22 samples in batches of 4: 6 batches, 3 updates of 2; 3 batches of validation, between which one may stop too.
        let recipe = Recipe(
            data: Self.data(augments: true),
            settings: TrainingSettings(
                epochs: 4, learningRate: 0.02, schedule: .init(.cosine(), warmUpUpdates: 2), accumulation: 2, seed: 9,
                averageDecay: 0.9),
            callbacks: [EarlyStopping(patience: 3), ReduceLROnPlateau(factor: 0.5, patience: 1)])
        try Self.assertResumesExactly(recipe, stops: [1, 3, 6])
    }

    func testResumeWithMixingSGDAndOneCycle() throws {
        let recipe = Recipe(
            data: Self.data(training: 21, augments: true, mixing: BatchMixing(mixup: 0.2, cutmix: 1)),
            settings: TrainingSettings(
                epochs: 3, learningRate: 0.1, schedule: .init(.oneCycle()), seed: 2, checkpointUpdates: 2),
            optimizer: .sgd(momentum: 0.9))
        try Self.assertResumesExactly(recipe, stops: [1, 5])
    }

    func testResumeWithUnfreezingAndCachedFeatures() throws {
        let recipe = Recipe(
            data: Self.data(),
            settings: TrainingSettings(epochs: 5, learningRate: 0.05, seed: 3, monitor: .validationTop1),
            callbacks: [EarlyStopping(patience: 2)], unfreezes: true)
        // The features, 9 batches of pictures, are computed anew in each run; a stop among them has nothing to keep.
        try Self.assertResumesExactly(recipe, stops: [7, 12])
    }

    func testAFinishedRunStaysFinished() throws {
        try PictureFixtures.withFolder { folder in
            let recipe = Recipe(data: Self.data(), settings: TrainingSettings(epochs: 2, learningRate: 0.05))
            let first = try recipe.trainer(folder: folder).0.run()
            let (again, backend) = try recipe.trainer(folder: folder)
            let second = try again.run(resuming: true)
            XCTAssertEqual((backend as? ToyBackend)?.trainCalls, 0)
            XCTAssertEqual(second.history, first.history)
            // A constant schedule may be prolonged.
            var longer = recipe
            longer.settings.epochs = 3
            let third = try longer.trainer(folder: folder).0.run(resuming: true)
            XCTAssertEqual(third.history.records.count, 3)
            try PictureFixtures.withFolder { other in
                XCTAssertEqual(
                    Self.timeless(try longer.trainer(folder: other).0.run().history), Self.timeless(third.history))
            }
        }
    }

    func testResumeRefusesAnotherRun() throws {
        try PictureFixtures.withFolder { folder in
            let recipe = Recipe(data: Self.data(), settings: TrainingSettings(epochs: 2, learningRate: 0.05))
            func assertRefused(_ field: String, _ change: (inout Recipe) -> Void, line: UInt = #line) {
                var other = recipe
                change(&other)
                XCTAssertThrowsError(try other.trainer(folder: folder).0.run(resuming: true), line: line) {
                    XCTAssert("\($0)".contains(field), "\($0)", line: line)
                }
            }
            assertRefused("No such file", { _ in })
            _ = try recipe.trainer(folder: folder).0.run()
            assertRefused("batch size") { $0.data.batchSize = 5 }
            assertRefused("seed") { $0.settings.seed = 5 }
            assertRefused("optimizer") { $0.optimizer = .sgd() }
            assertRefused("training data") { $0.data = Self.data(training: 23) }
            assertRefused("transform") { $0.data = Self.data(augments: true) }
            assertRefused("learning rate") { $0.settings.learningRate = 0.1 }
            assertRefused("average decay") { $0.settings.averageDecay = 0.9 }
            assertRefused("callbacks") { $0.callbacks = [EarlyStopping()] }
            // An earlier run is not overwritten by accident, but on purpose.
            XCTAssertThrowsError(try recipe.trainer(folder: folder).0.run()) {
                XCTAssert("\($0)".contains("an earlier run"), "\($0)")
            }
            var replacing = recipe
            replacing.settings.replacesEarlierRun = true
            XCTAssertNoThrow(try replacing.trainer(folder: folder).0.run())
            // Plain weights are no run.
            try FileManager.default.removeItem(atPath: "\(folder)/last.safetensors")
            try FileManager.default.moveItem(
                atPath: "\(folder)/best.safetensors", toPath: "\(folder)/last.safetensors")
            assertRefused("weights alone", { _ in })
        }
    }

    // MARK: - Stopping

    func testEarlyStoppingRestoresTheBest() throws {
        for folderIsUsed in [true, false] {
            try PictureFixtures.withFolder { folder in
                func run(_ callbacks: [any TrainingCallback], _ name: String) throws -> (TrainingOutcome, ToyBackend) {
                    let backend = ToyBackend(channels: 3)
                    // A learning rate that overshoots: validation gets worse again.
                    let trainer = try Trainer(
                        backend: backend, data: Self.data(training: 12),
                        settings: TrainingSettings(
                            epochs: 40, learningRate: 1.5, folder: folderIsUsed ? "\(folder)/\(name)" : nil),
                        callbacks: callbacks)
                    return (try trainer.run(), backend)
                }
                let (outcome, backend) = try run([EarlyStopping(patience: 3)], "a")
                XCTAssertEqual(outcome.reason, .stoppedEarly)
                let records = outcome.history.records
                let best = try XCTUnwrap(outcome.history.best)
                XCTAssertEqual(best.epoch, records.count - 4, "three epochs of patience after the best")
                let data = Self.data(training: 12)
                let loader = try BatchLoader(
                    try XCTUnwrap(data.validation), LoaderSettings(batchSize: 4, transform: data.evaluationTransform))
                XCTAssertEqual(try Evaluation.run(backend, loader).scores, best.validation, "the backend has the best")
                for (name, tensor) in try backend.exportParameters() {
                    XCTAssertEqual(tensor.values, outcome.parameters[name]?.values)
                }
                let (kept, other) = try run([EarlyStopping(patience: 3, restoresBest: false)], "b")
                XCTAssertEqual(kept.history.records.count, records.count)
                XCTAssertEqual(try Evaluation.run(other, loader).scores, records.last?.validation)
            }
        }
    }

    func testALossThatIsNoNumberStopsTheRun() throws {
        try PictureFixtures.withFolder { folder in
            let backend = ToyBackend(channels: 3)
            backend.failsAtStep = 13  // 6 batches an epoch: the second of the third epoch
            let trainer = try Trainer(
                backend: backend, data: Self.data(),
                settings: TrainingSettings(epochs: 5, learningRate: 0.05, folder: folder))
            XCTAssertThrowsError(try trainer.run()) { error in
                XCTAssertEqual(
                    error as? TrainingError,
                    .notFinite(
                        what: "the loss is no number", epoch: 3, batch: 2, learningRate: 0.05,
                        lastCheckpoint: "\(folder)/last.safetensors"))
            }
            let shapes = Dictionary(uniqueKeysWithValues: backend.graph.parameters.map { ($0.name, $0.shape) })
            let checkpoint = try TrainingCheckpoint(contentsOf: "\(folder)/last.safetensors", shapes: shapes)
            XCTAssertEqual(checkpoint.state.epoch, 2)
            XCTAssertEqual(checkpoint.state.history.count, 2)
        }
    }

    func testParametersThatAreNoNumbersAreNeverKept() throws {
        try PictureFixtures.withFolder { folder in
            // The loss of a last, overflowing update is still finite; the parameters are not.
            let backend = ToyBackend(channels: 3, optimizer: .sgd())
            let trainer = try Trainer(
                backend: backend, data: Self.data(training: 4, validation: 0),
                settings: TrainingSettings(
                    epochs: 1, learningRate: 1e39, monitor: Monitor(.loss, ofValidation: false), folder: folder))
            XCTAssertThrowsError(try trainer.run()) { error in
                guard case .notFinite(let what, 1, 1, _, nil)? = error as? TrainingError else {
                    return XCTFail("\(error)")
                }
                XCTAssert(what.contains("is not finite"), what)
            }
            XCTAssertFalse(FileManager.default.fileExists(atPath: "\(folder)/last.safetensors"))
        }
    }

    // MARK: - Batches

    func testAccumulationIsALargeBatch() throws {
        func parameters(batchSize: Int, accumulation: Int) throws -> [String: Tensor] {
            let backend = ToyBackend(channels: 3, optimizer: .sgd(momentum: 0.9))
            backend.frozen = ["bn1.running_mean", "bn1.running_var"]
            return try Trainer(
                backend: backend, data: Self.data(training: 22, batchSize: batchSize),
                settings: TrainingSettings(epochs: 2, learningRate: 0.1, accumulation: accumulation)
            ).run().parameters
        }
        // 22 samples: 8, 8, 6 in batches of 4 and 2 at a time (4 + 4, 4 + 4, 4 + 2).
        let (large, small) = (
            try parameters(batchSize: 8, accumulation: 1), try parameters(batchSize: 4, accumulation: 2)
        )
        for (name, tensor) in large {
            for (a, b) in zip(tensor.values, small[name]!.values) {
                XCTAssertEqual(a, b, accuracy: 1e-5, name)
            }
        }
    }

    func testATailOfOneIsLeftOutWhereBatchNormTrains() throws {
        func notes(frozen: Bool) throws -> [String] {
            let backend = ToyBackend(channels: 3)
            if frozen { backend.frozen = ["bn1.running_mean", "bn1.running_var"] }
            var notes: [String] = []
            let trainer = try Trainer(
                backend: backend, data: Self.data(training: 13),
                settings: TrainingSettings(epochs: 3, learningRate: 0.01),
                report: { if case .note(let text) = $0 { notes.append(text) } })
            let outcome = try trainer.run()
            XCTAssertEqual(backend.trainCalls, frozen ? 12 : 9)
            XCTAssertEqual(outcome.history.records.count, 3)
            return notes
        }
        XCTAssertEqual(try notes(frozen: false).count { $0.contains("one picture") }, 1, "said once")
        XCTAssertEqual(try notes(frozen: true), [])
    }

    func testFeaturesOfAFrozenBackboneAreComputedOnce() throws {
        func run(cacheLimit: Int) throws -> (TrainingOutcome, ToyBackend) {
            let backend = ToyBackend(channels: 3, dropout: 0.3)
            backend.frozen = try backend.graph.selection(of: .allButHead)
            let outcome = try Trainer(
                backend: backend, data: Self.data(),
                settings: TrainingSettings(epochs: 4, learningRate: 0.1, featureCacheLimit: cacheLimit)
            ).run()
            return (outcome, backend)
        }
        let (cached, fast) = try run(cacheLimit: 1 << 20)
        let (plain, slow) = try run(cacheLimit: 0)
        XCTAssertEqual(fast.featureCalls, 6 + 3, "once for each batch of training and validation")
        XCTAssertEqual(slow.featureCalls, 0)
        XCTAssertEqual(try run(cacheLimit: 33 * 6 * 4 - 1).1.featureCalls, 0, "bounded")
        XCTAssertEqual(fast.trainCalls, slow.trainCalls)
        XCTAssertEqual(Self.timeless(cached.history), Self.timeless(plain.history))
        for (name, tensor) in cached.parameters { XCTAssertEqual(tensor.values, plain.parameters[name]?.values) }
        // Augmented pictures have other features in every epoch.
        let backend = ToyBackend(channels: 3)
        backend.frozen = try backend.graph.selection(of: .allButHead)
        _ = try Trainer(
            backend: backend, data: Self.data(augments: true), settings: TrainingSettings(epochs: 1)
        ).run()
        XCTAssertEqual(backend.featureCalls, 0)
    }

    func testTheMovingAverageIsValidatedAndKept() throws {
        var average = WeightAverage(decay: 0.5, parameters: ["w": Tensor(shape: [2], values: [1, 0.1])])
        average.add(["w": Tensor(shape: [2], values: [3, 0.1])])
        // The first decay is (1 + 1) / (10 + 1).
        XCTAssertEqual(average.parameters["w"]!.values[0], 1 + 2 * 9 / 11, accuracy: 1e-6)
        XCTAssertEqual(average.parameters["w"]!.values[1], 0.1, "what does not move stays exactly")
        for _ in 0..<30 { average.add(["w": Tensor(shape: [2], values: [3, 0.1])]) }
        let before = average.parameters["w"]!.values[0]
        average.add(["w": Tensor(shape: [2], values: [5, 0.1])])
        XCTAssertEqual(average.parameters["w"]!.values[0], before + (5 - before) / 2, accuracy: 1e-5)

        try PictureFixtures.withFolder { folder in
            let backend = ToyBackend(channels: 3)
            let outcome = try Trainer(
                backend: backend, data: Self.data(),
                settings: TrainingSettings(epochs: 2, learningRate: 0.1, averageDecay: 0.8, folder: folder)
            ).run()
            let raw = try backend.exportParameters()
            XCTAssertNotEqual(raw["fc.weight"]?.values, outcome.parameters["fc.weight"]?.values)
            let file = try WeightFile.open("\(folder)/last.safetensors")
            XCTAssertEqual(try file.tensor("fc.weight").values, outcome.parameters["fc.weight"]?.values)
            XCTAssertEqual(try file.tensor("training.raw.fc.weight").values, raw["fc.weight"]?.values)
            try backend.importState(TrainingState(parameters: outcome.parameters))
            let data = Self.data()
            let loader = try BatchLoader(
                try XCTUnwrap(data.validation), LoaderSettings(batchSize: 4, transform: data.evaluationTransform))
            XCTAssertEqual(
                try Evaluation.run(backend, loader).scores, outcome.history.records.last?.validation)
        }
    }

    // MARK: - Data that is not as it should be

    func testTooManyUnreadablePicturesStopTheRunWithAList() throws {
        func run(broken: Int) throws -> TrainingOutcome {
            let good = PictureFixtures.path("rgb8.png")
            let paths = (0..<40).map { $0 < broken ? "/nowhere/\($0).png" : good }
            let dataset = Dataset(
                classNames: ["a", "b", "c"], labels: .classes((0..<40).map { $0 % 3 }), source: .files(paths))
            let transform = ImageTransform(steps: [.resize(4), .toFloat])
            return try Trainer(
                backend: ToyBackend(channels: 3),
                data: TrainingData(
                    training: dataset.all, transform: transform, evaluationTransform: transform, batchSize: 8),
                settings: TrainingSettings(
                    epochs: 2, learningRate: 0.01, monitor: Monitor(.loss, ofValidation: false))
            ).run()
        }
        let outcome = try run(broken: 2)  // 5 % of 40
        XCTAssertEqual(outcome.skipped.map(\.sample).sorted(), [0, 1], "each is listed once")
        XCTAssertEqual(outcome.history.records.map(\.skipped), [2, 2])
        XCTAssertThrowsError(try run(broken: 6)) { error in
            guard case .tooManySkipped(2, 40, let skipped)? = error as? DatasetError else { return XCTFail("\(error)") }
            XCTAssertGreaterThan(skipped.count, 2)
            for sample in skipped { XCTAssert("\(error)".contains("/nowhere/\(sample.sample).png: no such file")) }
        }
    }

    func testWhatDoesNotFitIsRefusedAtOnce() {
        func assertRefused(
            _ field: String, backend: ToyBackend = ToyBackend(channels: 3), data: TrainingData = TrainerTests.data(),
            settings: TrainingSettings = TrainingSettings(), callbacks: [any TrainingCallback] = [], line: UInt = #line
        ) {
            XCTAssertThrowsError(
                try Trainer(backend: backend, data: data, settings: settings, callbacks: callbacks), line: line
            ) {
                XCTAssert("\($0)".contains(field), "\($0)", line: line)
            }
        }
        assertRefused("epochs", settings: TrainingSettings(epochs: 0))
        assertRefused("learning rate", settings: TrainingSettings(learningRate: -1))
        assertRefused("learning rate", settings: TrainingSettings(learningRate: .nan))
        assertRefused("accumulation", settings: TrainingSettings(accumulation: 0))
        assertRefused("average decay", settings: TrainingSettings(averageDecay: 1))
        assertRefused("batch size", data: Self.data(batchSize: 65))
        assertRefused("classes", backend: ToyBackend(channels: 3, classes: 4))
        assertRefused("loss", backend: ToyBackend(channels: 3, loss: .binaryCrossEntropy()))
        assertRefused("monitor", data: Self.data(validation: 0))
        assertRefused(
            "training data", data: Self.data(training: 1, validation: 0),
            settings: TrainingSettings(monitor: Monitor(.loss, ofValidation: false)))
        assertRefused("early stopping", callbacks: [EarlyStopping(monitor: .validationTop1)])
        assertRefused("callbacks", callbacks: [EarlyStopping(), EarlyStopping(patience: 3)])
        let graph = ToyBackend.graph(channels: 3, features: 6, classes: 3)
        assertRefused(
            "parameter groups",
            backend: ToyBackend(channels: 3, groups: [ParameterGroup(name: "fc", parameters: ["fc.weight"])]))
        assertRefused(
            "parameter groups",
            backend: ToyBackend(
                channels: 3,
                groups: ParameterGroup.single(graph) + [ParameterGroup(name: "fc", parameters: ["fc.weight"])]))
        var random = Self.data()
        random.evaluationTransform = ImageTransform(steps: [.randomHorizontalFlip(), .toFloat])
        assertRefused("evaluation transform", data: random)
    }
}
