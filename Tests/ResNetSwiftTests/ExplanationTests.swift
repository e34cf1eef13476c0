// Class activation maps against sums written out here: w f / (H W) for the mean and one layer, finite differences of the
// head for others.

import Foundation
import XCTest

@testable import ResNetSwift

final class ExplanationTests: XCTestCase {
    private static let digits = "demo/digits.safetensors"

    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../..").standardized.path

    private func root(_ path: String) -> String { "\(Self.repository)/\(path)" }

    /// Logits, h and the last feature map (C, H, W) of a picture.
    private func run(
        _ classifier: Classifier, _ picture: PictureInput
    ) throws -> (logits: [Float], features: [Float], map: Tensor) {
        let transform = try classifier.pictureTransform()
        let prepared = try transform.prepared(picture)
        let node = classifier.model.graph.nodes[classifier.model.graph.trunkEnd!].name
        let plan = try InferencePlan(
            model: classifier.model,
            input: ImageShape(channels: prepared.channels, height: prepared.height, width: prepared.width), batch: 1,
            options: PlanOptions(input: .bytesNHWC(scale: transform.scale, shift: transform.shift), taps: [node]))
        let prediction = try plan.predict(PictureBatch([prepared], for: transform).pixels)
        return (prediction.logits.values, prediction.features!.values, prediction.taps[node]!)
    }

    func testAMeanAndOneLayer() throws {
        let classifier = try Classifier(weights: root(Self.digits))
        let picture = PictureInput.file(root("demo/digits/seven_1.png"))
        let (logits, h, map) = try run(classifier, picture)
        let (channels, height, width) = (map.shape[1], map.shape[2], map.shape[3])
        let (w, b, f) = (classifier.model["fc.weight"].values, classifier.model["fc.bias"].values, map.values)
        for index in [7, 3] {
            let found = try classifier.explain(picture, class: index)
            XCTAssertEqual(found.score.index, index)
            XCTAssertEqual([found.map.height, found.map.width], [height, width])
            for place in 0..<height * width {
                var sum = 0.0
                for k in 0..<channels { sum += Double(w[index * channels + k]) * Double(f[k * height * width + place]) }
                XCTAssertEqual(
                    Double(found.map.values[place]), sum / Double(height * width), accuracy: 1e-5, "place \(place)")
            }
            var logit = Double(b[index])
            for k in 0..<channels { logit += Double(w[index * channels + k]) * Double(h[k]) }
            XCTAssertEqual(Double(found.map.logit), logit, accuracy: 1e-4)
            XCTAssertEqual(found.map.logit, logits[index], accuracy: 1e-3)
            XCTAssertEqual(found.map.rest, b[index], accuracy: 1e-4)
            XCTAssertEqual(found.map.values.reduce(found.map.rest, +), found.map.logit, accuracy: 1e-4)
        }
        XCTAssertEqual(try classifier.explain(picture).score.name, "seven")
    }

    func testOtherHeadsByFiniteDifferences() throws {
        let digits = try Classifier(weights: root(Self.digits))
        var other = try digits.model.replacingHead(with: .hidden(12, dropout: 0.5), classes: 4, seed: 3)
        other.classNames = nil
        let hidden = try Classifier(model: other, options: ClassifierOptions(transform: digits.transform))
        var small = ClassifierOptions(transform: ImageTransform(steps: [.resize(64), .toFloat]))
        small.inputSize = 64
        let flat = try Classifier(randomWeightsOf: .alexnet_mini, classes: 4, seed: 5, options: small)
        for (classifier, isPooled) in [(hidden, true), (flat, false)] {
            let picture = PictureInput.file(root("demo/digits/two_2.png"))
            let (logits, _, map) = try run(classifier, picture)
            let places = map.shape[2] * map.shape[3]
            let f = map.values.map(Double.init)
            func logit(_ f: [Double]) -> Double {
                var x = f
                if isPooled {
                    x = (0..<f.count / places).map { k in f[k * places..<(k + 1) * places].reduce(0, +) / Double(places)
                    }
                }
                let layers = isPooled ? ["head.2", "head.5"] : ["fc1", "fc2", "fc3"]
                for layer in layers {
                    let (w, b) = (classifier.model["\(layer).weight"].values, classifier.model["\(layer).bias"].values)
                    let inputs = x.count
                    x = b.indices.map { row in
                        (0..<inputs).reduce(Double(b[row])) { $0 + Double(w[row * inputs + $1]) * x[$1] }
                    }
                    if layer != layers.last { x = x.map { max($0, 0) } }
                }
                return x[2]
            }
            let found = try classifier.explain(picture, class: 2)
            XCTAssertEqual(Double(found.map.logit), logit(f), accuracy: 1e-4)
            XCTAssertEqual(found.map.logit, logits[2], accuracy: 1e-3)
            XCTAssertEqual(found.map.values.reduce(found.map.rest, +), found.map.logit, accuracy: 1e-4)
            // How the logit changes when a place is made a little stronger in all channels.
            for place in [0, places / 2, places - 1] {
                var more = f
                for k in 0..<f.count / places { more[k * places + place] *= 1 + 1e-4 }
                XCTAssertEqual(
                    (logit(more) - logit(f)) / 1e-4, Double(found.map.values[place]), accuracy: 1e-4, "place \(place)")
            }
        }
    }

    func testTheHeatIsThePictureWhereNothingSpeaksForTheClass() throws {
        let picture = Picture(height: 2, width: 4, channels: 1, pixels: [10, 20, 30, 40, 50, 60, 70, 80])
        let classifier = try Classifier(weights: root(Self.digits))
        var found = try classifier.explain(.pixels(picture, name: "picture"))
        XCTAssertEqual([found.picture.height, found.picture.width], [32, 32])
        XCTAssertEqual([found.heat.height, found.heat.width, found.heat.channels], [224, 224, 3])
        found = Explanation(
            score: found.score,
            map: ClassActivationMap(height: 1, width: 2, values: [-1, 2], rest: 0, logit: 1), picture: picture)
        let heat = found.heat
        XCTAssertEqual([heat.height, heat.width], [224, 448])
        XCTAssertEqual(Array(heat.pixels[0..<3]), [10, 10, 10])
        // 0.7 of inferno's end and 0.3 of 40.
        for (found, wanted) in zip(heat.pixels[447 * 3..<448 * 3], [188.4, 190.5, 126.8]) {
            XCTAssertEqual(Double(found), wanted, accuracy: 0.51)
        }
    }

    func testRefusals() throws {
        let classifier = try Classifier(weights: root(Self.digits))
        let picture = PictureInput.file(root("demo/digits/two_2.png"))
        for index in [-1, 10] { XCTAssertThrowsError(try classifier.explain(picture, class: index)) }
        XCTAssertThrowsError(try classifier.explain(.file("/nowhere.png")))
    }
}
