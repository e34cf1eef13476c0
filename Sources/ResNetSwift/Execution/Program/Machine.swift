// What this machine offers to the kernels.
import CKernels
import Glibc

/// What this machine offers to the kernels.
public enum Machine {
    /// The instruction set that the kernels use: `avx512`, `avx2`, `neon` or `portable`. Chosen once a process; the
    /// environment variable CK_ISA forces one.
    /// - Throws: `ExecutionError.kernel` when CK_ISA names one that is unknown or that this machine lacks, or when CK_CACHES
    ///   is not three sizes of caches.
    public static func instructionSet() throws(ExecutionError) -> String {
        var caches = ck_caches()
        try check(
            ck_caches_active(&caches),
            "CK_CACHES: expected three sizes, found '\(getenv("CK_CACHES").map { String(cString: $0) } ?? "")'")
        let forced = getenv("CK_ISA").map { String(cString: $0) } ?? ""
        try check(
            ck_init(),
            "CK_ISA: expected one of \(instructionSets.joined(separator: ", ")) on this machine, found '\(forced)'")
        return String(cString: ck_isa_name(ck_isa_active()))
    }

    /// What CK_ISA may name on this machine, the best last.
    public static var instructionSets: [String] {
        (0..<CK_ISA_COUNT.rawValue).map(ck_isa.init(rawValue:)).filter { ck_isa_available($0) == CK_OK }
            .map { String(cString: ck_isa_name($0)) }
    }

    /// Threads of a plan that does not say how many: the physical cores that this process may use.
    public static var defaultThreads: Int { Int(ck_default_threads()) }

    /// Version of the kernel library.
    public static var kernelVersion: String { String(cString: ck_version()) }
}
