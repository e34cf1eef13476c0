// Kaggle's Human Protein Atlas Image Classification: the labels' names, and the table that a submission is.
//
//     Id,Predicted
//     00008af0-bad0-11e8-b2b8-ac1f6b6435d0,2 25
//     0000a892-bacf-11e8-b2b8-ac1f6b6435d0,0

import Glibc
import ResNetSwift

/// Names and submissions of Kaggle's Human Protein Atlas image classification.
enum ProteinAtlas {
    /// The 28 places in a cell, in the order of their numbers.
    static let labelNames = [
        "Nucleoplasm", "Nuclear membrane", "Nucleoli", "Nucleoli fibrillar center", "Nuclear speckles",
        "Nuclear bodies", "Endoplasmic reticulum", "Golgi apparatus", "Peroxisomes", "Endosomes", "Lysosomes",
        "Intermediate filaments", "Actin filaments", "Focal adhesion sites", "Microtubules", "Microtubule ends",
        "Cytokinetic bridge", "Mitotic spindle", "Microtubule organizing center", "Centrosome", "Lipid droplets",
        "Plasma membrane", "Cell junctions", "Mitochondria", "Aggresome", "Cytosol", "Cytoplasmic bodies",
        "Rods & rings",
    ]

    /// The submission for samples that `Dataset.proteinAtlas` has read, in their order. Every cell shows something, so that
    /// a sample whose labels all stay below their thresholds gets the one that comes nearest.
    /// - Parameters:
    ///   - slice: the samples, of stacked stains; their names become the ids.
    ///   - logits: (samples, labels).
    ///   - thresholds: a probability for each label, from which on the cell has it.
    /// - Precondition: a row for every sample, a threshold for every column, and the samples are of stacked stains.
    static func submission(
        for slice: DatasetSlice, logits: Tensor, thresholds: LabelThresholds
    ) -> String {
        let columns = thresholds.values.count
        precondition(logits.shape == [slice.count, columns], "logits \(logits.shape) for \(slice.count) x \(columns)")
        let rows = logits.values.map { 1 / (1 + exp(-Double($0))) }
        var text = "Id,Predicted\n"
        for (row, sample) in slice.samples.enumerated() {
            let excess = (0..<columns).map { rows[row * columns + $0] - thresholds.values[$0] }
            var labels = excess.indices.filter { excess[$0] >= 0 }
            if labels.isEmpty { labels = [excess.indices.max { excess[$0] < excess[$1] }!] }
            text += "\(identifier(of: sample, in: slice.dataset)),\(labels.map(String.init).joined(separator: " "))\n"
        }
        return text
    }

    /// `ab12` of the stack `folder/ab12_red.png`, ...
    static func identifier(of sample: Int, in dataset: Dataset) -> String {
        guard case .stacks(let stacks) = dataset.source, let path = stacks[sample].first else {
            preconditionFailure("samples that are no stacks of stains have no identifier")
        }
        let name = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { path[path.index(after: $0)...] } ?? path[...]
        return String(name.dropLast("_red.png".count))
    }
}
