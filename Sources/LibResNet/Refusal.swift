// Errors as resnet.h gives them: a status and a sentence in the caller's memory. None leaves a function.

import CResNetHeader
import ResNetSwift

/// An error on its way to the caller.
struct Refusal: Error {
    let status: resnet_status
    let text: String

    static let noMemory = Refusal(RESNET_OUT_OF_MEMORY, "no memory")

    init(_ status: resnet_status, _ text: String) {
        self.status = status
        self.text = text
    }

    init(_ error: any Error) {
        switch error {
        case let refusal as Refusal: self = refusal
        case is WeightFileError, is ONNXError: self.init(RESNET_BAD_FILE, "\(error)")
        case is ModelError: self.init(RESNET_INVALID_ARGUMENT, "\(error)")
        case let error as PictureError: self.init(Self.status(error), "\(error)")
        case let error as ClassifierError: self.init(Self.status(error), "\(error)")
        case let error as ExecutionError: self.init(Self.status(error), "\(error)")
        default: self.init(RESNET_FAILED, "\(error)")
        }
    }

    private static func status(_ error: PictureError) -> resnet_status {
        switch error.fault {
        case .outOfMemory, .transform(.outOfMemory): RESNET_OUT_OF_MEMORY
        default: RESNET_BAD_FILE
        }
    }

    private static func status(_ error: ClassifierError) -> resnet_status {
        switch error.kind {
        case .weights: RESNET_BAD_FILE
        case .argument: RESNET_INVALID_ARGUMENT
        case .unsupported: RESNET_UNSUPPORTED
        case .plan(let error): status(error)
        }
    }

    private static func status(_ error: ExecutionError) -> resnet_status {
        switch error {
        case .outOfMemory, .noThread: RESNET_OUT_OF_MEMORY
        case .packedWeights: RESNET_BAD_FILE
        case .graph, .input, .notQuantized, .nothingInBF16: RESNET_UNSUPPORTED
        case .kernel(let error): error.status == .outOfMemory ? RESNET_OUT_OF_MEMORY : RESNET_FAILED
        default: RESNET_FAILED
        }
    }
}

/// Runs a function's body; no error leaves it.
func answer(_ error: UnsafeMutablePointer<resnet_error>?, _ body: () throws -> Void) -> resnet_status {
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

func write(_ text: String, _ error: UnsafeMutablePointer<resnet_error>?) {
    guard let error else { return }
    withUnsafeMutableBytes(of: &error.pointee) { copy(text, to: $0) }
}

/// As a C string, cut where it is too long, but never within a character.
func copy(_ text: String, to target: UnsafeMutableRawBufferPointer) {
    let bytes = Array(text.utf8)
    var count = min(bytes.count, target.count - 1)
    while count > 0 && count < bytes.count && bytes[count] & 0xC0 == 0x80 { count -= 1 }
    target.copyBytes(from: bytes.prefix(count))
    target[count] = 0
}
