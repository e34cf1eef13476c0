// Layers -> program: the loss and the backward pass.
//
// Layers are visited in reverse. A gradient is a value that one layer after another adds to; when its own layer is reached
// it is whole, and it is passed on to what the layer reads. A layer that hands its gradient on unchanged (the residual of an
// addition) hands on the very buffer. What trains nothing and leads to nothing that trains is left out, so the pass ends
// where everything before is frozen.
//
// The last part of a batch norm, dx = a dy + b x + c, waits until somebody asks for dx: the gradient convolutions of the
// layer before, which then find it in the cache.

import ResNetGraph

/// A batch norm that has taken its sums.
struct PendingGradient {
    let layer: TrainingLayer
    let gradient: NormGradient
    /// Behind the mask, if it masks in place.
    let dy: Int
    let sums: Int?
}

extension TrainingBuilder {
    mutating func finishWithLoss() {
        let logits = value(scope.graph.logits)
        guard mode == .training, scope.needsGradient[scope.graph.logits] else {
            emit(.loss, [logits], for: scope.graph.logits)
            return
        }
        let gradient = newValue(scope.graph.logits, program.values[logits].storage, isGradient: true)
        emit(.loss, [logits], to: [gradient], for: scope.graph.logits)
        isBackward = true
        gradients[source(scope.graph.logits)] = gradient
        for layer in layers.reversed() where scope.needsGradient[layer.tail] && source(layer.tail) == layer.tail {
            if let dy = takeGradient(layer.tail) { backward(layer, dy) }
        }
    }

    // MARK: - Gradients

    /// The whole gradient of a node's value; nil if nothing depends on it.
    private mutating func takeGradient(_ node: Int) -> Int? {
        while let index = pending.firstIndex(where: { source($0.layer.inputs[0]) == node }) { applyPending(at: index) }
        return gradients[node]
    }

    private func newStorage(_ node: Int) -> TrainingValue.Storage {
        guard case .vector = scope.shapes[node] else { return .blocked }
        guard let layer = layerOfNode[node] else { return .rows(stride: scope.shapes[node].count) }
        switch layer.kind {
        case .linear:
            let isLast = scope.readers[node].contains(TrainingScope.loss)
            return .rows(stride: isLast ? scope.shapes[node].count : padded(scope.shapes[node].count))
        case .flatten: return .rows(stride: scope.shapes[node].count)
        default:
            // Elementwise: as what it reads. A map is of 1x1.
            let read = source(layer.inputs[0])
            if case .map = scope.shapes[read] { return .blocked }
            return newStorage(read)
        }
    }

    mutating func newGradient(_ node: Int) -> Int { newValue(node, newStorage(node), isGradient: true) }

    /// Adds a contribution that nobody else will write to.
    private mutating func add(_ contribution: Int, to node: Int) {
        let node = source(node)
        guard let whole = gradients[node] else {
            gradients[node] = contribution
            return
        }
        willUpdate(whole)
        emit(.accumulate, [contribution], updating: [whole], for: node)
    }

    /// Adds a value that stays somebody else's.
    private mutating func addCopy(_ contribution: Int, to node: Int) {
        if gradients[source(node)] != nil { return add(contribution, to: node) }
        let copy = newGradient(source(node))
        emit(.copy, [contribution], to: [copy], for: node)
        add(copy, to: node)
    }

    /// A layer's own contribution to the gradient of its first input.
    private mutating func pass(_ layer: TrainingLayer, _ operation: TrainingOperation, _ inputs: [Int]) {
        let input = source(layer.inputs[0])
        guard scope.needsGradient[input] else { return }
        let dx = newGradient(input)
        emit(operation, inputs, to: [dx], for: layer.node)
        add(dx, to: input)
    }

    /// Writes what still reads `gradient` before it changes.
    private mutating func willUpdate(_ gradient: Int) {
        while let index = pending.firstIndex(where: { $0.dy == gradient }) { applyPending(at: index) }
    }

    // MARK: - Layers, backward

    private mutating func backward(_ layer: TrainingLayer, _ dy: Int) {
        switch layer.kind {
        case .conv(let spec, let relu): convolution(layer, spec, relu, dy)
        case .norm(let relu, let addsResidual): norm(layer, relu, addsResidual, dy)
        case .linear(let relu):
            let gradient = relu ? behindRelu(layer, dy) : dy
            let input = source(layer.inputs[0])
            let x = value(input)
            var outputs: [Int] = []
            if scope.needsGradient[input] { outputs = [newGradient(input)] }
            emit(.linearGradient(node: layer.node), [x, gradient], to: outputs, for: layer.node)
            if let dx = outputs.first { add(dx, to: input) }
        case .add(let relu):
            let gradient = relu ? behindRelu(layer, dy) : dy
            let takers = layer.inputs.filter { scope.needsGradient[$0] }
            for taker in takers.dropFirst() { addCopy(gradient, to: taker) }
            if let first = takers.first { add(gradient, to: first) }
        case .relu: pass(layer, .reluGradient, [value(layer.tail), dy])
        case .sigmoid: pass(layer, .sigmoidGradient, [value(layer.tail), dy])
        case .dropout(let probability):
            pass(layer, .dropout(node: layer.node, probability: probability), [dy])
        case .maxPool(let spec):
            // Where the result is not kept, neither is where it came from.
            if !kept.contains(layer.tail) { _ = value(layer.tail) }
            pass(layer, .maxPoolGradient(spec), [offsets[layer.tail]!, dy])
        case .averagePool(let spec): pass(layer, .averagePoolGradient(spec), [dy])
        case .globalAveragePool: pass(layer, .globalAveragePoolGradient, [dy])
        case .flatten: pass(layer, .unflatten, [dy])
        case .concat:
            var offset = 0
            for input in layer.inputs {
                if scope.needsGradient[input] {
                    let part = newGradient(source(input))
                    emit(.concatSlice(offset: offset), [dy], to: [part], for: layer.node)
                    add(part, to: input)
                }
                offset += scope.map(input).channels
            }
        }
    }

    private mutating func behindRelu(_ layer: TrainingLayer, _ dy: Int) -> Int {
        let gradient = newValue(layer.tail, program.values[dy].storage, isGradient: true)
        emit(.reluGradient, [value(layer.tail), dy], to: [gradient], for: layer.node)
        return gradient
    }

    private mutating func convolution(_ layer: TrainingLayer, _ spec: ConvSpec, _ relu: Bool, _ dy: Int) {
        var gradient = dy
        if spec.bias, scope.trains(layer.node, "bias") {
            let bias = NormGradient(
                node: layer.node, usesBatch: false, relu: relu, masksInPlace: relu, scaleTrains: false,
                shiftTrains: true, isBias: true)
            let sums = newValue(layer.node, .sums)
            takeSums(bias, layer, dy, sums)
            emit(.normGradientFinish(bias), updating: [sums], for: layer.node)
        } else if relu {
            gradient = behindRelu(layer, dy)
        }
        if scope.trains(layer.node, "weight") {
            emit(.convWeightGradient(node: layer.node), [convInput(layer), gradient], for: layer.node)
        }
        let input = source(layer.inputs[0])
        guard scope.needsGradient[input] else { return }
        let packed = newValue(layer.node, .packed, isGradient: true)
        emit(.pack(node: layer.node), to: [packed], for: layer.node)
        if let whole = gradients[input] {
            willUpdate(whole)
            emit(
                .convDataGradient(node: layer.node, accumulates: true), [gradient, packed], updating: [whole],
                for: layer.node)
        } else {
            let dx = newGradient(input)
            emit(
                .convDataGradient(node: layer.node, accumulates: false), [gradient, packed], to: [dx], for: layer.node)
            gradients[input] = dx
        }
    }

    private mutating func norm(_ layer: TrainingLayer, _ relu: Bool, _ addsResidual: Bool, _ dy: Int) {
        let gradient = NormGradient(
            node: layer.node, usesBatch: scope.usesBatchStatistics(layer.node), relu: relu,
            masksInPlace: relu && addsResidual, scaleTrains: scope.trains(layer.node, "weight"),
            shiftTrains: scope.trains(layer.node, "bias"))
        var sums: Int?
        if gradient.hasSums {
            let value = newValue(layer.node, .sums, isGradient: true)
            takeSums(gradient, layer, dy, value)
            sums = value
        }
        let waits = scope.needsGradient[source(layer.inputs[0])]
        if waits {
            pending.append(PendingGradient(layer: layer, gradient: gradient, dy: dy, sums: sums))
        } else if let sums {
            emit(.normGradientFinish(gradient), updating: [sums], for: layer.node)
        }
        guard addsResidual, scope.needsGradient[layer.inputs[1]] else { return }
        let residual = source(layer.inputs[1])
        if gradients[residual] == nil { gradients[residual] = dy } else { add(dy, to: residual) }
    }

    private mutating func takeSums(_ gradient: NormGradient, _ layer: TrainingLayer, _ dy: Int, _ sums: Int) {
        let x = gradient.sumsReadX ? [value(layer.inputs[0])] : []
        if gradient.masksInPlace {
            willUpdate(dy)
            emit(
                .normGradientSums(gradient), [value(layer.tail)] + x, to: [sums], updating: [dy], for: layer.node)
        } else {
            emit(.normGradientSums(gradient), [dy] + x, to: [sums], for: layer.node)
        }
    }

    private mutating func applyPending(at index: Int) {
        let waiting = pending.remove(at: index)
        let layer = waiting.layer
        let sums: Int
        if let taken = waiting.sums {
            sums = taken
            emit(.normGradientFinish(waiting.gradient), updating: [sums], for: layer.node)
        } else {
            sums = newValue(layer.node, .sums, isGradient: true)
            emit(.normGradientFinish(waiting.gradient), to: [sums], for: layer.node)
        }
        let input = source(layer.inputs[0])
        let x = waiting.gradient.applyReadsX ? [value(input)] : []
        let dx = newGradient(input)
        emit(.normGradientApply(waiting.gradient), [waiting.dy, sums] + x, to: [dx], for: layer.node)
        add(dx, to: input)
    }
}
