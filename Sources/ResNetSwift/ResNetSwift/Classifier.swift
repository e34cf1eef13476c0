// A network that is ready to run: weights in, answers out.
//
//     let classifier = try Classifier(weights: "resnet50.pth")
//     for score in try classifier.classify("photo.jpg") { print(score.name, score.probability) }
//     let h = try classifier.embed(["a.jpg", "b.png"])              // (2, features)
//
// Everything that is needed to use weights is decided here, once: transform, size of the pictures, class names,
// thresholds, and a plan for each size of pictures, compiled when the first of that size come.

import Glibc
import ResNetData
import ResNetExecution
import ResNetGraph
import ResNetModels
import ResNetONNX
import ResNetSupport
import ResNetTraining
import ResNetWeights
import Synchronization

/// A network that is ready to run: it classifies pictures, gives their features, and runs arrays. Any number of threads may
/// use one at once.
public final class Classifier: Sendable {
    /// The network, its weights and its metadata.
    public let model: Model
    /// What the network is called, e.g. `resnet50`.
    public let name: String
    /// The weight file, or what stands for it in messages.
    public let origin: String
    /// As given.
    public let options: ClassifierOptions
    /// How a picture becomes input: as asked for, else as stored with the weights, else as usual for the network.
    public let transform: ImageTransform
    /// The transform stored with the weights.
    package let storedTransform: ImageTransform?
    /// Height and width of pictures where nothing else decides: as asked for, else what the transform yields, else the
    /// network's usual size.
    public let inputSize: Size2
    /// In the order of the logits: the names asked for, else those stored with the weights, else ImageNet's where there are
    /// 1000 classes, else nil.
    public let classNames: [String]?
    /// From which probability on each label is present, for networks of several labels a picture; otherwise nil.
    public let thresholds: [Double]?

    private let plans = Mutex<[PlanKey: InferencePlan]>([:])

    /// Opens weights of any kind that ``WeightFile`` reads, or an ONNX file.
    /// - Parameters:
    ///   - path: a file, or a folder as Hugging Face and timm write it.
    ///   - options: choices; none is needed.
    /// - Throws: `WeightFileError` or `ONNXError`, and `ClassifierError` where metadata or options do not fit the network.
    public convenience init(weights path: String, options: ClassifierOptions = ClassifierOptions()) throws {
        if Model.isONNX(path) {
            try Self.refuseChoice(options, path)
            try self.init(model: try Model(onnx: path), origin: path, options: options)
            return
        }
        try self.init(
            file: try WeightFile.open(path, key: options.key, prefix: options.prefix), options: options)
    }

    /// Opens weights that are in memory, in any format that ``WeightFile`` reads, or an ONNX file.
    /// - Parameters:
    ///   - bytes: of a weight file; copied.
    ///   - name: stands for the path in errors.
    ///   - options: choices; none is needed.
    /// - Throws: `WeightFileError` or `ONNXError`, and `ClassifierError` where metadata or options do not fit the network.
    public convenience init(
        weights bytes: [UInt8], name: String = "weights in memory", options: ClassifierOptions = ClassifierOptions()
    ) throws {
        if Model.isONNX(bytes) {
            try Self.refuseChoice(options, name)
            try self.init(model: try Model(onnx: bytes, name: name), origin: name, options: options)
            return
        }
        try self.init(
            file: try WeightFile.open(bytes: bytes, name: name, key: options.key, prefix: options.prefix),
            options: options)
    }

    /// An ONNX file holds one network and says which.
    private static func refuseChoice(_ options: ClassifierOptions, _ origin: String) throws(ClassifierError) {
        if let model = options.model {
            throw ClassifierError(
                .argument, "\(origin): an ONNX file describes its network; it is not read as \(model.rawValue)")
        }
        if let part = options.key ?? options.prefix {
            throw ClassifierError(
                .argument, "\(origin): an ONNX file holds one network; nothing is looked up under '\(part)'")
        }
    }

    /// Takes the network of an open weight file.
    /// - Throws: `WeightFileError`, and `ClassifierError` where metadata or options do not fit the network.
    public convenience init(file: WeightFile, options: ClassifierOptions = ClassifierOptions()) throws {
        // Names that the caller gives stand in for wrong ones in the file.
        let model = try Model(from: file, named: options.model, checksClassNames: options.classNames == nil)
        try self.init(model: model, origin: file.path, options: options)
    }

    /// A network with random weights, for trying out and timing.
    /// - Parameters:
    ///   - model: which one.
    ///   - classes: width of the logits; nil means the model's usual one.
    ///   - inputChannels: of the pictures.
    ///   - seed: the same seed gives the same weights.
    ///   - options: choices; `model` is not read.
    /// - Throws: `ModelError` for counts out of range, `ClassifierError`.
    public convenience init(
        randomWeightsOf model: ModelName, classes: Int? = nil, inputChannels: Int = 3, seed: UInt64 = 0,
        options: ClassifierOptions = ClassifierOptions()
    ) throws {
        try self.init(
            model: try model.model(
                classes: classes, inputChannels: inputChannels, inputSize: options.inputSize, seed: seed),
            origin: "random weights", options: options)
    }

    /// Takes a model as it is.
    /// - Parameters:
    ///   - model: transform, class names and thresholds come from its metadata.
    ///   - origin: stands for the weight file in messages.
    ///   - options: choices; none is needed.
    /// - Precondition: the batch of the options is at least 1.
    /// - Throws: `ClassifierError` where metadata or options do not fit the network.
    public init(
        model: Model, origin: String = "the model", options: ClassifierOptions = ClassifierOptions()
    ) throws(ClassifierError) {
        precondition(options.batch >= 1, "a batch has at least one picture, not \(options.batch)")
        let name = model.metadata[MetadataKey.model] ?? model.graph.modelName
        self.model = model
        self.name = name
        self.origin = origin
        self.options = options
        storedTransform = try Self.storedTransform(of: model, origin)
        let usualSize = storedTransform?.fixedOutputSize ?? Self.usualSize(of: name)
        let size = options.inputSize ?? options.transform?.fixedOutputSize ?? usualSize
        inputSize = size
        let usual = options.transform ?? storedTransform ?? Self.usualTransform(to: size)
        transform = usual.fixedOutputSize == size || options.inputSize == nil ? usual : usual.yielding(size)
        classNames = try Self.classNames(of: model, name: name, origin: origin, options)
        thresholds = model.labelThresholds?.values
    }

    // MARK: - What follows from the model

    /// Channels of a picture.
    public var inputChannels: Int { model.graph.inputChannels ?? 3 }
    /// Logits of a picture; 0 without a head.
    public var classCount: Int { model.graph.classCount ?? 0 }
    /// False where the weights came without a classifier: the network gives features, and training can give it a head.
    public var hasHead: Bool { !model.graph.isBackbone }
    /// What stands after the last feature map, as the metadata name it; nil without a head.
    public var headKind: HeadKind? { hasHead ? model.headKind : nil }

    private static func storedTransform(
        of model: Model, _ origin: String
    ) throws(ClassifierError) -> ImageTransform? {
        guard let text = model.metadata[MetadataKey.transform] else { return nil }
        do throws(TransformError) { return try ImageTransform(json: text) } catch {
            throw ClassifierError(.weights, "\(origin): \(error)")
        }
    }

    private static func usualSize(of name: String) -> Size2 {
        if let known = ModelName(rawValue: name) { return known.defaultInputSize }
        return name.lowercased().hasPrefix("cifar") ? 32 : 224
    }

    /// torchvision's for ImageNet at 224x224, and the same proportions at other sizes; CIFAR's for small pictures.
    private static func usualTransform(to size: Size2) -> ImageTransform {
        guard size.height == size.width else {
            return ImageTransform(steps: [
                .resize(size), .toFloat,
                .normalize(mean: ImageTransform.imageNetMean, std: ImageTransform.imageNetStd),
            ])
        }
        if size == 32 { return .cifar() }
        return .imageNetV1(resize: (size.height * 256 + 112) / 224, crop: size.height)
    }

    /// As many as there are classes, wherever they come from.
    private static func classNames(
        of model: Model, name: String, origin: String, _ options: ClassifierOptions
    ) throws(ClassifierError) -> [String]? {
        let count = model.graph.classCount ?? 0
        let isGiven = options.classNames != nil
        guard let names = options.classNames ?? model.classNames else {
            return count == ImageNet.classNames.count ? ImageNet.classNames : nil
        }
        if let fault = model.graph.fault(inClassNames: names.count, network: name) {
            throw ClassifierError(
                isGiven ? .argument : .weights, "\(isGiven ? options.classNamesOrigin : origin): \(fault)")
        }
        return names
    }

    // MARK: - Plans

    private struct PlanKey: Hashable {
        let size: Size2
        let input: InputKind
        let batch: Int
    }

    /// Pictures may come out of a transform with sizes of their own; at more sizes than these, plans are dropped.
    private static let planLimit = 4

    /// The plan for pictures of a size, compiled at the first call for it. It holds the packed weights, so that each further
    /// size takes about as much memory as the weights.
    /// - Parameters:
    ///   - size: height and width; nil means `inputSize`.
    ///   - input: floats, or bytes with the affine map that makes them floats.
    ///   - batch: pictures at once; nil means that of the options.
    /// - Throws: `ClassifierError` of kind `plan`: a network that does not run on such pictures, no memory, a file of packed
    ///   weights that was made for something else.
    public func plan(
        size: Size2? = nil, input: InputKind = .floatNCHW, batch: Int? = nil
    ) throws(ClassifierError) -> InferencePlan {
        let key = PlanKey(size: size ?? inputSize, input: input, batch: batch ?? options.batch)
        return try plans.withLock { (plans) throws(ClassifierError) in
            if let plan = plans[key] { return plan }
            if plans.count >= Self.planLimit { plans.removeAll() }
            // A wrong CK_ISA has nothing to do with the network.
            do throws(ExecutionError) { _ = try Machine.instructionSet() } catch {
                throw ClassifierError(.plan(error), "\(error)")
            }
            let plan: InferencePlan
            do throws(ExecutionError) { plan = try makePlan(key) } catch {
                throw ClassifierError(.plan(error), "\(name) on pictures of \(key.size): \(error)")
            }
            plans[key] = plan
            return plan
        }
    }

    private func makePlan(_ key: PlanKey) throws(ExecutionError) -> InferencePlan {
        let model = model
        let picture = ImageShape(channels: inputChannels, height: key.size.height, width: key.size.width)
        let planOptions = PlanOptions(
            threads: options.threads, accuracy: options.accuracy, input: key.input, wisdom: options.wisdom,
            precision: options.precision)
        func mapped(_ path: String) throws(ExecutionError) -> InferencePlan {
            try InferencePlan(
                graph: model.graph, quantization: model.quantization, packed: path, fingerprint: model.fingerprint,
                input: picture, batch: key.batch, options: planOptions)
        }
        if let packed = options.packed, packed.namesSomething { return try mapped(packed) }
        // What is packed is not needed twice: the file's pages may go.
        let plan = try InferencePlan(
            model: model, input: picture, batch: key.batch, options: planOptions,
            didConsume: { model[$0].storage.discardPages() })
        guard let packed = options.packed else { return plan }
        try plan.writePacked(to: packed, fingerprint: model.fingerprint)
        // This process shares the file's memory too.
        return try mapped(packed)
    }
}
