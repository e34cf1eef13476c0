// The operators, one method each.

import ResNetGraph
import ResNetSupport

extension ONNXImporter {
    mutating func add(_ node: ONNXNode) throws(ONNXFault) {
        guard !node.outputs.isEmpty else { throw unsupported(node, expected: "an output", found: "none") }
        switch node.operation {
        case "Conv": try addConv(node)
        case "BatchNormalization": try addBatchNorm(node)
        case "Gemm": try addGemm(node)
        case "MatMul": try addMatMul(node)
        case "Relu": finish(node, graph.add(module(of: node), .relu, try operand(node, 0)))
        case "Sigmoid": try addSigmoid(node)
        case "Clip": try addClip(node)
        case "MaxPool", "AveragePool": try addPool(node)
        case "GlobalAveragePool": try addGlobalPool(node)
        case "ReduceMean": try addReduceMean(node)
        case "Add", "Sub", "Mul", "Div": try addArithmetic(node)
        case "Concat": try addConcat(node)
        case "Flatten", "Reshape", "Squeeze": try addFlatten(node)
        case "Expand": try addExpand(node)
        case "Dropout", "Identity": try addNothing(node)
        case "Softmax", "LogSoftmax": try addSoftmax(node)
        case "Pad": try addPad(node)
        case "Constant", "Shape", "Gather", "Unsqueeze", "Slice", "Cast": try addSizes(node)
        case "QuantizeLinear": try addQuantize(node)
        case "DequantizeLinear": try addDequantize(node)
        case "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear":
            throw unsupported(
                node, expected: "8 bits as QuantizeLinear and DequantizeLinear around Conv (QDQ)", found: node.operation
            )
        default:
            throw unsupported(
                node, expected: "an operator of a convolutional classifier", found: node.operation)
        }
    }

    // MARK: - With weights

    private mutating func addConv(_ node: ONNXNode) throws(ONNXFault) {
        let stored = try constant(node, 1, "a weight")
        if case .row(let channels)? = try input(node, 0) { return try addChannelConv(node, channels, stored) }
        guard stored.shape.count == 4 else {
            throw unsupported(node, expected: "a weight (K, C, height, width)", found: "\(stored.shape)")
        }
        let groups = node.integer("group", default: 1)
        let kernel = Size2(stored.shape[2], stored.shape[3])
        let stride = try pair(node, "strides", default: 1)
        let dilation = try pair(node, "dilations", default: 1)
        guard stored.shape.allSatisfy({ $0 > 0 }), 1...stored.shape[0] ~= groups,
            stored.shape[0].isMultiple(of: groups),
            try pair(node, "kernel_shape", default: 1) == kernel
                || node.integers("kernel_shape") == nil
        else {
            throw unsupported(
                node, expected: "a weight of the kernel's shape and groups", found: "\(stored.shape), \(groups) groups")
        }
        let (x, padding) = try paddedOperand(node, kernel, stride, dilation)
        let bias = try input(node, 2) == nil ? nil : constant(node, 2, "a bias")
        let spec = ConvSpec(
            stored.shape[1] * groups, stored.shape[0], kernel: kernel, stride: stride, padding: padding,
            dilation: dilation, groups: groups, bias: bias != nil)
        let name = module(of: node, weight: node.inputs[1])
        try setParameter("\(name).weight", stored.tensor(files), of: node)
        if let found = dequantized[node.inputs[1]] {
            guard let weights = found else {
                throw unsupported(
                    node, expected: "weights in bytes around one zero, with one scale or one for each output channel",
                    found: "weights that bytes here cannot stand for")
            }
            weightScales["\(name).weight"] = weights
        }
        if let bias { try setParameter("\(name).bias", vector(node, bias, stored.shape[0], "a bias"), of: node) }
        finish(node, graph.add(name, .conv(spec), x))
    }

    /// What a convolution reads, and its padding: with that of a Pad just before it where both together are equal on opposite
    /// sides, otherwise none, and a frame stands before it.
    private mutating func paddedOperand(
        _ node: ONNXNode, _ kernel: Size2, _ stride: Size2, _ dilation: Size2
    ) throws(ONNXFault) -> (x: Node, padding: Size2) {
        let x: Node
        var frame = PadSpec(top: 0, left: 0, bottom: 0, right: 0)
        let isGiven = ["NOTSET", "VALID"].contains(node.text("auto_pad", default: "NOTSET"))
        if case .padded(let inner, let spec)? = try input(node, 0), spec.value == 0, isGiven {
            (x, frame) = (inner, spec)
        } else {
            x = try operand(node, 0)
        }
        let own = try pads(node, x, kernel: kernel, stride: stride, dilation: dilation)
        frame.top += own[0]
        frame.left += own[1]
        frame.bottom += own[2]
        frame.right += own[3]
        if frame.top == frame.bottom, frame.left == frame.right { return (x, Size2(frame.top, frame.left)) }
        return (try framed(node, x, frame), 0)
    }

    /// Along the channels of a map of one pixel, as ECA-Net has it.
    private mutating func addChannelConv(_ node: ONNXNode, _ x: Node, _ stored: ONNXTensor) throws(ONNXFault) {
        let kernel = stored.shape.last ?? 0
        let half = kernel / 2
        guard stored.shape == [1, 1, kernel], kernel % 2 == 1, try input(node, 2) == nil,
            node.integers("pads") ?? [0, 0] == [half, half], node.integers("strides") ?? [1] == [1],
            node.integers("dilations") ?? [1] == [1], node.text("auto_pad", default: "NOTSET") == "NOTSET"
        else {
            throw unsupported(
                node, expected: "one filter along the channels that keeps their number", found: "\(stored.shape)")
        }
        let name = module(of: node, weight: node.inputs[1])
        try setParameter("\(name).weight", stored.tensor(files), of: node)
        values[node.outputs[0]] = .row(graph.add(name, .channelConv(kernel: kernel), x))
    }

    private mutating func addBatchNorm(_ node: ONNXNode) throws(ONNXFault) {
        guard node.integer("training_mode", default: 0) == 0 else {
            throw unsupported(node, expected: "a batch norm for inference", found: "training_mode 1")
        }
        let x = try operand(node, 0)
        let scale = try constant(node, 1, "a scale")
        guard scale.shape.count == 1, scale.shape[0] > 0 else {
            throw unsupported(node, expected: "a scale (C)", found: "\(scale.shape)")
        }
        let name = module(of: node, weight: node.inputs[1])
        for (index, key) in ["weight", "bias", "running_mean", "running_var"].enumerated() {
            let stored = try constant(node, index + 1, "a \(key)")
            try setParameter("\(name).\(key)", vector(node, stored, scale.shape[0], "a \(key)"), of: node)
        }
        // ONNX weighs the old statistics, PyTorch the new ones.
        let momentum = 1 - rounded(Double(node.float("momentum", default: 0.9)))
        let eps = Double(node.float("epsilon", default: 1e-5))
        finish(
            node,
            graph.add(
                name, .batchNorm(channels: scale.shape[0], eps: rounded(eps), momentum: rounded(momentum)), x))
    }

    /// A decimal that was stored as float32, as it was meant: 1e-5 and not 9.99999974737875e-06.
    private func rounded(_ value: Double) -> Double { Double("\(Float(value))") ?? value }

    /// One value a channel.
    private func vector(_ node: ONNXNode, _ stored: ONNXTensor, _ count: Int, _ what: String) throws(ONNXFault)
        -> Tensor
    {
        let values = try stored.floats(files)
        guard values.count == count else {
            throw unsupported(node, expected: "\(what) of \(count) values", found: "\(stored.shape)")
        }
        return Tensor(shape: [count], values: values)
    }

    private mutating func addGemm(_ node: ONNXNode) throws(ONNXFault) {
        guard node.integer("transA", default: 0) == 0 else {
            throw unsupported(node, expected: "transA 0", found: "1")
        }
        let bias = try input(node, 2) == nil ? nil : constant(node, 2, "a bias")
        try addLinear(
            node, weight: constant(node, 1, "a weight"), weightName: node.inputs[1],
            isTransposed: node.integer("transB", default: 0) == 1, bias: bias,
            alpha: node.float("alpha", default: 1), beta: node.float("beta", default: 1))
        finishLinear(node.outputs[0])
    }

    private mutating func addMatMul(_ node: ONNXNode) throws(ONNXFault) {
        // A bias follows as an addition of a constant that nobody else takes part in.
        var bias: ONNXTensor?
        var output = node.outputs[0]
        if let reader = onlyReader(of: output), reader.operation == "Add", reader.inputs.count == 2 {
            let other = reader.inputs[0] == output ? reader.inputs[1] : reader.inputs[0]
            if case .constant(let tensor)? = values[other],
                tensor.shape.last.map({ checkedProduct(tensor.shape) == $0 }) ?? false
            {
                bias = tensor
                output = reader.outputs.first ?? output
                absorbed.insert(output)
            }
        }
        try addLinear(
            node, weight: constant(node, 1, "a weight"), weightName: node.inputs[1], isTransposed: false, bias: bias,
            alpha: 1, beta: 1)
        finishLinear(node.outputs[0])
        finishLinear(output)
    }

    private mutating func finishLinear(_ name: String) { values[name] = .node(Node(index: graph.nodes.count - 1)) }

    private mutating func addLinear(
        _ node: ONNXNode, weight: ONNXTensor, weightName: String, isTransposed: Bool, bias: ONNXTensor?, alpha: Float,
        beta: Float
    ) throws(ONNXFault) {
        guard weight.shape.count == 2, weight.shape.allSatisfy({ $0 > 0 }) else {
            throw unsupported(node, expected: "a weight of two axes", found: "\(weight.shape)")
        }
        let x = try operand(node, 0)
        let (out, inner) = isTransposed ? (weight.shape[0], weight.shape[1]) : (weight.shape[1], weight.shape[0])
        var values = try weight.floats(files)
        if !isTransposed {
            let stored = values
            for row in 0..<out { for column in 0..<inner { values[row * inner + column] = stored[column * out + row] } }
        }
        if alpha != 1 { values = values.map { $0 * alpha } }
        let name = module(of: node, weight: weightName)
        try setParameter("\(name).weight", Tensor(shape: [out, inner], values: values), of: node)
        if let bias {
            var shift = try vector(node, bias, out, "a bias").values
            if beta != 1 { shift = shift.map { $0 * beta } }
            try setParameter("\(name).bias", Tensor(shape: [out], values: shift), of: node)
        }
        graph.add(name, .linear(inFeatures: inner, outFeatures: out, bias: bias != nil), x)
    }

    // MARK: - Without weights

    private mutating func addSigmoid(_ node: ONNXNode) throws(ONNXFault) {
        if isLast(node) {
            end(in: .sigmoid, node)
            return finish(node, try operand(node, 0))
        }
        if case .row(let channels)? = try input(node, 0) {
            values[node.outputs[0]] = .row(graph.add(module(of: node), .sigmoid, channels))
            return
        }
        finish(node, graph.add(module(of: node), .sigmoid, try operand(node, 0)))
    }

    private mutating func addClip(_ node: ONNXNode) throws(ONNXFault) {
        func bound(_ index: Int, _ name: String, _ missing: Float) throws(ONNXFault) -> Float {
            guard try input(node, index) != nil else { return node.float(name, default: missing) }
            let values = try constant(node, index, name).floats(files)
            guard values.count == 1 else { throw unsupported(node, expected: "one \(name)", found: "\(values.count)") }
            return values[0]
        }
        let low = try bound(1, "min", -.infinity)
        let high = try bound(2, "max", .infinity)
        guard low <= high else { throw unsupported(node, expected: "min below max", found: "\(low) and \(high)") }
        let isRelu = low == 0 && high >= .greatestFiniteMagnitude
        let isNothing = low <= -.greatestFiniteMagnitude && high >= .greatestFiniteMagnitude
        let x = try operand(node, 0)
        if isNothing { return finish(node, x) }
        finish(node, graph.add(module(of: node), isRelu ? .relu : .clip(low: low, high: high), x))
    }

    private mutating func addPool(_ node: ONNXNode) throws(ONNXFault) {
        var x = try operand(node, 0)
        guard node.integers("kernel_shape") != nil else {
            throw unsupported(node, expected: "a kernel_shape", found: "none")
        }
        guard node.outputs.count == 1 || node.outputs[1].isEmpty else {
            throw unsupported(node, expected: "one output", found: "\(node.outputs.count)")
        }
        guard try pair(node, "dilations", default: 1) == 1 else {
            throw unsupported(node, expected: "dilations of 1", found: "\(node.integers("dilations") ?? [])")
        }
        let kernel = try pair(node, "kernel_shape", default: 1)
        let stride = try pair(node, "strides", default: 1)
        let around = try pads(node, x, kernel: kernel, stride: stride, dilation: 1)
        let counts = node.integer("count_include_pad", default: 0) == 1
        var padding = Size2(around[0], around[1])
        // What a pool cannot have as its own padding stands before it as a frame.
        let isOwn =
            around[0] == around[2] && around[1] == around[3] && 2 * around[0] <= kernel.height
            && 2 * around[1] <= kernel.width
        if !isOwn {
            guard node.operation == "MaxPool" || counts else {
                throw unsupported(
                    node, expected: "equal padding on opposite sides, or one that counts in the mean",
                    found: "\(around)")
            }
            let value: Float = node.operation == "MaxPool" ? -.infinity : 0
            x = try framed(
                node, x, PadSpec(top: around[0], left: around[1], bottom: around[2], right: around[3], value: value))
            padding = 0
        }
        let spec = PoolSpec(
            kernel: kernel, stride: stride, padding: padding, ceilMode: node.integer("ceil_mode", default: 0) == 1,
            countsPadding: node.operation == "MaxPool" || counts || padding == 0)
        guard node.operation == "AveragePool" else {
            return finish(node, graph.add(module(of: node), .maxPool(spec), x))
        }
        if case .map(let map)? = shape(of: x), Size2(map.height, map.width) == kernel, padding == 0 {
            return finish(node, graph.add(module(of: node), .globalAveragePool, x))
        }
        finish(node, graph.add(module(of: node), .averagePool(spec), x))
    }

    private mutating func addGlobalPool(_ node: ONNXNode) throws(ONNXFault) {
        finish(node, graph.add(module(of: node), .globalAveragePool, try operand(node, 0)))
    }

    /// The mean over height and width, kept as (C, 1, 1) or flattened.
    private mutating func addReduceMean(_ node: ONNXNode) throws(ONNXFault) {
        let axes = try integers(node, attribute: "axes", input: 1)
        guard Set(axes.map { $0 < 0 ? $0 + 4 : $0 }) == [2, 3] else {
            throw unsupported(node, expected: "the mean over height and width, axes 2 and 3", found: "axes \(axes)")
        }
        let mean = graph.add(module(of: node), .globalAveragePool, try operand(node, 0))
        finish(
            node,
            node.integer("keepdims", default: 1) == 1 ? mean : graph.apply(freshModule("flatten"), .flatten, [mean]))
    }

    private mutating func addArithmetic(_ node: ONNXNode) throws(ONNXFault) {
        if absorbed.contains(node.outputs[0]) { return }
        if let sizes = try arithmeticOfSizes(node) {
            values[node.outputs[0]] = .sizes(sizes)
            return
        }
        let first = try input(node, 0)
        let second = try input(node, 1)
        switch (first, second, node.operation) {
        case (.node(let a)?, .node(let b)?, "Add"):
            finish(node, graph.apply(module(of: node), .add, [a, b]))
        case (.node(let x)?, .node(let factors)?, "Mul") where isPixel[factors.index]:
            finish(node, graph.apply(module(of: node), .gate, [x, factors]))
        case (.node(let factors)?, .node(let x)?, "Mul") where isPixel[factors.index]:
            finish(node, graph.apply(module(of: node), .gate, [x, factors]))
        case (.node(let x)?, .constant(let tensor)?, _): try addAffine(node, x, tensor, isReversed: false)
        case (.constant(let tensor)?, .node(let x)?, "Add"), (.constant(let tensor)?, .node(let x)?, "Mul"):
            try addAffine(node, x, tensor, isReversed: true)
        default:
            throw unsupported(
                node, expected: "a sum of two maps, a map times a factor a channel, or one constant a channel",
                found: "\(node.operation) of others")
        }
    }

    /// Arithmetic with one constant, or one a channel, is a batch norm with mean 0 and variance 1: normalization of the picture
    /// inside the network, for one.
    private mutating func addAffine(
        _ node: ONNXNode, _ x: Node, _ tensor: ONNXTensor, isReversed: Bool
    ) throws(ONNXFault) {
        let channels = channelCount(x)
        var values = try tensor.floats(files)
        if values.count == 1 { values = Array(repeating: values[0], count: channels) }
        // (C, 1, 1) or (1, C, 1, 1): the channels' axis is the third from the end.
        let axis = tensor.shape.count - 3
        guard values.count == channels,
            tensor.shape.allSatisfy({ $0 == 1 }) || (axis >= 0 && tensor.shape[axis] == channels)
        else { throw unsupported(node, expected: "one constant, or one a channel", found: "shape \(tensor.shape)") }
        let name = module(of: node)
        let one = Tensor(shape: [channels], repeating: 1)
        let zero = Tensor(shape: [channels], repeating: 0)
        let (scale, shift): ([Float]?, [Float]?) =
            switch node.operation {
            case "Mul": (values, nil)
            case "Div": (values.map { 1 / $0 }, nil)
            case "Sub": (nil, values.map { -$0 })
            default: (nil, values)
            }
        try setParameter("\(name).weight", scale.map { Tensor(shape: [channels], values: $0) } ?? one, of: node)
        try setParameter("\(name).bias", shift.map { Tensor(shape: [channels], values: $0) } ?? zero, of: node)
        try setParameter("\(name).running_mean", zero, of: node)
        try setParameter("\(name).running_var", one, of: node)
        finish(node, graph.add(name, .batchNorm(channels: channels, eps: 0, momentum: 0), x))
    }

    private mutating func addConcat(_ node: ONNXNode) throws(ONNXFault) {
        if let sizes = try concatOfSizes(node) {
            values[node.outputs[0]] = .sizes(sizes)
            return
        }
        let axis = node.integer("axis", default: 1)
        guard axis == 1 || axis == -3 else { throw unsupported(node, expected: "axis 1, channels", found: "\(axis)") }
        var parts: [Node] = []
        for index in node.inputs.indices { parts.append(try operand(node, index)) }
        finish(node, parts.count == 1 ? parts[0] : graph.apply(module(of: node), .concat, parts))
    }

    /// (N, C, H, W) -> (N, C * H * W): what every Flatten, Reshape and Squeeze of a classifier comes to.
    private mutating func addFlatten(_ node: ONNXNode) throws(ONNXFault) {
        if case .sizes(let sizes)? = try input(node, 0) {
            values[node.outputs[0]] = .sizes(sizes)
            return
        }
        if try addReshapeOfChannels(node) { return }
        let x = try operand(node, 0)
        switch node.operation {
        case "Flatten":
            let axis = node.integer("axis", default: 1)
            guard axis == 1 else { throw unsupported(node, expected: "axis 1", found: "\(axis)") }
        case "Squeeze":
            let axes = try integers(node, attribute: "axes", input: 1)
            guard Set(axes.map { $0 < 0 ? $0 + 4 : $0 }) == [2, 3],
                case .globalAveragePool = graph.nodes[x.index].operation
            else { throw unsupported(node, expected: "axes 2 and 3 after a global pool", found: "\(axes)") }
        default:
            let target = try sizes(node, 1)
            let keepsBatch = target.first.map { $0 == nil || [0, 1, -1, exportedBatch].contains($0) } ?? false
            guard target.count == 2, keepsBatch, target[1] != nil else {
                throw unsupported(
                    node, expected: "a shape (N, features)", found: "\(target.map { $0.map(String.init) ?? "N" })")
            }
        }
        if case .flatten = graph.nodes[x.index].operation { return finish(node, x) }
        if case .linear = graph.nodes[x.index].operation { return finish(node, x) }
        finish(node, graph.apply(freshModule("flatten"), .flatten, [x]))
    }

    /// Channels laid along the last axis, (N, 1, C), and back to (N, C, 1, 1).
    private mutating func addReshapeOfChannels(_ node: ONNXNode) throws(ONNXFault) -> Bool {
        let isBack = node.operation == "Unsqueeze" || node.operation == "Reshape"
        if case .row(let channels)? = try input(node, 0) {
            let target = node.operation == "Reshape" ? try sizes(node, 1) : []
            guard isBack, target.isEmpty || target.count == 4 && target[2...] == [1, 1] else {
                throw unsupported(node, expected: "channels back to (N, C, 1, 1)", found: "\(target)")
            }
            finish(node, channels)
            return true
        }
        guard node.operation == "Reshape", case .node(var x)? = try input(node, 0) else { return false }
        let target = try sizes(node, 1)
        if case .flatten = graph.nodes[x.index].operation, isPixel[graph.nodes[x.index].inputs[0]] {
            x = Node(index: graph.nodes[x.index].inputs[0])
        }
        guard isPixel[x.index] else { return false }
        if target.count == 3, target[1] == 1 {
            values[node.outputs[0]] = .row(x)
            return true
        }
        guard target.count == 4, target[2...] == [1, 1] else { return false }
        finish(node, x)
        return true
    }

    /// What repeats one pixel over a map; the gate that reads it does so itself.
    private mutating func addExpand(_ node: ONNXNode) throws(ONNXFault) {
        let x = try operand(node, 0)
        guard isPixel[x.index] else { throw unsupported(node, expected: "a map of one pixel", found: "a larger one") }
        finish(node, x)
    }

    private mutating func addNothing(_ node: ONNXNode) throws(ONNXFault) {
        guard let value = try input(node, 0) else { throw unsupported(node, expected: "an input", found: "none") }
        values[node.outputs[0]] = value
    }

    /// A softmax is left to whoever reads the logits; it stands at the end or nowhere.
    private mutating func addSoftmax(_ node: ONNXNode) throws(ONNXFault) {
        guard isLast(node) else { throw unsupported(node, expected: "a softmax at the end only", found: "one inside") }
        end(in: .softmax, node)
        finish(node, try operand(node, 0))
    }

    private mutating func addPad(_ node: ONNXNode) throws(ONNXFault) {
        let mode = node.text("mode", default: "constant")
        let amounts = try integers(node, attribute: "pads", input: 1)
        var value = node.float("value", default: 0)
        if try input(node, 2) != nil { value = try constant(node, 2, "a value").floats(files).first ?? 0 }
        guard mode == "constant", amounts.count == 8, amounts.allSatisfy({ 0...4096 ~= $0 }), !value.isNaN,
            amounts[0] == 0, amounts[1] == 0, amounts[4] == 0, amounts[5] == 0
        else { throw unsupported(node, expected: "a constant around height and width", found: "\(mode) \(amounts)") }
        let spec = PadSpec(top: amounts[2], left: amounts[3], bottom: amounts[6], right: amounts[7], value: value)
        let x = try operand(node, 0)
        values[node.outputs[0]] = amounts.allSatisfy { $0 == 0 } ? .node(x) : .padded(x, spec)
    }
}
