// A picture, wherever it is: on disk, in memory as the file it was, or decoded.

/// A picture for a network: a file, the bytes of one, or pixels.
public enum PictureInput: Sendable {
    /// The path of a picture file of any kind that `Picture` reads.
    case file(String)
    /// The bytes of such a file; `name` stands for the path in errors.
    case bytes([UInt8], name: String)
    /// Decoded; `name` stands for the path in errors.
    case pixels(Picture, name: String)

    /// The path or the name.
    public var name: String {
        switch self {
        case .file(let path): path
        case .bytes(_, let name), .pixels(_, let name): name
        }
    }
}

extension ImageTransform {
    /// A picture read, decoded and taken through the steps: what a batch of a network is made of.
    /// - Precondition: the transform has 1 or 3 channels, and no step is random.
    /// - Throws: `PictureError`, also for pixels of other channels and for a picture that a step refuses.
    public func prepared(_ input: PictureInput) throws(PictureError) -> Picture {
        var warnings: [String] = []
        return try prepared(input, views: [PictureView()], warnings: &warnings)[0]
    }

    /// - Parameters:
    ///   - views: one picture comes back for each.
    ///   - warnings: faults that the decoder could repair are appended.
    package func prepared(
        _ input: PictureInput, views: [PictureView], warnings: inout [String]
    ) throws(PictureError) -> [Picture] {
        let decoded: Picture
        switch input {
        case .file(let path): decoded = try picture(contentsOf: path)
        case .bytes(let bytes, let name):
            decoded = try Picture(bytes: bytes, name: name, exif: exif, channels: channels)
        case .pixels(let picture, let name):
            guard let converted = picture.converted(toChannels: channels) else {
                throw PictureError(
                    path: name, fault: .transform(.channels(expected: channels, found: picture.channels)))
            }
            decoded = converted
        }
        warnings += decoded.warnings
        do throws(TransformError) {
            var pictures: [Picture] = []
            for view in views { pictures.append(try apply(to: decoded, view: view)) }
            return pictures
        } catch {
            throw PictureError(path: input.name, fault: .transform(error))
        }
    }
}
