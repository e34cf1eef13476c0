// Weights in, answers out: pictures from paths, memory and pixels, backbones without a head, class names that do not fit.

import Foundation
import ResNetSwift
import XCTest

final class ClassifierTests: XCTestCase {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../..").standardized.path
    private let weights = "\(ClassifierTests.repository)/demo/digits.safetensors"

    private func digit(_ name: String) -> String { "\(Self.repository)/demo/digits/\(name).png" }

    private func bytes(_ path: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    }

    private func message(_ body: () throws -> Void, line: UInt = #line) -> String {
        do {
            try body()
            XCTFail("nothing was thrown", line: line)
            return ""
        } catch { return "\(error)" }
    }

    // MARK: - Pictures

    func testFilesBytesAndPixelsGiveTheSameAnswer() throws {
        let classifier = try Classifier(weights: weights)
        XCTAssertEqual(classifier.name, "cifar_resnet8")
        XCTAssertEqual(classifier.classCount, 10)
        XCTAssertEqual(classifier.inputSize, 32)
        XCTAssertEqual(classifier.inputChannels, 1)
        XCTAssertEqual(classifier.headKind, .linear)
        let path = digit("seven_1")
        let scores = try classifier.classify(path, top: 3)
        XCTAssertEqual(scores.count, 3)
        XCTAssertEqual(scores[0].name, "seven")
        XCTAssertEqual(scores[0].index, 7)
        XCTAssertNil(scores[0].isPresent)
        XCTAssertEqual(try classifier.classify(try bytes(path), top: 3), scores)
        let pixels = PictureInput.pixels(try Picture(contentsOf: path), name: "pixels")
        XCTAssertEqual(try classifier.classify([pixels], top: 3), [scores])
    }

    func testWeightsFromMemory() throws {
        let onDisk = try Classifier(weights: weights)
        let inMemory = try Classifier(weights: try bytes(weights))
        XCTAssertEqual(inMemory.origin, "weights in memory")
        let paths = [digit("two_1"), digit("nine_1")]
        XCTAssertEqual(try inMemory.classify(paths), try onDisk.classify(paths))
        let fault = message { _ = try Classifier(weights: [1, 2, 3], name: "upload") }
        XCTAssertTrue(fault.hasPrefix("upload: not a weight file"), fault)
    }

    func testFeaturesAndArrays() throws {
        let classifier = try Classifier(weights: weights, options: ClassifierOptions(batch: 2))
        let paths = ["one_2", "four_1", "six_2"].map(digit)
        let h = try classifier.embed(paths)
        XCTAssertEqual(h.shape, [3, 64])
        let batch = try classifier.transform.batch(try paths.map { try classifier.transform.picture(contentsOf: $0) })
        let prediction = try classifier.predict(batch.tensor())
        XCTAssertEqual(classifier.scores(prediction.logits, top: 1).map { $0[0].name }, ["one", "four", "six"])
        for (a, b) in zip(try XCTUnwrap(prediction.features).values, h.values) {
            XCTAssertEqual(a, b, accuracy: 1e-4 * max(1, abs(a)))
        }
        XCTAssertEqual(
            message { _ = try classifier.predict(Tensor(shape: [1, 3, 32, 32], repeating: 0)) },
            "cifar_resnet8: expected 1 channels for cifar_resnet8, found 3 in [1, 3, 32, 32]")
        XCTAssertEqual(
            message { _ = try classifier.predict(Tensor(shape: [32, 32], repeating: 0)) },
            "cifar_resnet8: expected pictures (N, C, H, W), found an array of shape [32, 32]")
    }

    func testAPlanIsCompiledOnce() throws {
        let classifier = try Classifier(weights: weights)
        XCTAssertTrue(try classifier.plan() === classifier.plan(size: 32))
        XCTAssertFalse(try classifier.plan() === classifier.plan(size: 48))
        var plans: [InferencePlan] = []
        for _ in 0..<2 {
            try classifier.run([.file(digit("one_2"))]) { if case .planned(let plan) = $0 { plans.append(plan) } }
        }
        XCTAssertEqual(plans.count, 2)
        XCTAssertTrue(plans[0] === plans[1])
    }

    func testUnreadablePicturesAreEventsInOrder() throws {
        let classifier = try Classifier(weights: weights, options: ClassifierOptions(batch: 2))
        let pictures: [PictureInput] = [
            .file(digit("three_1")), .bytes([1, 2, 3], name: "upload 7"), .file("/nowhere.png"), .file(digit("five_2")),
            .pixels(Picture(height: 2, width: 2, channels: 4, pixels: Array(repeating: 0, count: 16)), name: "stains"),
            .file(digit("two_1")),
        ]
        var answered: [Int] = []
        var names: [String] = []
        var failures: [Int: String] = [:]
        try classifier.run(pictures) { event in
            switch event {
            case .failed(let picture, let error): failures[picture] = "\(error)"
            case .answered(let pictures, let prediction):
                answered += pictures
                names += classifier.scores(prediction.logits, top: 1).map { $0[0].name }
            case .planned, .warning: break
            }
        }
        XCTAssertEqual(answered, [0, 3, 5])
        XCTAssertEqual(names, ["three", "five", "two"])
        XCTAssertEqual(failures.keys.sorted(), [1, 2, 4])
        XCTAssertTrue(failures[1]?.hasPrefix("upload 7: is not a ") == true, "\(failures)")
        XCTAssertEqual(failures[2], "/nowhere.png: no such file")
        XCTAssertEqual(failures[4], "stains: the picture has 4 channels where the transform expects 1")
        XCTAssertEqual(message { _ = try classifier.classify(pictures) }, failures[1])
    }

    func testTransformsThatDoNotFit() throws {
        func fault(_ transform: ImageTransform) throws -> String {
            let classifier = try Classifier(weights: weights, options: ClassifierOptions(transform: transform))
            return message { _ = try classifier.classify(digit("one_2")) }
        }
        XCTAssertEqual(
            try fault(.imageNetV1()),
            "cifar_resnet8: expected pictures of 1 channels, but the transform yields 3; choose another transform")
        let random = ImageTransform(channels: 1, steps: [.randomHorizontalFlip(), .toFloat])
        XCTAssertEqual(
            try fault(random), "\(weights): expected a transform without random steps, found one for training")
        let free = ImageTransform(channels: 1, steps: [.toFloat, .normalize(mean: [0.5], std: [0.5])])
        let classifier = try Classifier(weights: weights, options: ClassifierOptions(transform: free))
        XCTAssertEqual(try classifier.classify(digit("one_2"), top: 1)[0].name, "one")
    }

    func testTheUsualTransformFitsTheUsualSize() throws {
        var options = ClassifierOptions()
        let resnet = try Classifier(randomWeightsOf: .resnet18, options: options)
        XCTAssertEqual(resnet.transform, .imageNetV1())
        XCTAssertEqual(resnet.classNames?[281], "tabby")
        XCTAssertEqual(try Classifier(randomWeightsOf: .cifar_resnet14).transform, .cifar())
        options.inputSize = Size2(96, 128)
        let wide = try Classifier(randomWeightsOf: .cifar_resnet14, classes: 3, options: options)
        XCTAssertEqual(wide.transform.fixedOutputSize, Size2(96, 128))
        XCTAssertNil(wide.classNames)
        XCTAssertEqual(try wide.classify(digit("one_2"), top: 9).count, 3)
        XCTAssertEqual(wide.className(2), "class 2")
        XCTAssertEqual(try Classifier(randomWeightsOf: .googlenet).transform.fixedOutputSize, 280)
    }

    func testLabelsWithThresholds() throws {
        var model = try ModelName.cifar_resnet14.model(classes: 3, seed: 3)
        model.labelThresholds = LabelThresholds([0.1, 0.5, 0.9])
        let classifier = try Classifier(model: model)
        let scores = classifier.scores(Tensor(shape: [1, 3], values: [-1, 0, 1]), top: 3)[0]
        XCTAssertEqual(scores.map(\.index), [2, 1, 0])  // sigmoids 0.73, 0.5, 0.27
        XCTAssertEqual(scores.map(\.isPresent), [false, true, true])
    }

    func testPacked() throws {
        let folder = try TemporaryFolder()
        var options = ClassifierOptions()
        options.packed = "\(folder.path)/digits.packed"
        let expected = try Classifier(weights: weights).classify(digit("six_2"))
        for _ in 0..<2 {  // made, then mapped
            XCTAssertEqual(try Classifier(weights: weights, options: options).classify(digit("six_2")), expected)
        }
        let other = try Classifier(weights: weights, options: options)
        let fault = message { _ = try other.plan(size: 64) }
        XCTAssertTrue(fault.hasPrefix("cifar_resnet8 on pictures of 64x64: ") && fault.contains("packed for"), fault)
    }

    // MARK: - Without a head

    /// The digits' network as somebody saves it who has no use for its last layer.
    private func backbone(_ path: String, metadata: [String: String] = [:]) throws {
        let model = try Model(from: try WeightFile.open(weights))
        let tensors = model.parameters.filter { !$0.key.hasPrefix("fc.") }.sorted { $0.key < $1.key }
        try WeightWriter.write(
            tensors.map { ($0.key, $0.value) }, metadata: metadata, to: path,
            format: XCTUnwrap(WeightFormat(path: path)))
    }

    func testABackboneEmbedsAndIsGivenAHead() throws {
        let folder = try TemporaryFolder()
        let whole = try Classifier(weights: weights)
        let paths = [digit("one_2"), digit("four_1")]
        for name in ["h.safetensors", "h.npz"] {
            let path = "\(folder.path)/\(name)"
            // Names of classes that went with the head are no use and no error.
            try backbone(path, metadata: ["transform": whole.transform.json, "classes": "[\"a\"]"])
            let bare = try Classifier(weights: path)
            XCTAssertFalse(bare.hasHead)
            XCTAssertNil(bare.headKind)
            XCTAssertNil(bare.classNames)
            XCTAssertEqual(bare.classCount, 0)
            XCTAssertEqual(try bare.embed(paths).bits, try whole.embed(paths).bits)
            let fault = message { _ = try bare.classify(paths) }
            XCTAssertTrue(fault.hasPrefix("\(path): expected a network with a classifier, found"), fault)

            let again = try bare.model.replacingHead(classes: 10, seed: 1)
            XCTAssertEqual(again.graph, whole.model.graph)
        }
    }

    func testPublishedNetworksByNameWithoutTheirHead() throws {
        let folder = try TemporaryFolder()
        for name in [ModelName.cifar_resnet14, .googlenet] {
            let whole = try name.model(classes: 4, seed: 2)
            let last = try XCTUnwrap(whole.graph.parameters.last { $0.role == .linearWeight }).node
            let head = Set(whole.graph.parameters.filter { $0.node == last }.map(\.name))
            let tensors = whole.parameters.filter { !head.contains($0.key) }
            let path = "\(folder.path)/\(name.rawValue).safetensors"
            try WeightWriter.write(tensors.map { ($0.key, $0.value) }, metadata: [:], to: path, format: .safetensors)
            var options = ClassifierOptions(model: name)
            options.inputSize = 64
            let bare = try Classifier(weights: path, options: options)
            XCTAssertFalse(bare.hasHead, name.rawValue)
            let x = Tensor(
                shape: [1, 3, 64, 64],
                storage: FloatStorage(count: 3 * 64 * 64) { CounterRandom(seed: 1).fillUniform($0, low: -1, high: 1) })
            XCTAssertEqual(
                try bare.predict(x).features?.bits, try Classifier(model: whole).predict(x).features?.bits,
                name.rawValue)
        }
    }

    // MARK: - Class names

    func testAWrongNumberOfClassNamesIsOneErrorEverywhere() throws {
        let folder = try TemporaryFolder()
        let sentence = "expected 10 class names for cifar_resnet8, found 2"
        var options = ClassifierOptions()
        options.classNames = ["a", "b"]
        XCTAssertEqual(message { _ = try Classifier(weights: weights, options: options) }, "class names: \(sentence)")
        options.classNamesOrigin = "names.txt"
        XCTAssertEqual(message { _ = try Classifier(weights: weights, options: options) }, "names.txt: \(sentence)")

        var model = try Model(from: try WeightFile.open(weights))
        model.classNames = ["a", "b"]
        XCTAssertEqual(message { _ = try Classifier(model: model, origin: "mine") }, "mine: \(sentence)")
        let path = "\(folder.path)/two.safetensors"
        try model.save(to: path)
        XCTAssertEqual(message { _ = try Classifier(weights: path) }, "\(path): \(sentence)")
        XCTAssertEqual(message { _ = try Model(from: try WeightFile.open(path)) }, "\(path): \(sentence)")
        XCTAssertEqual(
            message { _ = try Model(graph: model.graph, from: try WeightFile.open(path)) },
            "\(path): \(sentence.replacing("cifar_resnet8", with: model.graph.modelName))")
        XCTAssertEqual(
            message { try model.load(from: try WeightFile.open(path)) }, "\(path): \(sentence)")

        // Names of the caller's own stand in for them.
        options.classNames = (0..<10).map { "digit \($0)" }
        let named = try Classifier(weights: path, options: options)
        XCTAssertEqual(try named.classify(digit("one_2"), top: 1)[0].name, "digit 1")
    }
}
