// 8 bits out, as QuantizeLinear and DequantizeLinear (ONNXImporter+Quantization.swift has the picture): weights as signed bytes with
// the scales of their output channels, and a pair behind every value that a convolution reads as bytes.

import ResNetGraph

extension ONNXExporter {
    /// True for a result that is bytes in the first place, so that all its readers see it rounded.
    func isMadeInBytes(_ index: Int) -> Bool {
        guard let quantization = model.quantization else { return false }
        let node = model.graph.nodes[index]
        switch node.operation {
        case .conv: return quantization.weights["\(node.module).weight"] != nil
        case .batchNorm, .relu: return isMadeInBytes(node.inputs[0])
        case .add:
            let (a, b) = (node.inputs[0], node.inputs[1])
            func isResidual(_ operand: Int, of convolution: Int) -> Bool {
                quantization.values[model.graph.nodes[operand].name] != nil && isConvolution(convolution)
            }
            return isResidual(a, of: b) || isResidual(b, of: a)
        default: return false
        }
    }

    /// A convolution in 8 bits, with or without its batch norm.
    private func isConvolution(_ index: Int) -> Bool {
        let node = model.graph.nodes[index]
        switch node.operation {
        case .conv: return isMadeInBytes(index)
        case .batchNorm: return isConvolution(node.inputs[0])
        default: return false
        }
    }

    /// The name under which `reader` finds what node `index` gives: rounded to what bytes stand for where the plan reads bytes.
    func operand(_ index: Int, of reader: Int) -> String {
        guard let rounded = rounded[index] else { return values[index] }
        let isBytes: Bool =
            switch model.graph.nodes[reader].operation {
            case .conv, .add: isMadeInBytes(reader)
            default: false
            }
        return isBytes || isMadeInBytes(index) ? rounded : values[index]
    }

    /// The pair behind the value of node `index`, if it has a scale.
    mutating func writeRounding(_ index: Int) {
        guard let scale = model.quantization?.values[model.graph.nodes[index].name] else { return }
        let name = values[index]
        let scales = [
            constant("\(name)/scale", [], floats: [scale.scale]),
            bytes("\(name)/zero", [], kind: 2, [UInt8(scale.zeroPoint)]),
        ]
        append("QuantizeLinear", "\(name)/bytes", [name] + scales)
        append("DequantizeLinear", "\(name)/rounded", ["\(name)/bytes"] + scales)
        rounded[index] = "\(name)/rounded"
    }

    /// A weight in signed bytes and the node that gives it its scales.
    mutating func writeWeights(_ key: String, _ weights: Quantization.Weights) {
        let tensor = model[key]
        let stored = tensor.storage.signedBytes.flatMap { $0.scales == weights.scales ? Array($0.values) : nil }
        let values = stored ?? tensor.withUnsafeFloats { weights.bytes(of: $0) }
        let inputs = [
            bytes("\(key)/bytes", tensor.shape, kind: 3, values.map { UInt8(bitPattern: $0) }),
            constant("\(key)/scale", [weights.scales.count], floats: weights.scales),
            bytes("\(key)/zero", [weights.scales.count], kind: 3, Array(repeating: 0, count: weights.scales.count)),
        ]
        append("DequantizeLinear", key, inputs) { $0.integer("axis", 0) }
    }
}
