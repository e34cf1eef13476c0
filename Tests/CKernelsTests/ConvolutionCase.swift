// The shapes that every convolution is tested with, by what each group is after.

import CReference

extension cr_conv {
    /// A shape from what differs from the usual; `k` 0 means as many output as input channels.
    init(
        n: Int32 = 1, c: Int32, k: Int32 = 0, h: Int32, w: Int32, kernel: (Int32, Int32),
        stride: (Int32, Int32) = (1, 1), pad: (Int32, Int32) = (0, 0), dilation: (Int32, Int32) = (1, 1),
        groups: Int32 = 1
    ) {
        self.init(
            n: n, c: c, h: h, w: w, k: k == 0 ? c : k, kernel_h: kernel.0, kernel_w: kernel.1, stride_h: stride.0,
            stride_w: stride.1, pad_h: pad.0, pad_w: pad.1, dilation_h: dilation.0, dilation_w: dilation.1,
            groups: groups)
    }

    /// A square one.
    static func square(
        n: Int32 = 1, _ c: Int32, _ k: Int32, _ h: Int32, _ w: Int32, kernel: Int32, stride: Int32 = 1, pad: Int32 = 0,
        dilation: Int32 = 1, groups: Int32 = 1
    ) -> cr_conv {
        cr_conv(
            n: n, c: c, k: k, h: h, w: w, kernel: (kernel, kernel), stride: (stride, stride), pad: (pad, pad),
            dilation: (dilation, dilation), groups: groups)
    }

    var outH: Int32 { withUnsafePointer(to: self) { cr_conv_out_h($0) } }
    var outW: Int32 { withUnsafePointer(to: self) { cr_conv_out_w($0) } }
    var inPlane: Int { Int(h) * Int(w) }
    var outPlane: Int { Int(outH) * Int(outW) }
    var weightCount: Int { Int(k) * Int(c / groups) * Int(kernel_h) * Int(kernel_w) }
    /// Terms of one output's sum.
    var reduction: Int { Int(c / groups) * Int(kernel_h) * Int(kernel_w) }

    var text: String {
        "\(n)x\(c)x\(h)x\(w) -> \(k), \(kernel_h)x\(kernel_w)/\(stride_h),\(stride_w) pad \(pad_h),\(pad_w)"
            + " dilation \(dilation_h),\(dilation_w) groups \(groups)"
    }
}

enum ConvolutionCases {
    /// Channels around the edges of every block (4, 8, 16) and of two and four blocks.
    static let edges: [Int32] = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 64]

    static let channels: [cr_conv] = {
        var cases: [cr_conv] = [.square(80, 96, 5, 7, kernel: 3, pad: 1), .square(96, 112, 5, 7, kernel: 1)]
        for edge in edges {
            cases.append(.square(edge, 32, 6, 7, kernel: 3, pad: 1))
            cases.append(.square(17, edge, 6, 7, kernel: 3, pad: 1))
            cases.append(.square(edge, edge, 5, 9, kernel: 3, stride: 2, pad: 1))
            cases.append(.square(edge, edge, 5, 7, kernel: 1))
            cases.append(.square(33, edge, 6, 5, kernel: 1, stride: 2))
            cases.append(.square(edge, 19, 7, 6, kernel: 1, stride: 2))
        }
        return cases
    }()

    /// Every height from 1 to 17 against another width: partial register tiles and partial Winograd tiles.
    static let sizes: [cr_conv] = {
        var cases: [cr_conv] = [
            .square(16, 32, 5, 30, kernel: 3, pad: 1), .square(16, 32, 30, 5, kernel: 3, pad: 1),
            .square(16, 32, 7, 11, kernel: 3, pad: 0), .square(16, 32, 7, 11, kernel: 3, pad: 2),
            .square(32, 64, 1, 300, kernel: 1), .square(32, 64, 300, 1, kernel: 1),
        ]
        for h: Int32 in 1...17 {
            let w: Int32 = h * 5 % 17 + 1
            cases.append(.square(16, 32, h, w, kernel: 3, pad: 1))
            cases.append(.square(16, 33, w, h, kernel: 3, stride: 2, pad: 1))
            cases.append(.square(16, 32, h, w, kernel: 1))
            cases.append(.square(17, 16, w, h, kernel: 1, stride: 2))
        }
        return cases
    }()

    /// Kernels 1...13 x strides x dilations, the padding going round from 0 to 6, and what is not square.
    static let kernels: [cr_conv] = {
        var cases: [cr_conv] = []
        var pad: Int32 = 0
        for kernel: Int32 in [1, 2, 3, 4, 5, 7, 13] {
            for stride: Int32 in 1...3 {
                for dilation: Int32 in 1...2 {
                    let span = dilation * (kernel - 1) + 1
                    cases.append(
                        .square(
                            16, 20, span + 5, span + 4, kernel: kernel, stride: stride, pad: pad, dilation: dilation))
                    cases.append(
                        .square(
                            5, 16, max(span - 2 * pad, 1), span + 3, kernel: kernel, stride: stride, pad: pad,
                            dilation: dilation))
                    pad = (pad + 1) % 7
                }
            }
        }
        cases += [
            cr_conv(c: 16, k: 32, h: 9, w: 8, kernel: (1, 7), pad: (0, 3)),
            cr_conv(c: 16, k: 32, h: 9, w: 8, kernel: (7, 1), pad: (3, 0)),
            cr_conv(c: 17, k: 16, h: 9, w: 10, kernel: (3, 5), stride: (1, 2), pad: (1, 2)),
            cr_conv(c: 16, k: 17, h: 11, w: 10, kernel: (3, 3), stride: (2, 1), pad: (0, 1), dilation: (2, 1)),
            cr_conv(c: 16, k: 16, h: 6, w: 7, kernel: (3, 3), stride: (1, 1), pad: (1, 0)),
            cr_conv(c: 16, k: 16, h: 7, w: 9, kernel: (1, 1), stride: (1, 2)),
            cr_conv(c: 16, k: 16, h: 7, w: 9, kernel: (1, 1), stride: (2, 2), pad: (1, 1)),
            .square(16, 16, 7, 9, kernel: 1, stride: 3),
        ]
        return cases
    }()

    /// Groups of whole blocks, of parts of blocks, and one channel a group (depthwise), with a multiplier too.
    static let groups: [cr_conv] = [
        .square(32, 64, 6, 7, kernel: 3, pad: 1, groups: 2), .square(64, 64, 6, 7, kernel: 3, pad: 1, groups: 4),
        .square(64, 32, 6, 7, kernel: 3, stride: 2, pad: 1, groups: 2), .square(64, 64, 5, 7, kernel: 1, groups: 4),
        .square(128, 128, 6, 7, kernel: 3, pad: 1, groups: 32),
        .square(20, 20, 5, 30, kernel: 3, pad: 1, groups: 10),
        .square(n: 2, 24, 24, 7, 15, kernel: 3, stride: 2, pad: 1, groups: 3),
        .square(36, 36, 9, 8, kernel: 3, pad: 2, dilation: 2, groups: 9),
        .square(256, 256, 5, 6, kernel: 3, stride: 2, pad: 1, groups: 32),
        .square(6, 9, 6, 7, kernel: 3, pad: 1, groups: 3), .square(34, 6, 6, 7, kernel: 3, pad: 1, groups: 2),
        .square(24, 48, 6, 7, kernel: 3, pad: 1, groups: 2), .square(16, 16, 6, 7, kernel: 3, pad: 1, groups: 16),
        .square(33, 33, 6, 7, kernel: 3, stride: 2, pad: 1, groups: 33),
        .square(16, 32, 6, 7, kernel: 3, pad: 1, groups: 16), .square(32, 32, 9, 8, kernel: 5, pad: 2, groups: 32),
        .square(32, 32, 5, 5, kernel: 1, groups: 32), .square(n: 2, 64, 128, 5, 6, kernel: 1, stride: 2, groups: 2),
    ]

    /// Batches below, at and above the number of threads, and the batch on which tiles may span images.
    static let batches: [cr_conv] = [
        .square(n: 2, 16, 32, 7, 7, kernel: 3, pad: 1), .square(n: 3, 32, 48, 7, 7, kernel: 3, pad: 1),
        .square(n: 5, 17, 33, 6, 5, kernel: 3, pad: 1), .square(n: 5, 16, 32, 7, 5, kernel: 3, stride: 2, pad: 1),
        .square(n: 3, 32, 64, 7, 7, kernel: 1), .square(n: 5, 33, 17, 5, 7, kernel: 1, stride: 2),
        .square(n: 8, 64, 32, 3, 3, kernel: 1), .square(n: 7, 16, 16, 4, 4, kernel: 3, pad: 1),
        .square(n: 16, 64, 64, 7, 7, kernel: 3, pad: 1), .square(n: 2, 3, 16, 9, 9, kernel: 5, stride: 2, pad: 2),
    ]

    /// Pictures so large that a thread handles them in several pieces, whatever piece the caches suggest.
    static let large: [cr_conv] = [
        .square(64, 32, 40, 56, kernel: 3, pad: 1), .square(256, 16, 20, 57, kernel: 3, stride: 2, pad: 1),
        .square(256, 32, 30, 14, kernel: 3, pad: 1), .square(128, 48, 28, 28, kernel: 3, pad: 1),
        .square(1024, 32, 14, 14, kernel: 1), .square(n: 2, 512, 32, 14, 14, kernel: 1),
        .square(256, 32, 56, 56, kernel: 1, stride: 2), .square(64, 64, 40, 40, kernel: 5, pad: 2, groups: 2),
    ]
    static let largeStems: [cr_conv] = [
        .square(3, 64, 100, 224, kernel: 7, stride: 2, pad: 3), .square(n: 2, 8, 32, 60, 64, kernel: 3, pad: 1),
        .square(3, 16, 227, 227, kernel: 11, stride: 4, pad: 2),
    ]

    /// First layers: few input channels.
    static let stems: [cr_conv] = [
        .square(3, 64, 32, 32, kernel: 7, stride: 2, pad: 3),
        .square(n: 3, 3, 64, 15, 17, kernel: 7, stride: 2, pad: 3),
        .square(n: 2, 3, 64, 33, 47, kernel: 7, stride: 2, pad: 3),
        .square(1, 64, 12, 13, kernel: 7, stride: 2, pad: 3),
        .square(4, 64, 11, 10, kernel: 7, stride: 2, pad: 3), .square(8, 33, 9, 14, kernel: 7, stride: 2, pad: 3),
        .square(3, 17, 21, 19, kernel: 7, stride: 2, pad: 3), .square(3, 16, 32, 32, kernel: 3, pad: 1),
        .square(2, 15, 9, 31, kernel: 3, stride: 2, pad: 1), .square(3, 64, 57, 60, kernel: 11, stride: 4, pad: 2),
        .square(3, 96, 40, 41, kernel: 13, stride: 3), .square(5, 31, 7, 7, kernel: 5, pad: 2),
        .square(3, 64, 8, 224, kernel: 7, stride: 2, pad: 3), .square(3, 64, 1, 1, kernel: 7, stride: 2, pad: 3),
        .square(n: 4, 3, 64, 2, 3, kernel: 7, stride: 2, pad: 3), .square(3, 16, 9, 9, kernel: 4, stride: 4),
        cr_conv(c: 3, k: 32, h: 12, w: 11, kernel: (3, 5), stride: (2, 1), pad: (0, 2)),
        cr_conv(c: 3, k: 32, h: 14, w: 13, kernel: (3, 3), stride: (1, 1), pad: (2, 2), dilation: (2, 2)),
    ]

    /// Every distinct convolution of ResNet-18/34/50/101/152 behind the stem, with its real channels and width; heights
    /// are cut where the reference would take long.
    static let resNet: [cr_conv] = basicBlocks + bottlenecks + severalImages

    private static let basicBlocks: [cr_conv] = [
        .square(64, 64, 9, 56, kernel: 3, pad: 1), .square(64, 128, 8, 56, kernel: 3, stride: 2, pad: 1),
        .square(64, 128, 8, 56, kernel: 1, stride: 2), .square(128, 128, 7, 28, kernel: 3, pad: 1),
        .square(128, 256, 8, 28, kernel: 3, stride: 2, pad: 1), .square(128, 256, 8, 28, kernel: 1, stride: 2),
        .square(256, 256, 7, 14, kernel: 3, pad: 1), .square(256, 512, 8, 14, kernel: 3, stride: 2, pad: 1),
        .square(256, 512, 14, 14, kernel: 1, stride: 2), .square(512, 512, 7, 7, kernel: 3, pad: 1),
    ]

    private static let bottlenecks: [cr_conv] = [
        .square(64, 64, 8, 56, kernel: 1), .square(64, 256, 8, 56, kernel: 1), .square(256, 64, 8, 56, kernel: 1),
        .square(256, 128, 8, 56, kernel: 1), .square(128, 128, 8, 56, kernel: 3, stride: 2, pad: 1),
        .square(128, 512, 7, 28, kernel: 1), .square(256, 512, 8, 56, kernel: 1, stride: 2),
        .square(512, 128, 7, 28, kernel: 1), .square(512, 256, 7, 28, kernel: 1),
        .square(256, 256, 8, 28, kernel: 3, stride: 2, pad: 1), .square(256, 1024, 7, 14, kernel: 1),
        .square(512, 1024, 8, 28, kernel: 1, stride: 2), .square(1024, 256, 7, 14, kernel: 1),
        .square(1024, 512, 7, 14, kernel: 1), .square(512, 512, 6, 14, kernel: 3, stride: 2, pad: 1),
        .square(512, 2048, 4, 7, kernel: 1), .square(1024, 2048, 6, 14, kernel: 1, stride: 2),
        .square(2048, 512, 4, 7, kernel: 1),
    ]

    /// Where tiles or threads are split otherwise.
    private static let severalImages: [cr_conv] = [
        .square(n: 3, 64, 64, 4, 56, kernel: 3, pad: 1), .square(n: 3, 512, 512, 2, 7, kernel: 3, pad: 1),
        .square(n: 3, 256, 256, 3, 14, kernel: 3, pad: 1), .square(n: 3, 512, 256, 2, 7, kernel: 1),
    ]

    /// Shapes that nobody thought of: seeded, small, of every kind at once. Half of them are square in all but the picture.
    static func random(_ count: Int, seed: UInt64) -> [cr_conv] {
        var generator = SeededGenerator(seed: seed)
        func pick(_ range: ClosedRange<Int32>) -> Int32 { Int32.random(in: range, using: &generator) }
        func pair(_ range: ClosedRange<Int32>, _ square: Bool) -> (Int32, Int32) {
            let first = pick(range)
            return (first, square ? first : pick(range))
        }
        return (0..<count).map { _ in
            let square = pick(0...1) == 0
            let groups = pick(0...3) == 0 ? pick(1...8) : 1
            let kernel = pair(1...5, square)
            let (stride, pad, dilation) = (pair(1...3, square), pair(0...4, square), pair(1...2, square))
            let least = (
                max(1, dilation.0 * (kernel.0 - 1) + 1 - 2 * pad.0), max(1, dilation.1 * (kernel.1 - 1) + 1 - 2 * pad.1)
            )
            return cr_conv(
                n: pick(1...4), c: groups * pick(1...40 / groups), k: groups * pick(1...72 / groups),
                h: least.0 + pick(0...16), w: least.1 + pick(0...33), kernel: kernel, stride: stride, pad: pad,
                dilation: dilation, groups: groups)
        }
    }
}
