// Runs one convolution through the public interface and compares it with its oracle.

import CKernels
import CReference

struct ConvolutionRun {
    var algorithm: ck_algorithm
    var epilogue = Epilogue(0)
    var threads: Int32 = 1
    var accuracy = CK_ACCURACY_DEFAULT
    /// Images of this run, below the plan's batch; 0: all.
    var batch: Int32 = 0
    /// Gives the scale to ck_conv_pack instead of scaled weights.
    var packsScale = false
    var placement = GuardedBuffer<Float>.Placement.end
}

enum ConvolutionOutcome {
    case unsupported
    case passed(ck_algorithm)
    case failed(String)
}

extension ConvolutionOracle {
    func describe(_ run: ConvolutionRun) -> ck_conv_desc {
        var desc = ck_conv_desc()
        desc.batch = shape.n
        (desc.in_channels, desc.in_height, desc.in_width) = (shape.c, shape.h, shape.w)
        desc.out_channels = shape.k
        (desc.kernel_height, desc.kernel_width) = (shape.kernel_h, shape.kernel_w)
        (desc.stride_height, desc.stride_width) = (shape.stride_h, shape.stride_w)
        (desc.pad_height, desc.pad_width) = (shape.pad_h, shape.pad_w)
        (desc.dilation_height, desc.dilation_width) = (shape.dilation_h, shape.dilation_w)
        desc.groups = shape.groups
        desc.threads = run.threads
        desc.epilogue = UInt32(run.epilogue.flags)
        desc.src_layout = layout
        desc.accuracy = run.accuracy
        desc.algorithm = run.algorithm
        return desc
    }

    /// The input as the plan's layout wants it; blocked buffers are aligned to a block and end exactly at the
    /// guard page, as plain ones do.
    func source(_ placement: GuardedBuffer<Float>.Placement) -> (UnsafeRawPointer, keepAlive: AnyObject) {
        switch layout {
        case CK_NHWC8:
            let buffer = GuardedBuffer(pixels, alignment: 1, placement: placement == .end ? .end : .start)
            return (UnsafeRawPointer(buffer.pointer), buffer)
        case CK_NCHW:
            let buffer = GuardedBuffer(input, alignment: 4, placement: placement)
            return (UnsafeRawPointer(buffer.pointer), buffer)
        default:
            let buffer = GuardedBuffer(
                blocked(input, n: shape.n, c: shape.c, plane: shape.inPlane), alignment: blockAlignment,
                placement: placement)
            return (UnsafeRawPointer(buffer.pointer), buffer)
        }
    }

    func check(_ run: ConvolutionRun) -> ConvolutionOutcome {
        var desc = describe(run)
        var made: OpaquePointer?
        let status = ck_conv_plan_create(&desc, &made)
        if status == CK_UNSUPPORTED { return .unsupported }
        guard status == CK_OK, let plan = made else {
            return .failed("plan: \(String(cString: ck_status_string(status)))")
        }
        defer { ck_conv_plan_destroy(plan) }
        let algorithm = ck_conv_plan_algorithm(plan)
        if run.algorithm != CK_AUTO && algorithm != run.algorithm {
            return .failed("asked for \(run.algorithm.title), got \(algorithm.title)")
        }

        let packed = GuardedBuffer<UInt8>(
            count: ck_conv_packed_size(plan), placement: run.placement == .end ? .end : .start)
        let workspaceSize = ck_conv_workspace_size(plan)
        let workspace = GuardedBuffer<UInt8>(
            count: workspaceSize, placement: run.placement == .end ? .end : .start)
        let pack =
            run.packsScale
            ? ck_conv_pack(plan, stored, scale, packed.pointer) : ck_conv_pack(plan, weights, nil, packed.pointer)
        guard pack == CK_OK else { return .failed("pack: \(String(cString: ck_status_string(pack)))") }

        let (src, keepAlive) = source(run.placement)
        let plane = outPlane(run.epilogue)
        let images = run.batch == 0 ? shape.n : run.batch
        let bias = GuardedBuffer(padded(self.bias), alignment: 4, placement: run.placement)
        let residual =
            run.epilogue.has(Int(CK_RESIDUAL))
            ? GuardedBuffer(
                blocked(self.residual, n: shape.n, c: shape.k, plane: shape.outPlane), alignment: blockAlignment,
                placement: run.placement) : nil
        let dst =
            run.epilogue.inPlace
            ? residual!
            : GuardedBuffer<Float>(
                count: cr_blocked_count(shape.n, shape.k, plane, ck_block()), alignment: blockAlignment,
                placement: run.placement)
        var args = ck_conv_args()
        args.batch = run.batch
        args.src = src
        args.packed = UnsafeRawPointer(packed.pointer)
        args.bias = run.epilogue.has(Int(CK_BIAS)) ? UnsafePointer(bias.pointer) : nil
        args.residual = residual.map { UnsafePointer($0.pointer) }
        args.dst = dst.pointer
        args.workspace = workspaceSize == 0 ? nil : UnsafeMutableRawPointer(workspace.pointer)
        let ran = pixelScale.withUnsafeBufferPointer { scale in
            pixelShift.withUnsafeBufferPointer { shift in
                args.src_scale = layout == CK_NHWC8 ? scale.baseAddress : nil
                args.src_shift = layout == CK_NHWC8 ? shift.baseAddress : nil
                return withExtendedLifetime(keepAlive) { ck_conv_run(plan, &args) }
            }
        }
        guard ran == CK_OK else { return .failed("run: \(String(cString: ck_status_string(ran)))") }
        guard dst.slackIsIntact, packed.slackIsIntact, workspace.slackIsIntact else {
            return .failed("wrote beside dst, packed or workspace")
        }
        if let fault = compare(dst, run, images: images, plane: plane, algorithm: algorithm) { return .failed(fault) }
        return .passed(algorithm)
    }

    private func compare(
        _ dst: GuardedBuffer<Float>, _ run: ConvolutionRun, images: Int32, plane: Int, algorithm: ck_algorithm
    ) -> String? {
        let written = cr_blocked_count(images, shape.k, plane, ck_block())
        if images < shape.n && !run.epilogue.inPlace && !dst.isPoisoned(from: written) {
            return "wrote beyond the images of this run"
        }
        if cr_surplus_nonzero(dst.pointer, images, shape.k, plane, ck_block()) != 0 {
            return "surplus channels are not zero"
        }
        let actual = unblocked(dst.pointer, n: images, c: shape.k, plane: plane)
        let winograd = algorithm.winogradError != nil
        let expected = expectation(run.epilogue, wholePlane: winograd)
        let difference = cr_compare(
            actual, expected.values, actual.count, expected.scale, factor(algorithm, run.epilogue), 0)
        return difference.worst > 1 ? difference.text : nil
    }
}
