// Training plans against the naive reference on random graphs, and what they promise: the same bits, accumulation, smaller
// batches, clear errors. TrainerPlanTests has freezing and state, GradientParityTests PyTorch.
import ResNetSwift
import XCTest

@testable import ResNetExecution

/// Everything in one group.
func wholeGroup(_ graph: Graph, weightDecay: Float = 0) -> [ParameterGroup] {
    let keys = graph.parameters.filter { !$0.role.isBuffer }.map(\.name)
    return [ParameterGroup(name: "all", parameters: keys, weightDecay: weightDecay)]
}

final class TrainingPlanTests: XCTestCase {
    private func plan(
        _ model: Model, _ size: ImageShape, images: Int, optimizer: Optimizer = .sgd(), loss: Loss = .crossEntropy(),
        seed: UInt64 = 0, options: TrainingOptions = TrainingOptions(threads: 2)
    ) throws -> TrainingPlan {
        try TrainingPlan(
            model: model, input: size, batchLimit: images,
            plan: OptimizationPlan(loss: loss, optimizer: optimizer, groups: wholeGroup(model.graph), seed: seed),
            options: options)
    }

    private func batch(_ size: ImageShape, _ images: Int, classes: Int, seed: UInt64 = 7) -> TrainingBatch {
        TrainingBatch(
            input: .floats(randomPictures(images, size, seed: seed)),
            labels: .classes((0..<images).map { Int32((3 * $0 + Int(seed)) % classes) }))
    }

    private static let still = StepSettings(step: 0, learningRates: [0], updates: false)

    /// Whether the layer of this parameter goes into a batch norm.
    private func isNormed(_ name: String, _ graph: Graph) -> Bool {
        graph.nodes.contains { node in
            guard case .batchNorm = node.operation, let input = node.inputs.first else { return false }
            return name.hasPrefix(graph.nodes[input].module + ".")
        }
    }

    /// Random graphs with random parts frozen, few images at a time and all at once, with and without checkpoints.
    func testRandomGraphsAgreeWithTheReference() throws {
        var compared = 0
        for seed in 0..<60 as Range<UInt64> {
            var random = SplitMix(state: 1000 + seed)
            let drawn = RandomGraph(seed: seed, steps: 10)
            var model = Model.random(drawn.graph).withDropout(0)
            if seed % 2 == 1 {
                for spec in drawn.graph.parameters where random.chance(30) {
                    model.frozen.formUnion(drawn.graph.parameters(of: spec.node).map(\.name))
                }
            }
            let images = 3
            let data = batch(drawn.image, images, classes: 10)
            guard case .floats(let pictures) = data.input, case .classes(let labels) = data.labels else { return }
            let reference = ReferenceTraining(model: model, size: drawn.image, images: images)
            let expected = try reference.step(pictures.values, labels: labels)
            // A value within rounding of a kink makes another gradient of the smallest change. So does a batch norm
            // over equal values. Every pixel and weight moves by a few roundings of its own: a batch norm takes out a
            // change that all have in common, and every layer rounds.
            let floor = 1e-2 * (expected.gradients.values.joined().map(\.magnitude).max() ?? 0)
            var sensitivity: Float = 0
            for _ in 0..<2 {
                func nearby(_ values: [Float]) -> [Float] {
                    values.map { $0 * (1 + Float.random(in: -3e-7...3e-7, using: &random)) }
                }
                var neighbor = model
                for spec in drawn.graph.parameters {
                    neighbor[spec.name] = Tensor(shape: spec.shape, values: nearby(model[spec.name].values))
                }
                let moved = try ReferenceTraining(model: neighbor, size: drawn.image, images: images).step(
                    nearby(pictures.values), labels: labels)
                for (name, gradient) in expected.gradients {
                    sensitivity = max(
                        sensitivity, relativeDifference(moved.gradients[name]! + [floor], gradient + [floor]))
                }
            }
            guard sensitivity < 1e-3 else { continue }
            compared += 1

            var options = TrainingOptions(threads: 2, accuracy: .strict, checkpointing: seed % 3 == 0 ? .blocks : .none)
            options.activationBudget = seed % 4 < 2 ? 1 : 1 << 30
            let plan = try plan(model, drawn.image, images: images, options: options)
            let result = try plan.train(data, Self.still)
            XCTAssertEqual(result.loss, expected.loss, accuracy: 1e-5 * expected.loss, "graph \(seed)")
            let gradients = plan.exportGradients()
            for (name, gradient) in gradients {
                let reference = try XCTUnwrap(expected.gradients[name])
                // Before a batch norm a bias has no gradient but the rounding of a sum that cancels; its terms are as
                // large as those of its layer's weights.
                let terms = name.hasSuffix(".bias") ? expected.gradients[name.dropLast(4) + "weight"] ?? [] : []
                let scale = max(floor, isNormed(name, drawn.graph) ? terms.map(\.magnitude).max() ?? 0 : 0)
                XCTAssertLessThan(
                    relativeDifference(gradient.values + [scale], reference + [scale]), max(1e-4, 30 * sensitivity),
                    "graph \(seed): \(name)")
            }
            let parameters = plan.exportParameters()
            for (name, values) in expected.statistics {
                // What no logit depends on is not computed.
                guard let found = parameters[name], found.values != model[name].values else { continue }
                XCTAssertLessThan(relativeDifference(found.values, values), 1e-4, "graph \(seed): \(name)")
            }
        }
        XCTAssertGreaterThan(compared, 50)
    }

    // MARK: - What plans promise

    private static let size = ImageShape(channels: 3, height: 16, width: 16)

    private func network() throws -> Model {
        Model.random(try CIFARResNetConfig(nBlocks: [1, 1, 1], channels: [16, 20, 32]).graph())
    }

    /// Bits of everything after three steps of Adam.
    private func bits(_ options: TrainingOptions) throws -> [String: [UInt32]] {
        let plan = try plan(try network(), Self.size, images: 6, optimizer: .adam(), options: options)
        for step in 0..<3 {
            let data = batch(Self.size, 6, classes: 10, seed: UInt64(step))
            _ = try plan.train(data, StepSettings(step: step, learningRates: [0.01]))
        }
        return plan.exportParameters().mapValues { $0.values.map(\.bitPattern) }
    }

    func testTheSameBitsAgainAndWhateverIsKept() throws {
        let plain = try bits(TrainingOptions(threads: 2))
        XCTAssertEqual(plain, try bits(TrainingOptions(threads: 2)))
        for checkpointing in Checkpointing.allCases where checkpointing != .none {
            XCTAssertEqual(
                plain, try bits(TrainingOptions(threads: 2, checkpointing: checkpointing)), "\(checkpointing)")
        }
        XCTAssertNotEqual(plain["fc.weight"], try network()["fc.weight"].values.map(\.bitPattern))
    }

    func testGradientsAddUp() throws {
        let model = try network()
        let (first, second) = (batch(Self.size, 6, classes: 10, seed: 1), batch(Self.size, 4, classes: 10, seed: 2))
        func gradients(_ batches: [(TrainingBatch, Float)]) throws -> [String: Tensor] {
            let plan = try plan(model, Self.size, images: 6)
            for (data, scale) in batches {
                let settings = StepSettings(step: 0, learningRates: [0], gradientScale: scale, updates: false)
                _ = try plan.train(data, settings)
            }
            return plan.exportGradients()
        }
        let sums = try gradients([(first, 0.75), (second, 0.25)])
        let (a, b) = (try gradients([(first, 1)]), try gradients([(second, 1)]))
        for (name, sum) in sums {
            let expected = zip(a[name]!.values, b[name]!.values).map { 0.75 * $0 + 0.25 * $1 }
            XCTAssertLessThan(relativeDifference(sum.values, expected), 1e-5, name)
        }
    }

    /// The last batch of an epoch is smaller than the plan's.
    func testASmallerBatchIsAsInAPlanOfItsSize() throws {
        let model = try network()
        let data = batch(Self.size, 3, classes: 10)
        let (large, exact) = (try plan(model, Self.size, images: 8), try plan(model, Self.size, images: 3))
        let losses = (try large.train(data, Self.still).loss, try exact.train(data, Self.still).loss)
        XCTAssertEqual(losses.0, losses.1, accuracy: 1e-6 * losses.1)
        let expected = exact.exportGradients()
        for (name, gradient) in large.exportGradients() {
            XCTAssertLessThan(relativeDifference(gradient.values, expected[name]!.values), 1e-4, name)
        }
    }

    func testErrorsNameWhatIsWrong() throws {
        let plan = try plan(try network(), Self.size, images: 4)
        func assertFails(_ data: TrainingBatch, naming parts: String..., line: UInt = #line) {
            XCTAssertThrowsError(try plan.train(data, Self.still), line: line) { error in
                for part in parts { XCTAssertTrue("\(error)".contains(part), "\(error)", line: line) }
            }
        }
        let good = batch(Self.size, 4, classes: 10)
        assertFails(batch(Self.size, 5, classes: 10), naming: "1 to 4 samples", "5")
        assertFails(
            batch(ImageShape(channels: 3, height: 16, width: 15), 4, classes: 10), naming: "16, 16", "[4, 3, 16, 15]")
        assertFails(TrainingBatch(input: good.input, labels: .classes([0, 1, 2])), naming: "4 labels", "3")
        assertFails(TrainingBatch(input: good.input, labels: .classes([0, 1, 10, 2])), naming: "0 to 9", "10")
        let dense = Tensor(shape: [4, 9], repeating: 0)
        assertFails(TrainingBatch(input: good.input, labels: .probabilities(dense)), naming: "[4, 10]", "[4, 9]")
        assertFails(TrainingBatch(input: good.input, labels: .multiHot(dense)), naming: "cross-entropy", "label set")
        // And it goes on as if nothing had happened.
        XCTAssertNoThrow(try plan.train(good, Self.still))
    }
}
