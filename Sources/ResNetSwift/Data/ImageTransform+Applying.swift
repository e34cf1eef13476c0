// Pictures through a transform: one at a time, and as a batch.

import ResNetGraph

extension ImageTransform {
    /// Reads a file as this transform wants it: channels and EXIF. More than 3 channels come from `Picture(stacking:)`.
    /// - Precondition: the transform has 1 or 3 channels.
    /// - Throws: `PictureError`, which names the file and the fault.
    public func picture(contentsOf path: String) throws(PictureError) -> Picture {
        try Picture(contentsOf: path, exif: exif, channels: channels)
    }

    /// The steps on bytes.
    /// - Precondition: no step is random.
    /// - Throws: `TransformError`: other channels than the transform has, a result that would be absurdly large, no
    ///   memory.
    public func apply(to picture: Picture, threads: Int = 1) throws(TransformError) -> Picture {
        precondition(!isRandom, "a random transform needs a SampleRandom")
        var unused = SampleRandom(seed: 0)
        return try apply(to: picture, random: &unused, threads: threads)
    }

    /// The steps on bytes; random ones draw from `random`.
    /// - Throws: `TransformError`: other channels than the transform has, a result that would be absurdly large, no
    ///   memory.
    public func apply(
        to picture: Picture, random: inout SampleRandom, threads: Int = 1
    ) throws(TransformError) -> Picture {
        guard picture.channels == channels else {
            throw .channels(expected: channels, found: picture.channels)
        }
        var result = picture
        for step in steps { result = try apply(step, to: result, &random, threads) }
        return result
    }

    private func apply(
        _ step: Step, to picture: Picture, _ random: inout SampleRandom, _ threads: Int
    ) throws(TransformError) -> Picture {
        let whole = Window(top: 0, left: 0, height: picture.height, width: picture.width)
        switch step {
        case .resizeShorterSide(let length, let filter):
            let size = Self.shorterSideSize(length, of: whole.size)
            return try picture.resized(whole, to: size, filter, threads: threads)
        case .resize(let size, let filter):
            return try picture.resized(whole, to: size, filter, threads: threads)
        case .centerCrop(let size, let rounding):
            return picture.cropped(.center(size, of: whole.size, rounding))
        case .randomResizedCrop(let size, let scale, let ratio, let filter):
            let window = Window.random(of: whole.size, scale: scale, ratio: ratio, &random)
            return try picture.resized(window, to: size, filter, threads: threads)
        case .randomHorizontalFlip(let probability):
            return random.chance(probability) ? picture.oriented(.mirror) : picture
        case .colorJitter(let brightness, let contrast, let saturation, let hue):
            return picture.jittered(
                brightness: brightness, contrast: contrast, saturation: saturation, hue: hue, &random)
        case .randAugment(let operations, let magnitude):
            return picture.randAugmented(operations: operations, magnitude: magnitude, &random)
        case .trivialAugmentWide:
            return picture.trivialAugmented(&random)
        case .randomErasing(let probability, let scale, let ratio):
            guard random.chance(probability),
                let window = Window.erasing(of: whole.size, scale: scale, ratio: ratio, &random)
            else { return picture }
            return picture.filled(window, with: neutralBytes)
        case .toFloat, .normalize:
            return picture
        }
    }

    /// All pictures through the steps, side by side.
    /// - Precondition: there is at least one picture and no step is random.
    /// - Throws: `TransformError`, also where pictures come out with different sizes.
    public func batch(_ pictures: [Picture], threads: Int = 1) throws(TransformError) -> PictureBatch {
        var transformed: [Picture] = []
        for picture in pictures { transformed.append(try apply(to: picture, threads: threads)) }
        return try PictureBatch(transformed, for: self)
    }
}

extension PictureBatch {
    /// Gathers pictures that have been through the transform already.
    /// - Precondition: there is at least one picture.
    /// - Throws: `TransformError.channels` and `TransformError.sizesDiffer`.
    public init(_ pictures: [Picture], for transform: ImageTransform) throws(TransformError) {
        precondition(!pictures.isEmpty, "a batch has at least one picture")
        let first = pictures[0]
        var pixels: [UInt8] = []
        pixels.reserveCapacity(first.pixels.count * pictures.count)
        for picture in pictures {
            guard picture.channels == transform.channels else {
                throw .channels(expected: transform.channels, found: picture.channels)
            }
            guard picture.height == first.height, picture.width == first.width else {
                throw .sizesDiffer(Size2(first.height, first.width), Size2(picture.height, picture.width))
            }
            pixels.append(contentsOf: picture.pixels)
        }
        self.init(
            count: pictures.count, height: first.height, width: first.width, channels: first.channels, pixels: pixels,
            scale: transform.scale, shift: transform.shift)
    }

    /// The batch as floats, (N, C, H, W).
    public func tensor(threads: Int = 1) -> Tensor {
        let storage = FloatStorage(count: pixels.count) { target in
            pixels.withUnsafeBufferPointer { source in
                PixelKernels.toFloats(
                    source.baseAddress!, count: count, channels: channels, height: height, width: width, scale: scale,
                    shift: shift, into: target.baseAddress!, threads: threads)
            }
        }
        return Tensor(shape: [count, channels, height, width], storage: storage)
    }
}
