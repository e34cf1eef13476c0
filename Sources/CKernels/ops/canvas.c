/* Padding and cropping below and to the right, the one the gradient of the other. A thread takes a range of output
 * rows, counted through all (image, channel block) planes. */
#include <string.h>

#include "ops/ops.h"

typedef struct canvas {
    const float *src;
    float *dst;
    int32_t h, w, out_h, out_w, block;
} canvas;

static void copy_rows(void *context, int64_t begin, int64_t end) {
    const canvas *a = context;
    const int32_t inside = a->w < a->out_w ? a->w : a->out_w;
    for (int64_t row = begin; row < end; row++) {
        const int64_t plane = row / a->out_h, y = row % a->out_h;
        float *to = a->dst + row * a->out_w * a->block;
        const int32_t used = y < a->h ? inside * a->block : 0;
        if (used) memcpy(to, a->src + (plane * a->h + y) * a->w * a->block, (size_t)used * sizeof(float));
        memset(to + used, 0, ((size_t)a->out_w * a->block - used) * sizeof(float));
    }
}

ck_status ck_resize_canvas(const float *src, int32_t n, int32_t c, int32_t h, int32_t w, float *dst, int32_t out_h,
                           int32_t out_w, int32_t threads) {
    if (!src || !dst) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, c, h, w, threads);
    if (status == CK_OK) status = ck_check_blocked(n, c, out_h, out_w, threads);
    if (status != CK_OK) return status;
    const ck_kernels *kernels = ck_active(&status);
    if (!kernels) return status;
    canvas a = {src, dst, h, w, out_h, out_w, kernels->block};
    const int64_t rows = (int64_t)n * ck_blocks(c, kernels->block) * out_h;
    ck_run_ranges(threads, rows, (int64_t)out_w * kernels->block, copy_rows, &a);
    return CK_OK;
}
