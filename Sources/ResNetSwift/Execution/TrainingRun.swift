// One pass over one batch, as the kernels of a compiled program see it.
import CKernels
import Glibc
import ResNetSupport

/// What a batch brings along, and what a pass leaves behind.
final class TrainingRun {
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

    let images: Int
    let source: Source
    /// Nil: the logits alone are wanted.
    let target: Target?
    /// The values of the boundary.
    let boundary: [UnsafeRawPointer]
    let arena: UnsafeMutableRawPointer
    /// Of convolutions, used within one step.
    let scratch: UnsafeMutableRawPointer
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
        images: Int, classes: Int, source: Source, target: Target?, boundary: [UnsafeRawPointer],
        arena: UnsafeMutableRawPointer, scratch: UnsafeMutableRawPointer, spare: UnsafeMutablePointer<Float>?,
        dropoutSeed: CounterRandom, gradientScale: Double
    ) {
        self.images = images
        self.source = source
        self.target = target
        self.boundary = boundary
        self.arena = arena
        self.scratch = scratch
        self.spare = spare
        self.dropoutSeed = dropoutSeed
        self.gradientScale = gradientScale
        logits = Array(repeating: 0, count: images * classes)
    }

    /// Gives `body` a place for a parameter's gradient, and adds what it leaves there to what there is.
    func store(
        _ gradient: UnsafeMutablePointer<Float>?, _ count: Int, _ threads: Int32, at position: Int = 0,
        _ body: (UnsafeMutablePointer<Float>?) -> ck_status
    ) -> ck_status {
        guard let gradient, let spare else { return body(gradient) }
        let fresh = spare + position
        let status = body(fresh)
        return status == CK_OK ? ck_accumulate(fresh, gradient, count, 1, threads) : status
    }
}

/// Runs images `start ..< start + count`; whole-batch steps get all images at once.
typealias TrainingKernel = (_ run: TrainingRun, _ start: Int, _ count: Int) -> ck_status

/// Where a value is, resolved to bytes.
struct TrainingAddress {
    enum Region {
        case arena(offset: Int)
        case boundary(Int)
    }

    let region: Region
    /// From one image of the batch to the next; 0 where the buffer holds only a chunk.
    let batchStride: Int
    /// Floats of one image.
    let floats: Int

    func pointer(_ run: TrainingRun, _ start: Int) -> UnsafeMutableRawPointer {
        switch region {
        case .arena(let offset): run.arena + offset + start * batchStride
        case .boundary(let index): UnsafeMutableRawPointer(mutating: run.boundary[index]) + start * batchStride
        }
    }

    func callAsFunction(_ run: TrainingRun, _ start: Int) -> UnsafeMutablePointer<Float> {
        pointer(run, start).assumingMemoryBound(to: Float.self)
    }
}
