// The summary of a network for one picture size: a line a node with what it yields, owns and costs.
//
//     Layer                    Kind                Output         Parameters           MACs
//     ----------------------------------------------------------------------------------------
//     conv1                    Conv2d 7x7/2        64x112x112          9,408    118,013,952

import ResNetSupport

extension Graph {
    /// Name, kind, output shape, parameters and multiply-accumulates of every node for one picture, and the totals.
    /// - Throws: `GraphError` when the picture does not fit the network.
    public func summary(input: Size2) throws(GraphError) -> String {
        let shapes = try shapes(input: input)
        let macs = macs(shapes: shapes)
        var owned = [Int](repeating: 0, count: nodes.count)
        var buffers = 0
        for parameter in parameters {
            if parameter.role.isBuffer { buffers += parameter.count } else { owned[parameter.node] += parameter.count }
        }
        var table = TextTable(["Layer", "Kind", "Output", "Parameters", "MACs"], rightAligned: [3, 4])
        for (index, node) in nodes.enumerated() {
            table.rows.append([
                node.name, node.operation.kindText, shapes[index].description,
                owned[index] == 0 ? "" : owned[index].grouped, macs[index] == 0 ? "" : macs[index].grouped,
            ])
        }
        let parameterTotal = owned.reduce(0, +)
        let macTotal = macs.reduce(0, +)
        table.rows.append(["Total", "", "", parameterTotal.grouped, macTotal.grouped])

        let rows = table.lines
        let rule = String(repeating: "-", count: table.widths.reduce(0, +) + 2 * (table.widths.count - 1))
        var lines = ["\(modelName) for pictures of \(shapes[0])", rule, rows[0], rule]
        lines += rows.dropFirst().dropLast()
        lines += [rule, rows[rows.count - 1], rule]
        lines.append("Parameters  \(parameterTotal.grouped), \(mebibytes(parameterTotal)) in float32")
        lines.append("Buffers     \(buffers.grouped) (running statistics)")
        let macText =
            macTotal < 1_000_000_000
            ? "\(decimal(macTotal, unit: 1_000_000, places: 2)) M"
            : "\(decimal(macTotal, unit: 1_000_000_000, places: 2)) G"
        lines.append("MACs        \(macTotal.grouped) a picture, \(macText)")
        return lines.joined(separator: "\n") + "\n"
    }
}

extension Operation {
    /// PyTorch's class and what tells two of a kind apart: `Conv2d 3x3/2`.
    public var kindText: String {
        switch self {
        case .input: "Input"
        case .conv(let c) where c.isLinear: "Linear"
        case .conv(let c) where c.groups > 1 && c.groups == c.inChannels && c.groups == c.outChannels:
            "Conv2d \(c.kernel)" + (c.stride == 1 ? "" : "/\(c.stride.brief)") + " depthwise"
                + (c.dilation == 1 ? "" : " d\(c.dilation.brief)")
        case .conv(let c):
            "Conv2d \(c.kernel)" + (c.stride == 1 ? "" : "/\(c.stride.brief)") + (c.groups == 1 ? "" : " g\(c.groups)")
                + (c.dilation == 1 ? "" : " d\(c.dilation.brief)")
        case .batchNorm: "BatchNorm2d"
        case .relu: "ReLU"
        case .sigmoid: "Sigmoid"
        case .clip(let low, let high): "Clip \(low)...\(high)"
        case .blurPool(let stride): "BlurPool2d 3x3/\(stride)"
        case .pad: "Pad"
        case .add: "Add"
        case .gate: "Multiply"
        case .channelConv(let kernel): "Conv1d \(kernel)"
        case .maxPool(let p): "MaxPool2d \(p.kernel)/\(p.stride.brief)"
        case .averagePool(let p): "AvgPool2d \(p.kernel)/\(p.stride.brief)"
        case .globalAveragePool: "GlobalAvgPool"
        case .flatten: "Flatten"
        case .linear: "Linear"
        case .concat: "Concat"
        case .dropout(let probability): "Dropout \(probability)"
        case .layerNorm: "LayerNorm"
        case .groupNorm(let groups, _, _): "GroupNorm \(groups)"
        case .gelu: "GELU"
        case .windowAttention(_, let window): "Attention \(window)"
        case .channelAttention: "ChannelAttention"
        case .padToMultiple(let size): "Pad to \(size)"
        case .crop: "Crop"
        case .layerScale: "LayerScale"
        case .dropPath(let probability): "DropPath \(probability)"
        }
    }
}

extension Size2 {
    fileprivate var brief: String { height == width ? "\(height)" : description }
}

extension Int {
    /// `25,557,032`
    public var grouped: String {
        var text = String(magnitude)
        var index = text.count - 3
        while index > 0 {
            text.insert(",", at: text.index(text.startIndex, offsetBy: index))
            index -= 3
        }
        return self < 0 ? "-" + text : text
    }
}

private func mebibytes(_ floats: Int) -> String { "\(decimal(floats * 4, unit: 1 << 20, places: 1)) MiB" }

/// `value / unit` rounded to nearest with a fixed number of places.
private func decimal(_ value: Int, unit: Int, places: Int) -> String {
    var scale = 1
    for _ in 0..<places { scale *= 10 }
    let scaled = (value * scale + unit / 2) / unit
    let fraction = String(scaled % scale)
    return "\(scaled / scale)." + String(repeating: "0", count: places - fraction.count) + fraction
}
