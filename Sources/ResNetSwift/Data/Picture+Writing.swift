// A picture as a PNG file.

import CImageCodecs
import Glibc
import ResNetSupport

extension Picture {
    /// The picture as PNG bytes, lossless.
    /// - Precondition: 1 channel (gray) or 3 (RGB); PNG has no other kind without alpha.
    /// - Throws: `PictureError.Fault.outOfMemory`.
    public func pngBytes() throws(PictureError) -> [UInt8] {
        precondition(channels == 1 || channels == 3, "a PNG holds 1 or 3 channels, not \(channels)")
        var encoded: UnsafeMutablePointer<UInt8>?
        var size = 0
        var message = [CChar](repeating: 0, count: 200)
        let status = pixels.withUnsafeBufferPointer {
            ci_png_encode($0.baseAddress, Int32(height), Int32(width), Int32(channels), &encoded, &size, &message)
        }
        defer { ci_free(encoded) }
        guard status == CI_OK else {
            let words = String(decoding: message.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            throw PictureError(path: "PNG", fault: status == CI_OUT_OF_MEMORY ? .outOfMemory : .unwritable(words))
        }
        return [UInt8](UnsafeBufferPointer(start: encoded, count: size))
    }

    /// Writes a PNG file. A file of that name is replaced only when the new one is complete.
    /// - Precondition: 1 channel (gray) or 3 (RGB).
    /// - Throws: `PictureError`, which names the file and why it cannot be written.
    public func writePNG(to path: String) throws(PictureError) {
        let bytes = try pngBytes()
        func failed() -> PictureError {
            PictureError(path: path, fault: .unwritable(String(cString: strerror(errno))))
        }
        let draft = "\(path).\(getpid()).part"
        let descriptor = draft.withFileName { open($0, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644) }
        if descriptor < 0 { throw failed() }
        var written = 0
        var failure: PictureError?
        bytes.withUnsafeBufferPointer { buffer in
            while written < buffer.count {
                let count = write(descriptor, buffer.baseAddress! + written, buffer.count - written)
                if count >= 0 {
                    written += count
                } else if errno != EINTR {
                    failure = failed()
                    break
                }
            }
        }
        if close(descriptor) != 0, failure == nil { failure = failed() }
        if failure == nil, draft.withFileName({ from in path.withFileName { rename(from, $0) } }) != 0 {
            failure = failed()
        }
        if let failure {
            _ = draft.withFileName { unlink($0) }
            throw failure
        }
    }
}
