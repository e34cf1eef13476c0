// A decoded picture: bytes, (H, W, C), channels last, rows without gaps.
//
//     R G B R G B ... one row of W pixels
//     R G B R G B ... H rows

/// Unsigned bytes, interleaved: 1 channel (gray), 3 (RGB) or any number (microscope stains). A value; copies share memory.
public struct Picture: Sendable, Hashable {
    /// H, in pixels.
    public let height: Int
    /// W, in pixels.
    public let width: Int
    /// C: 1 gray, 3 RGB, or any other number.
    public let channels: Int
    /// `height * width * channels` bytes; (y, x, c) is at `(y * width + x) * channels + c`.
    public let pixels: [UInt8]
    /// Faults the decoder got over, such as stray bytes between segments. The pixels may be damaged. Usually empty.
    public package(set) var warnings: [String] = []

    /// A picture from bytes (H, W, C).
    /// - Precondition: sizes are at least 1 and `pixels` holds exactly that many bytes.
    public init(height: Int, width: Int, channels: Int, pixels: [UInt8]) {
        precondition(height >= 1 && width >= 1 && channels >= 1, "a picture has at least one pixel and one channel")
        precondition(
            pixels.count == height * width * channels,
            "\(height) x \(width) x \(channels) pixels are not \(pixels.count) bytes")
        self.height = height
        self.width = width
        self.channels = channels
        self.pixels = pixels
    }

    /// Fresh pixels that `fill` writes completely.
    init<E: Error>(
        height: Int, width: Int, channels: Int, fill: (UnsafeMutablePointer<UInt8>) throws(E) -> Void
    ) throws(E) {
        let count = height * width * channels
        // The standard library's initializer only rethrows untyped errors; this keeps the type.
        var failure: E?
        let pixels = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            do throws(E) {
                try fill(buffer.baseAddress!)
                initialized = count
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        self.init(height: height, width: width, channels: channels, pixels: pixels)
    }

    /// Stacks the channels of pictures of one size: four gray stains become one picture of four channels.
    /// - Precondition: `parts` is not empty and all have one size.
    public init(stacking parts: [Picture]) {
        precondition(!parts.isEmpty, "stacking takes at least one picture")
        let (height, width) = (parts[0].height, parts[0].width)
        precondition(
            parts.allSatisfy { $0.height == height && $0.width == width },
            "pictures to stack have different sizes: \(parts.map { "\($0.height) x \($0.width)" })")
        let channels = parts.reduce(0) { $0 + $1.channels }
        self.init(height: height, width: width, channels: channels) { target in
            var offset = 0
            for part in parts {
                part.pixels.withUnsafeBufferPointer { source in
                    PixelKernels.interleave(
                        source.baseAddress!, count: height * width, channels: part.channels,
                        into: target + offset, channels: channels)
                }
                offset += part.channels
            }
        }
    }

    /// The picture as a network wants it: gray from RGB by ITU-R 601 luma as Pillow's `convert("L")`, RGB from gray by
    /// repetition. Nil if there is no such conversion.
    public func converted(toChannels wanted: Int) -> Picture? {
        if wanted == channels { return self }
        var result: Picture
        switch (channels, wanted) {
        case (3, 1):
            result = Picture(height: height, width: width, channels: 1) { target in
                pixels.withUnsafeBufferPointer {
                    PixelKernels.gray($0.baseAddress!, count: height * width, into: target)
                }
            }
        case (1, 3):
            result = Picture(stacking: [self, self, self])
        default:
            return nil
        }
        result.warnings = warnings
        return result
    }

    /// The picture turned or mirrored as the EXIF orientation says it must be to stand upright.
    public func oriented(_ orientation: ExifOrientation) -> Picture {
        if orientation == .upright { return self }
        let (newHeight, newWidth) = orientation.swapsSides ? (width, height) : (height, width)
        var result = Picture(height: newHeight, width: newWidth, channels: channels) { target in
            pixels.withUnsafeBufferPointer {
                PixelKernels.orient(
                    $0.baseAddress!, height: height, width: width, channels: channels, orientation, into: target)
            }
        }
        result.warnings = warnings
        return result
    }
}
