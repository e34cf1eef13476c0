// Batch norms of a head, as inference sees them: y = x scale + shift for each feature. They become part of the linear layer
// beside them, so that the head is one of those that the library builds.
//
//     fc.0 linear, fc.1 norm     W x + b          becomes  scale (W x + b) + shift
//     fc.2 norm, fc.3 linear     W x + b          becomes  W (scale x + shift) + b

import ResNetGraph

/// The norms directly before and behind one linear layer.
struct HeadNorms {
    /// Of a norm's tensors, beside the names of the linear layer: no model has such names.
    static func before(_ linear: String) -> String { "\(linear).norm_before" }
    static func after(_ linear: String) -> String { "\(linear).norm_after" }

    /// PyTorch's, unless a pickled module says another.
    private static let usualEps = 1e-5
    private static let parts = ["weight", "bias", "running_mean", "running_var"]

    /// The layer's name.
    let linear: String
    /// Names of the norms that are there.
    private let norms: [(name: String, isBefore: Bool)]
    /// Keys in the file.
    private(set) var keys: [String] = []
    /// Names that should be there and are not, or are of another width.
    private(set) var missing: [String] = []

    /// - Parameter shape: of the layer's weight, (outputs, inputs). Nil where no norm stands beside it.
    init?(_ linear: String, _ shape: [Int], in file: WeightFile) {
        self.linear = linear
        let candidates = [(Self.before(linear), true), (Self.after(linear), false)]
        norms = candidates.filter { file.entry(named: "\($0.0).weight") != nil }
        if norms.isEmpty { return nil }
        for (norm, isBefore) in norms {
            for name in Self.parts.map({ "\(norm).\($0)" }) {
                guard let entry = file.entry(named: name), entry.isWeight, entry.shape == [shape[isBefore ? 1 : 0]]
                else {
                    missing.append(name)
                    continue
                }
                keys.append(entry.key)
            }
        }
    }

    /// Takes the norms into the layer's weight (outputs, inputs) and bias.
    func fold(_ weight: Tensor, _ bias: Tensor?, from file: WeightFile) throws(WeightFileError) -> (
        weight: Tensor, bias: Tensor
    ) {
        let (outputs, inputs) = (weight.shape[0], weight.shape[1])
        var factors = weight.values.map(Double.init)
        var sums = bias?.values.map(Double.init) ?? Array(repeating: 0, count: outputs)
        for (norm, isBefore) in norms {
            let (scale, shift) = try affine(norm, file)
            for row in 0..<outputs {
                let start = row * inputs
                if isBefore {
                    for column in 0..<inputs {
                        sums[row] += factors[start + column] * shift[column]
                        factors[start + column] *= scale[column]
                    }
                } else {
                    for column in 0..<inputs { factors[start + column] *= scale[row] }
                    sums[row] = sums[row] * scale[row] + shift[row]
                }
            }
        }
        return (
            Tensor(shape: weight.shape, values: factors.map { Float($0) }),
            Tensor(shape: [outputs], values: sums.map { Float($0) })
        )
    }

    private func affine(
        _ norm: String, _ file: WeightFile
    ) throws(WeightFileError) -> (scale: [Double], shift: [Double]) {
        var values: [[Double]] = []
        for part in Self.parts { values.append(try file.tensor(named: "\(norm).\(part)").values.map(Double.init)) }
        let path = file.entry(named: "\(norm).weight").map(\.key.parent) ?? ""
        let eps = file.modules[path]?.settings["eps"]?.first ?? Self.usualEps
        let scale = zip(values[0], values[3]).map { $0 / ($1 + eps).squareRoot() }
        let shift = scale.indices.map { values[1][$0] - values[2][$0] * scale[$0] }
        return (scale, shift)
    }
}
