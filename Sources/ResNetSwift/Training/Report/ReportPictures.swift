// The pictures that a report shows: those the network is most wrong about, and those it is least sure about.

import ResNetData
import ResNetGraph
import ResNetSupport

/// Pictures for a report, as figures.
struct ReportPictures {
    let slice: DatasetSlice
    /// Of the evaluation: pictures are shown as the network sees them.
    let transform: ImageTransform
    let outcomes: SampleOutcomes
    let classNames: [String]
    /// Pictures of each kind.
    static let count = 12
    /// Larger ones are made smaller, in pixels.
    private static let side = 160

    /// Wrong answers, the surest first.
    var mostWrong: [SampleOutcomes.Answer] {
        let wrong = outcomes.answers.filter { $0.actual != $0.predicted }
        return Array(wrong.sorted { ($0.share, $0.sample) < ($1.share, $1.sample) }.prefix(Self.count))
    }

    /// Where the two best classes are nearest to each other.
    var leastSure: [SampleOutcomes.Answer] {
        let sorted = outcomes.answers.sorted {
            ($0.confidence - $0.second, $0.sample) < ($1.confidence - $1.second, $1.sample)
        }
        return Array(sorted.prefix(Self.count))
    }

    /// Figures; nil where none of the pictures can be shown.
    func figures(_ answers: [SampleOutcomes.Answer]) -> String? {
        let figures = answers.compactMap { answer -> String? in
            guard let (source, isSmall) = image(answer.sample) else { return nil }
            let isRight = answer.actual == answer.predicted
            return "<figure><img alt=\"\"\(isSmall ? " class=\"small\"" : "") src=\"\(source)\"><figcaption>"
                + "<b class=\"\(isRight ? "hit" : "miss")\">\(escaped(classNames[answer.predicted]))</b> "
                + "\(percent(Double(answer.confidence)))<br>is \(escaped(classNames[answer.actual])), "
                + "\(percent(Double(answer.share)))<br><small>\(escaped(slice.dataset.name(of: answer.sample)))</small>"
                + "</figcaption></figure>"
        }
        return figures.isEmpty ? nil : "<div class=\"pictures\">\n\(figures.joined(separator: "\n"))\n</div>"
    }

    /// A data URI, and whether its pixels are worth seeing one by one.
    private func image(_ sample: Int) -> (source: String, isSmall: Bool)? {
        guard !slice.dataset.isFloats, let whole = try? slice.dataset.picture(sample, for: transform),
            var picture = try? transform.apply(to: whole)
        else { return nil }
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
