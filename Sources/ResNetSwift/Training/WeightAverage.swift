// The exponential moving average of the parameters, which often classifies better than the last of them (Polyak averaging):
//
//     a = a + (1 - d) (w - a),    d = min(decay, (1 + n) / (10 + n)) at update n
//
// so that the first updates, from weights that are soon far away, do not linger. Running statistics are averaged alike;
// what is frozen stays exactly as it is.

import ResNetGraph

struct WeightAverage: Sendable {
    let decay: Double
    private(set) var updates: Int
    private(set) var parameters: [String: Tensor]

    init(decay: Double, updates: Int = 0, parameters: [String: Tensor]) {
        self.decay = decay
        self.updates = updates
        self.parameters = parameters
    }

    mutating func add(_ current: [String: Tensor]) {
        updates += 1
        let moved = Float(1 - min(decay, (1 + Double(updates)) / (10 + Double(updates))))
        parameters = parameters.reduce(into: [:]) { result, entry in
            guard let new = current[entry.key] else { preconditionFailure("no parameter \(entry.key)") }
            let old = entry.value
            precondition(new.shape == old.shape, "\(entry.key): \(new.shape) is averaged with \(old.shape)")
            result[entry.key] = Tensor(
                shape: old.shape,
                storage: FloatStorage(count: old.count) { target in
                    old.withUnsafeFloats { a in
                        new.withUnsafeFloats { w in
                            for i in 0..<target.count { target[i] = a[i] + moved * (w[i] - a[i]) }
                        }
                    }
                })
        }
    }
}
