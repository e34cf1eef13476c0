/* What the files of ops/ share: checks of arguments. */
#ifndef CK_OPS_H
#define CK_OPS_H

#include "ckernels.h"
#include "core/dispatch.h"
#include "core/parallel.h"

/* Channels in whole blocks, and the number of blocks. */
static inline int32_t ck_blocks(int32_t channels, int32_t block) { return (channels - 1) / block + 1; }

/* Whether a plain buffer of so many elements of so many bytes is addressable; sizes at least 1. */
static inline int ck_addressable(int32_t n, int32_t c, int32_t h, int32_t w, size_t bytes) {
    size_t size = bytes;
    return !__builtin_mul_overflow(size, (size_t)n, &size) && !__builtin_mul_overflow(size, (size_t)c, &size) &&
           !__builtin_mul_overflow(size, (size_t)h, &size) && !__builtin_mul_overflow(size, (size_t)w, &size) &&
           size <= PTRDIFF_MAX;
}

/* CK_OK if sizes are at least 1, threads at least 0 and the blocked buffer addressable. */
static inline ck_status ck_check_blocked(int32_t n, int32_t c, int32_t h, int32_t w, int32_t threads) {
    if (n < 1 || c < 1 || h < 1 || w < 1 || threads < 0) return CK_INVALID_ARGUMENT;
    return ck_blocked_count(n, c, h, w) ? CK_OK : CK_OUT_OF_MEMORY;
}

/* Whether a flat array of so many floats cannot be. */
static inline int ck_bad_count(size_t count, int32_t threads) {
    return count < 1 || count > PTRDIFF_MAX / sizeof(float) || threads < 0;
}

#endif
