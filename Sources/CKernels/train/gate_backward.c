/* Gates backward: see ops/gate.c. Sums over a plane are kept in double, as those of batch norm. */
#include "ops/ops.h"

enum { MOST_LANES = 16 };
static const float zeros[MOST_LANES];

typedef struct gradients {
    const ck_kernels *kernels;
    const float *x, *gate, *dy;
    float *dx, *dgate;
    int64_t pixels;
} gradients;

static void backward_planes(void *context, int64_t begin, int64_t end) {
    const gradients *g = context;
    const int32_t block = g->kernels->block;
    const int64_t floats = g->pixels * block;
    for (int64_t plane = begin; plane < end; plane++) {
        double sums[2 * MOST_LANES];
        ck_normalize_backward job = {.dy = g->dy + plane * floats,
                                     .x = g->x + plane * floats,
                                     .scale = g->gate + plane * block,
                                     .shift = zeros,
                                     .mean = zeros,
                                     .by_x = zeros,
                                     .constant = zeros,
                                     .sums = sums,
                                     .pixels = g->pixels,
                                     .mask = CK_MASK_NONE};
        if (g->dgate) {
            g->kernels->normalize_backward_sums(&job);
            for (int32_t i = 0; i < block; i++) g->dgate[plane * block + i] = (float)sums[block + i];
        }
        if (g->dx) {
            job.x = NULL;
            job.dx = g->dx + plane * floats;
            g->kernels->normalize_backward_dx(&job);
        }
    }
}

ck_status ck_gate_backward(const float *x, const float *gate, const float *dy, int32_t n, int32_t c, int32_t h,
                           int32_t w, float *dx, float *dgate, int32_t threads) {
    if (!x || !gate || !dy) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, c, h, w, threads);
    if (status != CK_OK) return status;
    gradients g = {ck_active(&status), x, gate, dy, dx, dgate, (int64_t)h * w};
    if (!g.kernels) return status;
    const int32_t block = g.kernels->block;
    ck_run_ranges(threads, (int64_t)n * ck_blocks(c, block), g.pixels * block, backward_planes, &g);
    return CK_OK;
}

ck_status ck_channel_conv_backward(const float *x, size_t x_stride, const float *weight, const float *dy,
                                   size_t dy_stride, int32_t n, int32_t c, int32_t kernel, float *dx, size_t dx_stride,
                                   float *dweight) {
    if (!x || !weight || !dy || kernel < 1 || !(kernel & 1)) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, c, 1, 1, 0);
    if (status == CK_OK) status = ck_init();
    if (status != CK_OK) return status;
    const int32_t whole = ck_blocks(c, ck_block()) * ck_block(), half = kernel / 2;
    for (int32_t k = 0; dweight && k < kernel; k++) {
        double sum = 0;
        const int32_t first = k < half ? half - k : 0, end = k > half ? c + half - k : c;
        for (int32_t image = 0; image < n; image++)
            for (int32_t i = first; i < end; i++)
                sum += (double)dy[image * dy_stride + i] * x[image * x_stride + i + k - half];
        dweight[k] = (float)sum;
    }
    for (int32_t image = 0; dx && image < n; image++) {
        const float *from = dy + image * dy_stride;
        float *to = dx + image * dx_stride;
        for (int32_t i = 0; i < c; i++) {
            /* What read x[i]: y[i - k + half], with weight k. */
            float sum = 0;
            for (int32_t k = 0; k < kernel; k++) {
                const int32_t at = i - k + half;
                if (at >= 0 && at < c) sum += weight[k] * from[at];
            }
            to[i] = sum;
        }
        for (int32_t i = c; i < whole; i++) to[i] = 0;
    }
    return CK_OK;
}
