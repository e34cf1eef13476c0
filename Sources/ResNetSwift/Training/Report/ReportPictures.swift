// The pictures of a report as figures: the picture as the network sees it, and beside it what the network looked at.

import ResNetData
import ResNetGraph
import ResNetSupport

/// Pictures for a report, as figures.
struct ReportPictures {
    let dataset: Dataset
    /// Of the evaluation: pictures are shown as the network sees them.
    let transform: ImageTransform
    /// Where on a picture a class comes from, in color.
    let heat: (_ picture: Picture, _ index: Int) -> Picture?
    /// Larger ones are made smaller, in pixels.
    private static let side = 160

    /// Figures, and whether some have colors beside them; nil where none of the pictures can be shown.
    func figures(_ items: [ReportChoice.Item]) -> (html: String, hasHeat: Bool)? {
        var figures: [String] = []
        var hasHeat = false
        for item in items {
            guard let picture = prepared(item.sample), let shown = image(of: picture) else { continue }
            let name = escaped(dataset.name(of: item.sample))
            var images = "<img alt=\"\"\(shown.isSmall ? " class=\"small\"" : "") src=\"\(shown.source)\">"
            if let colored = heat(picture, item.index), let heat = image(of: colored) {
                images += "<img alt=\"what speaks for it\" src=\"\(heat.source)\">"
                hasHeat = true
            }
            figures.append(
                "<figure><div class=\"views\">\(images)</div><figcaption>"
                    + "<b class=\"\(item.isRight ? "hit" : "miss")\">\(escaped(item.said))</b> "
                    + "\(percent(item.probability))<br>\(escaped(item.shows))<br><small>\(name)</small>"
                    + "</figcaption></figure>")
        }
        guard !figures.isEmpty else { return nil }
        let kind = hasHeat ? "pictures pairs" : "pictures"
        return ("<div class=\"\(kind)\">\n\(figures.joined(separator: "\n"))\n</div>", hasHeat)
    }

    private func prepared(_ sample: Int) -> Picture? {
        guard !dataset.isFloats, let whole = try? dataset.picture(sample, for: transform) else { return nil }
        return try? transform.apply(to: whole)
    }

    /// A data URI, and whether its pixels are worth seeing one by one.
    private func image(of picture: Picture) -> (source: String, isSmall: Bool)? {
        var picture = picture
        let longest = max(picture.height, picture.width)
        if longest > Self.side {
            let size = Size2(
                max(picture.height * Self.side / longest, 1), max(picture.width * Self.side / longest, 1))
            let smaller = ImageTransform(channels: picture.channels, steps: [.resize(size), .toFloat])
            guard let resized = try? smaller.apply(to: picture) else { return nil }
            picture = resized
        }
        // Of stacked stains the first three are shown, or the first one.
        let shown =
            picture.channels == 1 || picture.channels == 3 ? picture : picture.first(picture.channels < 3 ? 1 : 3)
        guard let bytes = try? shown.pngBytes() else { return nil }
        return ("data:image/png;base64,\(base64(bytes))", longest < 96)
    }
}

extension Picture {
    /// The first channels of more.
    fileprivate func first(_ count: Int) -> Picture {
        let kept = (0..<height * width).flatMap { pixel in pixels[pixel * channels..<pixel * channels + count] }
        return Picture(height: height, width: width, channels: count, pixels: kept)
    }
}
