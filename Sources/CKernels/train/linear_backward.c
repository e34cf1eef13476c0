/* The linear layer backward: two matrix products by OpenBLAS, one thread each, and column sums.
 *
 *     dx (N, in) = dy (N, out) w (out, in)     dw (out, in) = dy^T (out, N) x (N, in)     db (out) = column sums of dy
 *
 * The team splits the columns of dx and the rows of dw, so no sum is ever shared. */
#include <string.h>

#include "core/sgemm.h"
#include "ops/ops.h"

static int fits(size_t rows, size_t stride) {
    size_t floats;
    return !__builtin_mul_overflow(rows, stride, &floats) && floats <= PTRDIFF_MAX / sizeof(float);
}

ck_status ck_linear_backward(const float *x, size_t x_stride, const float *w, const float *dy, size_t dy_stride,
                             int32_t n, int32_t in, int32_t out, float *dx, size_t dx_stride, float *dw, float *db,
                             int32_t threads) {
    if (!dy || n < 1 || in < 1 || out < 1 || threads < 0 || dy_stride < (size_t)out ||
        (dx && (!w || dx_stride < (size_t)in)) || (dw && (!x || x_stride < (size_t)in)))
        return CK_INVALID_ARGUMENT;
    if (!fits((size_t)n, dy_stride) || (dx && !fits((size_t)n, dx_stride)) || (dw && !fits((size_t)n, x_stride)) ||
        !fits((size_t)out, (size_t)in) || dy_stride > INT32_MAX || (dx && dx_stride > INT32_MAX) ||
        (dw && x_stride > INT32_MAX))
        return CK_OUT_OF_MEMORY;
    ck_sgemm_prepare();
    const int team = ck_threads_for(threads, in < out ? in : out, (int64_t)n * (in > out ? in : out));
    CK_PARALLEL(team) {
        int64_t begin, end;
        ck_split(in, ck_thread(), ck_team(), &begin, &end);
        if (dx && begin < end)
            ck_sgemm(0, 0, n, (int)(end - begin), out, dy, (int)dy_stride, w + begin, in, 0, dx + begin,
                     (int)dx_stride);
        ck_split(out, ck_thread(), ck_team(), &begin, &end);
        if (dw && begin < end)
            ck_sgemm(1, 0, (int)(end - begin), in, n, dy + begin, (int)dy_stride, x, (int)x_stride, 0, dw + begin * in,
                     in);
        for (int64_t o = begin; db && o < end; o++) {
            double sum = 0;
            for (int32_t i = 0; i < n; i++) sum += dy[(size_t)i * dy_stride + o];
            db[o] = (float)sum;
        }
        ck_split(n, ck_thread(), ck_team(), &begin, &end);
        for (int64_t i = begin; dx && i < end; i++)
            memset(dx + (size_t)i * dx_stride + in, 0, (dx_stride - (size_t)in) * sizeof *dx);
    }
    return CK_OK;
}
