// Graph -> program, for training: the loss and the backward pass.
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

extension Differentiator {
    mutating func finishWithLoss() {
        let logits = value(flow.graph.logits)
        let node = flow.graph.logits
        let step = LossStep(loss: loss, classes: scope.shapes[node].count)
        guard mode == .training, scope.needsGradient[node] else { return emit(step, [logits], for: node) }
        let gradient = newValue(node, program.values[logits].storage)
        emit(step, [logits], to: [gradient], for: node)
        isBackward = true
        gradients[source(node)] = gradient
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

    private func gradientStorage(_ node: Int) -> ValueStorage {
        guard flow.isVector(node) else { return .blocked }
        guard let layer = layerOfNode[node] else { return .rows(stride: scope.shapes[node].count) }
        switch layer.kind {
        case .linear: return rowsOfLinear(node)
        case .flatten: return .rows(stride: scope.shapes[node].count)
        default:
            // Elementwise: as what it reads. A map is of 1x1.
            let read = source(layer.inputs[0])
            return flow.isVector(read) ? gradientStorage(read) : .blocked
        }
    }

    private mutating func newGradient(_ node: Int) -> Int { newValue(node, gradientStorage(node)) }

    /// Adds a contribution that nobody else will write to.
    private mutating func add(_ contribution: Int, to node: Int) {
        let node = source(node)
        guard let whole = gradients[node] else {
            gradients[node] = contribution
            return
        }
        willUpdate(whole)
        emit(Accumulate(), [contribution], updating: [whole], for: node)
    }

    /// Adds a value that stays somebody else's.
    private mutating func addCopy(_ contribution: Int, to node: Int) {
        if gradients[source(node)] != nil { return add(contribution, to: node) }
        let copy = newGradient(source(node))
        emit(Copy(), [contribution], to: [copy], for: node)
        add(copy, to: node)
    }

    /// A layer's own contribution to the gradient of its first input.
    private mutating func pass(_ layer: TrainingLayer, _ operation: any StepOperation, _ inputs: [Int]) {
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
        case .linear(let relu): linear(layer, relu ? behindRelu(layer, dy) : dy)
        case .add(let relu):
            let gradient = relu ? behindRelu(layer, dy) : dy
            let takers = layer.inputs.filter { scope.needsGradient[$0] }
            for taker in takers.dropFirst() { addCopy(gradient, to: taker) }
            if let first = takers.first { add(gradient, to: first) }
        case .gate: gate(layer, dy)
        case .channelConv(let kernel): channelConvolution(layer, kernel, dy)
        case .plain(let plain):
            // Where the result is not kept, neither is what was saved with it.
            if plain.saves != nil, !kept.contains(layer.tail) { _ = value(layer.tail) }
            let read = plain.gradientReads.map { operand in
                switch operand {
                case .input: value(layer.inputs[0])
                case .result: value(layer.tail)
                case .saved: saved[layer.tail]!
                }
            }
            pass(layer, plain.gradient, read + [dy])
        case .dropout(let probability): pass(layer, Dropout(node: layer.node, probability: probability), [dy])
        case .dropPath(let probability): pass(layer, DropPath(node: layer.node, probability: probability), [dy])
        case .layerNorm(let eps): layerNorm(layer, eps, dy)
        case .layerScale: layerScale(layer, dy)
        case .flatten: pass(layer, ToBlocked(text: "flatten dx"), [dy])
        case .concat:
            var offset = 0
            for input in layer.inputs {
                if scope.needsGradient[input] {
                    let part = newGradient(source(input))
                    emit(ConcatSlice(offset: offset), [dy], to: [part], for: layer.node)
                    add(part, to: input)
                }
                offset += flow.map(input).channels
            }
        }
    }

    private mutating func behindRelu(_ layer: TrainingLayer, _ dy: Int) -> Int {
        let gradient = newValue(layer.tail, program.values[dy].storage)
        emit(ReluGradient(), [value(layer.tail), dy], to: [gradient], for: layer.node)
        return gradient
    }

    private mutating func linear(_ layer: TrainingLayer, _ dy: Int) {
        guard case .linear(let inFeatures, let outFeatures, let bias) = flow.operation(layer.node) else { return }
        let node = layer.node
        let input = source(layer.inputs[0])
        let x = value(input)
        let outputs = scope.needsGradient[input] ? [newGradient(input)] : []
        let operation = LinearGradient(
            inFeatures: inFeatures, outFeatures: outFeatures, weightTrains: scope.trains(node, "weight"),
            biasTrains: bias && scope.trains(node, "bias"))
        var updates: [Int] = []
        if operation.weightTrains { updates.append(gradient(node, "weight")) }
        if operation.biasTrains { updates.append(gradient(node, "bias")) }
        emit(operation, [x, dy, parameter(node, "weight")], to: outputs, updating: updates, for: node)
        if let dx = outputs.first { add(dx, to: input) }
    }

    private mutating func gate(_ layer: TrainingLayer, _ dy: Int) {
        let inputs = layer.inputs.map { source($0) }
        let wanted = inputs.map { scope.needsGradient[$0] }
        guard wanted.contains(true) else { return }
        let read = inputs.map { value($0) }
        let takers = zip(inputs, wanted).filter(\.1).map(\.0)
        let gradients = takers.map { newGradient($0) }
        emit(GateGradient(wantsX: wanted[0], wantsGate: wanted[1]), read + [dy], to: gradients, for: layer.node)
        for (taker, gradient) in zip(takers, gradients) { add(gradient, to: taker) }
    }

    private mutating func channelConvolution(_ layer: TrainingLayer, _ kernel: Int, _ dy: Int) {
        let node = layer.node
        let input = source(layer.inputs[0])
        let weightTrains = scope.trains(node, "weight")
        let x = value(input)
        let outputs = scope.needsGradient[input] ? [newGradient(input)] : []
        emit(
            ChannelConvolutionGradient(kernel: kernel, weightTrains: weightTrains), [x, parameter(node, "weight"), dy],
            to: outputs, updating: weightTrains ? [gradient(node, "weight")] : [], for: node)
        if let dx = outputs.first { add(dx, to: input) }
    }

    private mutating func convolution(_ layer: TrainingLayer, _ spec: ConvSpec, _ relu: Bool, _ dy: Int) {
        let node = layer.node
        var gradient = dy
        if spec.bias, scope.trains(node, "bias") {
            let bias = NormGradient(
                shape: NormShape(map: flow.map(node)), usesBatch: false, relu: relu, masksInPlace: relu,
                scaleTrains: false, shiftTrains: true, isBias: true)
            let sums = newWhole(node)
            takeSums(bias, layer, dy, sums)
            finish(bias, node, updating: sums)
        } else if relu {
            gradient = behindRelu(layer, dy)
        }
        let map = flow.map(layer.inputs[0])
        if scope.trains(node, "weight") {
            let x = convInput(layer, spec)
            let step = ConvolutionWeightGradient(spec: spec, input: map, source: program.values[x].storage)
            emit(step, [x, gradient], updating: [self.gradient(node, "weight")], for: node)
        }
        let input = source(layer.inputs[0])
        guard scope.needsGradient[input] else { return }
        let packed = packedFilters(node)
        let whole = gradients[input]
        if let whole { willUpdate(whole) }
        let dx = whole ?? newGradient(input)
        let step = ConvolutionDataGradient(spec: spec, input: map, accumulates: whole != nil)
        emit(
            step, [gradient, packed], to: whole == nil ? [dx] : [], updating: whole == nil ? [] : [dx], for: node,
            weightBytes: filterBytes(node))
        gradients[input] = dx
    }

    private mutating func layerNorm(_ layer: TrainingLayer, _ eps: Double, _ dy: Int) {
        let node = layer.node
        let input = source(layer.inputs[0])
        let operation = LayerNormGradient(
            channels: flow.map(input).channels, eps: eps, scaleTrains: scope.trains(node, "weight"),
            shiftTrains: scope.trains(node, "bias"))
        var updates: [Int] = []
        if operation.scaleTrains { updates.append(gradient(node, "weight")) }
        if operation.shiftTrains { updates.append(gradient(node, "bias")) }
        let x = value(input)
        let outputs = scope.needsGradient[input] ? [newGradient(input)] : []
        emit(operation, [x, dy, channelParameter(node, "weight")], to: outputs, updating: updates, for: node)
        if let dx = outputs.first { add(dx, to: input) }
    }

    /// dgamma is the sum of x dy, dx is gamma dy: as of a batch norm whose statistics are constants.
    private mutating func layerScale(_ layer: TrainingLayer, _ dy: Int) {
        let gradient = NormGradient(
            shape: NormShape(map: flow.map(layer.node)), usesBatch: false, relu: false, masksInPlace: false,
            scaleTrains: scope.trains(layer.node, "gamma"), shiftTrains: false, scaleName: "gamma")
        pass(layer, gradient, dy, addsResidual: false)
    }

    // MARK: - Batch norm, backward

    private mutating func norm(_ layer: TrainingLayer, _ relu: Bool, _ addsResidual: Bool, _ dy: Int) {
        let gradient = NormGradient(
            shape: normShape(layer.node), usesBatch: scope.usesBatchStatistics(layer.node), relu: relu,
            masksInPlace: relu && addsResidual, scaleTrains: scope.trains(layer.node, "weight"),
            shiftTrains: scope.trains(layer.node, "bias"))
        pass(layer, gradient, dy, addsResidual: addsResidual)
    }

    private mutating func pass(_ layer: TrainingLayer, _ gradient: NormGradient, _ dy: Int, addsResidual: Bool) {
        var sums: Int?
        if gradient.hasSums {
            let value = newWhole(layer.node)
            takeSums(gradient, layer, dy, value)
            sums = value
        }
        if scope.needsGradient[source(layer.inputs[0])] {
            pending.append(PendingGradient(layer: layer, gradient: gradient, dy: dy, sums: sums))
        } else if let sums {
            finish(gradient, layer.node, updating: sums)
        }
        guard addsResidual, scope.needsGradient[layer.inputs[1]] else { return }
        let residual = source(layer.inputs[1])
        if gradients[residual] == nil { gradients[residual] = dy } else { add(dy, to: residual) }
    }

    /// The last operands of every part.
    private mutating func operands(_ gradient: NormGradient, _ node: Int) -> [Int] {
        [savedStatistics(node)] + (gradient.isBias ? [] : affine(node))
    }

    private mutating func takeSums(_ gradient: NormGradient, _ layer: TrainingLayer, _ dy: Int, _ sums: Int) {
        let step = NormGradientSums(gradient: gradient)
        let x = gradient.sumsReadX ? [value(layer.inputs[0])] : []
        let operands = operands(gradient, layer.node)
        if gradient.masksInPlace {
            willUpdate(dy)
            emit(step, [value(layer.tail)] + x + operands, to: [sums], updating: [dy], for: layer.node)
        } else {
            emit(step, [dy] + x + operands, to: [sums], for: layer.node)
        }
    }

    /// Gives the value that holds the coefficients: `sums`, if they were taken.
    @discardableResult
    private mutating func finish(_ gradient: NormGradient, _ node: Int, updating sums: Int?) -> Int {
        let coefficients = sums ?? newWhole(node)
        var updates = sums.map { [$0] } ?? []
        if gradient.scaleTrains { updates.append(self.gradient(node, gradient.scaleName)) }
        if gradient.shiftTrains { updates.append(self.gradient(node, "bias")) }
        emit(
            NormGradientFinish(gradient: gradient), operands(gradient, node), to: sums == nil ? [coefficients] : [],
            updating: updates, for: node)
        return coefficients
    }

    private mutating func applyPending(at index: Int) {
        let waiting = pending.remove(at: index)
        let layer = waiting.layer
        let coefficients = finish(waiting.gradient, layer.node, updating: waiting.sums)
        let input = source(layer.inputs[0])
        let x = waiting.gradient.applyReadsX ? [value(input)] : []
        let dx = newGradient(input)
        emit(
            NormGradientApply(gradient: waiting.gradient),
            [waiting.dy, coefficients] + x + operands(waiting.gradient, layer.node), to: [dx], for: layer.node)
        add(dx, to: input)
    }
}
