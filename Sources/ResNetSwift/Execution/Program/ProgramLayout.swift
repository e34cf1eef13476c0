// A program on its way to its kernels: in its order, its kernels chosen, its constants, outputs and arena laid out.
//
//     Program --schedule--> segments --prepare--> sizes --MemoryPlan--> places --address--> kernels
//
// Nothing here depends on the values of weights, so packed constants may be mapped from a file instead of being made.

import ResNetGraph
import ResNetSupport

struct ProgramLayout: Sendable {
    let graph: Graph
    let settings: KernelSettings
    /// Its steps in the order in which they are done.
    private(set) var program: Program
    /// Cover all steps in order.
    private(set) var segments: [Segment] = []
    /// By step: the images that pass at a time.
    private(set) var chunks: [Int] = []
    /// By step.
    private(set) var preparations: [Preparation] = []
    private(set) var memory = MemoryPlan()
    /// By value, in the region of the plan's constants: filters, bias | filters, bias | ...
    private(set) var constantOffsets: [Int: Int] = [:]
    private(set) var constantBytes = 0
    /// By port.
    private(set) var portOffsets: [Int] = []
    private(set) var outputBytes = 0
    /// What kernels need within a step.
    var scratchBytes: Int { preparations.reduce(0) { max($0, $1.scratchBytes) } }

    init(
        _ program: Program, graph: Graph, settings: KernelSettings, policy: SchedulePolicy
    ) throws(ExecutionError) {
        self.graph = graph
        self.settings = settings
        self.program = program
        segments = self.program.schedule(policy, batch: settings.batch, block: settings.block)
        chunks = segments.flatMap { segment in segment.steps.map { _ in segment.chunk } }
        var sizes: [Int: Int] = [:]
        for (index, step) in self.program.steps.enumerated() {
            let context = StepContext(layout: self, step: step, chunk: chunks[index], preparation: Preparation())
            let preparation = try step.operation.prepare(context)
            sizes.merge(preparation.sizes) { max($0, $1) }
            preparations.append(preparation)
        }
        memory = MemoryPlan(
            self.program, segments: segments, batch: settings.batch, block: settings.block, sizes: sizes)
        for (index, value) in program.values.enumerated() where value.home == .constant {
            guard let size = value.wholeBytes ?? sizes[index] else { preconditionFailure("nobody reads \(value.name)") }
            constantOffsets[index] = Self.reserve(size, in: &constantBytes)
        }
        for port in program.ports {
            let size = program.values[port.value].imageBytes(block: settings.block) * settings.batch
            portOffsets.append(Self.reserve(size, in: &outputBytes))
        }
    }

    /// Parts start on boundaries that suit vectors.
    private static func reserve(_ size: Int, in bytes: inout Int) -> Int {
        defer { bytes += roundedUp(size, to: ArenaLayout.alignment) }
        return bytes
    }

    func address(_ value: Int, _ parameters: (any ParameterMemory)?) -> Address {
        func parameterMemory() -> any ParameterMemory {
            guard let parameters else { preconditionFailure("a step that reads parameters is compiled without them") }
            return parameters
        }
        func changing(_ offset: Int) -> Address {
            Address(region: .changes, byteOffset: offset, batchStride: 0, imageBytes: 0)
        }
        let place = memory.places[value]
        let region: Address.Region
        var offset = place.offset
        switch place.home {
        case .arena: region = .arena
        case .picture: region = .picture
        case .boundary(let index): region = .boundary(index)
        case .parameter(let key):
            switch parameterMemory().parameter(key) {
            case .fixed(let pointer):
                return Address(region: .fixed(pointer), byteOffset: 0, batchStride: 0, imageBytes: 0)
            case .changing(let offset): return changing(offset)
            }
        case .gradient(let key): return changing(parameterMemory().gradient(key))
        case .constant: (region, offset) = (.constants, constantOffsets[value]!)
        case .output(let port): (region, offset) = (.outputs, offset + portOffsets[port])
        }
        return Address(
            region: region, byteOffset: offset, batchStride: place.isWhole ? place.imageBytes : 0,
            imageBytes: place.imageBytes)
    }

    /// The node that a step serves, and which way; of a copy for the caller, what is copied.
    func name(of step: Step) -> String {
        let name = step.nodes.first.map { graph.nodes[$0].name } ?? program.values[step.outputs[0]].name
        return name + (step.isBackward ? " backward" : "")
    }
}
