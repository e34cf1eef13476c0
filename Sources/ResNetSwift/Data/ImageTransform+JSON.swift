// A transform as JSON text, for the metadata of a checkpoint.
//
//     {"channels":3,"exif":"apply","steps":[{"step":"resizeShorterSide","length":256,"filter":"bilinear"},
//      {"step":"centerCrop","height":224,"width":224},{"step":"toFloat"},{"step":"normalize","mean":[...],"std":[...]}]}

import ResNetGraph
import ResNetSupport

extension ImageTransform {
    /// One line of JSON; `init(json:)` reads it back to an equal value.
    public var json: String {
        JSONValue.object([
            JSONMember(key: "channels", value: .integer(channels)),
            JSONMember(key: "exif", value: .string(exif.rawValue)),
            JSONMember(key: "steps", value: .array(steps.map(\.json))),
        ]).text
    }

    /// The transform that `json` of another wrote.
    /// - Throws: `TransformError.invalid` that says what is wrong: no JSON, an unknown step, a size of nothing.
    public init(json text: String) throws(TransformError) {
        let value: JSONValue
        do throws(JSONError) { value = try JSONValue.parse(text) } catch { throw .invalid("is no JSON: \(error)") }
        guard let channels = value["channels"]?.integerValue else { throw .invalid("has no number of channels") }
        guard let exif = value["exif"]?.stringValue.flatMap(ExifPolicy.init(rawValue:)) else {
            throw .invalid("has no EXIF policy, apply or ignore")
        }
        guard let list = value["steps"]?.arrayValue else { throw .invalid("has no list of steps") }
        var steps: [Step] = []
        for item in list { steps.append(try Step(json: item)) }
        if let fault = Self.fault(channels: channels, steps: steps) { throw .invalid(fault) }
        self.init(checkedChannels: channels, exif: exif, steps: steps)
    }
}

extension ImageTransform.Step {
    fileprivate var json: JSONValue {
        func object(_ step: String, _ members: [(String, JSONValue)]) -> JSONValue {
            .object(([("step", .string(step))] + members).map { JSONMember(key: $0.0, value: $0.1) })
        }
        func sides(_ size: Size2) -> [(String, JSONValue)] {
            [("height", .integer(size.height)), ("width", .integer(size.width))]
        }
        func filter(_ filter: ImageTransform.Filter) -> [(String, JSONValue)] { [("filter", .string(filter.rawValue))] }
        func pair(_ range: ClosedRange<Double>) -> JSONValue {
            .array([.number(range.lowerBound), .number(range.upperBound)])
        }
        switch self {
        case .resizeShorterSide(let length, let kind):
            return object("resizeShorterSide", [("length", .integer(length))] + filter(kind))
        case .resize(let size, let kind): return object("resize", sides(size) + filter(kind))
        case .centerCrop(let size, .nearest): return object("centerCrop", sides(size))
        case .centerCrop(let size, let rounding):
            return object("centerCrop", sides(size) + [("rounding", .string(rounding.rawValue))])
        case .randomResizedCrop(let size, let scale, let ratio, let kind):
            return object(
                "randomResizedCrop", sides(size) + [("scale", pair(scale)), ("ratio", pair(ratio))] + filter(kind))
        case .randomHorizontalFlip(let probability):
            return object("randomHorizontalFlip", [("probability", .number(probability))])
        case .colorJitter(let brightness, let contrast, let saturation, let hue):
            return object(
                "colorJitter",
                [
                    ("brightness", .number(brightness)), ("contrast", .number(contrast)),
                    ("saturation", .number(saturation)), ("hue", .number(hue)),
                ])
        case .randAugment(let operations, let magnitude):
            return object(
                "randAugment", [("operations", .integer(operations)), ("magnitude", .integer(magnitude))])
        case .trivialAugmentWide: return object("trivialAugmentWide", [])
        case .randomErasing(let probability, let scale, let ratio):
            return object(
                "randomErasing",
                [("probability", .number(probability)), ("scale", pair(scale)), ("ratio", pair(ratio))])
        case .toFloat: return object("toFloat", [])
        case .normalize(let mean, let std):
            return object(
                "normalize", [("mean", .array(mean.map { .number($0) })), ("std", .array(std.map { .number($0) }))])
        }
    }

    fileprivate init(json: JSONValue) throws(TransformError) {
        guard let name = json["step"]?.stringValue else { throw .invalid("has a step without a name") }
        let fields = StepFields(step: name, json: json)
        switch name {
        case "resizeShorterSide":
            self = .resizeShorterSide(try fields.integer("length"), try fields.filter())
        case "resize":
            self = .resize(try fields.size(), try fields.filter())
        case "centerCrop":
            self = .centerCrop(try fields.size(), try fields.rounding())
        case "randomResizedCrop":
            self = .randomResizedCrop(
                try fields.size(), scale: try fields.range("scale"), ratio: try fields.range("ratio"),
                try fields.filter())
        case "randomHorizontalFlip":
            self = .randomHorizontalFlip(probability: try fields.number("probability"))
        case "colorJitter":
            self = .colorJitter(
                brightness: try fields.number("brightness"), contrast: try fields.number("contrast"),
                saturation: try fields.number("saturation"), hue: try fields.number("hue"))
        case "randAugment":
            self = .randAugment(
                operations: try fields.integer("operations"), magnitude: try fields.integer("magnitude"))
        case "trivialAugmentWide":
            self = .trivialAugmentWide
        case "randomErasing":
            self = .randomErasing(
                probability: try fields.number("probability"), scale: try fields.range("scale"),
                ratio: try fields.range("ratio"))
        case "toFloat":
            self = .toFloat
        case "normalize":
            self = .normalize(mean: try fields.numbers("mean"), std: try fields.numbers("std"))
        default:
            throw .invalid("has an unknown step \"\(name)\"")
        }
    }
}

/// The fields of one stored step, each an error that names it if it is not there or not right.
private struct StepFields {
    let step: String
    let json: JSONValue

    private func missing(_ key: String, _ kind: String) -> TransformError {
        .invalid("has a step \(step) without \(kind) \"\(key)\"")
    }

    private func asNumber(_ value: JSONValue) -> Double? {
        switch value {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    func integer(_ key: String) throws(TransformError) -> Int {
        guard let value = json[key]?.integerValue else { throw missing(key, "an integer") }
        return value
    }

    func number(_ key: String) throws(TransformError) -> Double {
        guard let value = json[key].flatMap(asNumber) else { throw missing(key, "a number") }
        return value
    }

    func numbers(_ key: String) throws(TransformError) -> [Double] {
        guard let list = json[key]?.arrayValue else { throw missing(key, "a list of numbers") }
        let values = list.compactMap(asNumber)
        guard values.count == list.count else { throw missing(key, "a list of numbers") }
        return values
    }

    func range(_ key: String) throws(TransformError) -> ClosedRange<Double> {
        let ends = try numbers(key)
        guard ends.count == 2, ends[0] <= ends[1] else { throw missing(key, "a range of two numbers") }
        return ends[0]...ends[1]
    }

    func size() throws(TransformError) -> Size2 { Size2(try integer("height"), try integer("width")) }

    func filter() throws(TransformError) -> ImageTransform.Filter {
        guard let name = json["filter"]?.stringValue else { throw missing("filter", "a name") }
        guard let filter = ImageTransform.Filter(rawValue: name) else {
            throw .invalid("has a step \(step) with the filter \"\(name)\"; bilinear and bicubic are known")
        }
        return filter
    }

    /// `nearest` where it is not said.
    func rounding() throws(TransformError) -> ImageTransform.Rounding {
        guard let name = json["rounding"] else { return .nearest }
        guard let rounding = name.stringValue.flatMap(ImageTransform.Rounding.init(rawValue:)) else {
            throw missing("rounding", "a known")
        }
        return rounding
    }
}
