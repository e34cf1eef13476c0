/* Gates on NCHWc: what scales each channel of each image by a factor of its own, as squeeze and excitation do
 * (arXiv:1709.01507), and the convolution along the channels that yields such factors in ECA-Net (arXiv:1910.03151).
 */
#include "ops/ops.h"

enum { MOST_LANES = 16 };
static const float zeros[MOST_LANES];

typedef struct gates {
    const ck_kernels *kernels;
    const float *x, *gate, *residual;
    float *y;
    int64_t pixels;
    int32_t relu;
} gates;

static void gate_planes(void *context, int64_t begin, int64_t end) {
    const gates *g = context;
    const int64_t block = g->kernels->block, floats = g->pixels * block;
    for (int64_t plane = begin; plane < end; plane++) {
        const ck_normalize job = {.x = g->x + plane * floats,
                                  .scale = g->gate + plane * block,
                                  .shift = zeros,
                                  .residual = g->residual ? g->residual + plane * floats : NULL,
                                  .y = g->y + plane * floats,
                                  .pixels = g->pixels,
                                  .relu = g->relu};
        g->kernels->normalize(&job);
    }
}

ck_status ck_gate(const float *x, const float *gate, const float *residual, int32_t n, int32_t c, int32_t h, int32_t w,
                  float *y, int32_t relu, int32_t threads) {
    if (!x || !gate || !y || (relu & ~1)) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, c, h, w, threads);
    if (status != CK_OK) return status;
    gates g = {ck_active(&status), x, gate, residual, y, (int64_t)h * w, relu};
    if (!g.kernels) return status;
    const int32_t block = g.kernels->block;
    ck_run_ranges(threads, (int64_t)n * ck_blocks(c, block), g.pixels * block, gate_planes, &g);
    return CK_OK;
}

/* With H = W = 1 the channels of an image are adjacent: (C), then zeros up to whole blocks. */
ck_status ck_channel_conv(const float *x, size_t x_stride, const float *weight, int32_t n, int32_t c, int32_t kernel,
                          float *y, size_t y_stride) {
    if (!x || !weight || !y || kernel < 1 || !(kernel & 1)) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, c, 1, 1, 0);
    if (status == CK_OK) status = ck_init();
    if (status != CK_OK) return status;
    const int32_t whole = ck_blocks(c, ck_block()) * ck_block(), half = kernel / 2;
    for (int32_t image = 0; image < n; image++, x += x_stride, y += y_stride) {
        for (int32_t i = 0; i < c; i++) {
            const int32_t first = i < half ? half - i : 0, end = c - i + half < kernel ? c - i + half : kernel;
            float sum = 0;
            for (int32_t k = first; k < end; k++) sum += weight[k] * x[i + k - half];
            y[i] = sum;
        }
        for (int32_t i = c; i < whole; i++) y[i] = 0;
    }
    return CK_OK;
}
