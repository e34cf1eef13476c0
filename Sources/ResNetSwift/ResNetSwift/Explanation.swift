// What a classifier looked at: the picture as the network sees it, the class, and how much each place adds to it.

import ResNetData
import ResNetExecution
import ResNetGraph
import ResNetModels

/// What a network looked at when it gave a picture a class.
public struct Explanation: Sendable {
    /// The class that is explained.
    public let score: Classifier.Score
    /// How much each place of the last feature map adds to its logit.
    public let map: ClassActivationMap
    /// As the network sees it, after resizing and cropping.
    public let picture: Picture

    /// The picture with the map over it: from violet to yellow where it speaks for the class, unchanged elsewhere. Pictures
    /// smaller than 224 pixels are enlarged by a whole number.
    public var heat: Picture {
        let zoom = max(1, (223 + min(picture.height, picture.width)) / min(picture.height, picture.width))
        let (height, width) = (picture.height * zoom, picture.width * zoom)
        let peak = max(map.values.max() ?? 0, .leastNormalMagnitude)
        var pixels = [UInt8](repeating: 0, count: 3 * height * width)
        for y in 0..<height {
            let row = Self.taps(y, of: height, among: map.height)
            for x in 0..<width {
                let column = Self.taps(x, of: width, among: map.width)
                func line(_ y: Int) -> Float {
                    map.values[y * map.width + column.first] * (1 - column.part)
                        + map.values[y * map.width + column.second] * column.part
                }
                let value = line(row.first) * (1 - row.part) + line(row.second) * row.part
                let strength = min(max(value / peak, 0), 1)
                let color = Self.color(strength)
                let source = ((y / zoom) * picture.width + x / zoom) * picture.channels
                for channel in 0..<3 {
                    let own = Float(picture.pixels[source + (picture.channels < 3 ? 0 : channel)])
                    let mixed = own + 0.7 * strength * (color[channel] - own)
                    pixels[3 * (y * width + x) + channel] = UInt8(min(max(mixed.rounded(), 0), 255))
                }
            }
        }
        return Picture(height: height, width: width, channels: 3, pixels: pixels)
    }

    /// Bilinear, pixel centers at halves.
    private static func taps(_ place: Int, of length: Int, among cells: Int) -> (first: Int, second: Int, part: Float) {
        let exact = (Float(place) + 0.5) * Float(cells) / Float(length) - 0.5
        let inside = min(max(exact, 0), Float(cells - 1))
        let first = Int(inside)
        return (first, min(first + 1, cells - 1), inside - Float(first))
    }

    /// Matplotlib's inferno, at five places and straight lines between.
    private static func color(_ strength: Float) -> [Float] {
        let anchors: [[Float]] = [[40, 11, 84], [101, 21, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]]
        let place = strength * 4
        let first = min(Int(place), 3)
        return zip(anchors[first], anchors[first + 1]).map { $0 + ($1 - $0) * (place - Float(first)) }
    }
}

extension Classifier {
    /// What the network looks at when it gives a picture a class.
    /// - Parameters:
    ///   - picture: of any kind.
    ///   - index: the class; nil means the most probable one.
    /// - Throws: `PictureError`; `ExecutionError`; `ClassifierError` for a class that there is not, for a network without
    ///   a head, and for one whose head is more than a mean, linear layers and ReLU.
    public func explain(_ picture: PictureInput, class index: Int? = nil) throws -> Explanation {
        if let index, !(0..<classCount).contains(index) {
            throw ClassifierError(.argument, "class: expected 0...\(classCount - 1), found \(index)")
        }
        let prepared = try pictureTransform().prepared(picture)
        return try Explainer(self, size: Size2(prepared.height, prepared.width)).explain(prepared, class: index)
    }
}

/// Explains pictures of one size with one plan.
package struct Explainer: Sendable {
    private let classifier: Classifier
    private let transform: ImageTransform
    private let plan: InferencePlan
    /// Of the last feature map.
    private let node: String

    /// - Throws: `ExecutionError`; `ClassifierError` for a network without a head, and for one whose head is more than a
    ///   mean, linear layers and ReLU.
    package init(_ classifier: Classifier, size: Size2) throws {
        try classifier.requireHead()
        guard let end = classifier.model.graph.trunkEnd else {
            throw ClassifierError(
                .unsupported,
                "\(classifier.name): expected a head of a mean, linear layers and ReLU to explain, found another")
        }
        self.classifier = classifier
        transform = classifier.transform
        node = classifier.model.graph.nodes[end].name
        plan = try InferencePlan(
            model: classifier.model,
            input: ImageShape(channels: classifier.inputChannels, height: size.height, width: size.width), batch: 1,
            options: PlanOptions(
                threads: classifier.options.threads, accuracy: classifier.options.accuracy,
                input: .bytesNHWC(scale: transform.scale, shift: transform.shift), taps: [node]))
    }

    /// - Parameters:
    ///   - prepared: as the network sees it, of the size.
    ///   - index: one of the classes; nil means the most probable one.
    package func explain(_ prepared: Picture, class index: Int?) throws -> Explanation {
        let prediction = try plan.predict(PictureBatch([prepared], for: transform).pixels)
        let ranked = classifier.scores(prediction.logits, top: classifier.classCount)[0]
        let score = index.map { index in ranked.first { $0.index == index }! } ?? ranked[0]
        return Explanation(
            score: score, map: ClassActivationMap(prediction.taps[node]!, of: classifier.model, class: score.index),
            picture: prepared)
    }
}
