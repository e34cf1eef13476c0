// In which order an epoch visits the samples, and how much each of them counts. The order of an epoch is a function of
// (seed, epoch): a run that was stopped finds its place again.

/// In which order an epoch goes through the samples: a function of (seed, epoch).
public enum SampleOrder: Sendable, Hashable {
    /// As they are, for validation.
    case sequential
    /// Each once, in another order every epoch.
    case shuffled
    /// As many draws as there are samples, with replacement, sample i with a probability in proportion to weight i:
    /// PyTorch's WeightedRandomSampler.
    case weighted([Double])

    /// Positions 0..<count in the order of the epoch.
    /// - Precondition: weights, if any, are one for each sample, not negative, and their sum is positive.
    func positions(count: Int, epoch: Int, seed: UInt64) -> [Int] {
        switch self {
        case .sequential: return Array(0..<count)
        case .shuffled:
            var random = SampleRandom(seed: seed, purpose: .order, epoch: epoch)
            return random.permutation(count)
        case .weighted(let weights):
            precondition(weights.count == count, "\(weights.count) weights for \(count) samples")
            var sums: [Double] = []
            var sum = 0.0
            for weight in weights {
                precondition(weight >= 0 && weight.isFinite, "a sample's weight is not \(weight)")
                sum += weight
                sums.append(sum)
            }
            precondition(sum > 0, "all samples have weight 0")
            var random = SampleRandom(seed: seed, purpose: .order, epoch: epoch)
            return (0..<count).map { _ in
                let wanted = random.uniform() * sum
                // The first place whose sum is above: never one of weight 0.
                var (low, high) = (0, count - 1)
                while low < high {
                    let middle = (low + high) / 2
                    if sums[middle] > wanted { high = middle } else { low = middle + 1 }
                }
                return low
            }
        }
    }
}

extension DatasetSlice {
    /// Samples of each class, or samples that have each label.
    public var classCounts: [Int] {
        var counts = [Int](repeating: 0, count: dataset.classNames.count)
        for sample in samples {
            switch dataset.labels {
            case .classes(let labels): counts[labels[sample]] += 1
            case .multiLabel(let labels): for label in labels[sample] { counts[label] += 1 }
            }
        }
        return counts
    }

    /// Weights for cross-entropy that make classes count alike, scikit-learn's "balanced": samples / (classes * samples of
    /// the class). A class without samples gets 1.
    public var balancedClassWeights: [Float] {
        let counts = classCounts
        return counts.map { $0 == 0 ? 1 : Float(Double(count) / Double(counts.count * $0)) }
    }

    /// Weights of the positives of each label for binary cross-entropy: samples without it / samples with it. A label that
    /// no sample has gets 1.
    public var balancedPositiveWeights: [Float] {
        classCounts.map { $0 == 0 ? 1 : Float(Double(count - $0) / Double($0)) }
    }

    /// For `SampleOrder.weighted`: every class is drawn alike often. A sample of several labels counts as its rarest.
    public var balancedSampleWeights: [Double] {
        let counts = classCounts
        return samples.map { sample in
            switch dataset.labels {
            case .classes(let labels): 1 / Double(counts[labels[sample]])
            case .multiLabel(let labels): 1 / Double(labels[sample].map { counts[$0] }.min() ?? max(count, 1))
            }
        }
    }
}
