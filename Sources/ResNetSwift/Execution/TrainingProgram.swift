// What a training step does: operations over values, forward and then backward, after fusion and before memory. Pure data;
// nothing here knows the C kernels.
//
//     forward    [apply bn1, relu] [conv2] [sums bn2]  ->  finish bn2  ->  ...
//     backward   [apply bn2 gradient] [dw conv2] [dx conv2] [sums bn1 gradient]  ->  finish bn1 gradient  ->  ...
//
// Batch norm has parts, since its sums need the whole batch before any image can go on. Between two such points every
// operation takes images one by one, so that a few images at a time can pass through all of them while they are in the
// cache (TrainingSchedule).

import ResNetGraph

/// A buffer of a program.
struct TrainingValue: Sendable {
    enum Storage: Sendable, Hashable {
        /// (N, C/c, H, W, c)
        case blocked
        /// (N, stride), of which the first C of each row count.
        case rows(stride: Int)
        /// (N, C, H, W)
        case planes
        /// Where each maximum of a pool was, (N, C/c, H, W, c) Int32.
        case offsets
        /// Packed filters of one convolution, for the whole batch.
        case packed
        /// Sums and coefficients of one batch norm, for the whole batch.
        case sums
    }

    /// The node it belongs to.
    let node: Int
    /// Of one image.
    let shape: ImageShape
    let storage: Storage
    /// Gradients are named by what they are the gradient of.
    var isGradient = false
    /// Given from outside: the position in the boundary. It has no place in the arena and nobody may write to it.
    var boundary: Int?

    var isPerImage: Bool {
        switch storage {
        case .packed, .sums: false
        default: true
        }
    }

    /// Floats of one image.
    func floats(block: Int) -> Int {
        switch storage {
        case .blocked, .offsets: (shape.channels + block - 1) / block * block * shape.height * shape.width
        case .rows(let stride): stride
        case .planes: shape.count
        case .packed, .sums: preconditionFailure("a value of the whole batch has no images")
        }
    }
}

/// What the backward pass of a batch norm computes; the same in all of its parts. The bias of a convolution is treated as
/// a batch norm of which only the shift trains.
struct NormGradient: Sendable, Hashable {
    let node: Int
    /// The mean and the variance are the batch's.
    let usesBatch: Bool
    /// ReLU follows.
    let relu: Bool
    /// The mask of the ReLU comes from its result and is applied to the gradient in place; else it is computed again.
    let masksInPlace: Bool
    let scaleTrains: Bool
    let shiftTrains: Bool
    var isBias = false

    var hasSums: Bool { usesBatch || scaleTrains || shiftTrains || masksInPlace }
    /// The part reads x besides the gradient.
    var sumsReadX: Bool { usesBatch || scaleTrains || (relu && !masksInPlace) }
    var applyReadsX: Bool { usesBatch || (relu && !masksInPlace) }
}

/// Operands in this order: inputs, then results, then what is read and written.
enum TrainingOperation: Sendable, Hashable {
    // MARK: given values
    /// -> planes. The caller's pictures.
    case loadPictures
    /// -> rows. The caller's features.
    case loadFeatures
    /// planes -> blocked
    case importPlanes

    // MARK: convolution
    /// -> packed filters
    case pack(node: Int)
    /// x, packed -> y
    case conv(node: Int, relu: Bool)
    /// x, dy
    case convWeightGradient(node: Int)
    /// dy, packed -> dx; accumulates: dy, packed, and dx is added to
    case convDataGradient(node: Int, accumulates: Bool)

    // MARK: batch norm
    /// x -> sums
    case normSums(node: Int)
    /// with statistics of the batch: sums; else -> sums
    case normFinish(node: Int, usesBatch: Bool)
    /// x [residual] -> y; sums, or in backward x [residual] -> y, sums
    case normApply(node: Int, relu: Bool, addsResidual: Bool)
    /// dy [x] -> sums; where it masks in place: y [x] -> sums, and dy is masked
    case normGradientSums(NormGradient)
    /// with sums: sums; else -> sums
    case normGradientFinish(NormGradient)
    /// dy, sums [x] -> dx
    case normGradientApply(NormGradient)

    // MARK: the rest, forward
    case relu, sigmoid
    case add(relu: Bool)
    /// x -> y, offsets
    case maxPool(PoolSpec)
    case averagePool(PoolSpec)
    case globalAveragePool
    case concat
    /// blocked -> rows
    case flatten
    case linear(node: Int, relu: Bool)
    /// Forward and backward alike.
    case dropout(node: Int, probability: Double)

    // MARK: and backward
    /// y, dy -> dx
    case reluGradient, sigmoidGradient
    /// offsets, dy -> dx
    case maxPoolGradient(PoolSpec)
    /// dy -> dx
    case averagePoolGradient(PoolSpec)
    case globalAveragePoolGradient
    case concatSlice(offset: Int)
    case unflatten
    /// x, dy -> [dx]
    case linearGradient(node: Int)
    /// source; target
    case accumulate
    /// source -> copy
    case copy
    /// logits -> [gradient of the logits]. Hands the logits to the caller.
    case loss

    /// Takes any range of images, one range after another.
    var isPerImage: Bool {
        switch self {
        case .loadPictures, .loadFeatures, .pack, .normFinish, .normGradientFinish, .linear, .linearGradient, .loss:
            false
        // Over the whole batch: sums that are stored and added to a few images at a time cost more than they save.
        case .convWeightGradient: false
        default: true
        }
    }

    /// Depends on few values, so that it may be done as soon as they are there.
    var isHoisted: Bool {
        switch self {
        case .pack, .normFinish, .normGradientFinish: true
        default: false
        }
    }
}

struct TrainingStep: Sendable {
    let operation: TrainingOperation
    let inputs: [Int]
    /// Written completely; nobody has written them before.
    let outputs: [Int]
    /// Read and changed.
    let updates: [Int]
    /// The node it works for, for names.
    let node: Int
    let isBackward: Bool

    var touched: [Int] { inputs + outputs + updates }
}

struct TrainingProgram: Sendable {
    var values: [TrainingValue] = []
    var steps: [TrainingStep] = []
    /// Nodes whose values come from outside, by `TrainingValue.boundary`.
    var boundary: [Int] = []
}
