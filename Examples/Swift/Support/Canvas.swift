// A small canvas of floats, 0 black to 1 white, on which soft shapes are drawn. Coordinates are parts of the side, so that
// a drawing does not depend on its size.

import ResNetSwift

public struct Canvas {
    public let size: Int
    private var values: [Float]

    public init(size: Int, background: Double = 0) {
        self.size = size
        values = Array(repeating: Float(background), count: size * size)
    }

    /// Blends towards `level` where `distance` (in pixels, negative inside) is below 0, with an edge one pixel wide.
    /// Only the box around the shape is visited.
    private mutating func paint(
        _ box: (x: Double, y: Double, reach: Double), _ level: Double, opacity: Double,
        distance: (Double, Double) -> Double
    ) {
        let side = Double(size)
        func bounds(_ center: Double) -> Range<Int> {
            let low = max(Int(((center - box.reach) * side).rounded(.down)) - 1, 0)
            return low..<max(min(Int(((center + box.reach) * side).rounded(.up)) + 2, size), low)
        }
        let columns = bounds(box.x)
        for row in bounds(box.y) {
            for column in columns {
                let d = distance(Double(column) + 0.5, Double(row) + 0.5)
                let cover = Float(min(max(0.5 - d, 0), 1) * opacity)
                if cover > 0 { values[row * size + column] += (Float(level) - values[row * size + column]) * cover }
            }
        }
    }

    /// An ellipse with half axes `rx` and `ry`, turned by `angle` (radians).
    public mutating func ellipse(
        _ x: Double, _ y: Double, _ rx: Double, _ ry: Double, angle: Double = 0, level: Double = 1, opacity: Double = 1
    ) {
        let side = Double(size)
        let (c, s) = (cosine(angle), sine(angle))
        paint((x, y, max(rx, ry)), level, opacity: opacity) { px, py in
            let (dx, dy) = (px - x * side, py - y * side)
            let (u, v) = ((dx * c + dy * s) / (rx * side), (dy * c - dx * s) / (ry * side))
            return ((u * u + v * v).squareRoot() - 1) * min(rx, ry) * side
        }
    }

    public mutating func disk(_ x: Double, _ y: Double, _ r: Double, level: Double = 1, opacity: Double = 1) {
        ellipse(x, y, r, r, level: level, opacity: opacity)
    }

    /// A circle's line of that width, or its part that begins at angle `from` and goes on for `sweep`.
    public mutating func ring(
        _ x: Double, _ y: Double, _ r: Double, width: Double, from: Double = 0, sweep: Double = 2 * .pi,
        level: Double = 1, opacity: Double = 1
    ) {
        let side = Double(size)
        let middle = from + sweep / 2
        let (c, s, limit) = (cosine(middle), sine(middle), cosine(min(sweep / 2, .pi)))
        paint((x, y, r + width), level, opacity: opacity) { px, py in
            let (dx, dy) = (px - x * side, py - y * side)
            let length = (dx * dx + dy * dy).squareRoot()
            if sweep < 2 * .pi, dx * c + dy * s < limit * length { return 1 }
            return abs(length - r * side) - width * side / 2
        }
    }

    public mutating func line(
        _ x0: Double, _ y0: Double, _ x1: Double, _ y1: Double, width: Double, level: Double = 1, opacity: Double = 1
    ) {
        let side = Double(size)
        let (dx, dy) = ((x1 - x0) * side, (y1 - y0) * side)
        let square = max(dx * dx + dy * dy, 1e-9)
        let reach = max(abs(x1 - x0), abs(y1 - y0)) / 2 + width
        paint(((x0 + x1) / 2, (y0 + y1) / 2, reach), level, opacity: opacity) { px, py in
            let (u, v) = (px - x0 * side, py - y0 * side)
            let t = min(max((u * dx + v * dy) / square, 0), 1)
            let (ex, ey) = (u - t * dx, v - t * dy)
            return (ex * ex + ey * ey).squareRoot() - width * side / 2
        }
    }

    public mutating func triangle(_ a: (Double, Double), _ b: (Double, Double), _ c: (Double, Double), level: Double) {
        let side = Double(size)
        func edge(_ p: (Double, Double), _ q: (Double, Double), _ x: Double, _ y: Double) -> Double {
            let (dx, dy) = ((q.0 - p.0) * side, (q.1 - p.1) * side)
            return ((y - p.1 * side) * dx - (x - p.0 * side) * dy) / max((dx * dx + dy * dy).squareRoot(), 1e-9)
        }
        let turn = edge(a, b, c.0 * side, c.1 * side) > 0 ? -1.0 : 1.0
        let (x, y) = ((a.0 + b.0 + c.0) / 3, (a.1 + b.1 + c.1) / 3)
        let reach = [a, b, c].map { max(abs($0.0 - x), abs($0.1 - y)) }.max()!
        paint((x, y, reach), level, opacity: 1) { px, py in
            max(edge(a, b, px, py) * turn, edge(b, c, px, py) * turn, edge(c, a, px, py) * turn)
        }
    }

    /// Uniform noise of that amplitude on every pixel.
    public mutating func addNoise(_ amplitude: Double, _ random: inout SampleRandom) {
        for index in values.indices { values[index] += Float(amplitude * (random.uniform() * 2 - 1)) }
    }

    /// (size, size) bytes.
    public var picture: Picture { Picture(height: size, width: size, channels: 1, pixels: bytes) }

    var bytes: [UInt8] { values.map { UInt8(min(max($0 * 255, 0), 255).rounded()) } }
}

/// A drawing in red, green and blue.
public struct ColorCanvas {
    private var planes: [Canvas]

    public init(size: Int, background: (Double, Double, Double)) {
        planes = [background.0, background.1, background.2].map { Canvas(size: size, background: $0) }
    }

    /// The same shape in all three planes, each with the color's own level.
    public mutating func draw(_ color: (Double, Double, Double), _ shape: (inout Canvas, _ level: Double) -> Void) {
        shape(&planes[0], color.0)
        shape(&planes[1], color.1)
        shape(&planes[2], color.2)
    }

    public mutating func addNoise(_ amplitude: Double, _ random: inout SampleRandom) {
        for index in planes.indices { planes[index].addNoise(amplitude, &random) }
    }

    public var picture: Picture { Picture(stacking: planes.map(\.picture)) }
}
