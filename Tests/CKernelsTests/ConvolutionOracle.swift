// One convolution's data, and what the reference says about it: results, and how far a float result may be away.
//
// The bound is u sqrt(n + 4) times cr_error_scale: eight standard deviations of the rounding error of a sequential sum of
// n random products. Winograd mixes the outputs of a tile, so there the scale is that of the whole plane, and its
// transforms cost accuracy: F(2) is about twice and F(4) with the points 0, +-5/8, +-3/2 about five times as coarse as a
// direct sum. Its bounds are these multiples.
//
// With small integers every product and sum is exact in float: direct, pointwise, stem, GEMM and F(2), whose
// coefficients are powers of two, must then agree to the last bit.

import CKernels
import CReference

struct Epilogue: Hashable, CustomStringConvertible {
    var flags: Int
    var inPlace = false

    init(_ flags: Int, inPlace: Bool = false) {
        self.flags = flags
        self.inPlace = inPlace
    }

    func has(_ flag: Int) -> Bool { flags & flag != 0 }

    var description: String {
        let names = [
            (CK_BIAS, "bias"), (CK_RESIDUAL, inPlace ? "residual in place" : "residual"), (CK_RELU, "relu"),
            (CK_MAX_POOL_3X3_S2, "max pool"), (CK_GLOBAL_AVERAGE, "average"),
        ]
        let parts = names.filter { has(Int($0.0)) }.map(\.1)
        return parts.isEmpty ? "no epilogue" : parts.joined(separator: "+")
    }

    static let plain: [Epilogue] = [
        Epilogue(0), Epilogue(Int(CK_BIAS)), Epilogue(Int(CK_BIAS | CK_RELU)), Epilogue(Int(CK_RESIDUAL)),
        Epilogue(Int(CK_RELU)), Epilogue(Int(CK_BIAS | CK_RESIDUAL | CK_RELU)),
        Epilogue(Int(CK_BIAS | CK_RESIDUAL | CK_RELU), inPlace: true), Epilogue(Int(CK_RESIDUAL), inPlace: true),
        Epilogue(Int(CK_GLOBAL_AVERAGE)), Epilogue(Int(CK_BIAS | CK_RELU | CK_GLOBAL_AVERAGE)),
        Epilogue(Int(CK_BIAS | CK_RESIDUAL | CK_RELU | CK_GLOBAL_AVERAGE)),
    ]
    static let pooled: [Epilogue] = [
        Epilogue(Int(CK_MAX_POOL_3X3_S2)), Epilogue(Int(CK_BIAS | CK_RELU | CK_MAX_POOL_3X3_S2)),
    ]
}

final class ConvolutionOracle {
    enum Values { case integers, uniform }

    struct Expectation {
        let values: [Double]
        /// What an error is measured in, as large as values.
        let scale: [Double]
        let plane: Int
    }

    let shape: cr_conv
    let layout: ck_layout
    let values: Values
    /// (N, C, H, W), and the bytes (N, H, W, C) that it was made from if the layout is NHWC8.
    let input: [Float]
    let pixels: [UInt8]
    let pixelScale: [Float], pixelShift: [Float]
    /// (K, C/groups, KH, KW) = stored * scale[k]; every scale is a power of two.
    let weights: [Float], stored: [Float], scale: [Float]
    let bias: [Float], residual: [Float]

    private let raw: [Double], rawSpread: [Double]
    private var known: [String: Expectation] = [:]

    init(_ shape: cr_conv, _ values: Values, layout: ck_layout = CK_NCHWC, seed: UInt64 = 1) {
        self.shape = shape
        self.layout = layout
        self.values = values
        func data(_ count: Int, _ salt: UInt64, _ range: ClosedRange<Int32>) -> [Float] {
            values == .integers
                ? integers(count, seed: seed * 16 + salt, range) : uniform(count, seed: seed * 16 + salt)
        }
        let outputs = Int(shape.n) * Int(shape.k) * shape.outPlane
        let channels = Int(shape.c)
        let count = Int(shape.n) * channels * shape.inPlane
        if layout == CK_NHWC8 {
            let step: Float = values == .integers ? 1 : 0x1p-6
            let made = bytes(count, seed: seed * 16)
            let scales = (0..<channels).map { $0 % 2 == 0 ? step : step / 2 }
            let shifts = (0..<channels).map { -step * Float(100 + 8 * $0) }
            var planar = [Float](repeating: 0, count: count)
            for image in 0..<Int(shape.n) {
                for pixel in 0..<shape.inPlane {
                    for channel in 0..<channels {
                        let byte = made[(image * shape.inPlane + pixel) * channels + channel]
                        planar[(image * channels + channel) * shape.inPlane + pixel] =
                            Float(byte) * scales[channel] + shifts[channel]
                    }
                }
            }
            (pixels, pixelScale, pixelShift, input) = (made, scales, shifts, planar)
        } else {
            (pixels, pixelScale, pixelShift) = ([], [], [])
            input = data(count, 0, -3...3)
        }
        let filter = shape.weightCount / Int(shape.k)
        let scale = (0..<Int(shape.k)).map { [1, -2, 0.5, 4][$0 % 4] as Float }
        stored = data(shape.weightCount, 1, -2...2)
        weights = Self.scaled(stored, by: scale, filter: filter)
        self.scale = scale
        bias = data(Int(shape.k), 2, -8...8)
        residual = data(outputs, 3, -8...8)
        var raw = [Double](repeating: 0, count: outputs)
        var spread = raw
        var reference = shape
        cr_conv_forward(&reference, input, weights, &raw, &spread)
        (self.raw, rawSpread) = (raw, spread)
    }

    private static func scaled(_ weights: [Float], by scale: [Float], filter: Int) -> [Float] {
        var result = weights
        result.withUnsafeMutableBufferPointer { result in
            for k in scale.indices {
                for i in k * filter..<(k + 1) * filter { result[i] *= scale[k] }
            }
        }
        return result
    }

    /// Floats of one run's output in plain layout, an image.
    func outPlane(_ epilogue: Epilogue) -> Int {
        if epilogue.has(Int(CK_GLOBAL_AVERAGE)) { return 1 }
        if epilogue.has(Int(CK_MAX_POOL_3X3_S2)) { return Int((shape.outH + 1) / 2) * Int((shape.outW + 1) / 2) }
        return shape.outPlane
    }

    /// The results, and the error scale of each or, for Winograd, of its plane's worst.
    func expectation(_ epilogue: Epilogue, wholePlane: Bool) -> Expectation {
        let key = "\(epilogue.flags) \(wholePlane)"
        if let found = known[key] { return found }
        let (n, k, planes) = (shape.n, shape.k, shape.n * shape.k)
        var y = raw
        var scale = rawSpread
        let bias = epilogue.has(Int(CK_BIAS)) ? bias : nil
        let residual = epilogue.has(Int(CK_RESIDUAL)) ? residual : nil
        cr_epilogue(&y, n, k, shape.outPlane, bias, residual, 0)
        cr_error_scale(&scale, y, n, k, shape.outPlane, bias, residual)
        cr_epilogue(&y, n, k, shape.outPlane, nil, nil, epilogue.has(Int(CK_RELU)) ? 1 : 0)
        let plane = outPlane(epilogue)
        if epilogue.has(Int(CK_MAX_POOL_3X3_S2)) {
            var pool = cr_pool(
                planes: planes, h: shape.outH, w: shape.outW, kernel_h: 3, kernel_w: 3, stride_h: 2, stride_w: 2,
                pad_h: 1, pad_w: 1, ceil_mode: 0)
            var rounded = [Float](repeating: 0, count: y.count)
            cr_round(y, y.count, &rounded)
            y = [Double](repeating: 0, count: Int(planes) * plane)
            cr_max_pool(&pool, rounded, &y, nil)
        }
        if epilogue.has(Int(CK_GLOBAL_AVERAGE)) {
            var mean = [Double](repeating: 0, count: Int(planes))
            cr_global_average_pool(y, planes, shape.outPlane, &mean)
            y = mean
        }
        if wholePlane || plane != shape.outPlane {
            var worst = [Double](repeating: 0, count: Int(planes))
            cr_plane_max(scale, planes, shape.outPlane, &worst)
            scale = [Double](repeating: 0, count: y.count)
            cr_repeat(worst, planes, plane, &scale)
        }
        let made = Expectation(values: y, scale: scale, plane: plane)
        known[key] = made
        return made
    }

    /// The factor on the scale: see the top of the file. 0: exact.
    func factor(_ algorithm: ck_algorithm, _ epilogue: Epilogue) -> Double {
        if values == .integers && algorithm.isExactOnIntegers && !epilogue.has(Int(CK_GLOBAL_AVERAGE)) { return 0 }
        return roundoff * Double(shape.reduction + 4).squareRoot() * (algorithm.winogradError ?? 1)
    }
}

extension ck_algorithm {
    /// The rounding error of Winograd's tiles in those of direct sums; nil for what is no Winograd.
    var winogradError: Double? {
        switch self {
        case CK_WINOGRAD_2: 2
        case CK_STEM_WINOGRAD: 3
        case CK_WINOGRAD_4: 5
        default: nil
        }
    }
    var isExactOnIntegers: Bool { self != CK_WINOGRAD_4 && self != CK_STEM_WINOGRAD }
}
