// 8 bits in ONNX: quantized models come back as they left, foreign files of the same kind are understood or refused.

import Foundation
import XCTest

@testable import ResNetExecution
@testable import ResNetGraph
@testable import ResNetONNX
@testable import ResNetSupport
@testable import ResNetSwift

final class ONNXQuantizationTests: XCTestCase {
    private let picture = ImageShape(channels: 3, height: 32, width: 32)

    private func quantized(_ name: ModelName, keepingFloat: [String] = []) throws -> Model {
        let model = try name.model(classes: 5, seed: 6)
        var calibration = try Calibration(
            model: model, input: picture, batch: 4, options: PlanOptions(threads: 1), method: .minmax,
            keepingFloat: keepingFloat)
        try randomPictures(4, picture, seed: 3).withUnsafeFloats { try calibration.observe($0.baseAddress!, images: 4) }
        return calibration.quantized()
    }

    private func logits(_ model: Model, _ precision: Precision? = nil) throws -> [Float] {
        let options = PlanOptions(threads: 2, precision: precision)
        let pictures = randomPictures(4, picture, seed: 5)
        return try InferencePlan(model: model, input: picture, batch: 4, options: options).predict(pictures).logits
            .values
    }

    func testQuantizedModelsComeBackAsTheyLeft() throws {
        let folder = try TemporaryFolder()
        for (name, kept) in [(ModelName.cifar_resnet14, []), (.cifar_resnet20, ["layer2.0.conv2", "layer3"])] {
            let model = try quantized(name, keepingFloat: kept)
            let path = "\(folder.path)/\(name).onnx"
            try model.writeONNX(to: path)
            let back = try Model(onnx: path)
            XCTAssertEqual(back.graph, model.graph)
            let (own, found) = (try XCTUnwrap(model.quantization), try XCTUnwrap(back.quantization))
            XCTAssertEqual(found.weights, own.weights)
            for (value, scale) in own.values { XCTAssertEqual(found.values[value], scale, value) }
            XCTAssertTrue(try logits(back) == logits(model), "the same bits")
            XCTAssertTrue(try logits(back, .float32) == logits(model, .float32))
        }
    }

    // MARK: - Files of others

    private struct Stored {
        let name: String
        let shape: [Int]
        /// TensorProto.DataType
        let kind: Int
        let bytes: [UInt8]

        static func floats(_ name: String, _ shape: [Int], _ values: [Float]) -> Stored {
            Stored(name: name, shape: shape, kind: 1, bytes: values.flatMap { littleEndianBytes($0.bitPattern) })
        }
    }

    /// x (N, 2, 32, 32) -> 1x1 to 3 channels, rounded -> 1x1 to 4 channels -> mean. `weight`: of the second convolution.
    private func file(_ weight: [Stored], _ nodes: [(String, [String], String, axis: Int?)]) -> [UInt8] {
        let first = (0..<6).map { Float($0) / 4 - 0.6 }
        let stored =
            weight + [
                .floats("w1", [3, 2, 1, 1], first), .floats("s", [], [0.02]),
                Stored(name: "z", shape: [], kind: 2, bytes: [0]),
            ]
        var chain: [(String, [String], String, axis: Int?)] = [
            ("Conv", ["x", "w1"], "a", nil), ("QuantizeLinear", ["a", "s", "z"], "b", nil),
            ("DequantizeLinear", ["b", "s", "z"], "c", nil),
        ]
        chain += nodes
        chain.append(("Conv", ["c", "w"], "d", nil))
        chain.append(("GlobalAveragePool", ["d"], "out", nil))
        return ProtobufWriter.onnxFile(opset: 17, x: [1, 2, 32, 32], out: [1, 4, 1, 1]) { graph in
            for (operation, inputs, output, axis) in chain {
                graph.node(operation, inputs, output, name: output, axis: axis)
            }
            for tensor in stored { graph.tensor(tensor.name, tensor.shape, kind: tensor.kind, tensor.bytes) }
        }
    }

    private let bytes: [Int8] = [1, -2, 3, 4, -5, 6, 127, -127, 9, -128, 11, 12]
    private let scales: [Float] = [0.5, 0.25, 1, 2]
    private var unsigned: [UInt8] { bytes.map { UInt8(bitPattern: $0) } }

    private func check(_ file: [UInt8], largestPair: Int, _ title: String) throws {
        let model = try Model(onnx: file, name: title)
        let quantization = try XCTUnwrap(model.quantization, title)
        let key = try XCTUnwrap(quantization.weights.keys.first)
        XCTAssertEqual(quantization.weights[key]?.scales, scales, title)
        XCTAssertEqual(quantization.weights[key]?.largestSum, 136, title)
        XCTAssertEqual(quantization.weights[key]?.largestPair, largestPair, title)
        XCTAssertEqual(model[key].values, bytes.enumerated().map { Float($1) * scales[$0 / 3] }, title)
        // Bytes without negative values stand for what a ReLU leaves.
        XCTAssertEqual(model.graph.nodes.count { if case .relu = $0.operation { true } else { false } }, 1, title)
        let plan = try InferencePlan(model: model, input: ImageShape(channels: 2, height: 32, width: 32))
        XCTAssertEqual(plan.stepInfos.count { $0.kernel.hasPrefix("int8 ") }, 1, title)
    }

    func testWeightsInEveryForm() throws {
        let scale = Stored.floats("ws", [4], scales)
        let signed = [Stored(name: "wb", shape: [4, 3, 1, 1], kind: 3, bytes: unsigned), scale]
        try check(
            file(signed, [("DequantizeLinear", ["wb", "ws"], "w", axis: 0)]), largestPair: 254, "signed, no zero")
        try check(
            file(
                [
                    Stored(
                        name: "wb", shape: [4, 3, 1, 1], kind: 2, bytes: bytes.map { UInt8(Int($0) + 128) }), scale,
                    Stored(name: "wz", shape: [4], kind: 2, bytes: [128, 128, 128, 128]),
                ], [("DequantizeLinear", ["wb", "ws", "wz"], "w", axis: 0)]), largestPair: 254, "unsigned around 128")
        let floats = bytes.enumerated().map { Float($1) * scales[$0 / 3] }
        try check(
            file(
                [
                    .floats("wf", [4, 3, 1, 1], floats), scale,
                    Stored(name: "wz", shape: [4], kind: 3, bytes: [0, 0, 0, 0]),
                ],
                [
                    ("QuantizeLinear", ["wf", "ws", "wz"], "wb", axis: 0),
                    ("DequantizeLinear", ["wb", "ws", "wz"], "w", axis: 0),
                ]), largestPair: 254, "still floats")
    }

    func testWhatBytesHereCannotStandForIsRefused() throws {
        let weight = Stored(name: "wb", shape: [4, 3, 1, 1], kind: 3, bytes: unsigned)
        let scale = Stored.floats("ws", [4], scales)
        func refused(_ stored: [Stored], _ nodes: [(String, [String], String, axis: Int?)], _ words: String) {
            XCTAssertThrowsError(try Model(onnx: file(stored, nodes), name: "m"), words) { error in
                XCTAssert("\(error)".contains(words), "\(error)")
            }
        }
        let plain = [("DequantizeLinear", ["wb", "ws", "wz"], "w", axis: Int?(0))]
        refused(
            [weight, scale, Stored(name: "wz", shape: [4], kind: 3, bytes: [0, 1, 2, 3])], plain, "around one zero")
        refused(
            [weight, .floats("ws", [3], [1, 2, 3])], [("DequantizeLinear", ["wb", "ws"], "w", axis: 1)],
            "around one zero")
        refused([weight, scale], [("DequantizeLinear", ["wb", "ws"], "w", axis: 1)], "each entry of axis 1")
        refused(
            [weight, .floats("ws", [4], [1, 0, 1, 1])], [("DequantizeLinear", ["wb", "ws"], "w", axis: 0)], "above 0")
        refused(
            [weight, .floats("t", [], [0.03])],
            [
                ("QuantizeLinear", ["c", "t", "z"], "e", axis: nil),
                ("DequantizeLinear", ["e", "t", "z"], "f", axis: nil),
            ],
            "one scale for all")
        refused([weight, scale], [("QLinearConv", ["c"], "w", axis: nil)], "(QDQ)")
        refused(
            [weight, scale], [("QuantizeLinear", ["c", "s", "z"], "e", axis: nil), ("Relu", ["e"], "w", axis: nil)],
            "DequantizeLinear before")
    }
}
