// Sums of shards in the order of a binary tree, which does not depend on who computes the shards.

import CKernels
import ResNetSupport

/// Adds vectors in the order of a binary tree, as few of them in memory as the tree is deep. Of numbers that are to be
/// bfloat16 the vectors, and each sum of two, which is computed in float32, are rounded to the nearest, ties to even: so the
/// order alone decides the bits, and a sum that is sent as bfloat16 loses nothing on its way.
public final class TreeSum {
    private var stack: [(level: Int, values: UnsafeMutableBufferPointer<Float>)] = []
    private var spare: [UnsafeMutableBufferPointer<Float>] = []
    /// Floats of a vector.
    public let count: Int
    /// Those that are rounded to bfloat16.
    public let rounded: Range<Int>

    /// - Parameters:
    ///   - count: Floats of a vector.
    ///   - rounded: Those that are rounded to bfloat16; none by default.
    public init(count: Int, rounded: Range<Int> = 0..<0) {
        self.count = count
        self.rounded = rounded
    }

    deinit {
        for entry in stack { UnsafeMutableRawPointer(entry.values.baseAddress!).deallocate() }
        for values in spare { UnsafeMutableRawPointer(values.baseAddress!).deallocate() }
    }

    /// Forgets what was added.
    public func reset() {
        while let entry = stack.popLast() { spare.append(entry.values) }
    }

    /// Adds the next vector, which `body` writes. A vector that is missing counts as zeros and has to be written as such.
    public func add(_ body: (UnsafeMutableBufferPointer<Float>) throws -> Void) rethrows {
        let values = vector()
        stack.append((0, values))
        try body(values)
        round(values, 0..<count)
        foldPairs()
    }

    /// Adds so many vectors at once, which `body` writes.
    public func add(_ number: Int, _ body: ([UnsafeMutableBufferPointer<Float>]) throws -> Void) rethrows {
        let vectors = (0..<number).map { _ in vector() }
        defer {
            for values in vectors {
                stack.append((0, values))
                round(values, 0..<count)
                foldPairs()
            }
        }
        try body(vectors)
    }

    /// Adds the last vector in parts: gives its place, and `fold` adds a range of it once that is written. `endInParts` gives
    /// the sum when all ranges are folded.
    public func addInParts() -> UnsafeMutableBufferPointer<Float> {
        let values = vector()
        stack.append((0, values))
        return values
    }

    /// The sum of a range of all vectors, in the same order as `finish` has it.
    public func fold(_ range: Range<Int>) -> UnsafeMutableBufferPointer<Float> {
        var open: [(level: Int, values: UnsafeMutableBufferPointer<Float>)] = []
        func merge() {
            let last = open.removeLast().values
            add(last, to: open[open.count - 1].values, range)
        }
        for entry in stack {
            if entry.level == 0 { round(entry.values, range) }
            open.append(entry)
            while open.count > 1, open[open.count - 1].level == open[open.count - 2].level {
                merge()
                open[open.count - 1].level += 1
            }
        }
        while open.count > 1 { merge() }
        return UnsafeMutableBufferPointer(rebasing: open[0].values[range])
    }

    /// The sum of all, of which `body` may use the ranges that are folded; all are when it returns. Empties the tree.
    public func endInParts(_ body: (UnsafeMutableBufferPointer<Float>) throws -> Void) rethrows {
        defer { reset() }
        try body(stack[0].values)
    }

    private func vector() -> UnsafeMutableBufferPointer<Float> {
        if let values = spare.popLast() { return values }
        // Kernels write gradients to it.
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(count, 1) * 4, alignment: 64)
        return UnsafeMutableBufferPointer(start: memory.bindMemory(to: Float.self, capacity: count), count: count)
    }

    private func foldPairs() {
        while stack.count > 1, stack[stack.count - 1].level == stack[stack.count - 2].level {
            fold()
            stack[stack.count - 1].level += 1
        }
    }

    /// The sum of all; zeros where nothing was added. Empties the tree.
    public func finish(_ body: (UnsafeMutableBufferPointer<Float>) throws -> Void) rethrows {
        if stack.isEmpty { add { $0.update(repeating: 0) } }
        while stack.count > 1 { fold() }
        let values = stack.removeLast().values
        spare.append(values)
        try body(values)
    }

    private func fold() {
        let last = stack.removeLast().values
        add(last, to: stack[stack.count - 1].values, 0..<count)
        spare.append(last)
    }

    private func add(
        _ values: UnsafeMutableBufferPointer<Float>, to sum: UnsafeMutableBufferPointer<Float>, _ range: Range<Int>
    ) {
        guard !range.isEmpty else { return }
        let status = ck_accumulate(
            values.baseAddress! + range.lowerBound, sum.baseAddress! + range.lowerBound, range.count, 1, 1)
        precondition(status == CK_OK, "adding \(range.count) floats fails")
        round(sum, range)
    }

    private func round(_ values: UnsafeMutableBufferPointer<Float>, _ range: Range<Int>) {
        let range = range.clamped(to: rounded)
        if !range.isEmpty { BFloat16.round(UnsafeMutableBufferPointer(rebasing: values[range])) }
    }
}
