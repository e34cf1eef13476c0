// The numbers that training changes, in flat buffers: one optimizer call works on a whole learning-rate group.
//
//     weights     | group 0: conv1.weight, bn1.weight, ... | group 1: ... |      plain, as a checkpoint has them
//     changes     | gradients: the same places                            | running statistics |
//     moments     | the same places                                       |      velocity, or Adam's two averages
//
// Every parameter starts on a 64-byte boundary; the gaps hold zeros and stay zero. What is frozen stays where it came from.
import CKernels
import Glibc
import ResNetGraph
import ResNetSupport

/// A parameter that trains.
struct ParameterSlot: Sendable, Hashable {
    let name: String
    let shape: [Int]
    /// In floats.
    let offset: Int
    let group: Int

    var count: Int { shape.reduce(1, *) }
}

final class ParameterStore: ParameterMemory, @unchecked Sendable {
    // Unchecked: one caller at a time, which the plan that owns the store sees to.

    /// In the order of the groups.
    let slots: [ParameterSlot]
    /// Floats of a flat buffer.
    let count: Int
    /// Frozen parameters and running statistics.
    let fixed: [String: Tensor]
    /// Updates that each slot has had, which Adam's correction counts.
    private(set) var updates: [Int]
    /// The gradients hold something that the next backward pass adds to.
    var hasGradients = false

    private let weights: AlignedBuffer
    /// What a pass writes: gradients, and running statistics that change. A pass may write to a copy instead.
    private let changes: AlignedBuffer
    /// In floats from the start of `changes`, by key.
    private let statisticOffsets: [String: Int]
    private let slotOfName: [String: Int]
    private let shapes: [String: [Int]]
    let plan: OptimizationPlan
    private var optimizer: Optimizer { plan.optimizer }
    private var moments: [AlignedBuffer] = []

    /// - Parameters:
    ///   - parameters: Values for every key of `specs`.
    ///   - state: Of the optimizer, under the names of `exportOptimizer`; those of other parameters are left out.
    ///   - trainable: What gets gradients and updates.
    init(
        specs: [ParameterSpec], parameters: [String: Tensor], state: [String: Tensor], trainable: Set<String>,
        frozen: Set<String>, plan: OptimizationPlan
    ) throws(ExecutionError) {
        func rounded(_ count: Int) -> Int { (count + 15) / 16 * 16 }
        let specOfName = Dictionary(uniqueKeysWithValues: specs.map { ($0.name, $0) })
        var slots: [ParameterSlot] = []
        var end = 0
        for (index, group) in plan.groups.enumerated() {
            for name in group.parameters where trainable.contains(name) {
                slots.append(ParameterSlot(name: name, shape: specOfName[name]!.shape, offset: end, group: index))
                end += rounded(specOfName[name]!.count)
            }
        }
        self.slots = slots
        count = end
        slotOfName = Dictionary(uniqueKeysWithValues: slots.enumerated().map { ($1.name, $0) })
        shapes = Dictionary(uniqueKeysWithValues: specs.map { ($0.name, $0.shape) })
        self.plan = plan
        updates = Array(repeating: 0, count: slots.count)
        weights = try AlignedBuffer(bytes: end * 4, for: "parameters")

        var statisticOffsets: [String: Int] = [:]
        var statisticsEnd = end
        var fixed: [String: Tensor] = [:]
        for spec in specs where slotOfName[spec.name] == nil {
            if spec.role.isBuffer, !frozen.contains(spec.name) {
                statisticOffsets[spec.name] = statisticsEnd
                statisticsEnd += rounded(spec.count)
            } else {
                fixed[spec.name] = parameters[spec.name]!
            }
        }
        self.fixed = fixed
        self.statisticOffsets = statisticOffsets
        changes = try AlignedBuffer(bytes: statisticsEnd * 4, for: "gradients")
        for slot in slots { copy(parameters[slot.name]!, to: weights.floats(at: slot.offset * 4)) }
        for (name, offset) in statisticOffsets { copy(parameters[name]!, to: changes.floats(at: offset * 4)) }
        try importMoments(state)
    }

    private func copy(_ tensor: Tensor, to target: UnsafeMutablePointer<Float>) {
        tensor.withUnsafeFloats { target.update(from: $0.baseAddress!, count: $0.count) }
    }

    // MARK: - Where things are

    /// The values of a parameter or a statistic; they stay in place as long as the store.
    func values(_ name: String) -> UnsafePointer<Float> {
        if let slot = slotOfName[name] { return UnsafePointer(weights.floats(at: slots[slot].offset * 4)) }
        if let offset = statisticOffsets[name] { return UnsafePointer(changes.floats(at: offset * 4)) }
        guard let tensor = fixed[name] else { preconditionFailure("there is no parameter \(name)") }
        return tensor.storage.base
    }

    /// Where the gradient of a parameter goes; nil for one that does not train.
    private func gradients(_ name: String) -> UnsafeMutablePointer<Float>? {
        slotOfName[name].map { changes.floats(at: slots[$0].offset * 4) }
    }

    func parameter(_ key: String) -> ParameterPlace {
        if let offset = statisticOffsets[key] { return .changing(offset * 4) }
        return .fixed(UnsafeMutableRawPointer(mutating: values(key)))
    }

    func gradient(_ key: String) -> Int {
        guard let slot = slotOfName[key] else { preconditionFailure("\(key) does not train") }
        return slots[slot].offset * 4
    }

    /// By slot, its floats and the gap behind it.
    var slotRanges: [Range<Int>] {
        slots.indices.map { slots[$0].offset..<($0 + 1 < slots.count ? slots[$0 + 1].offset : count) }
    }

    /// Floats of gradients and running statistics.
    var changesCount: Int { changes.bytes / 4 }

    /// Gradients and running statistics, as a pass takes them.
    var ownChanges: UnsafeMutableRawPointer { changes.base }

    /// The gradients of all that trains; zeros in the gaps.
    var allGradients: UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(start: changes.floats(at: 0), count: count)
    }

    /// All running statistics that change.
    var runningStatistics: UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(start: changes.floats(at: count * 4), count: changesCount - count)
    }

    /// Bytes of parameters, gradients and what the optimizer remembers.
    var bytes: Int { (1 + moments.count) * count * 4 + changes.bytes }

    // MARK: - Updating

    /// Scales the gradients so that their norm is at most the plan's limit, if there is one. Returns the norm before.
    func clip(threads: Int32) throws(ExecutionError) -> Double? {
        guard let limit = plan.gradientNormLimit, count > 0 else { return nil }
        var sum = 0.0
        try check(ck_sum_of_squares(changes.floats(at: 0), count, &sum, threads), "measuring the gradient")
        let norm = sum.squareRoot()
        let factor = min(1, Double(limit) / (norm + 1e-6))
        if factor < 1 { try check(ck_scale(changes.floats(at: 0), count, factor, threads), "clipping the gradient") }
        return norm
    }

    /// One step of the optimizer on everything, or on the parameters that lie in a range of the flat buffers.
    func update(
        _ settings: StepSettings, in range: Range<Int>? = nil, threads: Int32
    ) throws(ExecutionError) {
        try reserveMoments(settings.momentum)
        var index = range.map { range in slots.firstIndex { $0.offset >= range.lowerBound } ?? slots.count } ?? 0
        let last =
            range.map { range in slots.firstIndex { $0.offset >= range.upperBound } ?? slots.count } ?? slots.count
        while index < last {
            var end = index + 1
            // Neighbors of one group and one age are one array.
            while end < last, slots[end].group == slots[index].group, updates[end] == updates[index] { end += 1 }
            let first = slots[index].offset
            let length = (end < slots.count ? slots[end].offset : count) - first
            let group = slots[index].group
            try check(
                step(
                    at: first, length, plan.groups[group], settings.learningRates[group], settings.momentum,
                    age: updates[index], threads: threads), "updating \(plan.groups[group].name)")
            for slot in index..<end { updates[slot] += 1 }
            index = end
        }
    }

    private func step(
        at first: Int, _ length: Int, _ group: ParameterGroup, _ rate: Float, _ override: Float?, age: Int,
        threads: Int32
    ) -> ck_status {
        let (w, g) = (weights.floats(at: first * 4), changes.floats(at: first * 4))
        func moment(_ index: Int) -> UnsafeMutablePointer<Float>? {
            moments.indices.contains(index) ? moments[index].floats(at: first * 4) : nil
        }
        switch optimizer {
        case .sgd(let momentum, let nesterov):
            // A velocity that holds nothing yet is zero, which without dampening comes to the same.
            var settings = ck_sgd(
                lr: Double(rate), momentum: Double(override ?? momentum), dampening: 0,
                weight_decay: Double(group.weightDecay), nesterov: 0, first: 0)
            settings.nesterov = nesterov && settings.momentum > 0 ? 1 : 0
            return ck_sgd_step(&settings, w, g, moment(0), length, threads)
        case .adam(let beta1, let beta2, let epsilon), .adamW(let beta1, let beta2, let epsilon):
            var isDecoupled: Int32 = 0
            if case .adamW = optimizer { isDecoupled = 1 }
            var settings = ck_adam(
                lr: Double(rate), beta1: Double(override ?? beta1), beta2: Double(beta2), eps: Double(epsilon),
                weight_decay: Double(group.weightDecay), decoupled: isDecoupled, step: Int64(age + 1))
            return ck_adam_step(&settings, w, g, moment(0)!, moment(1)!, length, threads)
        }
    }

    /// What the optimizer remembers of each parameter.
    private var momentNames: [String] {
        switch optimizer {
        case .sgd: ["momentum_buffer"]
        case .adam, .adamW: ["exp_avg", "exp_avg_sq"]
        }
    }

    /// Plain SGD remembers nothing until a schedule asks for momentum.
    private func reserveMoments(_ override: Float?) throws(ExecutionError) {
        if case .sgd(let momentum, _) = optimizer, (override ?? momentum) == 0 { return }
        while moments.count < momentNames.count {
            moments.append(try AlignedBuffer(bytes: count * 4, for: "the optimizer"))
        }
    }

    // MARK: - In and out

    private func tensor(_ shape: [Int], _ source: UnsafePointer<Float>) -> Tensor {
        Tensor(
            shape: shape,
            storage: FloatStorage(count: shape.reduce(1, *)) { target in
                _ = target.initialize(from: UnsafeBufferPointer(start: source, count: target.count))
            })
    }

    /// Copies of all parameters and statistics. Frozen ones are shared: nobody changes them.
    func exportParameters() -> [String: Tensor] {
        var all = fixed
        for slot in slots { all[slot.name] = tensor(slot.shape, values(slot.name)) }
        for name in statisticOffsets.keys { all[name] = tensor(shapes[name]!, values(name)) }
        return all
    }

    func exportGradients() -> [String: Tensor] {
        Dictionary(uniqueKeysWithValues: slots.map { ($0.name, tensor($0.shape, gradients($0.name)!)) })
    }

    /// What the optimizer remembers, under PyTorch's names: `conv1.weight.momentum_buffer`, or `.exp_avg`, `.exp_avg_sq`
    /// and `.step`.
    func exportOptimizer() -> [String: Tensor] {
        var state: [String: Tensor] = [:]
        for (index, slot) in slots.enumerated() where updates[index] > 0 {
            for (moment, name) in zip(moments, momentNames) {
                state["\(slot.name).\(name)"] = tensor(slot.shape, moment.floats(at: slot.offset * 4))
            }
            state["\(slot.name).step"] = Tensor(shape: [1], values: [Float(updates[index])])
        }
        return state
    }

    private func importMoments(_ state: [String: Tensor]) throws(ExecutionError) {
        for (index, slot) in slots.enumerated() {
            guard let step = state["\(slot.name).step"] else { continue }
            updates[index] = Int(step.values[0])
            for (position, name) in momentNames.enumerated() {
                guard let tensor = state["\(slot.name).\(name)"] else { continue }
                while moments.count <= position {
                    moments.append(try AlignedBuffer(bytes: count * 4, for: "the optimizer"))
                }
                copy(tensor, to: moments[position].floats(at: slot.offset * 4))
            }
        }
    }

    /// Checks a state to import: every key known and of its shape, every parameter there.
    func checkState(_ state: TrainingState) throws(ExecutionError) {
        for (name, shape) in shapes {
            guard let tensor = state.parameters[name] else {
                throw .state(key: name, expected: "\(shape)", found: "nothing")
            }
            guard tensor.shape == shape else {
                throw .state(key: name, expected: "\(shape)", found: "\(tensor.shape)")
            }
        }
        for name in state.parameters.keys where shapes[name] == nil {
            throw .state(key: name, expected: "a parameter of the model", found: "an unknown name")
        }
        var known: [String: [Int]] = [:]
        for slot in slots {
            for name in momentNames { known["\(slot.name).\(name)"] = slot.shape }
            known["\(slot.name).step"] = [1]
        }
        for (name, tensor) in state.optimizer {
            guard let shape = known[name] else {
                throw .state(key: name, expected: "something this optimizer remembers", found: "an unknown name")
            }
            guard tensor.shape == shape else {
                throw .state(key: name, expected: "\(shape)", found: "\(tensor.shape)")
            }
            let parameter = name.parentPath
            guard state.optimizer["\(parameter).step"] != nil else {
                throw .state(key: "\(parameter).step", expected: "the number of updates", found: "nothing")
            }
        }
    }
}
