// A plan's constants in a file, to be mapped back by a later process instead of packing the weights again.
//
//     0     "CKPACKED"
//     8     format of this file, 32 bit; where the constants start, 32 bit, a multiple of 4096
//     16    key, 64 bit: a hash of all that the constants' order depends on
//     24    bytes of constants, 64 bit
//     32    CRC-32 of the constants, 32 bit
//     36    bytes of the following text, 32 bit; what the weights were packed for, for people
//     ...   zeros
//     4096  the constants as they lie in memory
//
// Opening compares everything but the checksum, which would read all pages of a file that is mapped to start at once;
// `PackedWeights.check` compares it (`resnet inspect FILE`).
//
// All numbers are little-endian. The file is a cache: made for one model, instruction set and plan, and refused by any
// other. The key counts the weights only where the caller gives their fingerprint; otherwise a file belongs beside the
// weights that it was made from.
import CKernels
import Glibc
import ResNetGraph
import ResNetSupport

/// What is the matter with a file of packed weights.
public struct PackedWeightsError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of fault.
    public enum Fault: Sendable, Hashable {
        /// The operating system refused.
        case file(String)
        /// Readable, but no file of packed weights.
        case notPackedWeights
        /// Truncated, or with something behind.
        case length(expected: Int, found: Int)
        /// By a version of this library that writes another format.
        case format(expected: Int, found: Int)
        /// The contents changed after they were written.
        case checksum(expected: UInt32, found: UInt32)
        /// Packed for something else.
        case madeFor(String, wanted: String)
    }

    /// The file.
    public let path: String
    /// What is the matter with it.
    public let fault: Fault

    public var description: String {
        switch fault {
        case .file(let reason): "\(path): \(reason)"
        case .notPackedWeights: "\(path): not a file of packed weights"
        case .length(let expected, let found): "\(path): \(found) bytes long instead of \(expected)"
        case .format(let expected, let found):
            "\(path): packed weights of format \(found), but this version reads \(expected); make the file again"
        case .checksum(let expected, let found):
            "\(path): damaged: its contents have checksum \(String(found, radix: 16)) instead of "
                + "\(String(expected, radix: 16)); make the file again"
        case .madeFor(let made, let wanted) where made == wanted:
            "\(path): packed for another network that goes by the same description, \(made); make the file again"
        case .madeFor(let made, let wanted): "\(path): packed for \(made), but needed is \(wanted)"
        }
    }
}

/// What packed constants depend on.
struct PackedKey: Sendable {
    let hash: UInt64
    /// For people.
    let text: String

    /// The key of these weights; nil leaves them out.
    func counting(_ fingerprint: UInt64?) -> PackedKey {
        guard let fingerprint else { return self }
        var both = FNV1a()
        both.add(Int(truncatingIfNeeded: hash))
        both.add(Int(truncatingIfNeeded: fingerprint))
        return PackedKey(hash: both.value, text: "\(text), weights \(String(fingerprint, radix: 16))")
    }
}

extension Model {
    /// A number that tells weights apart: a hash of every tensor's name, shape and first and last values. Reads a page or
    /// two of each tensor.
    public var fingerprint: UInt64 {
        var hash = FNV1a()
        for spec in graph.parameters {
            hash.add(spec.name + "\0")
            for size in spec.shape { hash.add(size) }
            let storage = self[spec.name].storage
            let count = storage.count
            for index in Array(0..<min(count, 16)) + Array(max(count - 16, 0)..<count) {
                let value = storage.signedBytes?.float(index) ?? storage.base[index]
                hash.add(Int(value.bitPattern))
            }
        }
        return hash.value
    }
}

extension PlanParts {
    var packedKey: PackedKey {
        var hash = FNV1a()
        hash.add(String(cString: ck_version()) + "\0")
        hash.add(settings.block)
        hash.add(layout.constantBytes)
        if case .bytesNHWC(let scale, let shift) = options.input {
            for value in scale + shift { hash.add(Int(value.bitPattern)) }
        }
        if let quantization { hash.add(quantization.json) }
        for (index, step) in layout.program.steps.enumerated() {
            // Of its own: scale and shift of pictures are counted.
            let offsets = step.inputs.compactMap { layout.constantOffsets[$0] }.filter { $0 >= pictureBytes }
            guard let first = offsets.first else { continue }
            hash.add(first)
            hash.add(offsets.count > 1 ? offsets[1] : -1)
            for offset in offsets.dropFirst(2) { hash.add(offset) }
            for node in step.nodes {
                hash.add(graph.nodes[node].module + "\0")
                if case .batchNorm(_, let eps, _) = graph.nodes[node].operation {
                    hash.add(Int(truncatingIfNeeded: eps.bitPattern))
                }
            }
            if let format = layout.preparations[index].packedFormat { hash.add(Int(truncatingIfNeeded: format)) }
        }
        let isa = String(cString: ck_isa_name(isa))
        return PackedKey(
            hash: hash.value,
            text:
                "\(graph.modelName) on \(isa), pictures \(NodeShape.map(input)), at most \(settings.batch) at a time, "
                + "\(options.accuracy.rawValue) accuracy, \(precision.rawValue), kernels \(String(cString: ck_version()))"
        )
    }

    /// Scale and shift of byte pictures come first among the constants.
    private var pictureBytes: Int {
        guard case .bytesNHWC(let scale, _) = options.input else { return 0 }
        return 2 * roundedUp(roundedUp(scale.count, to: settings.block) * 4, to: ArenaLayout.alignment)
    }
}

/// The first page of the file.
private struct PackedHeader {
    static let magic = Array("CKPACKED".utf8)
    static let revision: UInt32 = 2
    static let bytes = 4096
    private static let textStart = 40

    let key: UInt64
    let constantBytes: Int
    let checksum: UInt32
    let text: String

    init(_ key: PackedKey, constants: UnsafeRawBufferPointer) {
        self.key = key.hash
        constantBytes = constants.count
        checksum = UInt32(truncatingIfNeeded: checksumCRC32(constants))
        text = key.text
    }

    var contents: [UInt8] {
        let text = Array(text.utf8.prefix(Self.bytes - Self.textStart))
        var header = Self.magic
        header += littleEndianBytes(Self.revision) + littleEndianBytes(UInt32(Self.bytes)) + littleEndianBytes(key)
        header += littleEndianBytes(UInt64(constantBytes)) + littleEndianBytes(checksum)
        header += littleEndianBytes(UInt32(text.count)) + text
        return header + [UInt8](repeating: 0, count: Self.bytes - header.count)
    }

    /// Of a file of any contents; compares its length with what it says.
    init(reading file: UnsafeRawBufferPointer) throws(PackedWeightsError.Fault) {
        guard file.count >= Self.magic.count, file.prefix(Self.magic.count).elementsEqual(Self.magic) else {
            throw .notPackedWeights
        }
        guard file.count >= Self.bytes else { throw .length(expected: Self.bytes, found: file.count) }
        func number<T: FixedWidthInteger>(_ offset: Int, _ type: T.Type) -> T {
            T(littleEndian: file.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
        guard number(8, UInt32.self) == Self.revision, number(12, UInt32.self) == UInt32(Self.bytes) else {
            throw .format(expected: Int(Self.revision), found: Int(number(8, UInt32.self)))
        }
        key = number(16, UInt64.self)
        constantBytes = Int(truncatingIfNeeded: number(24, UInt64.self) & UInt64(Int.max))
        checksum = number(32, UInt32.self)
        let textBytes = min(Int(number(36, UInt32.self)), Self.bytes - Self.textStart)
        text = String(decoding: file[Self.textStart..<Self.textStart + textBytes], as: UTF8.self)
        guard file.count - Self.bytes == constantBytes else {
            let (whole, isTooLong) = constantBytes.addingReportingOverflow(Self.bytes)
            throw .length(expected: isTooLong ? Int.max : whole, found: file.count)
        }
    }
}

extension PackedWeightsError.Fault: Error {}

/// A file of packed weights, looked at from outside.
public struct PackedWeights: Sendable {
    /// The file.
    public let path: String
    /// What it was packed for: model, instruction set, picture size and batch, for people.
    public let madeFor: String
    /// Of the file.
    public let bytes: Int
    private let file: MappedFile
    private let header: PackedHeader

    /// Reads the header.
    /// - Throws: `PackedWeightsError`.
    public init(path: String) throws(PackedWeightsError) {
        self.path = path
        do throws(FileFault) { file = try MappedFile(path: path) } catch {
            if case .isEmpty = error { throw PackedWeightsError(path: path, fault: .notPackedWeights) }
            throw PackedWeightsError(path: path, fault: .file("\(error)"))
        }
        do throws(PackedWeightsError.Fault) { header = try PackedHeader(reading: file.bytes) } catch {
            throw PackedWeightsError(path: path, fault: error)
        }
        madeFor = header.text
        bytes = file.bytes.count
    }

    /// Reads all of the file and compares its checksum: what opening leaves out, as it would cost the start more than
    /// everything else.
    /// - Throws: `PackedWeightsError`.
    public func check() throws(PackedWeightsError) {
        let found = UInt32(truncatingIfNeeded: checksumCRC32(constants))
        guard found == header.checksum else {
            throw PackedWeightsError(path: path, fault: .checksum(expected: header.checksum, found: found))
        }
    }

    fileprivate var constants: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: file.bytes[PackedHeader.bytes...])
    }

    /// Nothing unless the file was packed for `key`.
    fileprivate func match(_ key: PackedKey, constantBytes: Int) throws(PackedWeightsError) {
        guard header.key == key.hash, header.constantBytes == constantBytes else {
            throw PackedWeightsError(path: path, fault: .madeFor(madeFor, wanted: key.text))
        }
    }

    fileprivate var owner: MappedFile { file }
}

extension InferencePlan {
    /// Writes the packed weights, whole or not at all.
    /// - Parameters:
    ///   - path: replaced if it exists.
    ///   - fingerprint: of the model; a plan then opens the file only with the same.
    /// - Throws: `ExecutionError.packedWeights` where the file cannot be written; what stood there before is intact.
    public func writePacked(to path: String, fingerprint: UInt64? = nil) throws(ExecutionError) {
        do throws(FileFault) {
            let contents = UnsafeRawBufferPointer(start: constants.base, count: constants.bytes)
            let file = try AtomicFile(path)
            try file.write(PackedHeader(packedKey.counting(fingerprint), constants: contents).contents)
            try file.write(contents)
            try file.commit()
        } catch {
            throw .packedWeights(PackedWeightsError(path: path, fault: .file("\(error)")))
        }
    }

    /// Compiles `graph` with weights that `writePacked` wrote for the same graph, options and kind of machine.
    ///
    /// - Parameters:
    ///   - graph: of the model whose weights they are.
    ///   - quantization: of that model.
    ///   - path: what `writePacked` wrote.
    ///   - fingerprint: of the model, if the file was written with one.
    ///   - input: the pictures' size, as then.
    ///   - batch: the most pictures one run takes, as then.
    ///   - options: as then, as far as they decide which kernels run.
    ///   - copies: copies the weights to memory on huge pages instead of mapping the file: slower to start, faster to
    ///     run, and not shared with other processes.
    /// - Throws: `packedWeights` for a file that is damaged or was packed for something else, and what compiling throws.
    public convenience init(
        graph: Graph, quantization: Quantization? = nil, packed path: String, fingerprint: UInt64? = nil,
        input: ImageShape, batch: Int = 1, options: PlanOptions = PlanOptions(),
        copies: Bool = false
    ) throws(ExecutionError) {
        let parts = try PlanParts(
            graph: graph, quantization: quantization, input: input, batch: batch, options: options)
        let size = parts.layout.constantBytes
        let packed: PackedWeights
        do throws(PackedWeightsError) {
            packed = try PackedWeights(path: path)
            try packed.match(parts.packedKey.counting(fingerprint), constantBytes: size)
        } catch { throw .packedWeights(error) }
        let mapped = packed.constants.baseAddress!
        let constants: ConstantMemory
        if copies {
            let buffer = try AlignedBuffer(bytes: size, for: "packed weights")
            buffer.base.copyMemory(from: mapped, byteCount: size)
            constants = ConstantMemory(base: buffer.base, bytes: size, owner: buffer)
        } else {
            constants = ConstantMemory(base: mapped, bytes: size, owner: packed.owner)
        }
        try self.init(
            parts: parts, compiled: CompiledProgram(parts.layout), constants: constants,
            thread: ComputeThread(threads: parts.settings.threads))
    }
}
