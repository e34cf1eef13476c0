// A backend that computes a tiny network in plain Swift, so that the trainer is tested without kernels.
//
//     x (C, H, W) -> mean over the picture (C) -> conv1 1x1 (F) -> bn1 -> features -> dropout -> fc (classes)
//
// Its batch norm uses the running statistics in both modes, and moves them where they are not frozen. Every sample is
// computed by itself, in one order: the bits do not depend on how samples are batched.

import Foundation
import ResNetSwift

final class ToyBackend: TrainingBackend {
    let graph: Graph
    let plan: OptimizationPlan
    var frozen: Set<String> = []
    let batchLimit = 64
    private var values: [String: [Float]]
    private var optimizer: [String: [Float]] = [:]
    private var gradients: [String: [Float]] = [:]
    private let shapes: [String: [Int]]
    private(set) var featureCalls = 0
    private(set) var trainCalls = 0
    /// From this step on, losses are NaN.
    var failsAtStep = Int.max

    static func graph(channels: Int, features: Int, classes: Int, dropout: Double = 0) -> Graph {
        var g = Graph(modelName: "Toy")
        var x = g.apply("input", .input(channels: channels), [])
        x = g.add("conv1", .conv(ConvSpec(channels, features, kernel: 1)), x)
        x = g.add("bn1", .batchNorm(channels: features, eps: 1e-5, momentum: 0.1), x)
        x = g.add("avgpool", .globalAveragePool, x)
        let h = g.apply("flatten", .flatten, [x])
        let dropped = dropout > 0 ? g.add("dropout", .dropout(probability: dropout), h) : h
        let logits = g.add("fc", .linear(inFeatures: features, outFeatures: classes, bias: true), dropped)
        g.setOutputs(logits: logits, features: h)
        return g
    }

    init(
        channels: Int = 2, features: Int = 6, classes: Int = 3, dropout: Double = 0, loss: Loss = .crossEntropy(),
        optimizer: Optimizer = .sgd(momentum: 0.9), groups: [ParameterGroup]? = nil, clip: Float? = nil,
        seed: UInt64 = 1
    ) {
        graph = Self.graph(channels: channels, features: features, classes: classes, dropout: dropout)
        plan = OptimizationPlan(
            loss: loss, optimizer: optimizer, groups: groups ?? ParameterGroup.single(graph, weightDecay: 1e-3),
            gradientNormLimit: clip, seed: seed)
        let model = Model.initialized(graph, seed: seed, scheme: .torch, zeroInitResidual: false)
        values = model.parameters.mapValues(\.values)
        shapes = model.parameters.mapValues(\.shape)
    }

    private var classes: Int { shapes["fc.weight"]![0] }
    private var width: Int { shapes["fc.weight"]![1] }
    private var channels: Int { shapes["conv1.weight"]![1] }

    private func means(_ input: BatchInput) -> [[Float]] {
        switch input {
        case .features: preconditionFailure("features have no mean colors")
        case .floats(let tensor):
            let area = tensor.shape[2] * tensor.shape[3]
            let all = tensor.values
            return (0..<tensor.shape[0]).map { n in
                (0..<tensor.shape[1]).map { c in
                    let start = (n * tensor.shape[1] + c) * area
                    return all[start..<start + area].reduce(0, +) / Float(area)
                }
            }
        case .pictures(let batch):
            return means(.floats(batch.tensor()))
        }
    }

    /// (z after conv1, normalized, h) of each sample.
    private func trunk(_ input: BatchInput) -> (mean: [[Float]], normal: [[Float]], h: [[Float]]) {
        if case .features(let tensor) = input {
            let all = tensor.values
            return ([], [], (0..<tensor.shape[0]).map { Array(all[$0 * width..<($0 + 1) * width]) })
        }
        let means = means(input)
        let normal = means.map { mean in
            (0..<width).map { f -> Float in
                var z: Float = 0
                for c in 0..<channels { z += values["conv1.weight"]![f * channels + c] * mean[c] }
                return (z - values["bn1.running_mean"]![f]) / (values["bn1.running_var"]![f] + 1e-5).squareRoot()
            }
        }
        let h = normal.map { row in
            (0..<width).map { values["bn1.weight"]![$0] * row[$0] + values["bn1.bias"]![$0] }
        }
        return (means, normal, h)
    }

    private func logits(_ h: [[Float]]) -> [[Float]] {
        h.map { row in
            (0..<classes).map { k in
                var sum = values["fc.bias"]![k]
                for f in 0..<width { sum += values["fc.weight"]![k * width + f] * row[f] }
                return sum
            }
        }
    }

    /// Loss of each sample's row, its gradient, and the weight of the mean.
    private func loss(_ logits: [[Float]], _ labels: BatchLabels) -> (loss: Double, gradient: [[Float]]) {
        let count = Float(logits.count)
        func softmax(_ row: [Float]) -> [Float] {
            let largest = row.max()!
            let powers = row.map { exponential($0 - largest) }
            let sum = powers.reduce(0, +)
            return powers.map { $0 / sum }
        }
        func rows(_ tensor: Tensor) -> [[Float]] {
            let all = tensor.values
            return logits.indices.map { Array(all[$0 * classes..<($0 + 1) * classes]) }
        }
        switch labels {
        case .classes(let classes):
            return loss(
                logits,
                .probabilities(
                    Tensor(
                        shape: [logits.count, self.classes],
                        values: classes.flatMap { label in (0..<self.classes).map { $0 == Int(label) ? 1 : 0 } })))
        case .probabilities(let wanted):
            var total = 0.0
            var gradient: [[Float]] = []
            for (row, target) in zip(logits, rows(wanted)) {
                let p = softmax(row)
                for k in 0..<classes where target[k] > 0 { total -= Double(target[k] * logarithm(max(p[k], 1e-30))) }
                gradient.append((0..<classes).map { (p[$0] - target[$0]) / count })
            }
            return (total / Double(count), gradient)
        case .multiHot(let wanted):
            var total = 0.0
            var gradient: [[Float]] = []
            for (row, target) in zip(logits, rows(wanted)) {
                let p = row.map { 1 / (1 + exponential(-$0)) }
                for k in 0..<classes {
                    total -= Double(
                        target[k] * logarithm(max(p[k], 1e-30)) + (1 - target[k]) * logarithm(max(1 - p[k], 1e-30)))
                }
                gradient.append((0..<classes).map { (p[$0] - target[$0]) / (count * Float(classes)) })
            }
            return (total / Double(count) / Double(classes), gradient)
        }
    }

    private func tensor(_ rows: [[Float]]) -> Tensor {
        Tensor(shape: [rows.count, rows[0].count], values: rows.flatMap { $0 })
    }

    func train(_ batch: TrainingBatch, _ settings: StepSettings) throws -> StepResult {
        precondition(settings.learningRates.count == plan.groups.count, "a rate for each group")
        trainCalls += 1
        let (means, normal, h) = trunk(batch.input)
        var kept = h
        var mask = h.map { $0.map { _ in Float(1) } }
        for node in graph.nodes {
            guard case .dropout(let probability) = node.operation else { continue }
            let random = CounterRandom(seed: plan.seed, stream: UInt64(settings.step))
            for n in h.indices {
                for f in 0..<width {
                    mask[n][f] =
                        random.uniform(UInt64(n * width + f)) < probability ? 0 : 1 / (1 - Float(probability))
                    kept[n][f] *= mask[n][f]
                }
            }
        }
        let logits = logits(kept)
        var (loss, gradient) = loss(logits, batch.labels)
        if settings.step >= failsAtStep { loss = .nan }

        func add(_ name: String, _ index: Int, _ value: Float) {
            gradients[name, default: Array(repeating: 0, count: values[name]!.count)][index] +=
                value * settings.gradientScale
        }
        for n in h.indices {
            for k in 0..<classes {
                add("fc.bias", k, gradient[n][k])
                for f in 0..<width { add("fc.weight", k * width + f, gradient[n][k] * kept[n][f]) }
            }
            guard !normal.isEmpty else { continue }
            for f in 0..<width {
                var dh: Float = 0
                for k in 0..<classes { dh += gradient[n][k] * values["fc.weight"]![k * width + f] }
                dh *= mask[n][f]
                add("bn1.bias", f, dh)
                add("bn1.weight", f, dh * normal[n][f])
                let dz = dh * values["bn1.weight"]![f] / (values["bn1.running_var"]![f] + 1e-5).squareRoot()
                for c in 0..<channels { add("conv1.weight", f * channels + c, dz * means[n][c]) }
            }
        }
        if !frozen.contains("bn1.running_mean"), !normal.isEmpty {
            for f in 0..<width {
                let std = (values["bn1.running_var"]![f] + 1e-5).squareRoot()
                let z = normal.map { $0[f] * std + values["bn1.running_mean"]![f] }
                let mean = z.reduce(0, +) / Float(z.count)
                values["bn1.running_mean"]![f] += 0.1 * (mean - values["bn1.running_mean"]![f])
            }
        }
        var norm: Double?
        if settings.updates { norm = update(settings) }
        return StepResult(
            loss: loss, weight: Double(batch.count), logits: tensor(logits), gradientNorm: norm)
    }

    private func update(_ settings: StepSettings) -> Double {
        let trained = gradients.filter { !frozen.contains($0.key) }
        let squares = trained.sorted { $0.key < $1.key }.flatMap { $0.value }.reduce(0.0) { $0 + Double($1 * $1) }
        let norm = squares.squareRoot()
        let scale = plan.gradientNormLimit.map { min(1, $0 / (Float(norm) + 1e-6)) } ?? 1
        for (group, rate) in zip(plan.groups, settings.learningRates) {
            for name in group.parameters {
                guard let gradient = trained[name] else { continue }
                let t = (optimizer["\(name).step"]?[0] ?? 0) + 1
                if optimizer["\(name).step"] == nil {
                    for part in ["first", "second"] {
                        optimizer["\(name).\(part)"] = Array(repeating: 0, count: gradient.count)
                    }
                }
                optimizer["\(name).step"] = [t]
                for i in gradient.indices {
                    let g = gradient[i] * scale + group.weightDecay * values[name]![i]
                    switch plan.optimizer {
                    case .sgd(let momentum, _):
                        let v = (settings.momentum ?? momentum) * optimizer["\(name).first"]![i] + g
                        optimizer["\(name).first"]![i] = v
                        values[name]![i] -= rate * v
                    case .adam(let beta1, let beta2, let epsilon), .adamW(let beta1, let beta2, let epsilon):
                        let m = beta1 * optimizer["\(name).first"]![i] + (1 - beta1) * g
                        let v = beta2 * optimizer["\(name).second"]![i] + (1 - beta2) * g * g
                        optimizer["\(name).first"]![i] = m
                        optimizer["\(name).second"]![i] = v
                        let (c1, c2) = (1 - power(beta1, t), 1 - power(beta2, t))
                        values[name]![i] -= rate * (m / c1) / ((v / c2).squareRoot() + epsilon)
                    }
                }
            }
        }
        gradients = [:]
        return norm
    }

    func evaluate(_ batch: TrainingBatch) throws -> StepResult {
        let logits = logits(trunk(batch.input).h)
        return StepResult(
            loss: loss(logits, batch.labels).loss, weight: Double(batch.count), logits: tensor(logits))
    }

    func features(_ input: BatchInput) throws -> Tensor {
        featureCalls += 1
        return tensor(trunk(input).h)
    }

    func exportParameters() throws -> [String: Tensor] {
        Dictionary(uniqueKeysWithValues: values.map { ($0, Tensor(shape: shapes[$0]!, values: $1)) })
    }

    func exportState() throws -> TrainingState {
        TrainingState(
            parameters: try exportParameters(),
            optimizer: optimizer.mapValues { Tensor(shape: [$0.count], values: $0) })
    }

    func importState(_ state: TrainingState) throws {
        values = state.parameters.mapValues(\.values)
        optimizer = state.optimizer.mapValues(\.values)
        gradients = [:]
    }
}

private func power(_ base: Float, _ exponent: Float) -> Float {
    var result: Float = 1
    for _ in 0..<Int(exponent) { result *= base }
    return result
}

private func exponential(_ x: Float) -> Float { Float(exp(Double(x))) }
private func logarithm(_ x: Float) -> Float { Float(log(Double(x))) }
