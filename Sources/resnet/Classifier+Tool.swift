// Networks as the commands open and announce them.

import ResNetSwift

extension Classifier {
    /// The network of a weight file; says where in the file it was found.
    /// - Parameters:
    ///   - path: the file.
    ///   - named: the model, where the user says; the weights must fit it.
    ///   - part: which of several networks.
    ///   - options: but for the model.
    static func open(
        _ path: String, named: String?, _ part: WeightPartOptions, _ options: ClassifierOptions
    ) throws -> Classifier {
        var options = options
        options.model = try named.map { (name) throws(ModelError) in try ModelName(named: name) }
        if Model.isONNX(path) {
            if let option = part.given {
                throw ToolError("\(path): an ONNX file holds one network; leave out \(option)")
            }
            return try Classifier(weights: path, options: options)
        }
        let file = try part.open(path)
        if let summary = file.summary { Terminal.note("\(path): \(summary)") }
        return try Classifier(file: file, options: options)
    }

    /// False for a network that only its ONNX file describes: its weights alone could not be read again.
    var isKnownByName: Bool { !Model.isONNX(origin) || model.metadata[MetadataKey.model] != nil }

    /// Why outputs are no numbers: `conv1.weight holds 3 values that are no finite numbers`, or what else it may be.
    var faultOfOutputs: String {
        let counts = model.graph.parameters.map { spec in
            (name: spec.name, count: model[spec.name].values.count { !$0.isFinite })
        }
        let bad = counts.filter { $0.count > 0 }
        guard let first = bad.first else { return "all weights are finite numbers, so that a sum must have overflowed" }
        let others = bad.count > 1 ? ", and \(bad.count - 1) other tensors hold such" : ""
        return "\(first.name) holds \(first.count) values that are no finite numbers\(others)"
    }

    /// E.g. `resnet50 (resnet50.pth), 224x224, avx512, 2 threads`, and `int8` where it is that.
    func announcement(_ plan: InferencePlan) throws -> String {
        let threads = plan.threads == 1 ? "1 thread" : "\(plan.threads) threads"
        let size = Size2(plan.input.height, plan.input.width)
        let precision = plan.precision == .float32 ? "" : ", \(plan.precision.rawValue)"
        return "\(name) (\(origin)), \(size), \(try Machine.instructionSet()), \(threads)\(precision)"
    }
}
