// resnet.h in Swift: libresnet.so's functions. Each turns C's arguments into Swift's and every error into a status and a
// sentence; none lets an error out.

import CResNet
import Glibc
import ResNetSwift
import Synchronization

/// What a `resnet *` stands for.
private final class Network: Sendable {
    let plan: InferencePlan
    let model: String
    let classes: Int
    let features: Int
    /// C strings, for as long as the network lives.
    nonisolated(unsafe) let classNames: [UnsafeMutablePointer<CChar>]

    init(plan: InferencePlan, model: String, classNames names: [String]?) {
        self.plan = plan
        self.model = model
        classes = plan.outputShape(0).count
        features = plan.graph.features == nil ? 0 : plan.outputShape(1).count
        classNames = names.map { $0.count == plan.outputShape(0).count ? $0.compactMap { strdup($0) } : [] } ?? []
    }

    deinit { for name in classNames { free(name) } }
}

/// The networks that are open. A `resnet *` is a number that was never given out before, not an address: one that is
/// closed, or was never opened, is found out instead of followed, and a call that runs keeps its network alive.
private enum Handles {
    private static let open = Mutex((next: UInt(0x5E_0000_0000), networks: [UInt: Network]()))

    static func add(_ network: Network) -> OpaquePointer {
        open.withLock { open in
            open.next += 16
            open.networks[open.next] = network
            return OpaquePointer(bitPattern: open.next)!
        }
    }

    static func network(_ handle: OpaquePointer?) throws -> Network {
        guard let handle else { throw Refusal(RESNET_INVALID_ARGUMENT, "network: expected an open one, found NULL") }
        guard let network = open.withLock({ $0.networks[UInt(bitPattern: handle)] }) else {
            throw Refusal(
                RESNET_INVALID_ARGUMENT, "network: expected an open one, found \(handle), closed or never opened")
        }
        return network
    }

    /// - Returns: the network, so that it ends outside of the lock.
    static func remove(_ handle: OpaquePointer) -> Network? {
        open.withLock { $0.networks.removeValue(forKey: UInt(bitPattern: handle)) }
    }
}

private struct Refusal: Error {
    let status: resnet_status
    let text: String

    init(_ status: resnet_status, _ text: String) {
        self.status = status
        self.text = text
    }

    init(_ error: any Error) {
        switch error {
        case let refusal as Refusal: self = refusal
        case is WeightFileError: self.init(RESNET_BAD_FILE, "\(error)")
        case is ModelError: self.init(RESNET_INVALID_ARGUMENT, "\(error)")
        case let error as ExecutionError: self.init(Self.status(error), "\(error)")
        default: self.init(RESNET_FAILED, "\(error)")
        }
    }

    private static func status(_ error: ExecutionError) -> resnet_status {
        switch error {
        case .outOfMemory, .noThread: RESNET_OUT_OF_MEMORY
        case .packedWeights: RESNET_BAD_FILE
        case .graph, .input: RESNET_UNSUPPORTED
        case .kernel(let error): error.status == .outOfMemory ? RESNET_OUT_OF_MEMORY : RESNET_FAILED
        default: RESNET_FAILED
        }
    }
}

private func write(_ text: String, _ error: UnsafeMutablePointer<resnet_error>?) {
    guard let error else { return }
    withUnsafeMutableBytes(of: &error.pointee) { copy(text, to: $0) }
}

/// As a C string, cut where it is too long, but never within a character.
private func copy(_ text: String, to target: UnsafeMutableRawBufferPointer) {
    let bytes = Array(text.utf8)
    var count = min(bytes.count, target.count - 1)
    while count > 0 && count < bytes.count && bytes[count] & 0xC0 == 0x80 { count -= 1 }
    target.copyBytes(from: bytes.prefix(count))
    target[count] = 0
}

private func answer(
    _ error: UnsafeMutablePointer<resnet_error>?, _ body: () throws -> Void
) -> resnet_status {
    do {
        try body()
        write("", error)
        return RESNET_OK
    } catch let thrown {
        let refusal = Refusal(thrown)
        write(refusal.text, error)
        return refusal.status
    }
}

private nonisolated(unsafe) let version: UnsafePointer<CChar> = UnsafePointer(strdup(Machine.kernelVersion))

@_cdecl("resnet_version")
public func resnetVersion() -> UnsafePointer<CChar> { version }

@_cdecl("resnet_open")
public func resnetOpen(
    _ weights: UnsafePointer<CChar>?, _ options: UnsafePointer<resnet_options>?,
    _ network: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    network?.pointee = nil
    return answer(error) {
        guard let weights else { throw Refusal(RESNET_INVALID_ARGUMENT, "weights: expected a path, found NULL") }
        guard let network else {
            throw Refusal(RESNET_INVALID_ARGUMENT, "network: expected a place for the network, found NULL")
        }
        let opened = try open(try path(weights, "weights"), options?.pointee ?? resnet_options())
        network.pointee = Handles.add(opened)
    }
}

/// Swift's strings are Unicode: other bytes would be changed on the way, and another file opened.
private func path(_ bytes: UnsafePointer<CChar>, _ name: String) throws -> String {
    guard let text = String(validatingCString: bytes) else {
        throw Refusal(
            RESNET_INVALID_ARGUMENT, "\(name): expected a path in UTF-8, found \(String(cString: bytes))")
    }
    return text
}

private func open(_ path: String, _ options: resnet_options) throws -> Network {
    for (name, value) in [("height", options.height), ("width", options.width), ("batch", options.batch)]
    where value < 0 || value > 1 << 16 {
        throw Refusal(RESNET_INVALID_ARGUMENT, "options.\(name): expected 0...65536, found \(value)")
    }
    guard options.threads >= 0, options.threads <= 1024 else {
        throw Refusal(RESNET_INVALID_ARGUMENT, "options.threads: expected 0...1024, found \(options.threads)")
    }
    guard options.input == RESNET_FLOATS || options.input == RESNET_BYTES else {
        throw Refusal(
            RESNET_INVALID_ARGUMENT,
            "options.input: expected RESNET_FLOATS or RESNET_BYTES, found \(options.input.rawValue)")
    }
    _ = try Machine.instructionSet()
    let asked = try options.model.map { try ModelName(named: String(cString: $0)) }
    let model = try Model(from: try WeightFile.open(path), named: asked)
    let name = model.metadata[MetadataKey.model] ?? model.graph.modelName
    let stored = try model.metadata[MetadataKey.transform].map { text in
        do { return try ImageTransform(json: text) } catch { throw Refusal(RESNET_BAD_FILE, "\(path): \(error)") }
    }
    let usual = stored?.fixedOutputSize ?? ModelName(rawValue: name)?.defaultInputSize ?? 224
    let size = Size2(
        options.height > 0 ? Int(options.height) : usual.height, options.width > 0 ? Int(options.width) : usual.width)
    let channels = model.graph.inputChannels ?? 3
    var planOptions = PlanOptions(threads: Int(options.threads), accuracy: options.strict == 0 ? .default : .strict)
    if options.input == RESNET_BYTES {
        let transform = stored ?? (usual == 32 ? .cifar() : .imageNetV1())
        guard transform.channels == channels else {
            throw Refusal(
                RESNET_UNSUPPORTED,
                "\(path): bytes need to know how \(channels) channels are normalized; the weights say so for "
                    + "\(transform.channels)")
        }
        planOptions.input = .bytesNHWC(scale: transform.scale, shift: transform.shift)
    }
    let plan = try plan(
        model, ImageShape(channels: channels, height: size.height, width: size.width),
        batch: options.batch == 0 ? 8 : Int(options.batch), planOptions,
        packed: try options.packed.map { try ResNetC.path($0, "options.packed") })
    let isImageNet = plan.outputShape(0).count == ImageNet.classNames.count
    return Network(plan: plan, model: name, classNames: model.classNames ?? (isImageNet ? ImageNet.classNames : nil))
}

private func plan(
    _ model: Model, _ picture: ImageShape, batch: Int, _ options: PlanOptions, packed: String?
) throws -> InferencePlan {
    func mapped(_ path: String) throws -> InferencePlan {
        try InferencePlan(
            graph: model.graph, packed: path, fingerprint: model.fingerprint, input: picture, batch: batch,
            options: options)
    }
    if let packed, access(packed, F_OK) == 0 { return try mapped(packed) }
    // What is packed is not needed twice: the file's pages may go.
    let made = try InferencePlan(
        model: model, input: picture, batch: batch, options: options,
        didConsume: { model[$0].storage.discardPages() })
    guard let packed else { return made }
    try made.writePacked(to: packed, fingerprint: model.fingerprint)
    // The first process shares the file's memory too.
    return try mapped(packed)
}

@_cdecl("resnet_describe")
public func resnetDescribe(_ network: OpaquePointer?, _ info: UnsafeMutablePointer<resnet_info>?) -> resnet_status {
    guard let network = try? Handles.network(network), let info else { return RESNET_INVALID_ARGUMENT }
    let plan = network.plan
    info.pointee = resnet_info()
    if case .floatNCHW = plan.options.input {
        info.pointee.input = RESNET_FLOATS
    } else {
        info.pointee.input = RESNET_BYTES
    }
    info.pointee.channels = Int32(plan.input.channels)
    info.pointee.height = Int32(plan.input.height)
    info.pointee.width = Int32(plan.input.width)
    info.pointee.classes = Int32(network.classes)
    info.pointee.features = Int32(network.features)
    info.pointee.threads = Int32(plan.threads)
    info.pointee.has_class_names = network.classNames.isEmpty ? 0 : 1
    withUnsafeMutableBytes(of: &info.pointee.model) { copy(network.model, to: $0) }
    return RESNET_OK
}

@_cdecl("resnet_class_name")
public func resnetClassName(_ network: OpaquePointer?, _ index: Int32) -> UnsafePointer<CChar>? {
    guard let names = try? Handles.network(network).classNames, names.indices.contains(Int(index)) else { return nil }
    return UnsafePointer(names[Int(index)])
}

@_cdecl("resnet_predict")
public func resnetPredict(
    _ network: OpaquePointer?, _ pictures: UnsafeRawPointer?, _ count: Int64, _ logits: UnsafeMutablePointer<Float>?,
    _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    answer(error) {
        let network = try Handles.network(network)
        guard let logits else { throw Refusal(RESNET_INVALID_ARGUMENT, "logits: expected memory, found NULL") }
        try run(network, pictures, count, logits, features: nil)
    }
}

@_cdecl("resnet_embed")
public func resnetEmbed(
    _ network: OpaquePointer?, _ pictures: UnsafeRawPointer?, _ count: Int64, _ embedding: UnsafeMutablePointer<Float>?,
    _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    answer(error) {
        let network = try Handles.network(network)
        guard network.features > 0 else {
            throw Refusal(RESNET_UNSUPPORTED, "\(network.model) has no embedding before its logits")
        }
        guard let embedding else { throw Refusal(RESNET_INVALID_ARGUMENT, "embedding: expected memory, found NULL") }
        try run(network, pictures, count, nil, features: embedding)
    }
}

private func run(
    _ network: Network, _ pictures: UnsafeRawPointer?, _ count: Int64, _ logits: UnsafeMutablePointer<Float>?,
    features: UnsafeMutablePointer<Float>?
) throws {
    guard let pictures else { throw Refusal(RESNET_INVALID_ARGUMENT, "pictures: expected memory, found NULL") }
    let most = Int64(Int.max / 16 / max(network.plan.input.count, network.classes, network.features))
    guard count >= 1, count <= most else {
        throw Refusal(RESNET_INVALID_ARGUMENT, "count: expected 1...\(most) pictures, found \(count)")
    }
    let floats: [(String, UnsafeRawPointer?)] = [
        ("pictures", network.plan.options.input == .floatNCHW ? pictures : nil),
        ("logits", logits.map(UnsafeRawPointer.init)), ("embedding", features.map(UnsafeRawPointer.init)),
    ]
    for (name, pointer) in floats where UInt(bitPattern: pointer) % 4 != 0 {
        throw Refusal(RESNET_INVALID_ARGUMENT, "\(name): expected floats on a multiple of 4 bytes, found \(pointer!)")
    }
    try network.plan.predict(pictures, images: Int(count), logits: logits, features: features)
}

@_cdecl("resnet_close")
public func resnetClose(_ network: OpaquePointer?) {
    guard let network else { return }
    _ = Handles.remove(network)
}
