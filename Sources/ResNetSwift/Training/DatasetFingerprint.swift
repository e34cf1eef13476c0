// Which data a run trains on, in a line of text: a resumed run must have the same.

import Glibc
import ResNetData

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
            return "picture \(sample) \(size) \(String(hash(bytes), radix: 16))"
        case .floats(let tensor):
            return tensor.withUnsafeFloats { floats in
                let size = tensor.shape.dropFirst().reduce(1, *)
                let part = UnsafeRawBufferPointer(
                    UnsafeBufferPointer(rebasing: floats[sample * size..<(sample + 1) * size]))
                return "picture \(sample) \(size) \(String(hash(part.prefix(Self.head)), radix: 16))"
            }
        }
    }

    private func fileMark(_ path: String) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return "unreadable" }
        defer { close(descriptor) }
        var about = stat()
        guard fstat(descriptor, &about) == 0 else { return "unreadable" }
        var bytes = [UInt8](repeating: 0, count: Self.head)
        let count = max(read(descriptor, &bytes, bytes.count), 0)
        return "\(about.st_size) \(String(hash(bytes[..<count]), radix: 16))"
    }
}

extension Substring {
    fileprivate func commonPrefix(with other: Substring) -> Substring {
        self[..<(zip(indices, other).first { self[$0] != $1 }?.0 ?? endIndex)].prefix(other.count)
    }
}

/// FNV-1a, 64 bits.
private func hash(_ bytes: some Sequence<UInt8>, from start: UInt64 = 0xcbf2_9ce4_8422_2325) -> UInt64 {
    bytes.reduce(start) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
}

/// The hash of lines, each ended by a line feed, in hexadecimal.
func hexHash(of lines: [String]) -> String {
    var state = hash(EmptyCollection())
    for line in lines { state = hash(CollectionOfOne(0x0a), from: hash(line.utf8, from: state)) }
    return String(state, radix: 16)
}
