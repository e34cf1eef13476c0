// A model as the commands use it: its name, where its weights are, and plans that let the file's pages go.

import Glibc
import ResNetSwift

struct LoadedModel {
    let model: Model
    let name: String
    /// The file or `random weights`, for messages.
    let origin: String
    /// Side lengths for pictures when nobody says: the transform's, or the model's usual ones.
    let usualSize: Size2

    /// - Parameters:
    ///   - named: the model, where the user says; the weights must fit it.
    ///   - part: which of several networks.
    init(weights path: String, named: String?, _ part: WeightPartOptions) throws {
        let asked = try named.map { (name) throws(ModelError) in try ModelName(named: name) }
        let file = try part.open(path)
        if let summary = file.summary { Terminal.note("\(path): \(summary)") }
        model = try Model(from: file, named: asked)
        name = model.metadata[MetadataKey.model] ?? model.graph.modelName
        origin = path
        usualSize = try Self.transform(in: model, origin: path)?.fixedOutputSize ?? Self.usualSize(name)
    }

    init(randomWeightsOf known: ModelName, inputSize: Size2?) throws {
        model = try known.model(inputSize: inputSize, seed: 0)
        name = known.rawValue
        origin = "random weights"
        usualSize = inputSize ?? known.defaultInputSize
    }

    private static func usualSize(_ name: String) -> Size2 {
        if let known = ModelName(rawValue: name) { return known.defaultInputSize }
        return name.lowercased().hasPrefix("cifar") ? 32 : 224
    }

    /// The transform that travels with the weights.
    static func transform(in model: Model, origin: String) throws -> ImageTransform? {
        guard let text = model.metadata[MetadataKey.transform] else { return nil }
        do { return try ImageTransform(json: text) } catch { throw ToolError("\(origin): \(error)") }
    }

    /// The usual transform of such models, where the weights bring none.
    var usualTransform: ImageTransform { usualSize == 32 ? .cifar() : .imageNetV1() }

    var inputChannels: Int { model.graph.inputChannels ?? 3 }

    /// 0 for a backbone.
    var classCount: Int { model.graph.classCount ?? 0 }

    /// Checks the instruction set first, so that a wrong CK_ISA is the first thing that is said.
    func plan(size: Size2, batch: Int, _ compute: ComputeOptions, input: InputKind = .floatNCHW) throws -> InferencePlan
    {
        _ = try Machine.instructionSet()
        let model = model
        let options = compute.planOptions(input: input)
        let picture = ImageShape(channels: inputChannels, height: size.height, width: size.width)
        do {
            if let packed = compute.packed, access(packed, F_OK) == 0 {
                return try InferencePlan(
                    graph: model.graph, packed: packed, fingerprint: model.fingerprint, input: picture, batch: batch,
                    options: options)
            }
            // What is packed is not needed twice: the file's pages may go.
            let plan = try InferencePlan(
                model: model, input: picture, batch: batch, options: options,
                didConsume: { model[$0].storage.discardPages() })
            if let packed = compute.packed { try plan.writePacked(to: packed, fingerprint: model.fingerprint) }
            return plan
        } catch { throw ToolError("\(name) on pictures of \(size): \(error)") }
    }

    /// E.g. `resnet50 (resnet50.pth), 224x224, avx512, 2 threads`.
    func announcement(_ plan: InferencePlan) throws -> String {
        let threads = plan.threads == 1 ? "1 thread" : "\(plan.threads) threads"
        let size = Size2(plan.input.height, plan.input.width)
        return "\(name) (\(origin)), \(size), \(try Machine.instructionSet()), \(threads)"
    }
}
