// Weights into a model: everything is compared first, then read, then exchanged at once. Nothing is ever half loaded.

import ResNetGraph

/// What must agree before anything is loaded.
public enum LoadPolicy: Sendable, Hashable {
    /// Every key and every shape must agree, otherwise the model stays as it is and the error says why.
    case strict
    /// Loads what agrees and leaves the rest of the model as it is, e.g. a new head. The report says what was left.
    case skipMismatched
}

extension Model {
    /// A model of `graph` whose every parameter comes from `file`.
    /// - Throws: `WeightFileError`: `doesNotFit` unless every key and shape agrees, `classNames`, faults of reading.
    public init(graph: Graph, from file: WeightFile) throws(WeightFileError) {
        try self.init(graph: graph, from: file, network: graph.modelName)
    }

    /// - Parameter network: what the network is called; nil: the file's class names are not checked.
    init(graph: Graph, from file: WeightFile, network: String?) throws(WeightFileError) {
        let plan = LoadPlan(graph, file)
        guard plan.report.isComplete else {
            throw WeightFileError(path: file.path, fault: .doesNotFit(plan.report))
        }
        if let network { try plan.checkClassNames(file, graph, network) }
        self.init(graph: graph, parameters: try plan.read(file))
        metadata = plan.metadata(file, merging: [:])
        quantization = try file.quantization(of: graph)
    }

    /// Replaces this model's parameters by those of `file`; on any error the model is untouched.
    ///
    /// The first convolution is adapted to the model's number of input channels as timm does it; `num_batches_tracked` and
    /// what a trainer keeps for itself (`training.*`) are passed over. The file's metadata (class names, transform) comes along, class names only with their classifier.
    @discardableResult
    public mutating func load(
        from file: WeightFile, policy: LoadPolicy = .strict
    ) throws(WeightFileError) -> LoadReport {
        let (model, report) = try loading(from: file, policy: policy)
        self = model
        return report
    }

    /// This model with the parameters of `file`.
    /// - Throws: `WeightFileError`: `doesNotFit` as the policy says; faults of reading.
    public func loading(
        from file: WeightFile, policy: LoadPolicy = .strict
    ) throws(WeightFileError) -> (model: Model, report: LoadReport) {
        let plan = LoadPlan(graph, file)
        let fits =
            policy == .strict ? plan.report.isComplete : plan.report.variant == nil && !plan.report.loaded.isEmpty
        guard fits else { throw WeightFileError(path: file.path, fault: .doesNotFit(plan.report)) }
        try plan.checkClassNames(file, graph, metadata[MetadataKey.model] ?? graph.modelName)
        let values = try plan.read(file)
        var result = Model(graph: graph, parameters: parameters.merging(values) { _, loaded in loaded })
        result.frozen = frozen
        result.metadata = plan.metadata(file, merging: metadata)
        return (result, plan.report)
    }
}

extension WeightFile {
    /// What would become of each tensor if a model of `graph` were loaded from this file; nothing is read.
    public func report(for graph: Graph) -> LoadReport { LoadPlan(graph, self).report }
}

/// The comparison of a graph with a file, from shapes alone.
struct LoadPlan {
    var report = LoadReport()
    /// Name and shape, and the channels to adapt to where they differ.
    private var reads: [(name: String, shape: [Int], inputChannels: Int?)] = []
    private let classifier: Set<String>
    /// Filters to standardize.
    private let standardized: Set<String>
    /// Norms beside linear layers, which become part of them.
    private var norms: [HeadNorms] = []
    /// Of the file's names, before the model's.
    private let prefix: String

    init(_ graph: Graph, _ file: WeightFile) {
        let specs = graph.parameters
        classifier = Set(specs.filter { $0.role == .linearWeight }.suffix(1).map(\.name))
        standardized = Set(
            specs.filter { spec in
                guard case .conv(let conv) = graph.nodes[spec.node].operation else { return false }
                return conv.isStandardized && spec.role == .convWeight
            }.map(\.name))
        prefix = Self.prefix(of: specs, in: file)
        let stem = graph.stemConvolution
        for spec in specs where spec.role == .linearWeight {
            guard let beside = HeadNorms(graph.nodes[spec.node].module, spec.shape, in: file) else { continue }
            norms.append(beside)
            report.missing += beside.missing
        }
        for spec in specs {
            guard let entry = file.entry(named: prefix + spec.name) else {
                // A norm behind a layer without bias gives it one.
                if norms.contains(where: { "\($0.linear).bias" == spec.name }) { continue }
                report.missing.append(spec.name)
                if let unread = file.unreadTensor(named: prefix + spec.name) {
                    report.unread.append(UnreadTensor(key: spec.name, reason: unread.reason))
                }
                continue
            }
            let mismatch = ShapeMismatch(name: spec.name, fileShape: entry.shape, modelShape: spec.shape)
            if !entry.isWeight {
                report.wrongType.append(TypeMismatch(name: spec.name, type: entry.type))
            } else if entry.shape == spec.shape || Self.isOfOnePixel(entry.shape, spec) {
                report.loaded.append(spec.name)
                reads.append((spec.name, spec.shape, nil))
            } else if spec.node == stem, spec.role == .convWeight, Self.canAdapt(entry.shape, to: spec.shape) {
                report.loaded.append(spec.name)
                report.adapted.append(mismatch)
                reads.append((spec.name, spec.shape, spec.shape[1]))
            } else {
                report.mismatched.append(mismatch)
            }
        }
        let known = Set(specs.compactMap { file.entry(named: prefix + $0.name)?.key } + norms.flatMap(\.keys))
        var unexpected: [WeightEntry] = []
        for entry in file.entries where !known.contains(entry.key) {
            let isOfTrainer = entry.key.hasPrefix(MetadataKey.trainingPrefix)
            if entry.name.hasSuffix("num_batches_tracked") || isOfTrainer { continue }
            if entry.part == .network, entry.name.hasPrefix(prefix) {
                unexpected.append(entry)
            } else {
                report.left.append(entry.key)
            }
        }
        report.unexpected = unexpected.map(\.name)
        if let refusal = file.refusal {
            report.variant = "\(refusal)"
        } else if let variant = ResNetVariant.sentence(unexpected.map { ($0.name, $0.shape) }) {
            report.variant = "the weights are of another variant of the network: \(variant)"
        } else if !report.missing.isEmpty, report.missing.allSatisfy(Self.isStatistic) {
            report.variant = Self.withoutStatistics
        }
    }

    static let withoutStatistics =
        "its norms have no running statistics: either they were not saved, or these are group norms, which only the model's "
        + "name tells, e.g. --model resnet50_gn or resnetv2_50x1_bit"

    private static func isStatistic(_ name: String) -> Bool {
        name.hasSuffix(".running_mean") || name.hasSuffix(".running_var")
    }

    /// What stands before the model's names in the file, where the file shows no network of its own: anything that stands
    /// before the first name, if it is one thing.
    private static func prefix(of specs: [ParameterSpec], in file: WeightFile) -> String {
        guard let first = specs.first?.name, file.entry(named: first) == nil, file.unreadTensor(named: first) == nil
        else {
            return ""
        }
        let found = file.entries.filter { $0.name.hasSuffix(".\(first)") }
        return found.count == 1 ? String(found[0].name.dropLast(first.count)) : ""
    }

    /// (O, 3, h, w) in the file and (O, N, h, w) in the model: pretrained on color pictures, used on others.
    private static func canAdapt(_ file: [Int], to model: [Int]) -> Bool {
        file.count == 4 && model.count == 4 && file[1] == 3 && file[0] == model[0] && file[2...] == model[2...]
    }

    /// (K, C, 1, 1) in the file and (K, C) in the model: a 1x1 convolution of one pixel is a linear layer. (C, 1, 1) and
    /// (C): torchvision's layer scale.
    private static func isOfOnePixel(_ file: [Int], _ spec: ParameterSpec) -> Bool {
        [.linearWeight, .layerScale].contains(spec.role) && file == spec.shape + [1, 1]
    }

    func read(_ file: WeightFile) throws(WeightFileError) -> [String: Tensor] {
        var values: [String: Tensor] = [:]
        values.reserveCapacity(reads.count)
        for (name, shape, inputChannels) in reads {
            var tensor = try file.tensor(named: prefix + name)
            if standardized.contains(name) { tensor = tensor.standardized }
            values[name] =
                inputChannels.map { tensor.adaptingInputChannels(to: $0) }
                ?? Tensor(shape: shape, storage: tensor.storage)
        }
        for beside in norms {
            // A classifier of other classes was not read.
            guard let weight = values["\(beside.linear).weight"] else { continue }
            let bias = values["\(beside.linear).bias"]
            let folded = try beside.fold(weight, bias, from: file)
            values["\(beside.linear).weight"] = folded.weight
            values["\(beside.linear).bias"] = folded.bias
        }
        return values
    }

    /// Every class has a name, or none has.
    func checkClassNames(_ file: WeightFile, _ graph: Graph, _ network: String) throws(WeightFileError) {
        guard hasClassifier, let names = file.classNames,
            let fault = graph.fault(inClassNames: names.count, network: network)
        else { return }
        throw WeightFileError(path: file.path, fault: .classNames(fault))
    }

    /// The file's class names belong to the classifier that was loaded.
    private var hasClassifier: Bool { !classifier.isEmpty && classifier.isSubset(of: report.loaded) }

    func metadata(_ file: WeightFile, merging own: [String: String]) -> [String: String] {
        var result = own
        for (key, value) in file.portableMetadata {
            if key == MetadataKey.classes && !hasClassifier { continue }
            // What the model is called is the model's affair, unless it has no name yet.
            if key == MetadataKey.model && own[key] != nil { continue }
            result[key] = value
        }
        return result
    }
}

extension Graph {
    /// Index of the one convolution that reads the input, ungrouped; nil where there is no such.
    fileprivate var stemConvolution: Int? {
        let readers = nodes.indices.filter { index in
            nodes[index].inputs.contains { if case .input = nodes[$0].operation { true } else { false } }
        }
        guard readers.count == 1, let index = readers.first, case .conv(let spec) = nodes[index].operation,
            spec.groups == 1
        else { return nil }
        return index
    }
}

extension Tensor {
    /// Each filter (the first axis) with mean 0 and variance 1, as BiT computes with it.
    var standardized: Tensor {
        let size = max(shape.dropFirst().reduce(1, *), 1)
        let values = self.values
        return Tensor(
            shape: shape,
            storage: FloatStorage(count: values.count) { target in
                for first in stride(from: 0, to: values.count, by: size) {
                    let filter = values[first..<first + size]
                    let mean = filter.reduce(0) { $0 + Double($1) } / Double(size)
                    let variance = filter.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(size)
                    let scale = 1 / (variance + 1e-8).squareRoot()
                    for index in filter.indices { target[index] = Float((Double(values[index]) - mean) * scale) }
                }
            })
    }
}
