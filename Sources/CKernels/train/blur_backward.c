/* Blurring backward: every output pixel's gradient goes to the nine pixels it was made of. A thread takes whole planes.
 */
#include <string.h>

#include "ops/ops.h"

typedef struct blur {
    int32_t block, height, width, stride, out_height, out_width;
    const float *dy;
    float *dx;
} blur;

/* The pixel that position i stands for, reflected at the edges. */
static int32_t reflected(int32_t i, int32_t size) { return i < 0 ? -i : i < size ? i : 2 * (size - 1) - i; }

static void blur_planes(void *context, int64_t begin, int64_t end) {
    const blur *b = context;
    const int64_t floats = (int64_t)b->height * b->width * b->block;
    for (int64_t plane = begin; plane < end; plane++) {
        float *dx = b->dx + plane * floats;
        const float *dy = b->dy + plane * b->out_height * b->out_width * b->block;
        memset(dx, 0, (size_t)floats * sizeof *dx);
        for (int32_t o = 0; o < b->out_height * b->out_width; o++, dy += b->block)
            for (int32_t tap = 0; tap < 9; tap++) {
                const int32_t y = reflected(o / b->out_width * b->stride + tap / 3 - 1, b->height);
                const int32_t x = reflected(o % b->out_width * b->stride + tap % 3 - 1, b->width);
                const float weight = (float)((tap / 3 == 1 ? 2 : 1) * (tap % 3 == 1 ? 2 : 1)) / 16;
                float *to = dx + ((int64_t)y * b->width + x) * b->block;
                for (int32_t c = 0; c < b->block; c++) to[c] += dy[c] * weight;
            }
    }
}

ck_status ck_blur_pool_backward(const float *dy, int32_t n, int32_t c, int32_t h, int32_t w, int32_t stride, float *dx,
                                int32_t threads) {
    if (!dy || !dx || h < 2 || w < 2 || stride < 1) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, c, h, w, threads);
    if (status == CK_OK) status = ck_init();
    if (status != CK_OK) return status;
    blur b = {ck_block(), h, w, stride, (h - 1) / stride + 1, (w - 1) / stride + 1, dy, dx};
    ck_run_ranges(threads, (int64_t)n * ck_blocks(c, b.block), (int64_t)h * w * b.block, blur_planes, &b);
    return CK_OK;
}
