// What a program does, step by step, and how long each step takes: the same table for inference and training.

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

/// How evenly work divides among threads: computed from how it is cut, not measured.
public struct WorkBalance: Sendable, Hashable {
    /// Cycles of all threads together, roughly.
    public internal(set) var work = 0.0
    /// Cycles of the thread that has most, summed over the stretches at whose ends threads wait for each other.
    public internal(set) var longest = 0.0
    /// How many such stretches there are.
    public internal(set) var waits = 0

    /// What the busiest of `threads` threads does over what each would do if all did the same: 1 is even, `threads` is
    /// one thread that does everything.
    public func largestShare(threads: Int) -> Double { work > 0 ? longest * Double(threads) / work : 1 }
}

extension WorkBalance {
    init(sum balances: [WorkBalance?]) {
        self.init()
        for case let balance? in balances {
            work += balance.work
            longest += balance.longest
            waits += balance.waits
        }
    }
}

extension ProgramLayout {
    /// By step; nil where a step is no convolution of floats.
    func balances() -> [WorkBalance?] {
        preparations.indices.map { preparations[$0].plan?.balance(images: chunks[$0]) }
    }

    /// All convolutions together, each for the images that pass at a time.
    var workBalance: WorkBalance { WorkBalance(sum: balances()) }

    /// In the order in which they run. `macs`: by node.
    func stepInfos(macs: [Int]) -> [PlanStepInfo] {
        program.steps.enumerated().map { index, step in
            PlanStepInfo(
                name: name(of: step), operations: step.operation.text, result: resultText(step), chunk: chunks[index],
                kernel: preparations[index].text, place: placeText(step),
                flops: 2 * step.nodes.reduce(0) { $0 + macs[$1] })
        }
    }

    private func resultText(_ step: Step) -> String {
        guard let result = (step.outputs + step.updates).first else { return "" }
        let value = program.values[result]
        if case .rows = value.storage { return "\(value.shape.channels)" }
        return "\(NodeShape.map(value.shape))"
    }

    private func placeText(_ step: Step) -> String {
        guard let result = (step.outputs + step.updates).first else { return "" }
        let place = memory.places[result]
        switch place.home {
        case .arena:
            let isReused = step.inputs.contains {
                memory.places[$0].home == .arena && memory.places[$0].offset == place.offset
            }
            return "arena + \(place.offset)" + (isReused ? ", in place" : "")
        case .output(let port): return "output \(port)"
        case .constant: return "constants"
        case .picture: return "picture"
        case .boundary: return "frozen part"
        case .parameter: return "parameters"
        case .gradient: return "gradients"
        }
    }
}

/// The table of what steps do. `shares`: each step's largest share, for the column `share`; empty: there is none.
func stepTable(_ steps: [PlanStepInfo], shares: [Double?] = []) -> String {
    let header = ["step", "operations", "result", "images", "kernel"] + (shares.isEmpty ? [] : ["share"]) + ["place"]
    var table = TextTable(header, rightAligned: shares.isEmpty ? [3] : [3, 5])
    for (index, info) in steps.enumerated() {
        let share = shares.isEmpty ? [] : [shares[index].map { fixed($0, 2) } ?? ""]
        table.rows.append(
            [info.name, info.operations, info.result, "\(info.chunk)", info.kernel] + share + [info.place])
    }
    return table.text
}

/// Times of several runs of `images` pictures, by run and step, as each step's median.
func timings(_ steps: [PlanStepInfo], nanoseconds: [[UInt64]], images: Int) -> [StepTiming] {
    steps.enumerated().map { index, info in
        let samples = nanoseconds.map { $0[index] }.sorted()
        let median = Double(max(samples[samples.count / 2], 1))
        return StepTiming(step: info, milliseconds: median / 1e6, gflops: Double(info.flops * images) / median)
    }
}

/// A profile as a table, slowest parts visible at a glance.
func profileTable(_ timings: [StepTiming]) -> String {
    let total = timings.reduce(0) { $0 + $1.milliseconds }
    var table = TextTable(["step", "operations", "result", "kernel", "ms", "%", "GFLOP/s"], rightAligned: [4, 5, 6])
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
