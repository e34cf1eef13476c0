// CIFAR-10 as its authors ship it (https://www.cs.toronto.edu/~kriz/cifar.html), in either format:
//
//     cifar-10-batches-bin/data_batch_1.bin ... 5, test_batch.bin    per picture: label, 1024 red, 1024 green, 1024 blue
//     cifar-10-batches-py/data_batch_1 ... 5, test_batch             a pickle of Python 2: {'data': uint8 (N, 3072) in the
//                                                                    same order, 'labels': [...], and more}
//
// The pickle is interpreted from a closed list and never executed.

import Glibc
import ResNetSupport
import ResNetWeights

extension Dataset {
    static let cifar10Names = [
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    ]

    /// Whether the folder, or one in it, looks like CIFAR-10.
    public static func hasCIFAR10(_ folder: String) -> Bool { cifarFolder(folder) != nil }

    /// CIFAR-10 as its authors ship it.
    /// - Parameter folder: `cifar-10-batches-bin`, `cifar-10-batches-py`, or what holds one of them.
    /// - Returns: the training pictures of all batches that are there, and those of `test_batch` if that is.
    /// - Throws: `DatasetError` for what is no such file.
    public static func cifar10(_ folder: String) throws(DatasetError) -> DatasetParts {
        guard let (found, ending) = cifarFolder(folder) else {
            throw .layout(
                path: folder, expected: "data_batch_1.bin or data_batch_1 and so on", found: "neither of them")
        }
        var notes: [String] = []
        var training = CIFARPictures()
        for batch in 1...5 {
            let path = "\(found)/data_batch_\(batch)\(ending)"
            if !path.namesSomething { notes.append("\(path) is missing") } else { try training.read(path) }
        }
        var test = CIFARPictures()
        let path = "\(found)/test_batch\(ending)"
        if path.namesSomething { try test.read(path) } else { notes.append("\(path) is missing") }
        return DatasetParts(
            training: training.dataset(notes: notes), validation: test.labels.isEmpty ? nil : test.dataset(notes: []))
    }

    private static func cifarFolder(_ root: String) -> (folder: String, ending: String)? {
        for folder in [root, "\(root)/cifar-10-batches-bin", "\(root)/cifar-10-batches-py"] {
            for ending in [".bin", ""] where "\(folder)/data_batch_1\(ending)".namesSomething {
                return (folder, ending)
            }
        }
        return nil
    }
}

private struct CIFARPictures {
    /// (N, 32, 32, 3)
    var pixels: [UInt8] = []
    var labels: [Int] = []

    static let plane = 32 * 32

    func dataset(notes: [String]) -> Dataset {
        Dataset(
            classNames: Dataset.cifar10Names, labels: .classes(labels),
            source: .pictures(ByteImages(count: labels.count, height: 32, width: 32, channels: 3, pixels: pixels)),
            notes: notes)
    }

    mutating func read(_ path: String) throws(DatasetError) {
        let file: MappedFile
        do { file = try MappedFile(path: path) } catch {
            if case .cannotRead(let reason) = error { throw .cannotRead(path: path, reason: reason) }
            throw .cannotRead(path: path, reason: "the file is empty")
        }
        try withExtendedLifetime(file) { () throws(DatasetError) in
            if path.hasSuffix(".bin") {
                try read(records: file.bytes, path)
            } else {
                try read(pickle: file.bytes, path)
            }
        }
    }

    private mutating func read(records bytes: UnsafeRawBufferPointer, _ path: String) throws(DatasetError) {
        let size = 1 + 3 * Self.plane
        guard bytes.count.isMultiple(of: size) else {
            throw .array(
                path: path, key: "records", expected: "a multiple of \(size) bytes", found: "\(bytes.count) bytes")
        }
        pixels.reserveCapacity(pixels.count + bytes.count)
        for start in stride(from: 0, to: bytes.count, by: size) {
            try add(UnsafeRawBufferPointer(rebasing: bytes[start + 1..<start + size]), label: Int(bytes[start]), path)
        }
    }

    private mutating func read(pickle bytes: UnsafeRawBufferPointer, _ path: String) throws(DatasetError) {
        var machine = PickleMachine(ByteCursor(bytes, part: "pickle"))
        var heap: PickleHeap
        let items: [PickleValue]
        do {
            let root = try machine.load()
            try machine.finish()
            heap = machine.heap
            items = heap.dictionary(root) ?? []
        } catch { throw .cannotRead(path: path, reason: "\(error)") }
        func value(_ key: String) -> PickleValue? {
            stride(from: 0, to: items.count - 1, by: 2).first { items[$0] == .string(key) }.map { items[$0 + 1] }
        }
        guard let data = value("data"), let array = heap.byteArray(data), array.shape.count == 2,
            array.shape[1] == 3 * Self.plane
        else { throw .array(path: path, key: "data", expected: "bytes (N, 3072)", found: "something else") }
        guard let list = value("labels"), let values = heap.sequence(list), values.count == array.shape[0] else {
            throw .array(path: path, key: "labels", expected: "a list of \(array.shape[0])", found: "something else")
        }
        pixels.reserveCapacity(pixels.count + array.bytes.count)
        for (row, value) in values.enumerated() {
            guard case .integer(let label) = value else {
                throw .array(path: path, key: "labels", expected: "integers", found: heap.noun(value))
            }
            let start = array.bytes.lowerBound + row * 3 * Self.plane
            try add(UnsafeRawBufferPointer(rebasing: bytes[start..<start + 3 * Self.plane]), label: label, path)
        }
    }

    /// Three planes become pixels of three bytes.
    private mutating func add(
        _ planes: UnsafeRawBufferPointer, label: Int, _ path: String
    ) throws(DatasetError) {
        guard 0..<10 ~= label else {
            throw .array(path: path, key: "labels", expected: "0 to 9", found: "\(label)")
        }
        labels.append(label)
        let source = planes.bindMemory(to: UInt8.self).baseAddress!
        pixels += [UInt8](unsafeUninitializedCapacity: 3 * Self.plane) { target, count in
            for channel in 0..<3 {
                PixelKernels.interleave(
                    source + channel * Self.plane, count: Self.plane, channels: 1, into: target.baseAddress! + channel,
                    channels: 3)
            }
            count = 3 * Self.plane
        }
    }
}
