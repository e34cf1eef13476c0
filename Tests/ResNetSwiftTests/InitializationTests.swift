// First values: the distribution of every layer, and the same bits for the same seed.

import ResNetSwift
import XCTest

@testable import ResNetModels

final class InitializationTests: XCTestCase {
    private struct Statistics {
        var mean = 0.0
        var std = 0.0
        var kurtosis = 0.0
        var largest = 0.0

        init(_ tensor: Tensor) {
            let values = tensor.values.map(Double.init)
            let n = Double(values.count)
            mean = values.reduce(0, +) / n
            let mean = mean
            let second = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / n
            std = second.squareRoot()
            kurtosis = values.reduce(0) { $0 + pow($1 - mean, 4) } / n / (second * second)
            largest = values.map(abs).max()!
        }
    }

    /// Within 5 standard errors of the mean 0, the given deviation and the kurtosis (3 normal, 1.8 uniform).
    private func check(_ tensor: Tensor, std: Double, kurtosis: Double, _ name: String) {
        let s = Statistics(tensor)
        let n = Double(tensor.count)
        XCTAssertLessThan(abs(s.mean), 5 * std / n.squareRoot(), name)
        XCTAssertLessThan(abs(s.std / std - 1), 5 * ((kurtosis - 1) / (4 * n)).squareRoot(), name)
        XCTAssertLessThan(abs(s.kurtosis - kurtosis), 5 * (24 / n).squareRoot(), name)
    }

    func testResNetsStartAsTorchvisions() throws {
        let graph = try ModelName.cifar_resnet20.graph()
        let model = Model.initialized(graph, seed: 3)
        for spec in graph.parameters {
            let tensor = model[spec.name]
            switch spec.role {
            case .convWeight:
                let fanOut = Double(spec.shape[0] * spec.shape[2] * spec.shape[3])
                check(tensor, std: (2 / fanOut).squareRoot(), kurtosis: 3, spec.name)
            case .linearWeight:
                check(tensor, std: 1 / (3.0 * 64).squareRoot(), kurtosis: 1.8, spec.name)
                XCTAssertLessThanOrEqual(Statistics(tensor).largest, 1.0 / 8)
            case .bias: XCTAssertLessThanOrEqual(Statistics(tensor).largest, 1.0 / 8)
            case .normWeight, .runningVar: XCTAssertEqual(Set(tensor.values), [1], spec.name)
            case .normBias, .runningMean: XCTAssertEqual(Set(tensor.values), [0], spec.name)
            case .layerScale: XCTFail("\(spec.name): a ResNet has no layer scale")
            }
        }
    }

    func testFanOutCountsAllGroups() {
        let graph = ResNetConfig.resnext50_32x4d.graph(classes: 2)
        let spec = graph.parameters.first { $0.name == "layer1.0.conv2.weight" }!
        XCTAssertEqual(spec.shape, [128, 4, 3, 3])
        let values = graph.firstValues(
            seed: 5, .resNet, but: Set(graph.parameters.map(\.name)).subtracting([spec.name]))
        check(values[spec.name]!, std: (2.0 / (128 * 9)).squareRoot(), kurtosis: 3, spec.name)
    }

    func testOtherSchemes() throws {
        var g = GraphBuilder("Net")
        let x = g.conv(g.input(channels: 8), "conv", 32, kernel: Size2(3, 5), bias: true)
        let h = g.flatten(g.globalAveragePool(x, "pool"))
        let graph = g.finish(logits: g.linear(h, "fc", 300), features: h)
        let torch = Model.initialized(graph, seed: 1, scheme: .torch)
        check(torch["conv.weight"], std: 1 / (3.0 * 120).squareRoot(), kurtosis: 1.8, "conv")
        XCTAssertGreaterThan(Statistics(torch["conv.bias"]).largest, 0)
        XCTAssertLessThanOrEqual(Statistics(torch["conv.bias"]).largest, 1 / 120.0.squareRoot())
        check(torch["fc.weight"], std: 1 / (3.0 * 32).squareRoot(), kurtosis: 1.8, "fc")
        let keras = Model.initialized(graph, seed: 1, scheme: .keras)
        check(keras["conv.weight"], std: (2.0 / (120 + 32 * 15)).squareRoot(), kurtosis: 1.8, "conv")
        check(keras["fc.weight"], std: (2.0 / 332).squareRoot(), kurtosis: 1.8, "fc")
        XCTAssertEqual(Set(keras["conv.bias"].values + keras["fc.bias"].values), [0])
        let transformer = Model.initialized(graph, seed: 1, scheme: .transformer)
        check(transformer["conv.weight"], std: 1 / (3.0 * 120).squareRoot(), kurtosis: 1.8, "conv")
        check(transformer["fc.weight"], std: 0.02, kurtosis: 3, "fc")
        XCTAssertEqual(Set(transformer["fc.bias"].values), [0])
    }

    func testTheSeedDecidesEveryBit() throws {
        let graph = try ModelName.cifar_resnet14.graph()
        let model = Model.initialized(graph, seed: 7)
        let again = Model.initialized(graph, seed: 7)
        let other = Model.initialized(graph, seed: 8)
        for (name, tensor) in model.parameters {
            XCTAssertEqual(tensor.values.map(\.bitPattern), again[name].values.map(\.bitPattern), name)
            if name.hasSuffix("conv1.weight") { XCTAssertNotEqual(tensor.values, other[name].values, name) }
        }
        // Equal shapes do not mean equal values.
        XCTAssertNotEqual(model["layer1.0.conv1.weight"].values, model["layer1.0.conv2.weight"].values)
        // A name's values do not depend on the rest of the network.
        let deeper = try ModelName.cifar_resnet20.model(seed: 7)
        XCTAssertEqual(model["layer2.0.conv1.weight"].values, deeper["layer2.0.conv1.weight"].values)
    }

    func testZeroInitResidualZeroesTheLastNormOfEveryBlockOnly() {
        for (config, last) in [(ResNetConfig.resnet18, "bn2"), (.resnext50_32x4d, "bn3")] {
            let graph = config.graph(classes: 2)
            let blocks = config.nBlocks.reduce(0, +)
            let convs = Set(graph.parameters.filter { $0.role != .normWeight }.map(\.name))
            XCTAssertEqual(graph.lastNormsOfResidualBlocks.count, blocks)
            let modules = graph.lastNormsOfResidualBlocks.map { graph.nodes[$0].module }
            XCTAssertTrue(modules.allSatisfy { $0.hasPrefix("layer") && $0.hasSuffix("." + last) })
            XCTAssertFalse(convs.isEmpty)
        }
        let graph = CIFARResNetConfig.resnet14.graph()
        let plain = Model.initialized(graph, seed: 1)
        let zeroed = Model.initialized(graph, seed: 1, zeroInitResidual: true)
        for spec in graph.parameters {
            let expected = spec.name.hasSuffix(".bn2.weight") ? [Float](repeating: 0, count: spec.count) : nil
            XCTAssertEqual(zeroed[spec.name].values, expected ?? plain[spec.name].values, spec.name)
        }
    }
}
