// The seam between the trainer and whatever computes: one step on one batch.
//
//     Trainer   order, schedules, callbacks, metrics, checkpoints     knows no kernels
//        |  batch, learning rates -> loss, logits
//     TrainingBackend   forward, backward, optimizer                  knows no epochs
//
// What is the same for a whole run stands in `OptimizationPlan`, given to the backend when it is made; what changes from
// step to step stands in `StepSettings`. Means and signs are PyTorch's.

import ResNetGraph

/// How a gradient changes a parameter; formulas and defaults of torch.optim.
public enum Optimizer: Sendable, Hashable {
    /// Weight decay is added to the gradient.
    case sgd(momentum: Float = 0, nesterov: Bool = false)
    /// Weight decay is added to the gradient.
    case adam(beta1: Float = 0.9, beta2: Float = 0.999, epsilon: Float = 1e-8)
    /// Weight decay shrinks the parameter itself, by learning rate times decay.
    case adamW(beta1: Float = 0.9, beta2: Float = 0.999, epsilon: Float = 1e-8)
}

/// Parameters that share a learning rate and a weight decay.
public struct ParameterGroup: Sendable, Hashable {
    /// For logs: `layer3`, `head`.
    public var name: String
    /// Checkpoint keys; no buffers.
    public var parameters: [String]
    /// The schedule's learning rate is multiplied by this.
    public var learningRateScale: Float
    /// As the optimizer takes it.
    public var weightDecay: Float

    public init(name: String, parameters: [String], learningRateScale: Float = 1, weightDecay: Float = 0) {
        self.name = name
        self.parameters = parameters
        self.learningRateScale = learningRateScale
        self.weightDecay = weightDecay
    }
}

/// What a backend is made for: the same during a whole run.
public struct OptimizationPlan: Sendable, Hashable {
    /// What is minimized.
    public var loss: Loss
    /// How a gradient changes a parameter.
    public var optimizer: Optimizer
    /// Every trainable parameter of the graph is in exactly one group, frozen or not.
    public var groups: [ParameterGroup]
    /// Gradients of all parameters that train, taken as one vector, are scaled down to this length before an update:
    /// torch.nn.utils.clip_grad_norm_, g * min(1, limit / (norm + 1e-6)).
    public var gradientNormLimit: Float?
    /// For dropout: which values are dropped is a function of (seed, `StepSettings.step`, place), of nothing else.
    public var seed: UInt64

    public init(
        loss: Loss, optimizer: Optimizer, groups: [ParameterGroup], gradientNormLimit: Float? = nil, seed: UInt64 = 0
    ) {
        self.loss = loss
        self.optimizer = optimizer
        self.groups = groups
        self.gradientNormLimit = gradientNormLimit
        self.seed = seed
    }
}

/// What changes from step to step.
public struct StepSettings: Sendable, Hashable {
    /// Batches trained on before this one since the run began.
    public var step: Int
    /// One for each group of the plan, final: the scale of the group is in it.
    public var learningRates: [Float]
    /// In place of the optimizer's momentum (SGD) or beta1 (Adam) where a schedule moves it.
    public var momentum: Float?
    /// The gradient is multiplied by this before it is added: 1 / n where n batches make one update.
    public var gradientScale: Float
    /// False: the gradient is added to what is there, and nothing else happens. True: it is added, clipped, the
    /// parameters are updated, and the sum starts anew.
    public var updates: Bool

    public init(
        step: Int, learningRates: [Float], momentum: Float? = nil, gradientScale: Float = 1, updates: Bool = true
    ) {
        self.step = step
        self.learningRates = learningRates
        self.momentum = momentum
        self.gradientScale = gradientScale
        self.updates = updates
    }
}

/// What a step on a batch came to.
public struct StepResult: Sendable {
    /// The loss of this batch, before the update; not scaled.
    public var loss: Double
    /// What the loss was divided by, in samples: N, or the sum of the class weights of the samples that count. An epoch's
    /// loss is the sum of loss * weight over the sum of weights.
    public var weight: Double
    /// (N, classes), before the update.
    public var logits: Tensor
    /// The length of the gradient before clipping; nil where there was no update or nobody computed it.
    public var gradientNorm: Double?

    public init(loss: Double, weight: Double, logits: Tensor, gradientNorm: Double? = nil) {
        self.loss = loss
        self.weight = weight
        self.logits = logits
        self.gradientNorm = gradientNorm
    }
}

/// All that a step changes. Importing an exported state and going on gives the same bits as going on.
public struct TrainingState: Sendable {
    /// Every key of `graph.parameters`: trainable, frozen and running statistics.
    public var parameters: [String: Tensor]
    /// Whatever the optimizer remembers, under names of the backend's own, e.g. `layer1.0.conv1.weight.momentum`. Empty
    /// in a state to import means: as at the start.
    public var optimizer: [String: Tensor]

    public init(parameters: [String: Tensor], optimizer: [String: Tensor] = [:]) {
        self.parameters = parameters
        self.optimizer = optimizer
    }
}

/// Whatever can say what a network makes of a batch.
public protocol BatchEvaluator {
    /// Forward in inference mode; nothing changes.
    /// - Throws: for a batch that the network does not take.
    func evaluate(_ batch: TrainingBatch) throws -> StepResult
}

/// Computes steps. One caller at a time; calls wait until the work is done. The same state, batches and settings give the
/// same bits for the same number of threads.
public protocol TrainingBackend: BatchEvaluator, AnyObject {
    /// The network.
    var graph: Graph { get }
    /// What it was made for.
    var plan: OptimizationPlan { get }
    /// Keys that do not change: gradients end where nothing upstream trains, and a batch norm whose running statistics are
    /// frozen runs in inference mode. Setting it takes effect with the next step; optimizer state of parameters that stay
    /// trainable is kept.
    var frozen: Set<String> { get set }
    /// What changes the last bits of a step but not its meaning, by name: threads, instruction set. A run that goes on with
    /// others is informed.
    var computing: [String: String] { get }
    /// The most samples a batch may have; any smaller batch is possible.
    var batchLimit: Int { get }

    /// Forward, backward, and an update if the settings say so.
    /// - Throws: for a batch that the backend does not take.
    func train(_ batch: TrainingBatch, _ settings: StepSettings) throws -> StepResult
    /// The features node in inference mode, (N, features), for `BatchInput.features`. Asked for only where the graph has
    /// a features node and all upstream of it is frozen.
    /// - Throws: for a batch that the backend does not take.
    func features(_ input: BatchInput) throws -> Tensor

    /// Every key of `graph.parameters`, as `exportState` gives them.
    /// - Throws: where the backend cannot say.
    func exportParameters() throws -> [String: Tensor]
    /// Copies; later steps do not change them. Called between updates only.
    /// - Throws: where the backend cannot say.
    func exportState() throws -> TrainingState
    /// Goes on from an exported state.
    /// - Throws: where keys or shapes are not this backend's; then nothing has changed.
    func importState(_ state: TrainingState) throws
}

/// A backend that can go on with pictures of another size.
public protocol ResizableBackend: TrainingBackend {
    /// Of the pictures. Setting it takes effect with the next step; parameters and the optimizer's state are kept.
    /// - Precondition: the network runs on such pictures and has the same parameters (`canRun`).
    var input: ImageShape { get set }
    /// Whether the network runs on such pictures, with the parameters it has.
    func canRun(on input: ImageShape) -> Bool
}

extension TrainingBackend {
    public var computing: [String: String] { [:] }
}
