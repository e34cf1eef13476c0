// The confusion matrix as a picture: rows are what the samples are, columns what they were taken for. A cell is the darker
// the larger its part of the row. Up to 40 classes it is drawn with names and numbers, above that with a pixel a cell.

import ResNetData
import ResNetSupport

extension ConfusionMatrix {
    private static let mostNamed = 40
    /// More cells than this make no picture any more.
    private static let mostDrawn = 2000

    /// Whether it needs the whole width of a page.
    var isWide: Bool { classCount > 12 }

    /// An SVG element, or an image for many classes; nil where there are too many for either.
    func drawing() -> String? {
        if classCount <= Self.mostNamed { return named() }
        guard classCount <= Self.mostDrawn, let picture = try? pixels().pngBytes() else { return nil }
        return "<img class=\"matrix\" style=\"width:100%;image-rendering:pixelated\" "
            + "alt=\"confusion matrix of \(classCount) classes\" src=\"data:image/png;base64,\(base64(picture))\">"
    }

    private func share(_ actual: Int, _ predicted: Int, of row: Int) -> Double {
        row == 0 ? 0 : Double(self[actual, predicted]) / Double(row)
    }

    private func rowSums() -> [Int] {
        (0..<classCount).map { actual in (0..<classCount).reduce(0) { $0 + self[actual, $1] } }
    }

    private func named() -> String {
        let cell = classCount <= 12 ? 40 : classCount <= 24 ? 30 : 22
        let font = classCount <= 12 ? 13 : classCount <= 24 ? 11 : 9
        let names = classNames.map { Self.shortened($0) }
        let margin = 16 + font * 6 * (names.map(\.count).max() ?? 0) / 10
        let side = margin + cell * classCount + 8
        let isShort = names.allSatisfy { 8 * $0.count <= cell - 4 }
        let sums = rowSums()
        var text = "<svg viewBox=\"0 0 \(side) \(side)\" role=\"img\" "
        // Many classes are scrolled where they would become too small to be read.
        text += "style=\"max-width:\(side)px;min-width:\(isWide ? side * 3 / 4 : 0)px\" "
        text += "aria-label=\"confusion matrix\" font-size=\"\(font)\"><g fill=\"currentColor\">\n"
        for (index, name) in names.enumerated() {
            let middle = margin + cell * index + cell / 2
            text +=
                "<text x=\"\(margin - 8)\" y=\"\(middle)\" dy=\"0.35em\" text-anchor=\"end\">\(escaped(name))</text>"
            text +=
                isShort
                ? "<text x=\"\(middle)\" y=\"\(margin - 8)\" text-anchor=\"middle\">"
                : "<text transform=\"translate(\(middle) \(margin - 8)) rotate(-90)\" dy=\"0.35em\">"
            text += "\(escaped(name))</text>\n"
        }
        for actual in 0..<classCount {
            for predicted in 0..<classCount {
                let (count, part) = (self[actual, predicted], share(actual, predicted, of: sums[actual]))
                let (x, y) = (margin + cell * predicted, margin + cell * actual)
                let color = actual == predicted ? "var(--hit-cell)" : "var(--miss-cell)"
                text += "<rect x=\"\(x)\" y=\"\(y)\" width=\"\(cell - 1)\" height=\"\(cell - 1)\" rx=\"2\" "
                if count == 0 {
                    text += "fill=\"var(--line)\" fill-opacity=\"0.35\"/>"
                    continue
                }
                // A confusion stays visible, however rare.
                text += "fill=\"\(color)\" fill-opacity=\"\(fixed(0.15 + 0.85 * part, 2))\"><title>"
                text += "\(escaped(classNames[actual])) taken for \(escaped(classNames[predicted])): \(count), "
                text += "\(percent(part))</title></rect>"
                text += "<text x=\"\(x + cell / 2)\" y=\"\(y + cell / 2)\" dy=\"0.35em\" text-anchor=\"middle\" "
                text += "pointer-events=\"none\"\(part > 0.5 ? " fill=\"#fff\"" : "")>\(count)</text>\n"
            }
        }
        return text + "</g></svg>\n"
    }

    private static func shortened(_ name: String) -> String { name.count <= 16 ? name : name.prefix(15) + "…" }

    /// White where there is nothing, blue on the diagonal, orange beside it.
    private func pixels() -> Picture {
        let sums = rowSums()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(3 * classCount * classCount)
        for actual in 0..<classCount {
            for predicted in 0..<classCount {
                let part = self[actual, predicted] == 0 ? 0 : 0.15 + 0.85 * share(actual, predicted, of: sums[actual])
                let color: [Double] = actual == predicted ? [0, 114, 178] : [213, 94, 0]
                bytes += color.map { UInt8(255 - part * (255 - $0)) }
            }
        }
        return Picture(height: classCount, width: classCount, channels: 3, pixels: bytes)
    }
}

/// RFC 4648.
func base64(_ bytes: [UInt8]) -> String {
    let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    text.reserveCapacity((bytes.count + 2) / 3 * 4)
    for start in stride(from: 0, to: bytes.count, by: 3) {
        let part = bytes[start..<min(start + 3, bytes.count)]
        var word = 0
        for place in 0..<3 { word = word << 8 | (place < part.count ? Int(part[start + place]) : 0) }
        for place in 0..<4 {
            text.append(place <= part.count ? letters[word >> (18 - 6 * place) & 63] : UInt8(ascii: "="))
        }
    }
    return String(decoding: text, as: UTF8.self)
}
