// What transformers and timm do with a picture, as the transform that a checkpoint of this library would carry
// (`MetadataKey.transform`). A setting that this library has no step for becomes a step of that name: reading the
// transform then reports it, and those who do not need it are not disturbed.

import ResNetSupport

struct PreprocessorConfig {
    /// JSON text; nil where the configuration does not say enough.
    private(set) var transform: String?

    /// `preprocessor_config.json` of transformers.
    init(_ config: JSONValue) {
        let kind = config["image_processor_type"]?.stringValue ?? config["feature_extractor_type"]?.stringValue ?? ""
        // Its settings are in timm's own configuration.
        if kind.hasPrefix("TimmWrapper") { return }
        var steps: [JSONValue] = []
        let filter = Self.filter(config["resample"]?.integerValue ?? (kind.hasPrefix("ConvNext") ? 3 : 2))
        if config["do_resize"] != .bool(false) {
            guard let resize = Self.resize(config, kind, filter) else { return }
            steps += resize
        }
        if config["do_center_crop"] == .bool(true), let size = Self.size(config["crop_size"]) {
            steps.append(Self.crop(size))
        }
        if config["do_rescale"] == .bool(false) {
            steps.append(Self.step("do_rescale: false"))
        } else if let factor = config["rescale_factor"]?.numberValue, (factor * 255 - 1).magnitude > 1e-6 {
            steps.append(Self.step("rescale_factor: \(factor)"))
        } else {
            steps.append(Self.step("toFloat"))
        }
        let mean = config["image_mean"] ?? .array([.number(0.5), .number(0.5), .number(0.5)])
        let std = config["image_std"] ?? .array([.number(0.5), .number(0.5), .number(0.5)])
        if config["do_normalize"] != .bool(false) {
            steps.append(Self.step("normalize", ("mean", mean), ("std", std)))
        }
        transform = Self.transform(channels: mean.arrayValue?.count ?? 3, steps)
    }

    /// `pretrained_cfg` of timm: its transform for evaluation, at the size of training as timm takes it.
    static func timm(_ config: JSONValue) -> String? {
        guard let sizes = config["input_size"]?.arrayValue?.compactMap(\.integerValue), sizes.count == 3 else {
            return nil
        }
        let (height, width) = (sizes[1], sizes[2])
        let share = config["crop_pct"]?.numberValue.flatMap { $0 > 0 ? $0 : nil } ?? 0.875
        let filter = config["interpolation"]?.stringValue ?? "bicubic"
        let mode = config["crop_mode"]?.stringValue ?? "center"
        func scaled(_ side: Int) -> Int { Int(min(max(Double(side) / share, 0), 1e9)) }
        var steps: [JSONValue]
        switch mode {
        case "squash": steps = [resize((scaled(height), scaled(width)), filter)]
        case "center" where height == width: steps = [resizeShorterSide(scaled(height), filter)]
        default: steps = [step("crop_mode: \(mode) of \(height)x\(width)")]
        }
        steps += [
            step("centerCrop", ("height", .integer(height)), ("width", .integer(width))), step("toFloat"),
            step(
                "normalize", ("mean", config["mean"] ?? numbers([0.485, 0.456, 0.406])),
                ("std", config["std"] ?? numbers([0.229, 0.224, 0.225]))),
        ]
        return transform(channels: sizes[0], steps)
    }

    // MARK: - Resizing

    private static func resize(_ config: JSONValue, _ kind: String, _ filter: String) -> [JSONValue]? {
        let side = config["size"]?.integerValue ?? config["size"]?["shortest_edge"]?.integerValue
        if kind.hasPrefix("ConvNext"), let side {
            // From 384 on pictures are stretched; smaller ones are resized a little larger and cropped.
            if side >= 384 { return [resize((side, side), filter)] }
            let share = config["crop_pct"]?.numberValue.flatMap { $0 > 0 ? $0 : nil } ?? 0.875
            return [resizeShorterSide(Int(min(Double(side) / share, 1e9)), filter), crop((side, side))]
        }
        if let edge = config["size"]?["shortest_edge"]?.integerValue { return [resizeShorterSide(edge, filter)] }
        if let side = config["size"]?.integerValue, config["do_center_crop"] == .bool(true) {
            return [resizeShorterSide(side, filter)]
        }
        return size(config["size"]).map { [resize($0, filter)] }
    }

    /// `224`, or `{"height": 224, "width": 224}`, or of a crop sometimes `{"shortest_edge": 224}`.
    private static func size(_ value: JSONValue?) -> (Int, Int)? {
        if let side = value?.integerValue ?? value?["shortest_edge"]?.integerValue { return (side, side) }
        guard let height = value?["height"]?.integerValue, let width = value?["width"]?.integerValue else { return nil }
        return (height, width)
    }

    /// Pillow's numbers of its filters.
    private static func filter(_ number: Int) -> String {
        let names = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
        return names.indices.contains(number) ? names[number] : "filter \(number)"
    }

    // MARK: - JSON

    private static func step(_ name: String, _ fields: (String, JSONValue)...) -> JSONValue {
        .object([JSONMember(key: "step", value: .string(name))] + fields.map { JSONMember(key: $0.0, value: $0.1) })
    }

    private static func resizeShorterSide(_ length: Int, _ filter: String) -> JSONValue {
        step("resizeShorterSide", ("length", .integer(length)), ("filter", .string(filter)))
    }

    private static func resize(_ size: (Int, Int), _ filter: String) -> JSONValue {
        step("resize", ("height", .integer(size.0)), ("width", .integer(size.1)), ("filter", .string(filter)))
    }

    /// transformers rounds the margins down, torchvision to nearest.
    private static func crop(_ size: (Int, Int)) -> JSONValue {
        step(
            "centerCrop", ("height", .integer(size.0)), ("width", .integer(size.1)), ("rounding", .string("down")))
    }

    private static func numbers(_ values: [Double]) -> JSONValue { .array(values.map(JSONValue.number)) }

    private static func transform(channels: Int, _ steps: [JSONValue]) -> String {
        JSONValue.object([
            JSONMember(key: "channels", value: .integer(channels)), JSONMember(key: "exif", value: .string("apply")),
            JSONMember(key: "steps", value: .array(steps)),
        ]).text
    }
}
