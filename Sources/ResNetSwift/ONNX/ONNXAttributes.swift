// Attributes of a node by name, with their defaults and what is refused.

import ResNetGraph

extension ONNXNode {
    func integer(_ name: String, default value: Int) -> Int {
        if case .integer(let found)? = attributes[name] { Int(found) } else { value }
    }

    func float(_ name: String, default value: Float) -> Float {
        if case .float(let found)? = attributes[name] { found } else { value }
    }

    func text(_ name: String, default value: String) -> String {
        if case .text(let found)? = attributes[name] { found } else { value }
    }

    func integers(_ name: String) -> [Int]? {
        if case .integers(let found)? = attributes[name] { found.map(Int.init) } else { nil }
    }
}

extension ONNXImporter {
    /// Two sizes, height and width: `strides`, `dilations`, `kernel_shape`.
    func pair(_ node: ONNXNode, _ name: String, default value: Int) throws(ONNXFault) -> Size2 {
        guard let found = node.integers(name) else { return Size2(value, value) }
        guard found.count == 2, found.allSatisfy({ 1...4096 ~= $0 }) else {
            throw unsupported(node, expected: "\(name) of height and width", found: "\(found)")
        }
        return Size2(found[0], found[1])
    }

    /// The zeros around a window's map: top, left, bottom, right, with `auto_pad` resolved.
    func pads(
        _ node: ONNXNode, _ x: Node, kernel: Size2, stride: Size2, dilation: Size2
    ) throws(ONNXFault) -> [Int] {
        let mode = node.text("auto_pad", default: "NOTSET")
        switch mode {
        case "NOTSET":
            let pads = node.integers("pads") ?? [0, 0, 0, 0]
            guard pads.count == 4, pads.allSatisfy({ 0...4096 ~= $0 }) else {
                throw unsupported(node, expected: "pads of top, left, bottom, right", found: "\(pads)")
            }
            return pads
        case "VALID": return [0, 0, 0, 0]
        case "SAME_UPPER", "SAME_LOWER":
            let reach = Size2(dilation.height * (kernel.height - 1) + 1, dilation.width * (kernel.width - 1) + 1)
            let size: Size2?
            if case .map(let map)? = shape(of: x) { size = Size2(map.height, map.width) } else { size = nil }
            func total(_ size: Int?, _ reach: Int, _ stride: Int) throws(ONNXFault) -> Int {
                if stride == 1 { return reach - 1 }
                guard let size else {
                    throw unsupported(node, expected: "a fixed size of the picture for \(mode)", found: "an open one")
                }
                return max(0, ((size + stride - 1) / stride - 1) * stride + reach - size)
            }
            let height = try total(size?.height, reach.height, stride.height)
            let width = try total(size?.width, reach.width, stride.width)
            let (smallH, smallW) = (height / 2, width / 2)
            return mode == "SAME_UPPER"
                ? [smallH, smallW, height - smallH, width - smallW] : [height - smallH, width - smallW, smallH, smallW]
        default: throw unsupported(node, expected: "a known auto_pad", found: mode)
        }
    }
}
