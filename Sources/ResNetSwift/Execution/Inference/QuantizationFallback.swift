// Layers that 8 bits hurt go back to floats, the worst first, until the network agrees with the float one as often as asked.
//
//     every layer alone in bytes, some pictures --squared error of the logits--> order
//     all in bytes, all pictures --too few agree--> the next of the order back to floats --> all pictures again
//
// The same search as NNCF's quantize_with_accuracy_control, without labels. Nothing in it is random.
import CKernels
import ResNetGraph

/// Decides which convolutions of a calibrated model stay in floats for the sake of an agreement.
public struct QuantizationFallback: Sendable {
    /// A convolution that went back to floats.
    public struct Step: Sendable, Hashable {
        /// By the name of its module.
        public let layer: String
        /// The squared error of the logits with this layer alone in bytes, as a share of the logits' squares.
        public let error: Double
    }

    /// Calls its argument with pictures that lie one after the other, as the calibration's options say, and how many they
    /// are: all of them, at most the calibration's batch at a time, in the same order each time.
    public typealias Pictures = ((UnsafeRawPointer, Int) throws -> Void) throws -> Void

    /// What went back, in this order.
    public private(set) var steps: [Step] = []
    /// The convolutions that have 8 bits.
    public private(set) var layers: Set<String>
    /// With these.
    public private(set) var model: Model

    /// Pictures that the order of layers is found by.
    private static let rankingPictures = 32

    private let calibration: Calibration
    private let correctsBias: Bool
    /// (pictures, classes), in floats.
    private let logits: [Float]
    private let classes: Int

    /// Searches.
    /// - Parameters:
    ///   - calibration: That has seen the pictures.
    ///   - agreement: The share of pictures of which both networks must say the same class.
    ///   - correctsBias: As for `Calibration.quantized`.
    ///   - pictures: Called several times.
    ///   - progress: Called as layers go back.
    /// - Throws: What `pictures` throws, and `ExecutionError`.
    public init(
        _ calibration: Calibration, agreement: Double, correctsBias: Bool = true, pictures: Pictures,
        progress: (Step) -> Void = { _ in }
    ) throws {
        self.calibration = calibration
        self.correctsBias = correctsBias
        let float = try InferencePlan(
            model: calibration.model, input: calibration.input, batch: calibration.batch, options: calibration.options)
        classes = float.outputShape(0).count
        logits = try Self.logits(float, pictures)
        layers = Set(calibration.layers)
        model = calibration.quantized(correctsBias: correctsBias)
        guard try !agrees(agreement, pictures) else { return }
        for step in try order(pictures) {
            steps.append(step)
            layers.remove(step.layer)
            progress(step)
            if layers.isEmpty { break }
            model = calibration.quantized(correctsBias: correctsBias, layers: layers)
            if try agrees(agreement, pictures) { return }
        }
        model = calibration.model
    }

    /// Thrown by the closure that a pass over pictures is given, to end it.
    private struct Enough: Error {}

    private func plan(_ model: Model) throws(ExecutionError) -> InferencePlan {
        var options = calibration.options
        options.precision = .int8
        return try InferencePlan(
            model: model, input: calibration.input, batch: calibration.batch, options: options)
    }

    private static func logits(_ plan: InferencePlan, _ pictures: Pictures) throws -> [Float] {
        var result: [Float] = []
        let workspace = try plan.makeWorkspace()
        try pictures { batch, images in
            try plan.run(batch, images, workspace)
            workspace.withOutput(0) { result += $0[..<(images * plan.outputShape(0).count)] }
        }
        return result
    }

    /// Runs pictures through `plan`, with the float network's logits beside its own, until `body` says it has enough.
    private func compare(
        _ plan: InferencePlan, _ pictures: Pictures,
        _ body:
            @escaping (_ float: UnsafeBufferPointer<Float>, _ bytes: UnsafeBufferPointer<Float>, _ images: Int) -> Bool
    ) throws {
        let workspace = try plan.makeWorkspace()
        var done = 0
        do {
            try pictures { batch, images in
                try plan.run(batch, images, workspace)
                let goesOn = logits.withUnsafeBufferPointer { logits in
                    let float = UnsafeBufferPointer(rebasing: logits[done * classes..<(done + images) * classes])
                    return workspace.withOutput(0) { body(float, $0, images) }
                }
                done += images
                if !goesOn { throw Enough() }
            }
        } catch is Enough {}
    }

    /// Whether the model in bytes says the same often enough; stops where too many differ.
    private func agrees(_ agreement: Double, _ pictures: Pictures) throws -> Bool {
        let count = logits.count / max(classes, 1)
        func isEnough(_ different: Int) -> Bool { Double(count - different) >= agreement * Double(count) }
        var different = 0
        try compare(try plan(model), pictures) { float, bytes, images in
            different += images - agreements(float, bytes, classes: classes, images: images)
            return isEnough(different)
        }
        return isEnough(different)
    }

    /// The layer whose bytes alone change the logits most comes first; of equal ones that which runs first.
    private func order(_ pictures: Pictures) throws -> [Step] {
        var steps: [Step] = []
        for layer in calibration.layers {
            let alone = calibration.quantized(correctsBias: correctsBias, layers: [layer])
            var sums = [0.0, 0, 0, 0]
            var seen = 0
            try compare(try plan(alone), pictures) { float, bytes, images in
                _ = ck_compare(float.baseAddress!, bytes.baseAddress!, images * classes, &sums)
                seen += images
                return seen < Self.rankingPictures
            }
            steps.append(Step(layer: layer, error: sums[0] > 0 ? sums[3] / sums[0] : 0))
        }
        return steps.enumerated().sorted { ($1.element.error, $0.offset) < ($0.element.error, $1.offset) }.map(
            \.element)
    }
}
