// The same transform for a network on pictures of another size.

import ResNetGraph

extension ImageTransform {
    /// The same transform with an output of another size: the lengths of resizing and of crops change in proportion, all
    /// else stays.
    /// - Precondition: all pictures come out with one size (`fixedOutputSize`).
    public func resized(to size: Size2) -> ImageTransform {
        guard let own = fixedOutputSize else { preconditionFailure("a transform that gives pictures of many sizes") }
        func height(_ length: Int) -> Int { max(1, (length * size.height + own.height / 2) / own.height) }
        func width(_ length: Int) -> Int { max(1, (length * size.width + own.width / 2) / own.width) }
        func scaled(_ other: Size2) -> Size2 { Size2(height(other.height), width(other.width)) }
        let steps = steps.map { step -> Step in
            switch step {
            // The larger one, so that a crop finds enough.
            case .resizeShorterSide(let length, let filter):
                .resizeShorterSide(max(height(length), width(length)), filter)
            case .resize(let size, let filter): .resize(scaled(size), filter)
            case .centerCrop(let size, let rounding): .centerCrop(scaled(size), rounding)
            case .randomResizedCrop(let size, let scale, let ratio, let filter):
                .randomResizedCrop(scaled(size), scale: scale, ratio: ratio, filter)
            default: step
            }
        }
        return ImageTransform(channels: channels, exif: exif, steps: steps)
    }
}
