// A model compiled for pictures of one size: fused, scheduled, placed and packed once, then run as often as one likes.
//
//     graph --Lowering--> program --SchedulePolicy--> segments --MemoryPlan--> places
//                            |                                                   |
//                       ck_conv_plan's, packed constants                    compiled steps --run--> logits, h, taps
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

    let program: PlanProgram
    let segments: [PlanSegment]
    let memory: MemoryPlan
    let steps: [CompiledStep]
    let constantLayout: ConstantLayout
    let constants: ConstantMemory
    let isa: ck_isa
    /// What the convolutions need within a step.
    let scratchBytes: Int
    /// By port, in bytes.
    let portOffsets: [Int]
    let outputBytes: Int
    let shapes: [NodeShape]
    /// What packed weights must agree with to be this plan's.
    let packedKey: PackedKey

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
    /// - Throws: `graph` where the model does not run on such pictures, `outOfMemory`, `noThread`, `noSuchNode` for a tap
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
        let parts = try PlanParts(graph: model.graph, input: input, batch: batch, options: options)
        if let wisdom = options.wisdom { try Wisdom.save(wisdom) }
        let buffer = try AlignedBuffer(bytes: parts.constantLayout.bytes, for: "packed weights")
        let writer = ConstantWriter(
            model: model, program: parts.program, convPlans: parts.convPlans, layout: parts.constantLayout,
            options: options, base: buffer.base, didConsume: didConsume)
        try thread.perform { () throws(ExecutionError) in
            try writer.writeAll()
        }
        try self.init(
            parts: parts, constants: ConstantMemory(base: buffer.base, bytes: buffer.bytes, owner: buffer),
            thread: thread)
    }

    init(parts: PlanParts, constants: ConstantMemory, thread: ComputeThread) throws(ExecutionError) {
        graph = parts.graph
        input = parts.input
        batch = parts.batch
        options = parts.options
        threads = parts.threads
        program = parts.program
        segments = parts.segments
        memory = parts.memory
        steps = parts.compiledSteps()
        constantLayout = parts.constantLayout
        self.constants = constants
        isa = parts.isa
        scratchBytes = parts.convPlans.reduce(0) { max($0, $1?.workspaceBytes ?? 0) }
        (portOffsets, outputBytes) = parts.outputLayout
        shapes = parts.shapes
        packedKey = parts.packedKey
        identity = Self.identities.add(1, ordering: .relaxed).newValue
        // The thread that packed the weights, with its OpenMP team, serves the first workspace.
        let core = try WorkspaceCore(
            thread: thread, memoryBytes: parts.memory.arenaBytes + scratchBytes, outputBytes: outputBytes, batch: batch)
        idle = Mutex([core])
    }

    // MARK: - Workspaces

    /// Memory and a thread for runs of this plan.
    /// - Throws: `ExecutionError.outOfMemory` and `ExecutionError.noThread`.
    public func makeWorkspace() throws(ExecutionError) -> Workspace {
        workspace(try takeCore())
    }

    /// Bytes of a workspace: activations, what convolutions need, outputs.
    public var workspaceBytes: Int { memory.arenaBytes + scratchBytes + outputBytes }
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
        return try WorkspaceCore(
            thread: ComputeThread(threads: threads), memoryBytes: memory.arenaBytes + scratchBytes,
            outputBytes: outputBytes, batch: batch)
    }

    private func workspace(_ core: WorkspaceCore) -> Workspace {
        Workspace(core: core, planIdentity: identity, ports: program.ports, portOffsets: portOffsets)
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
        var job = RunJob(
            plan: Unmanaged.passUnretained(self), memory: runMemory(picture, workspace.core), images: images,
            discardable: isFileBacked ? input.count * MemoryLayout<Float>.stride : 0, nanoseconds: nanoseconds)
        try workspace.core.thread.run(
            { context in
                let job = context.assumingMemoryBound(to: RunJob.self)
                job.pointee.plan.takeUnretainedValue().execute(&job.pointee)
            }, &job)
        if let failed = job.failedStep { try check(job.status, "running \(stepName(failed))") }
    }

    private func runMemory(_ picture: UnsafeRawPointer, _ core: WorkspaceCore) -> RunMemory {
        RunMemory(
            picture: picture, arena: core.memory.base, scratch: core.memory.base + memory.arenaBytes,
            outputs: core.outputs.base, constants: constants.base)
    }

    /// On the workspace's thread: every segment, chunk by chunk.
    private func execute(_ job: inout RunJob) {
        for segment in segments {
            var start = 0
            while start < job.images {
                let count = min(segment.chunk, job.images - start)
                for index in segment.steps {
                    let begin = job.nanoseconds == nil ? 0 : monotonicNanoseconds()
                    job.status = steps[index].run(job.memory, start: start, count: count)
                    if let nanoseconds = job.nanoseconds { nanoseconds[index] += monotonicNanoseconds() - begin }
                    guard job.status == CK_OK else {
                        job.failedStep = index
                        return
                    }
                }
                if segment.steps.lowerBound == 0, job.discardable > 0 {
                    discardFilePages(job.memory.picture + start * job.discardable, count * job.discardable)
                }
                start += count
            }
        }
    }
}

/// A run as the workspace's thread sees it.
private struct RunJob {
    let plan: Unmanaged<InferencePlan>
    let memory: RunMemory
    let images: Int
    /// Bytes of a picture in a mapped file; 0: pictures in memory.
    let discardable: Int
    /// By step, added to; nil where nobody asks.
    let nanoseconds: UnsafeMutablePointer<UInt64>?
    var status = CK_OK
    var failedStep: Int?
}
