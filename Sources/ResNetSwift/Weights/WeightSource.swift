// Which files hold the weights: the one that was named; in a folder as Hugging Face and timm write it, the one that stands
// for the model, or the shards that an index lists; and the configuration beside them.

import Glibc
import ResNetSupport

struct WeightSource {
    let files: [MappedFile]
    let config: ModelConfig?

    /// In the order of preference, as transformers and timm have it.
    private static let names = [
        "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
        "pytorch_model.pth", "model.pth",
    ]
    private static let endings = [".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pth.tar", ".npz"]
    private static let maximumShards = 1_000

    init(_ path: String) throws(WeightFileError) {
        var file = path
        if Self.isFolder(path) {
            let found = try naming(path) { () throws(WeightFault) in try Self.file(in: path) }
            file = "\(path.trimmedSlashes)/\(found)"
        }
        let name = file.split(separator: "/").last.map(String.init) ?? file
        let folder = String(file.dropLast(name.count)).trimmedSlashes
        var paths = [file]
        if name.hasSuffix(".index.json") {
            paths = try naming(file) { () throws(WeightFault) in try Self.shards(file) }.map {
                folder.isEmpty ? $0 : "\(folder)/\($0)"
            }
        }
        var files: [MappedFile] = []
        for path in paths { files.append(try naming(path) { () throws(FileFault) in try MappedFile(path: path) }) }
        self.files = files
        let isPublished = Self.names.contains(name) || Self.isFolder(path)
        config =
            isPublished
            ? try naming(file) { () throws(WeightFault) in try ModelConfig(folder: folder.isEmpty ? "." : folder) }
            : nil
    }

    /// The tensors of all files.
    func contents() throws(WeightFault) -> (ContainerKind, ContainerContents) {
        var (kind, contents) = try readContainer(files[0].bytes)
        guard files.count > 1 else { return (kind, contents) }
        guard contents.mappings.count == 1 else { throw .malformed(part: "shard 1", problem: "it is no state dict") }
        for index in files.indices.dropFirst() {
            let (other, part) = try readContainer(files[index].bytes)
            guard other == kind, part.mappings.count == 1, part.mappings[0].path.isEmpty else {
                throw .malformed(part: "shard \(index + 1)", problem: "it is no state dict, or of another kind")
            }
            for var tensor in part.mappings[0].tensors {
                tensor.file = index
                contents.mappings[0].tensors.append(tensor)
            }
            contents.mappings[0].unread += part.mappings[0].unread
            contents.mappings[0].isInModuleOrder = false
        }
        return (kind, contents)
    }

    private static func isFolder(_ path: String) -> Bool {
        path.fileStatus.map { $0.st_mode & S_IFMT == S_IFDIR } ?? false
    }

    /// The name of the weights in a folder.
    private static func file(in folder: String) throws(WeightFault) -> String {
        guard let found = folder.namesInFolder().map({ Set($0) }) else {
            throw .cannotRead(String(cString: strerror(errno)))
        }
        if let known = names.first(where: found.contains) { return known }
        let weights = found.filter { name in endings.contains { name.hasSuffix($0) } }.sorted()
        guard weights.count != 1 else { return weights[0] }
        throw .cannotRead(
            weights.isEmpty
                ? "it is a directory without weights; expected model.safetensors or pytorch_model.bin in it"
                : "it is a directory of several weight files; give one of them: \(weights.prefix(12).joined(separator: ", "))"
        )
    }

    /// The files that an index names: `{"weight_map": {"conv1.weight": "model-00001-of-00002.safetensors", ...}}`.
    private static func shards(_ path: String) throws(WeightFault) -> [String] {
        let file: MappedFile
        do throws(FileFault) { file = try MappedFile(path: path) } catch { throw WeightFault(error) }
        let index: JSONValue
        do throws(JSONError) { index = try JSONValue.parse(file.bytes) } catch {
            throw .malformed(part: "index", problem: "\(error)")
        }
        guard case .object(let members)? = index["weight_map"], !members.isEmpty else {
            throw .malformed(part: "index", problem: "it has no weight_map")
        }
        var names: [String] = []
        for member in members {
            guard let name = member.value.stringValue, !name.isEmpty, !name.contains("/"), name != "..", name != "."
            else { throw .malformed(part: "index", problem: "\(member.key) is in no file of this folder") }
            if !names.contains(name) { names.append(name) }
            guard names.count <= maximumShards else {
                throw .exceedsLimit("an index of more than \(maximumShards) files")
            }
        }
        return names.sorted()
    }
}

extension String {
    /// Without slashes at the end; `/` stays.
    fileprivate var trimmedSlashes: String {
        var text = self
        while text.count > 1, text.hasSuffix("/") { text.removeLast() }
        return text
    }
}
