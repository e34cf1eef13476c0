// Which data a run trains on, in a line of text: a resumed run must have the same.

import Glibc
import ResNetData
import ResNetSupport

extension DatasetSlice {
    /// How many samples, and a hash of which they are and what they show. A picture file counts by its path below the folder that
    /// all have in common, its size and its first bytes: a copy of the folder elsewhere is the same data, another picture under
    /// the same name is not.
    var fingerprint: String {
        let root = dataset.commonFolder
        let lines = samples.map { sample in
            let label =
                switch dataset.labels {
                case .classes(let labels): "\(labels[sample])"
                case .multiLabel(let labels): "\(labels[sample])"
                }
            return "\(dataset.contentMark(of: sample, below: root)) \(label)"
        }
        return "\(count) samples, \(hexHash(of: lines + dataset.classNames))"
    }
}

extension Dataset {
    /// Bytes of a sample that are looked at.
    private static let head = 4096

    private func paths(of sample: Int) -> [String] {
        switch source {
        case .files(let paths): [paths[sample]]
        case .stacks(let stacks): stacks[sample]
        case .pictures, .floats: []
        }
    }

    /// The longest folder path, with its slash, that all files lie below; empty where there are none.
    fileprivate var commonFolder: Substring {
        guard count > 0, var common = paths(of: 0).first.map({ $0[...] }) else { return "" }
        for sample in 0..<count {
            for path in paths(of: sample) where !path.hasPrefix(common) {
                common = path[...].commonPrefix(with: common)
            }
        }
        return common[..<(common.lastIndex(of: "/").map { common.index(after: $0) } ?? common.startIndex)]
    }

    fileprivate func contentMark(of sample: Int, below root: Substring) -> String {
        switch source {
        case .files, .stacks:
            return paths(of: sample).map { "\($0.dropFirst(root.count)) \(fileMark($0))" }.joined(separator: " ")
        case .pictures(let images):
            let size = images.height * images.width * images.channels
            let bytes = images.pixels[sample * size..<sample * size + min(size, Self.head)]
            return "picture \(sample) \(size) \(bytes.withUnsafeBytes(hexHash))"
        case .floats(let tensor):
            return tensor.withUnsafeFloats { floats in
                let size = tensor.shape.dropFirst().reduce(1, *)
                let part = UnsafeRawBufferPointer(
                    UnsafeBufferPointer(rebasing: floats[sample * size..<(sample + 1) * size]))
                return "picture \(sample) \(size) \(hexHash(UnsafeRawBufferPointer(rebasing: part.prefix(Self.head))))"
            }
        }
    }

    private func fileMark(_ path: String) -> String {
        let descriptor = path.withFileName { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        guard descriptor >= 0 else { return "unreadable" }
        defer { close(descriptor) }
        var about = stat()
        guard fstat(descriptor, &about) == 0 else { return "unreadable" }
        var bytes = [UInt8](repeating: 0, count: Self.head)
        let count = max(read(descriptor, &bytes, bytes.count), 0)
        return "\(about.st_size) \(bytes[..<count].withUnsafeBytes(hexHash))"
    }
}

extension Substring {
    fileprivate func commonPrefix(with other: Substring) -> Substring {
        self[..<(zip(indices, other).first { self[$0] != $1 }?.0 ?? endIndex)].prefix(other.count)
    }
}

private func hexHash(_ bytes: UnsafeRawBufferPointer) -> String {
    var hash = FNV1a()
    hash.add(bytes)
    return String(hash.value, radix: 16)
}

/// The hash of lines, each ended by a line feed, in hexadecimal.
func hexHash(of lines: [String]) -> String {
    var hash = FNV1a()
    for line in lines { hash.add(line + "\n") }
    return String(hash.value, radix: 16)
}
