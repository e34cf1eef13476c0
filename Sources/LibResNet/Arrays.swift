// Arrays in, logits, embeddings and classes out.

import CResNetHeader
import ResNetSwift

@_cdecl("resnet_predict")
public func resnetPredict(
    _ network: OpaquePointer?, _ pictures: UnsafeRawPointer?, _ count: Int64, _ logits: UnsafeMutablePointer<Float>?,
    _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    answer(error) {
        let network = try Handles.network(network)
        try network.requireHead()
        try run(network, pictures, count, logits: try required(logits, "logits"))
    }
}

@_cdecl("resnet_embed")
public func resnetEmbed(
    _ network: OpaquePointer?, _ pictures: UnsafeRawPointer?, _ count: Int64, _ embedding: UnsafeMutablePointer<Float>?,
    _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    answer(error) {
        let network = try Handles.network(network)
        try network.requireFeatures()
        try run(network, pictures, count, features: try required(embedding, "embedding"))
    }
}

private func run(
    _ network: Network, _ pictures: UnsafeRawPointer?, _ count: Int64, logits: UnsafeMutablePointer<Float>? = nil,
    features: UnsafeMutablePointer<Float>? = nil
) throws {
    try network.requireOneView()
    let pictures = try required(pictures, "pictures")
    try check(count: count, of: max(network.plan.input.count, network.classes, network.features))
    if network.takesFloats { try checkAlignment("pictures", pictures) }
    if let logits { try checkAlignment("logits", logits) }
    if let features { try checkAlignment("embedding", features) }
    try network.plan.predict(pictures, images: Int(count), logits: logits, features: features)
}

@_cdecl("resnet_top")
public func resnetTop(
    _ network: OpaquePointer?, _ logits: UnsafePointer<Float>?, _ count: Int64, _ k: Int32,
    _ scores: UnsafeMutablePointer<resnet_score>?, _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    answer(error) {
        let network = try Handles.network(network)
        try network.requireHead()
        let logits = try required(logits, "logits")
        let scores = try required(scores, "scores")
        try checkAlignment("logits", logits)
        try checkAlignment("scores", scores)
        try check(count: count, of: network.classes)
        try network.check(k: k)
        let values = UnsafeBufferPointer(start: logits, count: Int(count) * network.classes)
        let tensor = Tensor(shape: [Int(count), network.classes], values: Array(values))
        for (row, found) in network.classifier.scores(tensor, top: Int(k)).enumerated() {
            write(found, to: scores + row * Int(k))
        }
    }
}

func write(_ scores: [Classifier.Score], to target: UnsafeMutablePointer<resnet_score>) {
    for (index, score) in scores.enumerated() {
        target[index] = resnet_score(
            index: Int32(score.index), probability: Float(score.probability),
            present: score.isPresent.map { $0 ? 1 : 0 } ?? -1)
    }
}
