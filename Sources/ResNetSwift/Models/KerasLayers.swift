// The layers that Keras counts in a DaViT of keras_cv_attention_models, so that `model.layers[:80]` freezes the same parameters
// here. In a functional model every tensor operation is a layer, so padding, windows and splitting heads count too; how many
// there are depends on the pictures' size.
//
//     spatial block   attn_ln, (pad), 4 x cut to windows, qkv, 13 x attention, output, 3 x join windows, (getitem), add
//                     with one window: attn_ln, reshape, qkv, 13 x attention, output, reshape, add
//     channel block   attn_ln, reshape, qkv, 13 x attention, output, add
//     convolution     (ZeroPadding2D,) Conv2D
//
// Layers without parameters may share a depth, but none with parameters does, so those have one position. TensorFlow's backend
// with Keras 2; position by position as `model.layers` of kecam 1.4.3 lists them.

import ResNetGraph

extension Graph {
    /// By Keras layer, in the order of `model.layers`: the node whose parameters it has; nil for one without.
    /// - Throws: `ModelError.selection` for a graph that is no DaViT; `GraphError` as text where the picture does not fit.
    package func kerasLayers(input: Size2) throws(ModelError) -> [Int?] {
        let shapes: [NodeShape]
        do { shapes = try self.shapes(input: input) } catch {
            throw .selection(pattern: "keras", expected: "a picture size that fits", found: "\(error)")
        }
        let hasAttention = nodes.contains { if case .channelAttention = $0.operation { true } else { false } }
        guard hasAttention else {
            throw .selection(
                pattern: "keras", expected: "a DaViT, whose Keras layers are known", found: modelName)
        }
        var layers: [Int?] = []
        for (index, node) in nodes.enumerated() {
            let (before, after) =
                switch node.operation {
                case .conv(let spec) where spec.isLinear: around(linear: index, shapes)
                case .conv(let spec): (spec.padding == 0 ? 0 : 1, 0)
                case .windowAttention, .channelAttention: (0, 12)
                default: (0, 0)
                }
            layers += Array(repeating: nil, count: before)
            switch node.operation {
            case .padToMultiple, .crop, .flatten: break
            // The last activation is the Dense layer's own.
            case .sigmoid where index == probabilities: break
            default: layers.append(parameters(of: index).isEmpty ? nil : index)
            }
            layers += Array(repeating: nil, count: after)
        }
        return layers
    }

    /// How many layers without parameters stand before and behind a Dense layer.
    private func around(linear index: Int, _ shapes: [NodeShape]) -> (before: Int, after: Int) {
        let reader = nodes.first { $0.inputs.first == index }
        switch reader?.operation {
        case .channelAttention: return (1, 0)
        case .windowAttention(_, let window):
            return ((isOneWindow(index, window, shapes) ? 1 : 4) + padded(index, shapes), 0)
        default: break
        }
        // The layer behind window attention, perhaps behind its crop.
        var source = nodes[index].inputs[0]
        if nodes[source].operation == .crop { source = nodes[source].inputs[0] }
        guard case .windowAttention(_, let window) = nodes[source].operation else { return (0, 0) }
        let isCropped = shapes[source] != shapes[nodes[index].inputs[0]]
        return (0, (isOneWindow(source, window, shapes) ? 1 : 3) + (isCropped ? 1 : 0))
    }

    private func isOneWindow(_ index: Int, _ window: Size2, _ shapes: [NodeShape]) -> Bool {
        guard case .map(let map) = shapes[index] else { return false }
        return map.height == window.height && map.width == window.width
    }

    private func padded(_ index: Int, _ shapes: [NodeShape]) -> Int {
        let before = nodes[index].inputs[0]
        guard case .padToMultiple = nodes[before].operation else { return 0 }
        return shapes[before] == shapes[nodes[before].inputs[0]] ? 0 : 1
    }
}
