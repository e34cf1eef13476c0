// The steps of a transform on pictures: each takes a picture and gives a new one.

import ResNetGraph

extension Picture {
    /// A window inside the picture, resized with Pillow's antialiased filter.
    func resized(
        _ window: Window, to size: Size2, _ filter: ImageTransform.Filter, threads: Int
    ) throws(TransformError) -> Picture {
        let isWhole = window.height == height && window.width == width
        if isWhole && size == window.size { return self }
        let limit = Self.pixelLimit
        guard size.height <= limit / size.width else { throw .tooLarge(size, limit: limit) }
        return try Picture(height: size.height, width: size.width, channels: channels) {
            (target) throws(TransformError) in
            try pixels.withUnsafeBufferPointer { (source) throws(TransformError) in
                try PixelKernels.resize(
                    source.baseAddress! + (window.top * width + window.left) * channels, height: window.height,
                    width: window.width, channels: channels, stride: width * channels, filter: filter, into: target,
                    size, threads: threads)
            }
        }
    }

    /// Resizes to exactly this size, antialiased, with Pillow's pixels.
    /// - Throws: `TransformError.tooLarge` and `TransformError.outOfMemory`.
    public func resized(
        to size: Size2, _ filter: ImageTransform.Filter = .bilinear, threads: Int = 1
    ) throws(TransformError) -> Picture {
        precondition(size.height >= 1 && size.width >= 1, "a picture has at least one pixel")
        return try resized(
            Window(top: 0, left: 0, height: height, width: width), to: size, filter, threads: threads)
    }

    /// The window, zeros where it reaches outside the picture.
    func cropped(_ window: Window) -> Picture {
        if window == Window(top: 0, left: 0, height: height, width: width) { return self }
        let rows = max(window.top, 0)..<max(min(window.top + window.height, height), max(window.top, 0))
        let columns = max(window.left, 0)..<max(min(window.left + window.width, width), max(window.left, 0))
        return Picture(height: window.height, width: window.width, channels: channels) { target in
            target.initialize(repeating: 0, count: window.height * window.width * channels)
            pixels.withUnsafeBufferPointer { source in
                for y in rows {
                    let to = (y - window.top) * window.width + columns.lowerBound - window.left
                    let from = y * width + columns.lowerBound
                    (target + to * channels).update(
                        from: source.baseAddress! + from * channels, count: columns.count * channels)
                }
            }
        }
    }

    /// The window gets one color.
    func filled(_ window: Window, with color: [UInt8]) -> Picture {
        let row = (0..<window.width).flatMap { _ in color }
        var changed = pixels
        for y in window.top..<window.top + window.height {
            let start = (y * width + window.left) * channels
            changed.replaceSubrange(start..<start + row.count, with: row)
        }
        return Picture(height: height, width: width, channels: channels, pixels: changed)
    }

    /// torchvision's ColorJitter: four changes in random order. Gray pictures have no saturation or hue.
    func jittered(
        brightness: Double, contrast: Double, saturation: Double, hue: Double, _ random: inout SampleRandom
    ) -> Picture {
        // All numbers are drawn in any case, so that the rest of a sample does not depend on which amounts are 0.
        let order = random.permutation(4)
        func factor(_ amount: Double) -> Double { random.uniform(in: max(0, 1 - amount)...1 + amount) }
        let factors = [factor(brightness), factor(contrast), factor(saturation), random.uniform(in: -hue...hue)]
        var changed = pixels
        changed.withUnsafeMutableBufferPointer { pixels in
            for change in order {
                switch change {
                case 0 where brightness > 0: PixelKernels.brightness(pixels, factor: factors[0])
                case 1 where contrast > 0: PixelKernels.contrast(pixels, channels: channels, factor: factors[1])
                case 2 where saturation > 0 && channels == 3: PixelKernels.saturation(pixels, factor: factors[2])
                case 3 where hue > 0 && channels == 3: PixelKernels.hue(pixels, turn: factors[3])
                default: break
                }
            }
        }
        return Picture(height: height, width: width, channels: channels, pixels: changed)
    }
}
