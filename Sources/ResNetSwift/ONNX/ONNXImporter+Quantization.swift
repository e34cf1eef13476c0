// 8 bits in ONNX: QuantizeLinear and DequantizeLinear around values, DequantizeLinear behind weights ("QDQ").
//
//     x -> QuantizeLinear -> DequantizeLinear -> Conv        x's scale; the convolution computes in bytes where x's zero is 0
//     w8 -> DequantizeLinear -> Conv                         the scales of its output channels
//     w -> QuantizeLinear -> DequantizeLinear -> Conv        the same, with the weights still in floats
//
// What this library does not keep in bytes is not rounded: the picture, linear layers, pools, and what stands between a
// convolution and its addition. Source: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html

import ResNetGraph
import ResNetSupport

/// A stored tensor in whole numbers, before its scales are applied.
struct ONNXBytes {
    let shape: [Int]
    let values: [Int32]
}

extension ONNXImporter {
    /// What scale, zero and axis say: one of each, or one for each entry of an axis.
    private struct Affine {
        let scales: [Float]
        let zeros: [Int32]
        let axis: Int
        /// Of the whole numbers; nil where the node leaves the zero out: unsigned bytes.
        let kind: ONNXTensor.ElementKind?

        /// Values of one scale that follow each other, and which scale those at `index` have.
        func place(_ index: Int, _ shape: [Int]) -> Int {
            guard scales.count > 1 else { return 0 }
            return index / shape[(axis + 1)...].reduce(1, *) % shape[axis]
        }
    }

    mutating func addQuantize(_ node: ONNXNode) throws(ONNXFault) {
        if case .constant(let tensor)? = try input(node, 0) {
            values[node.outputs[0]] = .bytes(try quantized(node, tensor))
            return
        }
        let affine = try affine(node)
        let x = try operand(node, 0)
        guard affine.scales.count == 1, affine.kind == nil || affine.kind == .uint8 || affine.kind == .int8 else {
            throw unsupported(
                node, expected: "values in bytes with one scale",
                found: "\(affine.scales.count) scales, \(affine.kind.map { "\($0)" } ?? "uint8")")
        }
        let zero = Int(affine.zeros[0]) + (affine.kind == .int8 ? 128 : 0)
        values[node.outputs[0]] = .quantized(
            try rectified(node, x, zero), Quantization.Scale(scale: affine.scales[0], zeroPoint: zero))
    }

    mutating func addDequantize(_ node: ONNXNode) throws(ONNXFault) {
        let bytes: ONNXBytes
        switch try input(node, 0) {
        case .quantized(let x, let scale)?:
            let affine = try affine(node)
            guard affine.scales == [scale.scale],
                Int(affine.zeros[0]) + (affine.kind == .int8 ? 128 : 0) == scale.zeroPoint
            else {
                throw unsupported(node, expected: "the scale and zero of the QuantizeLinear before it", found: "others")
            }
            guard valueScales[x.index] == nil || valueScales[x.index] == scale else {
                throw unsupported(node, expected: "one scale for all who read a value", found: "several")
            }
            valueScales[x.index] = scale
            return finish(node, x)
        case .bytes(let found)?: bytes = found
        case .constant(let tensor)?: bytes = ONNXBytes(shape: tensor.shape, values: try tensor.wholeNumbers(files))
        default:
            throw unsupported(node, expected: "what QuantizeLinear made, or a stored tensor", found: "another value")
        }
        let affine = try affine(node, shape: bytes.shape)
        try count(bytes.values.count, of: node)
        let floats = bytes.values.indices.map { index in
            let place = affine.place(index, bytes.shape)
            let zero = affine.zeros[min(place, affine.zeros.count - 1)]
            return Float(Int64(bytes.values[index]) - Int64(zero)) * affine.scales[place]
        }
        let name = node.outputs[0]
        values[name] = .constant(
            ONNXTensor(name: name, kind: .float32, shape: bytes.shape, payload: .floats(floats)))
        dequantized.updateValue(weights(bytes, affine), forKey: name)
    }

    /// What a convolution can compute with: signed bytes around 0, one scale for each output channel. nil: anything else.
    private func weights(_ bytes: ONNXBytes, _ affine: Affine) -> Quantization.Weights? {
        guard bytes.shape.count == 4, bytes.shape.allSatisfy({ $0 > 0 }),
            affine.scales.count == 1 || affine.axis == 0, let zero = affine.zeros.first,
            affine.zeros.allSatisfy({ $0 == zero }),
            bytes.values.allSatisfy({ -128...127 ~= Int64($0) - Int64(zero) })
        else { return nil }
        let scales =
            affine.scales.count == 1
            ? Array(repeating: affine.scales[0], count: bytes.shape[0]) : affine.scales
        return Quantization.Weights(
            scales: scales, bytes: bytes.values.map { Int8($0 - zero) }, taps: bytes.shape[2] * bytes.shape[3])
    }

    /// Bytes whose zero is the least one hold no negative value: exporters leave the ReLU before them out.
    private mutating func rectified(_ node: ONNXNode, _ x: Node, _ zero: Int) throws(ONNXFault) -> Node {
        if case .input = graph.nodes[x.index].operation { return x }
        guard zero == 0, !graph.isNeverNegative(x.index) else { return x }
        let relu = graph.add(freshModule("relu"), .relu, x)
        try measure(node)
        return relu
    }

    private func affine(_ node: ONNXNode, shape: [Int]? = nil) throws(ONNXFault) -> Affine {
        let stored = try constant(node, 1, "a scale")
        guard stored.shape.count <= 1, node.integer("block_size", default: 0) == 0 else {
            throw unsupported(node, expected: "one scale, or one for each entry of an axis", found: "blocks of scales")
        }
        let scales = try stored.floats(files)
        guard !scales.isEmpty, scales.allSatisfy({ $0.isFinite && $0 > 0 }) else {
            throw unsupported(node, expected: "scales above 0", found: "others, or none")
        }
        var zeros: [Int32] = [0]
        var kind: ONNXTensor.ElementKind?
        if try input(node, 2) != nil {
            let tensor = try constant(node, 2, "a zero")
            zeros = try tensor.wholeNumbers(files)
            kind = tensor.kind
            guard zeros.count == scales.count else {
                throw unsupported(node, expected: "a zero for each scale", found: "\(zeros.count)")
            }
        }
        var axis = node.integer("axis", default: 1)
        if let shape {
            if axis < 0 { axis += shape.count }
            guard scales.count == 1 || shape.indices.contains(axis) && shape[axis] == scales.count else {
                throw unsupported(
                    node, expected: "one scale, or one for each entry of axis \(axis)",
                    found: "\(scales.count) for shape \(shape)")
            }
        }
        return Affine(scales: scales, zeros: zeros, axis: axis, kind: kind)
    }

    /// One tensor that a thousand nodes convert must not become a thousand copies.
    private mutating func count(_ values: Int, of node: ONNXNode) throws(ONNXFault) {
        convertedValues += values
        let most = 2 * (file.byteCount + files.byteCount) + 1 << 20
        guard convertedValues <= most else {
            throw unsupported(
                node, expected: "at most \(most) weights to convert in a file of this size", found: "\(convertedValues)"
            )
        }
    }

    /// Stored floats in whole numbers, to the nearest, halves to even.
    private mutating func quantized(_ node: ONNXNode, _ tensor: ONNXTensor) throws(ONNXFault) -> ONNXBytes {
        let affine = try affine(node, shape: tensor.shape)
        try count(tensor.shape.reduce(1, *), of: node)
        let range: ClosedRange<Float>
        switch affine.kind {
        case nil, .uint8?: range = 0...255
        case .int8?: range = -128...127
        default: throw unsupported(node, expected: "weights in bytes", found: affine.kind.map { "\($0)" } ?? "")
        }
        let floats = try tensor.floats(files)
        let values = floats.indices.map { index in
            let place = affine.place(index, tensor.shape)
            let zero = Float(affine.zeros[min(place, affine.zeros.count - 1)])
            let value = (floats[index] / affine.scales[place]).rounded(.toNearestOrEven) + zero
            return Int32(value.isNaN ? zero : min(max(value, range.lowerBound), range.upperBound))
        }
        return ONNXBytes(shape: tensor.shape, values: values)
    }

    /// What the file says of 8 bits, for the graph as it was read; nil: nothing that a convolution could use.
    func quantization() -> Quantization? {
        guard !weightScales.isEmpty else { return nil }
        var scales = valueScales
        for (index, node) in graph.nodes.enumerated() where scales[index] == nil {
            // The largest of bytes is one of them.
            if case .maxPool = node.operation { scales[index] = scales[node.inputs[0]] }
        }
        var values: [String: Quantization.Scale] = [:]
        for (index, scale) in scales { values[graph.nodes[index].name] = scale }
        return Quantization(method: "ONNX", values: values, weights: weightScales)
    }
}

extension Quantization {
    /// The same for a graph that computes the same in the same order, dropout aside.
    func renamed(from old: Graph, to new: Graph) -> Quantization {
        func names(_ graph: Graph) -> [String] {
            graph.nodes.compactMap { if case .dropout = $0.operation { nil } else { $0.name } }
        }
        let renamed = Dictionary(zip(names(old), names(new)), uniquingKeysWith: { first, _ in first })
        var result = self
        result.values = [:]
        for (name, scale) in values { result.values[renamed[name] ?? name] = scale }
        return result
    }
}
