// A step with everything its kernel needs but the buffers' bases: running it is address arithmetic and one call.
import CKernels
import Glibc
import ResNetGraph

/// The memory of one run.
struct RunMemory {
    let picture: UnsafeRawPointer
    let arena: UnsafeMutableRawPointer
    /// Of convolutions, used within one step.
    let scratch: UnsafeMutableRawPointer
    let outputs: UnsafeMutableRawPointer
    let constants: UnsafeRawPointer
}

/// Where a value is, resolved to bytes.
struct Address: Sendable {
    enum Region: Sendable { case picture, arena, outputs }

    let region: Region
    let byteOffset: Int
    /// From one image of the batch to the next; 0 where the buffer holds only a chunk.
    let batchStride: Int
    /// Floats from one image of a chunk to the next.
    let imageFloats: Int

    /// Where image `start` of the batch, the first of a chunk, is.
    func pointer(_ memory: RunMemory, _ start: Int) -> UnsafeRawPointer {
        let base: UnsafeRawPointer =
            switch region {
            case .picture: memory.picture
            case .arena: UnsafeRawPointer(memory.arena)
            case .outputs: UnsafeRawPointer(memory.outputs)
            }
        return base + byteOffset + start * batchStride
    }

    func floats(_ memory: RunMemory, _ start: Int) -> UnsafePointer<Float> {
        pointer(memory, start).assumingMemoryBound(to: Float.self)
    }

    func mutableFloats(_ memory: RunMemory, _ start: Int) -> UnsafeMutablePointer<Float> {
        UnsafeMutablePointer(mutating: floats(memory, start))
    }
}

/// Byte offsets of a step's constants: weights or scale first, bias or shift second.
struct StepConstants: Sendable {
    var first: Int?
    var second: Int?

    func first(_ memory: RunMemory) -> UnsafePointer<Float>? { Self.floats(first, memory) }
    func second(_ memory: RunMemory) -> UnsafePointer<Float>? { Self.floats(second, memory) }

    private static func floats(_ offset: Int?, _ memory: RunMemory) -> UnsafePointer<Float>? {
        offset.map { (memory.constants + $0).assumingMemoryBound(to: Float.self) }
    }
}

struct CompiledStep: Sendable {
    enum Code: Sendable {
        case importFloats
        case importBytes
        case conv(ConvPlan)
        case linear(in: Int, out: Int, relu: Bool)
        case scaleShift(relu: Bool)
        case relu
        case sigmoid
        case add(relu: Bool)
        case maxPool(PoolSpec)
        case averagePool(PoolSpec)
        case globalAveragePool
        /// Parts to copy: which input, its channels and where they go.
        case concat([(input: Int, channels: Int, offset: Int)])
        case flatten
        case exportBlocked
        case exportRows
    }

    let code: Code
    /// Of one image of the first input.
    let source: ImageShape
    /// Of one image of the result.
    let result: ImageShape
    /// Floats of one image of the result, surplus channels included.
    let resultFloats: Int
    let inputs: [Address]
    let output: Address
    let constants: StepConstants
    /// For a convolution that reads bytes.
    let pictureScale: StepConstants?
    /// Some buffer has room between its images.
    let hasGaps: Bool
    let threads: Int32

    /// Runs images `start ..< start + count` of the batch through the step.
    func run(_ memory: RunMemory, start: Int, count: Int) -> ck_status {
        let n = Int32(count)
        let (c, h, w) = (Int32(source.channels), Int32(source.height), Int32(source.width))
        let x = inputs[0].floats(memory, start)
        let y = output.mutableFloats(memory, start)
        switch code {
        case .importFloats:
            return ck_nchw_to_blocked(x, n, c, h, w, y, threads)
        case .importBytes:
            let bytes = inputs[0].pointer(memory, start).assumingMemoryBound(to: UInt8.self)
            return ck_nhwc8_to_blocked(
                bytes, n, c, h, w, constants.first(memory), constants.second(memory), y, threads)
        case .conv(let plan):
            return convolve(plan, memory, start, n, y)
        case .linear(let inFeatures, let outFeatures, let relu):
            return ck_linear(
                x, inputs[0].imageFloats, constants.first(memory), constants.second(memory), n, Int32(inFeatures),
                Int32(outFeatures), y, output.imageFloats, relu ? 1 : 0, threads)
        case .scaleShift(let relu):
            return ck_scale_shift(
                x, constants.first(memory), constants.second(memory), n, c, h, w, y, relu ? 1 : 0, threads)
        case .relu:
            return rows(count) { ck_relu(x + $0 * inputs[0].imageFloats, y + $0 * output.imageFloats, $1, threads) }
        case .sigmoid:
            let status = rows(count) {
                ck_sigmoid(x + $0 * inputs[0].imageFloats, y + $0 * output.imageFloats, $1, threads)
            }
            guard status == CK_OK, let mask = constants.first(memory) else { return status }
            // sigmoid(0) is a half: the surplus channels go back to zero.
            return ck_scale_shift(y, mask, constants.second(memory), n, c, h, w, y, 0, threads)
        case .add(let relu):
            let other = inputs[1].floats(memory, start)
            return rows(count) {
                ck_add(
                    x + $0 * inputs[0].imageFloats, other + $0 * inputs[1].imageFloats, y + $0 * output.imageFloats, $1,
                    relu ? 1 : 0, threads)
            }
        case .maxPool(let spec):
            var description = poolDescription(spec, n)
            return ck_max_pool(&description, x, y, nil)
        case .averagePool(let spec):
            var description = poolDescription(spec, n)
            return ck_average_pool(&description, x, y)
        case .globalAveragePool:
            return ck_global_average_pool(x, n, c, h, w, y, threads)
        case .concat(let parts):
            for part in parts {
                let status = ck_concat_copy(
                    inputs[part.input].floats(memory, start), n, Int32(part.channels), h, w, y, Int32(result.channels),
                    Int32(part.offset), threads)
                guard status == CK_OK else { return status }
            }
            return CK_OK
        case .flatten, .exportBlocked:
            return ck_blocked_to_nchw(x, n, c, h, w, y, threads)
        case .exportRows:
            for row in 0..<count {
                memcpy(y + row * output.imageFloats, x + row * inputs[0].imageFloats, resultFloats * 4)
            }
            return CK_OK
        }
    }

    private func convolve(
        _ plan: ConvPlan, _ memory: RunMemory, _ start: Int, _ n: Int32, _ y: UnsafeMutablePointer<Float>
    ) -> ck_status {
        var arguments = ck_conv_args()
        arguments.batch = n
        arguments.src = inputs[0].pointer(memory, start)
        arguments.packed = UnsafeRawPointer(constants.first(memory))
        arguments.bias = constants.second(memory)
        if inputs.count > 1 { arguments.residual = inputs[1].floats(memory, start) }
        if let scale = pictureScale {
            arguments.src_scale = scale.first(memory)
            arguments.src_shift = scale.second(memory)
        }
        arguments.dst = y
        arguments.workspace = memory.scratch
        return ck_conv_run(plan.handle, &arguments)
    }

    /// One call over all images where they lie without gaps, else one an image. `body` gets the first image and the floats.
    private func rows(_ count: Int, _ body: (Int, Int) -> ck_status) -> ck_status {
        guard hasGaps, count > 1 else { return body(0, count * resultFloats) }
        for row in 0..<count {
            let status = body(row, resultFloats)
            guard status == CK_OK else { return status }
        }
        return CK_OK
    }

    private func poolDescription(_ spec: PoolSpec, _ n: Int32) -> ck_pool_desc {
        ck_pool_desc(
            batch: n, channels: Int32(source.channels), in_height: Int32(source.height), in_width: Int32(source.width),
            kernel_height: Int32(spec.kernel.height), kernel_width: Int32(spec.kernel.width),
            stride_height: Int32(spec.stride.height), stride_width: Int32(spec.stride.width),
            pad_height: Int32(spec.padding.height), pad_width: Int32(spec.padding.width),
            ceil_mode: spec.ceilMode ? 1 : 0, threads: threads)
    }
}
