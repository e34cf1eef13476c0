// What files compute only to know a shape: `x.view(x.size(0), -1)` becomes Shape, Gather, Unsqueeze, Concat, Reshape. Sizes are
// lists of integers in which nil is the batch.

import ResNetGraph

extension ONNXImporter {
    /// Constants and everything that is computed from sizes.
    mutating func addSizes(_ node: ONNXNode) throws(ONNXFault) {
        switch node.operation {
        case "Constant": values[node.outputs[0]] = try constantValue(node)
        case "Shape": values[node.outputs[0]] = .sizes(try shapeSizes(node))
        case "Cast", "Unsqueeze":
            if case .constant(let tensor)? = try input(node, 0), tensor.shape.count > 1 {
                throw unsupported(node, expected: "a size", found: "shape \(tensor.shape)")
            }
            values[node.outputs[0]] = .sizes(try sizes(node, 0))
        case "Gather":
            let all = try sizes(node, 0)
            var gathered: [Int?] = []
            for index in try integers(node, 1) {
                let place = index < 0 ? index + all.count : index
                guard all.indices.contains(place) else {
                    throw unsupported(node, expected: "an index below \(all.count)", found: "\(index)")
                }
                gathered.append(all[place])
            }
            values[node.outputs[0]] = .sizes(gathered)
        default:
            let all = try sizes(node, 0)
            let first = try integers(node, attribute: "starts", input: 1)
            let last = try integers(node, attribute: "ends", input: 2)
            guard first.count == 1, last.count == 1 else {
                throw unsupported(node, expected: "a part of a shape", found: "\(first) to \(last)")
            }
            func place(_ index: Int) -> Int { min(max(index < 0 ? index + all.count : index, 0), all.count) }
            let (begin, end) = (place(first[0]), place(last[0]))
            values[node.outputs[0]] = .sizes(begin < end ? Array(all[begin..<end]) : [])
        }
    }

    private func constantValue(_ node: ONNXNode) throws(ONNXFault) -> ONNXValue {
        if case .tensor(let tensor)? = node.attributes["value"] { return .constant(tensor) }
        if let integers = node.integers("value_ints") { return .sizes(integers) }
        if case .integer(let integer)? = node.attributes["value_int"] { return .sizes([Int(integer)]) }
        if case .float(let float)? = node.attributes["value_float"] {
            return .constant(ONNXTensor(name: node.outputs[0], kind: .float32, shape: [], payload: .floats([float])))
        }
        if case .floats(let floats)? = node.attributes["value_floats"] {
            return .constant(
                ONNXTensor(name: node.outputs[0], kind: .float32, shape: [floats.count], payload: .floats(floats)))
        }
        throw unsupported(node, expected: "a constant of numbers", found: "\(node.attributes.keys.sorted())")
    }

    private mutating func shapeSizes(_ node: ONNXNode) throws(ONNXFault) -> [Int?] {
        let x = try operand(node, 0)
        switch shape(of: x) {
        case .map(let map): return [nil, map.channels, map.height, map.width]
        case .vector(let features): return [nil, features]
        case nil:
            // Without a fixed picture only the batch and the channels are known; -1 fits wherever one size is left open.
            if case .linear(_, let features, _) = graph.nodes[x.index].operation { return [nil, features] }
            return [nil, channelCount(x), -1, -1]
        }
    }

    /// Sizes, from a constant or a computation.
    func sizes(_ node: ONNXNode, _ index: Int) throws(ONNXFault) -> [Int?] {
        switch try input(node, index) {
        case .sizes(let sizes): return sizes
        case .constant(let tensor): return try tensor.integers(files)
        default: throw unsupported(node, expected: "sizes", found: "a map, or nothing")
        }
    }

    /// Sizes none of which is the batch's.
    func integers(_ node: ONNXNode, _ index: Int) throws(ONNXFault) -> [Int] {
        var fixed: [Int] = []
        for size in try sizes(node, index) {
            guard let size else { throw unsupported(node, expected: "fixed integers", found: "the batch's size") }
            fixed.append(size)
        }
        return fixed
    }

    /// What older operator sets give as an attribute and newer ones as an input; empty where it is left out.
    func integers(_ node: ONNXNode, attribute: String, input index: Int) throws(ONNXFault) -> [Int] {
        if let found = node.integers(attribute) { return found }
        guard try input(node, index) != nil else { return [] }
        return try integers(node, index)
    }

    private func areSizes(_ node: ONNXNode) throws(ONNXFault) -> Bool {
        var hasSizes = false
        for index in node.inputs.indices {
            switch try input(node, index) {
            case .sizes: hasSizes = true
            case .constant(let tensor) where tensor.kind == .int64 || tensor.kind == .int32: continue
            default: return false
            }
        }
        return hasSizes
    }

    func concatOfSizes(_ node: ONNXNode) throws(ONNXFault) -> [Int?]? {
        guard try areSizes(node) else { return nil }
        var joined: [Int?] = []
        for index in node.inputs.indices { joined += try sizes(node, index) }
        return joined
    }

    /// Products and the like of sizes: C * H * W before a Reshape.
    func arithmeticOfSizes(_ node: ONNXNode) throws(ONNXFault) -> [Int?]? {
        guard node.inputs.count == 2, try areSizes(node) else { return nil }
        let (a, b) = (try sizes(node, 0), try sizes(node, 1))
        guard a.count == b.count else {
            throw unsupported(node, expected: "as many sizes", found: "\(a.count), \(b.count)")
        }
        var results: [Int?] = []
        for (x, y) in zip(a, b) {
            guard let x, let y, x.magnitude < 1 << 31, y.magnitude < 1 << 31, node.operation != "Div" || y != 0 else {
                throw unsupported(node, expected: "fixed sizes", found: "the batch's size")
            }
            switch node.operation {
            case "Add": results.append(x + y)
            case "Sub": results.append(x - y)
            case "Mul": results.append(x * y)
            default: results.append(x / y)
            }
        }
        return results
    }
}
