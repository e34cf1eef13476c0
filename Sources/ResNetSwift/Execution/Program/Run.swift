// One run as kernels see it: the memory of its values, and where in it each value is.

import ResNetSupport

struct Run {
    let images: Int
    /// Of steps that open threads themselves.
    let threads: Int32
    var picture: UnsafeRawPointer?
    let arena: UnsafeMutableRawPointer
    /// Used within one step.
    let scratch: UnsafeMutableRawPointer
    var outputs: UnsafeMutableRawPointer?
    var constants: UnsafeRawPointer?
    var boundary: [UnsafeRawPointer] = []
    /// Bytes of a picture in a mapped file, whose pages are given back once read; 0: pictures in memory.
    var discardable = 0
    /// By step, added to; nil where nobody asks.
    var nanoseconds: UnsafeMutablePointer<UInt64>?
    /// What a batch brings along and gets back; nil in inference.
    var pass: TrainingPass?
    /// Gradients and running statistics, as `ParameterStore` lays them out; nil in inference.
    var changes: UnsafeMutableRawPointer?
    /// Hears which segments are done; nil where nobody asks.
    var progress: PassProgress?
    /// Where this is part of a larger batch: its sums for the step that runs, as `TotalsReader` has them.
    var totals: UnsafePointer<Double>?
}

/// Where a value is, resolved to bytes.
struct Address: @unchecked Sendable {
    // Unchecked: a fixed address is that of a parameter, which stays in place; who may write to it is the plan's rule.
    enum Region {
        case arena, constants, picture, outputs, changes
        case boundary(Int)
        case fixed(UnsafeMutableRawPointer)
    }

    let region: Region
    let byteOffset: Int
    /// From one image of the batch to the next; 0 where the buffer holds only a chunk.
    let batchStride: Int
    /// From one image of a chunk to the next.
    let imageBytes: Int

    /// The same, in floats.
    var floats: Int { imageBytes / MemoryLayout<Float>.stride }

    /// Where image `start` of the batch, the first of a chunk, is.
    func pointer(_ run: Run, _ start: Int) -> UnsafeMutableRawPointer {
        let base: UnsafeMutableRawPointer =
            switch region {
            case .arena: run.arena
            case .constants: UnsafeMutableRawPointer(mutating: run.constants!)
            case .picture: UnsafeMutableRawPointer(mutating: run.picture!)
            case .outputs: run.outputs!
            case .changes: run.changes!
            case .boundary(let index): UnsafeMutableRawPointer(mutating: run.boundary[index])
            case .fixed(let pointer): pointer
            }
        return base + byteOffset + start * batchStride
    }

    func callAsFunction(_ run: Run, _ start: Int = 0) -> UnsafeMutablePointer<Float> {
        pointer(run, start).assumingMemoryBound(to: Float.self)
    }
}
