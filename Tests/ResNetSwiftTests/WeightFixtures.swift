// Tests/Fixtures/weights, written by scripts/make_weight_fixtures.py, and helpers for files made by the tests.

import Foundation
import ResNetSwift
import XCTest

enum WeightFixtures {
    struct Expected: Decodable {
        let shape: [Int]
        /// Bit patterns in hexadecimal.
        let bits: [String]
    }

    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../Fixtures/weights").standardized.path

    static func path(_ name: String) -> String { "\(folder)/\(name)" }

    static func bytes(_ name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: path(name))))
    }

    static func expected(_ name: String) throws -> [String: Expected] {
        let data = try Data(contentsOf: URL(fileURLWithPath: path("\(name).expected.json")))
        return try JSONDecoder().decode([String: Expected].self, from: data)
    }

    /// Every container, with the table of its values.
    static let files: [(name: String, kind: ContainerKind, expected: String)] = [
        ("tiny.safetensors", .safetensors, "tiny"), ("tiny_hugging_face.safetensors", .safetensors, "tiny"),
        ("tiny.npz", .npz, "tiny"), ("tiny_deflated.npz", .npz, "tiny"), ("tiny.pth", .torchZip, "tiny"),
        ("tiny_stream.pth", .torchStream, "tiny"), ("tiny_tar.pth", .torchTar, "tiny"),
        ("tiny_hugging_face.bin", .torchZip, "tiny"), ("tiny_wrapped.pth", .torchZip, "tiny"),
        ("tiny_averaged.pth", .torchZip, "tiny"), ("tiny_parameters.pth", .torchZip, "tiny"),
        ("tiny_cuda.pth", .torchZip, "tiny"), ("types.safetensors", .safetensors, "types"),
        ("types.pth", .torchZip, "types"), ("types_stream.pth", .torchStream, "types"), ("types.npz", .npz, "types"),
        ("types_big_endian.npz", .npz, "types"), ("types_big_endian.pth", .torchZip, "types"),
        ("strides.pth", .torchZip, "strides"), ("strides_stream.pth", .torchStream, "strides"),
        ("strides_tar.pth", .torchTar, "strides"), ("views_tar.pth", .torchTar, "views"),
        ("fortran.npz", .npz, "fortran"), ("version1.npy", .npy, "version"), ("version2.npy", .npy, "version"),
        ("version3.npy", .npy, "version"),
    ]

    /// The network of the `tiny` fixtures.
    static func tinyGraph(classes: Int = 5, inputChannels: Int = 3) -> Graph {
        var graph = Graph(modelName: "Tiny")
        func norm(_ x: Node, _ name: String, _ channels: Int) -> Node {
            graph.add(name, .batchNorm(channels: channels, eps: 1e-5, momentum: 0.1), x)
        }
        func conv(_ x: Node, _ name: String, _ from: Int, _ to: Int, _ kernel: Int, stride: Size2 = 1) -> Node {
            let spec = ConvSpec(
                from, to, kernel: Size2(kernel, kernel), stride: stride, padding: Size2(kernel / 2, kernel / 2))
            return graph.add(name, .conv(spec), x)
        }
        let input = graph.add("input", .input(channels: inputChannels))
        var x = norm(conv(input, "conv1", inputChannels, 4, 3), "bn1", 4)
        for (block, from, to) in [("layer1.0", 4, 4), ("layer2.0", 4, 8)] {
            var y = norm(conv(x, "\(block).conv1", from, to, 3, stride: from == to ? 1 : 2), "\(block).bn1", to)
            y = norm(conv(y, "\(block).conv2", to, to, 3), "\(block).bn2", to)
            if from != to {
                x = norm(conv(x, "\(block).downsample.0", from, to, 1, stride: 2), "\(block).downsample.1", to)
            }
            x = graph.add("\(block).add", .add, y, x)
        }
        let h = graph.add("flatten", .flatten, graph.add("avgpool", .globalAveragePool, x))
        let logits = graph.add("fc", .linear(inFeatures: 8, outFeatures: classes, bias: true), h)
        graph.setOutputs(logits: logits, features: h)
        return graph
    }

    /// A model of the graph with one value everywhere.
    static func model(_ graph: Graph, value: Float) -> Model {
        let pairs = graph.parameters.map { ($0.name, Tensor(shape: $0.shape, repeating: value)) }
        return Model(graph: graph, parameters: Dictionary(uniqueKeysWithValues: pairs))
    }
}

extension Tensor {
    var bits: [UInt32] { values.map(\.bitPattern) }

    /// Bit patterns with all NaNs alike: which NaN a conversion makes is nobody's promise.
    var comparableBits: [UInt32] { values.map { $0.isNaN ? 0x7fc0_0000 : $0.bitPattern } }
}

/// A folder that is gone after the test.
final class TemporaryFolder {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("weights-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ bytes: [UInt8], _ name: String) throws -> String {
        let file = "\(path)/\(name)"
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        return file
    }
}
