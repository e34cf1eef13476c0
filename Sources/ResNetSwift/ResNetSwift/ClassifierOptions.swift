// What a user of `Classifier` may choose, and what a classifier refuses.

import ResNetData
import ResNetExecution
import ResNetGraph
import ResNetModels

/// Choices for a ``Classifier``. None is needed: the weights say what they are.
public struct ClassifierOptions: Sendable {
    /// The network that the weights are of; nil means what their metadata or shapes say.
    public var model: ModelName?
    /// Where a file holds several networks: the key of the one to read, e.g. `model_ema`.
    public var key: String?
    /// What stands before the names of the network to read, e.g. `backbone`.
    public var prefix: String?
    /// How a picture becomes input; nil means what the weights say, else what is usual for the network.
    public var transform: ImageTransform?
    /// Height and width of pictures, to which the transform's other sizes are scaled; nil means what the transform yields,
    /// else the network's usual size.
    public var inputSize: Size2?
    /// What is seen of each picture, where there are several views their logits and features are averaged.
    public var augmentation = TestTimeAugmentation.none
    /// In the order of the logits; nil means the names stored with the weights, else ImageNet's where there are 1000 classes.
    public var classNames: [String]?
    /// Where `classNames` come from, such as the path of a file: errors begin with it.
    public var classNamesOrigin = "class names"
    /// Pictures that run at once. Memory grows with it; calls may bring any number.
    public var batch: Int
    /// Threads of a run, and those that decode; 0 means the physical cores that this process may use.
    public var threads: Int
    /// Whether Winograd may be used.
    public var accuracy = Accuracy.default
    /// nil: int8 for weights that are quantized, float32 for all others; see ``PlanOptions/precision``.
    public var precision: Precision?
    /// A file that remembers which algorithm is fastest on this machine; see ``PlanOptions/wisdom``.
    public var wisdom: String?
    /// A file of packed weights: mapped if it exists, otherwise written. Good for one size of pictures and one batch.
    public var packed: String?

    public init(model: ModelName? = nil, transform: ImageTransform? = nil, batch: Int = 8, threads: Int = 0) {
        self.model = model
        self.transform = transform
        self.batch = batch
        self.threads = threads
    }
}

/// What a ``Classifier`` refuses. Weight files and pictures throw errors of their own.
public struct ClassifierError: Error, Sendable, CustomStringConvertible {
    /// What the error is about.
    public enum Kind: Sendable {
        /// What is stored with the weights.
        case weights
        /// What the caller gave.
        case argument
        /// The network, which does not do this.
        case unsupported
        /// The plan: pictures of a size that the network cannot take, no memory, no threads, a wrong file of packed weights.
        case plan(ExecutionError)
    }

    /// What the error is about.
    public let kind: Kind
    /// A file, an argument or a network; what was expected; what was found.
    public let description: String

    init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}
