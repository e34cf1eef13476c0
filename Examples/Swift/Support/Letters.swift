// Capital letters in strokes, each drawing a little different: a broad task to pretrain on, without any data.

import ResNetSwift

/// The corners of each letter's strokes, x and y from 0 to 10, y downwards; a comma ends a stroke.
private let strokes: [(name: String, corners: String)] = [
    ("A", "0 10 5 0 10 10,2 6 8 6"),
    ("B", "0 0 0 10,0 0 7 0 9 2 7 5 0 5,7 5 10 7 8 10 0 10"),
    ("C", "10 2 7 0 3 0 0 3 0 7 3 10 7 10 10 8"),
    ("D", "0 0 0 10 6 10 10 7 10 3 6 0 0 0"),
    ("E", "10 0 0 0 0 10 10 10,0 5 7 5"),
    ("F", "10 0 0 0 0 10,0 5 7 5"),
    ("G", "10 2 7 0 3 0 0 3 0 7 3 10 7 10 10 8 10 5 6 5"),
    ("H", "0 0 0 10,10 0 10 10,0 5 10 5"),
    ("I", "5 0 5 10,2 0 8 0,2 10 8 10"),
    ("J", "8 0 8 8 6 10 3 10 1 8"),
    ("K", "0 0 0 10,9 0 0 5 9 10"),
    ("L", "0 0 0 10 9 10"),
    ("M", "0 10 1 0 5 6 9 0 10 10"),
    ("N", "0 10 0 0 10 10 10 0"),
    ("O", "3 0 7 0 10 3 10 7 7 10 3 10 0 7 0 3 3 0"),
    ("P", "0 10 0 0 7 0 10 2 7 5 0 5"),
    ("Q", "3 0 7 0 10 3 10 7 7 10 3 10 0 7 0 3 3 0,6 7 10 10"),
    ("R", "0 10 0 0 7 0 10 2 7 5 0 5,4 5 10 10"),
    ("S", "9 1 6 0 2 0 0 2 2 5 8 5 10 7 8 10 3 10 0 9"),
    ("T", "0 0 10 0,5 0 5 10"),
    ("U", "0 0 0 7 3 10 7 10 10 7 10 0"),
    ("V", "0 0 5 10 10 0"),
    ("W", "0 0 2 10 5 4 8 10 10 0"),
    ("X", "0 0 10 10,10 0 0 10"),
    ("Y", "0 0 5 5 10 0,5 5 5 10"),
    ("Z", "0 0 10 0 0 10 10 10"),
]

public let letterNames = strokes.map(\.name)

/// Letter `index` of `letterNames`, white on black: turned, slanted, stretched, with corners that wander.
/// - Parameter isHasty: by another hand: more turned and slanted, corners anywhere, on dirty paper.
public func drawLetter(size: Int, index: Int, isHasty: Bool = false, _ random: inout SampleRandom) -> Picture {
    var canvas = Canvas(size: size)
    let haste = isHasty ? 2.0 : 1.0
    let angle = random.uniform(in: -0.2...0.2) * haste
    let slant = random.uniform(in: -0.25...0.25) * haste
    let (c, s) = (cosine(angle), sine(angle))
    let (width, height) = (random.uniform(in: 0.4...0.7), random.uniform(in: 0.6...0.85))
    let (x, y) = (random.uniform(in: 0.44...0.56), random.uniform(in: 0.46...0.54))
    let (pen, level) = (random.uniform(in: 0.08...0.17), random.uniform(in: 0.7...1))
    for stroke in strokes[index].corners.split(separator: ",") {
        let numbers = stroke.split(separator: " ").map { Double($0) ?? 0 }
        var last: (Double, Double)?
        for corner in stride(from: 0, to: numbers.count - 1, by: 2) {
            let v = (numbers[corner + 1] / 10 - 0.5 + random.uniform(in: -0.05...0.05) * haste) * height
            let u = (numbers[corner] / 10 - 0.5 + random.uniform(in: -0.05...0.05) * haste) * width - slant * v
            let point = (x + u * c - v * s, y + u * s + v * c)
            if let last { canvas.line(last.0, last.1, point.0, point.1, width: pen, level: level) }
            last = point
        }
    }
    canvas.addNoise(isHasty ? 0.2 : 0.05, &random)
    return canvas.picture
}
