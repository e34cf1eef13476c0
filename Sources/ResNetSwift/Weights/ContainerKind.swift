// Which container a file is, recognized by its first bytes, never by its name.

/// The containers of weights that are read, recognized by content.
public enum ContainerKind: String, Sendable, Hashable, CaseIterable {
    /// NumPy `savez` and `savez_compressed`.
    case npz
    /// One NumPy array.
    case npy
    /// Hugging Face's format: a JSON header and raw tensors.
    case safetensors
    /// PyTorch 1.6 and later.
    case torchZip
    /// PyTorch 0.1.10 to 1.5.
    case torchStream
    /// PyTorch 0.1.9 and earlier.
    case torchTar
    /// Python's pickle of a dict of NumPy arrays.
    case pickle

    /// In words, for people.
    public var title: String {
        switch self {
        case .npz: "NumPy npz"
        case .npy: "NumPy npy"
        case .safetensors: "safetensors"
        case .torchZip: "PyTorch zip"
        case .torchStream: "PyTorch stream (before 1.6)"
        case .torchTar: "PyTorch tar (before 0.1.10)"
        case .pickle: "Python pickle"
        }
    }
}

/// Recognizes the container and reads its directory; throws what the file is instead where it is none.
func readContainer(_ file: UnsafeRawBufferPointer) throws(WeightFault) -> (ContainerKind, ContainerContents) {
    guard !file.isEmpty else { throw .notWeights("the file is empty") }
    if file.has("PK\u{3}\u{4}") || file.has("PK\u{5}\u{6}") {
        let archive = try ZipArchive(file)
        if let pickle = TorchZip.pickleMember(archive) {
            return (.torchZip, try TorchZip.read(file, archive, pickle: pickle))
        }
        guard archive.members.contains(where: { $0.name.hasSuffix(".npy") }) else {
            let names = archive.members.prefix(4).map(\.name).joined(separator: ", ")
            throw .notWeights("a zip archive with neither npy arrays nor a data.pkl; it holds: \(names)")
        }
        return (.npz, try Npz.read(file, archive))
    }
    if TorchStream.begins(file) { return (.torchStream, try TorchStream.read(file)) }
    if file[0] == 0x93, file.has("NUMPY", at: 1) { return (.npy, try Npz.readSingle(file)) }
    if file.has("version https://git-lfs") { throw .gitLFSPointer }
    // A header's length can begin with any byte, `<` too; a page that is taken for a length is longer than any file.
    if beginsAsSafetensors(file) { return (.safetensors, try Safetensors.read(file)) }
    if looksLikeHTML(file) { throw .htmlPage }
    if file.has("ustar", at: 257) || TarArchive.isHeader(file) { return (.torchTar, try TorchTar.read(file)) }
    // Whatever number stands before it: a brace at byte 8 is a safetensors header, or a damaged one.
    if file.count > 8, file[8] == UInt8(ascii: "{") { return (.safetensors, try Safetensors.read(file)) }
    if BarePickle.begins(file) { return (.pickle, try BarePickle.read(file)) }
    throw .notWeights(otherKind(file))
}

/// A length that fits, and the header's brace.
private func beginsAsSafetensors(_ file: UnsafeRawBufferPointer) -> Bool {
    guard file.count > 8, file[8] == UInt8(ascii: "{") else { return false }
    return UInt64(littleEndian: file.loadUnaligned(as: UInt64.self)) <= UInt64(file.count - 8)
}

/// `<` after an optional byte order mark and spaces.
private func looksLikeHTML(_ file: UnsafeRawBufferPointer) -> Bool {
    let text = file.has("\u{feff}") ? file.dropFirst(3) : file[...]
    return text.prefix(1024).first { $0 != 0x20 && $0 != 0x09 && $0 != 0x0a && $0 != 0x0d } == UInt8(ascii: "<")
}

/// A guess at what else people keep under such names, to help them on.
private func otherKind(_ file: UnsafeRawBufferPointer) -> String {
    if file.has("PK") { return "a damaged zip archive" }
    if file[0] == 0x1f, file.count > 1, file[1] == 0x8b { return "compressed by gzip; decompress it first" }
    if file[0] == 0x89, file.has("HDF", at: 1) { return "HDF5 (Keras .h5), which is not read; export to npz" }
    if file[0] == UInt8(ascii: "{") { return "JSON text" }
    if file.has("CKPACKED") { return "packed weights, made from a weight file; give that one, and this with --packed" }
    if file.allSatisfy({ $0 == 0 }) { return "zeros only; an unfinished download?" }
    if file.count > 8, file[0] == 0x08, file[1] < 0x20 { return "ONNX, which `Model(onnx:)` reads" }
    let start = file.prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
    return "it begins with the bytes \(start); npz, npy, safetensors and PyTorch files are read"
}
