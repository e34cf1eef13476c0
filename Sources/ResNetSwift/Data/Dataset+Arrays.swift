// Pictures and labels from an npz file, as NumPy's `savez` writes it:
//
//     images  uint8 (N, H, W, C) or (N, H, W): pictures, which a transform applies to
//             floats (N, C, H, W) or (N, H, W): given to the network as they are
//             either with its channels at the other end, where the sizes leave no doubt
//     labels  (N) or (N, 1) class numbers of any integer type, or (N, K) of 0 and 1: one 1 in every row is a class, other rows
//             are several labels a picture
//
// ArrayKeys.swift says under which names, also in parts for training, validation and test.

import ResNetGraph
import ResNetWeights

extension Dataset {
    /// Pictures or floats and their labels from arrays of one file.
    /// - Parameters:
    ///   - path: an npz file, with `images` and `labels`, or `x_train`, `y_train` and perhaps `x_val`, `y_val`, `x_test`,
    ///     `y_test`, or these in other usual spellings. `class_names` may lie beside them.
    ///   - classNames: nil means those in the file, else the class numbers.
    ///   - multiLabel: whether rows of zeros and ones are several labels a picture; nil means unless each has one 1.
    /// - Throws: `WeightFileError` for a file that is no npz, `DatasetError` for arrays that are missing, do not fit
    ///   each other or hold other values.
    public static func arrays(
        npz path: String, classNames: [String]? = nil, multiLabel: Bool? = nil
    ) throws -> DatasetParts {
        let file = try WeightFile.open(path)
        let keys = try NpyText.keys(npz: path)
        guard let arrays = ArrayKeys(keys) else {
            throw DatasetError.layout(
                path: path, expected: "arrays `images` and `labels`, or `x_train` and `y_train`",
                found: keys.joined(separator: ", "))
        }
        var reader = ArrayReader(file: file, names: classNames)
        if classNames == nil, let key = arrays.classNames {
            reader.names = try NpyText.strings(npz: path, key)
            if reader.names == nil { reader.notes.append("\(path): array \(key) holds no text and is not used") }
        }
        if !arrays.unused.isEmpty {
            reader.notes.append("\(path): arrays that are not used: \(arrays.unused.joined(separator: ", "))")
        }
        reader.isMultiLabel = try multiLabel ?? reader.hasSeveralLabels(arrays)
        let training = try reader.dataset(arrays.training)
        // The names of the training part's classes are those of the others.
        if reader.names == nil { reader.names = training.classNames }
        reader.notes = []
        let validation = try (arrays.validation ?? arrays.test).map { try reader.dataset($0) }
        let test = try arrays.validation == nil ? nil : arrays.test.map { try reader.dataset($0) }
        return DatasetParts(training: training, validation: validation, test: test)
    }
}

/// Reads pairs of arrays of one file.
private struct ArrayReader {
    let file: WeightFile
    /// Of the classes; nil where their numbers are their names.
    var names: [String]?
    /// Rows of zeros and ones are several labels a picture.
    var isMultiLabel = false
    var notes: [String] = []

    init(file: WeightFile, names: [String]?) {
        self.file = file
        self.names = names
    }

    private func fault(_ key: String, _ expected: String, _ found: String) -> DatasetError {
        .array(path: file.path, key: key, expected: expected, found: found)
    }

    private func entry(_ key: String) throws -> WeightEntry {
        guard let entry = file.entry(key) else {
            throw fault(key, "numbers", "an array of another type, such as objects or text")
        }
        return entry
    }

    /// Labels that are rows of zeros and ones, of which some do not have exactly one 1.
    func hasSeveralLabels(_ arrays: ArrayKeys) throws -> Bool {
        for pair in [arrays.training, arrays.validation, arrays.test].compactMap({ $0 }) {
            let shape = try entry(pair.labels).shape
            guard shape.count == 2, shape[1] > 1 else { continue }
            let values = try file.tensor(pair.labels).values
            for row in 0..<shape[0] {
                let sum = values[row * shape[1]..<(row + 1) * shape[1]].reduce(0, +)
                if sum != 1 { return true }
            }
        }
        return false
    }

    mutating func dataset(_ pair: ArrayPair) throws -> Dataset {
        let source = try source(try entry(pair.images))
        let labels = try entry(pair.labels)
        guard labels.shape.first == source.count else {
            throw fault(labels.key, "labels for \(source.count) pictures", "shape \(labels.shape)")
        }
        let columns = labels.shape.count == 2 ? labels.shape[1] : 1
        guard labels.shape.count <= 2, columns > 0 else { throw fault(labels.key, "(N) or (N, K)", "\(labels.shape)") }
        guard columns <= Dataset.classLimit else {
            throw fault(labels.key, "at most \(Dataset.classLimit) labels", "\(columns)")
        }
        guard columns > 1 || !isMultiLabel else {
            throw fault(labels.key, "(N, K) of 0 and 1 for several labels", "\(labels.shape)")
        }
        let (names, found) = columns > 1 ? try rows(labels, columns) : try classes(labels)
        return Dataset(classNames: names, labels: found, source: source, notes: notes)
    }

    // MARK: - Labels

    private func rows(_ labels: WeightEntry, _ columns: Int) throws -> ([String], DatasetLabels) {
        let values = try file.tensor(labels.key).values
        if let odd = values.first(where: { $0 != 0 && $0 != 1 }) {
            throw fault(labels.key, "0 and 1 in an array of two dimensions", "\(odd)")
        }
        let present = (0..<labels.shape[0]).map { sample in
            (0..<columns).filter { values[sample * columns + $0] == 1 }
        }
        let names = names ?? (0..<columns).map(String.init)
        guard names.count == columns else { throw fault(labels.key, "\(names.count) columns", "\(columns)") }
        guard !isMultiLabel else { return (names, .multiLabel(present)) }
        if let row = present.firstIndex(where: { $0.count != 1 }) {
            throw fault(labels.key, "one 1 in every row", "\(present[row].count) in row \(row)")
        }
        return (names, .classes(present.map { $0[0] }))
    }

    private mutating func classes(_ labels: WeightEntry) throws -> ([String], DatasetLabels) {
        var classes: [Int] = []
        for value in try file.tensor(labels.key).values {
            guard value >= 0, value < Float(Dataset.classLimit), value == value.rounded() else {
                throw fault(labels.key, "class numbers from 0 and below \(Dataset.classLimit)", "\(value)")
            }
            classes.append(Int(value))
        }
        let (least, largest) = (classes.min() ?? 0, classes.max() ?? 0)
        // Numbers of a part mean what they mean in the training part.
        if let names, let numbers = Self.numbers(names) {
            let places = try classes.map { number in
                guard let place = numbers[number] else {
                    throw fault(
                        labels.key, "class numbers among \(names.prefix(10).joined(separator: ", "))", "\(number)")
                }
                return place
            }
            return (names, .classes(places))
        }
        if let names {
            let isFromOne = least >= 1 && largest == names.count
            guard isFromOne || largest < names.count else {
                throw fault(labels.key, "class numbers below \(names.count)", "\(largest)")
            }
            if isFromOne { notes.append("\(file.path), array \(labels.key): class numbers count from 1") }
            return (names, .classes(isFromOne ? classes.map { $0 - 1 } : classes))
        }
        // Numbers from 1 keep their names; the first is class 0 of the network.
        let first = least == 1 ? 1 : 0
        if first == 1 { notes.append("\(file.path), array \(labels.key): class numbers count from 1") }
        let absent = largest + 1 - first - Set(classes).count
        if absent > 0 {
            notes.append("\(file.path), array \(labels.key): \(absent) classes up to \(largest) have no pictures")
        }
        guard largest > first else {
            throw fault(labels.key, "two classes or more", "one, \(largest)")
        }
        return ((first...largest).map(String.init), .classes(classes.map { $0 - first }))
    }

    /// Places by number, where the names are numbers.
    private static func numbers(_ names: [String]) -> [Int: Int]? {
        let numbers = names.compactMap { Int($0) }
        guard numbers.count == names.count else { return nil }
        return Dictionary(numbers.enumerated().map { ($1, $0) }) { first, _ in first }
    }

    // MARK: - Pictures

    private mutating func source(_ entry: WeightEntry) throws -> SampleSource {
        let shape = entry.shape
        guard shape.allSatisfy({ $0 > 0 }), 3...4 ~= shape.count else {
            throw fault(entry.key, "(N, H, W, C) of bytes or (N, C, H, W) of floats", "\(shape)")
        }
        guard entry.type == .uint8 || entry.type.isFloatingPoint else {
            throw fault(entry.key, "uint8 or floats", entry.type.rawValue)
        }
        let isBytes = entry.type == .uint8
        let isLast = try shape.count == 4 && channelsAreLast(shape, usually: isBytes, entry.key)
        if shape.count == 4, isLast != isBytes {
            notes.append(
                "\(file.path), array \(entry.key): \(shape) is read as \(isLast ? "(N, H, W, C)" : "(N, C, H, W)")")
        }
        return isBytes ? try bytes(entry, isLast: isLast) : try floats(entry, isLast: isLast)
    }

    /// Channels are few, height and width alike. Where neither end can be channels, or both, the usual order is taken only if
    /// the sizes speak for it.
    private func channelsAreLast(_ shape: [Int], usually last: Bool, _ key: String) throws -> Bool {
        let most = 16
        let canBeFirst = shape[1] <= most
        let canBeLast = shape[3] <= most
        if canBeFirst != canBeLast { return canBeLast }
        // Square pictures at one end only.
        let firstIsSquare = shape[2] == shape[3]
        let lastIsSquare = shape[1] == shape[2]
        if firstIsSquare != lastIsSquare { return lastIsSquare }
        let usual = [1, 3]
        if usual.contains(shape[1]) != usual.contains(shape[3]) { return usual.contains(shape[3]) }
        // The sizes say nothing, so that what is documented counts.
        if shape[1] == shape[3] { return last }
        throw fault(
            key, last ? "(N, H, W, C)" : "(N, C, H, W)",
            "\(shape), of which either end may be the channels")
    }

    private func bytes(_ entry: WeightEntry, isLast: Bool) throws -> SampleSource {
        let shape = entry.shape
        let pixels = try file.bytes(entry.key)
        guard shape.count == 4 else {
            return .pictures(
                ByteImages(count: shape[0], height: shape[1], width: shape[2], channels: 1, pixels: pixels))
        }
        if isLast {
            return .pictures(
                ByteImages(count: shape[0], height: shape[1], width: shape[2], channels: shape[3], pixels: pixels))
        }
        let (channels, size) = (shape[1], shape[2] * shape[3])
        let interleaved = [UInt8](unsafeUninitializedCapacity: pixels.count) { target, count in
            pixels.withUnsafeBufferPointer { source in
                for sample in 0..<shape[0] {
                    for channel in 0..<channels {
                        let plane = (sample * channels + channel) * size
                        PixelKernels.interleave(
                            source.baseAddress! + plane, count: size, channels: 1,
                            into: target.baseAddress! + sample * channels * size + channel, channels: channels)
                    }
                }
            }
            count = pixels.count
        }
        return .pictures(
            ByteImages(count: shape[0], height: shape[2], width: shape[3], channels: channels, pixels: interleaved))
    }

    private mutating func floats(_ entry: WeightEntry, isLast: Bool) throws -> SampleSource {
        let shape = entry.shape
        let tensor = try file.tensor(entry.key)
        var largest: Float = 0
        for value in tensor.values {
            guard value.isFinite else { throw fault(entry.key, "finite values", "\(value)") }
            largest = max(largest, abs(value))
        }
        if largest > 16 {
            notes.append(
                "\(file.path), array \(entry.key): floats up to \(largest) are given to the network as they are; only uint8 is scaled"
            )
        }
        guard shape.count == 4 else {
            return .floats(Tensor(shape: [shape[0], 1, shape[1], shape[2]], storage: tensor.storage))
        }
        guard isLast else { return .floats(tensor) }
        let (height, width, channels) = (shape[1], shape[2], shape[3])
        let planes = FloatStorage(count: tensor.count) { target in
            tensor.withUnsafeFloats { source in
                for sample in 0..<shape[0] {
                    let start = sample * height * width * channels
                    for channel in 0..<channels {
                        for pixel in 0..<height * width {
                            target[start + channel * height * width + pixel] =
                                source[start + pixel * channels + channel]
                        }
                    }
                }
            }
        }
        return .floats(Tensor(shape: [shape[0], channels, height, width], storage: planes))
    }
}
