// What a batch brings along into a run, and what the run leaves behind.
import CKernels
import Glibc
import ResNetSupport

final class TrainingPass {
    enum Source {
        /// (N, H, W, C) and the affine map of each channel.
        case bytes(UnsafePointer<UInt8>, scale: [Float], shift: [Float])
        /// (N, C, H, W), or features (N, F).
        case floats(UnsafePointer<Float>)
    }

    enum Target {
        case classes([Int32])
        /// (N, classes): probabilities, or what each label is.
        case dense(UnsafePointer<Float>)
    }

    let source: Source
    let target: Target
    /// Where a gradient goes that is to be added to another; nil where there is nothing yet.
    let spare: UnsafeMutablePointer<Float>?
    let dropoutSeed: CounterRandom
    let gradientScale: Double
    /// Whether there are gradients already that this run's are added to.
    var accumulates: Bool { spare != nil }

    var loss = ck_loss(mean: 0, weight: 0)
    /// (N, classes)
    var logits: [Float]

    init(
        source: Source, target: Target, logits: Int, spare: UnsafeMutablePointer<Float>?, dropoutSeed: CounterRandom,
        gradientScale: Double
    ) {
        self.source = source
        self.target = target
        self.spare = spare
        self.dropoutSeed = dropoutSeed
        self.gradientScale = gradientScale
        self.logits = Array(repeating: 0, count: logits)
    }
}

extension Run {
    /// Gives `body` a place for a parameter's gradient of so many floats, and adds what it leaves there to what there is.
    /// `position`: in the spare memory, where one kernel makes two.
    func store(
        _ gradient: Address?, _ count: Int, at position: Int = 0, _ body: (UnsafeMutablePointer<Float>?) -> ck_status
    ) -> ck_status {
        guard let gradient, let spare = pass?.spare else { return body(gradient.map { $0(self) }) }
        let fresh = spare + position
        let status = body(fresh)
        return status == CK_OK ? ck_accumulate(fresh, gradient(self), count, 1, threads) : status
    }
}

/// -> planes or rows: the batch's pictures or features.
struct LoadBatch: StepOperation {
    var text: String { "load" }
    var isPerImage: Bool { false }

    func compile(_ step: StepContext) -> Kernel {
        let (y, size) = (step.output(0), step.resultShape.kernelSize)
        return { run, _, images in
            switch run.pass!.source {
            case .bytes(let bytes, let scale, let shift):
                return ck_nhwc8_to_nchw(
                    bytes, Int32(images), size.c, size.h, size.w, scale, shift, y(run), run.threads)
            case .floats(let floats):
                memcpy(y(run), floats, images * y.imageBytes)
                return CK_OK
            }
        }
    }
}
