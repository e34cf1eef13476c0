// The gate of squeeze and excitation, and the convolution along channels of efficient channel attention, forward and backward.
import CKernels

/// x, gate, [residual] -> x * gate [+ residual] [then ReLU]
struct Gate: StepOperation {
    var addsResidual = false
    var relu = false

    var text: String { "gate" + (addsResidual ? " + add" : "") + (relu ? " + relu" : "") }
    var overwritable: [Int] { addsResidual ? [2, 0] : [0] }

    func compile(_ step: StepContext) -> Kernel {
        let (x, gate, y) = (step.input(0), step.input(1), step.output(0))
        let residual = addsResidual ? step.input(2) : nil
        let size = step.resultShape.kernelSize
        let relu: Int32 = relu ? 1 : 0
        return { run, start, count in
            ck_gate(
                x(run, start), gate(run, start), residual.map { UnsafePointer($0(run, start)) }, Int32(count), size.c,
                size.h,
                size.w, y(run, start), relu, run.threads)
        }
    }
}

/// x, gate, dy -> [dx], [dgate]
struct GateGradient: StepOperation {
    let wantsX: Bool
    let wantsGate: Bool

    var text: String { "gate dx" }
    var overwritable: [Int] { wantsX ? [2] : [] }

    func compile(_ step: StepContext) -> Kernel {
        let (x, gate, dy) = (step.input(0), step.input(1), step.input(2))
        let dx = wantsX ? step.output(0) : nil
        let dgate = wantsGate ? step.output(wantsX ? 1 : 0) : nil
        let size = step.inputShape(0).kernelSize
        return { run, start, count in
            ck_gate_backward(
                x(run, start), gate(run, start), dy(run, start), Int32(count), size.c, size.h, size.w,
                dx.map { $0(run, start) }, dgate.map { $0(run, start) }, run.threads)
        }
    }
}

/// x, weight -> y
struct ChannelConvolution: StepOperation {
    let kernel: Int

    var text: String { "channel conv \(kernel)" }

    func compile(_ step: StepContext) -> Kernel {
        let (x, weight, y) = (step.input(0), step.input(1), step.output(0))
        let (channels, kernel) = (step.resultShape.kernelSize.c, Int32(kernel))
        return { run, start, count in
            ck_channel_conv(
                x(run, start), x.floats, weight(run), Int32(count), channels, kernel, y(run, start), y.floats)
        }
    }
}

/// x, weight, dy -> [dx]; [dw]
struct ChannelConvolutionGradient: StepOperation {
    let kernel: Int
    let weightTrains: Bool

    var text: String { "channel conv dx, dw" }
    var isPerImage: Bool { false }

    func compile(_ step: StepContext) -> Kernel {
        let (x, weight, dy) = (step.input(0), step.input(1), step.input(2))
        let dx = step.outputIfAny
        let dw = weightTrains ? step.update(0) : nil
        let (channels, kernel) = (step.inputShape(0).kernelSize.c, kernel)
        return { run, start, count in
            run.store(dw, kernel) { dw in
                ck_channel_conv_backward(
                    x(run, start), x.floats, weight(run), dy(run, start), dy.floats, Int32(count), channels,
                    Int32(kernel),
                    dx.map { $0(run, start) }, dx?.floats ?? 0, dw)
            }
        }
    }
}
