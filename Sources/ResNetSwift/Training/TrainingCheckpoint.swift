// A checkpoint of a run: one safetensors file that is a model for everybody and a run for the trainer.
//
//     conv1.weight ...                  what is validated and classified with: the parameters, or their moving average
//     training.raw.conv1.weight ...     the parameters themselves, where the above are averages
//     training.optimizer.NAME ...       what the optimizer remembers
//     __metadata__                      model, classes, transform; `training`: state and settings of the run as JSON
//
// Written beside the old one, flushed and renamed: a kill at any moment leaves the old file or the new one, whole.

import Glibc
import ResNetGraph
import ResNetSupport
import ResNetWeights

struct TrainingCheckpoint: Sendable {
    /// What a classifier loads.
    var parameters: [String: Tensor]
    /// The parameters that training goes on from, where those above are averages of them.
    var raw: [String: Tensor]?
    var optimizer: [String: Tensor]
    var state: RunState
    /// What must be the same in a run that goes on from here, in words.
    var settings: [String: String]

    private static let rawPrefix = "training.raw."
    private static let optimizerPrefix = "training.optimizer."
    private static let version = 1

    /// - Parameter order: keys of the parameters, in the order of the file.
    func write(to path: String, order: [String], metadata: [String: String]) throws(WeightFileError) {
        var tensors = order.map { (key: $0, tensor: parameters[$0]!) }
        if let raw { tensors += order.map { (key: Self.rawPrefix + $0, tensor: raw[$0]!) } }
        tensors += optimizer.sorted { $0.key < $1.key }.map { (key: Self.optimizerPrefix + $0.key, tensor: $0.value) }
        let text = JSONValue.object([
            JSONMember(key: "version", value: .integer(Self.version)),
            JSONMember(
                key: "settings",
                value: .object(
                    settings.sorted { $0.key < $1.key }.map { JSONMember(key: $0.key, value: .string($0.value)) })),
            JSONMember(key: "state", value: state.json),
        ]).text
        try WeightWriter.write(
            tensors, metadata: metadata.merging([MetadataKey.training: text]) { $1 }, to: path, format: .safetensors)
    }

    /// The file that `write` makes, for another process.
    func bytes(order: [String], metadata: [String: String]) throws(WeightFileError) -> [UInt8] {
        let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        let path = "\(folder)/resnet-\(getpid()).safetensors"
        defer { unlink(path) }
        try write(to: path, order: order, metadata: metadata)
        return try naming(path) { () throws(FileFault) in
            let file = try MappedFile(path: path)
            return withExtendedLifetime(file) { Array(file.bytes) }
        }
    }

    /// The first field that differs from what a run was begun with, if any may not.
    func mismatch(_ own: [String: String], allowed: Set<String>) -> (field: String, expected: String, found: String)? {
        for field in Set(own.keys).union(settings.keys).sorted() where !allowed.contains(field) {
            if own[field] != settings[field] {
                return (field, settings[field] ?? "nothing", own[field] ?? "nothing")
            }
        }
        return nil
    }
}

extension TrainingCheckpoint {
    /// - Parameter shapes: of the graph's parameters, by key.
    init(contentsOf path: String, shapes: [String: [Int]]) throws {
        try self.init(WeightFile.open(path), path, shapes)
    }

    /// - Parameter bytes: as `bytes` gives them.
    init(bytes: [UInt8], shapes: [String: [Int]]) throws {
        let name = "the state of process 0"
        try self.init(WeightFile.open(bytes: bytes, name: name), name, shapes)
    }

    private init(_ file: WeightFile, _ path: String, _ shapes: [String: [Int]]) throws {
        func fault(_ expected: String, _ found: String) -> TrainingError {
            .checkpoint(path: path, expected: expected, found: found)
        }
        guard let text = file.metadata[MetadataKey.training] else {
            throw fault("the checkpoint of a training run", "weights alone")
        }
        let json: JSONValue
        do { json = try JSONValue.parse(text) } catch { throw fault("the state of a run", "\(error)") }
        guard json["version"]?.integerValue == Self.version else {
            throw fault("version \(Self.version) of the state", json["version"]?.text ?? "none")
        }
        guard let state = json["state"].flatMap(RunState.init(json:)), case .object(let fields)? = json["settings"]
        else {
            throw fault("the state of a run", "something that cannot be understood")
        }
        self.state = state
        settings = [:]
        for field in fields { settings[field.key] = field.value.stringValue ?? "" }

        func read(_ prefix: String) throws -> [String: Tensor] {
            var tensors: [String: Tensor] = [:]
            for (name, shape) in shapes {
                guard let entry = file.entry(prefix + name), entry.shape == shape else {
                    let found = file.entry(prefix + name).map { "\($0.shape)" } ?? "none"
                    throw fault("a tensor \(prefix)\(name) \(shape)", found)
                }
                tensors[name] = try file.tensor(entry.key)
            }
            return tensors
        }
        parameters = try read("")
        raw = file.entries.contains { $0.key.hasPrefix(Self.rawPrefix) } ? try read(Self.rawPrefix) : nil
        optimizer = [:]
        for entry in file.entries where entry.key.hasPrefix(Self.optimizerPrefix) {
            optimizer[String(entry.key.dropFirst(Self.optimizerPrefix.count))] = try file.tensor(entry.key)
        }
    }
}
