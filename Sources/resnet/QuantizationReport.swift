// What `resnet quantize` did, as a table and as JSON.

import ResNetSwift

struct QuantizationReport {
    let name: String
    let method: CalibrationMethod
    let calibration: Calibration
    /// Where an agreement was asked for.
    let fallback: QuantizationFallback?
    let comparison: QuantizationComparison
    /// On pictures whose classes are known.
    let scores: (float32: Evaluation, int8: Evaluation)?

    /// In 8 bits.
    var layers: [String] { calibration.layers.filter { fallback?.layers.contains($0) != false } }

    /// In floats, and why.
    private var floatLayers: [(name: String, reason: String)] {
        calibration.floatLayers + (fallback?.steps ?? []).map { ($0.layer, "for the agreement") }
    }

    var text: String {
        var table = TextTable(["layer", "SQNR dB", "cosine"], rightAligned: [1, 2])
        for layer in comparison.layers {
            table.rows.append([layer.name, fixed(layer.sqnr, 1), fixed(layer.cosine, 5)])
        }
        let floats = floatLayers.map { "\($0.name) (\($0.reason))" }.joined(separator: ", ")
        return """
            \(table.text)

            int8       \(layers.count) convolutions, \(method.rawValue) of \(comparison.pictures) pictures
            float32    \(floats.isEmpty ? "no convolution" : floats)
            agreement  \(comparison.agreeing) of \(comparison.pictures) pictures get the same class\(scoreText)
            """
    }

    private var scoreText: String {
        guard let scores else { return "" }
        guard let before = scores.float32.scores.top1, let after = scores.int8.scores.top1 else {
            return
                "\nmacro F1   \(fixed(scores.float32.macroF1, 4)) in float32, \(fixed(scores.int8.macroF1, 4)) in int8"
        }
        return "\ntop-1      \(fixed(before, 4)) in float32, \(fixed(after, 4)) in int8"
    }

    var object: JSONValue {
        let layers = comparison.layers.map { layer in
            JSONValue(
                ("layer", .string(layer.name)),
                ("sqnr_db", layer.sqnr.isFinite ? .number(layer.sqnr) : .null), ("cosine", .number(layer.cosine)))
        }
        func number(_ value: Double?) -> JSONValue { value.map(JSONValue.number) ?? .null }
        func object(_ evaluation: Evaluation) -> JSONValue {
            JSONValue(("top1", number(evaluation.scores.top1)), ("macro_f1", .number(evaluation.macroF1)))
        }
        let evaluated = scores.map { JSONValue(("float32", object($0.float32)), ("int8", object($0.int8))) }
        let fallen = (fallback?.steps ?? []).map {
            JSONValue(("layer", .string($0.layer)), ("error", .number($0.error)))
        }
        return JSONValue(
            ("model", .string(name)), ("method", .string(method.rawValue)),
            ("pictures", .integer(comparison.pictures)), ("agreeing", .integer(comparison.agreeing)),
            ("int8", .array(self.layers.map(JSONValue.string))),
            ("float32", .array(floatLayers.map { .string($0.name) })), ("fallback", .array(fallen)),
            ("evaluation", evaluated ?? .null), ("layers", .array(layers)))
    }
}
