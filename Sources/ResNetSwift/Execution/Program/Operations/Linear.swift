// y = x w^T + b, forward and backward.
import CKernels
import Glibc

/// x, w, [b] -> y
struct Linear: StepOperation {
    let inFeatures: Int
    let outFeatures: Int
    let hasBias: Bool
    /// The weights hold a batch norm.
    var isNormed = false
    var relu = false
    /// Of w: float32 or bfloat16.
    var weights = ValueElement.float32
    /// Otherwise the whole batch at once: the weights are read once.
    var isPerImage = true

    var text: String { "linear" + (isNormed ? " + bn" : "") + (relu ? " + relu" : "") + weights.note }

    func compile(_ step: StepContext) -> Kernel {
        let (x, w, y) = (step.input(0), step.input(1), step.output(0))
        let b = hasBias ? step.input(2) : nil
        let (inputs, outputs, relu) = (Int32(inFeatures), Int32(outFeatures), Int32(relu ? 1 : 0))
        let isBF16 = weights == .bfloat16
        return { run, start, count in
            // What stands behind a row is zero.
            if y.floats > Int(outputs) { memset(y(run, start), 0, count * y.imageBytes) }
            if isBF16 {
                return ck_linear_bf16(
                    x(run, start), x.floats, w.halves(run), b.map { UnsafePointer($0(run)) }, Int32(count), inputs,
                    outputs, y(run, start), y.floats, relu, run.threads)
            }
            return ck_linear(
                x(run, start), x.floats, w(run), b.map { UnsafePointer($0(run)) }, Int32(count), inputs, outputs,
                y(run, start), y.floats, relu, run.threads)
        }
    }
}

/// x, dy, w -> [dx]; [dw], [db]
struct LinearGradient: StepOperation {
    let inFeatures: Int
    let outFeatures: Int
    let weightTrains: Bool
    let biasTrains: Bool

    var text: String { "linear dx, dw" }
    var isPerImage: Bool { false }

    func compile(_ step: StepContext) -> Kernel {
        let (x, dy, w) = (step.input(0), step.input(1), step.input(2))
        let dx = step.outputIfAny
        let (dw, db) = step.updates(weightTrains, biasTrains)
        let (inputs, outputs) = (inFeatures, outFeatures)
        return { run, start, count in
            run.store(dw, inputs * outputs) { dw in
                run.store(db, outputs, at: inputs * outputs) { db in
                    ck_linear_backward(
                        x(run, start), x.floats, w(run), dy(run, start), dy.floats, Int32(count), Int32(inputs),
                        Int32(outputs), dx.map { $0(run, start) }, dx?.floats ?? 0, dw, db, run.threads)
                }
            }
        }
    }
}

/// weight, [bias], [gamma, beta, mean, variance] -> weight, [bias]: constants, with the batch norm in them.
struct FoldLinear: StepOperation {
    let inFeatures: Int
    let outFeatures: Int
    /// nil where no bias is written either.
    var fold: LayerFold?
    /// Of the result: float32 or bfloat16.
    var weights = ValueElement.float32

    var text: String { "fold linear" }
    var isPerImage: Bool { false }

    func compile(_ step: StepContext) -> Kernel {
        let (source, target) = (step.input(0), step.output(0))
        let (inputs, outputs) = (inFeatures, outFeatures)
        let (fold, isBF16) = (fold?.compiled(step), weights == .bfloat16)
        return { run, _, _ in
            let (status, scale) = fold?(run) ?? (CK_OK, nil)
            // What becomes bfloat16 is scaled before, in a row beside.
            let beside = isBF16 ? UnsafeMutablePointer<Float>.allocate(capacity: inputs) : nil
            defer { beside?.deallocate() }
            for index in 0..<outputs {
                let row = beside ?? target(run) + index * inputs
                row.update(from: source(run) + index * inputs, count: inputs)
                if let scale { for column in 0..<inputs { row[column] *= scale[index] } }
                if isBF16 { _ = ck_to_bf16(row, inputs, target.halves(run) + index * inputs) }
            }
            return status
        }
    }
}

extension Address {
    /// Of a constant in bfloat16.
    fileprivate func halves(_ run: Run) -> UnsafeMutablePointer<UInt16> {
        pointer(run, 0).assumingMemoryBound(to: UInt16.self)
    }
}
