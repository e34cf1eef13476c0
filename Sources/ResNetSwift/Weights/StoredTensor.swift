// What a container reader hands over: where each tensor's bytes are and how to read them. Nothing is converted yet.

import ResNetSupport

/// A tensor as it lies in the file.
struct StoredTensor: Sendable {
    let key: String
    let type: ElementType
    let bigEndian: Bool
    /// Verified against the size of `payload`.
    let geometry: TensorGeometry
    let payload: Payload
    /// Which of the files that hold the weights: shards come in several.
    var file = 0
    /// Of signed bytes that stand for floats: their scales, one for each entry of the first axis.
    var scales: [Float]?

    /// Can stand for weights.
    var isWeight: Bool { type.isFloatingPoint || scales != nil }

    enum Payload: Sendable {
        /// The storage's bytes, as they are, in this range of the file.
        case raw(Range<Int>)
        /// A deflated zip member; the storage is what follows the first `skip` inflated bytes.
        case deflated(ZipMember, skip: Int)
        /// Bytes that a pickle carries itself.
        case pickled(PickledBytes)
    }
}

/// The bytes of an array inside a pickle.
struct PickledBytes: Sendable {
    /// The pickle where it is not in the file as it is; nil means the file.
    let owner: MappedFile?
    let range: Range<Int>
    /// The bytes are the characters of a text in UTF-8.
    let isLatin1Text: Bool
}

/// A tensor of the file that is not read, and why.
public struct UnreadTensor: Sendable, Hashable {
    /// The key in the file.
    public let key: String
    /// In words, e.g. `its dtype is <U4`.
    public let reason: String
}

/// Tensors under names: a state dict. A pickle can hold several.
struct TensorMapping: Sendable {
    /// The keys under which it lies, outermost first, e.g. `["state_dict"]`.
    var path: [String] = []
    var tensors: [StoredTensor] = []
    var unread: [UnreadTensor] = []
    /// Why its tensors cannot be had; thrown if it is the one that is wanted.
    var fault: WeightFault?
    /// The order of the tensors is that of the modules. (safetensors' writers sort by size and name.)
    var isInModuleOrder = true
    /// By path, where whole modules were pickled.
    var modules: [String: PickledModule] = [:]

    /// E.g. `model_ema > module`; empty for the file's top.
    var title: String { path.joined(separator: " > ") }
}

/// What a pickled `torch.nn.Module` says about itself.
struct PickledModule: Sendable, Hashable {
    /// E.g. `torch.nn.modules.conv.Conv2d`.
    let className: String
    /// Numbers that change what it computes, e.g. `stride`: 2, 2.
    let settings: [String: [Double]]
}

/// Text that a pickle holds beside its tensors.
struct PickledFact: Sendable, Hashable {
    /// Of the dict or object that has it.
    let path: [String]
    let key: String
    let text: String
}

/// Everything a reader found in a file.
struct ContainerContents: Sendable {
    /// Those without tensors are left out; in the file's order.
    var mappings: [TensorMapping] = []
    /// Text that travels with the weights of safetensors and npz, e.g. class names.
    var metadata: [String: String] = [:]
    /// The same in pickles, at any depth.
    var facts: [PickledFact] = []
    /// What the file holds beside tensors and facts, by path; nothing reads it.
    var others: [(path: [String], what: String)] = []

    init() {}

    /// Of a container that holds one flat list of tensors.
    /// - Throws: `unsupported` where it holds only what is not read.
    init(flat mapping: TensorMapping) throws(WeightFault) {
        if mapping.tensors.isEmpty, let first = mapping.unread.first {
            throw .unsupported("\(first.key): \(first.reason)")
        }
        mappings = [mapping]
    }
}
