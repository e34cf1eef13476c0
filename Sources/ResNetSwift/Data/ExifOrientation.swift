// How a camera was held: EXIF's tag Orientation, or the same in XMP where EXIF does not say, as Pillow looks for them.

/// What to do with EXIF's orientation when a picture is read. Networks see pictures as this says, so it is stored with a
/// checkpoint's transform.
public enum ExifPolicy: String, Sendable, Hashable, Codable {
    /// Turn the picture upright, as photo viewers do.
    case apply
    /// Leave the pixels as stored, as `PIL.Image.open` and torchvision do. TIFF files are turned upright nevertheless: the
    /// orientation is part of that format, and Pillow applies it too.
    case ignore
}

/// The eight values of the EXIF tag. Names say what brings the stored picture upright; turns are clockwise.
public enum ExifOrientation: Int, Sendable, Hashable, CaseIterable {
    /// Nothing to do.
    case upright = 1
    /// Left to right.
    case mirror = 2
    /// Half a turn.
    case turn180 = 3
    /// Top to bottom.
    case mirrorVertically = 4
    /// About the diagonal from the top left.
    case transpose = 5
    /// A quarter turn.
    case turn90 = 6
    /// About the diagonal from the top right.
    case transverse = 7
    /// Three quarters of a turn.
    case turn270 = 8

    /// Height and width change places.
    public var swapsSides: Bool { rawValue >= 5 }

    /// The orientation that a JPEG, PNG, WebP or TIFF file asks for in its EXIF, else in its XMP; upright if it says nothing
    /// sensible.
    public init(inFile bytes: [UInt8]) {
        let metadata = PictureMetadata(inFile: bytes)
        let value =
            metadata.exif.flatMap { TIFFDirectory($0)?.integer(of: 0x0112) } ?? metadata.xmp.flatMap(Self.value(inXMP:))
        self = value.flatMap(ExifOrientation.init(rawValue:)) ?? .upright
    }

    /// The digit in `tiff:Orientation="6"` or `<tiff:Orientation>6<`.
    private static func value(inXMP text: ArraySlice<UInt8>) -> Int? {
        let name = Array("tiff:Orientation".utf8)
        var rest = text
        while let start = rest.firstIndex(of: name[0]) {
            rest = rest[start...]
            if rest.starts(with: name) {
                var value = rest.dropFirst(name.count)
                let isAttribute = value.starts(with: "=\"".utf8)
                if isAttribute || value.first == UInt8(ascii: ">") {
                    value = value.dropFirst(isAttribute ? 2 : 1)
                    if let digit = value.first, 0x30...0x39 ~= digit { return Int(digit) - 0x30 }
                }
            }
            rest = rest.dropFirst()
        }
        return nil
    }
}
