// The same transform for pictures of another size, as for a network that is run at 288 instead of 224, or trained on small
// pictures first.

import ResNetGraph

extension ImageTransform {
    /// Every size in proportion, so that as much of the picture is seen as before: 256 and a crop of 224 become 329 and 288.
    /// A transform whose output depends on the picture gets a last step that makes it this size.
    package func yielding(_ size: Size2) -> ImageTransform {
        guard let old = fixedOutputSize else {
            let end = steps.firstIndex(of: .toFloat) ?? steps.count
            return ImageTransform(
                channels: channels, exif: exif, steps: Array(steps[..<end]) + [.resize(size)] + Array(steps[end...]))
        }
        let scale = max(Double(size.height) / Double(old.height), Double(size.width) / Double(old.width))
        func scaled(_ length: Int) -> Int { max(1, Int((Double(length) * scale).rounded())) }
        func scaled(_ other: Size2) -> Size2 {
            other == old ? size : Size2(scaled(other.height), scaled(other.width))
        }
        return changingSizes(length: scaled, size: scaled)
    }

    /// The same transform with an output of another size: the lengths of resizing and of crops change in proportion, each
    /// side by its own, all else stays.
    /// - Precondition: all pictures come out with one size (`fixedOutputSize`).
    public func resized(to size: Size2) -> ImageTransform {
        guard let own = fixedOutputSize else { preconditionFailure("a transform that gives pictures of many sizes") }
        func height(_ length: Int) -> Int { max(1, (length * size.height + own.height / 2) / own.height) }
        func width(_ length: Int) -> Int { max(1, (length * size.width + own.width / 2) / own.width) }
        // The larger one, so that a crop finds enough.
        return changingSizes(
            length: { max(height($0), width($0)) }, size: { Size2(height($0.height), width($0.width)) })
    }

    /// With other lengths of a picture's shorter side, and other sizes of results and of crops.
    private func changingSizes(length: (Int) -> Int, size: (Size2) -> Size2) -> ImageTransform {
        let steps = steps.map { step -> Step in
            switch step {
            case .resizeShorterSide(let side, let filter): .resizeShorterSide(length(side), filter)
            case .resize(let other, let filter): .resize(size(other), filter)
            case .centerCrop(let other, let rounding): .centerCrop(size(other), rounding)
            case .randomResizedCrop(let other, let scale, let ratio, let filter):
                .randomResizedCrop(size(other), scale: scale, ratio: ratio, filter)
            default: step
            }
        }
        return ImageTransform(channels: channels, exif: exif, steps: steps)
    }
}
