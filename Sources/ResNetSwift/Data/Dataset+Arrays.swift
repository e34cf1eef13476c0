// Pictures and labels from an npz file, as NumPy's `savez` writes it:
//
//     images  uint8 (N, H, W, C) or (N, H, W): pictures, which a transform applies to
//             floats (N, C, H, W) or (N, H, W): given to the network as they are
//     labels  (N) class numbers, or (N, K) of 0 and 1: several labels a picture
//
// Or two such pairs, as Keras ships its data sets: x_train, y_train, x_test, y_test.

import ResNetGraph
import ResNetWeights

extension Dataset {
    /// What one file holds: a data set, and the held-out one where there is a second pair.
    public struct Arrays: Sendable {
        /// Of `images` and `labels`, or of the training pair.
        public let training: Dataset
        /// Of the held-out pair; nil where the file has none.
        public let validation: Dataset?
    }

    private static let pairs = [("images", "labels"), ("x", "y"), ("x_train", "y_train"), ("data", "target")]
    private static let heldOut = [("x_test", "y_test"), ("x_val", "y_val"), ("test_images", "test_labels")]

    /// Pictures or floats and their labels from arrays of one file.
    /// - Parameters:
    ///   - path: an npz file, with `images` and `labels`, or `x_train`, `y_train` and perhaps `x_test`, `y_test`. Zeros
    ///     and ones in two dimensions are several labels a picture.
    ///   - classNames: nil means the class numbers.
    /// - Throws: `WeightFileError` for a file that is no npz, `DatasetError` for arrays that are missing, do not fit
    ///   each other or hold other values.
    public static func arrays(npz path: String, classNames: [String]? = nil) throws -> Arrays {
        let file = try WeightFile.open(path)
        func pair(_ candidates: [(String, String)]) -> (images: WeightEntry, labels: WeightEntry)? {
            for (images, labels) in candidates {
                if let images = file.entry(images), let labels = file.entry(labels) { return (images, labels) }
            }
            return nil
        }
        guard let first = pair(pairs) else {
            throw DatasetError.layout(
                path: path, expected: "arrays `images` and `labels`, or `x_train` and `y_train`",
                found: file.entries.map(\.key).joined(separator: ", "))
        }
        let training = try read(first.images, first.labels, of: file, classNames)
        let validation = try pair(heldOut).map {
            try read($0.images, $0.labels, of: file, classNames ?? training.classNames)
        }
        return Arrays(training: training, validation: validation)
    }

    private static func read(
        _ images: WeightEntry, _ labels: WeightEntry, of file: WeightFile, _ classNames: [String]?
    ) throws -> Dataset {
        func fault(_ entry: WeightEntry, _ expected: String, _ found: String) -> DatasetError {
            .array(path: file.path, key: entry.key, expected: expected, found: found)
        }
        let source = try read(images, of: file, fault)
        guard labels.shape.first == source.count else {
            throw fault(labels, "labels for \(source.count) pictures", "shape \(labels.shape)")
        }
        let values = try file.tensor(labels.key).values
        let columns = labels.shape.count == 2 ? labels.shape[1] : 1
        guard labels.shape.count <= 2, columns > 0 else { throw fault(labels, "(N) or (N, K)", "\(labels.shape)") }
        if columns > 1 {
            guard let odd = values.first(where: { $0 != 0 && $0 != 1 }) else {
                let present = (0..<source.count).map { sample in
                    (0..<columns).filter { values[sample * columns + $0] == 1 }
                }
                let names = classNames ?? (0..<columns).map(String.init)
                guard names.count == columns else { throw fault(labels, "\(names.count) columns", "\(columns)") }
                return Dataset(classNames: names, labels: .multiLabel(present), source: source)
            }
            throw fault(labels, "0 and 1 in an array of two dimensions", "\(odd)")
        }
        var classes: [Int] = []
        for value in values {
            guard value >= 0, value < 1_000_000, value == value.rounded() else {
                throw fault(labels, "class numbers from 0", "\(value)")
            }
            classes.append(Int(value))
        }
        let largest = classes.max() ?? 0
        let names = classNames ?? (0...largest).map(String.init)
        guard largest < names.count else { throw fault(labels, "class numbers below \(names.count)", "\(largest)") }
        return Dataset(classNames: names, labels: .classes(classes), source: source)
    }

    private static func read(
        _ entry: WeightEntry, of file: WeightFile, _ fault: (WeightEntry, String, String) -> DatasetError
    ) throws -> SampleSource {
        let shape = entry.shape
        guard shape.allSatisfy({ $0 > 0 }), 3...4 ~= shape.count else {
            throw fault(entry, "(N, H, W, C) of bytes or (N, C, H, W) of floats", "\(shape)")
        }
        if entry.type == .uint8 {
            let channels = shape.count == 4 ? shape[3] : 1
            guard channels <= 16 || shape[1] > 16 else {
                throw fault(entry, "channels last, (N, H, W, C)", "\(shape), which looks like (N, C, H, W)")
            }
            return .pictures(
                ByteImages(
                    count: shape[0], height: shape[1], width: shape[2], channels: channels,
                    pixels: try file.bytes(entry.key)))
        }
        guard entry.type.isFloatingPoint else {
            throw fault(entry, "uint8 or floats", entry.type.rawValue)
        }
        let tensor = try file.tensor(entry.key)
        if let odd = tensor.values.first(where: { !$0.isFinite }) { throw fault(entry, "finite values", "\(odd)") }
        guard shape.count == 3 else { return .floats(tensor) }
        return .floats(Tensor(shape: [shape[0], 1, shape[1], shape[2]], storage: tensor.storage))
    }
}
