// What 8 bits do to a network: its float plan and its int8 plan side by side on the same pictures.
import CKernels
import Glibc
import ResNetGraph
import ResNetSupport

/// Runs a model and its quantized form side by side.
public struct QuantizationComparison: Sendable {
    /// How near the results of one layer are.
    public struct Layer: Sendable, Hashable {
        /// The node whose value is compared: what the layer gives after its ReLU.
        public let name: String
        /// The power of the signal over that of the difference, in decibels.
        public let sqnr: Double
        /// Of the angle between the two; 1 for equal ones.
        public let cosine: Double
    }

    /// Pictures compared.
    public private(set) var pictures = 0
    /// Those of which both say the same class; of a network with one output, the same answer.
    public private(set) var agreeing = 0

    private let plans: [InferencePlan]
    private let workspaces: [Workspace]
    /// By output: sums of a a, b b, a b, (a - b)^2.
    private var sums: [[Double]]

    /// - Parameters:
    ///   - original: In floats.
    ///   - quantized: What `Calibration` made of it.
    ///   - input: The pictures' size.
    ///   - batch: The most pictures that are compared at once.
    ///   - options: Threads, bytes or floats.
    /// - Throws: What compiling throws.
    public init(
        original: Model, quantized: Model, input: ImageShape, batch: Int, options: PlanOptions
    ) throws(ExecutionError) {
        var options = options
        options.precision = .float32
        options.taps = []
        let parts = try PlanParts(
            graph: quantized.graph, quantization: quantized.quantization, input: input, batch: 1,
            options: PlanOptions(input: options.input))
        let program = parts.layout.program
        options.taps = program.steps.compactMap { (step) -> String? in
            guard let convolution = step.operation as? Convolution, convolution.int8 != nil, convolution.relu else {
                return nil
            }
            return program.values[step.outputs[0]].name
        }
        let float = try InferencePlan(model: original, input: input, batch: batch, options: options)
        options.precision = .int8
        let int8 = try InferencePlan(model: quantized, input: input, batch: batch, options: options)
        plans = [float, int8]
        workspaces = [try float.makeWorkspace(), try int8.makeWorkspace()]
        sums = Array(repeating: [0, 0, 0, 0], count: float.outputNames.count)
    }

    /// Runs `images` pictures, as `options.input` says, through both.
    /// - Throws: `ExecutionError`, as a run.
    public mutating func compare(_ pictures: UnsafeRawPointer, images: Int) throws(ExecutionError) {
        for (plan, workspace) in zip(plans, workspaces) { try plan.run(pictures, images, workspace) }
        for index in sums.indices {
            let size = plans[0].outputShape(index).count
            workspaces[0].withOutput(index) { a in
                workspaces[1].withOutput(index) { b in
                    _ = ck_compare(a.baseAddress!, b.baseAddress!, images * size, &sums[index])
                    if index == 0 { agreeing += agreements(a, b, classes: size, images: images) }
                }
            }
        }
        self.pictures += images
    }

    /// The layers in 8 bits, in the order in which they run; the logits last.
    public var layers: [Layer] {
        let names = plans[0].outputNames
        let firstTap = plans[0].graph.features == nil ? 1 : 2
        return (Array(names.indices.dropFirst(firstTap)) + [0]).map { index in
            let sums = sums[index]
            let norm = (sums[0] * sums[1]).squareRoot()
            let ratio = sums[3] > 0 ? sums[0] / sums[3] : .infinity
            return Layer(
                name: names[index], sqnr: 10 * log10(ratio), cosine: norm > 0 ? sums[2] / norm : 1)
        }
    }
}

/// Of how many images both logits, (images, classes), say the same class.
func agreements(
    _ a: UnsafeBufferPointer<Float>, _ b: UnsafeBufferPointer<Float>, classes: Int, images: Int
) -> Int {
    func answer(_ values: UnsafeBufferPointer<Float>, _ image: Int) -> Int {
        let first = image * classes
        if classes == 1 { return values[first] > 0 ? 1 : 0 }
        return (first..<first + classes).reduce(first) { values[$1] > values[$0] ? $1 : $0 }
    }
    return (0..<images).count { answer(a, $0) == answer(b, $0) }
}
