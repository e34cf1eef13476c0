// Cells as the Human Protein Atlas shows them, drawn, in exactly Kaggle's layout:
//
//     folder/train.csv                Id,Target       00070df0-...,16 0
//     folder/train/<Id>_red.png, _green.png, _blue.png, _yellow.png    microtubules, the protein, nucleus, reticulum
//     folder/sample_submission.csv    Id,Predicted    for the pictures of folder/test
//     folder/test_labels.csv          what Kaggle keeps to itself
//
// Each of the 28 labels has a pattern of its own in the green channel; where the nucleus and the cell's edge are, which many
// patterns depend on, the other three show. Labels are as unbalanced as the real ones: a few in every third cell, some in
// one of fifty.

import FoundationEssentials
import Glibc
import ResNetSwift

public enum SyntheticAtlas {
    /// About how often a label occurs: as in the real set, though the rarest are kept frequent enough for a small one.
    static let frequencies: [Double] = [
        0.35, 0.08, 0.15, 0.08, 0.09, 0.10, 0.06, 0.11, 0.04, 0.04, 0.04, 0.06, 0.05, 0.05, 0.06, 0.04, 0.05, 0.04,
        0.05, 0.07, 0.04, 0.15, 0.06, 0.12, 0.04, 0.25, 0.05, 0.04,
    ]

    /// Writes the set; nothing if the folder is there.
    public static func write(to folder: String, training: Int, test: Int, size: Int, seed: UInt64) throws {
        if FileManager.default.fileExists(atPath: folder) { return }
        let draft = "\(folder).\(getpid()).part"
        let (train, submission, labels) = ("Id,Target\n", "Id,Predicted\n", "Id,Target\n")
        let (trainTable, _) = try samples(in: "\(draft)/train", 0..<training, size, seed)
        let (testTable, identifiers) = try samples(in: "\(draft)/test", training..<training + test, size, seed)
        try Support.write(train + trainTable, to: "\(draft)/train.csv")
        try Support.write(labels + testTable, to: "\(draft)/test_labels.csv")
        try Support.write(
            submission + identifiers.map { "\($0),0\n" }.joined(), to: "\(draft)/sample_submission.csv")
        try FileManager.default.moveItem(atPath: draft, toPath: folder)
    }

    private static func samples(
        in folder: String, _ range: Range<Int>, _ size: Int, _ seed: UInt64
    ) throws -> (table: String, identifiers: [String]) {
        try makeFolder(folder)
        var (table, identifiers) = ("", [String]())
        for index in range {
            var random = SampleRandom(seed: seed, sample: index)
            let name = identifier(&random)
            let labels = drawLabels(&random)
            for (stain, picture) in zip(["red", "green", "blue", "yellow"], cell(labels, size, &random)) {
                try picture.writePNG(to: "\(folder)/\(name)_\(stain).png")
            }
            // Kaggle's own order is no order.
            table += "\(name),\(labels.reversed().map(String.init).joined(separator: " "))\n"
            identifiers.append(name)
        }
        return (table, identifiers)
    }

    /// `00070df0-bbc3-11e8-b2bc-ac1f6b6435d0`
    private static func identifier(_ random: inout SampleRandom) -> String {
        func digits(_ count: Int) -> String {
            (0..<count).map { _ in String(random.integer(below: 16), radix: 16) }.joined()
        }
        return "\(digits(8))-\(digits(4))-11e8-b2bc-ac1f6b6435d0"
    }

    /// One label by frequency, and by chance one or two more.
    private static func drawLabels(_ random: inout SampleRandom) -> [Int] {
        let sum = frequencies.reduce(0, +)
        var labels: Set<Int> = []
        let draws = 1 + (random.chance(0.55) ? 1 : 0) + (random.chance(0.15) ? 1 : 0)
        for _ in 0..<draws {
            var rest = random.uniform() * sum
            let label = frequencies.indices.first { index in
                rest -= frequencies[index]
                return rest < 0
            }
            labels.insert(label ?? 0)
        }
        return labels.sorted()
    }

    /// The four stains.
    private static func cell(_ labels: [Int], _ size: Int, _ random: inout SampleRandom) -> [Picture] {
        let place = CellPlace(
            x: random.uniform(in: 0.44...0.56), y: random.uniform(in: 0.44...0.56),
            nucleus: random.uniform(in: 0.14...0.18),
            edge: random.uniform(in: 0.37...0.43))
        let (x, y, n, e) = (place.x, place.y, place.nucleus, place.edge)
        var (red, green, blue, yellow) = (
            Canvas(size: size), Canvas(size: size), Canvas(size: size), Canvas(size: size)
        )
        red.disk(x, y, e, level: 0.15)
        for step in 0..<14 {
            let angle = Double(step) * 2 * .pi / 14 + random.uniform(in: -0.15...0.15)
            red.line(
                x + n * cosine(angle), y + n * sine(angle), x + e * cosine(angle + 0.2), y + e * sine(angle + 0.2),
                width: 0.015, level: 0.7, opacity: 0.8)
        }
        blue.disk(x, y, n, level: 0.8)
        yellow.disk(x, y, e * 0.85, level: 0.35)
        yellow.disk(x, y, n * 1.5, level: 0.7)
        yellow.disk(x, y, n, level: 0.15)
        // What fills a whole part of the cell first, or it would hide the rest.
        let fills: Set = [0, 6, 25]
        for label in labels.filter(fills.contains) + labels.filter({ !fills.contains($0) }) {
            draw(label, place, on: &green, &random)
        }
        var stains = [red, green, blue, yellow]
        for index in stains.indices { stains[index].addNoise(0.05, &random) }
        return stains.map(\.picture)
    }

    private struct CellPlace {
        let x, y, nucleus, edge: Double

        /// A place between two distances from the middle.
        func between(_ low: Double, _ high: Double, _ random: inout SampleRandom) -> (Double, Double) {
            let (angle, r) = (random.uniform(in: 0...(2 * .pi)), random.uniform(in: low...high))
            return (x + r * cosine(angle), y + r * sine(angle))
        }
    }

    // One case a label: long, and a table all the same.
    private static func draw(_ label: Int, _ p: CellPlace, on g: inout Canvas, _ random: inout SampleRandom) {
        let (x, y, n, e) = (p.x, p.y, p.nucleus, p.edge)
        func turn() -> Double { random.uniform(in: 0...(2 * .pi)) }
        func dots(_ count: Int, _ low: Double, _ high: Double, radius: Double, level: Double = 1) {
            for _ in 0..<count {
                let (a, b) = p.between(low, high, &random)
                g.disk(a, b, radius, level: level)
            }
        }
        func strokes(_ count: Int, _ low: Double, _ high: Double, length: Double, width: Double, along: Double? = nil) {
            for _ in 0..<count {
                let (a, b) = p.between(low, high, &random)
                let angle = along ?? turn()
                let (dx, dy) = (length / 2 * cosine(angle), length / 2 * sine(angle))
                g.line(a - dx, b - dy, a + dx, b + dy, width: width)
            }
        }
        switch label {
        case 0: g.disk(x, y, n, level: 0.7)
        case 1: g.ring(x, y, n, width: 0.03)
        case 2: dots(3, 0.03, n * 0.6, radius: 0.04)
        case 3: dots(5, 0, n * 0.35, radius: 0.018)
        case 4: dots(22, 0, n * 0.9, radius: 0.014)
        case 5: dots(6, n * 0.4, n * 0.85, radius: 0.022)
        case 6: g.ring(x, y, n * 1.4, width: n * 0.7, level: 0.6)
        case 7: g.ring(x, y, n * 1.25, width: 0.05, from: turn(), sweep: 1.2)
        case 8: dots(60, n * 1.1, e * 0.95, radius: 0.008)
        case 9: dots(22, n * 1.1, e * 0.95, radius: 0.016)
        case 10: dots(9, n * 1.2, e * 0.9, radius: 0.03)
        case 11:
            for _ in 0..<7 {
                let (a, b) = p.between(n, e * 0.7, &random)
                g.ring(a, b, 0.1, width: 0.014, from: turn(), sweep: 1.6)
            }
        case 12:
            let angle = turn()
            strokes(8, 0, e * 0.6, length: e * 1.1, width: 0.012, along: angle)
        case 13:
            for step in 0..<12 {
                let angle = Double(step) * .pi / 6 + random.uniform(in: -0.1...0.1)
                let (c, s) = (cosine(angle), sine(angle))
                g.line(x + e * 0.82 * c, y + e * 0.82 * s, x + e * c, y + e * s, width: 0.025)
            }
        case 14:
            for step in 0..<16 {
                let angle = Double(step) * .pi / 8 + random.uniform(in: -0.1...0.1)
                let (c, s) = (cosine(angle), sine(angle))
                g.line(x + n * c, y + n * s, x + e * c, y + e * s, width: 0.012)
            }
        case 15: dots(14, e * 0.95, e * 1.02, radius: 0.018)
        case 16:
            let angle = turn()
            let (c, s) = (cosine(angle), sine(angle))
            g.line(x + e * c, y + e * s, x + e * 1.25 * c, y + e * 1.25 * s, width: 0.06)
        case 17:
            let angle = turn()
            for side in [0, Double.pi] {
                for spread in [-0.5, -0.25, 0, 0.25, 0.5] {
                    let (c, s) = (cosine(angle + side + spread), sine(angle + side + spread))
                    let (tipX, tipY) = (x - n * 1.2 * cosine(angle + side), y - n * 1.2 * sine(angle + side))
                    g.line(tipX, tipY, tipX + n * 1.2 * c, tipY + n * 1.2 * s, width: 0.012)
                }
            }
        case 18:
            let (a, b) = p.between(n * 1.2, n * 1.3, &random)
            g.disk(a, b, 0.03)
            g.ring(a, b, 0.06, width: 0.012)
        case 19:
            let (a, b) = p.between(n * 1.2, n * 1.3, &random)
            g.disk(a - 0.022, b, 0.018)
            g.disk(a + 0.022, b, 0.018)
        case 20:
            for _ in 0..<10 {
                let (a, b) = p.between(n * 1.2, e * 0.9, &random)
                g.ring(a, b, 0.025, width: 0.012)
            }
        case 21: g.ring(x, y, e, width: 0.035)
        case 22: for _ in 0..<3 { g.ring(x, y, e, width: 0.06, from: turn(), sweep: 0.7) }
        case 23: strokes(40, n * 1.1, e * 0.75, length: 0.05, width: 0.014)
        case 24:
            let (a, b) = p.between(n * 1.3, n * 1.5, &random)
            g.disk(a, b, 0.07)
        case 25: g.ring(x, y, (n + e) / 2, width: e - n, level: 0.45)
        case 26: dots(4, n * 1.3, e * 0.9, radius: 0.022)
        default:
            strokes(3, n * 1.2, e * 0.8, length: 0.13, width: 0.02)
            for _ in 0..<2 {
                let (a, b) = p.between(n * 1.3, e * 0.8, &random)
                g.ring(a, b, 0.045, width: 0.018)
            }
        }
    }
}
