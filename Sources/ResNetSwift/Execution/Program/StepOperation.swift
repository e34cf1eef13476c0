// What an operation says of itself, and what it may ask on its way to a kernel. An operation is one file in Operations;
// inference and training use the same one where they compute the same.
//
//     front end: Step(operation, values) --prepare--> kernel chosen, sizes known --places--> addresses --compile--> closure
import CKernels
import ResNetGraph

/// Runs images `start ..< start + count` of the batch through a step; steps of the whole batch get all images at once.
typealias Kernel = @Sendable (_ run: Run, _ start: Int, _ count: Int) -> ck_status

protocol StepOperation: Sendable {
    /// For people, e.g. `conv 3x3/2 + bn + relu`.
    var text: String { get }
    /// Takes any range of images, one range after another.
    var isPerImage: Bool { get }
    /// Of the whole batch, but small: done as soon as what it reads is there, so as not to cut a segment.
    var isHoisted: Bool { get }
    /// Copies what the step before has made: the two are never parted.
    var followsItsSource: Bool { get }
    /// Positions of the inputs that the first result may be written over, the most welcome first.
    var overwritable: [Int] { get }
    /// The result is its inputs, joined along the channels: what lies in place already need not be copied.
    var joinsInputs: Bool { get }

    /// Contents of further inputs that the operation needs for a result of this kind.
    func constants(for result: Value, block: Int) -> [[Float]]
    /// Chooses the kernel for the images that pass at a time.
    func prepare(_ step: StepContext) throws(ExecutionError) -> Preparation
    func compile(_ step: StepContext) -> Kernel
    /// Of a step of the whole batch that takes `Run.totals` where the batch is part of a larger one.
    func totals(_ step: StepContext) -> TotalsReader?
}

extension StepOperation {
    var isPerImage: Bool { true }
    var isHoisted: Bool { false }
    var followsItsSource: Bool { false }
    var overwritable: [Int] { [] }
    var joinsInputs: Bool { false }
    func constants(for result: Value, block: Int) -> [[Float]] { [] }
    func prepare(_ step: StepContext) throws(ExecutionError) -> Preparation { Preparation() }
    func totals(_ step: StepContext) -> TotalsReader? { nil }
}

/// A step's kernel, chosen.
struct Preparation: Sendable {
    /// Of a convolution, and of one in 8 bits.
    var plan: ConvPlan?
    var int8Plan: Int8ConvPlan?
    /// Needed within the step.
    var scratchBytes = 0
    /// Bytes of operands of the whole batch, by value.
    var sizes: [Int: Int] = [:]
    /// The kernel, for people.
    var text = ""
    /// Equal where kernels read each other's packed operands.
    var packedFormat: UInt64?
}

/// What kernels are chosen by.
struct KernelSettings: Sendable {
    /// The most images of a run.
    var batch: Int
    var threads: Int
    /// c
    var block: Int
    var accuracy = Accuracy.default
    var forcedAlgorithm: ConvAlgorithm?
    /// Algorithms are timed, not estimated.
    var measures = false
}

/// A step on its way to its kernel.
struct StepContext {
    let layout: ProgramLayout
    let step: Step
    /// Images that pass at a time.
    let chunk: Int
    let preparation: Preparation
    /// Where parameters and gradients are, by key.
    var parameters: (any ParameterMemory)?

    var settings: KernelSettings { layout.settings }
    var name: String { layout.name(of: step) }

    func value(_ index: Int) -> Value { layout.program.values[index] }
    func inputShape(_ position: Int) -> ImageShape { value(step.inputs[position]).shape }
    var resultShape: ImageShape { value(step.outputs[0]).shape }
    func input(_ position: Int) -> Address { layout.address(step.inputs[position], parameters) }
    func output(_ position: Int) -> Address { layout.address(step.outputs[position], parameters) }
    func update(_ position: Int) -> Address { layout.address(step.updates[position], parameters) }
    /// A parameter that is kept in signed bytes; nil for floats.
    func signedBytes(_ position: Int) -> SignedBytes? {
        guard case .parameter(let key) = value(step.inputs[position]).home else { return nil }
        return parameters?.signedBytes(key)
    }
    /// The first result of a step that may have none: the gradient of an input that needs none.
    var outputIfAny: Address? { step.outputs.isEmpty ? nil : output(0) }
    /// The gradients of two parameters, one after the other among the updates, of those that train.
    func updates(_ firstTrains: Bool, _ secondTrains: Bool) -> (Address?, Address?) {
        (firstTrains ? update(0) : nil, secondTrains ? update(firstTrains ? 1 : 0) : nil)
    }

    /// The kernel that reads the step's first result.
    var readerOfResult: Preparation {
        guard let reader = layout.program.steps.firstIndex(where: { $0.inputs.contains(step.outputs[0]) }) else {
            preconditionFailure("nobody reads what \(name) packs")
        }
        return layout.preparations[reader]
    }
}

/// Memory of a model's parameters; it stays in place as long as the kernels that use it.
protocol ParameterMemory {
    /// A parameter or a statistic; only what trains is written to.
    func parameter(_ key: String) -> ParameterPlace
    /// Of a parameter that trains: bytes from `Run.changes`.
    func gradient(_ key: String) -> Int
    /// A parameter that is kept in signed bytes; nil for floats.
    func signedBytes(_ key: String) -> SignedBytes?
}

extension ParameterMemory {
    func signedBytes(_ key: String) -> SignedBytes? { nil }
}

enum ParameterPlace {
    case fixed(UnsafeMutableRawPointer)
    /// A running statistic that changes: bytes from `Run.changes`.
    case changing(Int)
}

/// The sums that a step needs over the whole batch: reads those of the images of one run.
struct TotalsReader: Sendable {
    /// Doubles; the first is the number of values that each sum has.
    let count: Int
    let read: @Sendable (Run, UnsafeMutablePointer<Double>) -> ck_status
}
