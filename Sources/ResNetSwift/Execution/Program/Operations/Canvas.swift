// Padding and cropping below and to the right: the one is the gradient of the other.
import CKernels

/// x -> its upper left part, with zeros where the result is larger.
struct Canvas: StepOperation {
    let text: String

    func compile(_ step: StepContext) -> Kernel {
        let (x, y) = (step.input(0), step.output(0))
        let (size, result) = (step.inputShape(0).kernelSize, step.resultShape.kernelSize)
        return { run, start, count in
            ck_resize_canvas(
                x(run, start), Int32(count), size.c, size.h, size.w, y(run, start), result.h, result.w, run.threads)
        }
    }
}
