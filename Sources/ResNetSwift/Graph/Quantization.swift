// How the convolutions of a model compute in 8 bits: beside the weights, and a property of values and steps of a plan.
//
//     x  bytes, (byte - zero point) * scale      w  signed bytes * a scale of its output channel
//
// Weights of a quantized model are the signed bytes times their scales, in floats, so that everything that reads floats
// (float32 plans, training, conversion) sees the values that the bytes stand for.

import ResNetSupport

/// Which convolutions of a model compute in 8 bits, and what their bytes stand for.
public struct Quantization: Sendable, Hashable {
    /// What the bytes of a value stand for: (byte - zeroPoint) * scale.
    public struct Scale: Sendable, Hashable {
        /// Above 0.
        public let scale: Float
        /// The byte that stands for 0; 0 for values that are never negative.
        public let zeroPoint: Int

        /// - Precondition: `scale` is finite and above 0, `zeroPoint` is 0 to 255.
        public init(scale: Float, zeroPoint: Int = 0) {
            precondition(scale.isFinite && scale > 0 && 0...255 ~= zeroPoint, "no scale of bytes")
            self.scale = scale
            self.zeroPoint = zeroPoint
        }
    }

    /// What the weights of a convolution stand for.
    public struct Weights: Sendable, Hashable {
        /// By output channel; above 0.
        public let scales: [Float]
        /// The most that bytes of one sign add up to in an output channel.
        public let largestSum: Int
        /// The most that the bytes of input channels 2i and 2i + 1, at one place of one output channel, add up to in size:
        /// up to 128, instructions that multiply bytes cannot saturate. nil where it is not known.
        public let largestPair: Int?

        public init(scales: [Float], largestSum: Int, largestPair: Int? = nil) {
            self.scales = scales
            self.largestSum = largestSum
            self.largestPair = largestPair
        }
    }

    /// How the scales of values were chosen, for people.
    public var method: String
    /// By the name of the node whose value it is.
    public var values: [String: Scale]
    /// By the key of a convolution's weight.
    public var weights: [String: Weights]

    public init(method: String, values: [String: Scale], weights: [String: Weights]) {
        self.method = method
        self.values = values
        self.weights = weights
    }
}

extension Quantization {
    /// As text beside the weights, all but the scales of weights, which are tensors.
    package var json: String {
        let values = values.sorted { $0.key < $1.key }.map { name, value in
            JSONMember(
                key: name,
                value: .object([
                    JSONMember(key: "scale", value: .number(Double(value.scale))),
                    JSONMember(key: "zero_point", value: .integer(value.zeroPoint)),
                ]))
        }
        let sums = weights.sorted { $0.key < $1.key }.map { key, weights in
            JSONMember(key: key, value: .integer(weights.largestSum))
        }
        let pairs = weights.sorted { $0.key < $1.key }.compactMap { key, weights in
            weights.largestPair.map { JSONMember(key: key, value: .integer($0)) }
        }
        return JSONValue.object([
            JSONMember(key: "scheme", value: .string(Self.scheme)),
            JSONMember(key: "method", value: .string(method)),
            JSONMember(key: "values", value: .object(values)),
            JSONMember(key: "weight_sums", value: .object(sums)),
            JSONMember(key: "weight_pairs", value: .object(pairs)),
        ]).text
    }

    /// Bytes without a sign for values, signed ones with a scale for each output channel for weights.
    package static let scheme = "u8 values, s8 weights by output channel"

    /// What `json` says, with the scales of weights by key.
    /// - Throws: what is wrong with it, in words.
    package init(json: String, scales: [String: [Float]]) throws(QuantizationFault) {
        guard let root = try? JSONValue.parse(json), case .object(let values)? = root["values"],
            case .object(let sums)? = root["weight_sums"], let method = root["method"]?.stringValue
        else { throw QuantizationFault(description: "it is no description of quantized weights") }
        guard root["scheme"]?.stringValue == Self.scheme else {
            throw QuantizationFault(
                description: "expected the scheme '\(Self.scheme)', found '\(root["scheme"]?.stringValue ?? "none")'")
        }
        self.init(method: method, values: [:], weights: [:])
        for member in values {
            let number: Double? =
                switch member.value["scale"] {
                case .number(let value)?: value
                case .integer(let value)?: Double(value)
                default: nil
                }
            guard let number, Float(number).isFinite, Float(number) > 0,
                let zero = member.value["zero_point"]?.integerValue, 0...255 ~= zero
            else { throw QuantizationFault(description: "\(member.key) has no scale and zero point of bytes") }
            self.values[member.key] = Scale(scale: Float(number), zeroPoint: zero)
        }
        for member in sums {
            guard let sum = member.value.integerValue, 0...Int(Int32.max) ~= sum else {
                throw QuantizationFault(description: "\(member.key) has no sum of weights")
            }
            guard let scales = scales[member.key], scales.allSatisfy({ $0.isFinite && $0 > 0 }) else {
                throw QuantizationFault(description: "\(member.key) has no scales above 0")
            }
            let pair = root["weight_pairs"]?[member.key]
            guard pair == nil || pair?.integerValue.map({ 0...256 ~= $0 }) == true else {
                throw QuantizationFault(description: "\(member.key) has no sum of pairs of weights")
            }
            weights[member.key] = Weights(scales: scales, largestSum: sum, largestPair: pair?.integerValue)
        }
    }
}

extension Quantization.Weights {
    /// What kernels must know of `bytes`, (K, C, taps): how they add up.
    /// - Precondition: as many for each scale.
    package init(scales: [Float], bytes: [Int8], taps: Int) {
        let filter = bytes.count / max(scales.count, 1)
        var (largestSum, pair) = (0, 0)
        for channel in scales.indices {
            let own = bytes[channel * filter..<(channel + 1) * filter]
            var (above, below) = (0, 0)
            for byte in own { if byte > 0 { above += Int(byte) } else { below -= Int(byte) } }
            largestSum = max(largestSum, above, below)
            own.withUnsafeBufferPointer { own in pair = max(pair, Self.largestPair(own, taps: taps) { abs(Int($0)) }) }
        }
        self.init(scales: scales, largestSum: largestSum, largestPair: pair)
    }

    /// The most that two weights at one place of input channels 2i and 2i + 1 add up to; `filter`: (C, taps).
    package static func largestPair<Weight, Size: Comparable & Numeric>(
        _ filter: UnsafeBufferPointer<Weight>, taps: Int, size: (Weight) -> Size
    ) -> Size {
        var largest: Size = 0
        for first in stride(from: 0, to: filter.count, by: 2 * taps) {
            for index in first..<first + taps {
                let other = index + taps < filter.count ? size(filter[index + taps]) : 0
                largest = max(largest, size(filter[index]) + other)
            }
        }
        return largest
    }

    /// The signed bytes of `values`, row-major, the output channel first: to the nearest, halves away from 0.
    /// - Precondition: a scale for each entry of the first axis.
    package func bytes(of values: UnsafeBufferPointer<Float>) -> [Int8] {
        let filter = values.count / max(scales.count, 1)
        precondition(filter * scales.count == values.count, "one scale for each output channel")
        return [Int8](unsafeUninitializedCapacity: values.count) { bytes, count in
            for (channel, scale) in scales.enumerated() {
                for index in channel * filter..<(channel + 1) * filter {
                    let value = (values[index] / scale).rounded()
                    bytes[index] = Int8(value.isNaN ? 0 : min(max(value, -128), 127))
                }
            }
            count = values.count
        }
    }
}

/// What is wrong with a description of quantized weights.
package struct QuantizationFault: Error, Sendable {
    package let description: String
}

extension Graph {
    /// True for what a ReLU leaves, however pooled, joined or dropped.
    package func isNeverNegative(_ node: Int?) -> Bool {
        guard let node else { return false }
        return switch nodes[node].operation {
        case .relu, .sigmoid: true
        case .clip(let low, _): low >= 0
        case .maxPool, .averagePool, .blurPool, .globalAveragePool, .dropout, .concat, .flatten, .add, .gate:
            nodes[node].inputs.allSatisfy { isNeverNegative($0) }
        case .padToMultiple, .crop, .dropPath: isNeverNegative(nodes[node].inputs[0])
        case .input, .conv, .batchNorm, .linear, .pad, .channelConv, .layerNorm, .groupNorm, .gelu,
            .windowAttention, .channelAttention, .layerScale:
            false
        }
    }
}
