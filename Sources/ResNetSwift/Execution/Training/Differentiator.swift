// Graph -> program, for training: the forward pass. Differentiator+Backward adds the other half.
//
//     forward    [apply bn1, relu] [conv2] [sums bn2]  ->  finish bn2  ->  ...
//     backward   [apply bn2 gradient] [dw conv2] [dx conv2] [sums bn1 gradient]  ->  finish bn1 gradient  ->  ...
//
// A batch norm is written when its value is first asked for, so that the division of the steps into runs over images falls
// where it should: [apply, next convolution, its sums]. Values that the backward pass wants are kept or made again:
//
//     kept      what convolutions yield, sums of residual blocks, pools
//     again     batch norm (+ ReLU) without residual, from the kept convolution: one pass over memory to save a buffer;
//               layer norm and GELU for the same reason;
//               1x1 convolutions that widen (the last of a bottleneck), and every second sum behind such a one;
//               with checkpoints all that lies between two of them

import ResNetGraph

/// Which values are kept from the forward pass for the backward pass; the rest is computed again.
public enum Checkpointing: String, Sendable, Hashable, CaseIterable {
    /// All that costs much to compute.
    case none
    /// Only what one residual block hands to another.
    case blocks
    /// Only what one stage hands to another: the least memory between, the most within one stage.
    case stages
}

struct Differentiator {
    enum Mode: Sendable, Hashable { case training, inference }

    let scope: TrainingScope
    let mode: Mode
    let loss: Loss
    let block: Int
    /// Whether kernels take this convolution of the picture as plain planes, forward and backward.
    let takesPlanes: (ConvSpec, ImageShape) -> Bool

    var program = Program()
    let layers: [TrainingLayer]
    /// By node: the layer that yields its value.
    let layerOfNode: [Int: TrainingLayer]
    var isBackward = false
    /// By node: its value in the forward pass.
    private var forward: [Int: Int] = [:]
    /// By node: its value once computed again.
    private var again: [Int: Int] = [:]
    /// By node: what its forward step saved for its gradient, as the pass computed it last.
    var saved: [Int: Int] = [:]
    /// By batch norm: the sums of its forward pass, and its mean and deviations.
    private var sums: [Int: Int] = [:]
    private var statistics: [Int: Int] = [:]
    /// By key: a parameter for each channel that does not train, up to whole vectors.
    private var fixedParameters: [String: Int] = [:]
    /// By picture: its planes, and their blocked form.
    private var planes: [Int: Int] = [:]
    private var blocked: [Int: Int] = [:]
    /// Nodes whose values are kept.
    let kept: Set<Int>
    /// By node: the gradient, as far as it has come.
    var gradients: [Int: Int] = [:]
    /// Batch norms whose gradient with respect to their input nobody has asked for yet.
    var pending: [PendingGradient] = []

    var flow: DataFlow { scope.flow }

    init(
        scope: TrainingScope, mode: Mode, loss: Loss, checkpointing: Checkpointing, block: Int,
        takesPlanes: @escaping (ConvSpec, ImageShape) -> Bool
    ) throws(GraphError) {
        self.scope = scope
        self.mode = mode
        self.loss = loss
        self.block = block
        self.takesPlanes = takesPlanes
        layers = scope.flow.layers()
        layerOfNode = Dictionary(uniqueKeysWithValues: layers.map { ($0.tail, $0) })
        kept = Self.kept(layers, scope.flow, checkpointing)
        for layer in layers {
            if case .norm = layer.kind, case .vector(let features) = scope.shapes[layer.inputs[0]],
                storesWithoutPadding(layer.inputs[0]), features % block != 0
            {
                throw GraphError(
                    node: flow.name(layer.node), expected: "a feature map or what a linear layer yields",
                    found: "\(features) flattened values")
            }
        }
    }

    /// The whole program of a pass over a batch.
    static func program(
        scope: TrainingScope, mode: Mode, loss: Loss, checkpointing: Checkpointing, block: Int,
        takesPlanes: @escaping (ConvSpec, ImageShape) -> Bool
    ) throws(GraphError) -> Program {
        var differentiator = try Differentiator(
            scope: scope, mode: mode, loss: loss, checkpointing: checkpointing, block: block, takesPlanes: takesPlanes)
        differentiator.takeBoundary()
        for layer in differentiator.layers {
            // A batch norm waits until somebody reads it.
            if case .norm = layer.kind { continue }
            differentiator.run(layer)
        }
        differentiator.finishWithLoss()
        return differentiator.program
    }

    private static func kept(_ layers: [TrainingLayer], _ flow: DataFlow, _ checkpointing: Checkpointing) -> Set<Int> {
        func part(_ layer: TrainingLayer) -> String {
            let name = flow.name(layer.node).split(separator: ".")
            return switch checkpointing {
            case .none: ""
            case .blocks: name.prefix(2).joined(separator: ".")
            case .stages: name.prefix(1).joined()
            }
        }
        var readers: [Int: [String]] = [:]
        for layer in layers { for input in layer.inputs { readers[input, default: []].append(part(layer)) } }
        var kept: Set<Int> = []
        for layer in layers {
            switch layer.kind {
            case .norm(_, addsResidual: false), .layerNorm: continue
            case .plain(let plain) where plain.forward is Gelu: continue
            case _ where checkpointing != .none:
                guard let readers = readers[layer.tail], readers.allSatisfy({ $0 == part(layer) }) else { break }
                continue
            case .conv(let spec, _) where widens(layer, spec, flow): continue
            // What a block hands on can be made again from a widening convolution and what the block before handed on.
            case .norm(_, addsResidual: true)
            where !kept.contains(layer.inputs[0]) && kept.contains(layer.inputs[1]): continue
            default: break
            }
            kept.insert(layer.tail)
        }
        return kept
    }

    /// Whether a convolution makes so much out of so little that computing it again costs hardly more than fetching what
    /// was kept: the last 1x1 of a bottleneck.
    private static func widens(_ layer: TrainingLayer, _ spec: ConvSpec, _ flow: DataFlow) -> Bool {
        let (x, y) = (flow.map(layer.inputs[0]), flow.map(layer.tail))
        return spec.kernel == Size2(1, 1) && x.channels <= 128
            && 2 * x.channels * x.height * x.width <= y.channels * y.height * y.width
    }

    // MARK: - Values

    mutating func newValue(
        _ node: Int, _ storage: ValueStorage, element: ValueElement = .float32, home: ValueHome = .arena
    ) -> Int {
        program.add(
            Value(name: flow.name(node), shape: flow.map(node), storage: storage, element: element, home: home))
    }

    /// What belongs to the whole batch; the operation that makes it says how large it is.
    mutating func newWhole(_ node: Int, elements: Int? = nil) -> Int { newValue(node, .whole(elements: elements)) }

    mutating func emit(
        _ operation: any StepOperation, _ inputs: [Int] = [], to outputs: [Int] = [], updating updates: [Int] = [],
        for node: Int, weightBytes: Int = 0
    ) {
        program.append(
            Step(
                operation: operation, nodes: [node], inputs: inputs, outputs: outputs, updates: updates,
                isBackward: isBackward, weightBytes: weightBytes), block: block)
    }

    mutating func parameter(_ node: Int, _ name: String) -> Int { program.parameter(scope.parameter(node, name)) }
    mutating func gradient(_ node: Int, _ name: String) -> Int { program.gradient(of: scope.parameter(node, name)) }

    func padded(_ count: Int) -> Int { roundedUp(count, to: block) }

    /// The storage of a value like that of `node`, which yields maps, or vectors in rows.
    private func storage(_ node: Int, like value: Int) -> ValueStorage {
        flow.isVector(node) && program.values[value].storage != .blocked ? program.values[value].storage : .blocked
    }

    /// A flattened map larger than 1x1, or the caller's features, perhaps after elementwise layers: dense rows.
    private func storesWithoutPadding(_ node: Int) -> Bool {
        guard let layer = layerOfNode[node] else { return true }
        switch layer.kind {
        case .linear: return false
        case .flatten:
            if case .map(let map) = scope.shapes[layer.inputs[0]] { return map.height * map.width > 1 }
            return storesWithoutPadding(layer.inputs[0])
        default: return storesWithoutPadding(layer.inputs[0])
        }
    }

    /// The node whose value and gradient are those of `node`: flattening a 1x1 map moves nothing, and dropout does
    /// nothing in inference.
    func source(_ node: Int) -> Int {
        guard let layer = layerOfNode[node] else { return node }
        switch layer.kind {
        case .flatten:
            if case .map(let map) = scope.shapes[layer.inputs[0]], map.height * map.width > 1 { return node }
            return source(layer.inputs[0])
        case .dropout, .dropPath: return mode == .inference ? source(layer.inputs[0]) : node
        default: return node
        }
    }

    /// The value of a node, made first if it has to be.
    mutating func value(_ node: Int) -> Int {
        let node = source(node)
        guard let layer = layerOfNode[node] else { return given(node) }
        if !isBackward {
            if let value = forward[node] { return value }
        } else {
            if kept.contains(node), let value = forward[node] { return value }
            if let value = again[node] { return value }
        }
        run(layer)
        return isBackward ? again[node]! : forward[node]!
    }

    private mutating func set(_ layer: TrainingLayer, _ value: Int) {
        if isBackward { again[layer.tail] = value } else { forward[layer.tail] = value }
    }

    // MARK: - What is given

    private mutating func takeBoundary() {
        for node in flow.boundary {
            if case .input = flow.operation(node) {
                let value = newValue(node, .planes)
                planes[node] = value
                emit(LoadBatch(), to: [value], for: node)
                continue
            }
            let storage = flow.isVector(node) ? ValueStorage.rows(stride: flow.map(node).channels) : .blocked
            // Features come with the batch, although the backbone that yields them is frozen.
            guard scope.start == .pictures else {
                forward[node] = newValue(node, storage)
                emit(LoadBatch(), to: [forward[node]!], for: node)
                continue
            }
            forward[node] = newValue(node, storage, home: .boundary(program.boundary.count))
            program.boundary.append(node)
        }
    }

    /// A value of the boundary; pictures in blocked form.
    private mutating func given(_ node: Int) -> Int {
        if let value = forward[node] { return value }
        if let value = blocked[node] { return value }
        let value = newValue(node, .blocked)
        emit(ToBlocked(), [planes[node]!], to: [value], for: node)
        blocked[node] = value
        return value
    }

    /// What a convolution reads: the planes of the picture if its kernels take them.
    mutating func convInput(_ layer: TrainingLayer, _ spec: ConvSpec) -> Int {
        if let value = planes[layer.inputs[0]], takesPlanes(spec, flow.map(layer.inputs[0])) { return value }
        return value(layer.inputs[0])
    }

    // MARK: - Layers, forward

    private mutating func run(_ layer: TrainingLayer) {
        guard source(layer.tail) == layer.tail else { return }
        switch layer.kind {
        case .conv(let spec, let relu): convolve(layer, spec, relu)
        case .norm(let relu, let addsResidual): normalize(layer, relu, addsResidual)
        case .linear(let relu): multiply(layer, relu)
        case .add(let relu): mapped(layer, Add(relu: relu))
        case .gate: mapped(layer, Gate())
        case .channelConv(let kernel):
            mapped(layer, ChannelConvolution(kernel: kernel), [parameter(layer.node, "weight")])
        case .plain(let plain): mapped(layer, plain.forward, saving: plain.saves)
        case .dropout(let probability): mapped(layer, Dropout(node: layer.node, probability: probability))
        case .dropPath(let probability): mapped(layer, DropPath(node: layer.node, probability: probability))
        case .layerNorm(let eps):
            let operation = LayerNorm(channels: flow.map(layer.tail).channels, eps: eps)
            mapped(layer, operation, ["weight", "bias"].map { channelParameter(layer.node, $0) })
        case .layerScale: mapped(layer, LayerScale(), [channelParameter(layer.node, "gamma")])
        case .concat: mapped(layer, Concat())
        case .flatten:
            let x = value(layer.inputs[0])
            let y = newValue(layer.tail, .rows(stride: scope.shapes[layer.tail].count))
            emit(Flatten(), [x], to: [y], for: layer.node)
            set(layer, y)
        }
    }

    /// A layer of one step, which may read parameters; rows stay rows.
    private mutating func mapped(
        _ layer: TrainingLayer, _ operation: any StepOperation, _ parameters: [Int] = [],
        saving element: ValueElement? = nil
    ) {
        let inputs = layer.inputs.map { value($0) }
        var outputs = [newValue(layer.tail, storage(layer.tail, like: inputs[0]))]
        set(layer, outputs[0])
        if let element, mode == .training, scope.needsGradient[layer.tail] {
            let extra = newValue(layer.tail, program.values[outputs[0]].storage, element: element)
            outputs.append(extra)
            saved[layer.tail] = extra
        }
        emit(operation, inputs + parameters, to: outputs, for: layer.node)
    }

    private mutating func multiply(_ layer: TrainingLayer, _ relu: Bool) {
        guard case .linear(let inFeatures, let outFeatures, let bias) = flow.operation(layer.node) else { return }
        let x = value(layer.inputs[0])
        let y = newValue(layer.tail, rowsOfLinear(layer.tail))
        let operation = Linear(
            inFeatures: inFeatures, outFeatures: outFeatures, hasBias: bias, relu: relu, isPerImage: false)
        let parameters = [parameter(layer.node, "weight")] + (bias ? [parameter(layer.node, "bias")] : [])
        emit(operation, [x] + parameters, to: [y], for: layer.node)
        set(layer, y)
    }

    /// Rows of whole blocks; the loss reads dense ones.
    func rowsOfLinear(_ node: Int) -> ValueStorage {
        let count = scope.shapes[node].count
        return .rows(stride: flow.readers[node].contains(DataFlow.outside) ? count : padded(count))
    }

    private mutating func convolve(_ layer: TrainingLayer, _ spec: ConvSpec, _ relu: Bool) {
        let x = convInput(layer, spec)
        let packed = packedFilters(layer.node)
        let y = newValue(layer.tail, .blocked)
        let operation = Convolution(
            spec: spec, input: flow.map(layer.inputs[0]), relu: relu, source: program.values[x].storage)
        let bias = spec.bias ? [channelParameter(layer.node, "bias")] : []
        emit(operation, [x, packed] + bias, to: [y], for: layer.node, weightBytes: filterBytes(layer.node))
        set(layer, y)
        // The sums of the batch norms that follow are taken while the values are in the cache.
        guard !isBackward else { return }
        for reader in flow.readers[layer.tail] where reader != DataFlow.outside {
            if case .batchNorm = flow.operation(reader), usesBatch(reader) { sum(reader, y) }
        }
    }

    mutating func packedFilters(_ node: Int) -> Int {
        let packed = newWhole(node)
        emit(PackFilters(), [parameter(node, "weight")], to: [packed], for: node)
        return packed
    }

    func filterBytes(_ node: Int) -> Int { scope.parameter(node, "weight").count * 4 }

    /// One for each channel as kernels read it: up to whole vectors, zeros at the end. One that trains lies so already.
    mutating func channelParameter(_ node: Int, _ name: String) -> Int {
        let value = parameter(node, name)
        guard !scope.trains(node, name) else { return value }
        let spec = scope.parameter(node, name)
        if let known = fixedParameters[spec.name] { return known }
        let count = spec.count
        let copy = program.constant(flow.name(node), count: NormShape.padded(count))
        program.setup.append(
            Step(operation: CopyParameters(counts: [count]), nodes: [node], inputs: [value], outputs: [copy]))
        fixedParameters[spec.name] = copy
        return copy
    }

    // MARK: - Batch norm

    private func usesBatch(_ norm: Int) -> Bool { mode == .training && scope.usesBatchStatistics(norm) }

    func normShape(_ norm: Int) -> NormShape {
        guard case .batchNorm(_, let eps, let momentum) = flow.operation(norm) else {
            preconditionFailure("\(flow.name(norm)) is no batch norm")
        }
        return NormShape(map: flow.map(flow.operands(norm)[0]), eps: eps, momentum: momentum)
    }

    private mutating func sum(_ norm: Int, _ x: Int) {
        let value = newWhole(norm)
        sums[norm] = value
        emit(NormSums(shape: normShape(norm)), [x], to: [value], for: norm)
    }

    /// Mean and deviations of a batch norm; of the bias of a convolution, which is one of mean 0 and deviation 1.
    mutating func savedStatistics(_ node: Int) -> Int {
        if let known = statistics[node] { return known }
        let count = flow.map(node).channels
        let zeros = [Float](repeating: 0, count: NormShape.padded(count))
        let value = program.constant(zeros + zeros.indices.map { $0 < count ? 1 : 0 }, flow.name(node))
        statistics[node] = value
        return value
    }

    /// gamma, beta; of a layer scale, which is passed back as a batch norm of mean 0 and deviation 1, gamma and zeros.
    mutating func affine(_ norm: Int) -> [Int] {
        guard case .layerScale(let channels) = flow.operation(norm) else {
            return [parameter(norm, "weight"), parameter(norm, "bias")]
        }
        let zeros = [Float](repeating: 0, count: NormShape.padded(channels))
        return [channelParameter(norm, "gamma"), program.constant(zeros, flow.name(norm))]
    }

    /// Finishes the sums, and gives the value that holds the coefficients.
    private mutating func finishSums(_ norm: Int, _ x: Int) -> Int {
        let shape = normShape(norm)
        let running = [parameter(norm, "running_mean"), parameter(norm, "running_var")]
        let usesBatch = usesBatch(norm)
        if usesBatch, sums[norm] == nil { sum(norm, x) }
        let whole = usesBatch ? sums[norm]! : newWhole(norm)
        let saved = newWhole(norm, elements: shape.savedCount)
        statistics[norm] = saved
        let finish = NormFinish(shape: shape, usesBatch: usesBatch)
        if usesBatch {
            emit(finish, affine(norm), to: [saved], updating: [whole] + running, for: norm)
        } else {
            emit(finish, affine(norm) + running, to: [saved, whole], for: norm)
        }
        return whole
    }

    private mutating func normalize(_ layer: TrainingLayer, _ relu: Bool, _ addsResidual: Bool) {
        let x = value(layer.inputs[0])
        // Mean and variance are those of the first time.
        let coefficients = isBackward ? newWhole(layer.node) : finishSums(layer.node, x)
        let residual = addsResidual ? [value(layer.inputs[1])] : []
        let y = newValue(layer.tail, storage(layer.tail, like: x))
        let apply = NormApply(shape: normShape(layer.node), relu: relu, addsResidual: addsResidual)
        emit(
            apply, [x] + residual + affine(layer.node) + [savedStatistics(layer.node)],
            to: isBackward ? [y, coefficients] : [y], updating: isBackward ? [] : [coefficients], for: layer.node)
        set(layer, y)
    }
}
