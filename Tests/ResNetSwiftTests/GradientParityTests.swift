// Whole networks in training against PyTorch in float64: the loss, every gradient tensor and running statistic of one pass,
// and the losses of ten steps. Tests/Fixtures/training/gradients.npz, written by scripts/make_gradient_fixtures.py;
// scripts/check_gradients_against_torch.py compares every entry.
import Foundation
import ResNetSwift
import XCTest

@testable import ResNetModels

extension Model {
    /// Every value of every bias moved by so many hundredths, in the graph's order, and residual branches at a fifth:
    /// scripts/gradient_cases.py says why.
    func wellConditioned(_ moves: [Float]) -> Model {
        var parameters = parameters
        let last = graph.lastNormsOfResidualBlocks
        for spec in graph.parameters where spec.role == .normWeight && last.contains(spec.node) {
            parameters[spec.name] = Tensor(shape: spec.shape, values: self[spec.name].values.map { 0.2 * $0 })
        }
        var taken = 0
        for spec in graph.parameters where spec.role == .bias || spec.role == .normBias {
            let values = zip(self[spec.name].values, moves[taken...]).map { $0 + 0.01 * $1 }
            parameters[spec.name] = Tensor(shape: spec.shape, values: values)
            taken += spec.count
        }
        precondition(taken == moves.count, "\(moves.count) moves for \(taken) values")
        return Model(graph: graph, parameters: parameters)
    }
}

extension TrainingBatch {
    /// Parts of so many samples; classes and floats only.
    func parts(_ counts: [Int]) -> [TrainingBatch] {
        guard case .floats(let pictures) = input, case .classes(let classes) = labels else { preconditionFailure() }
        let size = pictures.values.count / pictures.shape[0]
        var first = 0
        return counts.map { count in
            defer { first += count }
            return TrainingBatch(
                input: .floats(
                    Tensor(
                        shape: [count] + pictures.shape.dropFirst(),
                        values: Array(pictures.values[first * size..<(first + count) * size]))),
                labels: .classes(Array(classes[first..<first + count])))
        }
    }
}

final class GradientParityTests: XCTestCase {
    private static let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../Fixtures/training/gradients.npz")

    private struct Case {
        let name: String
        /// Of each tensor's largest entry, and of each loss. A network without ReLUs and maxima has no decisions that rounding
        /// could turn.
        let tolerance: Double
        let model: Model
        let size: ImageShape
        let batch: TrainingBatch
        let loss: Loss
        let file: WeightFile

        init(_ name: String, size: Int, images: Int) throws {
            self.name = name
            tolerance = name.hasPrefix("davit") || name.hasPrefix("convnext") ? 1e-4 : 1e-3
            file = try WeightFile.open(GradientParityTests.file.path)
            let graph = try ModelName(named: name).graph(inputSize: Size2(size, size))
            model = Model.random(graph).wellConditioned(try file.tensor("\(name).moves").values).withDropout(0)
            self.size = ImageShape(channels: 3, height: size, width: size)
            let seed = UInt64(try file.tensor("\(name).seed").values[0])
            let classes = try graph.shapes(input: self.size)[graph.logits].count
            let labels: BatchLabels
            if classes == 1 {
                labels = .multiHot(Tensor(shape: [images, 1], values: (0..<images).map { Float($0 % 2) }))
                loss = .binaryCrossEntropy()
            } else {
                labels = .classes((0..<images).map { Int32((7 * $0 + 3) % classes) })
                loss = .crossEntropy()
            }
            batch = TrainingBatch(input: .floats(randomPictures(images, self.size, seed: seed)), labels: labels)
        }

        func plan(_ optimizer: Optimizer, weightDecay: Float = 0, _ options: TrainingOptions) throws
            -> TrainingPlan
        {
            try TrainingPlan(
                model: model, input: size, batchLimit: batch.count,
                plan: OptimizationPlan(
                    loss: loss, optimizer: optimizer, groups: wholeGroup(model.graph, weightDecay: weightDecay)),
                options: options)
        }

        func compare(_ tensors: [String: Tensor], _ kind: String, where keys: [String], _ label: String) throws {
            guard !keys.isEmpty else { return }
            let rows = try file.tensor("\(name).\(kind)")
            XCTAssertEqual(rows.shape, [keys.count, GradientFingerprint.count], "\(name) \(kind)")
            let expected = rows.values
            for (row, key) in keys.enumerated() {
                let found = GradientFingerprint(key, try XCTUnwrap(tensors[key], "\(name): no \(kind) of \(key)"))
                let start = row * GradientFingerprint.count
                XCTAssertLessThan(
                    found.difference(from: expected[start..<start + GradientFingerprint.count]), tolerance,
                    "\(name), \(label): \(kind) of \(key)")
            }
        }
    }

    /// - Parameter accuracies: the two largest networks go through once only.
    private func compareGradients(
        _ name: String, size: Int, images: Int, _ accuracies: [Accuracy] = [.strict, .default]
    ) throws {
        let item = try Case(name, size: size, images: images)
        let loss = Double(try item.file.tensor("\(name).loss").values[0])
        let specs = item.model.graph.parameters
        for accuracy in accuracies {
            // What is kept between the passes changes no bit.
            let options = TrainingOptions(
                threads: 2, accuracy: accuracy, checkpointing: accuracy == .default ? .blocks : .none)
            let label = accuracy.rawValue
            let plan = try item.plan(.sgd(), options)
            let result = try plan.train(item.batch, StepSettings(step: 0, learningRates: [0], updates: false))
            XCTAssertEqual(result.loss, loss, accuracy: item.tolerance * loss, "\(name), \(label)")
            try item.compare(
                plan.exportGradients(), "gradients", where: specs.filter { !$0.role.isBuffer }.map(\.name), label)
            try item.compare(
                plan.exportParameters(), "statistics", where: specs.filter(\.role.isBuffer).map(\.name), label)
        }
    }

    /// A batch in shards whose batch norms are synchronized: the gradients and the statistics of the whole batch.
    private func compareShards(_ name: String, size: Int, shards: [Int]) throws {
        let item = try Case(name, size: size, images: shards.reduce(0, +))
        let plan = try item.plan(.sgd(), TrainingOptions(threads: 2))
        let specs = item.model.graph.parameters
        let parts = item.batch.parts(shards)
        let sum = TreeSum(count: try plan.contributionCount())
        try sum.add(parts.count) { targets in
            let shards = zip(parts, targets).map {
                BatchShard(batch: $0, step: 0, weight: Double($0.count), target: $1)
            }
            let results = try plan.contribute(together: shards, startsAtFeatures: false) { _ in }
            let loss = zip(results, parts).reduce(0) { $0 + $1.0.loss * Double($1.1.count) } / Double(item.batch.count)
            let expected = Double(try item.file.tensor("\(name).loss").values[0])
            XCTAssertEqual(loss, expected, accuracy: item.tolerance * expected, "\(name), shards \(shards)")
        }
        try sum.finish {
            try plan.update(
                fromSum: $0, weight: Double(item.batch.count), samples: item.batch.count,
                StepSettings(step: 0, learningRates: [0]))
        }
        let label = "shards \(shards)"
        try item.compare(
            plan.exportGradients(), "gradients", where: specs.filter { !$0.role.isBuffer }.map(\.name), label)
        try item.compare(
            plan.exportParameters(), "statistics", where: specs.filter(\.role.isBuffer).map(\.name), label)
    }

    private typealias Recipe = (name: String, optimizer: Optimizer, decay: Float)
    private static let recipes: [Recipe] = [("sgd", .sgd(momentum: 0.9), 5e-4), ("adam", .adam(), 1e-4)]

    private func compareSteps(
        _ name: String, size: Int, images: Int, _ recipes: [Recipe] = GradientParityTests.recipes
    ) throws {
        let item = try Case(name, size: size, images: images)
        for (optimizer, settings, decay) in recipes {
            let plan = try item.plan(settings, weightDecay: decay, TrainingOptions(threads: 2))
            let values = try item.file.tensor("\(name).\(optimizer)").values
            XCTAssertEqual(values.count, 11)
            for (step, loss) in values.dropFirst().map(Double.init).enumerated() {
                let result = try plan.train(item.batch, StepSettings(step: step, learningRates: [values[0]]))
                XCTAssertEqual(
                    result.loss, loss, accuracy: item.tolerance * loss, "\(name), \(optimizer), step \(step)")
            }
        }
    }

    func testResNet18() throws { try compareGradients("resnet18", size: 64, images: 8) }
    func testResNet18Steps() throws { try compareSteps("resnet18", size: 64, images: 8) }
    func testResNet18InShards() throws { try compareShards("resnet18", size: 64, shards: [5, 3]) }
    func testCIFARResNet20InShards() throws { try compareShards("cifar_resnet20", size: 32, shards: [4, 1, 3]) }
    func testResNet50() throws { try compareGradients("resnet50", size: 64, images: 8) }
    func testResNet50Steps() throws { try compareSteps("resnet50", size: 64, images: 8) }
    func testCIFARResNet20() throws { try compareGradients("cifar_resnet20", size: 32, images: 8) }
    func testCIFARResNet20Steps() throws { try compareSteps("cifar_resnet20", size: 32, images: 8) }
    func testResNeXt50() throws { try compareGradients("resnext50_32x4d", size: 64, images: 8, [.default]) }
    func testWideResNet50() throws { try compareGradients("wide_resnet50_2", size: 64, images: 8, [.default]) }
    func testGoogLeNet() throws { try compareGradients("googlenet", size: 75, images: 2) }
    func testGoogLeNetSteps() throws { try compareSteps("googlenet", size: 75, images: 2) }
    func testAlexNetMini() throws { try compareGradients("alexnet_mini", size: 139, images: 2) }
    func testAlexNetMiniSteps() throws { try compareSteps("alexnet_mini", size: 139, images: 2) }
    func testDaViTTiny() throws { try compareGradients("davit_tiny", size: 75, images: 2) }
    func testDaViTTinySteps() throws {
        try compareSteps("davit_tiny", size: 75, images: 2, [("adamw", .adamW(), 0.05)])
    }
    func testConvNeXtTiny() throws { try compareGradients("convnext_tiny", size: 64, images: 2, [.default]) }

    /// A fingerprint notices what it is there for: a wrong sign, a wrong entry, a NaN, another order, a scale.
    func testFingerprintsNotice() {
        let right = randomPictures(2, ImageShape(channels: 5, height: 9, width: 7)).values
        func fingerprint(_ values: [Float]) -> GradientFingerprint {
            GradientFingerprint("x", Tensor(shape: [values.count], values: values))
        }
        let expected = fingerprint(right).numbers.map { Float($0) }
        func difference(_ change: (inout [Float]) -> Void) -> Double {
            var values = right
            change(&values)
            return fingerprint(values).difference(from: expected[...])
        }
        XCTAssertLessThan(difference { _ in }, 1e-6)
        XCTAssertGreaterThan(difference { $0[100] = 0.1 - $0[100] }, 1e-3)
        XCTAssertGreaterThan(difference { $0[629] = .nan }, 1)
        XCTAssertGreaterThan(difference { $0.swapAt(3, 500) }, 1e-3)
        XCTAssertGreaterThan(difference { $0 = $0.map { $0 * 1.002 } }, 1e-3)
    }
}
