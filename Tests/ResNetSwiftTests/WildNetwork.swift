// A small network for tests of how weights are found: a CIFAR ResNet of one block a stage, with values of its own, in files
// under whatever names a test wants.

import ResNetSupport
import ResNetSwift

@testable import ResNetWeights

struct WildNetwork {
    let model: Model

    init(_ config: CIFARResNetConfig = try! CIFARResNetConfig(nBlocks: [1, 1, 1], channels: [4, 8, 16])) {
        model = Model.initialized(config.graph(classes: 3), seed: 11)
    }

    var entries: [(name: String, shape: [Int])] { model.graph.parameters.map { ($0.name, $0.shape) } }

    /// The tensors under other names, in the model's order.
    func tensors(_ rename: (String) -> String) -> [(key: String, tensor: Tensor)] {
        model.graph.parameters.map { (rename($0.name), model[$0.name]) }
    }

    /// A file of the container, with tensors under other names and others beside.
    func file(
        _ container: ContainerKind, beside: [(key: String, tensor: Tensor)] = [], metadata: [String: String] = [:],
        under path: [String] = [], _ rename: (String) -> String = { $0 }
    ) throws -> WeightFile {
        try Self.file(container, tensors(rename) + beside, metadata: metadata, under: path)
    }

    static func file(
        _ container: ContainerKind, _ tensors: [(key: String, tensor: Tensor)], metadata: [String: String] = [:],
        under path: [String] = []
    ) throws -> WeightFile {
        let folder = try TemporaryFolder()
        switch container {
        case .torchZip:
            let bytes = BuiltState(tensors).zip(under: path)
            return try WeightFile.open(bytes: bytes, name: "wild.pth")
        case .npz:
            try WeightWriter.write(tensors, metadata: metadata, to: "\(folder.path)/wild.npz", format: .npz)
            return try WeightFile.open("\(folder.path)/wild.npz")
        default:
            // As PyTorch's writer has it: by name, where sizes are equal.
            try WeightWriter.write(
                tensors.sorted { $0.key < $1.key }, metadata: metadata, to: "\(folder.path)/wild.safetensors",
                format: .safetensors)
            return try WeightFile.open("\(folder.path)/wild.safetensors")
        }
    }
}

/// A PyTorch zip of a state dict, made by hand.
struct BuiltState {
    private typealias P = BuiltPickle
    private let tensors: [(key: String, tensor: Tensor)]
    /// Values in place of tensors.
    var replacements: [String: [UInt8]] = [:]

    init(_ tensors: [(key: String, tensor: Tensor)]) { self.tensors = tensors }

    init(_ shapes: [(String, [Int])]) { tensors = shapes.map { ($0.0, Tensor(shape: $0.1, repeating: 1)) } }

    /// The pickle of the state dict's value, with storages from `first` on.
    func value(first: Int = 0) -> [UInt8] {
        P.emptyDict
            + tensors.enumerated().flatMap { index, item in
                let tensor = P.tensor(
                    P.storage(String(first + index), count: item.tensor.count), shape: item.tensor.shape,
                    strides: Self.strides(item.tensor.shape))
                return P.text(item.key) + (replacements[item.key] ?? tensor) + P.setItem
            }
    }

    func storages(first: Int = 0) -> [BuiltZip.Member] {
        tensors.enumerated().map { index, item in
            .init("archive/data/\(first + index)", item.tensor.values.flatMap { littleEndianBytes($0.bitPattern) })
        }
    }

    var count: Int { tensors.count }

    /// The whole file; `path` are keys around the state dict.
    func zip(under path: [String] = []) -> [UInt8] {
        var pickle = value()
        for key in path.reversed() { pickle = P.emptyDict + P.text(key) + pickle + P.setItem }
        return Self.zip(P.proto + pickle + P.stop, storages())
    }

    static func zip(_ pickle: [UInt8], _ storages: [BuiltZip.Member]) -> [UInt8] {
        var archive = BuiltZip(.init("archive/data.pkl", pickle))
        archive.members += storages
        return archive.build()
    }

    private static func strides(_ shape: [Int]) -> [Int] {
        var step = 1
        var result: [Int] = []
        for size in shape.reversed() {
            result.insert(step, at: 0)
            step *= size
        }
        return result
    }
}
