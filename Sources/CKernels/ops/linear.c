/* The linear layer, y = x w^T + b. Both matrices are walked along `in`, their adjacent dimension, so every output is a
 * dot product and nothing is repacked: at batch 1 the layer is bound by reading w once (8 MB for 2048 x 1000), and
 * several rows of w at a time keep that stream going; a larger batch reuses each row of w from registers and cache.
 * Threads split the outputs or, when there are few, the batch.
 */
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
        job.w += row * job.in;
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

ck_status ck_linear(const float *x, size_t x_stride, const float *w, const float *b, int32_t n, int32_t in, int32_t out,
                    float *y, size_t y_stride, int32_t relu, int32_t threads) {
    if (!x || !w || !y || n < 1 || in < 1 || out < 1 || threads < 0 || x_stride < (size_t)in || y_stride < (size_t)out)
        return CK_INVALID_ARGUMENT;
    if (!fits((size_t)n, x_stride) || !fits((size_t)n, y_stride) || !fits((size_t)out, (size_t)in))
        return CK_OUT_OF_MEMORY;
    ck_status status;
    linear l = {.kernels = ck_active(&status), .all = {x, x_stride, w, b, n, in, out, y, y_stride, relu}};
    if (!l.kernels) return status;
    const int64_t groups = ((int64_t)out + ROWS - 1) / ROWS;
    l.by_output = groups >= n;
    if (l.by_output)
        ck_run_ranges(threads, groups, (int64_t)in * n * ROWS, run_items, &l);
    else
        ck_run_ranges(threads, n, (int64_t)in * out, run_items, &l);
    return CK_OK;
}
