// What a container reader hands over: where each tensor's bytes are and how to read them. Nothing is converted yet.

/// A tensor as it lies in the file.
struct StoredTensor: Sendable {
    let key: String
    let type: ElementType
    let bigEndian: Bool
    /// Verified against the size of `payload`.
    let geometry: TensorGeometry
    let payload: Payload

    enum Payload: Sendable {
        /// The storage's bytes, as they are, in this range of the file.
        case raw(Range<Int>)
        /// A deflated zip member; the storage is what follows the first `skip` inflated bytes.
        case deflated(ZipMember, skip: Int)
    }
}

/// Everything a reader found in a file.
struct ContainerContents: Sendable {
    var tensors: [StoredTensor] = []
    /// Text that travels with the weights, e.g. class names.
    var metadata: [String: String] = [:]
    /// The keys under which the state dict lay, outermost first, e.g. `["state_dict"]`.
    var wrapper: [String] = []
    /// What the file holds beside tensors and metadata, by key; nothing reads it.
    var ignored: [String] = []
}
