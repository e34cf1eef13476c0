// Operations on one number at a time: activations, sums, dropout, forward and backward.
import CKernels
import Glibc

/// x -> y
struct Relu: StepOperation {
    var text: String { "relu" }
    var overwritable: [Int] { [0] }
    func compile(_ step: StepContext) -> Kernel { elementwise(step) { ck_relu($0, $1, $2, $3) } }
}

/// y, dy -> dx
struct ReluGradient: StepOperation {
    var text: String { "relu dx" }
    var overwritable: [Int] { [1, 0] }
    func compile(_ step: StepContext) -> Kernel { elementwise(step) { ck_relu_backward($0, $1, $2, $3, $4) } }
}

/// x, [mask, zeros] -> y
struct Sigmoid: StepOperation {
    var text: String { "sigmoid" }
    var overwritable: [Int] { [0] }

    /// sigmoid(0) is a half.
    func constants(for result: Value, block: Int) -> [[Float]] { surplusMask(for: result, block: block) }

    func compile(_ step: StepContext) -> Kernel { masked(step, elementwise(step) { ck_sigmoid($0, $1, $2, $3) }) }
}

/// x, [mask, zeros] -> y
struct Clip: StepOperation {
    let low: Float
    let high: Float

    var text: String { "clip \(low)...\(high)" }
    var overwritable: [Int] { [0] }

    func constants(for result: Value, block: Int) -> [[Float]] {
        low <= 0 && high >= 0 ? [] : surplusMask(for: result, block: block)
    }

    func compile(_ step: StepContext) -> Kernel {
        let (low, high) = (low, high)
        return masked(step, elementwise(step) { ck_clip($0, low, high, $1, $2, $3) })
    }
}

/// y, dy -> dx
struct ClipGradient: StepOperation {
    let low: Float
    let high: Float

    var text: String { "clip dx" }
    var overwritable: [Int] { [1, 0] }

    func compile(_ step: StepContext) -> Kernel {
        let (low, high) = (low, high)
        return elementwise(step) { ck_clip_backward($0, $1, low, high, $2, $3, $4) }
    }
}

/// Ones for the channels of a map and zeros for the surplus ones, then zeros; nothing where there are no surplus channels.
private func surplusMask(for result: Value, block: Int) -> [[Float]] {
    let channels = result.shape.channels
    guard result.storage == .blocked, channels % block != 0 else { return [] }
    let zeros = [Float](repeating: 0, count: roundedUp(channels, to: block))
    return [zeros.indices.map { $0 < channels ? 1 : 0 }, zeros]
}

/// What `function` makes of zero goes back to zero in the surplus channels, where there are constants for it.
private func masked(_ step: StepContext, _ function: @escaping Kernel) -> Kernel {
    guard step.step.inputs.count > 1 else { return function }
    let (mask, zeros, y) = (step.input(1), step.input(2), step.output(0))
    let size = step.resultShape.kernelSize
    return { run, start, count in
        let status = function(run, start, count)
        guard status == CK_OK else { return status }
        let y = y(run, start)
        return ck_scale_shift(y, mask(run), zeros(run), Int32(count), size.c, size.h, size.w, y, 0, run.threads)
    }
}

/// y, dy -> dx
struct SigmoidGradient: StepOperation {
    var text: String { "sigmoid dx" }
    var overwritable: [Int] { [1, 0] }
    func compile(_ step: StepContext) -> Kernel { elementwise(step) { ck_sigmoid_backward($0, $1, $2, $3, $4) } }
}

/// x -> y
struct Gelu: StepOperation {
    var text: String { "gelu" }
    var overwritable: [Int] { [0] }
    func compile(_ step: StepContext) -> Kernel { elementwise(step) { ck_gelu($0, $1, $2, $3) } }
}

/// x, dy -> dx
struct GeluGradient: StepOperation {
    var text: String { "gelu dx" }
    var overwritable: [Int] { [1, 0] }
    func compile(_ step: StepContext) -> Kernel { elementwise(step) { ck_gelu_backward($0, $1, $2, $3, $4) } }
}

/// a, b -> a + b
struct Add: StepOperation {
    let relu: Bool

    var text: String { relu ? "add + relu" : "add" }
    var overwritable: [Int] { [0, 1] }

    func compile(_ step: StepContext) -> Kernel {
        let relu: Int32 = relu ? 1 : 0
        return elementwise(step) { ck_add($0, $1, $2, $3, relu, $4) }
    }
}

/// x -> y, or dy -> dx: which values are dropped is a function of the step's seed, the node and the place.
struct Dropout: StepOperation {
    let node: Int
    let probability: Double

    var text: String { "dropout" }
    var overwritable: [Int] { [0] }

    func compile(_ step: StepContext) -> Kernel {
        let (x, y, node, probability) = (step.input(0), step.output(0), UInt64(node), probability)
        return { run, start, count in
            ck_dropout(
                x(run, start), y(run, start), count * y.floats, probability, run.pass!.dropoutSeed.bits(node),
                UInt64(start * y.floats), run.threads)
        }
    }
}

/// x -> y, or dy -> dx: which images are left out is a function of the step's seed, the node and the image.
struct DropPath: StepOperation {
    let node: Int
    let probability: Double

    var text: String { "drop path" }
    var overwritable: [Int] { [0] }

    func compile(_ step: StepContext) -> Kernel {
        let (x, y, node, probability) = (step.input(0), step.output(0), UInt64(node), probability)
        return { run, start, count in
            ck_drop_path(
                x(run, start), y(run, start), Int32(count), y.floats, probability, run.pass!.dropoutSeed.bits(node),
                UInt64(start), run.threads)
        }
    }
}

/// x is added to; the sum grows.
struct Accumulate: StepOperation {
    var text: String { "accumulate" }

    func compile(_ step: StepContext) -> Kernel {
        let (x, sum) = (step.input(0), step.update(0))
        return { run, start, count in
            ck_accumulate(x(run, start), sum(run, start), count * sum.floats, 1, run.threads)
        }
    }
}

/// x -> a copy of it
struct Copy: StepOperation {
    var text: String { "copy" }

    func compile(_ step: StepContext) -> Kernel {
        let (x, y) = (step.input(0), step.output(0))
        return { run, start, count in
            memcpy(y(run, start), x(run, start), count * y.imageBytes)
            return CK_OK
        }
    }
}

// MARK: - Kernels

/// One call over all images of a chunk where they lie without gaps, else one an image.
struct ImageRows: Sendable {
    /// Of one image of the result.
    let floats: Int
    private let hasGaps: Bool

    /// `inputs`: positions of those that have images.
    init(_ step: StepContext, inputs: Int) {
        let bytes = step.value(step.step.outputs[0]).imageBytes(block: step.settings.block)
        hasGaps = ((0..<inputs).map(step.input) + [step.output(0)]).contains { $0.imageBytes != bytes }
        floats = bytes / MemoryLayout<Float>.stride
    }

    /// `body` gets the first image and the number of floats.
    func callAsFunction(_ count: Int, _ body: (Int, Int) -> ck_status) -> ck_status {
        guard hasGaps, count > 1 else { return body(0, count * floats) }
        for image in 0..<count {
            let status = body(image, floats)
            guard status == CK_OK else { return status }
        }
        return CK_OK
    }
}

private typealias Floats = UnsafeMutablePointer<Float>

/// `function`: x, y, count, threads
private func elementwise(
    _ step: StepContext, _ function: @escaping @Sendable (Floats, Floats, Int, Int32) -> ck_status
) -> Kernel {
    let (x, y, rows) = (step.input(0), step.output(0), ImageRows(step, inputs: 1))
    return { run, start, count in
        let (from, to) = (x(run, start), y(run, start))
        return rows(count) { function(from + $0 * x.floats, to + $0 * y.floats, $1, run.threads) }
    }
}

/// `function`: a, b, y, count, threads
private func elementwise(
    _ step: StepContext, _ function: @escaping @Sendable (Floats, Floats, Floats, Int, Int32) -> ck_status
) -> Kernel {
    let (a, b, y, rows) = (step.input(0), step.input(1), step.output(0), ImageRows(step, inputs: 2))
    return { run, start, count in
        let (one, other, to) = (a(run, start), b(run, start), y(run, start))
        return rows(count) {
            function(one + $0 * a.floats, other + $0 * b.floats, to + $0 * y.floats, $1, run.threads)
        }
    }
}
