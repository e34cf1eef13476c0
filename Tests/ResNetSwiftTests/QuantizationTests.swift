// Models in 8 bits: the plan against a reference that rounds where bytes stand, scales, files, and what is refused.
import Foundation
import ResNetSwift
import XCTest

@testable import ResNetExecution
@testable import ResNetGraph

final class QuantizationTests: XCTestCase {
    private let picture = ImageShape(channels: 3, height: 16, width: 12)
    private let images = 4

    private func network() throws -> Model {
        Model.random(try CIFARResNetConfig(nBlocks: [1, 2, 1], channels: [8, 16, 20]).graph(classes: 5))
    }

    private func pictures(seed: UInt64 = 7) -> Tensor { randomPictures(images, picture, seed: seed) }

    private func calibrated(
        _ model: Model, _ method: CalibrationMethod = .minmax, keepingFloat: [String] = []
    ) throws -> Calibration {
        var calibration = try Calibration(
            model: model, input: picture, batch: images, options: PlanOptions(threads: 1), method: method,
            keepingFloat: keepingFloat)
        try pictures().withUnsafeFloats { try calibration.observe($0.baseAddress!, images: images) }
        return calibration
    }

    private func logits(_ model: Model, _ options: PlanOptions = PlanOptions(threads: 2)) throws -> [Float] {
        try InferencePlan(model: model, input: picture, batch: images, options: options).predict(pictures()).logits
            .values
    }

    /// Every value that is read as bytes rounded to what bytes stand for, all else in floats.
    private func rounded(_ model: Model, _ quantization: Quantization) throws -> [Float] {
        let network = ReferenceNetwork(model: model)
        let shapes = try model.graph.shapes(input: picture)
        var values: [[Float]] = []
        for (index, node) in model.graph.nodes.enumerated() {
            var value = network.value(
                node, node.inputs.map { values[$0] }, node.inputs.map { shapes[$0] }, shapes[index], images,
                pictures().values)
            if let scale = quantization.values[node.name] {
                value = value.map {
                    let byte = ($0 / scale.scale).rounded(.toNearestOrEven) + Float(scale.zeroPoint)
                    return (min(max(byte, 0), 255) - Float(scale.zeroPoint)) * scale.scale
                }
            }
            values.append(value)
        }
        return values[model.graph.logits]
    }

    func testThePlanRoundsWhereBytesStandAndNowhereElse() throws {
        for method in CalibrationMethod.allCases {
            let quantized = try calibrated(try network(), method).quantized()
            let quantization = try XCTUnwrap(quantized.quantization)
            XCTAssertTrue(quantization.values.values.contains { $0.zeroPoint != 0 }, "shortcuts are negative at times")
            let expected = try rounded(quantized, quantization)
            XCTAssertLessThan(relativeDifference(try logits(quantized), expected), 1e-3, method.rawValue)
            XCTAssertGreaterThan(relativeDifference(try logits(try network()), expected), 1e-3)
        }
    }

    func testEveryLayerButTheFirstComputesInBytes() throws {
        let calibration = try calibrated(try network())
        XCTAssertEqual(calibration.layers.count, 10)
        XCTAssertEqual(calibration.floatLayers.map(\.name), ["conv1"])
        let plan = try InferencePlan(model: calibration.quantized(), input: picture, batch: images)
        XCTAssertEqual(plan.precision, .int8)
        let kernels = plan.stepInfos.filter { $0.operations.hasPrefix("conv") }.map(\.kernel)
        XCTAssertEqual(kernels.count, 11)
        XCTAssertEqual(kernels.filter { $0.hasPrefix("int8 ") }.count, 10)
        XCTAssertEqual(plan.stepInfos.filter { $0.operations == "to bytes" }.count, 1, plan.describe())
        XCTAssertEqual(plan.stepInfos.filter { $0.operations == "to floats" }.count, 0, plan.describe())
        XCTAssertTrue(plan.describe().contains("int8"))
    }

    func testBatchesThreadsAndTapsDoNotChangeBits() throws {
        let quantized = try calibrated(try network()).quantized()
        let expected = try logits(quantized)
        for threads in [1, 3] {
            let options = PlanOptions(threads: threads)
            for batch in [1, 3] {
                let plan = try InferencePlan(model: quantized, input: picture, batch: batch, options: options)
                XCTAssertEqual(
                    try plan.predict(pictures()).logits.values, expected, "\(threads) threads, batch \(batch)")
            }
        }
        let taps = quantized.graph.nodes.map(\.name).filter { $0.hasSuffix("relu_1") }
        XCTAssertFalse(taps.isEmpty)
        XCTAssertEqual(try logits(quantized, PlanOptions(taps: taps)), expected)
    }

    func testLayersThatStayFloat() throws {
        let model = try network()
        let calibration = try calibrated(model, keepingFloat: ["layer2", "layer3.0.conv1"])
        XCTAssertFalse(calibration.layers.contains { $0.hasPrefix("layer2.") || $0 == "layer3.0.conv1" })
        XCTAssertTrue(calibration.floatLayers.contains { $0.name == "layer2.0.conv1" && $0.reason == "asked for" })
        let quantized = calibration.quantized()
        XCTAssertEqual(quantized["layer2.0.conv1.weight"].values, model["layer2.0.conv1.weight"].values)
        XCTAssertLessThan(relativeDifference(try logits(quantized), try logits(model)), 0.1)
        XCTAssertThrowsError(try calibrated(model, keepingFloat: ["layer9"])) {
            XCTAssertEqual("\($0)", "the model has no node layer9")
        }
    }

    func testRandomGraphsRunInBytes() throws {
        var steps = 0
        for seed in 0..<12 as Range<UInt64> {
            let random = RandomGraph(seed: seed)
            let model = Model.random(random.graph)
            let input = randomPictures(3, random.image)
            var calibration = try Calibration(
                model: model, input: random.image, batch: 3, options: PlanOptions(threads: 1), method: .minmax)
            try input.withUnsafeFloats { try calibration.observe($0.baseAddress!, images: 3) }
            let quantized = calibration.quantized()
            let options = PlanOptions(taps: random.taps.map { random.graph.nodes[$0].name })
            let plan = try InferencePlan(model: quantized, input: random.image, batch: 2, options: options)
            steps += plan.stepInfos.count { $0.kernel.hasPrefix("int8 ") }
            let floats = try InferencePlan(model: model, input: random.image, batch: 2).predict(input).logits.values
            XCTAssertLessThan(relativeDifference(try plan.predict(input).logits.values, floats), 0.25, "seed \(seed)")
        }
        XCTAssertGreaterThan(steps, 10)
    }

    // MARK: - Scales

    func testScalesAreThoseOfTheMethod() throws {
        let model = try network()
        let (least, percentile, mse) = (
            try calibrated(model, .minmax), try calibrated(model, .percentile), try calibrated(model, .mse)
        )
        let name = "layer1.0.relu"
        let tap = try InferencePlan(model: model, input: picture, batch: images, options: PlanOptions(taps: [name]))
        let largest = try XCTUnwrap(try tap.predict(pictures()).taps[name]?.values.max())
        func scale(_ calibration: Calibration) throws -> Float {
            try XCTUnwrap(calibration.quantized().quantization?.values[name]).scale
        }
        XCTAssertEqual(try scale(least), largest / 255, accuracy: largest * 1e-6)
        XCTAssertLessThanOrEqual(try scale(percentile), try scale(least))
        XCTAssertLessThanOrEqual(try scale(mse), try scale(least))
        XCTAssertGreaterThan(try scale(mse), try scale(least) / 4)
        XCTAssertEqual(least.quantized().quantization, try calibrated(model, .minmax).quantized().quantization)
    }

    func testWeightsAreRoundedByOutputChannel() throws {
        let model = try network()
        let key = "layer1.0.conv1.weight"
        let quantized = try calibrated(model).quantized()
        let weights = try XCTUnwrap(quantized.quantization?.weights[key])
        XCTAssertEqual(weights.scales.count, 8)
        for (index, (a, b)) in zip(model[key].values, quantized[key].values).enumerated() {
            XCTAssertEqual(a, b, accuracy: weights.scales[index / 72] * 0.5001)
        }
        let bytes = quantized[key].withUnsafeFloats { weights.bytes(of: $0) }
        for (channel, scale) in weights.scales.enumerated() {
            let filter = Array(bytes[channel * 72..<(channel + 1) * 72])
            // Neighboring input channels, 9 taps apart, make the most of what products of bytes can hold.
            let pairs = filter.indices.filter { $0 / 9 % 2 == 0 }.map {
                abs(Int(filter[$0])) + abs(Int(filter[$0 + 9]))
            }
            XCTAssertTrue(126...128 ~= pairs.max()!, "\(pairs.max()!)")
            XCTAssertLessThanOrEqual(pairs.max()!, try XCTUnwrap(weights.largestPair))
            XCTAssertEqual(
                filter.map { Float($0) * scale }, Array(quantized[key].values[channel * 72..<(channel + 1) * 72]))
            let sums = [filter.filter { $0 > 0 }, filter.filter { $0 < 0 }].map { abs($0.reduce(0) { $0 + Int($1) }) }
            XCTAssertLessThanOrEqual(sums.max()!, weights.largestSum)
        }
    }

    func testBiasesTakeUpTheMeanError() throws {
        let model = try network()
        let calibration = try calibrated(model)
        let (corrected, plain) = (calibration.quantized(), calibration.quantized(correctsBias: false))
        XCTAssertEqual(plain["layer1.0.bn1.bias"].values, model["layer1.0.bn1.bias"].values)
        XCTAssertNotEqual(corrected["layer1.0.bn1.bias"].values, model["layer1.0.bn1.bias"].values)
        // Of the first layer in bytes, by channel: the mean of what it gives.
        func means(_ model: Model) throws -> [Double] {
            let options = PlanOptions(taps: ["layer1.0.bn1"], precision: .float32)
            let plan = try InferencePlan(model: model, input: picture, batch: images, options: options)
            let values = try XCTUnwrap(try plan.predict(pictures()).taps["layer1.0.bn1"]).values
            let plane = picture.height * picture.width
            var sums = [Double](repeating: 0, count: 8)
            for (index, value) in values.enumerated() { sums[index / plane % 8] += Double(value) }
            return sums
        }
        let (wanted, with, without) = (try means(model), try means(corrected), try means(plain))
        func error(_ sums: [Double]) -> Double { zip(sums, wanted).reduce(0) { $0 + abs($1.0 - $1.1) } }
        XCTAssertLessThan(error(with), error(without) / 2)
    }

    func testTheComparisonFindsEqualNetworksEqual() throws {
        let model = try network()
        let quantized = try calibrated(model).quantized()
        var comparison = try QuantizationComparison(
            original: model, quantized: quantized, input: picture, batch: images, options: PlanOptions(threads: 1))
        try pictures().withUnsafeFloats { try comparison.compare($0.baseAddress!, images: images) }
        XCTAssertEqual(comparison.pictures, images)
        XCTAssertEqual(comparison.layers.last?.name, "fc")
        XCTAssertEqual(comparison.layers.count, 9)
        for layer in comparison.layers {
            XCTAssertGreaterThan(layer.sqnr, 15, layer.name)
            XCTAssertLessThan(layer.sqnr, 60, layer.name)
            XCTAssertGreaterThan(layer.cosine, 0.98, layer.name)
            XCTAssertLessThanOrEqual(layer.cosine, 1.000001, layer.name)
        }
    }

    // MARK: - Layers that go back

    /// A network of which one convolution cannot be in bytes: beside weights of the usual size it has huge ones, for an
    /// input that is always 0.
    private func networkWithABadLayer() throws -> Model {
        var model = try network()
        let channel = 3
        func set(_ key: String, _ change: (inout [Float]) -> Void) {
            var values = model[key].values
            change(&values)
            model[key] = Tensor(shape: model[key].shape, values: values)
        }
        set("layer1.0.bn1.weight") { $0[channel] = 0 }
        set("layer1.0.bn1.bias") { $0[channel] = -1 }
        set("layer1.0.conv2.weight") { values in
            for filter in 0..<8 { for tap in 0..<9 { values[(filter * 8 + channel) * 9 + tap] = 1000 } }
        }
        // No class is favored: random networks say the same of most pictures otherwise.
        let plan = try InferencePlan(model: model, input: picture, batch: 32)
        let logits = try plan.predict(randomPictures(32, picture, seed: 11)).logits.values
        set("fc.bias") { bias in
            for (index, logit) in logits.enumerated() { bias[index % 5] -= logit / 32 }
        }
        return model
    }

    func testTheWorstLayersGoBackToFloats() throws {
        let model = try networkWithABadLayer()
        let pictures = randomPictures(32, picture, seed: 11)
        var calibration = try Calibration(
            model: model, input: picture, batch: 8, options: PlanOptions(threads: 1), method: .minmax)
        let batches: QuantizationFallback.Pictures = { body in
            try pictures.withUnsafeFloats { floats in
                for start in stride(from: 0, to: 32, by: 8) {
                    try body(UnsafeRawPointer(floats.baseAddress! + start * self.picture.count), 8)
                }
            }
        }
        try batches { try calibration.observe($0, images: $1) }
        func agreeing(_ quantized: Model) throws -> Int {
            var comparison = try QuantizationComparison(
                original: model, quantized: quantized, input: picture, batch: 8, options: PlanOptions(threads: 1))
            try batches { try comparison.compare($0, images: $1) }
            return comparison.agreeing
        }
        let all = try agreeing(calibration.quantized())
        XCTAssertLessThan(all, 29)
        let search = try QuantizationFallback(calibration, agreement: 0.9, pictures: batches)
        XCTAssertEqual(search.steps.first?.layer, "layer1.0.conv2")
        XCTAssertLessThan(search.steps.count, 4)
        XCTAssertEqual(search.layers, Set(calibration.layers).subtracting(search.steps.map(\.layer)))
        XCTAssertGreaterThanOrEqual(try agreeing(search.model), 29)
        XCTAssertTrue(search.model["layer1.0.conv2.weight"].values == model["layer1.0.conv2.weight"].values)
        XCTAssertNil(search.model.quantization?.weights["layer1.0.conv2.weight"])
        let again = try QuantizationFallback(calibration, agreement: 0.9, pictures: batches)
        XCTAssertEqual(again.steps, search.steps)
        XCTAssertEqual(again.model.quantization, search.model.quantization)
        let easy = try QuantizationFallback(calibration, agreement: Double(all) / 32, pictures: batches)
        XCTAssertEqual(easy.steps, [])
        XCTAssertEqual(easy.layers, Set(calibration.layers))
    }

    // MARK: - Files and refusals

    func testAFileBringsTheSameBits() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/q.safetensors"
        var quantized = try calibrated(try network()).quantized()
        quantized.metadata["note"] = "kept"
        try quantized.save(to: path)
        let file = try WeightFile.open(path)
        XCTAssertEqual(file.entry("layer1.0.conv1.weight")?.type, .int8)
        XCTAssertEqual(file.entry("conv1.weight")?.type, .float32)
        let read = try Model(from: file)
        XCTAssertEqual(read.quantization, quantized.quantization)
        XCTAssertEqual(read.metadata["note"], "kept")
        XCTAssertNil(read.metadata["quantization"])
        XCTAssertEqual(try logits(read), try logits(quantized))
        for key in try XCTUnwrap(read.quantization).weights.keys {
            XCTAssertFalse(read[key].storage.hasFloats, "\(key): a plan in bytes has no use for floats")
        }
        XCTAssertEqual(read.fingerprint, quantized.fingerprint)
        XCTAssertFalse(read["layer1.0.conv1.weight"].storage.hasFloats)
        let float = PlanOptions(precision: .float32)
        XCTAssertEqual(try logits(read, float), try logits(quantized, float))
        XCTAssertNotEqual(try logits(read, float), try logits(read))
        for key in read.quantization!.weights.keys { XCTAssertEqual(read[key].values, quantized[key].values, key) }

        let packed = "\(folder.path)/q.packed"
        try InferencePlan(model: read, input: picture, batch: images).writePacked(to: packed)
        let mapped = try InferencePlan(
            graph: read.graph, quantization: read.quantization, packed: packed, input: picture, batch: images)
        XCTAssertEqual(try mapped.predict(pictures()).logits.values, try logits(read))
        XCTAssertThrowsError(try InferencePlan(graph: read.graph, packed: packed, input: picture, batch: images))

        XCTAssertThrowsError(try quantized.save(to: "\(folder.path)/q.npz")) {
            XCTAssertTrue("\($0)".contains("weights of 8 bits are written as .safetensors"), "\($0)")
        }
    }

    func testDescriptionsThatDoNotFitAreRefused() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/q.safetensors"
        let quantized = try calibrated(try network()).quantized()
        try quantized.save(to: path)
        let whole = try Array(Data(contentsOf: URL(fileURLWithPath: path)))
        func replacing(_ old: String, _ new: String) throws -> String {
            precondition(old.utf8.count == new.utf8.count)
            var bytes = whole
            let (from, to) = (Array(old.utf8), Array(new.utf8))
            let start = try XCTUnwrap(
                (0..<8192).first { start in Array(bytes[start..<start + from.count]) == from }, "no \(old)")
            bytes.replaceSubrange(start..<start + from.count, with: to)
            do {
                _ = try Model(from: WeightFile.open(bytes: bytes, name: "q"))
                return "no error"
            } catch { return "\(error)" }
        }
        XCTAssertEqual(try replacing("minmax", "minmay"), "no error")
        XCTAssertTrue(try replacing("u8 values", "u4 values").contains("expected the scheme"))
        XCTAssertTrue(try replacing("\\\"zero_point\\\":", "\\\"zero_paint\\\":").contains("no scale and zero point"))
        XCTAssertTrue(try replacing("weight_sums", "weight_sins").contains("no description of quantized weights"))
    }

    func testOnlyQuantizedModelsRunInBytes() throws {
        let model = try network()
        XCTAssertThrowsError(try logits(model, PlanOptions(precision: .int8))) {
            XCTAssertTrue("\($0)".contains("not quantized"), "\($0)")
        }
        var changed = try calibrated(model).quantized()
        changed["conv1.weight"] = model["conv1.weight"]
        XCTAssertNil(changed.quantization, "scales of other weights must not outlive them")
    }
}
