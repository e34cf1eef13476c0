// What can go wrong between a graph and its kernels, typed; one function turns a kernel's status into it.
import CKernels
import ResNetGraph

/// A kernel function refused.
public struct KernelError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kernel library's status codes; see `ckernels.h`.
    public enum Status: UInt32, Sendable {
        /// A NULL pointer, a size out of range, a shape that does not fit.
        case invalidArgument = 1
        /// Valid, but this algorithm or build does not do it.
        case unsupported = 2
        /// An allocation failed, or a size cannot be addressed.
        case outOfMemory = 3
        /// CK_ISA names no instruction set.
        case unknownISA = 4
        /// CK_ISA names one that this machine lacks.
        case isaNotAvailable = 5
        /// A wisdom file could not be read or written.
        case fileError = 6
        /// A wisdom file is none.
        case badWisdom = 7
        /// CK_CACHES is not three sizes of caches.
        case badCaches = 8
        /// A status that this version does not know.
        case other = 0xFFFF_FFFF
    }

    /// What the function returned.
    public let status: Status
    /// The kernel library's own sentence.
    public let reason: String
    /// What was being done, e.g. `planning layer1.0.conv1`.
    public let doing: String

    public var description: String { "\(doing): \(reason)" }
}

/// What can go wrong between a model and its kernels.
public enum ExecutionError: Error, Sendable, CustomStringConvertible {
    /// A kernel function refused; a wrong CK_ISA or CK_CACHES shows here too.
    case kernel(KernelError)
    /// The graph does not run, or not on pictures of this size.
    case graph(GraphError)
    /// So many bytes for that purpose were not to be had.
    case outOfMemory(bytes: Int, for: String)
    /// The operating system gave no thread; `errno` says why.
    case noThread(errno: Int32)
    /// A workspace's thread does not exist in a forked child: make a new workspace there.
    case usedAfterFork(createdBy: Int32, usedBy: Int32)
    /// Pictures of another size or number than the plan takes.
    case input(expected: String, found: String)
    /// A tap that names no node.
    case noSuchNode(String)
    /// int8 is asked of a model without scales for it.
    case notQuantized
    /// bf16 is asked of a model without 1x1 convolutions and linear layers.
    case nothingInBF16
    /// A file of packed weights that cannot be read, written or used.
    case packedWeights(PackedWeightsError)
    /// A state to import that is not this plan's.
    case state(key: String, expected: String, found: String)

    public var description: String {
        switch self {
        case .kernel(let error): error.description
        case .graph(let error): error.description
        case .outOfMemory(let bytes, let purpose): "no memory for \(purpose): \(bytes) bytes"
        case .noThread(let errno): "no thread for computing: error \(errno)"
        case .usedAfterFork(let creator, let user):
            "the workspace was made by process \(creator) and has no thread in its fork, process \(user); "
                + "make a workspace after the fork"
        case .input(let expected, let found): "the plan takes \(expected), not \(found)"
        case .noSuchNode(let name): "the model has no node \(name)"
        case .notQuantized: "the weights are not quantized to int8; `resnet quantize` does it"
        case .nothingInBF16:
            "bf16 is for the weights of 1x1 convolutions and linear layers, of which this network has none"
        case .packedWeights(let error): error.description
        case .state(let key, let expected, let found):
            "the training state's \(key): expected \(expected), found \(found)"
        }
    }
}

/// Turns a status into an error: the only place that does.
func check(_ status: ck_status, _ doing: @autoclosure () -> String) throws(ExecutionError) {
    guard status != CK_OK else { return }
    throw .kernel(
        KernelError(
            status: KernelError.Status(rawValue: status.rawValue) ?? .other,
            reason: String(cString: ck_status_string(status)), doing: doing()))
}
