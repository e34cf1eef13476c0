// Memory for kernels: 64-byte aligned, zeroed, on huge pages where large; freed with its owner.
import CKernels

final class AlignedBuffer: @unchecked Sendable {
    // Unchecked: the address never changes; who may write what and when is the plan's and the workspace's rule.
    let base: UnsafeMutableRawPointer
    let bytes: Int

    init(bytes: Int, for purpose: @autoclosure () -> String) throws(ExecutionError) {
        guard let memory = ck_alloc(bytes) else { throw .outOfMemory(bytes: bytes, for: purpose()) }
        base = memory
        self.bytes = bytes
    }

    deinit { ck_free(base, bytes) }

    func floats(at byteOffset: Int) -> UnsafeMutablePointer<Float> {
        (base + byteOffset).assumingMemoryBound(to: Float.self)
    }
}
