// Layer norm, group norm, GELU and attention out, in operators of set 17. Sizes that depend on the picture's are computed in the
// file, by Shape, so that height and width can stay open.
//
//     windows     (N, 3 C, H, W) -> (3, windows of all images, heads, pixels, d) -> softmax(q k^T / sqrt(d)) v -> (N, C, H, W)
//     channels    (N, 3 C, H, W) -> 3 x (N, heads, d, pixels)                    -> softmax(k v^T / sqrt(d)) q -> (N, C, H, W)

import ResNetGraph

extension ONNXExporter {
    /// Over the channels of each pixel: the operator wants them last.
    mutating func writeLayerNorm(_ node: GraphNode, _ name: String, _ x: String, eps: Double) {
        let rows = transpose(x, [0, 2, 3, 1], "\(name)/pixels")
        append("LayerNormalization", "\(name)/normed", [rows, "\(node.module).weight", "\(node.module).bias"]) {
            $0.integer("axis", -1)
            $0.float("epsilon", Float(eps))
        }
        _ = transpose("\(name)/normed", [0, 3, 1, 2], name)
    }

    /// An instance norm of (N, groups, rest), then a factor and a summand for each channel.
    mutating func writeGroupNorm(_ node: GraphNode, _ name: String, _ x: String, groups: Int, eps: Double) {
        let rows = reshape(x, [0, groups, -1], "\(name)/groups")
        let ones = constant("ones_\(groups)", [groups], floats: Array(repeating: 1, count: groups))
        let zeros = constant("zeros_\(groups)", [groups], floats: Array(repeating: 0, count: groups))
        append("InstanceNormalization", "\(name)/normed", [rows, ones, zeros]) { $0.float("epsilon", Float(eps)) }
        append("Shape", "\(name)/shape", [x])
        append("Reshape", "\(name)/map", ["\(name)/normed", "\(name)/shape"])
        append("Mul", "\(name)/scaled", ["\(name)/map", "\(node.module).weight"])
        append("Add", name, ["\(name)/scaled", "\(node.module).bias"])
    }

    /// x (1 + erf(x / sqrt(2))) / 2; runtimes know these five by sight.
    mutating func writeGELU(_ name: String, _ x: String) {
        append("Div", "\(name)/div", [x, constant("square_root_of_2", [], floats: [Float(2).squareRoot()])])
        append("Erf", "\(name)/erf", ["\(name)/div"])
        append("Add", "\(name)/one", ["\(name)/erf", constant("one", [], floats: [1])])
        append("Mul", "\(name)/mul", [x, "\(name)/one"])
        append("Mul", name, ["\(name)/mul", constant("half", [], floats: [0.5])])
    }

    /// Zeros below and to the right: as many as -size mod multiple.
    mutating func writePadToMultiple(_ name: String, _ x: String, _ size: Size2) {
        let negative = "\(name)/negative"
        append("Neg", negative, [sides(of: x, "\(name)/size")])
        append(
            "Mod", "\(name)/missing",
            [negative, constant("sides_\(size.height)_\(size.width)", integers: [size.height, size.width])])
        let none = constant("no_frame", integers: [0, 0, 0, 0, 0, 0])
        append("Concat", "\(name)/pads", [none, "\(name)/missing"]) { $0.integer("axis", 0) }
        append("Pad", name, [x, "\(name)/pads", constant("zero", [], floats: [0])])
    }

    /// The upper left of `x`, as high and wide as `other`.
    mutating func writeCrop(_ name: String, _ x: String, like other: String) {
        let ends = sides(of: other, "\(name)/size")
        append(
            "Slice", name,
            [x, constant("upper_left", integers: [0, 0]), ends, constant("height_and_width", integers: [2, 3])])
    }

    mutating func writeWindowAttention(_ name: String, _ x: String, channels: Int, heads: Int, _ window: Size2) {
        let size = channels / heads
        func side(_ title: String, _ axis: Int, _ length: Int) -> String {
            append("Shape", "\(name)/\(title)_pixels", [x]) {
                $0.integer("start", axis)
                $0.integer("end", axis + 1)
            }
            let length = constant("length_\(length)", integers: [length])
            append("Div", "\(name)/\(title)", ["\(name)/\(title)_pixels", length])
            return "\(name)/\(title)"
        }
        let (rows, columns) = (side("rows", 2, window.height), side("columns", 3, window.width))
        let (height, width) = (
            constant("length_\(window.height)", integers: [window.height]),
            constant("length_\(window.width)", integers: [window.width])
        )
        let parts = constant("parts_\(heads)_\(size)", integers: [0, 3, heads, size])
        append("Concat", "\(name)/split", [parts, rows, height, columns, width]) { $0.integer("axis", 0) }
        append("Reshape", "\(name)/tiles", [x, "\(name)/split"])
        // (N, 3, heads, d, rows, height, columns, width) -> (3, N, rows, columns, heads, height, width, d)
        let tiles = transpose("\(name)/tiles", [1, 0, 4, 6, 2, 5, 7, 3], "\(name)/windows")
        let flat = reshape(tiles, [3, -1, heads, window.height * window.width, size], "\(name)/pixels")
        let (q, k, v) = (
            part(0, of: flat, axis: 0, name), part(1, of: flat, axis: 0, name), part(2, of: flat, axis: 0, name)
        )
        let result = attend(name, rows: q, columns: k, values: v, size: size)
        let shape = constant(
            "heads_\(heads)_\(window.height)_\(window.width)_\(size)",
            integers: [heads, window.height, window.width, size])
        append("Concat", "\(name)/join", [constant("any", integers: [-1]), rows, columns, shape]) {
            $0.integer("axis", 0)
        }
        append("Reshape", "\(name)/back", [result, "\(name)/join"])
        let maps = transpose("\(name)/back", [0, 3, 6, 1, 4, 2, 5], "\(name)/maps")
        writeMap(name, maps, channels: channels, like: x)
    }

    mutating func writeChannelAttention(_ name: String, _ x: String, channels: Int, heads: Int) {
        let size = channels / heads
        let flat = reshape(x, [0, 3, heads, size, -1], "\(name)/channels")
        let (q, k, v) = (
            part(0, of: flat, axis: 1, name), part(1, of: flat, axis: 1, name), part(2, of: flat, axis: 1, name)
        )
        let result = attend(name, rows: k, columns: v, values: q, size: size)
        writeMap(name, result, channels: channels, like: x)
    }

    /// softmax(rows columns^T / sqrt(size)) values, over the last two axes of four.
    private mutating func attend(_ name: String, rows: String, columns: String, values: String, size: Int) -> String {
        let scale = constant("scale_\(size)", [], floats: [1 / Float(size).squareRoot()])
        append("Mul", "\(name)/scaled", [rows, scale])
        append("MatMul", "\(name)/scores", ["\(name)/scaled", transpose(columns, [0, 1, 3, 2], "\(name)/transposed")])
        append("Softmax", "\(name)/weights", ["\(name)/scores"]) { $0.integer("axis", -1) }
        append("MatMul", "\(name)/attended", ["\(name)/weights", values])
        return "\(name)/attended"
    }

    /// The result `name` of that many channels, as high and wide as `other`.
    private mutating func writeMap(_ name: String, _ x: String, channels: Int, like other: String) {
        let batch = constant("batch_\(channels)", integers: [0, channels])
        append("Concat", "\(name)/shape", [batch, sides(of: other, "\(name)/size")]) { $0.integer("axis", 0) }
        append("Reshape", name, [x, "\(name)/shape"])
    }

    /// Queries, keys or values: 0, 1 or 2.
    private mutating func part(_ index: Int, of x: String, axis: Int, _ name: String) -> String {
        let result = "\(name)/\(["queries", "keys", "values"][index])"
        append("Gather", result, [x, constant("index_\(index)", scalar: index)]) { $0.integer("axis", axis) }
        return result
    }

    /// Height and width.
    private mutating func sides(of x: String, _ result: String) -> String {
        append("Shape", result, [x]) { $0.integer("start", 2) }
        return result
    }

    private mutating func transpose(_ x: String, _ axes: [Int], _ result: String) -> String {
        append("Transpose", result, [x]) { $0.integers("perm", axes) }
        return result
    }

    private mutating func reshape(_ x: String, _ shape: [Int], _ result: String) -> String {
        let name = "shape_" + shape.map { $0 < 0 ? "any" : "\($0)" }.joined(separator: "_")
        append("Reshape", result, [x, constant(name, integers: shape)])
        return result
    }
}
