// The same transform for pictures of another size, as for a network that is run at 288 instead of 224.

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
        let steps = steps.map { step -> Step in
            switch step {
            case .resizeShorterSide(let length, let filter): .resizeShorterSide(scaled(length), filter)
            case .resize(let other, let filter): .resize(scaled(other), filter)
            case .centerCrop(let other, let rounding): .centerCrop(scaled(other), rounding)
            case .randomResizedCrop(let other, let scale, let ratio, let filter):
                .randomResizedCrop(scaled(other), scale: scale, ratio: ratio, filter)
            default: step
            }
        }
        return ImageTransform(channels: channels, exif: exif, steps: steps)
    }
}
