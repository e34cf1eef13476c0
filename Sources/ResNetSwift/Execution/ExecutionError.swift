// What can go wrong between a graph and its kernels, typed; one function turns a kernel's status into it.
import CKernels

/// A kernel function refused.
public struct KernelError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Status: UInt32, Sendable {
        case invalidArgument = 1
        case unsupported = 2
        case outOfMemory = 3
        case unknownISA = 4
        case isaNotAvailable = 5
        case fileError = 6
        case badWisdom = 7
        /// A status that this version does not know.
        case other = 0xFFFF_FFFF
    }

    public let status: Status
    /// The kernel library's own sentence.
    public let reason: String
    /// What was being done, e.g. `planning layer1.0.conv1`.
    public let doing: String

    public var description: String { "\(doing): \(reason)" }
}

public enum ExecutionError: Error, Sendable, CustomStringConvertible {
    case kernel(KernelError)
    /// The graph does not run, or not on pictures of this size.
    case graph(GraphError)
    case outOfMemory(bytes: Int, for: String)
    /// The operating system gave no thread; `errno` says why.
    case noThread(errno: Int32)
    /// A workspace's thread does not exist in a forked child: make a new workspace there.
    case usedAfterFork(createdBy: Int32, usedBy: Int32)
    /// Pictures of another size or number than the plan takes.
    case input(expected: String, found: String)
    case noSuchNode(String)
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
