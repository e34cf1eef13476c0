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

typedef struct products {
    const float *x, *w, *dy;
    size_t x_stride, dy_stride, dx_stride;
    int32_t n, in, out;
    float *dx, *dw, *db;
    int64_t parts; /* as many as threads: the products' bits depend on where they are cut */
} products;

static void run_part(void *context, int64_t part, int32_t worker) {
    const products *p = context;
    int64_t begin, end;
    (void)worker;
    ck_split(p->in, part, p->parts, &begin, &end);
    if (p->dx && begin < end)
        ck_sgemm(0, 0, p->n, (int)(end - begin), p->out, p->dy, (int)p->dy_stride, p->w + begin, p->in, 0,
                 p->dx + begin, (int)p->dx_stride);
    ck_split(p->out, part, p->parts, &begin, &end);
    if (p->dw && begin < end)
        ck_sgemm(1, 0, (int)(end - begin), p->in, p->n, p->dy + begin, (int)p->dy_stride, p->x, (int)p->x_stride, 0,
                 p->dw + begin * p->in, p->in);
    for (int64_t o = begin; p->db && o < end; o++) {
        double sum = 0;
        for (int32_t i = 0; i < p->n; i++) sum += p->dy[(size_t)i * p->dy_stride + o];
        p->db[o] = (float)sum;
    }
    ck_split(p->n, part, p->parts, &begin, &end);
    for (int64_t i = begin; p->dx && i < end; i++)
        memset(p->dx + (size_t)i * p->dx_stride + p->in, 0, (p->dx_stride - (size_t)p->in) * sizeof *p->dx);
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
    const int32_t team = ck_threads_for(threads, in < out ? in : out, (int64_t)n * (in > out ? in : out));
    products p = {x, w, dy, x_stride, dy_stride, dx_stride, n, in, out, dx, dw, db, team};
    ck_run_parts(team, p.parts, run_part, &p);
    return CK_OK;
}
