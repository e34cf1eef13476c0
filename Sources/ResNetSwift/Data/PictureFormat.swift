// Kinds of picture files: those that are read, recognized by content, and others that people have.

import CImageCodecs

/// The formats that are read.
enum PictureFormat: UInt32, Sendable {
    case jpeg = 1
    case png, webp, gif, bmp, tiff

    /// The format that the first bytes announce.
    init?(ofFile bytes: some Collection<UInt8>) {
        let start = Array(bytes.prefix(18))
        self.init(rawValue: ci_recognize(start, start.count).rawValue)
    }

    /// For messages.
    static let list = "JPEG, PNG, WebP, GIF, BMP or TIFF"

    /// Extensions of files that are read, in lower case.
    static let extensions: Set<String> = [
        "jpg", "jpeg", "jpe", "jfif", "jif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff",
    ]

    /// Extensions of pictures that are not read, in lower case.
    static let otherExtensions: Set<String> = [
        "heic", "heif", "hif", "avif", "jxl", "jp2", "j2k", "jpf", "jpx", "jpm", "svg", "svgz", "eps", "psd", "xcf",
        "ico",
        "cur", "icns", "tga", "dds", "exr", "hdr", "ppm", "pgm", "pbm", "pnm", "pam", "pcx", "qoi", "dcm", "dicom",
        "raw",
        "dng", "cr2", "cr3", "crw", "nef", "nrw", "arw", "orf", "rw2", "raf", "pef", "srw", "x3f",
    ]

    /// A guess for people who hold a file that is no picture of ours.
    static func looksLike(_ bytes: some Collection<UInt8>) -> String {
        let start = Array(bytes.prefix(64))
        func begins(_ text: String, at offset: Int = 0) -> Bool { start.dropFirst(offset).starts(with: text.utf8) }
        if begins("ftyp", at: 4) {
            let brand = String(decoding: start.dropFirst(8).prefix(4), as: UTF8.self)
            if ["avif", "avis"].contains(brand) { return "it is an AVIF: convert it first" }
            if ["heic", "heix", "heim", "hevc", "mif1", "msf1"].contains(brand) {
                return "it is a HEIC: convert it first"
            }
            return "it is a HEIC, AVIF or video file: convert it first"
        }
        if begins("8BPS") { return "it is a Photoshop file: convert it first" }
        if begins("\0\0\0\u{c}jP  ") { return "it is a JPEG 2000: convert it first" }
        if start.starts(with: [0xff, 0x0a]) || begins("\0\0\0\u{c}JXL ") { return "it is a JPEG XL: convert it first" }
        if start.starts(with: [0, 0, 1, 0]) { return "it is an icon: convert it first" }
        if begins("P"), start.count > 2, 0x31...0x37 ~= start[1], start[2] <= 0x20 {
            return "it is a PNM: convert it first"
        }
        if begins("%PDF") { return "it is a PDF" }
        if begins("version https://git-lfs") { return "it is a Git-LFS pointer: run git lfs pull" }
        if begins("<svg") || begins("\u{feff}<svg") { return "it is an SVG: convert it first" }
        if begins("<") || begins("\u{feff}<") { return "it is an HTML or XML page, perhaps a failed download" }
        if start.count < 8 { return "it has only \(start.count) bytes" }
        let hexadecimal = start.prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
        return "it begins with the bytes \(hexadecimal.joined(separator: " "))"
    }
}
