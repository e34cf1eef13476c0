// Layers -> program: the forward pass. TrainingBuilder+Backward adds the other half.
//
// A batch norm is written when its value is first asked for, so that the division of the steps into runs over images falls
// where it should: [apply, next convolution, its sums]. Values that the backward pass wants are kept or made again:
//
//     kept      what convolutions yield, sums of residual blocks, pools
//     again     batch norm (+ ReLU) without residual, from the kept convolution: one pass over memory to save a buffer;
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

struct TrainingBuilder {
    enum Mode: Sendable, Hashable { case training, inference }

    let scope: TrainingScope
    let mode: Mode
    let block: Int
    /// Whether kernels take this convolution of the picture as plain planes.
    let takesPlanes: (Int) -> Bool

    var program = TrainingProgram()
    let layers: [TrainingLayer]
    /// By node: the layer that yields its value.
    let layerOfNode: [Int: TrainingLayer]
    var isBackward = false
    /// By node: its value in the forward pass.
    private var forward: [Int: Int] = [:]
    /// By node: its value once computed again.
    private var again: [Int: Int] = [:]
    /// By pool: where its maxima were, as the pass computed them last.
    var offsets: [Int: Int] = [:]
    /// By batch norm: the sums of its forward pass.
    private var sums: [Int: Int] = [:]
    /// By picture: its planes, and their blocked form.
    private var planes: [Int: Int] = [:]
    private var blocked: [Int: Int] = [:]
    /// Nodes whose values are kept.
    let kept: Set<Int>
    /// By node: the gradient, as far as it has come.
    var gradients: [Int: Int] = [:]
    /// Batch norms whose gradient with respect to their input nobody has asked for yet.
    var pending: [PendingGradient] = []

    init(
        scope: TrainingScope, mode: Mode, checkpointing: Checkpointing, block: Int,
        takesPlanes: @escaping (Int) -> Bool
    ) throws(GraphError) {
        self.scope = scope
        self.mode = mode
        self.block = block
        self.takesPlanes = takesPlanes
        layers = scope.layers()
        layerOfNode = Dictionary(uniqueKeysWithValues: layers.map { ($0.tail, $0) })
        kept = Self.kept(layers, scope, checkpointing)
        for layer in layers {
            if case .norm = layer.kind, case .vector(let features) = scope.shapes[layer.inputs[0]],
                storesWithoutPadding(layer.inputs[0]), features % block != 0
            {
                throw GraphError(
                    node: scope.graph.nodes[layer.node].name, expected: "a feature map or what a linear layer yields",
                    found: "\(features) flattened values")
            }
        }
    }

    /// The whole program of a pass over a batch.
    static func program(
        scope: TrainingScope, mode: Mode, checkpointing: Checkpointing, block: Int,
        takesPlanes: @escaping (Int) -> Bool
    ) throws(GraphError) -> TrainingProgram {
        var builder = try TrainingBuilder(
            scope: scope, mode: mode, checkpointing: checkpointing, block: block, takesPlanes: takesPlanes)
        builder.takeBoundary()
        for layer in builder.layers {
            // A batch norm waits until somebody reads it.
            if case .norm = layer.kind { continue }
            builder.run(layer)
        }
        builder.finishWithLoss()
        return builder.program
    }

    private static func kept(
        _ layers: [TrainingLayer], _ scope: TrainingScope, _ checkpointing: Checkpointing
    ) -> Set<Int> {
        func part(_ layer: TrainingLayer) -> String {
            let name = scope.graph.nodes[layer.node].name.split(separator: ".")
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
            case .norm(_, addsResidual: false): continue
            case _ where checkpointing != .none:
                guard let readers = readers[layer.tail], readers.allSatisfy({ $0 == part(layer) }) else { break }
                continue
            case .conv(let spec, _) where widens(layer, spec, scope): continue
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
    private static func widens(_ layer: TrainingLayer, _ spec: ConvSpec, _ scope: TrainingScope) -> Bool {
        let (x, y) = (scope.map(layer.inputs[0]), scope.map(layer.tail))
        return spec.kernel == Size2(1, 1) && x.channels <= 128
            && 2 * x.channels * x.height * x.width <= y.channels * y.height * y.width
    }

    // MARK: - Values

    mutating func newValue(_ node: Int, _ storage: TrainingValue.Storage, isGradient: Bool = false) -> Int {
        program.values.append(
            TrainingValue(node: node, shape: scope.map(node), storage: storage, isGradient: isGradient))
        return program.values.count - 1
    }

    mutating func emit(
        _ operation: TrainingOperation, _ inputs: [Int] = [], to outputs: [Int] = [], updating updates: [Int] = [],
        for node: Int
    ) {
        program.steps.append(
            TrainingStep(
                operation: operation, inputs: inputs, outputs: outputs, updates: updates, node: node,
                isBackward: isBackward))
    }

    func padded(_ count: Int) -> Int { (count + block - 1) / block * block }

    /// Floats from one row to the next in a value of storage rows or of 1x1 maps.
    func stride(_ value: Int) -> Int { program.values[value].floats(block: block) }

    /// The storage of a value like that of `node`, which yields maps, or vectors in rows.
    private func storage(_ node: Int, like value: Int) -> TrainingValue.Storage {
        if case .vector = scope.shapes[node], program.values[value].storage != .blocked {
            return program.values[value].storage
        }
        return .blocked
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
        case .dropout: return mode == .inference ? source(layer.inputs[0]) : node
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
        for node in scope.boundary {
            if case .input = scope.graph.nodes[node].operation {
                let value = newValue(node, .planes)
                planes[node] = value
                emit(.loadPictures, to: [value], for: node)
                continue
            }
            var storage = TrainingValue.Storage.blocked
            if case .vector(let features) = scope.shapes[node] { storage = .rows(stride: features) }
            let value = newValue(node, storage)
            forward[node] = value
            // Features come with the batch, although the backbone that yields them is frozen.
            if scope.start == .pictures {
                program.values[value].boundary = program.boundary.count
                program.boundary.append(node)
            } else {
                emit(.loadFeatures, to: [value], for: node)
            }
        }
    }

    /// A value of the boundary; pictures in blocked form.
    private mutating func given(_ node: Int) -> Int {
        if let value = forward[node] { return value }
        if let value = blocked[node] { return value }
        let value = newValue(node, .blocked)
        emit(.importPlanes, [planes[node]!], to: [value], for: node)
        blocked[node] = value
        return value
    }

    /// What a convolution reads: the planes of the picture if its kernels take them.
    mutating func convInput(_ layer: TrainingLayer) -> Int {
        if let value = planes[layer.inputs[0]], takesPlanes(layer.node) { return value }
        return value(layer.inputs[0])
    }

    // MARK: - Layers, forward

    private mutating func run(_ layer: TrainingLayer) {
        switch layer.kind {
        case .conv(_, let relu): convolve(layer, relu)
        case .norm(let relu, let addsResidual): normalize(layer, relu, addsResidual)
        case .linear(let relu):
            let x = value(layer.inputs[0])
            let count = scope.shapes[layer.tail].count
            // The loss reads dense rows.
            let isLast = scope.readers[layer.tail].contains(TrainingScope.loss)
            let y = newValue(layer.tail, .rows(stride: isLast ? count : padded(count)))
            emit(.linear(node: layer.node, relu: relu), [x], to: [y], for: layer.node)
            set(layer, y)
        case .add(let relu): elementwise(layer, .add(relu: relu))
        case .relu: elementwise(layer, .relu)
        case .sigmoid: elementwise(layer, .sigmoid)
        case .dropout(let probability):
            guard source(layer.tail) == layer.tail else { break }
            elementwise(layer, .dropout(node: layer.node, probability: probability))
        case .maxPool(let spec):
            let x = value(layer.inputs[0])
            let y = newValue(layer.tail, .blocked)
            var outputs = [y]
            if mode == .training, scope.needsGradient[layer.tail] {
                let places = newValue(layer.tail, .offsets)
                outputs.append(places)
                offsets[layer.tail] = places
            }
            emit(.maxPool(spec), [x], to: outputs, for: layer.node)
            set(layer, y)
        case .averagePool(let spec): mapped(layer, .averagePool(spec))
        case .globalAveragePool: mapped(layer, .globalAveragePool)
        case .concat: mapped(layer, .concat)
        case .flatten:
            guard source(layer.tail) == layer.tail else { break }
            let x = value(layer.inputs[0])
            let y = newValue(layer.tail, .rows(stride: scope.shapes[layer.tail].count))
            emit(.flatten, [x], to: [y], for: layer.node)
            set(layer, y)
        }
    }

    private mutating func mapped(_ layer: TrainingLayer, _ operation: TrainingOperation) {
        let inputs = layer.inputs.map { value($0) }
        let y = newValue(layer.tail, .blocked)
        emit(operation, inputs, to: [y], for: layer.node)
        set(layer, y)
    }

    private mutating func elementwise(_ layer: TrainingLayer, _ operation: TrainingOperation) {
        let inputs = layer.inputs.map { value($0) }
        let y = newValue(layer.tail, storage(layer.tail, like: inputs[0]))
        emit(operation, inputs, to: [y], for: layer.node)
        set(layer, y)
    }

    private mutating func convolve(_ layer: TrainingLayer, _ relu: Bool) {
        let x = convInput(layer)
        let packed = newValue(layer.node, .packed)
        let y = newValue(layer.tail, .blocked)
        emit(.pack(node: layer.node), to: [packed], for: layer.node)
        emit(.conv(node: layer.node, relu: relu), [x, packed], to: [y], for: layer.node)
        set(layer, y)
        // The sums of the batch norms that follow are taken while the values are in the cache.
        if !isBackward { for reader in scope.readers[layer.tail] { sum(reader, y) } }
    }

    private func usesBatch(_ norm: Int) -> Bool { mode == .training && scope.usesBatchStatistics(norm) }

    private mutating func sum(_ norm: Int, _ x: Int) {
        guard norm != TrainingScope.loss, case .batchNorm = scope.graph.nodes[norm].operation, usesBatch(norm) else {
            return
        }
        let value = newValue(norm, .sums)
        sums[norm] = value
        emit(.normSums(node: norm), [x], to: [value], for: norm)
    }

    private mutating func normalize(_ layer: TrainingLayer, _ relu: Bool, _ addsResidual: Bool) {
        let x = value(layer.inputs[0])
        let workspace: Int
        if isBackward {
            // Mean and variance are those of the first time.
            workspace = newValue(layer.node, .sums)
        } else if usesBatch(layer.node) {
            if sums[layer.node] == nil { sum(layer.node, x) }
            workspace = sums[layer.node]!
            emit(.normFinish(node: layer.node, usesBatch: true), updating: [workspace], for: layer.node)
        } else {
            workspace = newValue(layer.node, .sums)
            emit(.normFinish(node: layer.node, usesBatch: false), to: [workspace], for: layer.node)
        }
        let residual = addsResidual ? [value(layer.inputs[1])] : []
        let y = newValue(layer.tail, storage(layer.tail, like: x))
        let apply = TrainingOperation.normApply(node: layer.node, relu: relu, addsResidual: addsResidual)
        if isBackward {
            emit(apply, [x] + residual, to: [y, workspace], for: layer.node)
        } else {
            emit(apply, [x] + residual, to: [y], updating: [workspace], for: layer.node)
        }
        set(layer, y)
    }
}
