// Heads with batch norms: the file's logits are those of the layers one by one, or the head is refused by name.

import ResNetGraph
import ResNetModels
import ResNetSwift
import XCTest

@testable import ResNetWeights

final class WeightFileHeadTests: XCTestCase {
    private let network = WildNetwork()

    private enum Layer {
        case linear(Int, bias: Bool = true)
        case norm, relu, dropout
    }

    /// A Sequential `fc` of these layers over `inputs` features: its tensors, and what it makes of a vector.
    private struct Sequential {
        var tensors: [(key: String, tensor: Tensor)] = []
        private var steps: [([Double]) -> [Double]] = []

        init(_ layers: [Layer], inputs: Int) {
            var width = inputs
            let random = CounterRandom(seed: 3)
            for (place, layer) in layers.enumerated() {
                func values(_ part: Int, _ count: Int, from low: Double) -> [Double] {
                    let first = 10_000 * place + 1000 * part
                    // As exact as a Float, so that file and oracle have the same.
                    return (first..<first + count).map { index -> Double in
                        let value = Float(random.uniform(UInt64(index)))
                        return Double(value) + low
                    }.map { Double(Float($0)) }
                }
                var added: [(String, [Int], [Double])] = []
                switch layer {
                case .linear(let outputs, let bias):
                    let (w, b) = (values(0, outputs * width, from: -0.5), values(1, outputs, from: -0.5))
                    added = [("weight", [outputs, width], w)]
                    if bias { added.append(("bias", [outputs], b)) }
                    steps.append { x in
                        (0..<outputs).map { row -> Double in
                            var sum = bias ? b[row] : 0
                            for (index, value) in x.enumerated() { sum += w[row * x.count + index] * value }
                            return sum
                        }
                    }
                    width = outputs
                case .norm:
                    let (gamma, beta) = (values(0, width, from: 0.5), values(1, width, from: -0.5))
                    let (mean, variance) = (values(2, width, from: -0.5), values(3, width, from: 0.5))
                    added = [
                        ("weight", [width], gamma), ("bias", [width], beta), ("running_mean", [width], mean),
                        ("running_var", [width], variance), ("num_batches_tracked", [], [7]),
                    ]
                    steps.append { x in
                        x.indices.map { index -> Double in
                            let normed = (x[index] - mean[index]) / (variance[index] + 1e-5).squareRoot()
                            return normed * gamma[index] + beta[index]
                        }
                    }
                case .relu: steps.append { x in x.map { max($0, 0) } }
                case .dropout: break
                }
                for (name, shape, values) in added {
                    tensors.append(("fc.\(place).\(name)", Tensor(shape: shape, values: values.map { Float($0) })))
                }
            }
        }

        func callAsFunction(_ x: [Double]) -> [Double] { steps.reduce(x) { $1($0) } }
    }

    private func file(_ head: Sequential, _ container: ContainerKind = .safetensors) throws -> WeightFile {
        let trunk = network.tensors { $0 }.filter { !$0.key.hasPrefix("fc.") }
        return try WildNetwork.file(container, trunk + head.tensors)
    }

    private func results(_ model: Model) throws -> (logits: [Double], features: [Double]) {
        let x = Tensor(shape: [1, 3, 16, 16], values: (0..<768).map { Float(($0 * 37) % 101) / 50 - 1 })
        let input = ImageShape(channels: 3, height: 16, width: 16)
        let plan = try InferencePlan(
            model: model, input: input, batch: 1, options: PlanOptions(accuracy: .strict))
        let found = try plan.predict(x)
        return (found.logits.values.map(Double.init), try XCTUnwrap(found.features).values.map(Double.init))
    }

    func testNormsBesideALinearLayerBecomePartOfIt() throws {
        let heads: [([Layer], String)] = [
            ([.linear(7), .norm, .relu, .linear(4)], "behind"),
            ([.linear(7, bias: false), .norm, .relu, .dropout, .linear(4)], "behind one without bias"),
            ([.linear(7), .relu, .norm, .linear(4)], "before, after the ReLU"),
            ([.linear(7), .norm, .relu, .linear(6), .norm, .relu, .linear(4)], "two"),
            ([.norm, .linear(7), .norm, .relu, .norm, .linear(4)], "on every side"),
            ([.norm, .linear(4)], "before the only layer"),
            ([.norm, .linear(4, bias: false)], "before the only layer, which has no bias"),
            ([.linear(4), .norm], "behind the last layer"),
        ]
        for (layers, title) in heads {
            let head = Sequential(layers, inputs: 16)
            for container: ContainerKind in [.torchZip, .npz, .safetensors] {
                let file = try file(head, container)
                let found = try Model(from: file)
                XCTAssertFalse(found.graph.headParameters.contains { $0.contains("running_") }, title)
                let (logits, features) = try results(found)
                let wanted = head(features)
                XCTAssertEqual(logits.count, wanted.count, title)
                for (a, b) in zip(logits, wanted) { XCTAssertEqual(a, b, accuracy: 4e-6, title) }
                XCTAssertTrue(file.notes.contains { $0.contains("its batch norms become part") }, "\(file.notes)")
            }
        }
    }

    func testWhatIsNotKnownIsRefused() throws {
        // ReLU, norm, dropout or dropout, norm, ReLU; a norm before a gap; two norms.
        let unknown: [[Layer]] = [
            [.linear(7), .relu, .norm, .dropout, .linear(4)], [.norm, .dropout, .linear(7), .relu, .linear(4)],
            [.linear(7), .norm, .norm, .relu, .linear(4)],
        ]
        for layers in unknown {
            XCTAssertThrowsError(try Model(from: file(Sequential(layers, inputs: 16)))) { error in
                XCTAssertTrue("\(error)".contains("with batch norms fc."), "\(error)")
            }
        }
        // Nothing between the linear layers but a norm.
        XCTAssertThrowsError(try Model(from: file(Sequential([.linear(7), .norm, .linear(4)], inputs: 16)))) { error in
            XCTAssertTrue("\(error)".contains("without a place for a ReLU"), "\(error)")
        }
        // A statistic is missing.
        let whole = Sequential([.linear(7), .norm, .relu, .linear(4)], inputs: 16)
        var part = whole
        part.tensors.removeAll { $0.key == "fc.1.running_var" }
        XCTAssertThrowsError(try Model(from: file(part))) { error in
            XCTAssertTrue("\(error)".contains("norm_after.running_var"), "\(error)")
        }
        // Names without places.
        var named = whole
        named.tensors = whole.tensors.map { item in
            let names = ["fc.0.": "fc1.", "fc.1.": "bn1_.", "fc.3.": "fc2."]
            let name = names.first { item.key.hasPrefix($0.key) }!
            return (name.value + item.key.dropFirst(5), item.tensor)
        }
        XCTAssertThrowsError(try Model(from: file(named)))
    }

    /// Places at both ends of what an integer holds, where one more or less does not exist.
    func testPlacesBeyondCounting() throws {
        let whole = Sequential([.linear(7), .norm, .relu, .linear(4)], inputs: 16)
        for (place, number) in [(0, Int.max), (1, Int.max), (1, Int.min), (3, Int.max), (3, Int.min)] {
            var head = whole
            head.tensors = whole.tensors.map { item in
                let isMoved = item.key.hasPrefix("fc.\(place).")
                return (isMoved ? "fc.\(number)." + item.key.dropFirst(5) : item.key, item.tensor)
            }
            XCTAssertThrowsError(try Model(from: file(head)), "\(place) at \(number)")
            head.tensors.removeAll {
                $0.key.contains("running_") || $0.tensor.shape != [7] && $0.tensor.shape.count < 2
            }
            XCTAssertThrowsError(try Model(from: file(head)), "\(place) at \(number), without statistics")
        }
        let davit = [DaViTNames.authorsSign, "main_blocks.0.0.0.cpe.\(Int.max).weight"].map {
            (key: $0, tensor: Tensor(shape: [4, 4], repeating: 1))
        }
        XCTAssertThrowsError(try Model(from: WildNetwork.file(.safetensors, davit)))
    }
}
