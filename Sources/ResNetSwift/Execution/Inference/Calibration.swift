// How a model gets scales for 8 bits: pictures run through the float plan, and what every value took is counted.
//
//     pictures --float plan, tapped--> histograms, means --method--> scales --> Model.quantization
//
// Weights get the scale of their output channel's largest value. What rounding them adds to a channel on the average is taken
// off its bias (Nagel et al., Data-Free Quantization, arXiv:1906.04721): the error of each weight times the mean of what
// it is multiplied by. No labels, nothing random: the same pictures in the same order give the same file.
import CKernels
import ResNetGraph
import ResNetSupport

/// How the largest value that bytes stand for is chosen; what lies beyond becomes the largest byte.
public enum CalibrationMethod: String, Sendable, Hashable, CaseIterable {
    /// Nothing lies beyond.
    case minmax
    /// One value in ten thousand lies beyond.
    case percentile
    /// The squared error of all values is least.
    case mse
}

/// Chooses scales for the convolutions of a model.
public struct Calibration: Sendable {
    /// How scales are chosen.
    public let method: CalibrationMethod
    /// Convolutions that get 8 bits, by the name of their module.
    public let layers: [String]
    /// All others, and why.
    public let floatLayers: [(name: String, reason: String)]
    /// Pictures seen.
    public private(set) var pictures = 0

    let model: Model
    let input: ImageShape
    let batch: Int
    /// In floats, without taps.
    let options: PlanOptions
    private let plan: InferencePlan
    private let workspace: Workspace
    private let convolutions: [CalibratedConvolution]
    /// By the plan's outputs; nil for those that are only outputs.
    private var statistics: [ValueStatistics?]

    /// - Parameters:
    ///   - model: In floats.
    ///   - input: The pictures' size.
    ///   - batch: The most pictures that are observed at once.
    ///   - options: Threads, bytes or floats.
    ///   - keepingFloat: Modules, or what stands before the names of several, that stay in floats.
    /// - Throws: `noSuchNode` for a name that no convolution has, and what compiling throws.
    public init(
        model: Model, input: ImageShape, batch: Int, options: PlanOptions, method: CalibrationMethod = .percentile,
        keepingFloat: [String] = []
    ) throws(ExecutionError) {
        var options = options
        options.precision = .float32
        options.taps = []
        self.options = options
        self.input = input
        self.batch = batch
        let found = try CalibratedConvolution.all(of: model.graph, input: input, options, keepingFloat)
        let names = found.convolutions.flatMap { [$0.input] + ($0.residual.map { [$0] } ?? []) }
        options.taps = Array(Set(names)).sorted()
        let plan = try InferencePlan(model: model, input: input, batch: batch, options: options)
        let firstTap = plan.outputNames.count - options.taps.count
        statistics = plan.outputNames.indices.map { index in
            index < firstTap ? nil : ValueStatistics(channels: plan.outputShape(index).channels)
        }
        self.plan = plan
        workspace = try plan.makeWorkspace()
        self.model = model
        self.method = method
        convolutions = found.convolutions
        layers = found.convolutions.map(\.name)
        floatLayers = found.others
    }

    /// Counts what `images` pictures, as `options.input` says, give.
    /// - Throws: `ExecutionError`, as a run.
    public mutating func observe(_ pictures: UnsafeRawPointer, images: Int) throws(ExecutionError) {
        try plan.run(pictures, images, workspace)
        for index in statistics.indices {
            guard statistics[index] != nil else { continue }
            let shape = plan.outputShape(index)
            workspace.withOutput(index) { values in
                statistics[index]!.add(values.baseAddress!, images: images, valuesAnImage: shape.count)
            }
        }
        self.pictures += images
    }

    /// The model with scales, its weights rounded to what bytes stand for and its biases corrected.
    /// - Parameters:
    ///   - correctsBias: Takes what rounding adds on the average off the biases.
    ///   - layers: Those of `layers` that get 8 bits; nil means all.
    public func quantized(correctsBias: Bool = true, layers: Set<String>? = nil) -> Model {
        var quantization = Quantization(method: method.rawValue, values: [:], weights: [:])
        var result = model
        let names = plan.outputNames
        for convolution in convolutions where layers?.contains(convolution.name) != false {
            for value in [convolution.input] + (convolution.residual.map { [$0] } ?? []) {
                guard let index = names.firstIndex(of: value) else { continue }
                quantization.values[value] = statistics[index]?.scale(method)
            }
            let weight = model[convolution.weight]
            let (weights, rounded) = Self.rounded(weight)
            quantization.weights[convolution.weight] = weights
            result[convolution.weight] = rounded
            guard correctsBias, let index = names.firstIndex(of: convolution.input), let input = statistics[index],
                let correction = convolution.correction(in: model)
            else { continue }
            let errors = Self.meanErrors(weight, rounded, input.means)
            result[correction.key] = correction.applied(to: model[correction.key], errors: errors)
        }
        result.quantization = quantization
        return result
    }

    /// The scales of a weight (K, C, kh, kw), and the values that its bytes stand for.
    ///
    /// The largest byte of an output channel is 127, or less where a pair of neighboring input channels would add up to
    /// more than 128: then all kernels may multiply bytes, which some CPUs do with 16-bit sums. Where one weight stands out,
    /// as in trained networks, it costs next to nothing; where they are normally distributed, half a bit.
    private static func rounded(_ weight: Tensor) -> (Quantization.Weights, Tensor) {
        let channels = weight.shape[0]
        let filter = weight.count / channels
        let taps = weight.shape[2] * weight.shape[3]
        return weight.withUnsafeFloats { values in
            let scales = (0..<channels).map { channel in
                let own = UnsafeBufferPointer(rebasing: values[channel * filter..<(channel + 1) * filter])
                let largest = own.reduce(0) { max($0, abs($1)) }
                // Both weights of a pair may round up: 127 and not 128.
                let size = max(largest, Quantization.Weights.largestPair(own, taps: taps) { abs($0) })
                return size > 0 && size.isFinite ? max(size / 127, .leastNormalMagnitude) : 1
            }
            let bytes = Quantization.Weights(scales: scales, largestSum: 0).bytes(of: values)
            let rounded = bytes.enumerated().map { Float($1) * scales[$0 / filter] }
            return (
                Quantization.Weights(scales: scales, bytes: bytes, taps: taps),
                Tensor(shape: weight.shape, values: rounded)
            )
        }
    }

    /// By output channel: what rounding takes off a result on the average. `means`: by input channel.
    private static func meanErrors(_ weight: Tensor, _ rounded: Tensor, _ means: [Double]) -> [Double] {
        let taps = weight.shape[2] * weight.shape[3]
        return weight.withUnsafeFloats { weight in
            rounded.withUnsafeFloats { rounded in
                stride(from: 0, to: weight.count, by: means.count * taps).map { filter in
                    var error = 0.0
                    for (channel, mean) in means.enumerated() {
                        let first = filter + channel * taps
                        for index in first..<first + taps { error += Double(weight[index] - rounded[index]) * mean }
                    }
                    return error
                }
            }
        }
    }
}

/// A convolution that gets 8 bits, and the values that it reads as bytes.
private struct CalibratedConvolution: Sendable {
    /// Of the module.
    let name: String
    /// Nodes.
    let input: String
    let residual: String?
    let norm: Int?
    let node: Int

    var weight: String { name + ".weight" }

    /// What a convolution's bias is part of.
    struct Correction {
        let key: String
        /// Of the batch norm: what a unit of the convolution's result is worth.
        let factors: [Double]?

        func applied(to bias: Tensor, errors: [Double]) -> Tensor {
            let values = bias.values.enumerated().map { Float(Double($1) + errors[$0] * (factors?[$0] ?? 1)) }
            return Tensor(shape: bias.shape, values: values)
        }
    }

    /// nil where nothing is added to the result.
    func correction(in model: Model) -> Correction? {
        if let norm, case .batchNorm(_, let eps, _) = model.graph.nodes[norm].operation {
            let module = model.graph.nodes[norm].module
            let (gammas, variances) = (model["\(module).weight"].values, model["\(module).running_var"].values)
            let factors = zip(gammas, variances).map { Double($0) / (Double($1) + eps).squareRoot() }
            return Correction(key: "\(module).bias", factors: factors)
        }
        guard case .conv(let spec) = model.graph.nodes[node].operation, spec.bias else { return nil }
        return Correction(key: "\(name).bias", factors: nil)
    }

    /// Those that can: no groups, and an input that is never negative and no picture.
    static func all(
        of graph: Graph, input: ImageShape, _ options: PlanOptions, _ keepingFloat: [String]
    ) throws(ExecutionError) -> (convolutions: [Self], others: [(name: String, reason: String)]) {
        let parts = try PlanParts(graph: graph, quantization: nil, input: input, batch: 1, options: options)
        let program = parts.layout.program
        var convolutions: [Self] = []
        var others: [(name: String, reason: String)] = []
        var unknown = Set(keepingFloat)
        for step in program.steps {
            guard let convolution = step.operation as? Convolution, let node = step.nodes.first else { continue }
            let name = graph.nodes[node].module
            let kept = keepingFloat.filter { name == $0 || name.hasPrefix($0 + ".") }
            unknown.subtract(kept)
            let source = program.values[step.inputs[0]]
            let reader = graph.nodes.firstIndex { $0.name == source.name }
            if !kept.isEmpty {
                others.append((name, "asked for"))
            } else if convolution.spec.groups > 1 {
                others.append((name, "groups"))
            } else if let reader, case .input = graph.nodes[reader].operation {
                others.append((name, "reads the picture"))
            } else if !graph.isNeverNegative(reader) {
                others.append((name, "reads negative values"))
            } else {
                convolutions.append(
                    Self(
                        name: name, input: source.name,
                        residual: convolution.residual.map { program.values[step.inputs[$0]].name },
                        norm: step.nodes.first {
                            if case .batchNorm = graph.nodes[$0].operation { true } else { false }
                        },
                        node: node))
            }
        }
        if let name = unknown.sorted().first { throw .noSuchNode(name) }
        return (convolutions, others)
    }
}

extension NodeShape {
    fileprivate var channels: Int {
        switch self {
        case .map(let map): map.channels
        case .vector(let features): features
        }
    }
}

/// What the values of a node took: a histogram of their sizes whose range doubles as larger ones come, the least and the
/// largest, and the mean of every channel.
private struct ValueStatistics: Sendable {
    private static let bins = 4096
    private var counts = [Int64](repeating: 0, count: Self.bins)
    /// Of the histogram; a power of 2.
    private var range = 0x1p-24
    private var (least, most): (Float, Float) = (0, 0)
    private var sums: [Double]
    private var valuesAChannel = 0

    init(channels: Int) { sums = Array(repeating: 0, count: channels) }

    var means: [Double] { sums.map { $0 / Double(max(valuesAChannel, 1)) } }

    mutating func add(_ values: UnsafePointer<Float>, images: Int, valuesAnImage: Int) {
        let count = images * valuesAnImage
        let plane = valuesAnImage / sums.count
        var (low, high): (Float, Float) = (0, 0)
        precondition(ck_extremes(values, count, &low, &high) == CK_OK, "nothing to count")
        (least, most) = (min(least, low), max(most, high))
        widen(to: Double(max(-low, high)))
        let bins = Int32(Self.bins)
        _ = ck_histogram(values, count, Double(Self.bins) / range, bins, &counts)
        _ = ck_channel_sums(values, Int32(images), Int32(sums.count), plane, &sums)
        valuesAChannel += images * plane
    }

    private mutating func widen(to size: Double) {
        guard size.isFinite else { return }
        while range < size {
            range *= 2
            for bin in 0..<Self.bins / 2 { counts[bin] = counts[2 * bin] + counts[2 * bin + 1] }
            for bin in Self.bins / 2..<Self.bins { counts[bin] = 0 }
        }
    }

    /// Bytes for these values; with a zero of their own where some are negative.
    func scale(_ method: CalibrationMethod) -> Quantization.Scale {
        let size = largest(method)
        let low = max(Double(least), -size)
        let high = min(Double(most), size)
        guard high - low > 0 else { return Quantization.Scale(scale: 1) }
        let scale = Float((high - low) / 255)
        guard scale.isNormal else { return Quantization.Scale(scale: 1) }
        let zero = (-low / Double(scale)).rounded()
        return Quantization.Scale(scale: scale, zeroPoint: Int(min(max(zero, 0), 255)))
    }

    /// The size beyond which values are cut.
    private func largest(_ method: CalibrationMethod) -> Double {
        switch method {
        case .minmax: .infinity
        case .percentile: percentile(0.9999)
        case .mse: leastError()
        }
    }

    private func percentile(_ share: Double) -> Double {
        let total = counts.reduce(0, +)
        let wanted = Int64((share * Double(total)).rounded(.up))
        var below: Int64 = 0
        for (bin, count) in counts.enumerated() {
            below += count
            if below >= wanted { return Double(bin + 1) * range / Double(Self.bins) }
        }
        return range
    }

    /// Of the places between bins: rounding inside costs a twelfth of the squared step, cutting the squared distance.
    private func leastError() -> Double {
        let width = range / Double(Self.bins)
        let levels = least < 0 ? 127.0 : 255
        var (cut, cutSum, cutSquares) = (0.0, 0.0, 0.0)
        var inside = Double(counts.reduce(0, +))
        var best = (error: Double.infinity, size: range)
        for bin in stride(from: Self.bins, to: 0, by: -1) {
            let size = Double(bin) * width
            let step = size / levels
            let error = inside * step * step / 12 + cutSquares - 2 * size * cutSum + size * size * cut
            if error < best.error { best = (error, size) }
            let count = Double(counts[bin - 1])
            let middle = size - width / 2
            inside -= count
            cut += count
            cutSum += count * middle
            cutSquares += count * middle * middle
        }
        return best.size
    }
}
