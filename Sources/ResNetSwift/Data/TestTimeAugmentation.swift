// Several views of a picture whose answers are averaged: the picture and its mirror image, or its corners and its middle.

import ResNetGraph

/// What a network sees of a picture it is asked about. Its logits are the means over the views, as in torchvision's examples.
public enum TestTimeAugmentation: String, Sendable, Hashable, CaseIterable {
    /// The picture as the transform makes it.
    case none
    /// That, and its mirror image.
    case flip
    /// torchvision's FiveCrop in place of the transform's crop: four corners and the middle.
    case fiveCrop = "five-crop"
    /// torchvision's TenCrop: those of the picture, and of its mirror image.
    case tenCrop = "ten-crop"

    /// In torchvision's order.
    package var views: [PictureView] {
        switch self {
        case .none: [PictureView()]
        case .flip: [PictureView(), PictureView(isMirrored: true)]
        case .fiveCrop: PictureView.Part.allCases.map { PictureView(part: $0) }
        case .tenCrop:
            [false, true].flatMap { side in PictureView.Part.allCases.map { PictureView(part: $0, isMirrored: side) } }
        }
    }

    /// Crops take the place of a crop.
    package func suits(_ transform: ImageTransform) -> Bool {
        switch self {
        case .none, .flip: true
        case .fiveCrop, .tenCrop: transform.lastCrop != nil
        }
    }
}

/// One of the views of a picture.
package struct PictureView: Sendable, Hashable {
    package enum Part: Sendable, Hashable, CaseIterable { case topLeft, topRight, bottomLeft, bottomRight, middle }

    /// In place of the transform's last crop; nil leaves the crop as it is.
    var part: Part?
    /// Left and right are exchanged: of the whole picture where a part is cut from it, otherwise of what the network sees.
    var isMirrored: Bool

    package init(part: Part? = nil, isMirrored: Bool = false) {
        self.part = part
        self.isMirrored = isMirrored
    }
}

extension ImageTransform {
    /// The last step that crops.
    fileprivate var lastCrop: Int? {
        steps.lastIndex { if case .centerCrop = $0 { true } else { false } }
    }

    /// The steps on bytes, for a view.
    /// - Precondition: no step is random; of views that are parts, some step crops.
    package func apply(to picture: Picture, view: PictureView, threads: Int = 1) throws(TransformError) -> Picture {
        guard let part = view.part else {
            let whole = try apply(to: picture, threads: threads)
            return view.isMirrored ? whole.oriented(.mirror) : whole
        }
        guard let lastCrop, case .centerCrop(let size, let rounding) = steps[lastCrop] else {
            preconditionFailure("a part is cut where a transform crops")
        }
        func applied(_ steps: ArraySlice<Step>, to picture: Picture) throws(TransformError) -> Picture {
            try ImageTransform(checkedChannels: channels, exif: exif, steps: Array(steps)).apply(
                to: picture, threads: threads)
        }
        var result = try applied(steps[..<lastCrop], to: picture)
        if view.isMirrored { result = result.oriented(.mirror) }
        let window = Window.part(part, size, of: Size2(result.height, result.width), rounding)
        return try applied(steps[(lastCrop + 1)...], to: result.cropped(window))
    }
}

extension Window {
    /// A corner, or the middle. Where the picture is smaller than the window, the window is around its middle.
    fileprivate static func part(
        _ part: PictureView.Part, _ size: Size2, of whole: Size2, _ rounding: ImageTransform.Rounding
    ) -> Window {
        var window = Window.center(size, of: whole, rounding)
        guard part != .middle else { return window }
        if whole.height > size.height {
            window.top = part == .topLeft || part == .topRight ? 0 : whole.height - size.height
        }
        if whole.width > size.width {
            window.left = part == .topLeft || part == .bottomLeft ? 0 : whole.width - size.width
        }
        return window
    }
}
