// The compiler's work: everything of a plan that does not depend on the weights' values.
import CKernels
import ResNetGraph

struct PlanParts {
    let graph: Graph
    let input: ImageShape
    let batch: Int
    let options: PlanOptions
    let threads: Int
    let isa: ck_isa
    let block: Int
    let shapes: [NodeShape]
    let program: PlanProgram
    let segments: [PlanSegment]
    let memory: MemoryPlan
    /// By step; nil for steps that are no convolution.
    let convPlans: [ConvPlan?]
    let constantLayout: ConstantLayout

    init(graph: Graph, input: ImageShape, batch: Int, options: PlanOptions) throws(ExecutionError) {
        precondition(batch >= 1, "a plan takes at least one picture, not \(batch)")
        precondition(options.threads >= 0, "a plan runs on at least one thread, not \(options.threads)")
        precondition(graph.nodes.indices.contains(graph.logits), "the graph has no output")
        try check(ck_init(), "choosing the instruction set")
        isa = ck_isa_active()
        block = Int(ck_block())
        threads = options.threads > 0 ? options.threads : Int(ck_default_threads())
        self.graph = graph
        self.input = input
        self.batch = batch
        self.options = options

        if case .bytesNHWC(let scale, let shift) = options.input,
            scale.count != input.channels || shift.count != input.channels
        {
            throw .input(
                expected: "a scale and a shift for each of \(input.channels) channels",
                found: "\(scale.count) and \(shift.count)")
        }
        var taps: [Int] = []
        for name in options.taps {
            guard let node = graph.nodes.firstIndex(where: { $0.name == name }) else { throw .noSuchNode(name) }
            taps.append(node)
        }
        let threads = threads
        do throws(GraphError) {
            shapes = try graph.shapes(input: input)
            program = try Lowering.program(
                graph: graph, shapes: shapes, taps: taps, hasForcedAlgorithm: options.forcedAlgorithm != nil,
                keepsBlocked: options.keepsBlocked
            ) { ConvPlan.isSupported($0, batch: batch, threads: threads, options: options) }
        } catch { throw .graph(error) }

        let weightBytes = program.steps.map { step in
            step.nodes.flatMap(graph.parameters(of:)).reduce(0) { $0 + $1.count * 4 }
        }
        segments = options.schedule.segments(program.traffic(block: block, weightBytes: weightBytes), batch: batch)
        memory = MemoryPlan(program: program, segments: segments, batch: batch, block: block)
        var plans: [ConvPlan?] = []
        for (index, step) in program.steps.enumerated() {
            guard case .conv(let conv) = step.kind else {
                plans.append(nil)
                continue
            }
            plans.append(
                try ConvPlan(
                    conv, batch: memory.chunks[index], threads: threads, options: options,
                    name: graph.nodes[conv.node].name))
        }
        convPlans = plans
        constantLayout = ConstantLayout(program: program, convPlans: plans, options: options, block: block)
    }

    /// Where each output starts, in bytes, and the bytes of all.
    var outputLayout: (offsets: [Int], bytes: Int) {
        var bytes = 0
        let offsets = program.ports.map { port in
            let floats = port.isDirect ? program.values[port.value].floats(block: block) : port.shape.count
            defer { bytes += (floats * batch * 4 + 63) / 64 * 64 }
            return bytes
        }
        return (offsets, bytes)
    }

    func compiledSteps() -> [CompiledStep] { program.steps.indices.map(compiled) }

    private func compiled(_ index: Int) -> CompiledStep {
        let step = program.steps[index]
        let source = program.values[step.inputs[0]]
        let inputs = step.inputs.map(address)
        let output: Address
        let result: PlanValue
        if case .export(let port) = step.kind {
            let floats = program.ports[port].shape.count
            output = Address(
                region: .outputs, byteOffset: outputLayout.offsets[port], batchStride: floats * 4, imageFloats: floats)
            // Plain, whatever the source is.
            result = PlanValue(name: source.name, shape: source.shape, layout: .plain)
        } else {
            output = address(step.output!)
            result = program.values[step.output!]
        }
        let resultFloats = result.floats(block: block)
        var readsBytes = false
        if case .conv(let conv) = step.kind { readsBytes = conv.readsPicture && options.input != .floatNCHW }
        return CompiledStep(
            code: code(step, at: index), source: source.shape, result: result.shape, resultFloats: resultFloats,
            inputs: inputs, output: output, constants: constantLayout.steps[index],
            pictureScale: readsBytes ? constantLayout.picture : nil,
            hasGaps: (inputs + [output]).contains { $0.imageFloats != resultFloats }, threads: Int32(threads))
    }

    private func code(_ step: PlanStep, at index: Int) -> CompiledStep.Code {
        switch step.kind {
        case .importPicture: return options.input == .floatNCHW ? .importFloats : .importBytes
        case .conv: return .conv(convPlans[index]!)
        case .linear(let linear):
            return .linear(in: linear.inFeatures, out: linear.outFeatures, relu: linear.relu)
        case .scaleShift(_, let relu): return .scaleShift(relu: relu)
        case .relu: return .relu
        case .sigmoid: return .sigmoid
        case .add(let relu): return .add(relu: relu)
        case .maxPool(let spec): return .maxPool(spec)
        case .averagePool(let spec): return .averagePool(spec)
        case .globalAveragePool: return .globalAveragePool
        case .concat: return .concat(partsToCopy(step))
        case .flatten: return .flatten
        case .export: return program.values[step.inputs[0]].layout == .plain ? .exportRows : .exportBlocked
        }
    }

    /// The inputs of a concat that do not lie in its result already.
    private func partsToCopy(_ step: PlanStep) -> [(input: Int, channels: Int, offset: Int)] {
        let whole = memory.places[step.output!]
        let map = program.values[step.output!].shape
        var channel = 0
        var parts: [(input: Int, channels: Int, offset: Int)] = []
        for (position, input) in step.inputs.enumerated() {
            let channels = program.values[input].shape.channels
            let place = memory.places[input]
            let inPlace = whole.offsetFloats + channel * map.height * map.width
            if place.base != whole.base || place.offsetFloats != inPlace {
                parts.append((position, channels, channel))
            }
            channel += channels
        }
        return parts
    }

    private func address(_ value: Int) -> Address {
        let place = memory.places[value]
        let region: Address.Region
        var byteOffset = place.offsetFloats * 4
        var floatBytes = 4
        switch place.base {
        case .picture:
            region = .picture
            if options.input != .floatNCHW { floatBytes = 1 }
        case .output(let port):
            region = .outputs
            byteOffset += outputLayout.offsets[port]
        case .arena(let offset):
            region = .arena
            byteOffset += offset
        }
        return Address(
            region: region, byteOffset: byteOffset,
            batchStride: place.isWholeBatch ? place.imageFloats * floatBytes : 0, imageFloats: place.imageFloats)
    }
}
