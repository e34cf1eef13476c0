/* Status codes in words. */
#include "ckernels.h"

const char *ck_version(void) { return CK_VERSION_STRING; }

const char *ck_status_string(ck_status status) {
    switch (status) {
    case CK_OK: return "ok";
    case CK_INVALID_ARGUMENT:
        return "invalid argument: a NULL pointer, a size out of range, or a shape that does not fit";
    case CK_UNSUPPORTED: return "not supported by this algorithm or build";
    case CK_OUT_OF_MEMORY: return "out of memory, or a size too large to address";
    case CK_UNKNOWN_ISA: return "unknown instruction set: CK_ISA takes portable, neon, avx2 or avx512";
    case CK_ISA_NOT_AVAILABLE:
        return "this CPU, operating system or build lacks the instruction set that was asked for";
    case CK_FILE_ERROR: return "a file could not be read or written";
    case CK_BAD_WISDOM: return "not a wisdom file, or a damaged one";
    case CK_BAD_CACHES:
        return "CK_CACHES takes the sizes of L1, L2 and L3, each with the cores that share it if need be, such as "
               "32K,512K,32M or 48K,2M,32M/8";
    }
    return "unknown status";
}
