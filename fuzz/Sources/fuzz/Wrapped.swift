// Inputs in wrappings that a fuzzer would hardly make by itself, because sums or sizes in them must be right: the bytes go where
// a reader is deep inside its file.

/// A zip archive of stored members.
func zipArchive(_ members: [(name: String, data: ArraySlice<UInt8>)]) -> [UInt8] {
    var file: [UInt8] = []
    var directory: [UInt8] = []
    for (name, data) in members {
        let name = Array(name.utf8)
        let size = little(UInt32(data.count))
        let common =
            [20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0] + little(crc32(data)) + size + size + [UInt8(name.count), 0, 0, 0]
        directory += [0x50, 0x4b, 1, 2, 20, 0] + common
        directory += [UInt8](repeating: 0, count: 10) + little(UInt32(file.count)) + name
        file += [0x50, 0x4b, 3, 4] + common + name + data
    }
    let count = [UInt8(members.count), 0]
    return file + directory + [0x50, 0x4b, 5, 6, 0, 0, 0, 0] + count + count + little(UInt32(directory.count))
        + little(UInt32(file.count)) + [0, 0]
}

/// A JPEG of 8x8 gray pixels with two segments of application data.
func jpeg(exif: ArraySlice<UInt8>, xmp: ArraySlice<UInt8>) -> [UInt8] {
    func segment(_ code: UInt8, _ data: [UInt8]) -> [UInt8] {
        let size = data.count + 2
        return [0xff, code, UInt8(size >> 8), UInt8(size & 255)] + data
    }
    var file: [UInt8] = [0xff, 0xd8]
    file += segment(0xe1, Array("Exif\0\0".utf8) + exif)
    file += segment(0xe1, Array("http://ns.adobe.com/xap/1.0/\0".utf8) + xmp)
    file += segment(0xdb, [0] + [UInt8](repeating: 1, count: 64))
    file += segment(0xc0, [8, 0, 8, 0, 8, 1, 1, 0x11, 0])
    // One code of one bit each: no difference, end of block.
    let code: [UInt8] = [1] + [UInt8](repeating: 0, count: 15) + [0]
    file += segment(0xc4, [0x00] + code) + segment(0xc4, [0x10] + code)
    return file + segment(0xda, [1, 1, 0, 0, 63, 0]) + [0x3f, 0xff, 0xd9]
}

/// A PNG of one gray pixel with a chunk of text (tEXt) and one of EXIF.
func png(text: ArraySlice<UInt8>, exif: ArraySlice<UInt8>) -> [UInt8] {
    func chunk(_ kind: String, _ data: [UInt8]) -> [UInt8] {
        let body = Array(kind.utf8) + data
        return Array(little(UInt32(data.count)).reversed()) + body + Array(little(crc32(body[...])).reversed())
    }
    let header: [UInt8] = [0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]
    // zlib: one stored block of a filter byte and a pixel.
    let pixels: [UInt8] = [0x78, 1, 1, 2, 0, 0xfd, 0xff, 0, 7, 0, 0x0a, 0, 8]
    return [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] + chunk("IHDR", header) + chunk("eXIf", Array(exif))
        + chunk("tEXt", Array("Raw profile type exif\0".utf8) + text) + chunk("IDAT", pixels) + chunk("IEND", [])
}

func little(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

private let crcTable: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? 0xedb8_8320 ^ value >> 1 : value >> 1 }
}

func crc32(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    ~bytes.reduce(UInt32.max) { crcTable[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ $0 >> 8 }
}

/// The parts of an input between bytes `mark`.
func parts(_ bytes: [UInt8], mark: UInt8, atMost count: Int) -> [ArraySlice<UInt8>] {
    bytes.split(separator: mark, maxSplits: count - 1, omittingEmptySubsequences: false)
}
