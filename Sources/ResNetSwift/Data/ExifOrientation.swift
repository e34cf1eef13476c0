// How a camera was held: the EXIF tag Orientation, found in a JPEG's APP1 segment or a PNG's eXIf chunk.
//
//     JPEG: FFD8 | FFE1 length "Exif\0\0" TIFF | ...        PNG: signature | length "IHDR" ... | length "eXIf" TIFF crc | ...
//     TIFF: "II" or "MM", 42, offset of IFD0; IFD0: count, then 12 bytes an entry: tag, type, count, value
//
// Source: CIPA DC-008 (EXIF 2.32), section 4.6. The reader looks at IFD0 only, and every offset is checked: bytes that
// lead nowhere mean "upright", never an error, because an odd tag must not cost anybody a picture.

/// What to do with EXIF's orientation when a picture is read. Networks see pictures as this says, so it is stored with a
/// checkpoint's transform.
public enum ExifPolicy: String, Sendable, Hashable, Codable {
    /// Turn the picture upright, as photo viewers do.
    case apply
    /// Leave the pixels as stored, as `PIL.Image.open` and torchvision do.
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

    /// The orientation that a JPEG or PNG file asks for; upright if it says nothing sensible.
    public init(inFile bytes: [UInt8]) {
        let reader = ByteReader(bytes: bytes[...], bigEndian: true)
        let exif = reader.jpegExif() ?? reader.pngExif()
        self = exif.flatMap { ByteReader.tiff($0)?.orientation() }.flatMap(ExifOrientation.init(rawValue:)) ?? .upright
    }
}

/// Integers at offsets of a slice; nil outside it.
private struct ByteReader {
    let bytes: ArraySlice<UInt8>
    let bigEndian: Bool

    func integer(at offset: Int, size: Int) -> Int? {
        guard offset >= 0, size <= bytes.count, offset <= bytes.count - size else { return nil }
        let start = bytes.startIndex + offset
        let part = bytes[start..<start + size]
        return bigEndian
            ? part.reduce(0) { $0 << 8 | Int($1) } : part.reversed().reduce(0) { $0 << 8 | Int($1) }
    }

    func slice(at offset: Int, count: Int) -> ArraySlice<UInt8>? {
        guard offset >= 0, count >= 0, count <= bytes.count, offset <= bytes.count - count else { return nil }
        let start = bytes.startIndex + offset
        return bytes[start..<start + count]
    }

    /// The TIFF bytes of the first Exif segment before the entropy-coded data.
    func jpegExif() -> ArraySlice<UInt8>? {
        guard integer(at: 0, size: 2) == 0xffd8 else { return nil }
        var at = 2
        while let mark = integer(at: at, size: 2) {
            if mark == 0xffff {  // a fill byte
                at += 1
                continue
            }
            guard mark > 0xff00, mark != 0xffda, mark != 0xffd9 else { return nil }
            guard let length = integer(at: at + 2, size: 2), length >= 2 else { return nil }
            if mark == 0xffe1, let segment = slice(at: at + 4, count: length - 2),
                segment.starts(with: [0x45, 0x78, 0x69, 0x66, 0, 0])
            {
                return segment.dropFirst(6)
            }
            at += 2 + length
        }
        return nil
    }

    /// The TIFF bytes of the eXIf chunk, which may stand before or behind the pixels.
    func pngExif() -> ArraySlice<UInt8>? {
        guard integer(at: 0, size: 4) == 0x8950_4e47 else { return nil }
        var at = 8
        while let length = integer(at: at, size: 4), let kind = integer(at: at + 4, size: 4) {
            if kind == 0x6558_4966 { return slice(at: at + 8, count: length) }
            at += 12 + length
        }
        return nil
    }

    static func tiff(_ bytes: ArraySlice<UInt8>) -> ByteReader? {
        let order = ByteReader(bytes: bytes, bigEndian: true).integer(at: 0, size: 4)
        switch order {
        case 0x4949_2a00: return ByteReader(bytes: bytes, bigEndian: false)
        case 0x4d4d_002a: return ByteReader(bytes: bytes, bigEndian: true)
        default: return nil
        }
    }

    /// The value of tag 0x0112 in IFD0, whatever it is.
    func orientation() -> Int? {
        guard let directory = integer(at: 4, size: 4), let count = integer(at: directory, size: 2) else { return nil }
        for index in 0..<count {
            let entry = directory + 2 + 12 * index
            guard let tag = integer(at: entry, size: 2) else { return nil }
            if tag == 0x0112 {
                // BYTE, SHORT or LONG: the standard says SHORT, some writers do not care.
                let size = integer(at: entry + 2, size: 2).flatMap { [1: 1, 3: 2, 4: 4][$0] }
                return size.flatMap { integer(at: entry + 8, size: $0) }
            }
        }
        return nil
    }
}
