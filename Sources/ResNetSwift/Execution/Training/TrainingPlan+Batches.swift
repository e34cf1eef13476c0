// What a training plan takes: checks that name what is wrong, and the batch as kernels read it.

import ResNetGraph

extension TrainingPlan {
    private var picturesText: String {
        "pictures (\(input.channels), \(input.height), \(input.width)), at most \(batchLimit)"
    }

    func checkInput(_ batch: BatchInput) throws(ExecutionError) {
        guard batch.count >= 1, batch.count <= batchLimit else {
            throw .input(expected: "1 to \(batchLimit) samples", found: "\(batch.count)")
        }
        switch batch {
        case .pictures(let pictures):
            let shape = ImageShape(channels: pictures.channels, height: pictures.height, width: pictures.width)
            guard shape == input else { throw .input(expected: picturesText, found: "\(NodeShape.map(shape))") }
        case .floats(let tensor):
            guard Array(tensor.shape.dropFirst()) == [input.channels, input.height, input.width] else {
                throw .input(expected: picturesText, found: "floats \(tensor.shape)")
            }
        case .features(let tensor):
            guard let features = graph.features, tensor.shape == [tensor.shape[0], shapes[features].count] else {
                let count = graph.features.map { "\(shapes[$0].count)" } ?? "no"
                throw .input(expected: "\(count) features a sample", found: "\(tensor.shape)")
            }
        }
    }

    func checkLabels(_ labels: BatchLabels, count: Int) throws(ExecutionError) {
        let classes = shapes[graph.logits].count
        switch (labels, plan.loss) {
        case (.classes(let labels), .crossEntropy(_, _, let ignoreIndex)):
            guard labels.count == count else {
                throw .input(expected: "\(count) labels", found: "\(labels.count)")
            }
            for label in labels where label != ignoreIndex && !(0..<Int32(classes)).contains(label) {
                throw .input(expected: "labels from 0 to \(classes - 1)", found: "\(label)")
            }
        case (.probabilities(let tensor), .crossEntropy), (.multiHot(let tensor), .binaryCrossEntropy):
            guard tensor.shape == [count, classes] else {
                throw .input(expected: "labels [\(count), \(classes)]", found: "\(tensor.shape)")
            }
        case (_, .crossEntropy):
            throw .input(expected: "a class or probabilities for cross-entropy", found: "a label set")
        case (_, .binaryCrossEntropy):
            throw .input(expected: "yes or no for every label, as binary cross-entropy wants it", found: "a class")
        }
    }

    /// Statistics of one value are no statistics.
    func checkStatistics(_ program: Program, images: Int) throws(ExecutionError) {
        guard images == 1 else { return }
        for step in program.steps {
            guard let sums = step.operation as? NormSums, sums.shape.map.height * sums.shape.map.width == 1 else {
                continue
            }
            throw .input(
                expected: "more than one sample, as \(graph.nodes[step.nodes[0]].name) normalizes one value a channel",
                found: "1")
        }
    }

    func withSource<R>(
        _ input: BatchInput, _ body: (TrainingPass.Source) throws(ExecutionError) -> R
    ) throws(ExecutionError) -> R {
        switch input {
        case .pictures(let pictures):
            // The standard library's closures do not keep the type of an error.
            return try pictures.pixels.withUnsafeBufferPointer { pixels in
                result { () throws(ExecutionError) in
                    try body(.bytes(pixels.baseAddress!, scale: pictures.scale, shift: pictures.shift))
                }
            }.get()
        case .floats(let tensor), .features(let tensor):
            return try tensor.withUnsafeFloats { floats in
                result { () throws(ExecutionError) in try body(.floats(floats.baseAddress!)) }
            }.get()
        }
    }

    func withTarget<R>(
        _ labels: BatchLabels, _ body: (TrainingPass.Target) throws(ExecutionError) -> R
    ) throws(ExecutionError) -> R {
        switch labels {
        case .classes(let labels): return try body(.classes(labels))
        case .probabilities(let tensor), .multiHot(let tensor):
            return try tensor.withUnsafeFloats { floats in
                result { () throws(ExecutionError) in try body(.dense(floats.baseAddress!)) }
            }.get()
        }
    }

    private func result<R>(_ body: () throws(ExecutionError) -> R) -> Result<R, ExecutionError> {
        do throws(ExecutionError) { return .success(try body()) } catch { return .failure(error) }
    }
}
