// The convenient way to run a plan: tensors in, tensors out, any number of pictures, from any thread.

import ResNetGraph

/// What a network says about N pictures.
public struct Prediction: Sendable {
    /// (N, classes), before softmax or sigmoid.
    public let logits: Tensor
    /// h, (N, features); nil if the model has none.
    public let features: Tensor?
    /// By node name, (N, features) or (N, C, H, W).
    public let taps: [String: Tensor]

    /// The means of logits and features over the views of a picture, which follow each other; without taps.
    package func averaged(over views: Int) -> Prediction {
        guard views > 1 else { return self }
        return Prediction(logits: logits.averaged(over: views), features: features?.averaged(over: views), taps: [:])
    }
}

extension Tensor {
    /// The means of rows that follow each other, of (N x views, width): (N, width).
    fileprivate func averaged(over views: Int) -> Tensor {
        let (rows, width) = (shape[0] / views, shape[1])
        let source = values
        let means = (0..<rows * width).map { index in
            let first = index / width * views * width + index % width
            return (0..<views).reduce(Float(0)) { $0 + source[first + $1 * width] } / Float(views)
        }
        return Tensor(shape: [rows, width], values: means)
    }
}

extension InferencePlan {
    /// Runs pictures (N, C, H, W), in batches as large as the plan takes. Pages of a mapped file are given back as they are
    /// read, and come again when touched.
    /// - Throws: `ExecutionError.input` for pictures of another size, number or kind than the plan takes,
    ///   `outOfMemory` and `noThread` for the workspace.
    public func predict(_ pictures: Tensor) throws(ExecutionError) -> Prediction {
        let image = [input.channels, input.height, input.width]
        guard options.input == .floatNCHW, pictures.shape.count == 4, Array(pictures.shape.dropFirst()) == image,
            pictures.shape[0] > 0
        else { throw .input(expected: inputText, found: "floats \(pictures.shape)") }
        let result: Result<Prediction, ExecutionError> = pictures.withUnsafeFloats { floats in
            Result { () throws(ExecutionError) in
                try predict(
                    UnsafeRawPointer(floats.baseAddress!), images: pictures.shape[0], imageBytes: input.count * 4,
                    isFileBacked: pictures.storage.isFileBacked)
            }
        }
        return try result.get()
    }

    /// Runs pictures (N, H, W, C) of bytes, in batches as large as the plan takes.
    /// - Throws: `ExecutionError.input` for pictures of another size, number or kind than the plan takes,
    ///   `outOfMemory` and `noThread` for the workspace.
    public func predict(_ pictures: [UInt8]) throws(ExecutionError) -> Prediction {
        let images = pictures.count / input.count
        guard options.input != .floatNCHW, images > 0, images * input.count == pictures.count else {
            throw .input(expected: inputText, found: "\(pictures.count) bytes")
        }
        let result: Result<Prediction, ExecutionError> = pictures.withUnsafeBytes { bytes in
            Result { () throws(ExecutionError) in
                try predict(bytes.baseAddress!, images: images, imageBytes: input.count)
            }
        }
        return try result.get()
    }

    /// Runs pictures that lie one after the other in memory, as `options.input` says, in batches as large as the plan
    /// takes, into the caller's memory: logits (images, classes) and h (images, features), each if not nil.
    /// - Throws: `ExecutionError`: `outOfMemory` and `noThread` for the workspace.
    public func predict(
        _ pictures: UnsafeRawPointer, images: Int, logits: UnsafeMutablePointer<Float>?,
        features: UnsafeMutablePointer<Float>? = nil
    ) throws(ExecutionError) {
        precondition(features == nil || graph.features != nil, "the model has no features")
        let bytes = if case .floatNCHW = options.input { 4 * input.count } else { input.count }
        try predict(pictures, images: images, imageBytes: bytes, into: [logits, features])
    }

    /// Output `port` goes to `outputs[port]`, if there is one.
    private func predict(
        _ pictures: UnsafeRawPointer, images: Int, imageBytes: Int, isFileBacked: Bool = false,
        into outputs: [UnsafeMutablePointer<Float>?]
    ) throws(ExecutionError) {
        try withPooledWorkspace { (workspace) throws(ExecutionError) in
            for start in stride(from: 0, to: images, by: batch) {
                let count = min(batch, images - start)
                try run(pictures + start * imageBytes, count, workspace, isFileBacked: isFileBacked)
                for (port, output) in outputs.enumerated() {
                    guard let output else { continue }
                    let floats = outputShape(port).count
                    workspace.withOutput(port) { values in
                        (output + start * floats).update(from: values.baseAddress!, count: count * floats)
                    }
                }
            }
        }
    }

    private func predict(
        _ pictures: UnsafeRawPointer, images: Int, imageBytes: Int, isFileBacked: Bool = false
    ) throws(ExecutionError) -> Prediction {
        let outputs = outputNames.indices.map { port in
            UnsafeMutableBufferPointer<Float>.allocate(capacity: images * outputShape(port).count)
        }
        // A tensor adopts each of them; on an error none does.
        var areAdopted = false
        defer { if !areAdopted { for output in outputs { output.deallocate() } } }
        try predict(
            pictures, images: images, imageBytes: imageBytes, isFileBacked: isFileBacked,
            into: outputs.map(\.baseAddress))
        areAdopted = true
        let tensors = outputs.enumerated().map { port, output in
            nonisolated(unsafe) let owned = output
            return Tensor(
                shape: [images] + outputShape(port).dimensions,
                storage: FloatStorage(
                    base: UnsafePointer(output.baseAddress!), count: output.count, release: { owned.deallocate() }))
        }
        let hasFeatures = graph.features != nil
        let firstTap = hasFeatures ? 2 : 1
        return Prediction(
            logits: tensors[0], features: hasFeatures ? tensors[1] : nil,
            taps: Dictionary(
                zip(outputNames[firstTap...], tensors[firstTap...]), uniquingKeysWith: { first, _ in first }))
    }
}

extension NodeShape {
    fileprivate var dimensions: [Int] {
        switch self {
        case .map(let map): [map.channels, map.height, map.width]
        case .vector(let features): [features]
        }
    }
}
