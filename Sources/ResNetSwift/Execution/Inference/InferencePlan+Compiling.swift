// Graph -> program layout: everything of a plan that does not depend on the weights' values.
import CKernels
import ResNetGraph

struct PlanParts {
    let graph: Graph
    let input: ImageShape
    let options: PlanOptions
    let settings: KernelSettings
    let isa: ck_isa
    let shapes: [NodeShape]
    let layout: ProgramLayout
    let precision: Precision
    /// What the plan computes in 8 bits; nil: nothing.
    let quantization: Quantization?

    /// - Parameter quantization: Of the model.
    init(
        graph: Graph, quantization: Quantization?, input: ImageShape, batch: Int, options: PlanOptions
    ) throws(ExecutionError) {
        precondition(batch >= 1, "a plan takes at least one picture, not \(batch)")
        precondition(options.threads >= 0, "a plan runs on at least one thread, not \(options.threads)")
        precondition(graph.nodes.indices.contains(graph.logits), "the graph has no output")
        try check(ck_init(), "choosing the instruction set")
        isa = ck_isa_active()
        self.graph = graph
        self.input = input
        self.options = options
        precision = options.precision ?? (quantization == nil ? .float32 : .int8)
        if precision == .int8 && quantization == nil { throw .notQuantized }
        self.quantization = precision == .int8 ? quantization : nil
        let settings = KernelSettings(
            batch: batch, threads: options.threads > 0 ? options.threads : Int(ck_default_threads()),
            block: Int(ck_block()), accuracy: options.accuracy, forcedAlgorithm: options.forcedAlgorithm,
            measures: options.wisdom != nil)
        self.settings = settings

        if case .bytesNHWC(let scale, let shift) = options.input,
            scale.count != input.channels || shift.count != input.channels
        {
            throw .input(
                expected: "a scale and a shift for each of \(input.channels) channels",
                found: "\(scale.count) and \(shift.count)")
        }
        var wishes = Lowering.Wishes(
            input: options.input, hasForcedAlgorithm: options.forcedAlgorithm != nil,
            keepsBlocked: options.keepsBlocked, quantization: self.quantization, wantsBF16: precision == .bf16)
        for name in options.taps {
            guard let node = graph.nodes.firstIndex(where: { $0.name == name }) else { throw .noSuchNode(name) }
            wishes.taps.append(node)
        }
        let program: Program
        do throws(GraphError) {
            shapes = try graph.shapes(input: input)
            program = try Lowering.program(graph: graph, shapes: shapes, wishes: wishes, block: settings.block) {
                $0.isSupported(settings)
            }
        } catch { throw .graph(error) }
        if precision == .bf16, !program.steps.contains(where: { $0.operation.weights == .bfloat16 }) {
            throw .nothingInBF16
        }
        layout = try ProgramLayout(program, graph: graph, settings: settings, policy: options.schedule)
    }
}
