// Picture files, bytes of them and pixels in; classes, embeddings, logits and arrays out.

import CResNetHeader
import ResNetSwift

/// The arguments that all functions of pictures share.
private struct PictureCall {
    let network: Network
    let pictures: [PictureInput]
    /// Where a picture's own error goes; nil: the first one ends the call.
    let each: UnsafeMutablePointer<resnet_error>?

    init(
        _ network: Network, _ pictures: UnsafePointer<resnet_picture>?, _ count: Int64,
        _ each: UnsafeMutablePointer<resnet_error>?
    ) throws {
        self.network = network
        self.each = each
        let given = try required(pictures, "pictures", "pictures")
        try check(count: count, of: max(network.plan.input.count, network.classes, network.features))
        try Self.checkTransform(of: network)
        self.pictures = try (0..<Int(count)).map { try Self.input(given[$0], "pictures[\($0)]") }
        if let each { for index in 0..<Int(count) { write("", each + index) } }
    }

    /// Pictures come out of the transform with the size that the network was opened for.
    private static func checkTransform(of network: Network) throws {
        let size = try network.classifier.pictureTransform(for: network.augmentation).fixedOutputSize
        guard let size, size != network.size else { return }
        throw Refusal(
            RESNET_UNSUPPORTED,
            "\(network.classifier.origin): expected a transform to \(network.size), for which the network was opened, found "
                + "one to \(size)")
    }

    private static func input(_ picture: resnet_picture, _ name: String) throws -> PictureInput {
        if let path = picture.path { return .file(try text(path, "\(name).path")) }
        let bytes = try required(picture.bytes, name, "path or bytes")
        guard picture.height != 0 || picture.width != 0 || picture.channels != 0 else {
            return .bytes(try copied(bytes, picture.size, "\(name).size"), name: name)
        }
        let (height, width, channels) = (Int(picture.height), Int(picture.width), Int(picture.channels))
        guard height > 0, width > 0, channels == 1 || channels == 3, height * width <= Picture.pixelLimit else {
            throw Refusal(
                RESNET_INVALID_ARGUMENT,
                "\(name): expected pixels (height, width, 1 or 3), at most \(Picture.pixelLimit) of them, found "
                    + "(\(height), \(width), \(channels))")
        }
        let pixels = UnsafeRawBufferPointer(start: bytes, count: height * width * channels)
        return .pixels(Picture(height: height, width: width, channels: channels, pixels: Array(pixels)), name: name)
    }

    /// Calls `use` with the places of pictures and what the network makes of them, and `skip` with those of pictures that
    /// cannot be read.
    func run(_ use: ([Int], Prediction) -> Void, skip: (Int) -> Void) throws {
        try network.classifier.run(
            pictures, batch: nil, asFloats: network.takesFloats, network.augmentation
        ) { event in
            switch event {
            case .planned, .warning: break
            case .answered(let pictures, let prediction): use(pictures, prediction)
            case .failed(let picture, let error):
                try fail(picture, error)
                skip(picture)
            }
        }
    }

    func fail(_ picture: Int, _ error: PictureError) throws {
        guard let each else { throw error }
        write("\(error)", each + picture)
    }

    /// The rows of an output go to (count, width), NaN for pictures that cannot be read.
    func rows(_ target: UnsafeMutablePointer<Float>, width: Int, _ output: (Prediction) -> Tensor) throws {
        try run { pictures, prediction in
            output(prediction).withUnsafeFloats { values in
                for (row, picture) in pictures.enumerated() {
                    (target + picture * width).update(from: values.baseAddress! + row * width, count: width)
                }
            }
        } skip: { picture in
            (target + picture * width).update(repeating: .nan, count: width)
        }
    }
}

@_cdecl("resnet_classify")
public func resnetClassify(
    _ network: OpaquePointer?, _ pictures: UnsafePointer<resnet_picture>?, _ count: Int64, _ k: Int32,
    _ scores: UnsafeMutablePointer<resnet_score>?, _ each: UnsafeMutablePointer<resnet_error>?,
    _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    answer(error) {
        let network = try Handles.network(network)
        try network.requireHead()
        let scores = try required(scores, "scores")
        try checkAlignment("scores", scores)
        try network.check(k: k)
        let k = Int(k)
        try PictureCall(network, pictures, count, each).run { pictures, prediction in
            for (picture, found) in zip(pictures, network.classifier.scores(prediction.logits, top: k)) {
                write(found, to: scores + picture * k)
            }
        } skip: { picture in
            let none = resnet_score(index: -1, probability: .nan, present: -1)
            (scores + picture * k).update(repeating: none, count: k)
        }
    }
}

@_cdecl("resnet_embed_pictures")
public func resnetEmbedPictures(
    _ network: OpaquePointer?, _ pictures: UnsafePointer<resnet_picture>?, _ count: Int64,
    _ embedding: UnsafeMutablePointer<Float>?, _ each: UnsafeMutablePointer<resnet_error>?,
    _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    answer(error) {
        let network = try Handles.network(network)
        try network.requireFeatures()
        let embedding = try required(embedding, "embedding")
        try checkAlignment("embedding", embedding)
        try PictureCall(network, pictures, count, each).rows(embedding, width: network.features) { $0.features! }
    }
}

@_cdecl("resnet_predict_pictures")
public func resnetPredictPictures(
    _ network: OpaquePointer?, _ pictures: UnsafePointer<resnet_picture>?, _ count: Int64,
    _ logits: UnsafeMutablePointer<Float>?, _ each: UnsafeMutablePointer<resnet_error>?,
    _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    answer(error) {
        let network = try Handles.network(network)
        try network.requireHead()
        let logits = try required(logits, "logits")
        try checkAlignment("logits", logits)
        try PictureCall(network, pictures, count, each).rows(logits, width: network.classes) { $0.logits }
    }
}

@_cdecl("resnet_read_pictures")
public func resnetReadPictures(
    _ network: OpaquePointer?, _ pictures: UnsafePointer<resnet_picture>?, _ count: Int64,
    _ arrays: UnsafeMutableRawPointer?, _ each: UnsafeMutablePointer<resnet_error>?,
    _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    answer(error) {
        let network = try Handles.network(network)
        let arrays = try required(arrays, "arrays")
        if network.takesFloats { try checkAlignment("arrays", arrays) }
        let call = try PictureCall(network, pictures, count, each)
        let size = network.plan.input.count * (network.takesFloats ? 4 : 1)
        try network.classifier.read(call.pictures) { index, result in
            let target = arrays + index * size
            do throws(PictureError) {
                try copy(try result.get(), call.pictures[index].name, for: network, to: target)
            } catch {
                try call.fail(index, error)
                if network.takesFloats {
                    target.assumingMemoryBound(to: Float.self).update(repeating: .nan, count: size / 4)
                } else {
                    target.assumingMemoryBound(to: UInt8.self).update(repeating: 0, count: size)
                }
            }
        }
    }
}

/// A transformed picture as the network takes it.
private func copy(
    _ picture: Picture, _ name: String, for network: Network, to target: UnsafeMutableRawPointer
) throws(PictureError) {
    let transform = network.classifier.transform
    guard Size2(picture.height, picture.width) == network.size else {
        throw PictureError(
            path: name,
            fault: .unsupported(
                "expected \(network.size), for which the network was opened, found \(picture.height)x\(picture.width)"))
    }
    guard network.takesFloats else {
        return target.copyMemory(from: picture.pixels, byteCount: picture.pixels.count)
    }
    let batch: PictureBatch
    do throws(TransformError) { batch = try PictureBatch([picture], for: transform) } catch {
        throw PictureError(path: name, fault: .transform(error))
    }
    batch.tensor().withUnsafeFloats { target.copyMemory(from: $0.baseAddress!, byteCount: 4 * $0.count) }
}
