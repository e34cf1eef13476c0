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

ck_status ck_linear(const float *x, size_t x_stride, const float *w, const float *b, int32_t n, int32_t in, int32_t out,
                    float *y, size_t y_stride, int32_t relu, int32_t threads) {
    if (!x || !w || !y || n < 1 || in < 1 || out < 1 || threads < 0 || x_stride < (size_t)in || y_stride < (size_t)out)
        return CK_INVALID_ARGUMENT;
    if (!fits((size_t)n, x_stride) || !fits((size_t)n, y_stride) || !fits((size_t)out, (size_t)in))
        return CK_OUT_OF_MEMORY;
    ck_status status;
    const ck_kernels *kernels = ck_active(&status);
    if (!kernels) return status;
    const int64_t groups = ((int64_t)out + ROWS - 1) / ROWS;
    const int by_output = groups >= n;
    const int64_t items = by_output ? groups : n, work = (int64_t)in * (by_output ? (int64_t)n * ROWS : out);
    const int team = ck_threads_for(threads, items, work);
    CK_PARALLEL(team) {
        int64_t begin, end;
        ck_split(items, ck_thread(), ck_team(), &begin, &end);
        const int64_t row = by_output ? begin * ROWS : 0, image = by_output ? 0 : begin;
        const int64_t last = end * ROWS < out ? end * ROWS : out;
        const ck_dots job = {.x = x + image * (int64_t)x_stride,
                             .x_stride = x_stride,
                             .w = w + row * in,
                             .b = b ? b + row : NULL,
                             .n = (int32_t)(by_output ? n : end - begin),
                             .in = in,
                             .out = (int32_t)(by_output ? last - row : out),
                             .y = y + image * (int64_t)y_stride + row,
                             .y_stride = y_stride,
                             .relu = relu};
        kernels->dots(&job);
    }
    return CK_OK;
}
