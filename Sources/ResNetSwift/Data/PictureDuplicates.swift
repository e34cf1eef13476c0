// Pictures that occur more than once: in what a network trains on and in what it is judged by, or under two labels.
//
// Files of equal size are compared by their first bytes, and those that agree by all of them, so that hardly any file of a sound
// data set is read to its end.

import Glibc
import ResNetGraph
import ResNetSupport

/// Pictures with the same bytes.
public struct PictureDuplicates: Sendable, Hashable {
    /// Samples of the validation part whose picture is in the training part, too.
    public internal(set) var shared = 0
    /// Pictures that occur under different labels.
    public internal(set) var contradictory = 0
    /// Two samples of each kind, by name.
    public internal(set) var examples: [String] = []

    /// - Parameters:
    ///   - training: what to train on.
    ///   - validation: what is judged by; nil where there is nothing.
    public init(training: DatasetSlice, validation: DatasetSlice?) {
        var samples = training.samples.map { Sample(dataset: training.dataset, index: $0, isHeldOut: false) }
        if let validation {
            samples += validation.samples.map { Sample(dataset: validation.dataset, index: $0, isHeldOut: true) }
        }
        var groups = Self.split([Array(samples.indices)]) { samples[$0].size }
        groups = Self.split(groups) { samples[$0].mark(4096) }
        groups = Self.split(groups) { samples[$0].mark(Int.max) }
        for group in groups { add(group.map { samples[$0] }) }
    }

    /// Groups of two and more that agree in a mark; those without one are left out.
    private static func split(_ groups: [[Int]], by mark: (Int) -> Int?) -> [[Int]] {
        groups.flatMap { group -> [[Int]] in
            var byMark: [Int: [Int]] = [:]
            for index in group { if let mark = mark(index) { byMark[mark, default: []].append(index) } }
            return byMark.values.filter { $0.count > 1 }.sorted { $0[0] < $1[0] }
        }
    }

    private mutating func add(_ group: [Sample]) {
        if let twin = group.first(where: { !$0.isHeldOut }), let held = group.first(where: \.isHeldOut) {
            if shared == 0 { examples.append("\(held.name) is \(twin.name)") }
            shared += group.count { $0.isHeldOut }
        }
        if let other = group.first(where: { $0.label != group[0].label }) {
            if contradictory == 0 { examples.append("\(group[0].name) is \(other.name)") }
            contradictory += 1
        }
    }

    private struct Sample {
        let dataset: Dataset
        let index: Int
        let isHeldOut: Bool

        var name: String { dataset.name(of: index) }

        var label: [Int] {
            switch dataset.labels {
            case .classes(let labels): [labels[index]]
            case .multiLabel(let labels): labels[index]
            }
        }

        /// Of a stack the first picture stands for all.
        private var path: String? {
            switch dataset.source {
            case .files(let paths): paths[index]
            case .stacks(let stacks): stacks[index].first
            case .pictures, .floats: nil
            }
        }

        /// nil for what is no file or cannot be read.
        var size: Int? {
            switch dataset.source {
            case .files, .stacks:
                guard let path, let about = PictureFiles.status(path), about.st_mode & S_IFMT == S_IFREG else {
                    return nil
                }
                return Int(about.st_size)
            case .pictures(let images): return images.height * images.width * images.channels
            case .floats(let tensor): return tensor.shape.dropFirst().reduce(1, *)
            }
        }

        /// A hash of the first bytes.
        func mark(_ limit: Int) -> Int? {
            var hasher = Hasher()
            switch dataset.source {
            case .files, .stacks:
                guard let path, Self.read(path, limit, into: &hasher) else { return nil }
            case .pictures(let images):
                let size = images.height * images.width * images.channels
                images.pixels.withUnsafeBytes {
                    hasher.combine(
                        bytes: UnsafeRawBufferPointer(rebasing: $0[index * size..<index * size + min(size, limit)]))
                }
            case .floats(let tensor):
                let size = tensor.shape.dropFirst().reduce(1, *)
                tensor.withUnsafeFloats { floats in
                    let part = UnsafeRawBufferPointer(
                        UnsafeBufferPointer(rebasing: floats[index * size..<(index + 1) * size]))
                    hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: part.prefix(limit)))
                }
            }
            return hasher.finalize()
        }

        private static func read(_ path: String, _ limit: Int, into hasher: inout Hasher) -> Bool {
            let descriptor = path.withFileName { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
            guard descriptor >= 0 else { return false }
            defer { close(descriptor) }
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: min(limit, 1 << 16), alignment: 16)
            defer { buffer.deallocate() }
            var left = limit
            while left > 0 {
                let count = Glibc.read(descriptor, buffer.baseAddress, min(left, buffer.count))
                if count < 0 { return false }
                if count == 0 { break }
                hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                left -= count
            }
            return true
        }
    }
}
