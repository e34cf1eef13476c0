/* Flat arrays cut into one contiguous range a thread, at whole cache lines. */
#ifndef CK_FLAT_H
#define CK_FLAT_H

#include "ops/ops.h"

enum { CK_LINE = 16 };

static inline int ck_bad_count(size_t count, int32_t threads) {
    return count < 1 || count > PTRDIFF_MAX / sizeof(float) || threads < 0;
}

/* The team for count floats, each as much work as `weight` plain ones. */
static inline int ck_flat_team(int32_t threads, size_t count, int64_t weight) {
    return ck_threads_for(threads, (int64_t)((count + CK_LINE - 1) / CK_LINE), CK_LINE * weight);
}

/* The calling thread's range. */
static inline void ck_flat_range(size_t count, size_t *first, size_t *length) {
    int64_t begin, end;
    ck_split((int64_t)((count + CK_LINE - 1) / CK_LINE), ck_thread(), ck_team(), &begin, &end);
    *first = (size_t)begin * CK_LINE;
    const size_t last = (size_t)end * CK_LINE < count ? (size_t)end * CK_LINE : count;
    *length = last > *first ? last - *first : 0;
}

#endif
