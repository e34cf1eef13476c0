// A model compiled for pictures of one size: fused, scheduled, placed and packed once, then run as often as one likes.
//
//     graph --Lowering--> program --ProgramLayout--> segments, kernels, places --CompiledProgram--> logits, h, taps
//
// A plan is immutable: many threads may run one, each with a workspace of its own. Running allocates nothing.
import CKernels
import ResNetGraph
import ResNetSupport
import Synchronization

/// A model compiled for pictures of one size: batch norms folded, epilogues fused, every value placed in memory,
/// weights packed. Immutable: any number of threads may run one at once, and a run allocates nothing.
public final class InferencePlan: Sendable {
    /// Of the model.
    public let graph: Graph
    /// The size of the pictures.
    public let input: ImageShape
    /// The most pictures of one run.
    public let batch: Int
    /// As given.
    public let options: PlanOptions
    /// Threads of a run.
    public let threads: Int
    /// What the convolutions that can compute in.
    public let precision: Precision

    let compiled: CompiledProgram
    let constants: ConstantMemory
    let isa: ck_isa
    let shapes: [NodeShape]
    /// What packed weights must agree with to be this plan's.
    let packedKey: PackedKey

    var layout: ProgramLayout { compiled.layout }
    var program: Program { layout.program }

    private let identity: Int
    /// Workspaces of `predict` that nobody uses at the moment.
    private let idle: Mutex<[WorkspaceCore]>
    private static let identities = Atomic<Int>(0)

    /// Compiles `model`.
    ///
    /// - Parameters:
    ///   - model: Its weights are packed; the plan does not keep them.
    ///   - input: The pictures' size; the channels must be the model's.
    ///   - batch: The most pictures one run takes.
    ///   - options: Threads, accuracy, bytes or floats, further outputs.
    ///   - didConsume: Called, on another thread, with the key of every parameter once the plan has what it needs of it:
    ///     whoever mapped the weight file may let its pages go.
    /// - Throws: `graph` where the model does not run on such pictures, `notQuantized`, `outOfMemory`, `noThread`, `noSuchNode` for a tap
    ///   that is no node, `kernel` for a wrong CK_ISA or wisdom file.
    public convenience init(
        model: Model, input: ImageShape, batch: Int = 1, options: PlanOptions = PlanOptions(),
        didConsume: @escaping @Sendable (String) -> Void = { _ in }
    ) throws(ExecutionError) {
        try self.init(
            model: model, input: input, batch: batch, options: options,
            thread: ComputeThread(threads: options.threads), didConsume: didConsume)
    }

    /// The first workspace runs on `thread`, which may be shared with others that do not run at the same time.
    convenience init(
        model: Model, input: ImageShape, batch: Int, options: PlanOptions, thread: ComputeThread,
        didConsume: @escaping @Sendable (String) -> Void = { _ in }
    ) throws(ExecutionError) {
        if let wisdom = options.wisdom { try Wisdom.load(wisdom) }
        let parts = try PlanParts(
            graph: model.graph, quantization: model.quantization, input: input, batch: batch, options: options)
        if let wisdom = options.wisdom { try Wisdom.save(wisdom) }
        let buffer = try AlignedBuffer(bytes: parts.layout.constantBytes, for: "packed weights")
        let compiled = CompiledProgram(parts.layout)
        try thread.perform { () throws(ExecutionError) in
            try compiled.setUp(buffer.base, from: ModelMemory(model: model)) { nodes in
                for spec in nodes.flatMap(model.graph.parameters(of:)) { didConsume(spec.name) }
            }
        }
        try self.init(
            parts: parts, compiled: compiled,
            constants: ConstantMemory(base: buffer.base, bytes: buffer.bytes, owner: buffer), thread: thread)
    }

    init(
        parts: PlanParts, compiled: CompiledProgram, constants: ConstantMemory, thread: ComputeThread
    ) throws(ExecutionError) {
        graph = parts.graph
        input = parts.input
        batch = parts.settings.batch
        options = parts.options
        threads = parts.settings.threads
        precision = parts.precision
        self.compiled = compiled
        self.constants = constants
        isa = parts.isa
        shapes = parts.shapes
        packedKey = parts.packedKey
        identity = Self.identities.add(1, ordering: .relaxed).newValue
        // The thread that packed the weights, with its OpenMP team, serves the first workspace.
        idle = Mutex([try WorkspaceCore(thread: thread, layout: parts.layout)])
    }

    // MARK: - Workspaces

    /// Memory and a thread for runs of this plan.
    /// - Throws: `ExecutionError.outOfMemory` and `ExecutionError.noThread`.
    public func makeWorkspace() throws(ExecutionError) -> Workspace {
        workspace(try takeCore())
    }

    /// Bytes of a workspace: activations, what convolutions need, outputs.
    public var workspaceBytes: Int { layout.memory.arenaBytes + layout.scratchBytes + layout.outputBytes }
    var isaName: String { String(cString: ck_isa_name(isa)) }
    /// Bytes of the packed weights.
    public var constantBytes: Int { constants.bytes }

    /// An idle workspace's core, or a new one. In a forked child the parent's are of no use and are dropped.
    private func takeCore() throws(ExecutionError) -> WorkspaceCore {
        let core: WorkspaceCore? = idle.withLock { cores in
            while let core = cores.popLast() { if core.thread.isInThisProcess { return core } }
            return nil
        }
        if let core { return core }
        return try WorkspaceCore(thread: ComputeThread(threads: threads), layout: layout)
    }

    private func workspace(_ core: WorkspaceCore) -> Workspace {
        Workspace(core: core, planIdentity: identity, ports: program.ports, portOffsets: layout.portOffsets)
    }

    /// Runs `body` with a workspace that is kept for the next call.
    func withPooledWorkspace<R>(
        _ body: (Workspace) throws(ExecutionError) -> R
    ) throws(ExecutionError) -> R {
        let core = try takeCore()
        defer { idle.withLock { $0.append(core) } }
        return try body(workspace(core))
    }

    // MARK: - Running

    /// Names of the outputs in order: the logits, h if the model has it, the taps.
    public var outputNames: [String] { program.ports.map(\.name) }

    /// The shape of one image's output.
    public func outputShape(_ index: Int) -> NodeShape { program.ports[index].shape }

    /// Runs `images` pictures, (N, C, H, W) floats, and leaves the outputs in the workspace. Allocates nothing.
    /// - Throws: `ExecutionError.input` for pictures of another size, number or kind than the plan takes,
    ///   `usedAfterFork` in a child of the process that made the workspace.
    public func run(_ pictures: UnsafeBufferPointer<Float>, images: Int, in workspace: Workspace) throws(ExecutionError)
    {
        guard options.input == .floatNCHW else { throw .input(expected: inputText, found: "floats") }
        try checkCount(pictures.count, images)
        try run(UnsafeRawPointer(pictures.baseAddress!), images, workspace)
    }

    /// Runs `images` pictures, (N, H, W, C) bytes, and leaves the outputs in the workspace. Allocates nothing.
    /// - Throws: `ExecutionError.input` for pictures of another size, number or kind than the plan takes,
    ///   `usedAfterFork` in a child of the process that made the workspace.
    public func run(_ pictures: UnsafeBufferPointer<UInt8>, images: Int, in workspace: Workspace) throws(ExecutionError)
    {
        guard options.input != .floatNCHW else { throw .input(expected: inputText, found: "bytes") }
        try checkCount(pictures.count, images)
        try run(UnsafeRawPointer(pictures.baseAddress!), images, workspace)
    }

    var inputText: String {
        switch options.input {
        case .floatNCHW: "floats (N, \(input.channels), \(input.height), \(input.width))"
        case .bytesNHWC: "bytes (N, \(input.height), \(input.width), \(input.channels))"
        }
    }

    private func checkCount(_ count: Int, _ images: Int) throws(ExecutionError) {
        guard images >= 1, images <= batch, count == images * input.count else {
            throw .input(expected: "\(inputText), N at most \(batch)", found: "\(count) values for \(images) pictures")
        }
    }

    /// `nanoseconds`, by step, are added to if given. Pages of pictures in a mapped file are given back once the first
    /// segment has passed over them.
    func run(
        _ picture: UnsafeRawPointer, _ images: Int, _ workspace: Workspace, isFileBacked: Bool = false,
        nanoseconds: UnsafeMutablePointer<UInt64>? = nil
    ) throws(ExecutionError) {
        precondition(workspace.planIdentity == identity, "a workspace runs only the plan that made it")
        precondition(ck_isa_active() == isa, "the plan was made for another instruction set than the active one")
        let core = workspace.core
        let run = Run(
            images: images, threads: Int32(threads), picture: picture, arena: core.memory.base,
            scratch: core.memory.base + layout.memory.arenaBytes, outputs: core.outputs.base, constants: constants.base,
            discardable: isFileBacked ? input.count * MemoryLayout<Float>.stride : 0, nanoseconds: nanoseconds)
        try compiled.execute(run, on: core.thread)
    }
}

/// Memory that a plan's constants live in; read-only once filled.
final class ConstantMemory: @unchecked Sendable {
    // Unchecked: nobody writes to it once it is filled.
    let base: UnsafeRawPointer
    let bytes: Int
    /// Keeps the memory alive.
    private let owner: any AnyObject & Sendable

    init(base: UnsafeRawPointer, bytes: Int, owner: any AnyObject & Sendable) {
        self.base = base
        self.bytes = bytes
        self.owner = owner
    }
}

/// The parameters of a model, which nothing changes.
private struct ModelMemory: ParameterMemory {
    let model: Model

    func parameter(_ key: String) -> ParameterPlace {
        .fixed(UnsafeMutableRawPointer(mutating: model[key].storage.base))
    }

    func gradient(_ key: String) -> Int { preconditionFailure("inference has no gradients") }

    func signedBytes(_ key: String) -> SignedBytes? { model[key].storage.signedBytes }
}
