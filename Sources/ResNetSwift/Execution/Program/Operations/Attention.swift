// Attention of pixels within windows, and between channels over all pixels, forward and backward. Queries, keys and values
// lie side by side in the channels of one map. Backward the attention is computed again.
import CKernels
import ResNetGraph

/// What both attentions are.
struct AttentionShape: Sendable, Hashable {
    let heads: Int
    /// nil: between channels.
    let window: Size2?

    /// - Parameters:
    ///   - qkv: its map.
    ///   - result: that of the result, which may be smaller for windows.
    fileprivate func description(_ qkv: ImageShape, _ result: ImageShape) -> ck_attention_desc {
        let (size, cropped) = (qkv.kernelSize, result.kernelSize)
        let window = window ?? Size2(qkv.height, qkv.width)
        return ck_attention_desc(
            batch: 1, channels: cropped.c, heads: Int32(heads), height: size.h, width: size.w,
            window_height: Int32(window.height), window_width: Int32(window.width), out_height: cropped.h,
            out_width: cropped.w, scale: 0, threads: 0)
    }

    fileprivate var text: String { window.map { "attention in \($0)" } ?? "attention of channels" }
}

/// qkv -> y, the upper left of it where a crop follows.
struct Attention: StepOperation {
    let shape: AttentionShape
    var crops = false

    var text: String { shape.text + (crops ? " + crop" : "") }

    func prepare(_ step: StepContext) -> Preparation {
        var description = shape.description(step.inputShape(0), step.resultShape)
        description.batch = Int32(step.chunk)
        description.threads = Int32(step.settings.threads)
        let size =
            shape.window == nil
            ? ck_channel_attention_workspace_size(&description) : ck_window_attention_workspace_size(&description)
        return Preparation(scratchBytes: size)
    }

    func compile(_ step: StepContext) -> Kernel {
        let (qkv, y) = (step.input(0), step.output(0))
        let description = shape.description(step.inputShape(0), step.resultShape)
        let function = shape.window == nil ? ck_channel_attention : ck_window_attention
        return { run, start, count in
            var description = description
            description.batch = Int32(count)
            description.threads = run.threads
            return function(&description, qkv(run, start), y(run, start), run.scratch)
        }
    }
}

/// qkv, dy -> dqkv
struct AttentionGradient: StepOperation {
    let shape: AttentionShape

    var text: String { shape.text + " dx" }

    func prepare(_ step: StepContext) -> Preparation {
        var description = shape.description(step.inputShape(0), step.inputShape(1))
        description.batch = Int32(step.chunk)
        description.threads = Int32(step.settings.threads)
        let size =
            shape.window == nil
            ? ck_channel_attention_backward_workspace_size(&description)
            : ck_window_attention_backward_workspace_size(&description)
        return Preparation(scratchBytes: size)
    }

    func compile(_ step: StepContext) -> Kernel {
        let (qkv, dy, dqkv) = (step.input(0), step.input(1), step.output(0))
        let description = shape.description(step.inputShape(0), step.inputShape(1))
        let function = shape.window == nil ? ck_channel_attention_backward : ck_window_attention_backward
        return { run, start, count in
            var description = description
            description.batch = Int32(count)
            description.threads = run.threads
            return function(&description, qkv(run, start), dy(run, start), dqkv(run, start), run.scratch)
        }
    }
}
