// Nodes of the graph that are one step forward and one backward, without parameters and fused with nothing. What both
// front ends need to know of such a node is here; the steps are in Operations.

import ResNetGraph

struct PlainLayer {
    enum Operand { case input, result, saved }

    let forward: any StepOperation
    /// From what `gradientReads` names, in that order, and the gradient of the result to that of the input.
    let gradient: any StepOperation
    var gradientReads: [Operand] = []
    /// Elements of a second result of the forward step, of the result's shape, which the gradient reads.
    var saves: ValueElement?
}

extension Operation {
    /// nil for what has parameters, several inputs or steps of more kinds.
    var plainLayer: PlainLayer? {
        switch self {
        case .relu: PlainLayer(forward: Relu(), gradient: ReluGradient(), gradientReads: [.result])
        case .sigmoid: PlainLayer(forward: Sigmoid(), gradient: SigmoidGradient(), gradientReads: [.result])
        case .clip(let low, let high):
            PlainLayer(
                forward: Clip(low: low, high: high), gradient: ClipGradient(low: low, high: high),
                gradientReads: [.result])
        case .blurPool(let stride):
            PlainLayer(forward: BlurPool(stride: stride), gradient: BlurPool(stride: stride, isGradient: true))
        case .pad(let spec): PlainLayer(forward: Pad(spec: spec), gradient: Pad(spec: spec, isGradient: true))
        case .gelu: PlainLayer(forward: Gelu(), gradient: GeluGradient(), gradientReads: [.input])
        case .windowAttention(let heads, let window): .attention(AttentionShape(heads: heads, window: window))
        case .channelAttention(let heads): .attention(AttentionShape(heads: heads, window: nil))
        case .padToMultiple: PlainLayer(forward: Canvas(text: "pad"), gradient: Canvas(text: "pad dx"))
        case .crop: PlainLayer(forward: Canvas(text: "crop"), gradient: Canvas(text: "crop dx"))
        case .maxPool(let spec):
            PlainLayer(
                forward: MaxPool(spec: spec), gradient: MaxPoolGradient(spec: spec), gradientReads: [.saved],
                saves: .int32)
        case .averagePool(let spec):
            PlainLayer(forward: AveragePool(spec: spec), gradient: AveragePool(spec: spec, isGradient: true))
        case .globalAveragePool:
            PlainLayer(forward: GlobalAveragePool(), gradient: GlobalAveragePool(isGradient: true))
        case .input, .conv, .batchNorm, .add, .gate, .channelConv, .flatten, .linear, .concat, .dropout, .layerNorm,
            .groupNorm, .layerScale, .dropPath:
            nil
        }
    }
}

extension PlainLayer {
    fileprivate static func attention(_ shape: AttentionShape) -> PlainLayer {
        PlainLayer(
            forward: Attention(shape: shape), gradient: AttentionGradient(shape: shape), gradientReads: [.input])
    }
}
