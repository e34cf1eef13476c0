// One convolution's gradients: data, what the reference says, and how far a float result may be away.
//
// The bound is that of the forward convolution (see ConvolutionOracle.swift): u sqrt(n + 4) times cr_error_scale with n
// the terms of one sum, N OH OW for a weight and K/groups KH KW for a pixel of dx. Winograd mixes a tile's values, so there
// the scale is the largest of the plane (dx) or of the filter (dw), and its transforms cost the same accuracy as in the
// forward direction. Small integers are exact everywhere but in F(4).

import CKernels
import CReference

struct GradientRun {
    var pass: ck_pass
    var algorithm = CK_AUTO
    var threads: Int32 = 1
    var batch: Int32 = 0
    /// dx += residual, in place or not.
    var residual = false, inPlace = false
    /// Weights: a second run is added to the first, and half of it taken.
    var twice = false
    var accuracy = CK_ACCURACY_DEFAULT
    var placement = GuardedBuffer<Float>.Placement.end
}

final class GradientOracle {
    let shape: cr_conv
    let layout: ck_layout
    let values: ConvolutionOracle.Values
    /// The forward oracle's input, pixels and weights, in whatever layout.
    let forward: ConvolutionOracle
    let dy: [Float], residual: [Float]
    private var known: [String: (values: [Double], scale: [Double])] = [:]

    init(
        _ shape: cr_conv, _ values: ConvolutionOracle.Values, layout: ck_layout = CK_NCHWC, seed: UInt64 = 1
    ) {
        self.shape = shape
        self.layout = layout
        self.values = values
        forward = ConvolutionOracle(shape, values, layout: layout, seed: seed)
        let outputs = Int(shape.n) * Int(shape.k) * shape.outPlane
        let inputs = Int(shape.n) * Int(shape.c) * shape.inPlane
        dy = values == .integers ? integers(outputs, seed: seed + 91, -3...3) : uniform(outputs, seed: seed + 91)
        residual = values == .integers ? integers(inputs, seed: seed + 92, -8...8) : uniform(inputs, seed: seed + 92)
    }

    private func images(_ run: GradientRun) -> Int32 { run.batch == 0 ? shape.n : run.batch }

    private func expectation(_ run: GradientRun, winograd: Bool) -> (values: [Double], scale: [Double]) {
        let key = "\(run.pass.rawValue) \(images(run)) \(run.residual) \(winograd)"
        if let found = known[key] { return found }
        var reference = shape
        reference.n = images(run)
        let weights = run.pass == CK_WEIGHT_GRADIENT
        let inputs = Int(reference.n) * Int(shape.c) * shape.inPlane
        var y = [Double](repeating: 0, count: weights ? shape.weightCount : inputs)
        var scale = y
        // Planes: filters of one output and input channel, or channels of one image.
        let planes = weights ? shape.k * (shape.c / shape.groups) : reference.n * shape.c
        let plane = y.count / Int(planes)
        if weights {
            cr_conv_weight_gradient(&reference, forward.input, dy, &y, &scale)
        } else {
            cr_conv_data_gradient(&reference, dy, forward.weights, &y, &scale)
        }
        let added = run.residual ? residual : nil
        cr_epilogue(&y, 1, planes, plane, nil, added, 0)
        cr_error_scale(&scale, y, 1, planes, plane, nil, added)
        if winograd {
            var worst = [Double](repeating: 0, count: Int(planes))
            cr_plane_max(scale, planes, plane, &worst)
            cr_repeat(worst, planes, plane, &scale)
        }
        known[key] = (y, scale)
        return (y, scale)
    }

    private func factor(_ run: GradientRun, _ algorithm: ck_algorithm) -> Double {
        if values == .integers && algorithm.isExactOnIntegers { return 0 }
        let taps = Int(shape.kernel_h * shape.kernel_w)
        let terms =
            run.pass == CK_WEIGHT_GRADIENT
            ? Int(images(run)) * shape.outPlane : Int(shape.k / shape.groups) * taps
        let multiple = algorithm.winogradError ?? 1
        return roundoff * Double(terms + 4).squareRoot() * multiple
    }

    private func description(_ run: GradientRun) -> ck_conv_desc {
        var desc = forward.describe(ConvolutionRun(algorithm: run.algorithm, threads: run.threads))
        desc.pass = run.pass
        desc.accuracy = run.accuracy
        desc.epilogue = run.residual ? UInt32(CK_RESIDUAL) : 0
        return desc
    }

    private struct Fault: Error { let text: String }

    /// The gradient in plain layout and the algorithm that made it; nil if no algorithm takes it.
    private func compute(_ run: GradientRun) throws -> (values: [Float], algorithm: ck_algorithm)? {
        var desc = description(run)
        var made: OpaquePointer?
        let status = ck_conv_plan_create(&desc, &made)
        if status == CK_UNSUPPORTED { return nil }
        guard status == CK_OK, let plan = made else {
            throw Fault(text: "plan: \(String(cString: ck_status_string(status)))")
        }
        defer { ck_conv_plan_destroy(plan) }
        let values = try run.pass == CK_WEIGHT_GRADIENT ? runWeights(run, plan) : runData(run, plan)
        return (values, ck_conv_plan_algorithm(plan))
    }

    /// The gradient alone, for comparing runs with each other.
    func result(_ run: GradientRun) -> [Float]? { (try? compute(run))?.values }

    func check(_ run: GradientRun) -> ConvolutionOutcome {
        do {
            guard let (actual, algorithm) = try compute(run) else { return .unsupported }
            return compare(actual, run, algorithm)
        } catch {
            return .failed((error as? Fault)?.text ?? "\(error)")
        }
    }

    private func compare(_ actual: [Float], _ run: GradientRun, _ algorithm: ck_algorithm) -> ConvolutionOutcome {
        let winograd = algorithm.winogradError != nil
        let expected = expectation(run, winograd: winograd)
        let difference = cr_compare(
            actual, expected.values, actual.count, expected.scale, factor(run, algorithm), 0)
        return difference.worst > 1 ? .failed(difference.text) : .passed(algorithm)
    }

    private func runData(_ run: GradientRun, _ plan: OpaquePointer) throws -> [Float] {
        let bytePlacement = run.placement == .end ? GuardedBuffer<UInt8>.Placement.end : .start
        let packed = GuardedBuffer<UInt8>(count: ck_conv_packed_size(plan), placement: bytePlacement)
        let workspace = GuardedBuffer<UInt8>(count: ck_conv_workspace_size(plan), placement: bytePlacement)
        guard ck_conv_pack(plan, forward.weights, nil, packed.pointer) == CK_OK else { throw Fault(text: "pack") }
        let src = GuardedBuffer(
            blocked(dy, n: shape.n, c: shape.k, plane: shape.outPlane), placement: run.placement)
        let added = GuardedBuffer(
            blocked(residual, n: shape.n, c: shape.c, plane: shape.inPlane), placement: run.placement)
        let dst =
            run.inPlace ? added : GuardedBuffer<Float>(count: added.count, placement: run.placement)
        var args = ck_conv_args()
        args.batch = run.batch
        args.src = UnsafeRawPointer(src.pointer)
        args.packed = UnsafeRawPointer(packed.pointer)
        args.residual = run.residual ? UnsafePointer(added.pointer) : nil
        args.dst = dst.pointer
        args.workspace = workspace.count == 0 ? nil : UnsafeMutableRawPointer(workspace.pointer)
        let ran = ck_conv_run(plan, &args)
        guard ran == CK_OK else { throw Fault(text: "run: \(String(cString: ck_status_string(ran)))") }
        guard dst.slackIsIntact, packed.slackIsIntact, workspace.slackIsIntact else {
            throw Fault(text: "wrote beside dst, packed or workspace")
        }
        let images = images(run)
        let written = cr_blocked_count(images, shape.c, shape.inPlane, ck_block())
        guard images == shape.n || run.inPlace || dst.isPoisoned(from: written) else {
            throw Fault(text: "wrote beyond the images of this run")
        }
        guard cr_surplus_nonzero(dst.pointer, images, shape.c, shape.inPlane, ck_block()) == 0 else {
            throw Fault(text: "surplus channels are not zero")
        }
        return unblocked(dst.pointer, n: images, c: shape.c, plane: shape.inPlane)
    }

    private func runWeights(_ run: GradientRun, _ plan: OpaquePointer) throws -> [Float] {
        guard ck_conv_packed_size(plan) == 0 else { throw Fault(text: "packs") }
        let workspace = GuardedBuffer<UInt8>(
            count: ck_conv_workspace_size(plan), placement: run.placement == .end ? .end : .start)
        let (src, keepAlive) = forward.source(run.placement)
        let grad = GuardedBuffer(
            blocked(dy, n: shape.n, c: shape.k, plane: shape.outPlane), placement: run.placement)
        let dst = GuardedBuffer<Float>(count: shape.weightCount, alignment: 4, placement: run.placement)
        var args = ck_conv_args()
        args.batch = run.batch
        args.src = src
        args.grad = UnsafePointer(grad.pointer)
        args.dst = dst.pointer
        args.workspace = workspace.count == 0 ? nil : UnsafeMutableRawPointer(workspace.pointer)
        let ran = forward.pixelScale.withUnsafeBufferPointer { scale in
            forward.pixelShift.withUnsafeBufferPointer { shift in
                args.src_scale = layout == CK_NHWC8 ? scale.baseAddress : nil
                args.src_shift = layout == CK_NHWC8 ? shift.baseAddress : nil
                return withExtendedLifetime(keepAlive) {
                    let first = ck_conv_run(plan, &args)
                    guard run.twice, first == CK_OK else { return first }
                    args.accumulate = 1
                    return ck_conv_run(plan, &args)
                }
            }
        }
        guard ran == CK_OK else { throw Fault(text: "run: \(String(cString: ck_status_string(ran)))") }
        guard dst.slackIsIntact, workspace.slackIsIntact else { throw Fault(text: "wrote beside dst or workspace") }
        return run.twice ? dst.array.map { $0 / 2 } : dst.array
    }
}
