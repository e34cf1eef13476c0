// Which convolution algorithm is fastest here: measured once, kept in a file, used ever after.
import CKernels
import Glibc
import ResNetSupport

/// The wisdom file of a plan. Its lines name processor, instruction set, threads, batch and shapes, so one file may serve
/// many machines and models. The environment variable `CK_WISDOM` names one to read, without measuring.
enum Wisdom {
    /// Takes over what the file knows; a file that does not exist yet is an empty one.
    static func load(_ path: String) throws(ExecutionError) {
        if path.withFileName({ access($0, F_OK) }) != 0, errno == ENOENT { return }
        try check(path.withFileName { ck_wisdom_load($0) }, "reading the wisdom file \(path)")
    }

    /// Replaces the file by all that is known now.
    static func save(_ path: String) throws(ExecutionError) {
        try check(path.withFileName { ck_wisdom_save($0) }, "writing the wisdom file \(path)")
    }
}
