// Gradients of a training plan against differences of its own losses, operation by operation: parameters go a little way
// along a direction and back, and the loss must change as the gradient says. Nothing here trusts a reference or PyTorch.
import ResNetSwift
import XCTest

final class FiniteDifferenceTests: XCTestCase {
    private static let size = ImageShape(channels: 3, height: 7, width: 6)
    private static let images = 4
    private static let classes = 5
    private static let channels = 20

    /// input - conv - what `body` makes of it - mean or flatten - linear
    private func model(_ body: (inout Graph, Node) -> Node) throws -> Model {
        var graph = Graph(modelName: "Operation")
        let input = graph.add("input", .input(channels: Self.size.channels))
        let spec = ConvSpec(Self.size.channels, Self.channels, kernel: 3, padding: 1, bias: true)
        var x = body(&graph, graph.add("before", .conv(spec), input))
        x = graph.add("flatten", .flatten, x)
        let features = try graph.shapes(input: Self.size)[x.index].count
        let logits = graph.add("fc", .linear(inFeatures: features, outFeatures: Self.classes, bias: true), x)
        graph.setOutputs(logits: logits, features: nil)
        return Model.random(graph)
    }

    private static let classLabels = BatchLabels.classes([3, 0, 1, 0])

    /// Checks the gradient of every parameter along itself and along a random direction.
    private func check(
        _ model: Model, loss: Loss = .crossEntropy(), labels: BatchLabels = classLabels, file: StaticString = #filePath,
        line: UInt = #line
    ) throws {
        let plan = try TrainingPlan(
            model: model, input: Self.size, batchLimit: Self.images,
            plan: OptimizationPlan(loss: loss, optimizer: .sgd(), groups: wholeGroup(model.graph), seed: 3),
            options: TrainingOptions(threads: 2, accuracy: .strict))
        let batch = TrainingBatch(input: .floats(randomPictures(Self.images, Self.size)), labels: labels)
        let still = StepSettings(step: 5, learningRates: [0], updates: false)
        _ = try plan.train(batch, still)
        let gradients = plan.exportGradients().filter { !model.frozen.contains($0.key) }
        XCTAssertFalse(gradients.isEmpty, file: file, line: line)
        // What counts as nothing: the bias before a batch norm has no gradient but rounding errors.
        let largest = gradients.values.map { length($0.values) }.max() ?? 0
        for (name, tensor) in gradients.sorted(by: { $0.key < $1.key }) {
            let gradient = tensor.values
            let along = length(gradient) > 1e-4 * largest ? gradient : Array(repeating: 0, count: gradient.count)
            let random = CounterRandom(seed: 11, name: name)
            let across = gradient.indices.map { Float(random.uniform(UInt64($0))) - 0.5 }
            for (direction, label) in [(along, "along itself"), (across, "along a random direction")] {
                let norm = length(direction)
                guard norm > 0 else { continue }
                let expected = zip(gradient, direction).reduce(0.0) { $0 + Double($1.0) * Double($1.1) } / norm
                func loss(_ distance: Double) throws -> Double {
                    var moved = model.parameters
                    let values = zip(model[name].values, direction).map {
                        Float(Double($0) + distance * Double($1) / norm)
                    }
                    moved[name] = Tensor(shape: tensor.shape, values: values)
                    try plan.importState(TrainingState(parameters: moved))
                    return try plan.train(batch, still).loss
                }
                // Fourth order: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h.
                let h = 4e-3
                let near = try loss(h) - loss(-h)
                let far = try loss(2 * h) - loss(-2 * h)
                let found = (8 * near - far) / (12 * h)
                // Losses are good to some 2e-7, which the difference divides by h.
                XCTAssertEqual(
                    found, expected, accuracy: 1e-2 * expected.magnitude + 1e-3 * largest + 1e-4, "\(name) \(label)",
                    file: file, line: line)
            }
        }
    }

    private func length(_ values: [Float]) -> Double {
        values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    }

    private func conv(
        _ channels: Int, kernel: Int, stride: Int = 1, dilation: Int = 1, groups: Int = 1, bias: Bool = false
    ) -> ResNetSwift.Operation {
        let padding = kernel / 2 * dilation
        return .conv(
            ConvSpec(
                Self.channels, channels, kernel: Size2(kernel, kernel), stride: Size2(stride, stride),
                padding: Size2(padding, padding), dilation: Size2(dilation, dilation), groups: groups, bias: bias))
    }

    private let norm = ResNetSwift.Operation.batchNorm(channels: 20, eps: 1e-5, momentum: 0.1)

    func testConvolutions() throws {
        try check(model { $0.add("op", conv(16, kernel: 1, bias: true), $1) })
        try check(model { $0.add("op", conv(24, kernel: 3), $1) })
        try check(model { $0.add("op", conv(9, kernel: 3, stride: 2, bias: true), $1) })
        try check(model { $0.add("op", conv(16, kernel: 5), $1) })
        try check(model { $0.add("op", conv(8, kernel: 7, stride: 2), $1) })
        try check(model { $0.add("op", conv(20, kernel: 1, stride: 2), $1) })
        try check(model { $0.add("op", conv(20, kernel: 3, groups: 4), $1) })
        try check(model { $0.add("op", conv(20, kernel: 3, groups: 20), $1) })
        try check(model { $0.add("op", conv(16, kernel: 3, dilation: 2), $1) })
    }

    func testBatchNorms() throws {
        try check(model { $0.add("op", norm, $1) })
        try check(model { graph, x in graph.add("relu", .relu, graph.add("op", norm, x)) })
        var frozen = try model { $0.add("op", norm, $1) }
        frozen.frozen = ["op.running_mean", "op.running_var"]
        try check(frozen)
        frozen.frozen = ["op.weight", "op.bias"]
        try check(frozen)
    }

    func testElementwise() throws {
        try check(model { $0.add("op", .relu, $1) })
        try check(model { $0.add("op", .sigmoid, $1) })
        try check(model { $0.add("op", .clip(low: -0.5, high: 0.75), $1) })
        try check(model { $0.add("op", .dropout(probability: 0.4), $1) })
        try check(model { $0.add("op", .dropPath(probability: 0.4), $1) })
        try check(model { $0.add("op", .gelu, $1) })
        try check(
            model { graph, x in
                let y = graph.add("other", norm, graph.add("conv", conv(20, kernel: 3), x))
                return graph.add("relu", .relu, graph.add("op", .add, y, x))
            })
    }

    /// Squeeze and excitation as it stands in a block, and efficient channel attention.
    func testGates() throws {
        try check(
            model { graph, x in
                let mean = graph.add("mean", .globalAveragePool, x)
                let gate = graph.add("sigmoid", .sigmoid, graph.add("gates", conv(20, kernel: 1, bias: true), mean))
                return graph.apply("op", .gate, [graph.add("conv", conv(20, kernel: 3), x), gate])
            })
        try check(
            model { graph, x in
                let y = graph.add("conv", conv(20, kernel: 3), x)
                let mean = graph.add("mean", .globalAveragePool, y)
                let gate = graph.add("sigmoid", .sigmoid, graph.add("op", .channelConv(kernel: 5), mean))
                return graph.apply("gate", .gate, [y, gate])
            })
    }

    func testLayerNorms() throws {
        let norm = ResNetSwift.Operation.layerNorm(channels: Self.channels, eps: 1e-5)
        try check(model { $0.add("op", norm, $1) })
        var frozen = try model { $0.add("op", norm, $1) }
        frozen.frozen = ["op.weight"]
        try check(frozen)
        frozen.frozen = ["op.weight", "op.bias"]
        try check(frozen)
    }

    func testLayerScales() throws {
        func scaled(_ graph: inout Graph, _ x: Node) -> Node {
            let y = graph.add("op", .layerScale(channels: Self.channels), graph.add("conv", conv(20, kernel: 3), x))
            return graph.apply("sum", .add, [y, x])
        }
        var frozen = try model(scaled)
        try check(frozen)
        frozen.frozen = ["op.gamma"]
        try check(frozen)
    }

    func testAttention() throws {
        for window in [Size2(3, 3), Size2(7, 2), Size2(4, 6)] {
            try check(
                model { graph, x in
                    let padded = graph.apply("pad", .padToMultiple(window), [x])
                    let qkv = graph.add("qkv", .conv(.linear(Self.channels, 96)), padded)
                    let y = graph.apply("attention", .windowAttention(heads: 2, window: window), [qkv])
                    return graph.apply("crop", .crop, [y, x])
                })
        }
        try check(
            model { graph, x in
                let qkv = graph.add("qkv", .conv(.linear(Self.channels, 96)), x)
                return graph.apply("attention", .channelAttention(heads: 1), [qkv])
            })
    }

    func testPools() throws {
        for ceilMode in [false, true] {
            let pool = PoolSpec(kernel: 3, stride: 2, ceilMode: ceilMode)
            try check(model { $0.add("op", .maxPool(pool), $1) })
            try check(model { $0.add("op", .averagePool(pool), $1) })
        }
        let padded = PoolSpec(kernel: 3, stride: 1, padding: 1)
        try check(model { $0.add("op", .maxPool(padded), $1) })
        try check(model { $0.add("op", .averagePool(padded), $1) })
        let inside = PoolSpec(kernel: 3, stride: 2, padding: 1, ceilMode: true, countsPadding: false)
        try check(model { $0.add("op", .averagePool(inside), $1) })
        try check(model { $0.add("op", .blurPool(stride: 2), $1) })
        try check(model { $0.add("op", .pad(PadSpec(top: 1, left: 0, bottom: 2, right: 3, value: -1)), $1) })
        try check(model { $0.add("op", .globalAveragePool, $1) })
    }

    func testConcatAndLinear() throws {
        // Parts that do and do not fill a block, one of them twice.
        try check(
            model { graph, x in
                let a = graph.add("a", conv(5, kernel: 1), x)
                let b = graph.add("b", conv(16, kernel: 3), x)
                return graph.add("op", .concat, a, b, x, a)
            })
        try check(
            model { graph, x in
                let flat = graph.add("flat", .flatten, graph.add("pool", .globalAveragePool, x))
                let hidden = graph.add("hidden", .linear(inFeatures: 20, outFeatures: 12, bias: false), flat)
                return graph.add("relu", .relu, hidden)
            })
    }

    func testLosses() throws {
        let plain = try model { $0.add("op", .relu, $1) }
        try check(plain, loss: .crossEntropy(labelSmoothing: 0.1))
        try check(plain, loss: .crossEntropy(labelSmoothing: 0.1, classWeights: [1, 2, 0.5, 3, 0.1], ignoreIndex: 1))
        let rows = [Float](arrayLiteral: 0.2, 0.3, 0.5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0.9, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2)
        try check(plain, labels: .probabilities(Tensor(shape: [4, 5], values: rows)))
        let yes = Tensor(shape: [4, 5], values: rows.map { $0 > 0.25 ? 1 : 0 })
        try check(plain, loss: .binaryCrossEntropy(), labels: .multiHot(yes))
        try check(plain, loss: .binaryCrossEntropy(positiveWeights: [1, 3, 0.5, 2, 7]), labels: .multiHot(yes))
    }
}
