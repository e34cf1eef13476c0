// Element types of the containers, and their conversion to float32, one strided gather for all of them.

import ResNetSupport

/// Element types of the containers. Floating point becomes float32; the others are listed and refused as weights.
public enum ElementType: String, Sendable, Hashable, CaseIterable {
    /// Read as weights.
    case float32, float16, bfloat16, float64
    /// Not read as weights.
    case int64, int32, int16, int8, uint64, uint32, uint16, uint8, bool

    /// Bytes per element.
    public var size: Int {
        switch self {
        case .float64, .int64, .uint64: 8
        case .float32, .int32, .uint32: 4
        case .float16, .bfloat16, .int16, .uint16: 2
        case .int8, .uint8, .bool: 1
        }
    }

    /// Can stand for weights.
    public var isFloatingPoint: Bool {
        switch self {
        case .float32, .float16, .bfloat16, .float64: true
        default: false
        }
    }
}

/// Which elements of a storage a tensor consists of, counted in elements; verified to lie inside the storage.
struct TensorGeometry: Sendable, Hashable {
    let shape: [Int]
    let strides: [Int]
    let offset: Int
    let count: Int

    /// Row-major (or column-major) and dense, exactly `shape`; nil where the count does not fit an Int.
    init?(dense shape: [Int], columnMajor: Bool = false) {
        guard let count = checkedProduct(shape) else { return nil }
        var strides = [Int](repeating: 1, count: shape.count)
        var step = 1
        let order = columnMajor ? Array(shape.indices) : shape.indices.reversed()
        for axis in order {
            strides[axis] = step
            // Sizes of 0 leave the step alone, so that the steps stay within the checked product.
            step *= max(shape[axis], 1)
        }
        self.init(shape: shape, strides: strides, offset: 0, count: count)
    }

    private init(shape: [Int], strides: [Int], offset: Int, count: Int) {
        self.shape = shape
        self.strides = strides
        self.offset = offset
        self.count = count
    }

    /// More elements than the storage holds come only from strides that revisit elements; honest files do that to
    /// broadcast small tensors, hostile ones to make a few bytes fill the memory.
    static let repeatLimit = 1 << 22

    /// A strided view of a storage of `storageCount` elements, checked.
    static func strided(
        shape: [Int], strides: [Int], offset: Int, storageCount: Int, key: String
    ) throws(WeightFault) -> TensorGeometry {
        func fault(_ problem: String) -> WeightFault { .malformed(part: "tensor \(key)", problem: problem) }
        guard shape.count == strides.count else {
            throw fault("\(shape.count) sizes, but \(strides.count) strides")
        }
        guard shape.count <= 32 else { throw fault("\(shape.count) dimensions") }
        guard let count = checkedProduct(shape) else {
            throw fault("negative or overflowing shape \(shape)")
        }
        guard offset >= 0, strides.allSatisfy({ $0 >= 0 }) else {
            throw fault("negative offset \(offset) or strides \(strides)")
        }
        guard count > 0 else {
            guard offset <= storageCount else { throw fault("starts at \(offset) of \(storageCount) elements") }
            return TensorGeometry(shape: shape, strides: strides, offset: offset, count: 0)
        }
        var last = offset
        for (size, stride) in zip(shape, strides) {
            let (reach, overflow1) = (size - 1).multipliedReportingOverflow(by: stride)
            let (sum, overflow2) = last.addingReportingOverflow(reach)
            guard !overflow1, !overflow2 else { throw fault("overflowing strides \(strides)") }
            last = sum
        }
        guard last < storageCount else {
            throw fault("reaches element \(last) of a storage of \(storageCount)")
        }
        guard count <= max(storageCount, repeatLimit) else {
            throw .exceedsLimit("tensor \(key): \(count) elements out of a storage of \(storageCount)")
        }
        // The stride of an axis of size 1 is never walked and may be any number: make it a harmless one.
        let walked = zip(shape, strides).map { size, stride in size == 1 ? 0 : stride }
        return TensorGeometry(shape: shape, strides: walked, offset: offset, count: count)
    }

    /// The same elements, counted from `start` elements earlier: a view's geometry in terms of its whole storage.
    func shifted(by start: Int) -> TensorGeometry {
        TensorGeometry(shape: shape, strides: strides, offset: start + offset, count: count)
    }

    /// True where the elements lie one after another in row-major order.
    var isContiguous: Bool {
        var step = 1
        for axis in shape.indices.reversed() where shape[axis] != 1 {
            if strides[axis] != step { return false }
            step *= max(shape[axis], 1)
        }
        return true
    }
}

/// Float32 values of a stored tensor, in row-major order.
/// - Parameters:
///   - storage: the whole storage that `geometry` was checked against
///   - target: (geometry.count), filled completely
func convertElements(
    _ storage: UnsafeRawBufferPointer, _ type: ElementType, bigEndian: Bool, _ geometry: TensorGeometry,
    into target: UnsafeMutableBufferPointer<Float>
) {
    func gather<Raw: FixedWidthInteger>(_: Raw.Type, _ convert: (Raw) -> Float) {
        gatherElements(storage, geometry, into: target) { (raw: Raw) in
            convert(bigEndian ? Raw(bigEndian: raw) : Raw(littleEndian: raw))
        }
    }
    switch type {
    case .float32: gather(UInt32.self) { Float(bitPattern: $0) }
    case .float16: gather(UInt16.self) { floatFromHalf($0) }
    case .bfloat16: gather(UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
    case .float64: gather(UInt64.self) { Float(Double(bitPattern: $0)) }
    case .int64: gather(Int64.self) { Float($0) }
    case .int32: gather(Int32.self) { Float($0) }
    case .int16: gather(Int16.self) { Float($0) }
    case .int8: gather(Int8.self) { Float($0) }
    case .uint64: gather(UInt64.self) { Float($0) }
    case .uint32: gather(UInt32.self) { Float($0) }
    case .uint16: gather(UInt16.self) { Float($0) }
    case .uint8: gather(UInt8.self) { Float($0) }
    case .bool: gather(UInt8.self) { $0 == 0 ? 0 : 1 }
    }
}

/// Visits the elements in row-major order: an odometer over the outer axes, a plain loop over the last.
@inline(__always)
private func gatherElements<Raw: FixedWidthInteger>(
    _ storage: UnsafeRawBufferPointer, _ geometry: TensorGeometry, into target: UnsafeMutableBufferPointer<Float>,
    _ convert: (Raw) -> Float
) {
    guard geometry.count > 0 else { return }
    let size = MemoryLayout<Raw>.size
    let contiguous = geometry.isContiguous
    let inner = contiguous ? geometry.count : geometry.shape.last ?? 1
    let innerStride = contiguous ? 1 : geometry.strides.last ?? 1
    let outerAxes = contiguous ? 0 : geometry.shape.count - 1
    var position = [Int](repeating: 0, count: outerAxes)
    var start = geometry.offset
    var written = 0
    while true {
        for i in 0..<inner {
            let raw = storage.loadUnaligned(fromByteOffset: (start + i * innerStride) * size, as: Raw.self)
            target[written + i] = convert(raw)
        }
        written += inner
        var axis = outerAxes - 1
        while axis >= 0 {
            position[axis] += 1
            start += geometry.strides[axis]
            if position[axis] < geometry.shape[axis] { break }
            start -= geometry.strides[axis] * geometry.shape[axis]
            position[axis] = 0
            axis -= 1
        }
        if axis < 0 { return }
    }
}

/// IEEE 754 binary16 to binary32, exactly; NaN payloads are kept.
@inline(__always)
func floatFromHalf(_ half: UInt16) -> Float {
    let sign = UInt32(half & 0x8000) << 16
    let magnitude = UInt32(half & 0x7fff)
    if magnitude >= 0x7c00 {  // infinity and NaN
        return Float(bitPattern: sign | 0x7f80_0000 | (magnitude & 0x3ff) << 13)
    }
    if magnitude < 0x400 {  // zero and subnormals: a multiple of 2^-24
        let value = Float(magnitude) * 0x1p-24
        return Float(bitPattern: sign | value.bitPattern)
    }
    return Float(bitPattern: sign | (magnitude << 13) + (112 << 23))
}
