// Text of files that people wrote: editors and spreadsheets of Windows begin UTF-8 with a byte order mark, or save UTF-16 with one.

extension String {
    /// The text without its mark; nil where the bytes are no text.
    package init?(textFile bytes: some Collection<UInt8>) {
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) {
            self.init(validating: bytes.dropFirst(3), as: UTF8.self)
        } else if bytes.starts(with: [0xff, 0xfe]) || bytes.starts(with: [0xfe, 0xff]) {
            let content = Array(bytes.dropFirst(2))
            guard content.count % 2 == 0 else { return nil }
            let low = bytes.first == 0xff ? 0 : 1  // where the lower half of a unit is
            let units = stride(from: 0, to: content.count, by: 2).map {
                UInt16(content[$0 + low]) | UInt16(content[$0 + 1 - low]) << 8
            }
            self.init(validating: units, as: UTF16.self)
        } else {
            self.init(validating: bytes, as: UTF8.self)
        }
    }
}
