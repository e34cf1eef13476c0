// bfloat16: the upper half of a float32. Rounded to the nearest, ties to even; a NaN stays one.

package enum BFloat16 {
    /// The nearest bfloat16.
    package static func bits(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        let nearest = (bits &+ 0x7fff &+ (bits >> 16 & 1)) >> 16
        let quiet = bits >> 16 | 0x40
        return UInt16(truncatingIfNeeded: bits & 0x7fff_ffff > 0x7f80_0000 ? quiet : nearest)
    }

    package static func value(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

    /// Rounds all values in place.
    package static func round(_ values: UnsafeMutableBufferPointer<Float>) {
        for index in values.indices { values[index] = value(bits(values[index])) }
    }

    package static func pack(_ values: UnsafeBufferPointer<Float>, to target: UnsafeMutablePointer<UInt16>) {
        for index in values.indices { target[index] = bits(values[index]) }
    }

    package static func unpack(_ source: UnsafePointer<UInt16>, to values: UnsafeMutableBufferPointer<Float>) {
        for index in values.indices { values[index] = value(source[index]) }
    }
}
