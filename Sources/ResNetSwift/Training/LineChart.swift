// A line chart as SVG: title, axes with round numbers, grid, legend. For histories of training and learning rate searches.
//
//     +--------------------------------+
//     |             title              |
//     |  y |   __ /                    |
//     |    |__/  \___    -- train      |
//     |    +-----------  -- validation |
//     |         x                      |
//     +--------------------------------+

import Glibc
import ResNetSupport

/// A line chart as SVG.
package struct LineChart: Sendable, Hashable {
    /// A line.
    package struct Series: Sendable, Hashable {
        /// In the legend.
        package var name: String
        /// Points that are not finite break the line.
        package var points: [Point]
        /// For what the others are compared with.
        package var isDashed: Bool

        package init(name: String, points: [Point], isDashed: Bool = false) {
            self.name = name
            self.points = points
            self.isDashed = isDashed
        }
    }

    /// A point in the units of the axes.
    package struct Point: Sendable, Hashable {
        /// To the right.
        package var x: Double
        /// Upwards.
        package var y: Double

        /// x, then y.
        package init(_ x: Double, _ y: Double) {
            self.x = x
            self.y = y
        }
    }

    /// A vertical line.
    package struct Mark: Sendable, Hashable {
        /// Where it stands.
        package var x: Double
        /// Beside it.
        package var text: String

        package init(x: Double, text: String) {
            self.x = x
            self.text = text
        }
    }

    /// Above.
    package var title: String
    /// Below the axis.
    package var xLabel: String
    /// Beside the axis.
    package var yLabel: String
    /// In the legend's order.
    package var series: [Series]
    /// The x axis is logarithmic; points with x <= 0 are left out.
    package var hasLogarithmicX: Bool
    /// x counts things: no fractions at the ticks.
    package var hasWholeX: Bool
    /// A vertical line with a text, e.g. at the best epoch.
    package var mark: Mark?
    /// Both axes go from 0 to 1, whatever the points are.
    package var hasUnitAxes = false

    package init(
        title: String, xLabel: String, yLabel: String, series: [Series], hasLogarithmicX: Bool = false,
        hasWholeX: Bool = false
    ) {
        self.title = title
        self.xLabel = xLabel
        self.yLabel = yLabel
        self.series = series
        self.hasLogarithmicX = hasLogarithmicX
        self.hasWholeX = hasWholeX
    }

    fileprivate struct Palette {
        let lines: [String]
        let axis, grid, mark, background: String

        /// Colors that people with any color vision can tell apart (Okabe and Ito, 2008).
        static let paper = Palette(
            lines: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"], axis: "#333333", grid: "#e3e3e3",
            mark: "#555555", background: "#ffffff")
        /// Of the page around it, in light and dark.
        static let page = Palette(
            lines: (1...6).map { "var(--line-\($0))" }, axis: "currentColor", grid: "var(--line)", mark: "var(--muted)",
            background: "var(--card)")
    }

    /// An SVG element of an HTML page, as wide as there is room; the page's style has the colors of `Palette.page`. The title
    /// is left to the page.
    package func element() -> String {
        let width = 380.0
        let height = 236 + legendHeight(width)
        return
            "<svg viewBox=\"0 0 \(fixed(width, 0)) \(fixed(height, 0))\" role=\"img\" aria-label=\"\(escaped(title))\" "
            + "font-size=\"13\">\n<g fill=\"currentColor\">\n"
            + drawn(left: 0, width: width, height: height, palette: .page, hasTitle: false) + "</g></svg>\n"
    }

    /// As many columns as the longest name leaves room for.
    private func legendColumns(_ width: Double) -> Int {
        let longest = series.map(\.name.count).max() ?? 0
        return max(1, min(width < 600 ? 2 : 3, Int((width - 96) / (34 + 6.6 * Double(longest)))))
    }

    private func legendHeight(_ width: Double) -> Double {
        let columns = legendColumns(width)
        return 22 * Double((series.count + columns - 1) / columns)
    }

    /// Side by side, one SVG file.
    package static func svg(_ charts: [LineChart], width: Int = 640, height: Int = 400) -> String {
        let total = width * charts.count
        var text = """
            <svg xmlns="http://www.w3.org/2000/svg" width="\(total)" height="\(height)" \
            viewBox="0 0 \(total) \(height)" font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="13">
            <rect width="\(total)" height="\(height)" fill="#ffffff"/>

            """
        for (index, chart) in charts.enumerated() {
            text += chart.drawn(
                left: Double(index * width), width: Double(width), height: Double(height), palette: .paper)
        }
        return text + "</svg>\n"
    }

    private func drawn(
        left: Double, width: Double, height: Double, palette: Palette, hasTitle: Bool = true
    ) -> String {
        let top = hasTitle ? 48.0 : 14
        let columns = legendColumns(width)
        let area = Area(left: left + 72, right: left + width - 24, top: top + legendHeight(width), bottom: height - 56)
        let shown = series.map { series in
            series.points.map { Point(hasLogarithmicX ? ($0.x > 0 ? log10($0.x) : .nan) : $0.x, $0.y) }
        }
        let finite = shown.joined().filter { $0.x.isFinite && $0.y.isFinite }
        let unit = [0.0, 1.0]
        let xAxis = Axis(
            hasUnitAxes ? unit : finite.map(\.x), isTight: true, isWhole: hasWholeX, isLogarithmic: hasLogarithmicX)
        let yAxis = Axis(hasUnitAxes ? unit : finite.map(\.y), isTight: false, isWhole: false, isLogarithmic: false)
        func x(_ value: Double) -> String { fixed(area.left + xAxis.part(value) * (area.right - area.left), 1) }
        func y(_ value: Double) -> String { fixed(area.bottom - yAxis.part(value) * (area.bottom - area.top), 1) }
        let (l, r, t, b) = (fixed(area.left, 1), fixed(area.right, 1), fixed(area.top, 1), fixed(area.bottom, 1))
        let middle = fixed((area.left + area.right) / 2, 1)

        var text = ""
        if hasTitle {
            text = "<text x=\"\(middle)\" y=\"28\" text-anchor=\"middle\" font-size=\"17\">\(escaped(title))</text>\n"
        }
        for tick in yAxis.ticks {
            text += "<line x1=\"\(l)\" x2=\"\(r)\" y1=\"\(y(tick))\" y2=\"\(y(tick))\" stroke=\"\(palette.grid)\"/>\n"
            text += "<text x=\"\(fixed(area.left - 8, 1))\" y=\"\(y(tick))\" dy=\"0.35em\" text-anchor=\"end\">"
            text += "\(yAxis.label(tick))</text>\n"
        }
        for tick in xAxis.ticks {
            text += "<line x1=\"\(x(tick))\" x2=\"\(x(tick))\" y1=\"\(b)\" y2=\"\(fixed(area.bottom + 5, 1))\" "
            text += "stroke=\"\(palette.axis)\"/>\n<text x=\"\(x(tick))\" y=\"\(fixed(area.bottom + 20, 1))\" "
            text += "text-anchor=\"middle\">\(xAxis.label(tick))</text>\n"
        }
        text += "<path d=\"M\(l) \(t)V\(b)H\(r)\" fill=\"none\" stroke=\"\(palette.axis)\"/>\n"
        text +=
            "<text x=\"\(middle)\" y=\"\(fixed(height - 14, 1))\" text-anchor=\"middle\">\(escaped(xLabel))</text>\n"
        let (yLabelX, yLabelY) = (fixed(left + 20, 1), fixed((area.top + area.bottom) / 2, 1))
        text += "<text transform=\"translate(\(yLabelX) \(yLabelY)) rotate(-90)\" text-anchor=\"middle\">"
        text += "\(escaped(yLabel))</text>\n"
        for (index, points) in shown.enumerated() {
            let color = palette.lines[index % palette.lines.count]
            for line in points.split(whereSeparator: { !$0.x.isFinite || !$0.y.isFinite }) {
                if line.count == 1 {
                    text +=
                        "<circle cx=\"\(x(line.first!.x))\" cy=\"\(y(line.first!.y))\" r=\"3\" fill=\"\(color)\"/>\n"
                } else {
                    let path = line.map { "\(x($0.x)) \(y($0.y))" }.joined(separator: "L")
                    text += "<path d=\"M\(path)\" fill=\"none\" stroke=\"\(color)\" stroke-width=\"2\" "
                    text += "stroke-linejoin=\"round\"\(series[index].isDashed ? " stroke-dasharray=\"5 4\"" : "")/>\n"
                }
            }
            let (column, row) = (index % columns, index / columns)
            let entry = area.left + Double(column) * (area.right - area.left) / Double(columns)
            let place = top + 2 + 22 * Double(row)
            text += "<line x1=\"\(fixed(entry, 1))\" x2=\"\(fixed(entry + 24, 1))\" y1=\"\(fixed(place, 1))\" "
            text += "y2=\"\(fixed(place, 1))\" stroke=\"\(color)\" stroke-width=\"3\"/>\n"
            text += "<text x=\"\(fixed(entry + 31, 1))\" y=\"\(fixed(place, 1))\" dy=\"0.35em\">"
            text += "\(escaped(series[index].name))</text>\n"
        }
        let place = mark.map { hasLogarithmicX ? log10($0.x) : $0.x } ?? .nan
        if let mark, xAxis.contains(place) {
            // Where the lines are not.
            let near = shown.compactMap { line in
                line.filter { $0.y.isFinite }.min { abs($0.x - place) < abs($1.x - place) }
            }
            let isHigh = near.map { yAxis.part($0.y) }.reduce(0, +) < 0.5 * Double(near.count)
            text += mark.drawn(
                in: area, part: xAxis.part(place), at: isHigh ? area.top + 12 : area.bottom - 10, palette: palette)
        }
        return text
    }

    fileprivate struct Area {
        let left, right, top, bottom: Double
    }
}

extension LineChart.Mark {
    /// - Parameters:
    ///   - part: of the area's width.
    ///   - level: of the text.
    fileprivate func drawn(
        in area: LineChart.Area, part: Double, at level: Double, palette: LineChart.Palette
    ) -> String {
        let x = fixed(area.left + part * (area.right - area.left), 1)
        let isRight = part > 0.6
        return "<line x1=\"\(x)\" x2=\"\(x)\" y1=\"\(fixed(area.top, 1))\" y2=\"\(fixed(area.bottom, 1))\" "
            + "stroke=\"\(palette.mark)\" stroke-dasharray=\"5 4\"/>\n<text x=\"\(x)\" y=\"\(fixed(level, 1))\" "
            + "dx=\"\(isRight ? -6 : 6)\" text-anchor=\"\(isRight ? "end" : "start")\" fill=\"\(palette.mark)\" "
            // Readable where lines cross it.
            + "stroke=\"\(palette.background)\" stroke-width=\"4\" paint-order=\"stroke\">\(escaped(text))</text>\n"
    }
}

/// A range with ticks at round numbers: 1, 2 or 5 times a power of ten.
struct Axis {
    let low: Double
    let high: Double
    let ticks: [Double]
    private let step: Double
    private let isLogarithmic: Bool

    /// - Parameter isTight: the range is that of the values, otherwise it reaches to the ticks around them.
    init(_ values: [Double], isTight: Bool, isWhole: Bool, isLogarithmic: Bool) {
        var low = values.min() ?? 0
        var high = values.max() ?? 1
        if low == high {
            let room = low == 0 ? 1 : low.magnitude / 2
            (low, high) = (low - (isWhole ? 1 : room), high + (isWhole ? 1 : room))
        }
        let raw = (high - low) / 6
        let power = pow(10, floor(log10(raw)))
        var step = [1, 2, 5, 10].map { $0 * power }.first { $0 >= raw * 0.999 } ?? power
        if isWhole || isLogarithmic { step = max(step.rounded(), 1) }
        if !isTight {
            low = floor(low / step + 1e-9) * step
            high = ceil(high / step - 1e-9) * step
        }
        self.low = low
        self.high = high
        self.step = step
        self.isLogarithmic = isLogarithmic
        let first = Int(ceil(low / step - 1e-9))
        let last = Int(floor(high / step + 1e-9))
        ticks = first <= last ? (first...last).map { Double($0) * step } : []
    }

    func part(_ value: Double) -> Double { (value - low) / (high - low) }
    func contains(_ value: Double) -> Bool { value >= low && value <= high }

    /// As many places as the step needs; powers of ten as such.
    func label(_ tick: Double) -> String {
        if isLogarithmic {
            let exponent = Int(tick.rounded())
            if -3...3 ~= exponent { return exponent < 0 ? fixed(pow(10, tick), -exponent) : fixed(pow(10, tick), 0) }
            return "1e\(exponent)"
        }
        if step >= 1e6 || step < 1e-6 { return "\(tick)" }
        return fixed(tick, max(0, -Int(floor(log10(step) + 1e-9))))
    }
}

/// For the text of SVG and HTML, and for attributes in double quotes.
func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
        .replacing("\"", with: "&quot;")
}
