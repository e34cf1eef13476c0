// Some classes of a data set, as a data set of their own.

import ResNetGraph

extension Dataset {
    /// The samples of these classes, numbered in this order.
    /// - Throws: `DatasetError.request` for a class that is not there, and where samples have several labels.
    public func keeping(classes names: [String]) throws(DatasetError) -> Dataset {
        guard case .classes(let labels) = labels else {
            throw .request(expected: "one class a sample", found: "several labels")
        }
        var numbers: [Int: Int] = [:]
        for (number, name) in names.enumerated() {
            guard let old = classNames.firstIndex(of: name) else {
                throw .request(expected: "classes of \(classNames.joined(separator: ", "))", found: "'\(name)'")
            }
            numbers[old] = number
        }
        let samples = labels.indices.filter { numbers[labels[$0]] != nil }
        return Dataset(
            classNames: names, labels: .classes(samples.map { numbers[labels[$0]]! }), source: source.keeping(samples),
            notes: notes, skipped: skipped)
    }
}

extension Dataset {
    /// Some samples, as a data set of their own with the same classes.
    func keeping(_ samples: [Int]) -> Dataset {
        let kept: DatasetLabels =
            switch labels {
            case .classes(let labels): .classes(samples.map { labels[$0] })
            case .multiLabel(let labels): .multiLabel(samples.map { labels[$0] })
            }
        return Dataset(
            classNames: classNames, labels: kept, source: source.keeping(samples), notes: notes, skipped: skipped)
    }
}

extension SampleSource {
    fileprivate func keeping(_ samples: [Int]) -> SampleSource {
        switch self {
        case .files(let paths): return .files(samples.map { paths[$0] })
        case .stacks(let stacks): return .stacks(samples.map { stacks[$0] })
        case .pictures(let images):
            let size = images.height * images.width * images.channels
            return .pictures(
                ByteImages(
                    count: samples.count, height: images.height, width: images.width, channels: images.channels,
                    pixels: samples.flatMap { images.pixels[$0 * size..<($0 + 1) * size] }))
        case .floats(let tensor):
            let size = tensor.shape.dropFirst().reduce(1, *)
            return .floats(
                tensor.withUnsafeFloats { floats in
                    Tensor(
                        shape: [samples.count] + tensor.shape.dropFirst(),
                        values: samples.flatMap { floats[$0 * size..<($0 + 1) * size] })
                })
        }
    }
}
