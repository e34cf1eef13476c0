// A batch norm in inference is y = x * scale + shift: it goes into the weights and the bias of the layer before it.
import CKernels
import ResNetGraph

/// The bias and the batch norm of a layer, operands behind its weight: [bias], [gamma, beta, mean, variance] -> second
/// result: bias * scale + shift, of which any may be absent.
struct LayerFold: Sendable, Hashable {
    let channels: Int
    var hasBias: Bool
    /// Of the batch norm.
    var eps: Double?

    /// Writes the bias and gives the factor of each channel; nil: one.
    func compiled(_ step: StepContext) -> @Sendable (Run) -> (ck_status, scale: [Float]?) {
        let bias = hasBias ? step.input(1) : nil
        let target = step.output(1)
        let channels = channels
        let norm = eps.map { BatchNormFold(step, first: hasBias ? 2 : 1, channels: channels, eps: $0) }
        return { run in
            guard let norm else {
                if let bias { target(run).update(from: bias(run), count: channels) }
                return (CK_OK, nil)
            }
            var scale = [Float](repeating: 0, count: channels)
            var shift = scale
            let status = norm.compute(run, &scale, &shift)
            for channel in 0..<channels {
                let own = bias.map { Double($0(run)[channel]) } ?? 0
                target(run)[channel] = Float(own * Double(scale[channel]) + Double(shift[channel]))
            }
            return (status, scale)
        }
    }
}

/// gamma, beta, mean, variance -> scale, shift
struct FoldBatchNorm: StepOperation {
    let channels: Int
    let eps: Double

    var text: String { "fold bn" }
    var isPerImage: Bool { false }

    func compile(_ step: StepContext) -> Kernel {
        let fold = BatchNormFold(step, first: 0, channels: channels, eps: eps)
        let (scale, shift) = (step.output(0), step.output(1))
        return { run, _, _ in fold.compute(run, scale(run), shift(run)) }
    }
}

struct BatchNormFold: Sendable {
    private let operands: [Address]
    private let channels: Int
    private let eps: Double

    /// `first`: position of gamma among the inputs.
    init(_ step: StepContext, first: Int, channels: Int, eps: Double) {
        operands = (first..<first + 4).map(step.input)
        self.channels = channels
        self.eps = eps
    }

    func compute(_ run: Run, _ scale: UnsafeMutablePointer<Float>, _ shift: UnsafeMutablePointer<Float>) -> ck_status {
        ck_bn_fold(
            operands[0](run), operands[1](run), operands[2](run), operands[3](run), eps, Int32(channels), scale, shift)
    }
}

/// x, scale, shift -> y: a batch norm that follows no layer of its own.
struct ScaleShift: StepOperation {
    let relu: Bool

    var text: String { relu ? "bn + relu" : "bn" }
    var overwritable: [Int] { [0] }

    func compile(_ step: StepContext) -> Kernel {
        let (x, scale, shift, y) = (step.input(0), step.input(1), step.input(2), step.output(0))
        let size = step.resultShape.kernelSize
        let relu: Int32 = relu ? 1 : 0
        return { run, start, count in
            ck_scale_shift(
                x(run, start), scale(run), shift(run), Int32(count), size.c, size.h, size.w, y(run, start), relu,
                run.threads)
        }
    }
}

/// -> constants of known contents.
struct FillConstant: StepOperation {
    let contents: [Float]

    var text: String { "constants" }
    var isPerImage: Bool { false }

    func compile(_ step: StepContext) -> Kernel {
        let (target, contents) = (step.output(0), contents)
        return { run, _, _ in
            target(run).update(from: contents, count: contents.count)
            return CK_OK
        }
    }
}

/// Parameters -> constants, which may be longer: zeros stay behind them.
struct CopyParameters: StepOperation {
    /// Of each parameter.
    let counts: [Int]

    var text: String { "copy" }
    var isPerImage: Bool { false }

    func compile(_ step: StepContext) -> Kernel {
        let copies = counts.enumerated().map { (source: step.input($0), target: step.output($0), count: $1) }
        return { run, _, _ in
            for copy in copies { copy.target(run).update(from: copy.source(run), count: copy.count) }
            return CK_OK
        }
    }
}

extension ImageShape {
    /// As kernels take it.
    var kernelSize: (c: Int32, h: Int32, w: Int32) { (Int32(channels), Int32(height), Int32(width)) }
}
