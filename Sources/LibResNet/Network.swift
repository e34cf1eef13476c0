// What a `resnet *` stands for, and the list of those that are open.

import CResNetHeader
import Glibc
import ResNetSwift
import Synchronization

/// A network of a fixed picture size.
final class Network: Sendable {
    let classifier: Classifier
    /// What is seen of each picture.
    let augmentation: TestTimeAugmentation
    /// For the arrays of resnet_predict and resnet_embed.
    let plan: InferencePlan
    /// Floats of a picture's logits; 0 where the weights came without a classifier.
    let classes: Int
    /// Floats of a picture's embedding; 0 where the network has none.
    let features: Int
    // C strings, for as long as the network lives.
    nonisolated(unsafe) let classNames: [UnsafeMutablePointer<CChar>]
    nonisolated(unsafe) let transform: UnsafeMutablePointer<CChar>

    init(_ classifier: Classifier, _ plan: InferencePlan, _ augmentation: TestTimeAugmentation = .none) throws {
        self.classifier = classifier
        self.augmentation = augmentation
        self.plan = plan
        classes = classifier.hasHead ? plan.outputShape(0).count : 0
        features = plan.graph.features == nil ? 0 : plan.outputShape(1).count
        guard let transform = strdup(classifier.transform.json) else { throw Refusal.noMemory }
        self.transform = transform
        classNames = (classifier.classNames ?? []).compactMap { strdup($0) }
    }

    deinit {
        for name in classNames { free(name) }
        free(transform)
    }

    var size: Size2 { Size2(plan.input.height, plan.input.width) }
    var takesFloats: Bool { plan.options.input == .floatNCHW }
}

/// The networks that are open. A `resnet *` is a number that is never used twice, not an address: a closed or foreign one is
/// refused instead of followed, and a running call keeps its network alive.
enum Handles {
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
