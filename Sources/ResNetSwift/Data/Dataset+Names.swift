// Names for the classes of a data set that has numbers, or the order that names have.

extension Dataset {
    /// The classes by these names, in this order. Data sets of numbers, 0 to K - 1 or 1 to K, take the names one after the other;
    /// those of names must have no other, and their labels follow the new order.
    /// - Returns: nil where the classes are neither.
    package func named(_ names: [String]) -> Dataset? {
        let places = Dictionary(names.enumerated().map { ($1, $0) }) { first, _ in first }
        let numbers = classNames.compactMap { Int($0) }
        var order = classNames.compactMap { places[$0] }
        if order.count != classNames.count {
            guard numbers.count == classNames.count else { return nil }
            let first = (numbers.min() ?? 0) >= 1 && numbers.max() == names.count ? 1 : 0
            order = numbers.map { $0 - first }
            guard order.allSatisfy(names.indices.contains) else { return nil }
        }
        let renamed: DatasetLabels =
            switch labels {
            case .classes(let labels): .classes(labels.map { order[$0] })
            case .multiLabel(let labels): .multiLabel(labels.map { $0.map { order[$0] }.sorted() })
            }
        return Dataset(classNames: names, labels: renamed, source: source, notes: notes, skipped: skipped)
    }
}
