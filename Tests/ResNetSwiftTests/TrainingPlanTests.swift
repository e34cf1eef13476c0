// Training plans against the naive reference on random graphs, and what they promise: accumulation, checkpoints, freezing,
// determinism, state, clear errors.
import XCTest

@testable import ResNetSwift

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
            // over equal values, and the bias before a batch norm has no gradient but rounding errors.
            let moved = try reference.step(pictures.values.map { $0 * (1 + 2e-7) }, labels: labels)
            let floor = 1e-2 * (expected.gradients.values.joined().map(\.magnitude).max() ?? 0)
            let own = expected.gradients.map { relativeDifference(moved.gradients[$0]! + [floor], $1 + [floor]) }
            let sensitivity = own.max() ?? 0
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
                XCTAssertLessThan(
                    relativeDifference(gradient.values + [floor], reference + [floor]), max(1e-4, 30 * sensitivity),
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
}
