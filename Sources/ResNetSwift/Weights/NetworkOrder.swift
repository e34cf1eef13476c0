// A ResNet by the order and the shapes of its layers, where the names do not say what is what:
//
//     nn.Sequential(*list(resnet.children())[:-2], ...)    0 conv, 1 norm, 4.0.conv1 ... 7.2.bn2
//
//     stem    conv (64, C, 7, 7) or (c, C, 3, 3), norm
//     block   basic: 3x3 (c, in), norm, 3x3 (c, c), norm; bottleneck: 1x1 (w, in), norm, 3x3 (w, w / g), norm, 1x1 (4c, w),
//             norm; a projection 1x1 (out, in), norm where out != in, which some write before the rest of its block
//
// A projection begins a stage. Strides are not in the file: those of the ResNet are assumed.

/// The layers of a ResNet, found by their order.
struct OrderedNetwork {
    /// The model's name of each module, by index in the list.
    var names: [Int: String] = [:]
    var stages = 0

    /// First convolutions that are tried: each costs a walk along the network.
    private static let maximumStarts = 256

    /// The first ResNet in the list.
    init?(_ list: [ListedModule]) {
        let convolutions = list.indices.filter { list[$0].kind == .convolution }
        for start in convolutions.prefix(Self.maximumStarts) {
            guard let found = OrderedNetwork(list, from: start), found.stages >= 3 else { continue }
            self = found
            return
        }
        return nil
    }

    private init?(_ list: [ListedModule], from start: Int) {
        let stem = list[start].shape
        guard stem[2] == stem[3], stem[2] == 7 || stem[2] == 3, let first = Unit(list, at: start) else { return nil }
        names[start] = "conv1"
        names[start + 1] = "bn1"
        var position = start + 2
        var channels = first.outputs
        var block = 0
        while let found = Block(list, at: position, inputs: channels) {
            // The first block of basic stages has no projection.
            if stages == 0 || found.projection != nil && block > 0 {
                stages += 1
                block = 0
            }
            let name = "layer\(stages).\(block)"
            for (number, unit) in found.units.enumerated() {
                names[unit] = "\(name).conv\(number + 1)"
                names[unit + 1] = "\(name).bn\(number + 1)"
            }
            if let projection = found.projection {
                names[projection] = "\(name).downsample.0"
                names[projection + 1] = "\(name).downsample.1"
            }
            position += 2 * (found.units.count + (found.projection == nil ? 0 : 1))
            channels = found.outputs
            block += 1
            if stages > 8 || block > 1_000 { return nil }
        }
    }

    /// A convolution without bias and its norm.
    private struct Unit {
        let inputs: Int
        let outputs: Int
        let kernel: Int

        init?(_ list: [ListedModule], at index: Int) {
            guard index + 1 < list.count, list[index].kind == .convolution, list[index + 1].kind == .norm else {
                return nil
            }
            let shape = list[index].shape
            guard list[index].tensors["bias"] == nil, list[index + 1].shape == [shape[0]], shape[2] == shape[3] else {
                return nil
            }
            (outputs, inputs, kernel) = (shape[0], shape[1], shape[2])
        }
    }

    private struct Block {
        /// Where each convolution stands in the list.
        var units: [Int] = []
        var projection: Int?
        var outputs = 0

        init?(_ list: [ListedModule], at start: Int, inputs: Int) {
            // The projection stands first where the second convolution reads the block's input as well.
            var position = start
            if let first = Unit(list, at: start), first.kernel == 1, first.inputs == inputs,
                let second = Unit(list, at: start + 2), second.inputs == inputs, first.outputs != inputs,
                second.kernel == 3 || second.outputs != first.outputs
            {
                projection = start
                position += 2
            }
            guard let first = Unit(list, at: position), first.inputs == inputs,
                let second = Unit(list, at: position + 2), second.kernel == 3
            else { return nil }
            if first.kernel == 3, second.inputs == first.outputs, second.outputs == first.outputs {
                units = [position, position + 2]
                outputs = second.outputs
            } else if first.kernel == 1, second.inputs > 0, first.outputs.isMultiple(of: second.inputs),
                second.outputs == first.outputs, let third = Unit(list, at: position + 4), third.kernel == 1,
                third.inputs == second.outputs
            {
                units = [position, position + 2, position + 4]
                outputs = third.outputs
            } else {
                return nil
            }
            let next = units.last! + 2
            if projection == nil, outputs != inputs {
                guard let unit = Unit(list, at: next), unit.kernel == 1, unit.inputs == inputs, unit.outputs == outputs
                else { return nil }
                projection = next
            }
            if let projection, Unit(list, at: projection)?.outputs != outputs { return nil }
        }
    }
}
