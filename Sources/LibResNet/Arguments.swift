// C's arguments as Swift's, each checked before it is used.

import CResNetHeader
import ResNetSwift

/// A text of the caller's. Swift's strings are Unicode: other bytes would be changed on the way, and another file opened.
func text(_ bytes: UnsafePointer<CChar>, _ name: String) throws -> String {
    guard let text = String(validatingCString: bytes) else {
        throw Refusal(RESNET_INVALID_ARGUMENT, "\(name): expected UTF-8, found \(String(cString: bytes))")
    }
    return text
}

func required<T>(_ pointer: T?, _ name: String, _ what: String = "memory") throws -> T {
    guard let pointer else { throw Refusal(RESNET_INVALID_ARGUMENT, "\(name): expected \(what), found NULL") }
    return pointer
}

/// The caller's bytes, copied.
func copied(_ bytes: UnsafeRawPointer, _ count: Int, _ name: String) throws -> [UInt8] {
    guard 1...Picture.fileLimit << 8 ~= count else {
        throw Refusal(
            RESNET_INVALID_ARGUMENT,
            "\(name): expected 1 to \(Picture.fileLimit << 8) bytes, found \(UInt(bitPattern: count))")
    }
    return Array(UnsafeRawBufferPointer(start: bytes, count: count))
}

/// - Parameter size: floats, or what is as large, for each picture.
func check(count: Int64, of size: Int) throws {
    let most = Int64(Int.max / 16 / max(size, 1))
    guard count >= 1, count <= most else {
        throw Refusal(RESNET_INVALID_ARGUMENT, "count: expected 1...\(most) pictures, found \(count)")
    }
}

/// Floats and scores lie on multiples of 4 bytes.
func checkAlignment(_ name: String, _ pointer: UnsafeRawPointer) throws {
    guard UInt(bitPattern: pointer) % 4 != 0 else { return }
    throw Refusal(RESNET_INVALID_ARGUMENT, "\(name): expected a multiple of 4 bytes as address, found \(pointer)")
}

extension Network {
    func requireHead() throws { try classifier.requireHead() }

    func requireFeatures() throws {
        guard features > 0 else {
            throw Refusal(RESNET_UNSUPPORTED, "\(classifier.name) has no embedding before its logits")
        }
    }

    /// Views are of pictures that have not been through the transform.
    func requireOneView() throws {
        guard augmentation == .none else {
            throw Refusal(
                RESNET_UNSUPPORTED,
                "pictures: expected files or pixels for the views \(augmentation.rawValue), found arrays, which have been "
                    + "through the transform already")
        }
    }

    func check(k: Int32) throws {
        guard k >= 1, k <= classes else {
            throw Refusal(RESNET_INVALID_ARGUMENT, "k: expected 1...\(classes) classes, found \(k)")
        }
    }
}
