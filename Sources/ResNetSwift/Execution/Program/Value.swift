// What a step reads or writes: how it lies in memory, of which elements, and whose memory it is.
//
//     value      arena: activations, gradients     constant: packed filters, folded biases     parameter: weights that train
//     its bytes  are asked of it; nobody else multiplies by the size of a float

import ResNetGraph

/// One number of a value.
enum ValueElement: Sendable, Hashable {
    case uint8, int8, bfloat16, int32, float32

    var bytes: Int {
        switch self {
        case .uint8, .int8: 1
        case .bfloat16: 2
        case .int32, .float32: 4
        }
    }

    /// Of weights, behind the name of what reads them.
    var note: String { self == .bfloat16 ? ", bf16 weights" : "" }
}

/// How a value lies in memory; c is the channel block.
enum ValueStorage: Sendable, Hashable {
    /// (N, C/c, H, W, c)
    case blocked
    /// (N, C, H, W)
    case planes
    /// (N, H, W, C)
    case pixels
    /// (N, stride), of which the first C of each row count.
    case rows(stride: Int)
    /// Of the whole batch, no image has a part of its own. nil: the operation that uses it says how many bytes it has.
    case whole(elements: Int?)
}

/// Whose memory a value lies in.
enum ValueHome: Sendable, Hashable {
    /// The run's, shared by liveness.
    case arena
    /// The plan's, written once by a setup step.
    case constant
    /// The caller's pictures.
    case picture
    /// The caller's output.
    case output(port: Int)
    /// What a frozen part hands over, by position; nobody may write to it.
    case boundary(Int)
    /// A model's parameter or statistic, and the gradient of one, by key.
    case parameter(String)
    case gradient(String)
}

struct Value: Sendable {
    /// Of the node whose value or parameter this is.
    let name: String
    /// Of one image; a vector is (features, 1, 1).
    let shape: ImageShape
    let storage: ValueStorage
    var element = ValueElement.float32
    var home = ValueHome.arena
    /// Another value with the same bytes: flattening (C, 1, 1) moves nothing.
    var viewOf: Int?

    var isPerImage: Bool {
        if case .whole = storage { false } else { true }
    }

    /// Bytes of one image when it has a buffer of its own; 0 for a value that no image has a part of.
    func imageBytes(block: Int) -> Int {
        let count =
            switch storage {
            case .blocked: roundedUp(shape.channels, to: block) * shape.height * shape.width
            case .planes, .pixels: shape.count
            case .rows(let stride): stride
            case .whole: 0
            }
        return count * element.bytes
    }

    /// Bytes of a value of the whole batch, where it knows them itself.
    var wholeBytes: Int? {
        if case .whole(let elements?) = storage { elements * element.bytes } else { nil }
    }
}

func roundedUp(_ count: Int, to multiple: Int) -> Int { (count + multiple - 1) / multiple * multiple }
