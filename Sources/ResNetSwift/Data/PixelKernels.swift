// The loops over pixels, all in C: the one file of this folder that imports CKernels.
//
// Shapes are checked by the callers, so a refused argument is a mistake of ours; only memory can run short.

import CKernels
import ResNetGraph

enum PixelKernels {
    /// The box of `source` (H, W, C), in fractions of pixels, to `target` (height, width, C).
    static func resize(
        _ source: UnsafePointer<UInt8>, height: Int, width: Int, channels: Int, stride: Int,
        filter: ImageTransform.Filter, into target: UnsafeMutablePointer<UInt8>, _ size: Size2, threads: Int
    ) throws(TransformError) {
        let status = ck_resize_u8(
            source, Int32(height), Int32(width), Int32(channels), stride, 0, 0, Double(width), Double(height), target,
            Int32(size.height), Int32(size.width), filter == .bilinear ? CK_BILINEAR : CK_BICUBIC, Int32(threads))
        if status == CK_OUT_OF_MEMORY { throw .outOfMemory }
        check(status)
    }

    /// (count, channels) of `source` to (count, total) of `target`: one part of every pixel.
    static func interleave(
        _ source: UnsafePointer<UInt8>, count: Int, channels: Int, into target: UnsafeMutablePointer<UInt8>,
        channels total: Int
    ) {
        check(ck_interleave_u8(source, count, Int32(channels), target, Int32(total)))
    }

    static func gray(_ source: UnsafePointer<UInt8>, count: Int, into target: UnsafeMutablePointer<UInt8>) {
        check(ck_grey_u8(source, count, target))
    }

    static func orient(
        _ source: UnsafePointer<UInt8>, height: Int, width: Int, channels: Int, _ orientation: ExifOrientation,
        into target: UnsafeMutablePointer<UInt8>
    ) {
        check(
            ck_orient_u8(
                source, Int32(height), Int32(width), Int32(channels), Int32(orientation.rawValue), target))
    }

    /// Bytes (N, H, W, C) to floats (N, C, H, W): value * scale[c] + shift[c].
    static func toFloats(
        _ source: UnsafePointer<UInt8>, count: Int, channels: Int, height: Int, width: Int, scale: [Float],
        shift: [Float], into target: UnsafeMutablePointer<Float>, threads: Int
    ) {
        check(
            ck_nhwc8_to_nchw(
                source, Int32(count), Int32(channels), Int32(height), Int32(width), scale, shift, target,
                Int32(threads)))
    }

    static func brightness(_ pixels: UnsafeMutableBufferPointer<UInt8>, factor: Double) {
        check(ck_brightness_u8(pixels.baseAddress, pixels.count, Float(factor)))
    }

    static func contrast(_ pixels: UnsafeMutableBufferPointer<UInt8>, channels: Int, factor: Double) {
        check(ck_contrast_u8(pixels.baseAddress, pixels.count / channels, Int32(channels), Float(factor)))
    }

    /// RGB only.
    static func saturation(_ pixels: UnsafeMutableBufferPointer<UInt8>, factor: Double) {
        check(ck_saturation_u8(pixels.baseAddress, pixels.count / 3, Float(factor)))
    }

    /// RGB only; `turn` in circles.
    static func hue(_ pixels: UnsafeMutableBufferPointer<UInt8>, turn: Double) {
        check(ck_hue_u8(pixels.baseAddress, pixels.count / 3, turn))
    }

    /// (H, W, C) to the same shape: 0 smooth, 1 as it is, more than 1 sharper.
    static func sharpness(
        _ source: UnsafePointer<UInt8>, height: Int, width: Int, channels: Int, factor: Double,
        into target: UnsafeMutablePointer<UInt8>
    ) {
        check(ck_sharpness_u8(source, Int32(height), Int32(width), Int32(channels), Float(factor), target))
    }

    /// How often each channel has each value: (channels, 256).
    static func histogram(_ pixels: [UInt8], channels: Int) -> [UInt64] {
        var counts = [UInt64](repeating: 0, count: channels * 256)
        check(ck_histogram_u8(pixels, pixels.count / channels, Int32(channels), &counts))
        return counts
    }

    /// Each channel through its own table of 256.
    static func lookUp(_ pixels: UnsafeMutableBufferPointer<UInt8>, channels: Int, tables: [UInt8]) {
        precondition(tables.count == channels * 256, "a table for each channel")
        check(ck_lookup_u8(pixels.baseAddress, pixels.count / channels, Int32(channels), tables))
    }

    /// (H, W, C) to the same shape; the map says where pixels come from.
    static func affine(
        _ source: UnsafePointer<UInt8>, height: Int, width: Int, channels: Int, _ map: [Double],
        into target: UnsafeMutablePointer<UInt8>
    ) {
        precondition(map.count == 6, "an affine map has six numbers")
        check(ck_affine_u8(source, Int32(height), Int32(width), Int32(channels), map, target))
    }

    private static func check(_ status: ck_status) {
        precondition(
            status == CK_OK, "a pixel kernel refused its arguments: \(String(cString: ck_status_string(status)))")
    }
}
