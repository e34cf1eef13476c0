/* Blurring before striding (Zhang, "Making convolutional networks shift-invariant again", arXiv:1904.11486): each
 * channel by itself with (1, 2, 1)^T (1, 2, 1) / 16, the picture reflected at its edges. A thread takes a range of
 * output rows, counted through all (image, channel block) planes. */
#include "ops/ops.h"

typedef struct blur {
    const ck_kernels *kernels;
    const float *src;
    float *dst;
    int32_t height, width, stride, out_height, out_width;
} blur;

static void blur_rows(void *context, int64_t begin, int64_t end) {
    const blur *b = context;
    const int64_t block = b->kernels->block, row = b->width * block;
    for (; begin < end; begin++) {
        const int64_t plane = begin / b->out_height;
        const int32_t y = (int32_t)(begin % b->out_height) * b->stride;
        const float *src = b->src + plane * b->height * row;
        const int32_t above = y > 0 ? y - 1 : 1, below = y + 1 < b->height ? y + 1 : b->height - 2;
        const ck_blur_row job = {.rows = {src + above * row, src + y * row, src + below * row},
                                 .width = b->width,
                                 .stride = b->stride,
                                 .out_width = b->out_width,
                                 .dst = b->dst + begin * b->out_width * block};
        b->kernels->blur_row(&job);
    }
}

ck_status ck_blur_pool(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, int32_t stride, float *dst,
                       int32_t threads) {
    if (!src || !dst || h < 2 || w < 2 || stride < 1) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, c, h, w, threads);
    if (status != CK_OK) return status;
    blur b = {ck_active(&status), src, dst, h, w, stride, (h - 1) / stride + 1, (w - 1) / stride + 1};
    if (!b.kernels) return status;
    const int32_t block = b.kernels->block;
    const int64_t rows = (int64_t)n * ck_blocks(c, block) * b.out_height;
    ck_run_ranges(threads, rows, (int64_t)b.out_width * block * 9, blur_rows, &b);
    return CK_OK;
}
