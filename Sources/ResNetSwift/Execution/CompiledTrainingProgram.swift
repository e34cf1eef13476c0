// A training program with everything its kernels need but the batch: scheduled, placed, its convolutions planned.
//
//     TrainingBuilder -> program -> TrainingSchedule -> segments -> convolution plans -> TrainingMemory -> kernels
import CKernels
import Glibc
import ResNetGraph

final class CompiledTrainingProgram {
    let program: TrainingProgram
    let schedule: TrainingSchedule
    let memory: TrainingMemory
    let scope: TrainingScope
    /// By step of the schedule; nil for steps that are no convolution.
    let convPlans: [ConvPlan?]
    /// What convolutions need within a step.
    let scratchBytes: Int
    let batch: Int
    let threads: Int
    private(set) var kernels: [TrainingKernel] = []

    init(
        scope: TrainingScope, mode: TrainingBuilder.Mode, batch: Int, threads: Int, options: TrainingOptions,
        store: ParameterStore
    ) throws(ExecutionError) {
        let block = Int(ck_block())
        self.scope = scope
        self.batch = batch
        self.threads = threads
        func description(_ node: Int, batch: Int, planes: Bool) -> ck_conv_desc {
            guard case .conv(let spec) = scope.graph.nodes[node].operation else {
                preconditionFailure("only a convolution has a plan")
            }
            var description = ConvPlan.description(
                spec, input: scope.map(scope.graph.nodes[node].inputs[0]), batch: batch, threads: threads,
                accuracy: options.accuracy)
            if planes { description.src_layout = CK_NCHW }
            return description
        }
        do throws(GraphError) {
            program = try TrainingBuilder.program(
                scope: scope, mode: mode, checkpointing: options.checkpointing, block: block
            ) { node in
                var forward = description(node, batch: 1, planes: true)
                forward.epilogue = UInt32(CK_BIAS | CK_RELU)
                var gradient = description(node, batch: 1, planes: true)
                gradient.pass = CK_WEIGHT_GRADIENT
                return ConvPlan.isSupported(forward) && ConvPlan.isSupported(gradient)
            }
        } catch { throw .graph(error) }
        let schedule = TrainingSchedule(program, batch: batch, block: block, budget: options.activationBudget) { step in
            switch step.operation {
            case .conv(let node, _), .convDataGradient(let node, _), .convWeightGradient(let node):
                scope.graph.parameters(of: node)[0].count * 4
            default: 0
            }
        }
        self.schedule = schedule

        var plans: [ConvPlan?] = Array(repeating: nil, count: schedule.steps.count)
        var sizes: [Int: Int] = [:]
        for segment in schedule.segments {
            for index in segment.steps {
                let step = schedule.steps[index]
                var wanted: ck_conv_desc
                switch step.operation {
                case .conv(let node, let relu):
                    wanted = description(
                        node, batch: segment.chunk, planes: program.values[step.inputs[0]].storage == .planes)
                    if hasBias(scope, node) { wanted.epilogue |= UInt32(CK_BIAS) }
                    if relu { wanted.epilogue |= UInt32(CK_RELU) }
                case .convDataGradient(let node, let accumulates):
                    wanted = description(node, batch: segment.chunk, planes: false)
                    wanted.pass = CK_DATA_GRADIENT
                    if accumulates { wanted.epilogue = UInt32(CK_RESIDUAL) }
                case .convWeightGradient(let node):
                    wanted = description(
                        node, batch: segment.chunk, planes: program.values[step.inputs[0]].storage == .planes)
                    wanted.pass = CK_WEIGHT_GRADIENT
                default: continue
                }
                let plan = try ConvPlan(wanted, name: scope.graph.nodes[step.node].name)
                plans[index] = plan
                if wanted.pass != CK_WEIGHT_GRADIENT { sizes[step.inputs[1]] = plan.packedBytes }
            }
        }
        for (index, value) in program.values.enumerated() where value.storage == .sums {
            var description = normDescription(value.shape, batch: batch, threads: threads)
            sizes[index] = ck_bn_workspace_size(&description)
        }
        convPlans = plans
        scratchBytes = plans.reduce(0) { max($0, $1?.workspaceBytes ?? 0) }
        memory = TrainingMemory(program, schedule, batch: batch, block: block, sizes: sizes)
        let compiler = try TrainingCompiler(self, store: store, block: block)
        for index in schedule.steps.indices { kernels.append(try compiler.kernel(index)) }
    }

    /// On the compute thread: every segment, chunk by chunk. Returns the step that failed and why. `nanoseconds`, by step,
    /// are added to if given.
    func execute(_ run: TrainingRun, nanoseconds: UnsafeMutablePointer<UInt64>? = nil) -> (
        step: Int, status: ck_status
    )? {
        for segment in schedule.segments {
            var start = 0
            let chunk = segment.chunk
            while start < run.images {
                let count = min(chunk, run.images - start)
                for index in segment.steps {
                    let begin = nanoseconds == nil ? 0 : monotonicNanoseconds()
                    let status = kernels[index](run, start, count)
                    if let nanoseconds { nanoseconds[index] += monotonicNanoseconds() - begin }
                    if status != CK_OK { return (index, status) }
                }
                start += count
            }
        }
        return nil
    }

    func address(_ value: Int, block: Int) -> TrainingAddress {
        let description = program.values[value]
        let floats = description.isPerImage ? description.floats(block: block) : 0
        if let boundary = description.boundary {
            return TrainingAddress(region: .boundary(boundary), batchStride: floats * 4, floats: floats)
        }
        guard let place = memory.places[value] else { preconditionFailure("a value that nobody touches") }
        return TrainingAddress(
            region: .arena(offset: place.offset), batchStride: place.isWhole ? place.imageBytes : 0, floats: floats)
    }
}

func hasBias(_ scope: TrainingScope, _ node: Int) -> Bool { scope.graph.parameters(of: node).count == 2 }

func normDescription(_ shape: ImageShape, batch: Int, threads: Int) -> ck_bn_desc {
    var description = ck_bn_desc()
    description.batch = Int32(batch)
    description.channels = Int32(shape.channels)
    description.height = Int32(shape.height)
    description.width = Int32(shape.width)
    description.threads = Int32(threads)
    return description
}

extension CompiledTrainingProgram {
    /// The node that a step works for, and which way.
    func stepName(_ index: Int) -> String {
        let step = schedule.steps[index]
        return scope.graph.nodes[step.node].name + (step.isBackward ? " backward" : "")
    }
}
