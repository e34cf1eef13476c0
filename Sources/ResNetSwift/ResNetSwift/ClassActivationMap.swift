// Where on a picture a logit comes from: how much each place of the last feature map f (C, H, W) adds to it.
//
//     mean over the map, one linear layer      map(y, x) = sum over k of w[c, k] f[k, y, x] / (H W)
//     layers with ReLU after the mean          the same with g[k], the gradient of the logit by the mean of channel k
//     no mean (flattened map)                  map(y, x) = sum over k of g[k, y, x] f[k, y, x]
//
//     logit[c] = rest + sum over (y, x) of map(y, x)
//
// The head's layers are linear or ReLU, so a logit is linear in the map while no ReLU changes sides, and the sum above holds
// exactly; for one linear layer the rest is its bias. Zhou et al.: Learning Deep Features for Discriminative Localization
// (2016); with the gradient it is Grad-CAM of the last map (Selvaraju et al., 2017) before its ReLU.

import ResNetExecution
import ResNetGraph
import ResNetModels

/// Where on a picture a logit comes from.
public struct ClassActivationMap: Sendable, Hashable {
    /// Rows of the last feature map.
    public let height: Int
    /// Columns of the last feature map.
    public let width: Int
    /// What each place adds to the logit, (height, width), row-major; negative where it speaks against the class.
    public let values: [Float]
    /// What the logit has from elsewhere: biases.
    public let rest: Float
    /// The sum of all.
    public let logit: Float
}

extension ClassActivationMap {
    /// - Parameters:
    ///   - map: the last feature map of one picture, (1, C, H, W).
    ///   - index: of the logit.
    init(_ map: Tensor, of model: Model, class index: Int) {
        let (channels, height, width) = (map.shape[1], map.shape[2], map.shape[3])
        let steps = HeadStep.steps(of: model)
        let f = map.values.map(Double.init)
        let places = height * width
        let isPooled = model.graph.isPooledHead
        let start =
            isPooled
            ? (0..<channels).map { k in f[k * places..<(k + 1) * places].reduce(0, +) / Double(places) } : f
        // Forward, to know on which side each ReLU is; then the gradient of the logit, backward.
        var inputs = [start]
        for step in steps { inputs.append(step.forward(inputs[inputs.count - 1])) }
        let logits = inputs[inputs.count - 1]
        var gradient = logits.indices.map { $0 == index ? 1.0 : 0 }
        for (step, input) in zip(steps, inputs).reversed() { gradient = step.backward(gradient, input: input) }
        var values = [Double](repeating: 0, count: places)
        for k in 0..<channels {
            for place in 0..<places {
                let weight = isPooled ? gradient[k] / Double(places) : gradient[k * places + place]
                values[place] += weight * f[k * places + place]
            }
        }
        self.init(
            height: height, width: width, values: values.map(Float.init),
            rest: Float(logits[index] - values.reduce(0, +)), logit: Float(logits[index]))
    }
}

/// A layer of a head.
private enum HeadStep {
    case linear(weights: [Float], bias: [Float]?, inputs: Int)
    case relu

    /// From the last map to the logits.
    static func steps(of model: Model) -> [HeadStep] {
        let graph = model.graph
        var steps: [HeadStep] = []
        var index = graph.logits
        while true {
            let node = graph.nodes[index]
            switch node.operation {
            case .linear(let inputs, _, let bias):
                steps.append(
                    .linear(
                        weights: model["\(node.module).weight"].values,
                        bias: bias ? model["\(node.module).bias"].values : nil, inputs: inputs))
            case .relu: steps.append(.relu)
            case .dropout: break
            default: return steps.reversed()
            }
            index = node.inputs[0]
        }
    }

    func forward(_ x: [Double]) -> [Double] {
        switch self {
        case .relu: return x.map { max($0, 0) }
        case .linear(let weights, let bias, let inputs):
            return (0..<weights.count / inputs).map { row in
                var sum = Double(bias?[row] ?? 0)
                for column in 0..<inputs { sum += Double(weights[row * inputs + column]) * x[column] }
                return sum
            }
        }
    }

    func backward(_ gradient: [Double], input: [Double]) -> [Double] {
        switch self {
        case .relu: return zip(gradient, input).map { $1 > 0 ? $0 : 0 }
        case .linear(let weights, _, let inputs):
            var result = [Double](repeating: 0, count: inputs)
            for (row, factor) in gradient.enumerated() where factor != 0 {
                for column in 0..<inputs { result[column] += factor * Double(weights[row * inputs + column]) }
            }
            return result
        }
    }
}

extension Graph {
    /// Whether the head begins with the mean over the picture.
    fileprivate var isPooledHead: Bool {
        guard let end = trunkEnd else { return false }
        return nodes.contains { $0.operation == .globalAveragePool && $0.inputs == [end] }
    }
}
