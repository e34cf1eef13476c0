/* Memory that is asked for before it is needed. */
#ifndef CK_PREFETCH_H
#define CK_PREFETCH_H

#include <stddef.h>

/* Activations come from the L3 cache or from another core's: they are asked for one step before they are needed. */
static inline void ck_fetch_read(const float *p, ptrdiff_t floats) {
    for (ptrdiff_t i = 0; i < floats; i += 16) __builtin_prefetch(p + i, 0, 2);
}
static inline void ck_fetch_write(const float *p, ptrdiff_t floats) {
    for (ptrdiff_t i = 0; i < floats; i += 16) __builtin_prefetch(p + i, 1, 2);
}

/* Taps that are transformed next, fetched into L2 beside the products, a part with every point or row of points:
 * without it they would come at the speed of one miss after another. */
typedef struct ck_stream {
    const char *at;
    ptrdiff_t step; /* bytes of a part */
} ck_stream;

static inline void ck_fetch(ck_stream *s) {
    for (ptrdiff_t i = 0; i < s->step; i += 64) __builtin_prefetch(s->at + i, 0, 2);
    s->at += s->step;
}

#endif
