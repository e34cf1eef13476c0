// What a plan does, step by step, and how long each step takes.
import Glibc
import ResNetGraph
import ResNetSupport

/// One step of a plan.
public struct PlanStepInfo: Sendable, Hashable {
    /// The node the step starts with, e.g. `layer1.0.conv1`.
    public let name: String
    /// What it does in one pass, e.g. `conv 3x3/2 + bn + add + relu`.
    public let operations: String
    /// Of one image.
    public let result: String
    /// Images that pass at a time.
    public let chunk: Int
    /// The kernel, e.g. `winograd f4x4 avx512 14x32, 2 threads`.
    public let kernel: String
    /// Where the result lies, e.g. `arena + 802816`.
    public let place: String
    /// Multiplications and additions of one image, two for each of PyTorch's MACs whatever the algorithm.
    public let flops: Int
}

/// A step and its time.
public struct StepTiming: Sendable {
    /// What was timed.
    public let step: PlanStepInfo
    /// Of one run, the median over repetitions.
    public let milliseconds: Double
    /// Billions of a direct convolution's operations a second.
    public let gflops: Double
}

extension InferencePlan {
    /// In the order in which they run.
    public var stepInfos: [PlanStepInfo] { program.steps.indices.map(info) }

    func stepName(_ index: Int) -> String {
        let step = program.steps[index]
        if case .export(let port) = step.kind { return program.ports[port].name }
        return graph.nodes[step.nodes[0]].name
    }

    private func info(_ index: Int) -> PlanStepInfo {
        let step = program.steps[index]
        let macs = graph.macs(shapes: shapes)
        var kernel = ""
        if case .conv(let plan) = steps[index].code { kernel = plan.text }
        return PlanStepInfo(
            name: stepName(index), operations: operations(step), result: resultText(step),
            chunk: memory.chunks[index], kernel: kernel, place: placeText(step),
            flops: 2 * step.nodes.reduce(0) { $0 + macs[$1] })
    }

    private func operations(_ step: PlanStep) -> String {
        switch step.kind {
        case .importPicture: "to blocked"
        case .export: "to output"
        default: step.nodes.map { operationText(graph.nodes[$0].operation) }.joined(separator: " + ")
        }
    }

    private func operationText(_ operation: Operation) -> String {
        func size(_ kernel: Size2, _ stride: Size2) -> String {
            let text = "\(kernel.height)x\(kernel.width)"
            guard stride != 1 else { return text }
            return text + (stride.height == stride.width ? "/\(stride.height)" : "/\(stride.height)x\(stride.width)")
        }
        return switch operation {
        case .input: "input"
        case .conv(let spec): "conv \(size(spec.kernel, spec.stride))"
        case .batchNorm: "bn"
        case .relu: "relu"
        case .sigmoid: "sigmoid"
        case .add: "add"
        case .maxPool(let spec): "max pool \(size(spec.kernel, spec.stride))"
        case .averagePool(let spec): "average pool \(size(spec.kernel, spec.stride))"
        case .globalAveragePool: "global average"
        case .flatten: "flatten"
        case .linear: "linear"
        case .concat: "concat"
        case .dropout: "dropout"
        }
    }

    private func resultText(_ step: PlanStep) -> String {
        guard let output = step.output else { return "\(NodeShape.map(program.values[step.inputs[0]].shape))" }
        let value = program.values[output]
        return value.layout == .plain ? "\(value.shape.channels)" : "\(NodeShape.map(value.shape))"
    }

    private func placeText(_ step: PlanStep) -> String {
        if case .export(let port) = step.kind { return "output \(port)" }
        let place = memory.places[step.output!]
        switch place.base {
        case .picture: return "picture"
        case .output(let port): return "output \(port)"
        case .arena(let bytes):
            let reused = step.inputs.contains {
                memory.places[$0].base == place.base && memory.places[$0].offsetFloats == place.offsetFloats
            }
            return "arena + \(bytes + place.offsetFloats * 4)" + (reused ? ", in place" : "")
        }
    }

    /// The plan as a table, with the sizes of its memory.
    public func describe() -> String {
        let mebibytes = { (bytes: Int) in fixed(Double(bytes) / 1_048_576, 1) + " MiB" }
        var table = TextTable(["step", "operations", "result", "images", "kernel", "place"], rightAligned: [3])
        for info in stepInfos {
            table.rows.append([info.name, info.operations, info.result, "\(info.chunk)", info.kernel, info.place])
        }
        return """
            \(graph.modelName) for \(inputText), at most \(batch) at a time, on \(threads) threads, \(isaName)
            arena \(mebibytes(memory.arenaBytes)), convolution workspace \(mebibytes(scratchBytes)), \
            weights \(mebibytes(constantBytes))

            \(table.text)
            """
    }

    /// Runs `images` random pictures `repetitions` times and takes the time of every step.
    /// - Throws: `ExecutionError`, as a run.
    public func profile(images: Int? = nil, repetitions: Int = 20) throws(ExecutionError) -> [StepTiming] {
        let images = images ?? batch
        precondition(images >= 1 && images <= batch, "the plan takes 1 to \(batch) pictures, not \(images)")
        precondition(repetitions >= 1, "a profile needs at least one repetition")
        let isBytes = options.input != .floatNCHW
        let picture = try AlignedBuffer(bytes: images * input.count * (isBytes ? 1 : 4), for: "a picture")
        fill(picture, isBytes: isBytes)

        var samples = Array(repeating: [UInt64](), count: steps.count)
        var nanoseconds = [UInt64](repeating: 0, count: steps.count)
        try withPooledWorkspace { (workspace) throws(ExecutionError) in
            // The first run brings weights and pages in and is not counted.
            for repetition in 0...repetitions {
                for index in nanoseconds.indices { nanoseconds[index] = 0 }
                try run(picture.base, images, workspace, nanoseconds: &nanoseconds)
                guard repetition > 0 else { continue }
                for (index, time) in nanoseconds.enumerated() { samples[index].append(time) }
            }
        }
        return zip(stepInfos, samples).map { info, samples in
            let median = Double(max(samples.sorted()[samples.count / 2], 1))
            return StepTiming(
                step: info, milliseconds: median / 1e6, gflops: Double(info.flops * images) / median)
        }
    }

    /// Pseudo-random values, as pictures are: zeros would be kinder to a CPU than real work.
    private func fill(_ picture: AlignedBuffer, isBytes: Bool) {
        var state: UInt32 = 1
        func next() -> UInt32 {
            state = state &* 1_664_525 &+ 1_013_904_223
            return state >> 8
        }
        if isBytes {
            let bytes = picture.base.assumingMemoryBound(to: UInt8.self)
            for index in 0..<picture.bytes { bytes[index] = UInt8(truncatingIfNeeded: next() >> 8) }
        } else {
            let floats = picture.floats(at: 0)
            for index in 0..<picture.bytes / 4 { floats[index] = Float(next()) / 8_388_608 - 1 }
        }
    }

    /// A profile as a table, slowest parts visible at a glance.
    public func table(_ timings: [StepTiming]) -> String {
        let total = timings.reduce(0) { $0 + $1.milliseconds }
        var table = TextTable(
            ["step", "operations", "result", "kernel", "ms", "%", "GFLOP/s"], rightAligned: [4, 5, 6])
        for timing in timings {
            let step = timing.step
            table.rows.append([
                step.name, step.operations, step.result, step.kernel, fixed(timing.milliseconds, 3),
                fixed(100 * timing.milliseconds / total, 1), step.flops == 0 ? "" : fixed(timing.gflops, 0),
            ])
        }
        let flops = timings.reduce(0) { $0 + $1.gflops * $1.milliseconds }
        table.rows.append(["total", "", "", "", fixed(total, 3), "100.0", fixed(flops / total, 0)])
        return table.text
    }
}

package func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
