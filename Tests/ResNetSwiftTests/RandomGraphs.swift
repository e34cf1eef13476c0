// Random graphs from a seed: every pattern that the compiler fuses, and the ones it must not fuse.
import ResNetSwift

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers everywhere.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}

struct RandomGraph {
    var graph = Graph(modelName: "Random")
    let image: ImageShape
    /// Nodes tapped besides logits and features.
    var taps: [Int] = []
    private var random: SplitMix
    private var maps: [(node: Node, shape: ImageShape)] = []
    private var count = 0

    init(seed: UInt64, steps: Int = 14) {
        random = SplitMix(state: seed)
        image = ImageShape(
            channels: [1, 3, 4, 9].randomElement(using: &random)!, height: Int.random(in: 5...12, using: &random),
            width: Int.random(in: 5...12, using: &random))
        maps.append((graph.add("input", .input(channels: image.channels)), image))
        if random.chance(60) { stem() }
        for _ in 0..<steps { grow() }
        finish()
        // A tap on fc1 would part it from its batch norm, which is not supported.
        for (index, node) in graph.nodes.enumerated() where random.chance(8) && node.name != "fc1" {
            taps.append(index)
        }
    }

    private mutating func name(_ kind: String) -> String {
        count += 1
        return "\(kind)\(count)"
    }

    private mutating func anyMap() -> (node: Node, shape: ImageShape) {
        // Mostly one of the latest, as networks do.
        random.chance(70) ? maps.suffix(2).randomElement(using: &random)! : maps.randomElement(using: &random)!
    }

    private mutating func append(_ kind: String, _ operation: Operation, _ inputs: [Node], _ shape: ImageShape) {
        maps.append((graph.add(name(kind), operation, inputs), shape))
    }

    private mutating func conv(
        _ x: (node: Node, shape: ImageShape), channels: Int, kernel: Int, stride: Int, groups: Int = 1
    ) {
        var shape = x.shape
        let padding = kernel / 2
        shape.channels = channels
        shape.height = (shape.height + 2 * padding - kernel) / stride + 1
        shape.width = (shape.width + 2 * padding - kernel) / stride + 1
        let spec = ConvSpec(
            x.shape.channels, channels, kernel: Size2(kernel, kernel), stride: Size2(stride, stride),
            padding: Size2(padding, padding), groups: groups, bias: random.chance(30))
        append("conv", .conv(spec), [x.node], shape)
    }

    private mutating func affine() {
        let x = maps[maps.count - 1]
        append("bn", .batchNorm(channels: x.shape.channels, eps: 1e-5, momentum: 0.1), [x.node], x.shape)
    }

    private mutating func relu() {
        let x = maps[maps.count - 1]
        append("relu", .relu, [x.node], x.shape)
    }

    private mutating func stem() {
        conv(maps[0], channels: [8, 16, 20].randomElement(using: &random)!, kernel: 7, stride: 2)
        if random.chance(70) { affine() }
        if random.chance(80) { relu() }
        if random.chance(80) { pool(kernel: 3, stride: 2, padding: 1, ceilMode: false, isMax: true) }
    }

    private mutating func pool(kernel: Int, stride: Int, padding: Int, ceilMode: Bool, isMax: Bool) {
        let x = maps[maps.count - 1]
        let spec = PoolSpec(
            kernel: Size2(kernel, kernel), stride: Size2(stride, stride), padding: Size2(padding, padding),
            ceilMode: ceilMode)
        let node = graph.add(name("pool"), isMax ? .maxPool(spec) : .averagePool(spec), x.node)
        guard let shapes = try? graph.shapes(input: image), case .map(let shape) = shapes[node.index] else {
            preconditionFailure("a pool that does not fit")
        }
        maps.append((node, shape))
    }

    private mutating func grow() {
        let x = anyMap()
        let channels = [4, 8, 12, 16, 24, 32].randomElement(using: &random)!
        switch Int.random(in: 0..<12, using: &random) {
        case 0, 1, 2:
            conv(x, channels: channels, kernel: random.chance(50) ? 3 : 1, stride: random.chance(20) ? 2 : 1)
            if random.chance(70) { affine() }
            if random.chance(60) { relu() }
        case 3, 4:
            residualBlock(x, channels: channels)
        case 5:
            maps.append(x)
            affine()
            if random.chance(50) { relu() }
        case 6:
            maps.append(x)
            relu()
        case 7:
            let same = maps.filter { $0.shape == x.shape }
            let y = same.randomElement(using: &random)!
            append("add", .add, [x.node, y.node], x.shape)
            if random.chance(50) { relu() }
        case 8:
            guard min(x.shape.height, x.shape.width) >= 3 else { return }
            maps.append(x)
            pool(
                kernel: random.chance(50) ? 3 : 2, stride: random.chance(50) ? 2 : 1,
                padding: random.chance(50) ? 1 : 0,
                ceilMode: random.chance(30), isMax: random.chance(50))
        case 9, 10:
            concatenation(x)
        default:
            append("dropout", .dropout(probability: 0.5), [x.node], x.shape)
        }
    }

    private mutating func residualBlock(_ x: (node: Node, shape: ImageShape), channels: Int) {
        let isProjected = random.chance(50)
        let stride = isProjected && random.chance(50) ? 2 : 1
        let out = isProjected ? channels : x.shape.channels
        conv(x, channels: channels, kernel: 3, stride: stride)
        affine()
        if random.chance(90) { relu() }
        conv(maps[maps.count - 1], channels: out, kernel: 3, stride: 1)
        affine()
        let main = maps[maps.count - 1]
        var shortcut = x
        if isProjected {
            conv(x, channels: out, kernel: 1, stride: stride)
            if random.chance(80) { affine() }
            shortcut = maps[maps.count - 1]
        }
        append(
            "add", .add, random.chance(50) ? [main.node, shortcut.node] : [shortcut.node, main.node], main.shape)
        if random.chance(90) { relu() }
    }

    private mutating func concatenation(_ x: (node: Node, shape: ImageShape)) {
        var parts: [(node: Node, shape: ImageShape)] = []
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            if random.chance(70) {
                conv(x, channels: [5, 8, 16].randomElement(using: &random)!, kernel: 1, stride: 1)
                if random.chance(50) { relu() }
                parts.append(maps[maps.count - 1])
            } else {
                parts.append(
                    maps.filter {
                        $0.shape.height == x.shape.height && $0.shape.width == x.shape.width
                            && $0.shape.channels < 64
                    }.randomElement(using: &random) ?? x)
            }
        }
        var shape = x.shape
        shape.channels = parts.reduce(0) { $0 + $1.shape.channels }
        append("concat", .concat, parts.map(\.node), shape)
    }

    private mutating func finish() {
        let x = maps[maps.count - 1]
        var features = x.shape.count
        var node = x.node
        if random.chance(80) {
            node = graph.add("avgpool", .globalAveragePool, node)
            features = x.shape.channels
        }
        node = graph.add("flatten", .flatten, node)
        let h = node
        if random.chance(50) { node = graph.add("drop", .dropout(probability: 0.2), node) }
        if random.chance(40) {
            node = graph.add("fc1", .linear(inFeatures: features, outFeatures: 19, bias: true), node)
            if random.chance(50) { node = graph.add("fc1bn", .batchNorm(channels: 19, eps: 1e-5, momentum: 0.1), node) }
            if random.chance(70) { node = graph.add("fc1relu", .relu, node) }
            features = 19
        }
        node = graph.add("fc", .linear(inFeatures: features, outFeatures: 10, bias: random.chance(80)), node)
        if random.chance(20) { node = graph.add("sigmoid", .sigmoid, node) }
        graph.setOutputs(logits: node, features: random.chance(80) ? h : nil)
    }
}
