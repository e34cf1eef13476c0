// Weights in signed bytes, where they lie: the floats that they stand for take four times the memory and are made only if
// somebody asks for them.

import ResNetSupport

/// Signed bytes with a scale for each entry of the first axis; a view of memory that stays as it is.
package final class SignedBytes: Sendable {
    nonisolated(unsafe) private let base: UnsafePointer<Int8>
    /// By entry of the first axis.
    package let scales: [Float]
    package let count: Int
    /// Keeps the memory alive.
    private let owner: MappedFile

    /// - Parameter bytes: Of the file; a whole number for each scale.
    package init(_ bytes: UnsafeRawBufferPointer, scales: [Float], in file: MappedFile) {
        precondition(!bytes.isEmpty && bytes.count.isMultiple(of: max(scales.count, 1)), "bytes for each scale")
        base = UnsafePointer(bytes.bindMemory(to: Int8.self).baseAddress!)
        count = bytes.count
        self.scales = scales
        owner = file
    }

    /// Row-major, as long as this object lives.
    package var values: UnsafeBufferPointer<Int8> { UnsafeBufferPointer(start: base, count: count) }

    /// What the byte at `index` stands for.
    package func float(_ index: Int) -> Float { Float(base[index]) * scales[index / (count / scales.count)] }

    /// All that the bytes stand for, in memory of their own.
    func floats() -> FloatStorage {
        FloatStorage(count: count) { target in
            let filter = count / scales.count
            for (channel, scale) in scales.enumerated() {
                for index in channel * filter..<(channel + 1) * filter { target[index] = Float(base[index]) * scale }
            }
        }
    }

    /// Gives pages of a mapped file back; they come again when touched.
    func discardPages() { if owner.isFileBacked { discardFilePages(base, count) } }
}
