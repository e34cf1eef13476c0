// A picture from a file. The format is recognized by content; the extension is never looked at.

import CImageCodecs
import Glibc
import ResNetSupport

extension Picture {
    /// The most pixels that are decoded: a file of a few bytes may claim any size.
    public static let pixelLimit = Int(CI_MAX_PIXELS)
    /// The longest file that is read, in bytes.
    public static let fileLimit = 1 << 30

    /// Reads a JPEG, PNG, WebP, GIF, BMP or TIFF file; of several frames or pages the first.
    ///
    /// Pixels equal those of Pillow's `Image.open(path).convert("RGB")` (`channels: 3`) or `.convert("L")` (1): palettes
    /// become colors, alpha is dropped, a JPEG's CMYK and YCCK are taken to be inverted as Adobe writes them, no color
    /// profile is applied, and 16 bits become the high 8. One exception: Pillow clips gray of 16 bits to 255 and loses the
    /// picture; here it becomes its high 8 bits like color of 16 bits does, unless all of it is 255 at most. Gray TIFFs of
    /// 32 bits are read where all of it is 0 to 255.
    /// - Parameters:
    ///   - path: a file of any name; its bytes tell the format.
    ///   - exif: whether the EXIF orientation is applied, as `PIL.ImageOps.exif_transpose` does.
    ///   - channels: 3 for RGB, 1 for gray, nil for what the file holds.
    /// - Throws: `PictureError`, which names the file and the fault. Damage that the decoder got over is no error:
    ///   see `warnings`.
    public init(contentsOf path: String, exif: ExifPolicy = .apply, channels: Int? = 3) throws(PictureError) {
        try self.init(bytes: try Self.bytes(of: path), name: path, exif: exif, channels: channels)
    }

    /// Reads a picture file that is in memory; `name` stands for the path in errors.
    /// - Parameter pixelLimit: the most pixels that are decoded.
    public init(
        bytes: [UInt8], name: String, exif: ExifPolicy = .apply, channels: Int? = 3,
        pixelLimit: Int = Picture.pixelLimit
    ) throws(PictureError) {
        precondition(channels == nil || channels == 1 || channels == 3, "files are read as gray (1) or RGB (3)")
        if bytes.isEmpty { throw PictureError(path: name, fault: .empty) }
        var stored = try bytes.withUnsafeBufferPointer { (buffer) throws(PictureError) -> Picture in
            try Self.decode(buffer, name: name, limit: pixelLimit)
        }
        if let channels { stored = stored.converted(toChannels: channels)! }  // 1 <-> 3 always exists
        let isApplied = exif == .apply || PictureFormat(ofFile: bytes) == .tiff
        self = isApplied ? stored.oriented(ExifOrientation(inFile: bytes)) : stored
    }

    private static func decode(
        _ bytes: UnsafeBufferPointer<UInt8>, name: String, limit: Int
    ) throws(PictureError) -> Picture {
        var decoder: OpaquePointer?
        var info = ci_info()
        let status = ci_open(bytes.baseAddress, bytes.count, UInt64(max(limit, 0)), &decoder, &info)
        guard status == CI_OK else { throw PictureError(path: name, fault: fault(status, info, bytes)) }
        defer { ci_close(decoder) }
        var picture = try Picture(height: Int(info.height), width: Int(info.width), channels: Int(info.channels)) {
            (target) throws(PictureError) in
            let status = ci_read(decoder, target, &info)
            guard status == CI_OK else { throw PictureError(path: name, fault: fault(status, info, bytes)) }
        }
        if info.warnings > 0 { picture.warnings = [message(info)] }
        return picture
    }

    private static func message(_ info: ci_info) -> String {
        withUnsafeBytes(of: info.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    private static func fault(
        _ status: ci_status, _ info: ci_info, _ bytes: UnsafeBufferPointer<UInt8>
    ) -> PictureError.Fault {
        switch status {
        case CI_UNKNOWN_FORMAT: .unknownFormat(PictureFormat.looksLike(bytes))
        case CI_TRUNCATED: .truncated(message(info))
        case CI_UNSUPPORTED: .unsupported(message(info))
        case CI_TOO_LARGE: .tooLarge(message(info))
        case CI_OUT_OF_MEMORY: .outOfMemory
        default: .corrupt(message(info))
        }
    }

    /// The whole file. Read, not mapped: a file that shrinks while it is mapped kills the process.
    private static func bytes(of path: String) throws(PictureError) -> [UInt8] {
        func failed() -> PictureError {
            let code = errno
            if code == ENOENT || code == ENOTDIR { return PictureError(path: path, fault: .missing) }
            return PictureError(path: path, fault: .unreadable(String(cString: strerror(code))))
        }
        // Without O_NONBLOCK, opening a pipe waits for a writer.
        let descriptor = path.withFileName { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        if descriptor < 0 { throw failed() }
        defer { close(descriptor) }
        var about = stat()
        if fstat(descriptor, &about) != 0 { throw failed() }
        guard about.st_mode & S_IFMT == S_IFREG else { throw PictureError(path: path, fault: .notAFile) }
        let size = Int(about.st_size)
        if size > fileLimit {
            throw PictureError(
                path: path, fault: .tooLarge("the file has \(size) bytes, more than the limit of \(fileLimit)"))
        }
        var failure: PictureError?
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size {
                let got = read(descriptor, buffer.baseAddress! + count, size - count)
                if got > 0 {
                    count += got
                } else if got == 0 {
                    break
                } else if errno != EINTR {
                    failure = failed()
                    break
                }
            }
        }
        if let failure { throw failure }
        return bytes
    }
}
