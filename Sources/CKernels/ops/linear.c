/* The linear layer, y = x w^T + b. Both matrices are walked along `in`, their adjacent dimension, so every output is a
 * dot product and nothing is repacked: at batch 1 the layer is bound by reading w once (8 MB for 2048 x 1000), and
 * several rows of w at a time keep that stream going; a larger batch reuses each row of w from registers and cache.
 * Threads split the outputs or, when there are few, the batch.
 */
#include <string.h>

#include "ops/ops.h"

/* Output rows of w that the kernel takes at a time: a thread's share is cut there. */
enum { ROWS = 4 };

static int fits(size_t rows, size_t stride) {
    size_t floats;
    return !__builtin_mul_overflow(rows, stride, &floats) && floats <= PTRDIFF_MAX / sizeof(float);
}

typedef struct linear {
    const ck_kernels *kernels;
    ck_dots all;
    int by_output; /* items are ROWS outputs of all images, else images */
} linear;

static void run_items(void *context, int64_t begin, int64_t end) {
    const linear *l = context;
    ck_dots job = l->all;
    if (l->by_output) {
        const int64_t row = begin * ROWS, last = end * ROWS < job.out ? end * ROWS : job.out;
        if (job.bf16)
            job.bf16 += row * job.in;
        else
            job.weights += row * job.in;
        if (job.b) job.b += row;
        job.y += row;
        job.out = (int32_t)(last - row);
    } else {
        job.x += begin * (int64_t)job.x_stride;
        job.y += begin * (int64_t)job.y_stride;
        job.n = (int32_t)(end - begin);
    }
    l->kernels->dots(&job);
}

static ck_status run(ck_dots all, int32_t threads) {
    const int32_t n = all.n, in = all.in, out = all.out;
    if (!all.x || !(all.weights || all.bf16) || !all.y || n < 1 || in < 1 || out < 1 || threads < 0 ||
        all.x_stride < (size_t)in || all.y_stride < (size_t)out)
        return CK_INVALID_ARGUMENT;
    if (!fits((size_t)n, all.x_stride) || !fits((size_t)n, all.y_stride) || !fits((size_t)out, (size_t)in))
        return CK_OUT_OF_MEMORY;
    ck_status status;
    linear l = {.kernels = ck_active(&status), .all = all};
    if (!l.kernels) return status;
    const int64_t groups = ((int64_t)out + ROWS - 1) / ROWS;
    l.by_output = groups >= n;
    if (l.by_output)
        ck_run_ranges(threads, groups, (int64_t)in * n * ROWS, run_items, &l);
    else
        ck_run_ranges(threads, n, (int64_t)in * out, run_items, &l);
    return CK_OK;
}

ck_status ck_linear(const float *x, size_t x_stride, const float *w, const float *b, int32_t n, int32_t in, int32_t out,
                    float *y, size_t y_stride, int32_t relu, int32_t threads) {
    return run((ck_dots){x, x_stride, w, b, NULL, n, in, out, y, y_stride, relu}, threads);
}

ck_status ck_linear_bf16(const float *x, size_t x_stride, const uint16_t *w, const float *b, int32_t n, int32_t in,
                         int32_t out, float *y, size_t y_stride, int32_t relu, int32_t threads) {
    return run((ck_dots){x, x_stride, NULL, b, w, n, in, out, y, y_stride, relu}, threads);
}

/* Half of what is cut off is added first, less one where the last bit kept is even: so halves go to even numbers. Where
 * a NaN has no bit above those it must not become infinite. */
ck_status ck_to_bf16(const float *x, size_t count, uint16_t *y) {
    if (!x || !y) return CK_INVALID_ARGUMENT;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        y[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded);
    }
    return CK_OK;
}
