// Splitting a data set into training and validation: seeded, and stratified, so that both show the classes in equal
// proportions.
//
// One class a sample: each class gives its share; the total is exact, and what rounding leaves goes to the classes with the
// largest remainders. Several labels a sample: iterative stratification (Sechidis, Tsoumakas, Vlahavas: On the
// Stratification of Multi-Label Data, 2011): the rarest label first, its samples to where most of it is still wanted.

extension Dataset {
    /// Holds out a part for validation, in which every class or label has its share.
    /// - Parameters:
    ///   - fraction: of the samples, for validation; in 0..<1.
    ///   - seed: the same seed holds out the same samples.
    /// - Returns: both in ascending order. A class of one sample trains.
    /// - Throws: `DatasetError.request` for a fraction out of range.
    public func split(
        validation fraction: Double, seed: UInt64
    ) throws(DatasetError) -> (training: DatasetSlice, validation: DatasetSlice) {
        guard (0..<1).contains(fraction) else {
            throw .request(expected: "a validation fraction in 0..<1", found: "\(fraction)")
        }
        let held =
            switch labels {
            case .classes(let labels): Self.stratified(labels, classNames.count, fraction, seed)
            case .multiLabel(let labels): Self.stratified(labels, classNames.count, fraction, seed)
            }
        let training = (0..<count).filter { !held.contains($0) }
        return (DatasetSlice(dataset: self, samples: training), DatasetSlice(dataset: self, samples: held.sorted()))
    }

    private static func stratified(
        _ labels: [Int], _ classCount: Int, _ fraction: Double, _ seed: UInt64
    ) -> Set<Int> {
        var members = [[Int]](repeating: [], count: classCount)
        for (sample, label) in labels.enumerated() { members[label].append(sample) }
        // A class never gives its last sample.
        let shares = members.map { Double($0.count) * fraction }
        var counts = zip(shares, members).map { min(Int($0), max($1.count - 1, 0)) }
        let total = Int((Double(labels.count) * fraction).rounded())
        let byRemainder = members.indices.sorted {
            (Double(counts[$0]) - shares[$0], $0) < (Double(counts[$1]) - shares[$1], $1)
        }
        for label in byRemainder where counts.reduce(0, +) < total && counts[label] + 1 < members[label].count {
            counts[label] += 1
        }
        var held: Set<Int> = []
        for (label, samples) in members.enumerated() {
            var random = SampleRandom(seed: seed, purpose: .split, sample: label)
            let order = random.permutation(samples.count)
            held.formUnion(order.prefix(counts[label]).map { samples[$0] })
        }
        return held
    }

    private static func stratified(
        _ labels: [[Int]], _ labelCount: Int, _ fraction: Double, _ seed: UInt64
    ) -> Set<Int> {
        var random = SampleRandom(seed: seed, purpose: .split)
        let order = random.permutation(labels.count)
        let shares = [1 - fraction, fraction]
        var wanted = shares.map { Double(labels.count) * $0 }
        var remaining = [Int](repeating: 0, count: labelCount)
        for label in labels.joined() { remaining[label] += 1 }
        var wantedOfLabel = remaining.map { count in shares.map { Double(count) * $0 } }
        var isPlaced = [Bool](repeating: false, count: labels.count)
        var held: Set<Int> = []

        func place(_ sample: Int, by label: Int?) {
            // Where most of the label is wanted, then where most samples are; training wins a tie.
            let gain = (0...1).map { side in (label.map { wantedOfLabel[$0][side] } ?? 0, wanted[side]) }
            let side = gain[1] > gain[0] ? 1 : 0
            if side == 1 { held.insert(sample) }
            isPlaced[sample] = true
            wanted[side] -= 1
            for label in labels[sample] {
                wantedOfLabel[label][side] -= 1
                remaining[label] -= 1
            }
        }

        while let rarest = remaining.indices.filter({ remaining[$0] > 0 }).min(by: {
            (remaining[$0], $0) < (remaining[$1], $1)
        }) {
            for sample in order where !isPlaced[sample] && labels[sample].contains(rarest) {
                place(sample, by: rarest)
            }
        }
        for sample in order where !isPlaced[sample] { place(sample, by: nil) }
        return held
    }
}
