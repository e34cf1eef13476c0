// What a plan needs to run once at a time: the arena, the outputs, and a thread to compute on.
import CKernels

/// Memory and a thread for runs of one plan. Make one for every thread that runs the plan; a run uses it alone.
///
/// Reading the results while another thread runs the plan with the same workspace is a race; so is running it twice at
/// once, which stops the program.
public final class Workspace: Sendable {
    let core: WorkspaceCore
    /// Of the plan that made it.
    let planIdentity: Int
    private let ports: [OutputPort]
    private let portOffsets: [Int]

    init(core: WorkspaceCore, planIdentity: Int, ports: [OutputPort], portOffsets: [Int]) {
        self.core = core
        self.planIdentity = planIdentity
        self.ports = ports
        self.portOffsets = portOffsets
    }

    /// Values of the logits or a tapped node, (N, features) or (N, C, H, W), for as many images as the plan takes. Those
    /// of the last run come first; the next run overwrites them.
    public func withOutput<R>(_ index: Int, _ body: (UnsafeBufferPointer<Float>) throws -> R) rethrows -> R {
        let count = ports[index].shape.count * core.batch
        return try withExtendedLifetime(core) {
            try body(UnsafeBufferPointer(start: core.outputs.floats(at: portOffsets[index]), count: count))
        }
    }
}

/// The part of a workspace that a plan may keep for later: it does not keep the plan.
final class WorkspaceCore: Sendable {
    let thread: ComputeThread
    /// The arena, then what convolutions use within a step.
    let memory: AlignedBuffer
    let outputs: AlignedBuffer
    let batch: Int

    init(thread: ComputeThread, layout: ProgramLayout) throws(ExecutionError) {
        self.thread = thread
        batch = layout.settings.batch
        memory = try AlignedBuffer(bytes: layout.memory.arenaBytes + layout.scratchBytes, for: "activations")
        outputs = try AlignedBuffer(bytes: layout.outputBytes, for: "outputs")
    }
}
