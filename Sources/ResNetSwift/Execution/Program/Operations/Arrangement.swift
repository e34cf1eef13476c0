// Operations that move values from one layout to another, join them and cut them out.
import CKernels
import Glibc

/// planes, rows or pixels -> blocked; of pixels also their scale and shift
struct ToBlocked: StepOperation {
    var text = "to blocked"

    func compile(_ step: StepContext) -> Kernel {
        let (x, y, size) = (step.input(0), step.output(0), step.resultShape.kernelSize)
        guard step.value(step.step.inputs[0]).storage == .pixels else {
            return { run, start, count in
                ck_nchw_to_blocked(x(run, start), Int32(count), size.c, size.h, size.w, y(run, start), run.threads)
            }
        }
        let (scale, shift) = (step.input(1), step.input(2))
        return { run, start, count in
            let pixels = x.pointer(run, start).assumingMemoryBound(to: UInt8.self)
            return ck_nhwc8_to_blocked(
                pixels, Int32(count), size.c, size.h, size.w, scale(run), shift(run), y(run, start), run.threads)
        }
    }
}

/// blocked -> planes, or rows of them
struct Flatten: StepOperation {
    var text: String { "flatten" }
    func compile(_ step: StepContext) -> Kernel { blockedToPlanes(step) }
}

/// A value -> the caller's output, in planes
struct Export: StepOperation {
    var text: String { "to output" }
    var followsItsSource: Bool { true }

    func compile(_ step: StepContext) -> Kernel {
        guard case .rows = step.value(step.step.inputs[0]).storage else { return blockedToPlanes(step) }
        let (x, y) = (step.input(0), step.output(0))
        return { run, start, count in
            let (from, to) = (x.pointer(run, start), y.pointer(run, start))
            for row in 0..<count { memcpy(to + row * y.imageBytes, from + row * x.imageBytes, y.imageBytes) }
            return CK_OK
        }
    }
}

private func blockedToPlanes(_ step: StepContext) -> Kernel {
    let (x, y, size) = (step.input(0), step.output(0), step.inputShape(0).kernelSize)
    return { run, start, count in
        ck_blocked_to_nchw(x(run, start), Int32(count), size.c, size.h, size.w, y(run, start), run.threads)
    }
}

/// Maps -> one map of all their channels
struct Concat: StepOperation {
    var text: String { "concat" }
    var joinsInputs: Bool { true }

    func compile(_ step: StepContext) -> Kernel {
        let (y, size) = (step.output(0), step.resultShape.kernelSize)
        let parts = partsToCopy(step)
        return { run, start, count in
            for part in parts {
                let status = ck_concat_copy(
                    part.x(run, start), Int32(count), part.channels, size.h, size.w, y(run, start), size.c,
                    part.offset, run.threads)
                guard status == CK_OK else { return status }
            }
            return CK_OK
        }
    }

    /// The inputs that do not lie in the result already.
    private func partsToCopy(_ step: StepContext) -> [(x: Address, channels: Int32, offset: Int32)] {
        let result = step.step.outputs[0]
        let (map, element) = (step.resultShape, step.value(result).element)
        var channel = 0
        return step.step.inputs.enumerated().compactMap { position, part in
            defer { channel += step.inputShape(position).channels }
            let offset = channel * map.height * map.width * element.bytes
            if step.layout.memory.isInPlace(part, in: result, at: offset) { return nil }
            return (step.input(position), step.inputShape(position).kernelSize.c, Int32(channel))
        }
    }
}

/// A map -> some of its channels: what joining maps passes back
struct ConcatSlice: StepOperation {
    /// The first channel.
    let offset: Int

    var text: String { "concat dx" }

    func compile(_ step: StepContext) -> Kernel {
        let (dy, dx, offset) = (step.input(0), step.output(0), Int32(offset))
        let (whole, part) = (step.inputShape(0).kernelSize, step.resultShape.kernelSize)
        return { run, start, count in
            ck_concat_slice(
                dy(run, start), Int32(count), whole.c, whole.h, whole.w, offset, dx(run, start), part.c, run.threads)
        }
    }
}
