// A model compiled for training on batches of pictures of one size: forward, backward, update.
//
//     pictures -> FrozenPart -> Differentiator's program: forward, loss, backward -> ParameterStore: clip, update
//
// The frozen set and the size of the pictures decide what is compiled; changing one compiles anew before the next step. One thread computes everything.
// Nothing is allocated in a step but what it returns.
import CKernels
import ResNetGraph
import ResNetSupport
import Synchronization

/// What a caller may choose about a training plan.
public struct TrainingOptions: Sendable, Hashable {
    /// Threads of a step; 0 means the physical cores this process may use.
    public var threads: Int
    /// Whether Winograd may be used, forward and backward.
    public var accuracy: Accuracy
    /// What is kept between the forward and the backward pass. The same bits come out whatever it says.
    public var checkpointing: Checkpointing
    /// Activations that a few images take on their way through a segment: they should stay in the cache.
    var activationBudget = 6 << 20

    public init(threads: Int = 0, accuracy: Accuracy = .default, checkpointing: Checkpointing = .none) {
        self.threads = threads
        self.accuracy = accuracy
        self.checkpointing = checkpointing
    }
}

/// A model compiled for training on batches of pictures of one size: forward, loss, backward, update. Its parameters
/// change with every step. One caller at a time; nothing is allocated in a step but what it returns.
public final class TrainingPlan: ResizableBackend, @unchecked Sendable {
    // Unchecked: calls that overlap stop the program (`exclusively`).

    public let graph: Graph
    public let plan: OptimizationPlan
    public let batchLimit: Int
    /// As given.
    public let options: TrainingOptions
    /// Threads of a step.
    public let threads: Int

    private(set) var shapes: [NodeShape]
    private let thread: ComputeThread
    private let isa: ck_isa
    private let isBusy = Atomic<Bool>(false)

    private var wantedFrozen: Set<String>
    private var compiledFrozen: Set<String>
    private var wantedInput: ImageShape
    private var compiledInput: ImageShape
    private var store: ParameterStore
    private var programs: [ProgramKind: TrainingProgram] = [:]
    private var knownBuckets: [ProgramKind: [GradientBucket]] = [:]
    private var frozenPart: FrozenPart?
    private var arena: AlignedBuffer?
    private var scratch: AlignedBuffer?
    private var spare: AlignedBuffer?
    /// Of batches that run side by side.
    private var places: [PassMemory] = []

    struct ProgramKind: Hashable {
        let mode: Differentiator.Mode
        let start: TrainingScope.Start

        init(mode: Differentiator.Mode, startsAtFeatures: Bool) {
            self.mode = mode
            start = startsAtFeatures ? .features : .pictures
        }
    }

    /// Compiles `model`; what it names frozen is frozen here at first.
    ///
    /// - Parameters:
    ///   - model: What training starts from.
    ///   - input: The pictures' size; the channels must be the model's.
    ///   - batchLimit: The most samples of a batch.
    ///   - plan: Loss, optimizer and parameter groups.
    ///   - options: Threads, accuracy, what is kept between the passes.
    /// - Precondition: every trainable parameter of the graph is in one group of `plan`.
    /// - Throws: `ExecutionError`: `graph` where the model does not run on such pictures, `outOfMemory`, `noThread`.
    public init(
        model: Model, input: ImageShape, batchLimit: Int, plan: OptimizationPlan,
        options: TrainingOptions = TrainingOptions()
    ) throws(ExecutionError) {
        precondition(batchLimit >= 1, "a batch has at least one sample, not \(batchLimit)")
        precondition(options.threads >= 0, "a plan runs on at least one thread, not \(options.threads)")
        precondition(model.graph.nodes.indices.contains(model.graph.logits), "the graph has no output")
        let parameters = model.graph.parameters
        precondition(
            plan.groups.flatMap(\.parameters).sorted() == parameters.filter { !$0.role.isBuffer }.map(\.name).sorted(),
            "every trainable parameter of the graph is in exactly one group")
        try check(ck_init(), "choosing the instruction set")
        isa = ck_isa_active()
        threads = options.threads > 0 ? options.threads : Int(ck_default_threads())
        graph = model.graph
        self.plan = plan
        (wantedInput, compiledInput) = (input, input)
        self.batchLimit = batchLimit
        self.options = options
        do throws(GraphError) {
            shapes = try graph.shapes(input: input)
            try graph.checkThatItTrains()
        } catch { throw .graph(error) }
        thread = try ComputeThread(threads: threads)
        wantedFrozen = model.frozen
        compiledFrozen = model.frozen
        let scope: TrainingScope
        do throws(GraphError) { scope = try TrainingScope(graph: graph, shapes: shapes, frozen: model.frozen) } catch {
            throw .graph(error)
        }
        store = try ParameterStore(
            specs: parameters, parameters: model.parameters, state: [:], trainable: Set(scope.trainable),
            frozen: model.frozen, plan: plan)
    }

    public var computing: [String: String] {
        [
            "threads": "\(threads)", "accuracy": options.accuracy.rawValue,
            "instruction set": String(cString: ck_isa_name(isa)),
        ]
    }

    /// Keys that do not change; see `TrainingBackend.frozen`.
    public var frozen: Set<String> {
        get { wantedFrozen }
        set { exclusively { wantedFrozen = newValue } }
    }

    /// The size of the pictures; see `ResizableBackend.input`.
    public var input: ImageShape {
        get { wantedInput }
        set {
            precondition(canRun(on: newValue), "the network does not run on pictures of \(newValue)")
            exclusively { wantedInput = newValue }
        }
    }

    public func canRun(on input: ImageShape) -> Bool {
        input.channels == compiledInput.channels && (try? graph.shapes(input: input)) != nil
    }

    // MARK: - Steps

    public func train(_ batch: TrainingBatch, _ settings: StepSettings) throws(ExecutionError) -> StepResult {
        precondition(
            settings.learningRates.count == plan.groups.count, "a step has a learning rate for each group of the plan")
        return try exclusively { () throws(ExecutionError) in
            try recompile()
            var result = try pass(
                batch, mode: .training, dropoutSeed: settings.step, gradientScale: Double(settings.gradientScale))
            store.hasGradients = true
            guard settings.updates else { return result }
            result.gradientNorm = try updateParameters(settings)
            store.hasGradients = false
            return result
        }
    }

    /// Clips the gradients and takes one step of the optimizer. Returns the norm before, if it is limited.
    func updateParameters(_ settings: StepSettings) throws(ExecutionError) -> Double? {
        let threads = Int32(threads)
        let store = store
        return try thread.perform { () throws(ExecutionError) in
            let norm = try store.clip(threads: threads)
            try store.update(settings, threads: threads)
            return norm
        }
    }

    /// One step of the optimizer on the parameters whose gradients lie in the range.
    func updateParameters(in range: Range<Int>, _ settings: StepSettings) throws(ExecutionError) {
        let (store, threads) = (store, Int32(threads))
        try thread.perform { () throws(ExecutionError) in try store.update(settings, in: range, threads: threads) }
    }

    /// The parameters, for one caller, compiled for the frozen set that is wanted.
    func withStore<R>(_ body: (ParameterStore) throws(ExecutionError) -> R) throws(ExecutionError) -> R {
        try exclusively { () throws(ExecutionError) in
            try recompile()
            return try body(store)
        }
    }

    public func evaluate(_ batch: TrainingBatch) throws(ExecutionError) -> StepResult {
        try exclusively { () throws(ExecutionError) in
            try recompile()
            return try pass(batch, mode: .inference, dropoutSeed: 0, gradientScale: 1)
        }
    }

    public func features(_ input: BatchInput) throws(ExecutionError) -> Tensor {
        guard let features = graph.features else {
            throw .graph(GraphError(node: graph.modelName, expected: "a features node", found: "none"))
        }
        return try exclusively { () throws(ExecutionError) in
            try recompile()
            let scope = try scope(.pictures)
            precondition(scope.isFrozen[features], "features of a network whose trunk trains change with every step")
            try checkInput(input)
            let part = part(of: graph, boundary: [features])
            let count = shapes[features].count
            return try withSource(input) { (source) throws(ExecutionError) in
                let pointer = try part.run(source, images: input.count)[0].assumingMemoryBound(to: Float.self)
                return Tensor(
                    shape: [input.count, count],
                    storage: FloatStorage(count: input.count * count) { target in
                        _ = target.initialize(from: UnsafeBufferPointer(start: pointer, count: target.count))
                    })
            }
        }
    }

    // MARK: - State

    public func exportParameters() -> [String: Tensor] { exclusively { store.exportParameters() } }

    public func exportState() -> TrainingState {
        exclusively {
            TrainingState(parameters: store.exportParameters(), optimizer: store.exportOptimizer())
        }
    }

    public func importState(_ state: TrainingState) throws(ExecutionError) {
        try exclusively { () throws(ExecutionError) in
            try recompile()
            try store.checkState(state)
            try rebuild(parameters: state.parameters, optimizer: state.optimizer)
        }
    }

    /// The gradients that the last steps without an update have left, or zeros; by parameter.
    public func exportGradients() -> [String: Tensor] { exclusively { store.exportGradients() } }

    /// Compiles anew if the frozen set or the size of the pictures has changed.
    private func recompile() throws(ExecutionError) {
        guard wantedFrozen != compiledFrozen || wantedInput != compiledInput else { return }
        let optimizer = store.exportOptimizer()
        try rebuild(parameters: store.exportParameters(), optimizer: optimizer)
    }

    private func rebuild(parameters: [String: Tensor], optimizer: [String: Tensor]) throws(ExecutionError) {
        let (scope, shapes): (TrainingScope, [NodeShape])
        do throws(GraphError) {
            shapes = try graph.shapes(input: wantedInput)
            scope = try TrainingScope(graph: graph, shapes: shapes, frozen: wantedFrozen)
        } catch { throw .graph(error) }
        let rebuilt = try ParameterStore(
            specs: graph.parameters, parameters: parameters, state: optimizer, trainable: Set(scope.trainable),
            frozen: wantedFrozen, plan: plan)
        (programs, knownBuckets) = ([:], [:])
        frozenPart = nil
        (store, self.shapes) = (rebuilt, shapes)
        (compiledFrozen, compiledInput) = (wantedFrozen, wantedInput)
    }

    // MARK: - Compiling

    private func scope(_ start: TrainingScope.Start) throws(ExecutionError) -> TrainingScope {
        do throws(GraphError) {
            return try TrainingScope(graph: graph, shapes: shapes, frozen: compiledFrozen, start: start)
        } catch { throw .graph(error) }
    }

    /// Memory of one of several passes side by side: activations, and what the frozen part hands over.
    private final class PassMemory {
        var arena: AlignedBuffer?
        var boundary: AlignedBuffer?
    }

    /// A program, and the constants that it reads.
    struct TrainingProgram {
        let compiled: CompiledProgram
        let constants: AlignedBuffer
    }

    private func program(_ kind: ProgramKind) throws(ExecutionError) -> TrainingProgram {
        if let program = programs[kind] { return program }
        let layout = try layout(kind)
        let compiled = CompiledProgram(layout, parameters: store)
        let constants = try AlignedBuffer(bytes: layout.constantBytes, for: "constants")
        try compiled.setUp(constants.base, from: store)
        try reserve(&arena, layout.memory.arenaBytes, "activations")
        try reserve(&scratch, layout.scratchBytes, "convolutions")
        let program = TrainingProgram(compiled: compiled, constants: constants)
        programs[kind] = program
        return program
    }

    private func layout(_ kind: ProgramKind) throws(ExecutionError) -> ProgramLayout {
        let scope = try scope(kind.start)
        if kind.start == .features, let features = graph.features, !(try self.scope(.pictures)).isFrozen[features] {
            throw .input(expected: "pictures, as something before the features trains", found: "features")
        }
        let settings = KernelSettings(
            batch: batchLimit, threads: threads, block: Int(ck_block()), accuracy: options.accuracy)
        let program: Program
        do throws(GraphError) {
            program = try Differentiator.program(
                scope: scope, mode: kind.mode, loss: plan.loss, checkpointing: options.checkpointing,
                block: settings.block
            ) { spec, input in
                // One picture and all that may follow: whether there are such kernels at all.
                var forward = Convolution(spec: spec, input: input, source: .planes).description(batch: 1, settings)
                forward.epilogue = UInt32(CK_BIAS | CK_RELU)
                let gradient = ConvolutionWeightGradient(spec: spec, input: input, source: .planes)
                return ConvPlan.isSupported(forward)
                    && ConvPlan.isSupported(gradient.description(batch: 1, settings))
            }
        } catch { throw .graph(error) }
        let policy = SchedulePolicy(cuts: false, activationBudget: options.activationBudget)
        return try ProgramLayout(program, graph: graph, settings: settings, policy: policy)
    }

    /// Programs do not run at the same time, so they share the memory of the largest.
    private func reserve(_ buffer: inout AlignedBuffer?, _ bytes: Int, _ purpose: String) throws(ExecutionError) {
        if let buffer, buffer.bytes >= bytes { return }
        buffer = nil
        buffer = try AlignedBuffer(bytes: bytes, for: purpose)
    }

    private func part(of graph: Graph, boundary: [Int]) -> FrozenPart {
        if let frozenPart, frozenPart.boundary == boundary { return frozenPart }
        let part = FrozenPart(
            graph: graph, boundary: boundary, parameters: store.exportParameters(), input: compiledInput,
            batch: batchLimit, options: options, thread: thread)
        frozenPart = part
        return part
    }

    // MARK: - A pass

    /// - Parameter changes: Where gradients and running statistics are changed; nil: the store's.
    func pass(
        _ batch: TrainingBatch, mode: Differentiator.Mode, dropoutSeed: Int, gradientScale: Double,
        changes: UnsafeMutableRawPointer? = nil, progress: PassProgress? = nil
    ) throws(ExecutionError) -> StepResult {
        let program = try checkedProgram(for: batch, mode)
        if mode == .training { try checkStatistics(program.compiled.program, images: batch.input.count) }
        let spare = mode == .training && store.hasGradients ? try spareGradient() : nil
        guard let arena else { preconditionFailure("a program without memory") }
        return try withRun(
            of: batch, program, arena: arena, spare: spare, dropoutSeed: dropoutSeed, gradientScale: gradientScale,
            changes: changes ?? store.ownChanges
        ) { (run) throws(ExecutionError) in
            var run = run
            run.progress = progress
            try program.compiled.execute(run, on: thread)
            return result(of: run)
        }
    }

    /// The gradients in the order in which they become whole.
    func buckets(startsAtFeatures: Bool) throws(ExecutionError) -> [GradientBucket] {
        let kind = ProgramKind(mode: .training, startsAtFeatures: startsAtFeatures)
        if let known = knownBuckets[kind] { return known }
        let segments = try program(kind).compiled.layout.lastSegments(ofGradients: store.slots.map(\.name))
        let made = GradientBucket.buckets(store.slotRanges, segments: segments)
        knownBuckets[kind] = made
        return made
    }

    /// Forward and backward over several parts of one batch, a few steps of one part after those of another, so that batch
    /// norms normalize with the statistics of all of them.
    func pass(
        together parts: [BatchShard], startsAtFeatures: Bool, exchange: TotalsExchange
    ) throws(ExecutionError) -> [StepResult] {
        let program = try program(ProgramKind(mode: .training, startsAtFeatures: startsAtFeatures))
        do throws(ExecutionError) {
            for part in parts { _ = try checkedProgram(for: part.batch, .training) }
            while places.count < parts.count { places.append(PassMemory()) }
            return try withRuns(of: parts[...], program, []) { (runs) throws(ExecutionError) in
                try program.compiled.execute(runs, on: thread, exchange: exchange)
                return runs.map(result(of:))
            }
        } catch {
            // The other processes wait for what this one has to add.
            if !exchange.hasBegun { try program.compiled.execute([], on: thread, exchange: exchange) }
            throw error
        }
    }

    private func withRuns<R>(
        of parts: ArraySlice<BatchShard>, _ program: TrainingProgram, _ runs: [Run],
        _ body: ([Run]) throws(ExecutionError) -> R
    ) throws(ExecutionError) -> R {
        guard let part = parts.first else { return try body(runs) }
        let place = places[runs.count]
        // The first part lies where other passes do.
        if !runs.isEmpty { try reserve(&place.arena, program.compiled.layout.memory.arenaBytes, "activations") }
        return try withRun(
            of: part.batch, program, arena: runs.isEmpty ? arena! : place.arena!, spare: nil, dropoutSeed: part.step,
            gradientScale: part.weight, changes: UnsafeMutableRawPointer(part.target.baseAddress!), keeping: place
        ) { (run) throws(ExecutionError) in
            try withRuns(of: parts.dropFirst(), program, runs + [run], body)
        }
    }

    private func checkedProgram(
        for batch: TrainingBatch, _ mode: Differentiator.Mode
    ) throws(ExecutionError) -> TrainingProgram {
        precondition(ck_isa_active() == isa, "the plan was made for another instruction set than the active one")
        try checkInput(batch.input)
        try checkLabels(batch.labels, count: batch.input.count)
        return try program(ProgramKind(mode: mode, startsAtFeatures: batch.input.isFeatures))
    }

    /// - Parameter keeping: Gets a copy of what the frozen part hands over, where it runs again before this run ends.
    private func withRun<R>(
        of batch: TrainingBatch, _ program: TrainingProgram, arena: AlignedBuffer,
        spare: UnsafeMutablePointer<Float>?, dropoutSeed: Int, gradientScale: Double,
        changes: UnsafeMutableRawPointer, keeping place: PassMemory? = nil,
        _ body: (Run) throws(ExecutionError) -> R
    ) throws(ExecutionError) -> R {
        let steps = program.compiled.program
        let images = batch.input.count
        return try withSource(batch.input) { (source) throws(ExecutionError) in
            var boundary: [UnsafeRawPointer] = []
            if !steps.boundary.isEmpty {
                let frozen = part(of: graph, boundary: steps.boundary)
                boundary = try frozen.run(source, images: images)
                if let place { boundary = try frozen.copyResults(to: &place.boundary) }
            }
            return try withTarget(batch.labels) { (target) throws(ExecutionError) in
                let pass = TrainingPass(
                    source: source, target: target, logits: images * shapes[graph.logits].count, spare: spare,
                    dropoutSeed: CounterRandom(seed: plan.seed, stream: UInt64(bitPattern: Int64(dropoutSeed))),
                    gradientScale: gradientScale)
                return try body(
                    Run(
                        images: images, threads: Int32(threads), arena: arena.base, scratch: scratch!.base,
                        constants: program.constants.base, boundary: boundary, pass: pass, changes: changes))
            }
        }
    }

    private func result(of run: Run) -> StepResult {
        guard let pass = run.pass else { preconditionFailure("a run without a batch") }
        return StepResult(
            loss: pass.loss.mean, weight: pass.loss.weight,
            logits: Tensor(shape: [run.images, shapes[graph.logits].count], values: pass.logits))
    }

    /// Room for the largest gradients that one kernel makes, where they are to be added to others.
    private func spareGradient() throws(ExecutionError) -> UnsafeMutablePointer<Float> {
        // A linear layer makes two at once, a batch norm too.
        let floats = graph.nodes.indices.map { node in
            graph.parameters(of: node).reduce(0) { $0 + ($1.count + 15) / 16 * 16 }
        }
        try reserve(&spare, (floats.max() ?? 0) * 4, "gradients to add")
        return spare!.floats(at: 0)
    }

    /// One call at a time.
    private func exclusively<R>(_ body: () throws(ExecutionError) -> R) throws(ExecutionError) -> R {
        let (isFree, _) = isBusy.compareExchange(expected: false, desired: true, ordering: .acquiring)
        precondition(isFree, "a training plan computes one step at a time")
        defer { isBusy.store(false, ordering: .releasing) }
        return try body()
    }

    private func exclusively<R>(_ body: () -> R) -> R {
        let (isFree, _) = isBusy.compareExchange(expected: false, desired: true, ordering: .acquiring)
        precondition(isFree, "a training plan computes one step at a time")
        defer { isBusy.store(false, ordering: .releasing) }
        return body()
    }
}

extension Graph {
    /// - Throws: `GraphError` for a node that has no backward pass here.
    fileprivate func checkThatItTrains() throws(GraphError) {
        for node in nodes {
            guard case .groupNorm = node.operation else { continue }
            throw GraphError(
                node: node.name, expected: "a layer that training supports",
                found: "a group norm, which runs in inference only")
        }
    }
}
