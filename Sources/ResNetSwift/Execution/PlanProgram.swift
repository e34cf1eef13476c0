// What a plan runs: steps over values, after fusion and before memory. Pure data; nothing here knows the C kernels.
//
//     graph      conv1 -> bn1 -> relu -> maxpool -> ...        what the model is
//     program    [conv1 + bn1 + relu + maxpool] -> ...         one step, one pass through memory
//     memory     value 3 at byte 802816 of the arena           MemoryPlan

import ResNetGraph

/// How a value lies in memory.
enum ValueLayout: Sendable, Hashable {
    /// The caller's picture, as `InputKind` says.
    case picture
    /// (N, C/c, H, W, c)
    case blocked
    /// (N, features), rows one after another.
    case plain
}

/// The result of a step: what is stored. Values inside a fused step have no place of their own.
struct PlanValue: Sendable {
    /// The node whose value this is.
    let name: String
    /// Of one image; a vector is (features, 1, 1).
    let shape: ImageShape
    let layout: ValueLayout
    /// Another value with the same bytes: flattening (C, 1, 1) moves nothing.
    var viewOf: Int?

    /// Floats of one image when it has a buffer of its own.
    func floats(block: Int) -> Int {
        switch layout {
        case .picture, .plain: shape.count
        case .blocked: (shape.channels + block - 1) / block * block * shape.height * shape.width
        }
    }
}

/// What follows a convolution in the same pass, once more than elementwise.
enum FusedPool: Sendable, Hashable {
    case none
    /// 3x3, stride 2, padding 1
    case max
    case globalAverage
}

/// A convolution and all that is fused into it.
struct ConvStep: Sendable, Hashable {
    let node: Int
    let spec: ConvSpec
    /// Of one image.
    let input: ImageShape
    /// Its affine map goes into the weights and the bias.
    var batchNorm: Int?
    var addsResidual = false
    var relu = false
    var pool = FusedPool.none
    /// Reads the caller's picture as it is, not a blocked copy of it.
    var readsPicture = false
    /// Runs the algorithm that the options force.
    var isForced = false

    /// A folded batch norm always leaves a shift.
    var hasBias: Bool { spec.bias || batchNorm != nil }
}

/// A linear layer and what is fused into it.
struct LinearStep: Sendable, Hashable {
    let node: Int
    let inFeatures: Int
    let outFeatures: Int
    let bias: Bool
    var batchNorm: Int?
    var relu = false

    var hasBias: Bool { bias || batchNorm != nil }
}

enum StepKind: Sendable, Hashable {
    /// The caller's picture to NCHWc.
    case importPicture
    case conv(ConvStep)
    case linear(LinearStep)
    /// A batch norm that follows no convolution of its own.
    case scaleShift(node: Int, relu: Bool)
    case relu
    case sigmoid
    case add(relu: Bool)
    case maxPool(PoolSpec)
    case averagePool(PoolSpec)
    case globalAveragePool
    /// Copies the inputs that are not already in place.
    case concat
    /// NCHWc to plain (N, C * H * W).
    case flatten
    /// To the caller's output number `port`, plain NCHW.
    case export(port: Int)
}

struct PlanStep: Sendable {
    let kind: StepKind
    /// Nodes in the order they apply; empty for an export.
    let nodes: [Int]
    /// Values read; a convolution's residual is the last.
    let inputs: [Int]
    /// The value written; nil for an export.
    let output: Int?

    var residual: Int? {
        if case .conv(let conv) = kind, conv.addsResidual { return inputs.last }
        return nil
    }
}

/// A node whose value the caller gets, plain NCHW.
struct OutputPort: Sendable {
    let name: String
    let shape: NodeShape
    var value: Int
    /// The step that makes the value writes it straight to the output; else an export step copies it.
    var isDirect = false
}

struct PlanProgram: Sendable {
    var values: [PlanValue] = []
    var steps: [PlanStep] = []
    var ports: [OutputPort] = []

    /// The value that owns the bytes of `value`.
    func base(_ value: Int) -> Int {
        var value = value
        while let next = values[value].viewOf { value = next }
        return value
    }
}
