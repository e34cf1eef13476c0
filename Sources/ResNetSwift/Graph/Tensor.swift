// A dense float32 array in row-major order: the currency between weight files, models and plans.
//
// Storage may be a view into a memory-mapped file (nothing is copied until somebody writes) or memory of its own.

import ResNetSupport
import Synchronization

/// Floats with an owner: keeps the mapping or the allocation alive as long as a tensor looks at it.
public final class FloatStorage: @unchecked Sendable {
    /// The first float. Floats that signed bytes stand for are made when first asked for.
    public var base: UnsafePointer<Float> { given ?? floats().base }
    /// Floats.
    public let count: Int
    /// True where the floats are a view of a read-only file mapping.
    public let isFileBacked: Bool
    /// What the floats are made from, if they are not there.
    package let signedBytes: SignedBytes?
    private let given: UnsafePointer<Float>?
    private let made = AtomicLazyReference<FloatStorage>()
    private let release: @Sendable () -> Void

    /// Adopts `count` floats at `base`; `release` runs when the last tensor lets go.
    /// - Parameters:
    ///   - base: aligned to 4 bytes; nobody may write there any more.
    ///   - count: floats.
    ///   - isFileBacked: say true only for a read-only mapping of a file; see `discardPages`.
    ///   - release: gives the memory back; called once, on any thread.
    public init(
        base: UnsafePointer<Float>, count: Int, isFileBacked: Bool = false, release: @escaping @Sendable () -> Void
    ) {
        given = base
        signedBytes = nil
        self.count = count
        self.isFileBacked = isFileBacked
        self.release = release
    }

    /// The floats that `bytes` stand for.
    package init(_ bytes: SignedBytes) {
        given = nil
        signedBytes = bytes
        count = bytes.count
        isFileBacked = false
        release = {}
    }

    /// False for floats that nobody has asked for yet.
    package var hasFloats: Bool { given != nil || made.load() != nil }

    /// Two threads may both make them; one copy stays.
    private func floats() -> FloatStorage { made.load() ?? made.storeIfNil(signedBytes!.floats()) }

    /// Gives the memory of a view of a file back to the system, after it has been consumed (by packing the weights,
    /// for example). The values stay: they are read from the file again when touched. Memory that is not mapped is left alone.
    public func discardPages() {
        if let signedBytes { return signedBytes.discardPages() }
        if isFileBacked { discardFilePages(base, count * MemoryLayout<Float>.stride) }
    }

    /// Fresh memory that `fill` initializes completely.
    public convenience init(count: Int, fill: (UnsafeMutableBufferPointer<Float>) throws -> Void) rethrows {
        let memory = UnsafeMutableBufferPointer<Float>.allocate(capacity: max(count, 1))
        do { try fill(UnsafeMutableBufferPointer(rebasing: memory[..<count])) } catch {
            memory.deallocate()
            throw error
        }
        nonisolated(unsafe) let owned = memory
        self.init(base: UnsafePointer(memory.baseAddress!), count: count, release: { owned.deallocate() })
    }

    deinit { release() }
}

/// Float32 values of a shape, row-major. Copies share storage; values are immutable.
public struct Tensor: Sendable {
    /// Sizes, the slowest axis first; empty for a single value.
    public let shape: [Int]
    /// Where the values are.
    public let storage: FloatStorage

    /// A view of all of `storage`; nothing is copied.
    /// - Precondition: the storage holds exactly the shape's number of elements.
    public init(shape: [Int], storage: FloatStorage) {
        precondition(shape.reduce(1, *) == storage.count, "shape \(shape) does not hold \(storage.count) values")
        self.shape = shape
        self.storage = storage
    }

    /// Copies `values`, row-major.
    /// - Precondition: as many as the shape holds.
    public init(shape: [Int], values: [Float]) {
        self.init(
            shape: shape,
            storage: FloatStorage(count: values.count) { target in _ = target.initialize(from: values) })
    }

    /// Every element is `value`.
    public init(shape: [Int], repeating value: Float) {
        self.init(
            shape: shape,
            storage: FloatStorage(count: shape.reduce(1, *)) { $0.initialize(repeating: value) })
    }

    /// Elements.
    public var count: Int { storage.count }

    /// A copy, row-major.
    public var values: [Float] { withUnsafeFloats { Array($0) } }

    /// Entries `range` of the first axis, as a view: nothing is copied, and the whole storage lives as long as the view.
    /// - Precondition: the tensor has a first axis, and `range` lies within it.
    public func entries(_ range: Range<Int>) -> Tensor {
        precondition(
            !shape.isEmpty && range.lowerBound >= 0 && range.upperBound <= shape[0], "entries \(range) of \(shape)")
        let size = shape.dropFirst().reduce(1, *)
        let storage = storage
        return Tensor(
            shape: [range.count] + shape.dropFirst(),
            storage: FloatStorage(
                base: storage.base + range.lowerBound * size, count: range.count * size,
                isFileBacked: storage.isFileBacked, release: { _ = storage }))
    }

    /// The values where they lie, row-major, valid during the call.
    public func withUnsafeFloats<R>(_ body: (UnsafeBufferPointer<Float>) throws -> R) rethrows -> R {
        try withExtendedLifetime(storage) { try body(UnsafeBufferPointer(start: storage.base, count: storage.count)) }
    }
}
