// Steps -> kernels: each becomes a closure over addresses and parameters, so that running it is one call.
import CKernels
import Glibc
import ResNetGraph

struct TrainingCompiler {
    let program: TrainingProgram
    let steps: [TrainingStep]
    let scope: TrainingScope
    let store: ParameterStore
    let block: Int
    let threads: Int32
    private let compiled: CompiledTrainingProgram
    /// Mean and 1 / sqrt(var + eps) of every batch norm from the forward to the backward pass, by node: bytes.
    private let statistics: AlignedBuffer
    private let statisticOffsets: [Int: Int]

    init(_ compiled: CompiledTrainingProgram, store: ParameterStore, block: Int) throws(ExecutionError) {
        program = compiled.program
        steps = compiled.schedule.steps
        scope = compiled.scope
        threads = Int32(compiled.threads)
        self.compiled = compiled
        self.store = store
        self.block = block
        var offsets: [Int: Int] = [:]
        var bytes = 0
        for value in program.values where value.storage == .sums && offsets[value.node] == nil {
            offsets[value.node] = bytes
            bytes += 2 * Self.padded(value.shape.channels) * 4
        }
        statisticOffsets = offsets
        statistics = try AlignedBuffer(bytes: bytes, for: "batch statistics")
        // A convolution's bias is a batch norm of mean 0 and deviation 1.
        for (node, offset) in offsets {
            guard case .conv(let spec) = scope.graph.nodes[node].operation else { continue }
            let deviations = statistics.floats(at: offset + Self.padded(spec.outChannels) * 4)
            for channel in 0..<spec.outChannels { deviations[channel] = 1 }
        }
    }

    static func padded(_ channels: Int) -> Int { (channels + 15) / 16 * 16 }

    func kernel(_ index: Int) throws(ExecutionError) -> TrainingKernel {
        let step = steps[index]
        switch step.operation {
        case .loadPictures, .loadFeatures, .importPlanes, .accumulate, .copy: return movement(step)
        case .pack(let node): return pack(node, step)
        case .conv, .convDataGradient, .convWeightGradient: return try convolution(step, index)
        case .normSums, .normFinish, .normApply: return norm(step)
        case .normGradientSums, .normGradientFinish, .normGradientApply: return normGradient(step)
        case .linear, .linearGradient: return linear(step)
        case .maxPool, .averagePool, .globalAveragePool, .maxPoolGradient, .averagePoolGradient,
            .globalAveragePoolGradient:
            return pool(step)
        case .relu, .sigmoid, .add, .dropout, .reluGradient, .sigmoidGradient: return try elementwise(step)
        case .concat, .concatSlice, .flatten, .unflatten: return arrangement(step)
        case .loss: return loss(step)
        }
    }

    // MARK: - What kernels are made from

    func address(_ value: Int) -> TrainingAddress { compiled.address(value, block: block) }
    func plan(_ index: Int) -> ConvPlan { compiled.convPlans[index]! }
    func shape(_ value: Int) -> ImageShape { program.values[value].shape }
    func name(_ node: Int) -> String { scope.graph.nodes[node].name }

    func values(_ node: Int, _ parameter: String) -> UnsafePointer<Float> { store.values(scope.key(node, parameter)) }
    func gradient(_ node: Int, _ parameter: String) -> UnsafeMutablePointer<Float>? {
        store.gradient(scope.key(node, parameter))
    }

    /// Mean and inverse deviation.
    func statistics(_ node: Int, _ channels: Int) -> (
        mean: UnsafeMutablePointer<Float>, invstd: UnsafeMutablePointer<Float>
    ) {
        let mean = statistics.floats(at: statisticOffsets[node]!)
        return (mean, mean + Self.padded(channels))
    }

    /// Keeps the memory of the statistics as long as the kernel that uses it.
    func holding(_ kernel: @escaping TrainingKernel) -> TrainingKernel {
        let statistics = statistics
        return { run, start, count in withExtendedLifetime(statistics) { kernel(run, start, count) } }
    }

    // MARK: - Convolution

    private func pack(_ node: Int, _ step: TrainingStep) -> TrainingKernel {
        let target = address(step.outputs[0])
        let user = steps.firstIndex { $0.inputs.contains(step.outputs[0]) }!
        let plan = plan(user)
        let weights = values(node, "weight")
        return { run, _, _ in ck_conv_pack(plan.handle, weights, nil, target.pointer(run, 0)) }
    }

    private func convolution(_ step: TrainingStep, _ index: Int) throws(ExecutionError) -> TrainingKernel {
        let plan = plan(index)
        switch step.operation {
        case .conv(let node, _):
            let (x, packed, y) = (address(step.inputs[0]), address(step.inputs[1]), address(step.outputs[0]))
            let bias = hasBias(scope, node) ? try paddedBias(node) : nil
            return { run, start, count in
                var arguments = ck_conv_args()
                arguments.batch = Int32(count)
                arguments.src = UnsafeRawPointer(x(run, start))
                arguments.packed = UnsafeRawPointer(packed.pointer(run, 0))
                arguments.bias = bias?.values
                arguments.dst = y(run, start)
                arguments.workspace = run.scratch
                return withExtendedLifetime(bias?.owner) { ck_conv_run(plan.handle, &arguments) }
            }
        case .convDataGradient(_, let accumulates):
            let (dy, packed) = (address(step.inputs[0]), address(step.inputs[1]))
            let dx = address(accumulates ? step.updates[0] : step.outputs[0])
            return { run, start, count in
                var arguments = ck_conv_args()
                arguments.batch = Int32(count)
                arguments.src = UnsafeRawPointer(dy(run, start))
                arguments.packed = UnsafeRawPointer(packed.pointer(run, 0))
                arguments.dst = dx(run, start)
                if accumulates { arguments.residual = UnsafePointer(dx(run, start)) }
                arguments.workspace = run.scratch
                return ck_conv_run(plan.handle, &arguments)
            }
        case .convWeightGradient(let node):
            let (x, dy) = (address(step.inputs[0]), address(step.inputs[1]))
            let dw = gradient(node, "weight")
            return { run, start, count in
                var arguments = ck_conv_args()
                arguments.batch = Int32(count)
                arguments.src = UnsafeRawPointer(x(run, start))
                arguments.grad = UnsafePointer(dy(run, start))
                arguments.dst = dw
                arguments.accumulate = run.accumulates ? 1 : 0
                arguments.workspace = run.scratch
                return ck_conv_run(plan.handle, &arguments)
            }
        default: preconditionFailure("not a convolution")
        }
    }

    /// A bias as kernels read it: up to a whole block, zeros at the end. One that trains lies so already.
    private func paddedBias(
        _ node: Int
    ) throws(ExecutionError) -> (values: UnsafePointer<Float>, owner: AlignedBuffer?) {
        let source = values(node, "bias")
        guard gradient(node, "bias") == nil else { return (source, nil) }
        let count = scope.graph.parameters(of: node)[1].count
        let copy = try AlignedBuffer(bytes: Self.padded(count) * 4, for: "a bias")
        copy.floats(at: 0).update(from: source, count: count)
        return (UnsafePointer(copy.floats(at: 0)), copy)
    }

    // MARK: - Linear

    private func linear(_ step: TrainingStep) -> TrainingKernel {
        guard case .linear(let inFeatures, let outFeatures, let bias) = scope.graph.nodes[step.node].operation else {
            preconditionFailure("not a linear layer")
        }
        let (into, out, threads) = (Int32(inFeatures), Int32(outFeatures), threads)
        let x = address(step.inputs[0])
        let w = values(step.node, "weight")
        if case .linear(_, let relu) = step.operation {
            let y = address(step.outputs[0])
            let b = bias ? values(step.node, "bias") : nil
            return { run, start, count in
                if y.floats > outFeatures { memset(y(run, start), 0, count * y.floats * 4) }
                return ck_linear(
                    x(run, start), x.floats, w, b, Int32(count), into, out, y(run, start), y.floats, relu ? 1 : 0,
                    threads)
            }
        }
        let dy = address(step.inputs[1])
        let dx = step.outputs.first.map(address)
        let dw = gradient(step.node, "weight")
        let db = bias ? gradient(step.node, "bias") : nil
        let weights = inFeatures * outFeatures
        return { run, start, count in
            run.store(dw, weights, threads) { dw in
                run.store(db, outFeatures, threads, at: weights) { db in
                    ck_linear_backward(
                        x(run, start), x.floats, w, dy(run, start), dy.floats, Int32(count), into, out,
                        dx.map { $0(run, start) }, dx?.floats ?? 0, dw, db, threads)
                }
            }
        }
    }

    // MARK: - Loss

    private func loss(_ step: TrainingStep) -> TrainingKernel {
        let logits = address(step.inputs[0])
        let gradient = step.outputs.first.map(address)
        let classes = scope.shapes[scope.graph.logits].count
        let specification = store.plan.loss
        return { run, _, images in
            let source = logits(run, 0)
            for image in 0..<images {
                for index in 0..<classes { run.logits[image * classes + index] = source[image * logits.floats + index] }
            }
            guard run.target != nil else { return CK_OK }
            guard let gradient else { return specification.compute(run, classes, nil) }
            // The kernels of losses know dense rows.
            if gradient.floats == classes { return specification.compute(run, classes, gradient(run, 0)) }
            var rows = [Float](repeating: 0, count: images * classes)
            let status = rows.withUnsafeMutableBufferPointer { specification.compute(run, classes, $0.baseAddress) }
            let target = gradient(run, 0)
            memset(target, 0, images * gradient.floats * 4)
            for image in 0..<images {
                for index in 0..<classes { target[image * gradient.floats + index] = rows[image * classes + index] }
            }
            return status
        }
    }
}

extension Loss {
    /// The loss of the run's logits and, where `gradient` is given, (N, classes), its gradient.
    fileprivate func compute(_ run: TrainingRun, _ classes: Int, _ gradient: UnsafeMutablePointer<Float>?) -> ck_status
    {
        let (rows, n) = (Int32(run.images), Int32(classes))
        switch (self, run.target!) {
        case (.crossEntropy(let smoothing, let weights, let ignoreIndex), .classes(let labels)):
            return ck_cross_entropy(
                run.logits, labels, rows, n, weights, Double(smoothing), ignoreIndex, run.gradientScale, &run.loss,
                gradient)
        case (.crossEntropy(let smoothing, let weights, _), .dense(let targets)):
            return ck_soft_cross_entropy(
                run.logits, targets, rows, n, weights, Double(smoothing), run.gradientScale, &run.loss, gradient)
        case (.binaryCrossEntropy(let weights), .dense(let targets)):
            let status = ck_bce_with_logits(
                run.logits, targets, rows, n, weights, run.gradientScale, &run.loss, gradient)
            // In samples, not in labels.
            run.loss.weight = Double(rows)
            return status
        case (.binaryCrossEntropy, .classes): preconditionFailure("classes are no yes or no for every label")
        }
    }
}
