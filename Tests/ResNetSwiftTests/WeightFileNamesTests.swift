// Where a network lies in a file, under whatever keys and prefixes, and what its tensors are called.

import Foundation
import ResNetSupport
import ResNetSwift
import XCTest

@testable import ResNetWeights

final class WeightFileNamesTests: XCTestCase {
    private let network = WildNetwork()
    private static let containers: [ContainerKind] = [.torchZip, .npz, .safetensors]

    private func assertIsTheNetwork(
        _ file: WeightFile, _ message: String, file source: StaticString = #filePath, line: UInt = #line
    ) throws {
        do {
            let found = try Model(from: file)
            XCTAssertEqual(found.graph, network.model.graph, message, file: source, line: line)
            for (name, tensor) in network.model.parameters where found.parameters[name] != nil {
                XCTAssertEqual(found[name].bits, tensor.bits, "\(message): \(name)", file: source, line: line)
            }
        } catch { XCTFail("\(message): \(error)", file: source, line: line) }
    }

    private func fault(of file: WeightFile) -> String {
        do {
            _ = try Model(from: file)
            return ""
        } catch { return "\(error)" }
    }

    func testAnyKeyAboveTheStateDict() throws {
        for path in [
            ["model_state_dict"], ["net"], ["ema"], ["ema_state_dict"], ["weights"], ["params"], ["network"],
            ["module"],
            ["generator"], ["a.b", "c"], ["x", "y", "z"],
        ] {
            let file = try network.file(.torchZip, under: path)
            XCTAssertEqual(file.wrapper, path)
            try assertIsTheNetwork(file, path.joined(separator: " > "))
        }
    }

    func testAnyPrefix() throws {
        for prefix in [
            "", "model.", "net.", "backbone.", "encoder.", "resnet.", "module.encoder_q.", "features.",
            "module._orig_mod.model.", "0.", "img_encoder.resnet.", "f.",
        ] {
            for container in Self.containers {
                let file = try network.file(container) { prefix + $0 }
                XCTAssertEqual(file.prefix, prefix)
                try assertIsTheNetwork(file, "\(container) \(prefix)")
            }
        }
    }

    /// Beside the network lies what a LightningModule keeps.
    func testTensorsOutsideThePrefixAreLeft() throws {
        let others = [("criterion.weight", [3]), ("train_acc.tp", [2]), ("queue", [4, 8]), ("projector.0.bias", [7])]
            .map {
                (key: $0.0, tensor: Tensor(shape: $0.1, repeating: 1))
            }
        for container in Self.containers {
            let file = try network.file(container, beside: others) { "model.\($0)" }
            try assertIsTheNetwork(file, "\(container)")
            XCTAssertEqual(Set(file.report(for: network.model.graph).left), Set(others.map(\.key)))
            XCTAssertTrue(try XCTUnwrap(file.summary).contains("left: "))
        }
        // A loss's weights, a scalar and arrays of no layer beside the plain names, too; but no layer.
        let besides: [(key: String, tensor: Tensor)] = [
            ("criterion.weight", Tensor(shape: [3], repeating: 1)), ("n_averaged", Tensor(shape: [], repeating: 1)),
            ("mean", Tensor(shape: [3], repeating: 0.5)), ("é ü", Tensor(shape: [2, 2], repeating: 1)),
        ]
        for container in Self.containers {
            let harmless = try network.file(container, beside: besides)
            try assertIsTheNetwork(harmless, "\(container)")
            XCTAssertEqual(Set(harmless.report(for: network.model.graph).left), Set(besides.map(\.key)))
        }
        let activation = try network.file(.npz, beside: [("relu.weight", Tensor(shape: [1], repeating: 0.25))])
        XCTAssertTrue(fault(of: activation).contains("unknown to the model (1): relu.weight"), fault(of: activation))
        let layer = try network.file(
            .npz, beside: [("layer3.0.se.fc1.weight", Tensor(shape: [4, 16, 1, 1], repeating: 1))])
        XCTAssertTrue(fault(of: layer).contains("squeeze and excitation of unknown widths"), fault(of: layer))
    }

    /// `nn.Sequential(*list(resnet.children())[:-2], ...)` and its relatives.
    func testNumbersInPlaceOfNames() throws {
        let numbers = ["conv1": "0", "bn1": "1", "layer1": "3", "layer2": "4", "layer3": "5", "fc": "8"]
        func sequential(_ name: String) -> String {
            let first = String(name.prefix { $0 != "." })
            return numbers[first]! + name.dropFirst(first.count)
        }
        for container in Self.containers {
            try assertIsTheNetwork(try network.file(container) { sequential($0) }, "\(container)")
            try assertIsTheNetwork(try network.file(container) { "model.\(sequential($0))" }, "\(container) model.")
            // Sequential(Sequential(...), Sequential(pool, flatten, linear))
            let nested = try network.file(container) { name in
                name.hasPrefix("fc.") ? "1.2" + name.dropFirst(2) : "0.\(sequential(name))"
            }
            try assertIsTheNetwork(nested, "\(container) nested")
            XCTAssertEqual(nested.prefix, "0.")
            XCTAssertTrue(nested.notes.contains("the layers are recognized by their order and shapes"))
        }
        // Names of somebody's own blocks, in the order in which they were made.
        let own = try network.file(.torchZip) { name in
            var parts = name.split(separator: ".").map(String.init)
            if parts[0].hasPrefix("layer") {
                parts[0] = "stages.\(parts[0].dropFirst(5))"
                parts[2] = ["conv1": "a", "bn1": "an", "conv2": "b", "bn2": "bn", "downsample": "skip"][parts[2]]!
            } else if parts[0] != "fc" {
                parts[0] = "stem.\(parts[0] == "conv1" ? 0 : 1)"
            }
            return parts.joined(separator: ".")
        }
        try assertIsTheNetwork(own, "own names")
    }

    /// A stem or a shortcut by another name; heads by other names, inside and beside the backbone.
    func testOtherNamesOfParts() throws {
        for container in Self.containers {
            let stem = try network.file(container) {
                $0.hasPrefix("conv1.")
                    ? "layer0.0" + $0.dropFirst(5) : $0.hasPrefix("bn1.") ? "layer0.1" + $0.dropFirst(3) : $0
            }
            try assertIsTheNetwork(stem, "layer0")
            let shortcut = try network.file(container) {
                $0.replacing("downsample", with: "shortcut").replacing("fc.", with: "linear.")
            }
            try assertIsTheNetwork(shortcut, "shortcut")
            for head in ["fc.1", "linear", "classifier", "head", "last_linear", "classifier.1", "head.fc", "odd_name"] {
                let inside = try network.file(container) { $0.hasPrefix("fc.") ? head + $0.dropFirst(2) : $0 }
                try assertIsTheNetwork(inside, head)
                let beside = try network.file(container) {
                    $0.hasPrefix("fc.") ? head + $0.dropFirst(2) : "backbone.\($0)"
                }
                try assertIsTheNetwork(beside, "beside \(head)")
            }
        }
    }

    /// The Protein Atlas program's head: two linear layers of one Sequential.
    func testAHiddenHead() throws {
        let head = HeadKind.hidden(5, dropout: 0.5)
        let model = try network.model.replacingHead(with: head, classes: 4, seed: 2)
        for (first, second) in [("head.2", "head.5"), ("10", "13"), ("fc.0", "fc.3"), ("classifier.1", "classifier.3")]
        {
            for container in Self.containers {
                let tensors = model.graph.parameters.map { spec in
                    var name = spec.name
                    if name.hasPrefix("head.2.") { name = first + name.dropFirst(6) }
                    if name.hasPrefix("head.5.") { name = second + name.dropFirst(6) }
                    return (key: name, tensor: model[spec.name])
                }
                let file = try WildNetwork.file(container, tensors)
                let found = try Model(from: file)
                XCTAssertEqual(found.graph, model.graph, "\(container) \(first)")
                XCTAssertEqual(found["head.5.weight"].bits, model["head.5.weight"].bits)
                XCTAssertEqual(found.headKind, head)
                XCTAssertTrue(file.notes.contains { $0.contains("a ReLU is assumed") }, "\(file.notes)")
            }
        }
        // Three and more.
        for widths in [[6, 5], [7, 6, 5]] {
            let deep = HeadKind.layers(widths, dropout: 0.5)
            let model = try network.model.replacingHead(with: deep, classes: 4, seed: 2)
            for (path, step) in [("fc", 3), ("head.layers", 2)] {
                let tensors = model.graph.parameters.map { spec in
                    var name = spec.name
                    for place in 0...widths.count where name.hasPrefix("head.\(2 + 3 * place).") {
                        name = "\(path).\(step * place).\(name.split(separator: ".")[2])"
                    }
                    return (key: name, tensor: model[spec.name])
                }
                let found = try Model(from: try WildNetwork.file(.safetensors, tensors))
                XCTAssertEqual(found.graph, model.graph)
                XCTAssertEqual(found.parameters.mapValues(\.bits), model.parameters.mapValues(\.bits))
                XCTAssertEqual(found.headKind, deep)
            }
        }
        // Nothing between them, a convolution among them, names that say nothing about what stands between.
        func refused(_ names: [(String, [Int])]) throws -> String {
            let tensors = names.map { (key: $0.0, tensor: Tensor(shape: $0.1, repeating: 1)) }
            return fault(
                of: try WildNetwork.file(.npz, network.tensors { $0 }.filter { !$0.key.hasPrefix("fc.") } + tensors))
        }
        XCTAssertTrue(
            try refused([("fc.0.weight", [5, 16]), ("fc.1.weight", [4, 5])]).contains("a head of 2 linear layers"))
        XCTAssertTrue(try refused([("embed.weight", [16, 16]), ("fc2.weight", [4, 16])]).contains("several heads"))
        let mixed = try refused([("fc.0.weight", [5, 16]), ("fc.1.weight", [5, 5, 1, 1]), ("fc.3.weight", [4, 5])])
        XCTAssertTrue(mixed.contains("with other layers among them: fc (16 to 5, 5 to 4)"), mixed)
    }

    /// Other people's networks are named.
    func testForeignNetworks() throws {
        func refused(_ names: [(String, [Int])]) throws -> String {
            fault(of: try WildNetwork.file(.npz, names.map { (key: $0.0, tensor: Tensor(shape: $0.1, repeating: 1)) }))
        }
        let alex = try refused([("m.features.0.weight", [4, 3, 11, 11]), ("m.classifier.6.weight", [3, 4])])
        XCTAssertTrue(alex.contains("torchvision's AlexNet"), alex)
        let vgg = try refused([("features.0.weight", [4, 3, 3, 3]), ("classifier.6.weight", [3, 4])])
        XCTAssertTrue(vgg.contains("but of a VGG"), vgg)
        let googlenet = try refused([
            ("conv1.conv.weight", [4, 3, 7, 7]), ("inception3a.branch1.conv.weight", [4, 4, 1, 1]),
            ("inception3a.branch1.bn.weight", [4]),
        ])
        XCTAssertTrue(googlenet.contains("torchvision's GoogLeNet, which has batch norms"), googlenet)
        let dense = try refused([("features.denseblock1.denselayer1.conv1.weight", [4, 4, 1, 1])])
        XCTAssertTrue(dense.contains("a DenseNet"), dense)
        let unknown = try refused([("a.weight", [4, 3, 3, 3])])
        XCTAssertTrue(unknown.contains("no conv1.weight"), unknown)
    }

    /// Norms without statistics are batch norms that lost them, or group norms: nobody guesses.
    func testNormsWithoutStatistics() throws {
        let tensors = network.tensors { $0 }.filter { !$0.key.contains("running_") }
        let reason = fault(of: try WildNetwork.file(.safetensors, tensors))
        XCTAssertTrue(reason.contains("its norms have no running statistics"), reason)
        let names = ["norm1.weight", "conv1.weight"].map { "stages.0.blocks.0.\($0)" } + ["norm.weight"]
        let activated = names.map {
            (key: $0, tensor: Tensor(shape: $0.contains("conv") ? [4, 4, 1, 1] : [4], repeating: 1))
        }
        let other = fault(of: try WildNetwork.file(.safetensors, activated))
        XCTAssertTrue(other.contains("its norms have no running statistics"), other)
        for name in ["resnet50_gn_a1h2-8fe6c4d0.pth", "resnetv2_50x1_bit.goog_in21k.safetensors"] {
            let claims = NetworkClaim.claims(path: "a/\(name)", metadata: [:], pickled: [], config: nil)
            XCTAssertTrue(name.hasPrefix(try XCTUnwrap(NetworkClaim.model(claims)).rawValue), name)
        }
    }

    func testFiltersAreStandardizedAsTheyAreRead() throws {
        var g = GraphBuilder("Standardized")
        let x = g.conv(g.input(channels: 3), "a", 8, kernel: 3, padding: 1, isStandardized: true)
        let y = g.conv(g.groupNorm(x, "n", groups: 4), "b", 5, kernel: 1)
        let graph = g.finish(logits: g.flatten(g.globalAveragePool(y, "pool")), features: nil)
        let model = Model.initialized(graph, seed: 3)
        let folder = try TemporaryFolder()
        try model.save(to: "\(folder.path)/model.safetensors")
        let found = try Model(graph: graph, from: WeightFile.open("\(folder.path)/model.safetensors"))
        XCTAssertEqual(found["b.weight"].bits, model["b.weight"].bits)
        for filter in 0..<8 {
            let source = model["a.weight"].values[filter * 27..<filter * 27 + 27].map(Double.init)
            let mean = source.reduce(0, +) / 27
            let std = (source.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 27 + 1e-8).squareRoot()
            for (index, value) in source.enumerated() {
                XCTAssertEqual(
                    Double(found["a.weight"].values[filter * 27 + index]), (value - mean) / std, accuracy: 1e-6)
            }
        }
        // Once more changes nothing that matters.
        try found.save(to: "\(folder.path)/again.safetensors")
        let again = try Model(graph: graph, from: WeightFile.open("\(folder.path)/again.safetensors"))
        for (a, b) in zip(again["a.weight"].values, found["a.weight"].values) { XCTAssertEqual(a, b, accuracy: 1e-6) }
        let plan = OptimizationPlan(
            loss: .crossEntropy(), optimizer: .sgd(), groups: ParameterGroup.single(graph))
        XCTAssertThrowsError(
            try TrainingPlan(
                model: model, input: ImageShape(channels: 3, height: 8, width: 8), batchLimit: 2, plan: plan)
        ) { XCTAssertTrue("\($0)".contains("a group norm, which runs in inference only"), "\($0)") }
    }

    func testHeadsSideBySide() throws {
        let named = try network.file(.npz, beside: [("age.weight", Tensor(shape: [1, 16], repeating: 1))])
        try assertIsTheNetwork(named, "fc and another")
        XCTAssertEqual(named.report(for: network.model.graph).left, ["age.weight"])
        let unnamed = try network.file(.npz, beside: [("age.weight", Tensor(shape: [1, 16], repeating: 1))]) {
            $0.hasPrefix("fc.") ? "sex" + $0.dropFirst(2) : $0
        }
        XCTAssertTrue(fault(of: unnamed).contains("several heads read the features: sex (16 to 3); age (16 to 1)"))
        // Without a bias.
        let tensors = network.tensors { $0 }.filter { $0.key != "fc.bias" }
        let found = try Model(from: try WildNetwork.file(.safetensors, tensors))
        XCTAssertEqual(found["fc.weight"].bits, network.model["fc.weight"].bits)
        XCTAssertNil(found.parameters["fc.bias"])
    }

    func testABackboneWithoutAHead() throws {
        let tensors = network.tensors { "backbone.\($0)" }.filter { !$0.key.contains("fc.") }
        for container in Self.containers {
            let found = try Model(from: try WildNetwork.file(container, tensors))
            XCTAssertTrue(found.graph.isBackbone)
            XCTAssertNil(found.graph.classCount)
            XCTAssertEqual(found.graph.headParameters, [])
            let again = try found.replacingHead(classes: 3, seed: 0)
            XCTAssertEqual(again.graph, network.model.graph)
            let picture = ImageShape(channels: 3, height: 32, width: 32)
            let input = Tensor(
                shape: [1, 3, 32, 32],
                storage: FloatStorage(count: 3 * 32 * 32) { CounterRandom(seed: 1).fillUniform($0, low: -1, high: 1) })
            let features = try InferencePlan(model: found, input: picture, batch: 1).predict(input)
            let whole = try InferencePlan(model: network.model, input: picture, batch: 1).predict(input)
            XCTAssertEqual(features.features?.bits, whole.features?.bits)
            XCTAssertEqual(features.logits.bits, whole.features?.bits)
        }
    }

    func testAverages() throws {
        let other = WildNetwork()
        func zip(_ parts: [(key: String, tensors: [(key: String, tensor: Tensor)])]) throws -> [UInt8] {
            var pickle = BuiltPickle.emptyDict
            var storages: [BuiltZip.Member] = []
            for (key, tensors) in parts {
                let state = BuiltState(tensors)
                pickle += BuiltPickle.text(key) + state.value(first: storages.count) + BuiltPickle.setItem
                storages += state.storages(first: storages.count)
            }
            return BuiltState.zip(BuiltPickle.proto + pickle + BuiltPickle.stop, storages)
        }
        let own = network.tensors { $0 }
        let zeros = other.tensors { "module.\($0)" }.map {
            (key: $0.key, tensor: Tensor(shape: $0.tensor.shape, repeating: 0))
        }
        for average in ["model_ema", "ema_state_dict", "state_dict_ema", "swa_model", "averaged_model"] {
            for order in [[("model", own), (average, zeros)], [(average, zeros), ("model", own)]] {
                let bytes = try zip(order.map { (key: $0.0, tensors: $0.1) })
                let file = try WeightFile.open(bytes: bytes, name: "ema.pth")
                try assertIsTheNetwork(file, average)
                XCTAssertEqual(file.wrapper, ["model"])
                XCTAssertTrue(file.notes.contains { $0.contains(average) && $0.contains("running average") })
                let asked = try WeightFile.open(bytes: bytes, name: "ema.pth", key: average)
                XCTAssertEqual(try Model(from: asked)["fc.bias"].values, [0, 0, 0])
            }
        }
        // Two that nothing tells apart.
        let two = try zip([("student", own), ("teacher", zeros)])
        let file = try WeightFile.open(bytes: two, name: "two.pth")
        XCTAssertTrue(
            fault(of: file).contains("several networks; choose one by its key or prefix: key student, or key teacher"))
        XCTAssertFalse(file.report(for: network.model.graph).isComplete)
        XCTAssertThrowsError(try Model(graph: network.model.graph, from: file))
        try assertIsTheNetwork(try WeightFile.open(bytes: two, name: "two.pth", key: "student"), "student")
        XCTAssertThrowsError(try WeightFile.open(bytes: two, name: "two.pth", key: "pupil")) {
            XCTAssertTrue("\($0)".contains("no tensors under the key 'pupil'; there are: student, teacher"), "\($0)")
        }
        XCTAssertThrowsError(try WeightFile.open(bytes: two, name: "two.pth", prefix: "x")) {
            XCTAssertTrue("\($0)".contains("no tensors with the prefix 'x.'"), "\($0)")
        }
        let flat = try network.file(.npz, beside: network.tensors { "b.\($0)" }) { "a.\($0)" }
        XCTAssertTrue(fault(of: flat).contains("prefix a., or prefix b."), fault(of: flat))
        // MoCo's key encoder is the average of its query encoder.
        let moco = try network.file(.npz, beside: network.tensors { "module.encoder_k.\($0)" }) {
            "module.encoder_q.\($0)"
        }
        try assertIsTheNetwork(moco, "MoCo")
        XCTAssertEqual(moco.prefix, "module.encoder_q.")
    }

    /// Two names of the same bytes are one network.
    func testAliases() throws {
        let state = BuiltState(network.tensors { $0 })
        let value = state.value()
        let pickle =
            BuiltPickle.proto + BuiltPickle.emptyDict + BuiltPickle.text("model") + value + BuiltPickle.setItem
            + BuiltPickle.text("state_dict") + value + BuiltPickle.setItem + BuiltPickle.stop
        try assertIsTheNetwork(
            try WeightFile.open(bytes: BuiltState.zip(pickle, state.storages()), name: "twice.pth"), "twice")
    }

    /// A graph of somebody's own, under a prefix that its names do not have.
    func testAPrefixBeforeTheNamesOfAnyGraph() throws {
        var g = GraphBuilder("Own")
        let x = g.relu(g.conv(g.input(channels: 1), "stem.conv", 2, kernel: 3, bias: true), "relu")
        let h = g.flatten(g.globalAveragePool(x, "pool"))
        let graph = g.finish(logits: g.linear(h, "classifier", 2), features: h)
        let own = Model.initialized(graph, seed: 1)
        for prefix in ["", "net.", "module.net."] {
            let tensors = graph.parameters.map { (key: prefix + $0.name, tensor: own[$0.name]) }
            let file = try WildNetwork.file(.npz, tensors)
            let found = try Model(graph: graph, from: file)
            XCTAssertEqual(found["classifier.weight"].bits, own["classifier.weight"].bits, prefix)
        }
    }

    // MARK: - Facts of others

    func testForeignFactsAreIgnored() throws {
        let foreign = [
            "head": "mlp", "transform": "imagenet", "model": "resnet50", "classes": "cat,dog", "thresholds": "0.5",
            "training": "yes", "variant": "x",
        ]
        for (key, text) in foreign {
            for container in [ContainerKind.npz, .safetensors] {
                let bytes = try Self.withoutMarker(container, network.tensors { $0 }, [key: text])
                let opened = try WeightFile.open(bytes: bytes, name: "foreign")
                XCTAssertEqual(opened.metadata[key], text)
                try assertIsTheNetwork(opened, "\(container) \(key)")
                let model = try Model(from: opened)
                XCTAssertNotEqual(model.metadata[key], text, "\(container) \(key)")
            }
        }
    }

    func testFilesOfOursWithoutTheMarkerStillLoad() throws {
        let head = HeadKind.hidden(5, dropout: 0.25)
        var model = try network.model.replacingHead(with: head, classes: 2, seed: 2)
        model.classNames = ["cat", "dog"]
        model.metadata["transform"] = ImageTransform.cifar().json
        let tensors = model.graph.parameters.map { (key: $0.name, tensor: model[$0.name]) }
        for container in [ContainerKind.npz, .safetensors] {
            let bytes = try Self.withoutMarker(container, tensors, model.metadata)
            let found = try Model(from: try WeightFile.open(bytes: bytes, name: "old"))
            XCTAssertEqual(found.graph, model.graph)
            XCTAssertEqual(found.headKind, head)
            XCTAssertEqual(found.classNames, ["cat", "dog"])
            XCTAssertEqual(found.metadata["transform"], model.metadata["transform"])
        }
    }

    func testOurFilesCarryTheMarker() throws {
        let folder = try TemporaryFolder()
        var model = network.model
        model.metadata["head"] = "mlp"
        for format in WeightFormat.allCases {
            let path = "\(folder.path)/a.\(format.rawValue)"
            try model.save(to: path)
            let file = try WeightFile.open(path)
            XCTAssertEqual(file.metadata["resnetswift"], "1")
            // What we wrote we must understand.
            XCTAssertTrue(fault(of: file).contains("a head 'mlp'"), fault(of: file))
        }
    }

    /// A file as this library wrote it before it had the marker, or as anybody writes it.
    private static func withoutMarker(
        _ container: ContainerKind, _ tensors: [(key: String, tensor: Tensor)], _ metadata: [String: String]
    ) throws -> [UInt8] {
        let folder = try TemporaryFolder()
        let format: WeightFormat = container == .npz ? .npz : .safetensors
        let path = "\(folder.path)/a"
        try WeightWriter.write(tensors, metadata: metadata, to: path, format: format)
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        let marker = Array("\"resnetswift\"".utf8)
        let place = try XCTUnwrap(bytes.indices.first { bytes[$0...].starts(with: marker) })
        bytes.replaceSubrange(place..<place + marker.count, with: Array("\"other_thing\"".utf8))
        if container == .npz {
            // The checksum of the changed member: zero says that there is none.
            let archive = try bytes.withUnsafeBytes { try ZipArchive($0) }
            let crc = try XCTUnwrap(archive.member("__meta__.json")).crc
            for index in bytes.indices.dropLast(3) where Array(bytes[index..<index + 4]) == littleEndianBytes(crc) {
                bytes.replaceSubrange(index..<index + 4, with: [0, 0, 0, 0])
            }
        }
        return bytes
    }
}
