/* Pooling backward on NCHWc. A thread takes whole planes, so no two threads write to one pixel. */
#include <string.h>

#include "ops/ops.h"

typedef struct planes {
    int32_t block;
    int64_t count, in_pixels, out_pixels;
    int32_t out_height, out_width;
} planes;

static ck_status measure(const ck_pool_desc *d, planes *p) {
    ck_status status = ck_pool_output_size(d, &p->out_height, &p->out_width);
    if (status == CK_OK) status = ck_check_blocked(d->batch, d->channels, d->in_height, d->in_width, d->threads);
    if (status == CK_OK) status = ck_check_blocked(d->batch, d->channels, p->out_height, p->out_width, d->threads);
    if (status == CK_OK) status = ck_init();
    if (status != CK_OK) return status;
    p->block = ck_block();
    p->count = (int64_t)d->batch * ck_blocks(d->channels, p->block);
    p->in_pixels = (int64_t)d->in_height * d->in_width;
    p->out_pixels = (int64_t)p->out_height * p->out_width;
    return CK_OK;
}

ck_status ck_max_pool_backward(const ck_pool_desc *desc, const float *dy, const int32_t *argmax, float *dx) {
    planes p;
    const ck_status status = measure(desc, &p);
    if (status != CK_OK) return status;
    if (!dy || !argmax || !dx) return CK_INVALID_ARGUMENT;
    const int team = ck_threads_for(desc->threads, p.count, p.in_pixels * p.block);
    CK_PARALLEL(team) {
        int64_t begin, end;
        ck_split(p.count, ck_thread(), ck_team(), &begin, &end);
        for (int64_t plane = begin; plane < end; plane++) {
            float *to = dx + plane * p.in_pixels * p.block;
            const int64_t at = plane * p.out_pixels * p.block;
            memset(to, 0, (size_t)p.in_pixels * p.block * sizeof *to);
            for (int64_t i = 0; i < p.out_pixels * p.block; i++)
                to[(int64_t)argmax[at + i] * p.block + i % p.block] += dy[at + i];
        }
    }
    return CK_OK;
}

/* One plane: every output pixel's gradient, divided by its window, goes to all pixels of the window. */
static void average_plane(const ck_pool_desc *d, const planes *p, const float *dy, float *dx) {
    memset(dx, 0, (size_t)p->in_pixels * p->block * sizeof *dx);
    for (int32_t oy = 0; oy < p->out_height; oy++)
        for (int32_t ox = 0; ox < p->out_width; ox++, dy += p->block) {
            const int32_t y = oy * d->stride_height - d->pad_height, x = ox * d->stride_width - d->pad_width;
            const int32_t whole_y = y + d->kernel_height < d->in_height + d->pad_height ? y + d->kernel_height
                                                                                        : d->in_height + d->pad_height;
            const int32_t whole_x =
                x + d->kernel_width < d->in_width + d->pad_width ? x + d->kernel_width : d->in_width + d->pad_width;
            const float share = 1 / ((float)(whole_y - y) * (float)(whole_x - x));
            for (int32_t iy = y < 0 ? 0 : y; iy < whole_y && iy < d->in_height; iy++)
                for (int32_t ix = x < 0 ? 0 : x; ix < whole_x && ix < d->in_width; ix++) {
                    float *to = dx + ((int64_t)iy * d->in_width + ix) * p->block;
                    for (int32_t c = 0; c < p->block; c++) to[c] += dy[c] * share;
                }
        }
}

ck_status ck_average_pool_backward(const ck_pool_desc *desc, const float *dy, float *dx) {
    planes p;
    const ck_status status = measure(desc, &p);
    if (status != CK_OK) return status;
    if (!dy || !dx) return CK_INVALID_ARGUMENT;
    const int team = ck_threads_for(desc->threads, p.count, p.in_pixels * p.block);
    CK_PARALLEL(team) {
        int64_t begin, end;
        ck_split(p.count, ck_thread(), ck_team(), &begin, &end);
        for (int64_t plane = begin; plane < end; plane++)
            average_plane(desc, &p, dy + plane * p.out_pixels * p.block, dx + plane * p.in_pixels * p.block);
    }
    return CK_OK;
}

ck_status ck_global_average_pool_backward(const float *dy, int32_t n, int32_t c, int32_t h, int32_t w, float *dx,
                                          int32_t threads) {
    if (!dy || !dx) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, c, h, w, threads);
    if (status == CK_OK) status = ck_init();
    if (status != CK_OK) return status;
    const int32_t block = ck_block();
    const int64_t count = (int64_t)n * ck_blocks(c, block), pixels = (int64_t)h * w;
    const int team = ck_threads_for(threads, count, pixels * block);
    CK_PARALLEL(team) {
        int64_t begin, end;
        ck_split(count, ck_thread(), ck_team(), &begin, &end);
        for (int64_t plane = begin; plane < end; plane++) {
            float share[64];
            for (int32_t i = 0; i < block; i++) share[i] = dy[plane * block + i] / (float)pixels;
            float *to = dx + plane * pixels * block;
            for (int64_t i = 0; i < pixels; i++, to += block) memcpy(to, share, (size_t)block * sizeof *to);
        }
    }
    return CK_OK;
}
