// The constants of a plan in one region of memory: packed filters, folded biases, linear weights.
//
//     | picture scale, shift | step 0: filters, bias | step 1: filters, bias | ... | fc: weights, bias |
//
// Sizes are known before anything is packed, so the region is one allocation, or one mapped file that an earlier process
// wrote. Every part starts on a 64-byte boundary.
import CKernels
import Glibc
import ResNetGraph

/// Memory that a plan's constants live in; read-only once filled.
final class ConstantMemory: @unchecked Sendable {
    let base: UnsafeRawPointer
    let bytes: Int
    /// Keeps the memory alive.
    private let owner: any AnyObject & Sendable

    init(base: UnsafeRawPointer, bytes: Int, owner: any AnyObject & Sendable) {
        self.base = base
        self.bytes = bytes
        self.owner = owner
    }
}

/// Where each step's constants lie.
struct ConstantLayout: Sendable {
    private(set) var steps: [StepConstants] = []
    /// Scale and shift of byte pictures.
    private(set) var picture: StepConstants?
    private(set) var bytes = 0

    init(program: PlanProgram, convPlans: [ConvPlan?], options: PlanOptions, block: Int) {
        func padded(_ channels: Int) -> Int { (channels + block - 1) / block * block * 4 }
        if case .bytesNHWC(let scale, _) = options.input {
            picture = StepConstants(first: reserve(padded(scale.count)), second: reserve(padded(scale.count)))
        }
        for (index, step) in program.steps.enumerated() {
            var constants = StepConstants()
            switch step.kind {
            case .conv(let conv):
                constants.first = reserve(convPlans[index]!.packedBytes)
                if conv.hasBias { constants.second = reserve(padded(conv.spec.outChannels)) }
            case .linear(let linear):
                constants.first = reserve(linear.inFeatures * linear.outFeatures * 4)
                if linear.hasBias { constants.second = reserve(linear.outFeatures * 4) }
            case .scaleShift, .sigmoid:
                let value = program.values[step.output!]
                // A sigmoid needs a mask only where a map has surplus channels.
                guard value.layout == .blocked, step.kind != .sigmoid || value.shape.channels % block != 0 else {
                    break
                }
                constants.first = reserve(padded(value.shape.channels))
                constants.second = reserve(padded(value.shape.channels))
            case .importPicture:
                constants = picture ?? constants
            default:
                break
            }
            steps.append(constants)
        }
    }

    private mutating func reserve(_ size: Int) -> Int {
        defer { bytes += (size + ArenaLayout.alignment - 1) / ArenaLayout.alignment * ArenaLayout.alignment }
        return bytes
    }
}

/// Fills a region with a model's constants, step by step.
struct ConstantWriter {
    let model: Model
    let program: PlanProgram
    let convPlans: [ConvPlan?]
    let layout: ConstantLayout
    let options: PlanOptions
    /// Zeroed.
    let base: UnsafeMutableRawPointer
    /// Called with the key of every parameter that is no longer needed.
    let didConsume: @Sendable (String) -> Void

    func writeAll() throws(ExecutionError) {
        if case .bytesNHWC(let scale, let shift) = options.input, let picture = layout.picture {
            floats(picture.first!).update(from: scale, count: scale.count)
            floats(picture.second!).update(from: shift, count: shift.count)
        }
        for (index, step) in program.steps.enumerated() { try write(step, at: index) }
    }

    private func floats(_ offset: Int) -> UnsafeMutablePointer<Float> {
        (base + offset).assumingMemoryBound(to: Float.self)
    }

    private func key(_ node: Int, _ parameter: String) -> String { "\(model.graph.nodes[node].module).\(parameter)" }

    private func values(_ node: Int, _ parameter: String) -> [Float] { model[key(node, parameter)].values }

    private func consumed(_ node: Int) {
        for spec in model.graph.parameters(of: node) { didConsume(spec.name) }
    }

    private func write(_ step: PlanStep, at index: Int) throws(ExecutionError) {
        let constants = layout.steps[index]
        switch step.kind {
        case .conv(let conv):
            let fold = try conv.batchNorm.map { (node) throws(ExecutionError) in try folded(node) }
            if let offset = constants.second {
                writeBias(conv.node, conv.spec.bias, fold, count: conv.spec.outChannels, at: offset)
            }
            let plan = convPlans[index]!
            let weight = model[key(conv.node, "weight")]
            let status = weight.withUnsafeFloats { weight in
                ck_conv_pack(plan.handle, weight.baseAddress, fold?.scale, base + constants.first!)
            }
            try check(status, "packing \(model.graph.nodes[conv.node].name)")
            consumed(conv.node)
        case .linear(let linear):
            let fold = try linear.batchNorm.map { (node) throws(ExecutionError) in try folded(node) }
            let target = floats(constants.first!)
            model[key(linear.node, "weight")].withUnsafeFloats { weight in
                target.update(from: weight.baseAddress!, count: weight.count)
            }
            for (row, scale) in (fold?.scale ?? []).enumerated() {
                for column in 0..<linear.inFeatures { target[row * linear.inFeatures + column] *= scale }
            }
            if let offset = constants.second {
                writeBias(linear.node, linear.bias, fold, count: linear.outFeatures, at: offset)
            }
            consumed(linear.node)
        case .scaleShift(let node, _):
            let fold = try folded(node)
            floats(constants.first!).update(from: fold.scale, count: fold.scale.count)
            floats(constants.second!).update(from: fold.shift, count: fold.shift.count)
        case .sigmoid:
            guard let offset = constants.first else { break }
            floats(offset).update(repeating: 1, count: program.values[step.output!].shape.channels)
        default:
            break
        }
    }

    /// bias * scale + shift, of which any may be absent.
    private func writeBias(
        _ node: Int, _ hasBias: Bool, _ fold: (scale: [Float], shift: [Float])?, count: Int, at offset: Int
    ) {
        let bias = hasBias ? values(node, "bias") : []
        let target = floats(offset)
        for channel in 0..<count {
            let own = hasBias ? Double(bias[channel]) : 0
            target[channel] =
                fold.map { Float(own * Double($0.scale[channel]) + Double($0.shift[channel])) } ?? Float(own)
        }
    }

    /// A batch norm in inference as y = x * scale + shift.
    private func folded(_ node: Int) throws(ExecutionError) -> (scale: [Float], shift: [Float]) {
        guard case .batchNorm(let channels, let eps, _) = model.graph.nodes[node].operation else {
            preconditionFailure("only a batch norm folds")
        }
        var scale = [Float](repeating: 0, count: channels)
        var shift = scale
        let status = ck_bn_fold(
            values(node, "weight"), values(node, "bias"), values(node, "running_mean"), values(node, "running_var"),
            eps, Int32(channels), &scale, &shift)
        try check(status, "folding \(model.graph.nodes[node].name)")
        consumed(node)
        return (scale, shift)
    }
}
