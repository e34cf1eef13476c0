// What a run keeps on disk, and how it is found again.
//
//     folder/last.safetensors    the run: written after every epoch, and between if asked
//     folder/best.safetensors    the model of the best epoch
//     folder/history.*           see TrainingHistory
//
// The run is written last. A kill before makes the resumed run do the epoch again, with the same bits, and write the same
// best and history.

import Glibc
import ResNetData
import ResNetExecution
import ResNetGraph
import ResNetSupport
import ResNetWeights

extension Trainer {
    var lastPath: String? { settings.folder.map { "\($0)/last.safetensors" } }
    var bestPath: String? { settings.folder.map { "\($0)/best.safetensors" } }

    /// Starts anew or goes on.
    func prepare(_ resumes: Bool) throws {
        state = RunState(k: topK)
        (trainingFeatures, validationFeatures, bestParameters) = (nil, nil, nil)
        if resumes {
            guard let lastPath, let folder = settings.folder else {
                throw TrainingError.settings(field: "resume", expected: "a folder with a checkpoint", found: "none")
            }
            lock = try RunLock(folder)
            try resume(from: lastPath)
            removeDrafts(in: lastPath.parentFolder)
            return
        }
        if let folder = settings.folder, let lastPath {
            for path in [lastPath, bestPath ?? lastPath] where path.namesSomething && !settings.replacesEarlierRun {
                throw TrainingError.checkpoint(
                    path: path, expected: "a folder without a run in it, or to resume it or replace it",
                    found: "an earlier run")
            }
            do throws(FileFault) { try folder.makeFolder() } catch {
                throw TrainingError.settings(field: "folder", expected: "\(folder) to be made", found: "\(error)")
            }
            lock = try RunLock(folder)
        }
        average = try settings.averageDecay.map {
            WeightAverage(decay: $0, parameters: try backend.exportParameters())
        }
    }

    private func resume(from path: String) throws {
        let checkpoint = try TrainingCheckpoint(contentsOf: path, shapes: parameterShapes)
        // Without a schedule that depends on it, a run may be prolonged.
        let allowed: Set<String> =
            switch settings.schedule.shape {
            case .cosine, .oneCycle: []
            case .constant, .step, .milestones: ["epochs"]
            }
        if let (field, expected, found) = checkpoint.mismatch(settingsInWords, allowed: allowed.union(computing.keys)) {
            throw TrainingError.checkpoint(
                path: path, expected: "a run with the same \(field), \(expected)", found: found)
        }
        for (field, found) in computing.sorted(by: { $0.key < $1.key }) {
            guard let expected = checkpoint.settings[field], expected != found else { continue }
            report(
                .note(
                    "warning: this run had \(field) \(expected), now \(found): it goes on, but not with the same bits"))
        }
        try restore(checkpoint, from: path)
        hasCheckpoint = true
    }

    /// Goes on from a checkpoint with the same settings.
    func restore(_ checkpoint: TrainingCheckpoint, from path: String) throws {
        guard checkpoint.state.batch <= trainingLoader.batchesPerEpoch,
            (checkpoint.raw != nil) == (settings.averageDecay != nil)
        else {
            throw TrainingError.checkpoint(
                path: path, expected: "the state of this run", found: "that of another")
        }
        for index in callbacks.indices {
            let name = callbacks[index].name
            guard let saved = checkpoint.state.callbacks[name] else { continue }
            guard callbacks[index].restore(saved) else {
                throw TrainingError.checkpoint(path: path, expected: "the state of \(name)", found: saved.text)
            }
        }
        try backend.importState(
            TrainingState(
                parameters: checkpoint.raw ?? checkpoint.parameters, optimizer: checkpoint.optimizer))
        average = settings.averageDecay.map {
            WeightAverage(
                decay: $0, updates: checkpoint.state.averageUpdates, parameters: checkpoint.parameters)
        }
        state = checkpoint.state
    }

    /// Writes the run, and the model if it is the best so far.
    func keep(isBest: Bool) throws {
        let exported = try backend.exportState()
        for name in parameterOrder {
            let isFinite = exported.parameters[name]!.withUnsafeFloats { values in
                // A sum of anything times zero is zero, unless something is no number.
                values.reduce(Float(0)) { $0 + $1 * 0 } == 0
            }
            if !isFinite {
                let rate = state.history.last?.learningRate ?? settings.learningRate
                // After an epoch the state stands at the beginning of the next.
                let last =
                    state.batch > 0 ? (state.epoch, state.batch) : (state.epoch - 1, trainingLoader.batchesPerEpoch)
                throw notFinite("\(name) is not finite", epoch: last.0, batch: last.1 - 1, rate: rate)
            }
        }
        let checkpoint = checkpoint(of: exported)
        let evaluated = checkpoint.parameters
        if isBest {
            if let bestPath, let best = state.best {
                let words = "epoch \(best.epoch + 1), \(settings.monitor) \(fixed(best.value, 6))"
                try WeightWriter.write(
                    parameterOrder.map { ($0, evaluated[$0]!) },
                    metadata: metadata.merging([MetadataKey.trained: words]) { $1 }, to: bestPath,
                    format: .safetensors)
            } else {
                bestParameters = evaluated
            }
        }
        guard let folder = settings.folder, let lastPath else { return }
        if state.batch == 0 { try history.write(to: folder, title: settings.title) }
        try checkpoint.write(to: lastPath, order: parameterOrder, metadata: metadata)
        hasCheckpoint = true
    }

    /// The run as it stands, with the backend's state.
    func checkpoint(of exported: TrainingState) -> TrainingCheckpoint {
        state.averageUpdates = average?.updates ?? 0
        return TrainingCheckpoint(
            parameters: average?.parameters ?? exported.parameters, raw: average == nil ? nil : exported.parameters,
            optimizer: exported.optimizer, state: state, settings: settingsInWords)
    }

    /// The parameters of the best epoch.
    func loadBest() throws -> [String: Tensor]? {
        guard let bestPath else { return bestParameters }
        let file = try WeightFile.open(bestPath)
        var parameters: [String: Tensor] = [:]
        for spec in backend.graph.parameters {
            let tensor = try file.tensor(spec.name)
            guard tensor.shape == spec.shape else {
                throw TrainingError.checkpoint(
                    path: bestPath, expected: "\(spec.name) \(spec.shape)", found: "\(tensor.shape)")
            }
            parameters[spec.name] = tensor
        }
        return parameters
    }

    /// What changes the last bits, but not what is computed.
    private var computing: [String: String] { backend.computing }

    /// What decides the bits of a run, in words: a resumed run must have the same.
    func describeSettings() -> [String: String] {
        let plan = backend.plan
        var words = [
            "epochs": "\(settings.epochs)", "learning rate": "\(settings.learningRate)",
            "schedule": "\(settings.schedule)", "accumulation": "\(settings.accumulation)",
            "shards": settings.shards.map { "\($0)" } ?? "none",
            "seed": "\(settings.seed), \(plan.seed)", "batch size": "\(data.batchSize)",
            "training data": data.training.fingerprint, "validation data": data.validation?.fingerprint ?? "none",
            "transform": data.transform.json, "evaluation transform": data.evaluationTransform.json,
            "mixing": data.mixing.map { "\($0)" } ?? "none", "loss": "\(plan.loss)", "optimizer": "\(plan.optimizer)",
            "gradient norm limit": plan.gradientNormLimit.map { "\($0)" } ?? "none",
            "average decay": settings.averageDecay.map { "\($0)" } ?? "none",
            "frozen": hexHash(of: ownFrozen.sorted()), "monitor": "\(settings.monitor)",
            "callbacks": callbacks.map(\.name).joined(separator: ", "),
        ].mapValues(withoutModules).merging(computing) { own, _ in own }
        words["unfreezing"] =
            settings.unfreezing.map { schedule in
                schedule.policies.sorted { $0.key < $1.key }.map { "\($0.key + 1): \($0.value)" }
                    .joined(separator: ", ")
            } ?? "none"
        if settings.gradientType != .float32 { words["gradient type"] = settings.gradientType.rawValue }
        if !settings.sizes.isEmpty { words["sizes"] = settings.sizes.map { "\($0)" }.joined(separator: ", ") }
        if settings.synchronizesBatchNorm { words["batch statistics"] = "of all shards" }
        words["parameter groups"] = hexHash(
            of: plan.groups.flatMap { ["\($0.name) \($0.learningRateScale) \($0.weightDecay)"] + $0.parameters })
        switch data.order {
        case .sequential: words["order"] = "sequential"
        case .shuffled: words["order"] = "shuffled"
        case .weighted(let weights): words["order"] = hexHash(of: weights.map { "\($0)" })
        }
        return words
    }
}

/// Removes files that processes which are no more had begun to write (`AtomicFile` names them with the process).
private func removeDrafts(in folder: String) {
    for name in folder.namesInFolder() ?? [] {
        let parts = name.split(separator: "-")
        guard name.hasPrefix("."), parts.count >= 3, parts[parts.count - 3].hasSuffix(".tmp"),
            let process = pid_t(parts[parts.count - 2]), process > 0, kill(process, 0) != 0, errno == ESRCH
        else { continue }
        _ = "\(folder)/\(name)".withFileName { unlink($0) }
    }
}

/// A description without the names of modules (`ResNetX.Loss.crossEntropy` becomes `Loss.crossEntropy`): they say where a type is
/// declared, not what was asked for.
private func withoutModules(_ text: String) -> String {
    var words: [Substring] = []
    for word in text.split(separator: ".", omittingEmptySubsequences: false) {
        if let last = words.last {
            let name = last.reversed().prefix { $0.isLetter || $0.isNumber }.count
            if last.suffix(name).hasPrefix("ResNet") {
                words[words.count - 1] = last.dropLast(name) + word
                continue
            }
        }
        words.append(word)
    }
    return words.joined(separator: ".")
}
