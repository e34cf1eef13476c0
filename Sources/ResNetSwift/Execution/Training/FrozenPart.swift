// The part of a network that training does not change, run as inference: batch norms folded into the convolutions, ReLU
// and additions fused, a few images at a time. It hands the values on as they are made, blocked, without a copy.
import CKernels
import ResNetGraph

final class FrozenPart {
    private let graph: Graph
    let boundary: [Int]
    private let parameters: [String: Tensor]
    private let input: ImageShape
    private let batch: Int
    private let options: TrainingOptions
    private let thread: ComputeThread
    /// For the kind of pictures that came last.
    private var current: (kind: InputKind, plan: InferencePlan, workspace: Workspace)?

    /// - Parameters:
    ///   - boundary: Nodes whose values are wanted.
    ///   - parameters: All of the graph's; those of the frozen part do not change.
    ///   - thread: Shared with the rest of the training step.
    init(
        graph: Graph, boundary: [Int], parameters: [String: Tensor], input: ImageShape, batch: Int,
        options: TrainingOptions, thread: ComputeThread
    ) {
        var graph = graph
        graph.setOutputs(logits: Node(index: boundary[0]), features: nil)
        self.graph = graph
        self.boundary = boundary
        self.parameters = parameters
        self.input = input
        self.batch = batch
        self.options = options
        self.thread = thread
    }

    /// Runs `images` pictures. The values stay until the next run, in the order of the boundary.
    func run(_ source: TrainingPass.Source, images: Int) throws(ExecutionError) -> [UnsafeRawPointer] {
        let kind: InputKind
        let pictures: UnsafeRawPointer
        switch source {
        case .bytes(let bytes, let scale, let shift):
            kind = .bytesNHWC(scale: scale, shift: shift)
            pictures = UnsafeRawPointer(bytes)
        case .floats(let floats):
            kind = .floatNCHW
            pictures = UnsafeRawPointer(floats)
        }
        let (plan, workspace) = try prepared(kind)
        try plan.run(pictures, images, workspace)
        return boundary.indices.map { UnsafeRawPointer(workspace.core.outputs.base + plan.layout.portOffsets[$0]) }
    }

    /// The values of the last run, where the next one does not overwrite them.
    func copyResults(to buffer: inout AlignedBuffer?) throws(ExecutionError) -> [UnsafeRawPointer] {
        guard let (_, plan, workspace) = current else { preconditionFailure("nothing has run") }
        let results = workspace.core.outputs
        if buffer?.bytes != results.bytes {
            buffer = nil
            buffer = try AlignedBuffer(bytes: results.bytes, for: "results of the frozen part")
        }
        buffer!.base.copyMemory(from: results.base, byteCount: results.bytes)
        return boundary.indices.map { UnsafeRawPointer(buffer!.base + plan.layout.portOffsets[$0]) }
    }

    private func prepared(_ kind: InputKind) throws(ExecutionError) -> (InferencePlan, Workspace) {
        if let current, current.kind == kind { return (current.plan, current.workspace) }
        // The memory of the old one first.
        current = nil
        var plan = PlanOptions(
            threads: options.threads, accuracy: options.accuracy, input: kind,
            taps: boundary.dropFirst().map { graph.nodes[$0].name })
        plan.keepsBlocked = true
        let made = try InferencePlan(
            model: Model(graph: graph, parameters: parameters), input: input, batch: batch, options: plan,
            thread: thread)
        let workspace = try made.makeWorkspace()
        current = (kind, made, workspace)
        return (made, workspace)
    }

    /// Bytes of packed weights, activations and results.
    var bytes: Int { current.map { $0.plan.constantBytes + $0.plan.workspaceBytes } ?? 0 }
    /// The plan of the pictures that came last.
    var plan: InferencePlan? { current?.plan }
}
