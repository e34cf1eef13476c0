// Where the backbone is frozen and pictures are not augmented, a sample has the same features in every epoch: they are
// computed once, and the head is trained on them.
//
//     once        pictures -> frozen backbone -> h (N, features), kept
//     each epoch                                 h -> head -> loss
//
// The features are computed in the order of the data set, in batches of one size, so that a run that is resumed in any
// epoch computes the same bits again.

import ResNetData
import ResNetExecution
import ResNetGraph

struct FeatureCache: Sendable {
    let width: Int
    private let rows: [Int: Int]
    private let values: [Float]
    let skipped: [SkippedSample]

    /// Computes the features of all samples of a slice.
    init(
        _ loader: BatchLoader, _ backend: any TrainingBackend, progress: (_ done: Int, _ of: Int) throws -> Void
    ) throws {
        var (width, rows, values, skipped) = (0, [Int: Int](), [Float](), [SkippedSample]())
        let stream = loader.batches(epoch: 0)
        var done = 0
        while let loaded = stream.nextBatch() {
            skipped += loaded.skipped
            guard skipped.count <= loader.skipLimit else {
                throw DatasetError.tooManySkipped(limit: loader.skipLimit, of: loader.slice.count, skipped: skipped)
            }
            done += loaded.samples.count + loaded.skipped.count
            guard let batch = loaded.batch else { continue }
            let features = try backend.features(batch.input)
            guard features.shape.count == 2, features.shape[0] == loaded.samples.count else {
                throw TrainingError.backend(
                    expected: "features (\(loaded.samples.count), F)", found: "\(features.shape)")
            }
            width = features.shape[1]
            values.append(contentsOf: features.values)
            for sample in loaded.samples { rows[sample] = rows.count }
            try progress(done, loader.slice.count)
        }
        self.width = width
        self.rows = rows
        self.values = values
        self.skipped = skipped
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
