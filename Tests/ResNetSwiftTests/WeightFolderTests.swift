// Folders as Hugging Face and timm write them, the configuration beside a file, and networks that only a name tells apart.

import Foundation
import ResNetSwift
import XCTest

@testable import ResNetWeights

final class WeightFolderTests: XCTestCase {
    private let network = WildNetwork()

    /// A folder with the network's weights and the given files.
    private func folder(
        _ files: [String: String], weights: String? = "model.safetensors", _ rename: (String) -> String = { $0 }
    ) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        if let weights {
            try WeightWriter.write(network.tensors(rename), to: "\(folder.path)/\(weights)", format: .safetensors)
        }
        for (name, text) in files { _ = try folder.write(Array(text.utf8), name) }
        return folder
    }

    private static let timm = """
        {"architecture": "resnet18", "num_classes": 3, "num_features": 16, "global_pool": "avg",
         "label_names": ["n1", "n2", "n3"], "label_descriptions": {"n1": "cat", "n3": "bird"},
         "pretrained_cfg": {"tag": "a1_in1k", "input_size": [3, 224, 224], "test_input_size": [3, 288, 288],
          "interpolation": "bicubic", "crop_pct": 0.95, "test_crop_pct": 1.0, "crop_mode": "center",
          "mean": [0.5, 0.4, 0.3], "std": [0.25, 0.2, 0.3], "first_conv": "conv1", "classifier": "fc"}}
        """

    func testAFolderOfTimm() throws {
        let folder = try folder(["config.json": Self.timm])
        for path in [folder.path, folder.path + "/", "\(folder.path)/model.safetensors"] {
            let model = try Model(from: try WeightFile.open(path))
            XCTAssertEqual(model.classNames, ["cat", "n2", "bird"])
            XCTAssertEqual(
                try ImageTransform(json: try XCTUnwrap(model.metadata["transform"])),
                ImageTransform(steps: [
                    .resizeShorterSide(235, .bicubic), .centerCrop(224), .toFloat,
                    .normalize(mean: [0.5, 0.4, 0.3], std: [0.25, 0.2, 0.3]),
                ]))
        }
        // Beside a file of another name it is somebody else's.
        try FileManager.default.moveItem(
            atPath: "\(folder.path)/model.safetensors", toPath: "\(folder.path)/mine.safetensors")
        XCTAssertNil(try Model(from: try WeightFile.open("\(folder.path)/mine.safetensors")).classNames)
        XCTAssertEqual(try Model(from: try WeightFile.open(folder.path)).classNames, ["cat", "n2", "bird"])
    }

    func testTimmsOtherCrops() throws {
        func steps(_ changes: String) throws -> [ImageTransform.Step] {
            let config = """
                {"architecture": "resnet18", "input_size": [3, 96, 128], "crop_pct": 0.8, "interpolation": "bilinear", \(changes)}
                """
            let made = try folder(["config.json": config])
            let file = try withExtendedLifetime(made) { try WeightFile.open(made.path) }
            return try ImageTransform(json: try XCTUnwrap(file.metadata["transform"])).steps
        }
        XCTAssertEqual(
            try steps("\"crop_mode\": \"squash\"").prefix(2), [.resize(Size2(120, 160)), .centerCrop(Size2(96, 128))])
        // What there is no step for is said by whoever needs the transform.
        for changes in ["\"crop_mode\": \"border\"", "\"crop_mode\": \"center\""] {
            XCTAssertThrowsError(try steps(changes)) { XCTAssertTrue("\($0)".contains("crop_mode"), "\($0)") }
        }
        let lanczos = "\"crop_mode\": \"squash\", \"x\": 1"
        XCTAssertNoThrow(try steps(lanczos))
    }

    private static func transformers(
        _ changes: String = "", id2label: String = "{\"0\": \"cat\", \"2\": \"bird\", \"1\": \"dog\"}"
    )
        -> String
    {
        """
        {"architectures": ["ResNetForImageClassification"], "model_type": "resnet", "depths": [1, 1, 1],
         "embedding_size": 4, "hidden_act": "relu", "hidden_sizes": [4, 8, 16], "layer_type": "basic",
         "downsample_in_first_stage": false, "downsample_in_bottleneck": false, "id2label": \(id2label)\(changes)}
        """
    }

    func testAFolderOfTransformers() throws {
        let preprocessor = """
            {"image_processor_type": "ConvNextImageProcessor", "do_resize": true, "size": {"shortest_edge": 64},
             "crop_pct": 0.875, "resample": 3, "do_rescale": true, "rescale_factor": 0.00392156862745098,
             "do_normalize": true, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
            """
        for weights in ["model.safetensors", "pytorch_model.bin"] {
            let folder = try folder(
                ["config.json": Self.transformers(), "preprocessor_config.json": preprocessor], weights: weights,
                Self.transformersName)
            let model = try Model(from: try WeightFile.open(folder.path))
            XCTAssertEqual(model.graph, network.model.graph)
            XCTAssertEqual(model.classNames, ["cat", "dog", "bird"])
            XCTAssertEqual(
                try ImageTransform(json: try XCTUnwrap(model.metadata["transform"])),
                ImageTransform(steps: [
                    .resizeShorterSide(73, .bicubic), .centerCrop(64, .down), .toFloat,
                    .normalize(mean: ImageTransform.imageNetMean, std: ImageTransform.imageNetStd),
                ]))
        }
        func steps(_ text: String) throws -> [ImageTransform.Step] {
            let folder = try folder(
                ["config.json": Self.transformers(), "preprocessor_config.json": text], Self.transformersName)
            let file = try WeightFile.open(folder.path)
            return try ImageTransform(json: try XCTUnwrap(file.metadata["transform"])).steps
        }
        let square: Size2 = 384
        XCTAssertEqual(
            try steps("{\"image_processor_type\": \"ConvNextImageProcessor\", \"size\": {\"shortest_edge\": 384}}")
                .first,
            .resize(square, .bicubic))
        XCTAssertEqual(
            try steps("{\"feature_extractor_type\": \"ViTFeatureExtractor\", \"size\": 224, \"resample\": 2}").first,
            .resize(224, .bilinear))
        XCTAssertEqual(
            try steps(
                "{\"size\": {\"shortest_edge\": 256}, \"do_center_crop\": true, \"crop_size\": {\"height\": 224, \"width\": 200}}"
            ).prefix(2), [.resizeShorterSide(256), .centerCrop(Size2(224, 200), .down)])
        XCTAssertThrowsError(try steps("{\"size\": 224, \"resample\": 1}")) {
            XCTAssertTrue("\($0)".contains("the filter \"lanczos\""), "\($0)")
        }
        XCTAssertThrowsError(try steps("{\"size\": 224, \"rescale_factor\": 1}"))
    }

    func testShards() throws {
        let folder = try TemporaryFolder()
        let tensors = network.tensors { $0 }
        let half = tensors.count / 2
        for (name, part) in [("model-1.safetensors", tensors[..<half]), ("model-2.safetensors", tensors[half...])] {
            try WeightWriter.write(Array(part), to: "\(folder.path)/\(name)", format: .safetensors)
        }
        func index(_ second: String) -> String {
            let map = tensors.enumerated().map { "\"\($1.key)\": \"\($0 < half ? "model-1.safetensors" : second)\"" }
            return "{\"metadata\": {}, \"weight_map\": {\(map.joined(separator: ", "))}}"
        }
        _ = try folder.write(Array(index("model-2.safetensors").utf8), "model.safetensors.index.json")
        let model = try Model(from: try WeightFile.open(folder.path))
        XCTAssertEqual(model.graph, network.model.graph)
        for (name, tensor) in network.model.parameters { XCTAssertEqual(model[name].bits, tensor.bits, name) }
        for name in ["../model-2.safetensors", "/etc/passwd", "gone.safetensors", ".."] {
            _ = try folder.write(Array(index(name).utf8), "model.safetensors.index.json")
            XCTAssertThrowsError(try WeightFile.open(folder.path))
        }
    }

    func testOtherFolders() throws {
        func fault(_ folder: TemporaryFolder) -> String {
            do {
                _ = try Model(from: try WeightFile.open(folder.path))
                return ""
            } catch { return "\(error)" }
        }
        let empty = try folder([:], weights: nil)
        XCTAssertTrue(fault(empty).contains("directory without weights"), fault(empty))
        let two = try folder(["a.pth": "x", "b.pth": "y"], weights: nil)
        XCTAssertTrue(fault(two).contains("several weight files; give one of them: a.pth, b.pth"), fault(two))
        XCTAssertEqual(fault(try folder([:], weights: "anything.safetensors")), "")
        for (name, text, words) in [
            ("config.json", "{", "malformed config.json"),
            ("config.json", Self.transformers(id2label: "{\"0\": \"cat\"}"), "expected 3 class names for"),
            ("config.json", Self.transformers(id2label: "{\"a\": \"cat\"}"), "does not name the classes from 0 on"),
            (
                "config.json",
                Self.transformers(", \"hidden_act\": \"gelu\"").replacing("\"hidden_act\": \"relu\",", with: ""),
                "hidden_act is gelu"
            ),
            ("config.json", "{\"architecture\": \"resnet18\", \"model_args\": {\"act_layer\": \"silu\"}}", "act_layer"),
            ("config.json", "{\"architecture\": \"resnet18\", \"global_pool\": \"max\"}", "global_pool is max"),
        ] {
            let folder = try folder(
                [name: text], name == "config.json" && text.contains("id2label") ? Self.transformersName : { $0 })
            XCTAssertTrue(fault(folder).contains(words), "\(words): \(fault(folder))")
        }
        // Not about a network, and not there at all.
        XCTAssertEqual(fault(try folder(["config.json": "{\"learning_rate\": 0.1}"])), "")
    }

    /// transformers' `downsample_in_bottleneck`: the stride is in the first 1x1, and stays there in a checkpoint of ours.
    func testTheStrideOfABottleneck() throws {
        let config = try ResNetConfig(
            shownBy: .bottleneck, nBlocks: [1, 2, 1, 1], channels: [2, 4, 8, 16], groups: 1, widthPerGroup: 64,
            stem: .imageNet, stemWidths: [4]
        ).with { $0.stridesInFirstConvolution = true }
        let model = Model.initialized(config.graph(classes: 2), seed: 3)
        let plain = config.with { $0.stridesInFirstConvolution = false }.graph(classes: 2)
        let folder = try TemporaryFolder()
        try WeightWriter.write(
            model.graph.parameters.map { (Self.transformersName($0.name), model[$0.name]) },
            to: "\(folder.path)/model.safetensors", format: .safetensors)
        func graph(_ text: String) throws -> Graph {
            _ = try folder.write(Array(text.utf8), "config.json")
            return try Model(from: try WeightFile.open(folder.path)).graph
        }
        let bottleneck = { (flag: Bool) in
            "{\"model_type\": \"resnet\", \"layer_type\": \"bottleneck\", \"downsample_in_bottleneck\": \(flag)}"
        }
        XCTAssertEqual(try graph(bottleneck(true)), model.graph)
        XCTAssertEqual(try graph(bottleneck(false)), plain)
        XCTAssertNotEqual(model.graph, plain)
        _ = try graph(bottleneck(true))
        let opened = try Model(from: try WeightFile.open(folder.path))
        try opened.save(to: "\(folder.path)/mine.npz")
        XCTAssertEqual(try Model(from: try WeightFile.open("\(folder.path)/mine.npz")).graph, model.graph)
        XCTAssertThrowsError(try graph(bottleneck(true).replacing("}", with: ", \"downsample_in_first_stage\": true}")))
    }

    /// transformers' name of a tensor.
    private static func transformersName(_ name: String) -> String {
        let parts = name.split(separator: ".").map(String.init)
        let leaf = parts.last!
        func unit(_ text: String) -> String { text.hasPrefix("conv") ? "convolution" : "normalization" }
        if parts[0] == "fc" { return "classifier.1.\(leaf)" }
        if parts.count == 2 { return "resnet.embedder.embedder.\(unit(parts[0])).\(leaf)" }
        let block = "resnet.encoder.stages.\(Int(parts[0].dropFirst(5))! - 1).layers.\(parts[1])"
        if parts[2] == "downsample" {
            return "\(block).shortcut.\(parts[3] == "0" ? "convolution" : "normalization").\(leaf)"
        }
        return "\(block).layer.\(Int(String(parts[2].last!))! - 1).\(unit(parts[2])).\(leaf)"
    }
}
