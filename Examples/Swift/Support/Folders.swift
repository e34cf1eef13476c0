// Folders of pictures for two classes, drawn: what an example trains on when nobody gives it photographs.

import FoundationEssentials
import Glibc
import ResNetSwift

func cosine(_ x: Double) -> Double { cos(x) }
func sine(_ x: Double) -> Double { sin(x) }

public func makeFolder(_ path: String) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
}

public func write(_ text: String, to path: String) throws {
    try Data(text.utf8).write(to: URL(filePath: path))
}

/// Draws `count` pictures, by turns of either class, as `folder/<class>/0000.png`; nothing if the folder is there.
public func drawFolder(
    _ folder: String, classes: [String], count: Int, seed: UInt64,
    _ draw: (_ label: Int, inout SampleRandom) -> Picture
) throws {
    if FileManager.default.fileExists(atPath: folder) { return }
    let draft = "\(folder).\(getpid()).part"
    for name in classes { try makeFolder("\(draft)/\(name)") }
    for index in 0..<count {
        let label = index % classes.count
        var random = SampleRandom(seed: seed, sample: index)
        let number = String(index + 10_000).dropFirst()
        try draw(label, &random).writePNG(to: "\(draft)/\(classes[label])/\(number).png")
    }
    try FileManager.default.moveItem(atPath: draft, toPath: folder)
}

private typealias Color = (Double, Double, Double)

extension SampleRandom {
    fileprivate mutating func color(_ range: ClosedRange<Double>) -> Color {
        (uniform(in: range), uniform(in: range), uniform(in: range))
    }
}

/// A head with pointed ears (0, cat) or hanging ears (1, dog), of any fur, before any wall.
public func drawPet(size: Int, dog: Bool, _ random: inout SampleRandom) -> Picture {
    var canvas = ColorCanvas(size: size, background: random.color(0.1...0.9))
    let fur = random.color(0.2...0.8)
    let dark = (fur.0 * 0.6, fur.1 * 0.6, fur.2 * 0.6)
    let (x, y, r) = (random.uniform(in: 0.4...0.6), random.uniform(in: 0.45...0.6), random.uniform(in: 0.18...0.26))
    for side in [-1.0, 1.0] {
        canvas.draw(dark) { plane, level in
            if dog {
                plane.ellipse(
                    x + side * r * 1.05, y + r * 0.25, r * 0.3, r * 0.75, angle: -side * 0.25, level: level)
            } else {
                plane.triangle(
                    (x + side * r * 0.15, y - r * 0.85), (x + side * r * 0.95, y - r * 0.3),
                    (x + side * r * 0.9, y - r * 1.5), level: level)
            }
        }
    }
    canvas.draw(fur) { $0.disk(x, y, r, level: $1) }
    if dog { canvas.draw((0.9, 0.85, 0.8)) { $0.ellipse(x, y + r * 0.4, r * 0.45, r * 0.35, level: $1) } }
    for side in [-1.0, 1.0] {
        canvas.draw((0.05, 0.05, 0.05)) { $0.disk(x + side * r * 0.4, y - r * 0.15, r * 0.13, level: $1) }
    }
    canvas.draw((0.1, 0.05, 0.05)) { $0.disk(x, y + r * 0.3, r * (dog ? 0.17 : 0.08), level: $1) }
    canvas.addNoise(0.08, &random)
    return canvas.picture
}

/// Somebody seen from the side, with the neck upright or bent over a telephone.
public func drawPosture(size: Int, bent: Bool, _ random: inout SampleRandom) -> Picture {
    var canvas = ColorCanvas(size: size, background: random.color(0.5...0.95))
    let (skin, shirt) = (random.color(0.3...0.6), random.color(0...0.5))
    let facing = random.chance(0.5) ? 1.0 : -1.0
    let (x, y) = (random.uniform(in: 0.42...0.58), random.uniform(in: 0.5...0.6))
    let angle = facing * (bent ? random.uniform(in: 0.75...1.15) : random.uniform(in: -0.1...0.2))
    let (dx, dy, neck) = (sine(angle), -cosine(angle), 0.16)
    canvas.draw(shirt) { $0.line(x, y + 0.05, x - facing * 0.03, 1.1, width: 0.24, level: $1) }
    canvas.draw(skin) { $0.line(x, y, x + dx * neck, y + dy * neck, width: 0.09, level: $1) }
    canvas.draw(skin) {
        $0.ellipse(x + dx * (neck + 0.1), y + dy * (neck + 0.1), 0.1, 0.13, angle: angle, level: $1)
    }
    canvas.addNoise(0.08, &random)
    return canvas.picture
}

/// Stained kidney: a glomerulus with an open tuft in its capsule (0), or one that is scarred (1).
public func drawGlomerulus(size: Int, sclerotic: Bool, _ random: inout SampleRandom) -> Picture {
    let pink = (random.uniform(in: 0.8...0.9), random.uniform(in: 0.5...0.62), random.uniform(in: 0.7...0.8))
    var canvas = ColorCanvas(size: size, background: pink)
    for _ in 0..<24 {  // tubules
        let (x, y, r) = (random.uniform(), random.uniform(), random.uniform(in: 0.05...0.09))
        canvas.draw((0.7, 0.38, 0.6)) { $0.ring(x, y, r, width: 0.02, level: $1, opacity: 0.7) }
    }
    let (x, y, r) = (random.uniform(in: 0.42...0.58), random.uniform(in: 0.42...0.58), random.uniform(in: 0.22...0.3))
    canvas.draw((0.95, 0.92, 0.95)) { $0.disk(x, y, r * 1.12, level: $1) }
    canvas.draw(sclerotic ? (0.9, 0.66, 0.78) : (0.75, 0.45, 0.68)) {
        $0.disk(x, y, r * (sclerotic ? 1.08 : 0.92), level: $1)
    }
    for _ in 0..<(sclerotic ? 6 : 45) {  // nuclei of cells
        let (angle, part) = (random.uniform(in: 0...(2 * .pi)), random.uniform().squareRoot() * r * 0.85)
        canvas.draw((0.3, 0.15, 0.45)) {
            $0.disk(x + part * cosine(angle), y + part * sine(angle), 0.014, level: $1, opacity: 0.9)
        }
    }
    canvas.addNoise(0.06, &random)
    return canvas.picture
}
