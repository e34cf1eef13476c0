// Where the formats keep what a camera or an editor wrote beside the pixels:
//
//     JPEG  FFD8 | FFE1 length "Exif\0\0" TIFF | FFE1 length "http://ns.adobe.com/xap/1.0/\0" XMP | ...
//     PNG   signature | length "eXIf" TIFF crc | length "iTXt" "XML:com.adobe.xmp\0" ... XMP crc
//           | length "zTXt" "Raw profile type exif\0\0" deflated text of hexadecimal TIFF crc | ...
//     WebP  "RIFF" length "WEBP" | "EXIF" length TIFF | "XMP " length XMP | ...
//     TIFF  the file itself; XMP is its tag 700
//
// Sources: CIPA DC-008 (EXIF 2.32), Adobe's XMP specification part 3, ImageMagick's raw profiles. Every offset is checked:
// bytes that lead nowhere are passed over, never an error, because an odd tag must not cost anybody a picture.

import CImageCodecs

/// The EXIF and XMP blocks of a picture file.
struct PictureMetadata {
    /// TIFF bytes, from "II" or "MM" on.
    var exif: ArraySlice<UInt8>?
    /// Text.
    var xmp: ArraySlice<UInt8>?

    init(inFile bytes: [UInt8]) {
        let reader = ByteReader(bytes: bytes[...], bigEndian: true)
        switch reader.integer(at: 0, size: 4) {
        case let start? where start >> 16 == 0xffd8: readJPEG(reader)
        case 0x8950_4e47: readPNG(reader)
        case 0x5249_4646 where reader.integer(at: 8, size: 4) == 0x5745_4250:
            readWebP(ByteReader(bytes: bytes[...], bigEndian: false))
        default:
            guard let file = TIFFDirectory(bytes[...]) else { return }
            exif = bytes[...]
            xmp = file.bytes(of: 700)
        }
        while let block = exif, block.starts(with: Self.exifName) { exif = block.dropFirst(Self.exifName.count) }
    }

    private static let exifName: [UInt8] = [0x45, 0x78, 0x69, 0x66, 0, 0]
    private static let xmpName = Array("http://ns.adobe.com/xap/1.0/\0".utf8)

    /// The segments before the entropy-coded data. Of several XMP blocks the last counts, as for Pillow.
    private mutating func readJPEG(_ reader: ByteReader) {
        var at = 2
        while let mark = reader.integer(at: at, size: 2) {
            if mark == 0xffff {  // a fill byte
                at += 1
                continue
            }
            guard mark > 0xff00, mark != 0xffda, mark != 0xffd9 else { return }
            guard let length = reader.integer(at: at + 2, size: 2), length >= 2 else { return }
            if mark == 0xffe1, let segment = reader.slice(at: at + 4, count: length - 2) {
                if exif == nil, segment.starts(with: Self.exifName) { exif = segment }
                if segment.starts(with: Self.xmpName) { xmp = segment.dropFirst(Self.xmpName.count) }
            }
            at += 2 + length
        }
    }

    /// All chunks: they may stand before or behind the pixels.
    private mutating func readPNG(_ reader: ByteReader) {
        var profile: [UInt8]?
        var at = 8
        while let length = reader.integer(at: at, size: 4), let kind = reader.integer(at: at + 4, size: 4) {
            if kind == 0x6558_4966 { exif = reader.slice(at: at + 8, count: length) }
            if let text = PNGText(kind: kind, reader.slice(at: at + 8, count: length)) {
                switch text.keyword {
                case "Raw profile type exif": profile = Self.profile(text.value)
                case "XML:com.adobe.xmp": xmp = text.value
                default: break
                }
            }
            at += 12 + length
        }
        exif = exif ?? profile?[...]
    }

    /// "\nexif\n      72\n4578...": the bytes of the hexadecimal digits from the fourth line on.
    private static func profile(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let lines = text.split(separator: UInt8(ascii: "\n"), maxSplits: 3, omittingEmptySubsequences: false)
        guard lines.count == 4 else { return nil }
        var bytes: [UInt8] = []
        var high: UInt8?
        for character in lines[3] where !(character == 0x20 || 0x09...0x0d ~= character) {
            guard let digit = Character(Unicode.Scalar(character)).hexDigitValue else { return nil }
            if let first = high { bytes.append(first << 4 | UInt8(digit)) }
            high = high == nil ? UInt8(digit) : nil
        }
        return bytes
    }

    private mutating func readWebP(_ reader: ByteReader) {
        var at = 12
        while let kind = reader.slice(at: at, count: 4), let length = reader.integer(at: at + 4, size: 4) {
            if kind.elementsEqual("EXIF".utf8) { exif = reader.slice(at: at + 8, count: length) }
            if kind.elementsEqual("XMP ".utf8) { xmp = reader.slice(at: at + 8, count: length) }
            at += 8 + length + length % 2
        }
    }
}

/// A keyword and its text, from a chunk tEXt, zTXt or iTXt.
private struct PNGText {
    let keyword: String
    let value: ArraySlice<UInt8>

    /// Longer texts are not read: a deflated one of a few bytes may claim any size.
    private static let limit = 1 << 20

    init?(kind: Int, _ data: ArraySlice<UInt8>?) {
        guard [0x7445_5874, 0x7a54_5874, 0x6954_5874].contains(kind), let data, let end = data.firstIndex(of: 0) else {
            return nil
        }
        keyword = String(decoding: data[..<end], as: UTF8.self)
        var rest = data[(end + 1)...]
        var isDeflated = kind == 0x7a54_5874
        if isDeflated {
            guard rest.popFirst() == 0 else { return nil }
        } else if kind == 0x6954_5874 {
            guard let flag = rest.popFirst(), rest.popFirst() == 0 else { return nil }
            isDeflated = flag != 0
            for _ in 0..<2 {  // language, and the keyword in it
                guard let end = rest.firstIndex(of: 0) else { return nil }
                rest = rest[(end + 1)...]
            }
        }
        if isDeflated {
            guard let inflated = Self.inflated(rest) else { return nil }
            value = inflated[...]
        } else {
            value = rest
        }
    }

    private static func inflated(_ bytes: ArraySlice<UInt8>) -> [UInt8]? {
        var status = CI_CORRUPT
        let result = [UInt8](unsafeUninitializedCapacity: limit) { target, count in
            status = bytes.withUnsafeBufferPointer {
                ci_inflate($0.baseAddress, $0.count, target.baseAddress, limit, &count)
            }
        }
        return status == CI_OK ? result : nil
    }
}

/// Integers at offsets of a slice; nil outside it.
struct ByteReader {
    let bytes: ArraySlice<UInt8>
    let bigEndian: Bool

    /// Eight bytes that do not fit an Int come out negative, as no offset is.
    func integer(at offset: Int, size: Int) -> Int? {
        guard let part = slice(at: offset, count: size) else { return nil }
        return bigEndian
            ? part.reduce(0) { $0 << 8 | Int($1) } : part.reversed().reduce(0) { $0 << 8 | Int($1) }
    }

    func slice(at offset: Int, count: Int) -> ArraySlice<UInt8>? {
        guard offset >= 0, count >= 0, count <= bytes.count, offset <= bytes.count - count else { return nil }
        let start = bytes.startIndex + offset
        return bytes[start..<start + count]
    }
}

// TIFF     "II" or "MM", 42, offset of IFD0; IFD0: count, then 12 bytes an entry: tag, type, count, value or offset
// BigTIFF  "II" or "MM", 43, 8, 0, offset; IFD0: count of 8 bytes, then 20 bytes an entry

/// The first directory of a TIFF or BigTIFF, which is what EXIF is, too.
struct TIFFDirectory {
    private let reader: ByteReader
    private let isBig: Bool
    private let start: Int
    private let count: Int

    init?(_ bytes: ArraySlice<UInt8>) {
        switch ByteReader(bytes: bytes, bigEndian: true).integer(at: 0, size: 4) {
        case 0x4949_2a00: (isBig, reader) = (false, ByteReader(bytes: bytes, bigEndian: false))
        case 0x4949_2b00: (isBig, reader) = (true, ByteReader(bytes: bytes, bigEndian: false))
        case 0x4d4d_002a: (isBig, reader) = (false, ByteReader(bytes: bytes, bigEndian: true))
        case 0x4d4d_002b: (isBig, reader) = (true, ByteReader(bytes: bytes, bigEndian: true))
        default: return nil
        }
        guard let start = reader.integer(at: isBig ? 8 : 4, size: isBig ? 8 : 4),
            let count = reader.integer(at: start, size: isBig ? 8 : 2)
        else { return nil }
        (self.start, self.count) = (start, count)
    }

    /// Where the entry of a tag begins.
    private func entry(of tag: Int) -> Int? {
        var at = start + (isBig ? 8 : 2)
        for _ in 0..<max(count, 0) {
            guard let found = reader.integer(at: at, size: 2) else { return nil }
            if found == tag { return at }
            at += isBig ? 20 : 12
        }
        return nil
    }

    /// One BYTE, SHORT or LONG: the standard says SHORT for the orientation, some writers do not care.
    func integer(of tag: Int) -> Int? {
        guard let entry = entry(of: tag), let type = reader.integer(at: entry + 2, size: 2),
            let size = [1: 1, 3: 2, 4: 4][type]
        else { return nil }
        return reader.integer(at: entry + (isBig ? 12 : 8), size: size)
    }

    /// BYTE or UNDEFINED, more than fit into the entry.
    func bytes(of tag: Int) -> ArraySlice<UInt8>? {
        let word = isBig ? 8 : 4
        guard let entry = entry(of: tag), let type = reader.integer(at: entry + 2, size: 2), type == 1 || type == 7,
            let count = reader.integer(at: entry + 4, size: word), count > word,
            let offset = reader.integer(at: entry + 4 + word, size: word)
        else { return nil }
        return reader.slice(at: offset, count: count)
    }
}
