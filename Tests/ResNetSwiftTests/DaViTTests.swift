// DaViT and ConvNeXt: what Keras' layer numbers freeze, shapes, what is refused, names of weight files.
import ResNetSwift
import XCTest

@testable import ResNetModels
@testable import ResNetWeights

final class DaViTTests: XCTestCase {
    private let keras = Result { try ModelName.davit_tiny_keras.graph() }

    private func message(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "no error"
        } catch { return "\(error)" }
    }

    /// Positions of the layers with parameters in `model.layers` of keras_cv_attention_models 1.4.3, for 280x280.
    private static let kerasPositions = [
        3, 4, 6, 8, 14, 28, 35, 37, 38, 40, 43, 45, 47, 61, 64, 66, 67, 69, 71, 72, 74, 76, 82, 96, 103,
        105, 106, 108, 111, 113, 115, 129, 132, 134, 135, 137, 139, 140, 142, 144, 149, 163, 169, 171, 172,
        174, 177, 179, 181, 195, 198, 200, 201, 203, 206, 208, 213, 227, 233, 235, 236, 238, 241, 243, 245,
        259, 262, 264, 265, 267, 270, 272, 277, 291, 297, 299, 300, 302, 305, 307, 309, 323, 326, 328, 329,
        331, 333, 334, 336, 338, 340, 354, 358, 360, 361, 363, 366, 368, 370, 384, 387, 389, 390, 392, 394,
        397,
    ]

    /// The same for 224x224. Both are what keras_cv_attention_models shows under TensorFlow 2.15.
    private static let kerasPositionsAt224 = [
        3, 4, 6, 8, 13, 27, 33, 35, 36, 38, 41, 43, 45, 59, 62, 64, 65, 67, 69, 70, 72, 74, 79, 93, 99, 101,
        102, 104, 107, 109, 111, 125, 128, 130, 131, 133, 135, 136, 138, 140, 145, 159, 165, 167, 168, 170,
        173, 175, 177, 191, 194, 196, 197, 199, 202, 204, 209, 223, 229, 231, 232, 234, 237, 239, 241, 255,
        258, 260, 261, 263, 266, 268, 273, 287, 293, 295, 296, 298, 301, 303, 305, 319, 322, 324, 325, 327,
        329, 330, 332, 334, 336, 350, 354, 356, 357, 359, 362, 364, 366, 380, 383, 385, 386, 388, 390, 393,
    ]

    /// Modules in timm's order; what does nothing in evaluation is left out.
    func testTheTreeOfABlockIsTimms() throws {
        let tree = try ModelName.davit_tiny.graph().description
        let block = """
                      (0): SpatialBlock(
                        (cpe1): ConvPosEnc(
                          (proj): Conv2d(96, 96, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=96)
                        )
                        (norm1): LayerNorm((96,), eps=1e-05, elementwise_affine=True, bias=True)
                        (attn): WindowAttention(
                          (qkv): Linear(in_features=96, out_features=288, bias=True)
                          (proj): Linear(in_features=96, out_features=96, bias=True)
                        )
                        (cpe2): ConvPosEnc(
                          (proj): Conv2d(96, 96, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=96)
                        )
                        (norm2): LayerNorm((96,), eps=1e-05, elementwise_affine=True, bias=True)
                        (mlp): Mlp(
                          (fc1): Linear(in_features=96, out_features=384, bias=True)
                          (act): GELU(approximate='none')
                          (fc2): Linear(in_features=384, out_features=96, bias=True)
                        )
                      )
            """
        XCTAssertTrue(tree.contains(block), tree)
    }

    func testKerasLayersAreThoseOfKeras() throws {
        let graph = try keras.get()
        let layers = try graph.kerasLayers(input: 280)
        let positions = layers.indices.filter { layers[$0] != nil }.map { $0 + 1 }
        XCTAssertEqual(positions, Self.kerasPositions)
        XCTAssertEqual(layers.compactMap { $0 }, graph.nodes.indices.filter { !graph.parameters(of: $0).isEmpty })
        XCTAssertEqual(layers.count, 394 + 3)
        let small = try ModelName.davit_tiny_keras.graph(inputSize: 224)
        let smallLayers = try small.kerasLayers(input: 224)
        XCTAssertEqual(smallLayers.count, 390 + 3)
        XCTAssertEqual(
            smallLayers.indices.filter { smallLayers[$0] != nil }.map { $0 + 1 }, Self.kerasPositionsAt224)
    }

    func testTheFirstEightyLayersOfKeras() throws {
        let graph = try keras.get()
        let all = graph.parameters
        XCTAssertEqual(all.count, 212)
        let frozen = try graph.selection(of: .kerasLayers(80), input: 280)
        XCTAssertEqual(frozen.count, 44)
        XCTAssertEqual(all.filter { frozen.contains($0.name) }.reduce(0) { $0 + $1.count }, 318_336)
        for count in 76...81 { XCTAssertEqual(try graph.selection(of: .kerasLayers(count), input: 280), frozen) }
        let byName = try graph.selection(
            of: .names([
                "stem", "stages.0", "stages.1.downsample", "stages.1.blocks.0.0.cpe1", "stages.1.blocks.0.0.norm1",
            ]))
        XCTAssertEqual(frozen, byName)
        let small = try ModelName.davit_tiny_keras.graph(inputSize: 224)
        XCTAssertEqual(try small.selection(of: .kerasLayers(80), input: 224).count, 46)
    }

    func testWhatKerasLayersCannotBe() throws {
        let graph = try keras.get()
        XCTAssertTrue(message { _ = try graph.selection(of: .kerasLayers(80)) }.contains("the pictures' size"))
        XCTAssertTrue(
            message { _ = try graph.selection(of: .kerasLayers(398), input: 280) }.contains("0 to 397 layers"))
        XCTAssertTrue(
            message { _ = try ModelName.resnet18.graph().selection(of: .kerasLayers(8), input: 224) }
                .contains("a DaViT, whose Keras layers are known, found ResNet"))
        XCTAssertEqual(try FreezePolicy(parsing: "keras:80"), .kerasLayers(80))
        XCTAssertTrue(message { _ = try FreezePolicy(parsing: "keras:x") }.contains("a number of layers"))
    }

    func testWindowsFollowThePicturesAsInKeras() throws {
        func windows(_ size: Size2) throws -> Set<Size2> {
            Set(
                try ModelName.davit_tiny_keras.graph(inputSize: size).nodes.compactMap {
                    if case .windowAttention(_, let window) = $0.operation { window } else { nil }
                })
        }
        XCTAssertEqual(try windows(280), [9])
        XCTAssertEqual(try windows(224), [7])
        XCTAssertEqual(try windows(Size2(376, 227)), [Size2(12, 8)])
        let model = try ModelName.davit_tiny_keras.model(seed: 1)
        XCTAssertEqual(model.metadata[MetadataKey.window], "9x9")
    }

    func testGraphsThatDoNotFitAreErrors() {
        func reason(_ channels: Int, _ operation: ResNetSwift.Operation) -> String {
            message {
                var graph = Graph(modelName: "Test")
                let x = graph.add("x", .input(channels: channels))
                graph.add("op", operation, x)
                _ = try graph.shapes(input: Size2(10, 14))
            }
        }
        XCTAssertTrue(reason(96, .windowAttention(heads: 1, window: 7)).contains("whole windows of 7x7, found 10x14"))
        XCTAssertTrue(reason(96, .windowAttention(heads: 3, window: 2)).contains("multiple of 16 channels"))
        XCTAssertTrue(reason(64, .channelAttention(heads: 1)).contains("queries, keys and values of 1 heads"))
        XCTAssertTrue(reason(8, .layerNorm(channels: 9, eps: 1e-5)).contains("9 channels, found 8"))
        XCTAssertTrue(reason(8, .padToMultiple(0)).contains("positive sizes"))
        XCTAssertTrue(reason(8, .crop).contains("a map, and one that is no larger"))
        XCTAssertTrue(reason(8, .dropPath(probability: 1)).contains("a probability in 0..<1"))
    }

    func testNamesOfTheAuthors() {
        let names = [
            "patch_embeds.0.proj.weight": "stem.conv.weight",
            "patch_embeds.0.norm.bias": "stem.norm.bias",
            "patch_embeds.2.proj.weight": "stages.2.downsample.conv.weight",
            "patch_embeds.3.norm.weight": "stages.3.downsample.norm.weight",
            "main_blocks.2.1.0.cpe.0.proj.weight": "stages.2.blocks.1.0.cpe1.proj.weight",
            "main_blocks.2.1.1.cpe.1.proj.bias": "stages.2.blocks.1.1.cpe2.proj.bias",
            "main_blocks.0.0.1.attn.qkv.weight": "stages.0.blocks.0.1.attn.qkv.weight",
            "main_blocks.0.0.1.attn.proj.weight": "stages.0.blocks.0.1.attn.proj.weight",
            "main_blocks.3.0.0.mlp.fc1.weight": "stages.3.blocks.0.0.mlp.fc1.weight",
            "norms.weight": "head.norm.weight",
            "head.weight": "head.fc.weight",
        ]
        for (key, name) in names { XCTAssertEqual(DaViTNames.name(ofAuthors: Substring(key)), name, key) }
    }

    /// Shapes and names tell depths, channels, classes and the place of the last norm; a note of this library the windows.
    func testWeightFilesShowTheNetwork() throws {
        var config = DaViTConfig(depths: [1, 1, 2, 1], channels: [32, 32, 64, 64])
        for normalizesMap in [false, true] {
            config.normalizesMap = normalizesMap
            config.window = normalizesMap ? Size2(9, 5) : 7
            let folder = try TemporaryFolder()
            var model = Model.initialized(config.graph(classes: 3, inputChannels: 4), seed: 1, scheme: .transformer)
            if normalizesMap { model.metadata[MetadataKey.window] = "9x5" }
            try model.save(to: "\(folder.path)/model.safetensors")
            let found = try Model(from: try WeightFile.open("\(folder.path)/model.safetensors"))
            XCTAssertEqual(found.graph, model.graph)
            XCTAssertEqual(found["head.fc.weight"].values, model["head.fc.weight"].values)
        }
    }

    func testWeightFilesShowAConvNeXt() throws {
        let config = ConvNeXtConfig(depths: [1, 2], channels: [24, 40])
        let folder = try TemporaryFolder()
        let model = Model.initialized(config.graph(classes: 3, inputChannels: 4), seed: 1, scheme: .transformer)
        let headed = try model.replacingHead(with: HeadKind.dropout(0.3), classes: 5, seed: 2)
        for (name, model) in [("plain", model), ("headed", headed)] {
            try model.save(to: "\(folder.path)/\(name).safetensors")
            let found = try Model(from: try WeightFile.open("\(folder.path)/\(name).safetensors"))
            XCTAssertEqual(found.graph, model.graph)
            XCTAssertEqual(
                found["stages.1.blocks.1.gamma"].values, model["stages.1.blocks.1.gamma"].values)
        }
    }

    /// torchvision's, the authors' and transformers' names, as their state dicts have them.
    func testNamesOfAConvNeXt() throws {
        let config = ConvNeXtConfig(depths: [1, 2], channels: [24, 40])
        let model = Model.initialized(config.graph(classes: 3), seed: 1, scheme: .transformer)
        let names: [(own: String, torchvision: String, authors: String, transformers: String)] = [
            ("stem.0", "features.0.0", "downsample_layers.0.0", "embeddings.patch_embeddings"),
            ("stem.1", "features.0.1", "downsample_layers.0.1", "embeddings.layernorm"),
            ("stages.0.blocks.0", "features.1.0", "stages.0.0", "encoder.stages.0.layers.0"),
            (
                "stages.1.downsample.0", "features.2.0", "downsample_layers.1.0",
                "encoder.stages.1.downsampling_layer.0"
            ),
            (
                "stages.1.downsample.1", "features.2.1", "downsample_layers.1.1",
                "encoder.stages.1.downsampling_layer.1"
            ),
            ("stages.1.blocks.0", "features.3.0", "stages.1.0", "encoder.stages.1.layers.0"),
            ("stages.1.blocks.1", "features.3.1", "stages.1.1", "encoder.stages.1.layers.1"),
            ("head.norm", "classifier.0", "norm", "layernorm"),
        ]
        let members: [(own: String, torchvision: String, authors: String, transformers: String)] = [
            ("conv_dw", "block.0", "dwconv", "dwconv"), ("norm", "block.2", "norm", "layernorm"),
            ("mlp.fc1", "block.3", "pwconv1", "pwconv1"), ("mlp.fc2", "block.5", "pwconv2", "pwconv2"),
            ("gamma", "layer_scale", "gamma", "layer_scale_parameter"),
        ]
        func renamed(_ name: String, _ naming: Int) -> String {
            func pick(_ row: (own: String, torchvision: String, authors: String, transformers: String)) -> String {
                [row.torchvision, row.authors, row.transformers][naming]
            }
            if name.hasPrefix("head.fc.") {
                return ["classifier.2.", "head.", "classifier."][naming] + name.dropFirst(8)
            }
            guard let module = names.first(where: { name.hasPrefix($0.own + ".") }) else { return "missing" }
            var rest = String(name.dropFirst(module.own.count + 1))
            if module.own.contains("blocks"), let member = members.first(where: { rest.hasPrefix($0.own) }) {
                rest = pick(member) + rest.dropFirst(member.own.count)
            }
            return (naming == 2 ? "convnext." : "") + pick(module) + "." + rest
        }
        for naming in 0..<3 {
            for prefix in ["", "model.backbone."] {
                let tensors = model.graph.parameters.map { spec in
                    var tensor = model[spec.name]
                    if naming == 0, spec.role == .layerScale {
                        tensor = Tensor(shape: spec.shape + [1, 1], storage: tensor.storage)
                    }
                    return (key: prefix + renamed(spec.name, naming), tensor: tensor)
                }
                let file = try WildNetwork.file(.safetensors, tensors)
                XCTAssertEqual(file.prefix, prefix)
                let found = try Model(from: file)
                XCTAssertEqual(found.graph, model.graph)
                XCTAssertEqual(found.parameters.mapValues(\.bits), model.parameters.mapValues(\.bits))
            }
        }
    }

    /// Another head is written as `fc`; a backbone has none.
    func testWeightFilesWithAnotherHead() throws {
        let graph = DaViTConfig(depths: [1, 1, 1, 1], channels: [32, 32, 32, 32]).graph(classes: 3)
        let plain = Model.initialized(graph, seed: 1, scheme: .transformer)
        let headed = [
            try plain.replacingHead(with: HeadKind.dropout(0.3), classes: 5, seed: 2),
            try plain.replacingHead(with: HeadKind.linear, classes: 4, seed: 2),
            try plain.replacingHead(with: Head.features, seed: 2),
        ]
        for model in headed {
            let folder = try TemporaryFolder()
            try model.save(to: "\(folder.path)/model.safetensors")
            let found = try Model(from: try WeightFile.open("\(folder.path)/model.safetensors"))
            XCTAssertEqual(found.graph, model.graph)
            XCTAssertEqual(found.graph.classCount, model.graph.classCount)
        }
    }

    func testTheNetworkOfTheAuthorsIsFoundUnderAnyPrefix() {
        let keys = [
            "patch_embeds.0.proj.weight", "main_blocks.0.0.0.cpe.0.proj.weight", "main_blocks.0.0.0.attn.qkv.weight",
            "head.weight",
        ]
        let sketches = keys.map { TensorSketch(key: "model." + $0, shape: [1, 1], isWeight: true) }
        let roots = NetworkSearch.roots(in: sketches, inFileOrder: true)
        XCTAssertEqual(roots.map(\.prefix), ["model."])
        XCTAssertEqual(
            roots.first?.names,
            [
                0: "stem.conv.weight", 1: "stages.0.blocks.0.0.cpe1.proj.weight",
                2: "stages.0.blocks.0.0.attn.qkv.weight", 3: "head.fc.weight",
            ])
    }
}
