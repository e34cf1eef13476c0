// Weights in bfloat16: a network gives the bits that float32 gives with weights rounded beforehand.
import Foundation
import ResNetSwift
import XCTest

@testable import ResNetExecution
@testable import ResNetGraph

final class BF16Tests: XCTestCase {
    private let picture = ImageShape(channels: 3, height: 40, width: 36)

    /// Two bottlenecks with shortcuts. Batch norms whose folding only doubles or halves filters: it rounds nothing.
    private func network() throws -> Model {
        var g = GraphBuilder("Bottlenecks")
        var x = g.input(channels: 3)
        func layer(_ x: Node, _ name: String, _ channels: Int, _ kernel: Size2, _ stride: Size2 = 1) -> Node {
            let padding: Size2 = kernel == 1 ? 0 : 1
            return g.batchNorm(
                g.conv(x, name, channels, kernel: kernel, stride: stride, padding: padding), "\(name)_bn")
        }
        x = g.relu(layer(x, "stem", 24, 3), "stem_relu")
        for (index, stride) in ([1, 2] as [Size2]).enumerated() {
            let name = "block\(index)"
            var y = g.relu(layer(x, "\(name)_1", 20, 1), "\(name)_relu1")
            y = g.relu(layer(y, "\(name)_2", 20, 3, stride), "\(name)_relu2")
            y = layer(y, "\(name)_3", 80, 1)
            let shortcut = layer(x, "\(name)_shortcut", 80, 1, stride)
            x = g.relu(g.add(y, shortcut, "\(name)_add"), "\(name)_relu")
        }
        let h = g.flatten(g.globalAveragePool(x, "pool"))
        var model = Model.random(g.finish(logits: g.linear(h, "fc", 7), features: h))
        for node in model.graph.nodes {
            guard case .batchNorm(let channels, let eps, _) = node.operation else { continue }
            let powers = (0..<channels).map { [1, -2, 0.5, 0.25][$0 % 4] as Float }
            model["\(node.module).weight"] = Tensor(shape: [channels], values: powers)
            let variance = [Float](repeating: Float(1 - eps), count: channels)
            model["\(node.module).running_var"] = Tensor(shape: [channels], values: variance)
        }
        return model
    }

    /// With the weights that are kept in bfloat16 rounded.
    private func rounded(_ model: Model) -> Model {
        var model = model
        for node in model.graph.nodes {
            switch node.operation {
            case .conv(let spec) where spec.kernel == 1: break
            case .linear: break
            default: continue
            }
            let weight = model["\(node.module).weight"]
            let values = weight.values.map { value in
                // 8 bits of mantissa are left of 24: the spacing of such numbers near this one.
                let spacing = Double(value.ulp) * 65536
                return Float((Double(value) / spacing).rounded(.toNearestOrEven) * spacing)
            }
            model["\(node.module).weight"] = Tensor(shape: weight.shape, values: values)
        }
        return model
    }

    private func logits(_ model: Model, images: Int, _ options: PlanOptions) throws -> [Float] {
        try InferencePlan(model: model, input: picture, batch: images, options: options)
            .predict(randomPictures(images, picture)).logits.values
    }

    func testANetworkGivesTheBitsOfRoundedWeights() throws {
        let model = try network()
        let rounded = rounded(model)
        for (images, threads, accuracy) in [(1, 1, Accuracy.default), (1, 2, .strict), (5, 2, .strict)] {
            let bf16 = PlanOptions(threads: threads, accuracy: accuracy, precision: .bf16)
            let float32 = PlanOptions(threads: threads, accuracy: accuracy)
            let found = try logits(model, images: images, bf16)
            XCTAssertEqual(found, try logits(rounded, images: images, float32))
            let exact = try logits(model, images: images, float32)
            XCTAssertNotEqual(found, exact)
            XCTAssertLessThan(relativeDifference(found, exact), 1e-2)
        }
    }

    func testEveryStepSaysWhatItRunsIn() throws {
        let model = try network()
        let plan = try InferencePlan(model: model, input: picture, options: PlanOptions(precision: .bf16))
        XCTAssertEqual(plan.precision, .bf16)
        for step in plan.stepInfos {
            let isSmall = step.operations.hasPrefix("conv 1x1") || step.operations.hasPrefix("linear")
            XCTAssertEqual(step.operations.contains("bf16 weights"), isSmall, "\(step)")
            if step.operations.hasPrefix("conv") {
                XCTAssertEqual(step.kernel.contains("bf16 weights"), isSmall, "\(step)")
            }
        }
        // A stem, two blocks of three, two shortcuts, a head; 3x3 stay floats.
        XCTAssertTrue(plan.describe().contains("7 of 10 layers in bf16, the others in float32"), plan.describe())
        let float32 = try InferencePlan(model: model, input: picture)
        XCTAssertEqual(float32.precision, .float32)
        XCTAssertFalse(float32.describe().contains("bf16"))
        XCTAssertLessThan(plan.constantBytes, float32.constantBytes)
    }

    func testWhatHasNoSuchLayerIsAnError() throws {
        var g = GraphBuilder("Headless")
        let y = g.conv(g.input(channels: 3), "conv", 4, kernel: 3)
        let model = Model.initialized(g.finish(logits: y, features: nil), seed: 0)
        XCTAssertThrowsError(
            try InferencePlan(model: model, input: picture, options: PlanOptions(precision: .bf16))
        ) { XCTAssertTrue("\($0)".hasPrefix("bf16 is for the weights of 1x1 convolutions"), "\($0)") }
    }

    func testAForcedAlgorithmComesFirst() throws {
        let options = PlanOptions(forcedAlgorithm: .direct, precision: .bf16)
        let plan = try InferencePlan(model: network(), input: picture, options: options)
        let layers = plan.stepInfos.filter { $0.operations.contains("bf16") }
        XCTAssertEqual(layers.map(\.name), ["fc"])
    }

    func testPackedFilesAreOfOnePrecision() throws {
        let path = NSTemporaryDirectory() + "bf16-\(getpid()).packed"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let model = try network()
        let options = PlanOptions(precision: .bf16)
        let plan = try InferencePlan(model: model, input: picture, options: options)
        try plan.writePacked(to: path)
        let again = try InferencePlan(graph: model.graph, packed: path, input: picture, options: options)
        let pictures = randomPictures(1, picture)
        XCTAssertEqual(try again.predict(pictures).logits.values, try plan.predict(pictures).logits.values)
        XCTAssertThrowsError(try InferencePlan(graph: model.graph, packed: path, input: picture)) {
            XCTAssertTrue("\($0)".contains("bf16") && "\($0)".contains("float32"), "\($0)")
        }
    }
}
