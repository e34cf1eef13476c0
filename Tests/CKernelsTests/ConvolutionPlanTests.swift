// What a plan refuses, what it says about itself, and what running it checks.

import CKernels
import CReference
import XCTest

final class ConvolutionPlanTests: XCTestCase {
    private func usual() -> ck_conv_desc {
        var desc = ck_conv_desc()
        desc.batch = 2
        (desc.in_channels, desc.in_height, desc.in_width, desc.out_channels) = (16, 8, 9, 32)
        (desc.kernel_height, desc.kernel_width, desc.pad_height, desc.pad_width) = (3, 3, 1, 1)
        desc.threads = 1
        return desc
    }

    private func status(_ change: (inout ck_conv_desc) -> Void) -> ck_status {
        var desc = usual()
        change(&desc)
        var plan: OpaquePointer?
        let status = ck_conv_plan_create(&desc, &plan)
        if status != CK_OK { XCTAssertNil(plan) }
        ck_conv_plan_destroy(plan)
        return status
    }

    private func plan(_ change: (inout ck_conv_desc) -> Void = { _ in }) throws -> OpaquePointer {
        var desc = usual()
        change(&desc)
        var plan: OpaquePointer?
        XCTAssertEqual(ck_conv_plan_create(&desc, &plan), CK_OK)
        return try XCTUnwrap(plan)
    }

    func testZeroMeansTheUsual() {
        XCTAssertEqual(status { _ in }, CK_OK)
        XCTAssertEqual(status { ($0.stride_height, $0.stride_width) = (1, 1) }, CK_OK)
        XCTAssertEqual(status { ($0.dilation_height, $0.dilation_width, $0.groups) = (1, 1, 1) }, CK_OK)
        XCTAssertEqual(status { $0.threads = 0 }, CK_OK)
    }

    func testEachBadFieldIsRefused() {
        let fields: [(String, WritableKeyPath<ck_conv_desc, Int32>, [Int32])] = [
            ("batch", \.batch, [0, -1, .min]), ("in_channels", \.in_channels, [0, -1, .min]),
            ("in_height", \.in_height, [0, -5, .min]), ("in_width", \.in_width, [0, -5, .min]),
            ("out_channels", \.out_channels, [0, -1, .min]), ("kernel_height", \.kernel_height, [0, -3, 11, .max]),
            ("kernel_width", \.kernel_width, [0, -3, 12, .max]), ("stride_height", \.stride_height, [-1, .min]),
            ("stride_width", \.stride_width, [-1, .min]), ("pad_height", \.pad_height, [-1, .min]),
            ("pad_width", \.pad_width, [-1, .min]), ("dilation_height", \.dilation_height, [-1, 5, .max]),
            ("dilation_width", \.dilation_width, [-1, 6, .max]), ("groups", \.groups, [-1, 3, 5, 32, .min]),
            ("threads", \.threads, [-1, .min]),
        ]
        for (name, path, values) in fields {
            for value in values {
                XCTAssertEqual(status { $0[keyPath: path] = value }, CK_INVALID_ARGUMENT, "\(name) = \(value)")
            }
        }
        XCTAssertEqual(status { ($0.in_channels, $0.groups) = (18, 4) }, CK_INVALID_ARGUMENT, "C not in groups")
        XCTAssertEqual(status { ($0.out_channels, $0.groups) = (30, 4) }, CK_INVALID_ARGUMENT, "K not in groups")
        XCTAssertEqual(status { $0.epilogue = 32 }, CK_INVALID_ARGUMENT, "unknown epilogue")
        XCTAssertEqual(status { $0.epilogue = 1 << 31 }, CK_INVALID_ARGUMENT, "unknown epilogue")
        XCTAssertEqual(status { $0.src_layout = ck_layout(rawValue: 3) }, CK_INVALID_ARGUMENT, "unknown layout")
        XCTAssertEqual(status { $0.pass = ck_pass(rawValue: 3) }, CK_INVALID_ARGUMENT, "unknown pass")
        XCTAssertEqual(status { $0.accuracy = ck_accuracy(rawValue: 3) }, CK_INVALID_ARGUMENT, "unknown accuracy")
        XCTAssertEqual(status { $0.algorithm = CK_ALGORITHM_COUNT }, CK_INVALID_ARGUMENT, "unknown algorithm")
        var desc = usual()
        var made: OpaquePointer?
        XCTAssertEqual(ck_conv_plan_create(nil, &made), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_conv_plan_create(&desc, nil), CK_INVALID_ARGUMENT)
    }

    /// Sizes that fit their fields but whose buffers or products do not fit in memory's address range.
    func testSizesThatOverflowAreRefused() {
        let big = Int32.max
        for change: (inout ck_conv_desc) -> Void in [
            { ($0.batch, $0.in_height, $0.in_width) = (big, big, big) },
            { ($0.in_channels, $0.in_height, $0.in_width) = (big, big, big) },
            { ($0.in_channels, $0.out_channels, $0.kernel_height, $0.kernel_width) = (big, big, 3, 3) },
            { ($0.pad_height, $0.pad_width) = (big, big) },
            { ($0.in_height, $0.in_width, $0.pad_height, $0.pad_width) = (big, big, big, big) },
            { ($0.kernel_height, $0.dilation_height, $0.in_height) = (big, big, big) },
        ] {
            XCTAssertTrue([CK_INVALID_ARGUMENT, CK_OUT_OF_MEMORY].contains(status(change)))
        }
    }

    func testForcedAlgorithmThatDoesNotApplyIsUnsupported() {
        XCTAssertEqual(status { $0.algorithm = CK_POINTWISE }, CK_UNSUPPORTED, "3x3 pointwise")
        XCTAssertEqual(status { ($0.algorithm, $0.stride_width) = (CK_WINOGRAD_4, 2) }, CK_UNSUPPORTED)
        XCTAssertEqual(status { ($0.algorithm, $0.dilation_width) = (CK_WINOGRAD_2, 2) }, CK_UNSUPPORTED)
        XCTAssertEqual(status { ($0.algorithm, $0.kernel_width) = (CK_WINOGRAD_2, 5) }, CK_UNSUPPORTED)
        XCTAssertEqual(status { ($0.algorithm, $0.groups) = (CK_WINOGRAD_4, 16) }, CK_UNSUPPORTED)
        XCTAssertEqual(status { $0.algorithm = CK_STEM }, CK_UNSUPPORTED, "16 channels are no stem")
    }

    func testDescribeNamesAlgorithmAndISAAndIsCutToSize() throws {
        try forEachISA { isa in
            let plan = try plan { $0.algorithm = CK_GEMM }
            defer { ck_conv_plan_destroy(plan) }
            let text = GuardedBuffer<CChar>(count: 256, alignment: 1)
            let length = ck_conv_plan_describe(plan, text.pointer, text.count)
            let whole = String(cString: text.pointer)
            XCTAssertEqual(whole.utf8.count, length)
            XCTAssertTrue(whole.contains(CK_GEMM.title), whole)
            XCTAssertTrue(whole.contains(isa.title), whole)
            XCTAssertTrue(whole.contains("1 thread"), whole)
            let short = GuardedBuffer<CChar>(count: 5, alignment: 1)
            XCTAssertEqual(ck_conv_plan_describe(plan, short.pointer, 5), length)
            XCTAssertEqual(String(cString: short.pointer), String(whole.prefix(4)))
            XCTAssertTrue(short.slackIsIntact)
            XCTAssertEqual(ck_conv_plan_describe(plan, nil, 0), length)
        }
    }

    func testAlgorithmNamesAreDistinct() {
        let names = (0..<CK_ALGORITHM_COUNT.rawValue).map { ck_algorithm(rawValue: $0).title }
        XCTAssertEqual(Set(names).count, names.count, "\(names)")
        XCTAssertFalse(CK_ALGORITHM_COUNT.title.isEmpty)
    }

    func testRunChecksItsArguments() throws {
        let plan = try plan { ($0.epilogue, $0.algorithm) = (UInt32(CK_BIAS | CK_RESIDUAL), CK_GEMM) }
        defer { ck_conv_plan_destroy(plan) }
        let floats = ck_blocked_count(2, 32, 8, 9)
        let packed = GuardedBuffer<UInt8>(count: ck_conv_packed_size(plan))
        let workspace = GuardedBuffer<UInt8>(count: ck_conv_workspace_size(plan))
        let weights = uniform(32 * 16 * 9, seed: 1)
        XCTAssertEqual(ck_conv_pack(plan, weights, nil, packed.pointer), CK_OK)
        XCTAssertEqual(ck_conv_pack(plan, nil, nil, packed.pointer), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_conv_pack(plan, weights, nil, nil), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_conv_pack(nil, weights, nil, packed.pointer), CK_INVALID_ARGUMENT)

        let src = GuardedBuffer<Float>(count: ck_blocked_count(2, 16, 8, 9))
        let residual = GuardedBuffer<Float>(count: floats)
        let dst = GuardedBuffer<Float>(count: floats)
        let bias = GuardedBuffer<Float>(count: 32)
        for buffer in [src, residual, bias] { buffer.pointer.update(repeating: 0, count: buffer.count) }
        func run(_ change: (inout ck_conv_args) -> Void) -> ck_status {
            var args = ck_conv_args()
            args.src = UnsafeRawPointer(src.pointer)
            args.packed = UnsafeRawPointer(packed.pointer)
            args.bias = UnsafePointer(bias.pointer)
            args.residual = UnsafePointer(residual.pointer)
            args.dst = dst.pointer
            args.workspace = UnsafeMutableRawPointer(workspace.pointer)
            change(&args)
            return ck_conv_run(plan, &args)
        }
        XCTAssertEqual(run { $0.batch = 3 }, CK_INVALID_ARGUMENT)
        XCTAssertEqual(run { $0.batch = -1 }, CK_INVALID_ARGUMENT)
        XCTAssertEqual(run { $0.src = nil }, CK_INVALID_ARGUMENT)
        XCTAssertEqual(run { $0.packed = nil }, CK_INVALID_ARGUMENT)
        XCTAssertEqual(run { $0.bias = nil }, CK_INVALID_ARGUMENT)
        XCTAssertEqual(run { $0.residual = nil }, CK_INVALID_ARGUMENT)
        XCTAssertEqual(run { $0.dst = nil }, CK_INVALID_ARGUMENT)
        if workspace.count > 0 { XCTAssertEqual(run { $0.workspace = nil }, CK_INVALID_ARGUMENT) }
        XCTAssertTrue(dst.isPoisoned(from: 0), "a refused run must not write")
        XCTAssertEqual(run { _ in }, CK_OK)
        XCTAssertEqual(dst.array, [Float](repeating: 0, count: floats))
        var args = ck_conv_args()
        XCTAssertEqual(ck_conv_run(nil, &args), CK_INVALID_ARGUMENT)
        XCTAssertEqual(ck_conv_run(plan, nil), CK_INVALID_ARGUMENT)
    }

    func testNullPlansAreHarmless() {
        XCTAssertEqual(ck_conv_packed_size(nil), 0)
        XCTAssertEqual(ck_conv_workspace_size(nil), 0)
        ck_conv_plan_destroy(nil)
    }

    /// NaN and infinity come through as they do in PyTorch: where a window sees them, and ReLU keeps NaN.
    func testNotANumberSpreadsOnlyWhereTheKernelReaches() throws {
        let shape = cr_conv.square(16, 16, 9, 9, kernel: 3, pad: 1)
        try forEachISA { isa in
            for algorithm in [CK_GEMM, CK_DIRECT] {
                var desc = ConvolutionOracle(shape, .uniform).describe(
                    ConvolutionRun(algorithm: algorithm, epilogue: Epilogue(Int(CK_RELU)), threads: 1))
                var made: OpaquePointer?
                XCTAssertEqual(ck_conv_plan_create(&desc, &made), CK_OK)
                let plan = try XCTUnwrap(made)
                defer { ck_conv_plan_destroy(plan) }
                var input = [Float](repeating: 1, count: 16 * 81)
                input[3 * 81 + 4 * 9 + 4] = .nan
                let src = GuardedBuffer(blocked(input, n: 1, c: 16, plane: 81))
                let packed = GuardedBuffer<UInt8>(count: ck_conv_packed_size(plan))
                let workspace = GuardedBuffer<UInt8>(count: ck_conv_workspace_size(plan))
                let dst = GuardedBuffer<Float>(count: ck_blocked_count(1, 16, 9, 9))
                XCTAssertEqual(
                    ck_conv_pack(plan, [Float](repeating: 1, count: 16 * 16 * 9), nil, packed.pointer), CK_OK)
                var args = ck_conv_args()
                args.src = UnsafeRawPointer(src.pointer)
                args.packed = UnsafeRawPointer(packed.pointer)
                args.dst = dst.pointer
                args.workspace = workspace.count > 0 ? UnsafeMutableRawPointer(workspace.pointer) : nil
                XCTAssertEqual(ck_conv_run(plan, &args), CK_OK)
                let y = unblocked(dst.pointer, n: 1, c: 16, plane: 81)
                for (i, value) in y.enumerated() {
                    let (row, column) = (i % 81 / 9, i % 9)
                    let reached = (3...5).contains(row) && (3...5).contains(column)
                    XCTAssertEqual(value.isNaN, reached, "\(isa.title) \(algorithm.title) at \(row),\(column)")
                }
            }
        }
    }
}
