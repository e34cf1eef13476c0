// Where the backbone is frozen and pictures are not augmented, a sample has the same features in every epoch: they are
// computed once, and the head is trained on them.
//
//     once        pictures -> frozen backbone -> h (N, features), kept
//     each epoch                                 h -> head -> loss
//
// Several processes compute the batches in turns and hand them to all.
//
// The features are computed in the order of the data set, in batches of one size, so that a run that is resumed in any
// epoch computes the same bits again.

import ResNetData
import ResNetExecution
import ResNetGraph
import ResNetSupport

struct FeatureCache: Sendable {
    let width: Int
    private let rows: [Int: Int]
    private let values: [Float]
    let skipped: [SkippedSample]

    /// Somebody asked to stop while features were computed, in some process.
    struct Stopped: Error {}

    /// Computes the features of all samples of a slice. Several processes compute a share each and hand it to all.
    /// - Throws: `Stopped` in all processes where `stopRequested` says so in one; what fails in one fails in all.
    init(
        _ loader: BatchLoader, _ backend: any TrainingBackend, _ processes: any ProcessGroup = SingleProcess(),
        stopRequested: () -> Bool = { false }, progress: (_ done: Int, _ of: Int) -> Void = { _, _ in }
    ) throws {
        var (width, rows, values, skipped) = (0, [Int: Int](), [Float](), [SkippedSample]())
        let plan = loader.plan(epoch: 0)
        let stream = loader.batches(epoch: 0, plan.indices.filter { $0 % processes.size == processes.rank })
        var (done, first) = (0, 0)
        while first < plan.count {
            // So many that a message of all processes together is some megabytes.
            let bytes = max(1, processes.size * loader.settings.batchSize * width * MemoryLayout<Float>.size)
            let round = processes.size == 1 || width == 0 ? 1 : max(1, (16 << 20) / bytes)
            let end = min(plan.count, first + round * processes.size)
            var own = FeaturePart()
            for index in first..<end where index % processes.size == processes.rank && own.failure == nil {
                guard let loaded = stream.nextBatch() else { preconditionFailure("there is batch \(index)") }
                do { try own.add(loaded, backend) } catch {
                    guard processes.size > 1 else { throw error }
                    own.failure = "\(error)"
                }
            }
            done += plan[first..<end].reduce(0) { $0 + $1.count }
            first = end
            own.stops = done < loader.slice.count && stopRequested()
            let parts = try own.gathered(from: processes)
            if let failure = parts.lazy.compactMap(\.failure).first { throw TrainingError.failed(failure) }
            for part in parts where !part.samples.isEmpty || !part.skipped.isEmpty {
                if !part.samples.isEmpty { width = part.values.count / part.samples.count }
                for sample in part.samples { rows[sample] = rows.count }
                values.append(contentsOf: part.values)
                skipped += part.skipped
            }
            guard skipped.count <= loader.skipLimit else {
                throw DatasetError.tooManySkipped(limit: loader.skipLimit, of: loader.slice.count, skipped: skipped)
            }
            progress(done, loader.slice.count)
            if parts.contains(where: \.stops) { throw Stopped() }
        }
        self.width = width
        self.rows = rows
        self.values = values
        self.skipped = skipped.sorted { $0.sample < $1.sample }
    }

    /// A batch of those samples that could be read; nil where none is left, or one where batch norms need more.
    func batch(_ samples: [Int], _ loader: BatchLoader) -> TrainingBatch? {
        let (present, features) = features(of: samples)
        if present.isEmpty || loader.settings.dropsSingleSample && present.count == 1 { return nil }
        return TrainingBatch(input: .features(features), labels: loader.labels(of: present))
    }

    /// The features of those samples that could be read, and the samples.
    private func features(of samples: [Int]) -> (samples: [Int], features: Tensor) {
        let present = samples.filter { rows[$0] != nil }
        let storage = FloatStorage(count: present.count * width) { target in
            values.withUnsafeBufferPointer { values in
                for (place, sample) in present.enumerated() {
                    let row = UnsafeBufferPointer(rebasing: values[rows[sample]! * width..<(rows[sample]! + 1) * width])
                    _ = UnsafeMutableBufferPointer(rebasing: target[(place * width)...]).initialize(from: row)
                }
            }
        }
        return (present, Tensor(shape: [present.count, width], storage: storage))
    }
}

/// What a process computes between two exchanges.
private struct FeaturePart {
    var samples: [Int] = []
    /// A row for each sample.
    var values: [Float] = []
    var skipped: [SkippedSample] = []
    var failure: String?
    var stops = false

    mutating func add(_ loaded: LoadedBatch, _ backend: any TrainingBackend) throws {
        skipped += loaded.skipped
        guard let batch = loaded.batch else { return }
        let features = try backend.features(batch.input)
        guard features.shape.count == 2, features.shape[0] == loaded.samples.count else {
            throw TrainingError.backend(
                expected: "features (\(loaded.samples.count), F)", found: "\(features.shape)")
        }
        samples += loaded.samples
        values.append(contentsOf: features.values)
    }

    func gathered(from processes: any ProcessGroup) throws(TrainingError) -> [FeaturePart] {
        guard processes.size > 1 else { return [self] }
        let words = try processes.gather(
            .object([
                JSONMember(key: "samples", value: .array(samples.map { .integer($0) })),
                JSONMember(
                    key: "skipped", value: .array(skipped.map { .array([.integer($0.sample), .string($0.reason)]) })),
                JSONMember(key: "failure", value: failure.map(JSONValue.string) ?? .null),
                JSONMember(key: "stops", value: .bool(stops)),
            ]))
        let rows = try processes.gather(values.withUnsafeBytes { Array($0) })
        var parts: [FeaturePart] = []
        for (rank, (words, bytes)) in zip(words, rows).enumerated() {
            guard let part = FeaturePart(words, bytes) else {
                throw .processes(rank: rank, what: "sent features that cannot be understood")
            }
            parts.append(part)
        }
        return parts
    }

    init() {}

    private init?(_ words: JSONValue, _ bytes: [UInt8]) {
        guard let samples = words["samples"]?.arrayValue, let skipped = words["skipped"]?.arrayValue,
            let stops = words["stops"]?.boolValue, bytes.count % MemoryLayout<Float>.size == 0
        else { return nil }
        self.samples = samples.compactMap(\.integerValue)
        self.skipped = skipped.compactMap { pair in
            guard let pair = pair.arrayValue, pair.count == 2, let sample = pair[0].integerValue,
                let reason = pair[1].stringValue
            else { return nil }
            return SkippedSample(sample: sample, reason: reason)
        }
        self.stops = stops
        failure = words["failure"]?.stringValue
        let count = bytes.count / MemoryLayout<Float>.size
        values = [Float](unsafeUninitializedCapacity: count) { target, initialized in
            bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(target).copyMemory(from: $0) }
            initialized = count
        }
        let isWhole = self.samples.isEmpty ? count == 0 : count % self.samples.count == 0
        guard self.samples.count == samples.count, self.skipped.count == skipped.count, isWhole || failure != nil
        else { return nil }
    }
}

extension TrainingData {
    /// Whether a sample has the same features in every epoch, and those of `samples` samples fit into `limit` bytes.
    func hasConstantFeatures(
        _ graph: Graph, frozen: Set<String>, shape: ImageShape, samples: Int, limit: Int
    ) -> Bool {
        guard limit > 0, !transform.isRandom, mixing == nil, graph.hasConstantFeatures(frozen: frozen),
            let width = graph.featureWidth(input: Size2(shape.height, shape.width))
        else { return false }
        return samples * width * MemoryLayout<Float>.size <= limit
    }
}

extension Graph {
    /// Whether what the head reads is the same for a sample in every step: all that the features node depends on is frozen,
    /// running statistics too, nothing there is random, and the logits depend on the picture through that node alone.
    func hasConstantFeatures(frozen: Set<String>) -> Bool {
        guard let features else { return false }
        let trunk = prefix(through: features).graph
        for node in trunk.nodes { if case .dropout = node.operation { return false } }
        guard trunk.parameters.allSatisfy({ frozen.contains($0.name) }) else { return false }
        var (pending, seen) = ([logits], Set([features]))
        while let index = pending.popLast() {
            guard seen.insert(index).inserted else { continue }
            if case .input = nodes[index].operation { return false }
            pending += nodes[index].inputs
        }
        return true
    }

    /// Width of the features node, (N, width); nil where the graph has none or it is no flattened map or linear layer.
    func featureWidth(input: Size2) -> Int? {
        guard let features, let shapes = try? shapes(input: input) else { return nil }
        return shapes[features].count
    }

    /// Some batch norm runs in training mode.
    func trainsBatchNorm(frozen: Set<String>) -> Bool {
        parameters.contains { $0.role == .runningMean && !frozen.contains($0.name) }
    }
}
