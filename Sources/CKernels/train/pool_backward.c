/* Pooling backward on NCHWc. A thread takes whole planes, so no two threads write to one pixel. */
#include <string.h>

#include "ops/ops.h"

typedef struct planes {
    int32_t block;
    int64_t count, in_pixels, out_pixels;
    int32_t out_height, out_width;
    const ck_pool_desc *d;
    const float *dy;
    const int32_t *argmax;
    float *dx;
    int32_t inside; /* divisors count no padding */
} planes;

static ck_status measure(const ck_pool_desc *d, planes *p) {
    ck_status status = ck_pool_output_size(d, &p->out_height, &p->out_width);
    if (status == CK_OK) status = ck_check_blocked(d->batch, d->channels, d->in_height, d->in_width, d->threads);
    if (status == CK_OK) status = ck_check_blocked(d->batch, d->channels, p->out_height, p->out_width, d->threads);
    if (status == CK_OK) status = ck_init();
    if (status != CK_OK) return status;
    p->d = d;
    p->block = ck_block();
    p->count = (int64_t)d->batch * ck_blocks(d->channels, p->block);
    p->in_pixels = (int64_t)d->in_height * d->in_width;
    p->out_pixels = (int64_t)p->out_height * p->out_width;
    return CK_OK;
}

static void max_planes(void *context, int64_t begin, int64_t end) {
    const planes *p = context;
    const int64_t in_floats = p->in_pixels * p->block, out_floats = p->out_pixels * p->block;
    for (int64_t plane = begin; plane < end; plane++) {
        float *to = p->dx + plane * in_floats;
        const float *dy = p->dy + plane * out_floats;
        const int32_t *argmax = p->argmax + plane * out_floats;
        memset(to, 0, (size_t)in_floats * sizeof *to);
        for (int64_t i = 0; i < out_floats; i++) to[(int64_t)argmax[i] * p->block + i % p->block] += dy[i];
    }
}

ck_status ck_max_pool_backward(const ck_pool_desc *desc, const float *dy, const int32_t *argmax, float *dx) {
    planes p = {.dy = dy, .argmax = argmax, .dx = dx};
    const ck_status status = measure(desc, &p);
    if (status != CK_OK) return status;
    if (!dy || !argmax || !dx) return CK_INVALID_ARGUMENT;
    ck_run_ranges(desc->threads, p.count, p.in_pixels * p.block, max_planes, &p);
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
            const int32_t first_y = y < 0 ? 0 : y, end_y = whole_y < d->in_height ? whole_y : d->in_height;
            const int32_t first_x = x < 0 ? 0 : x, end_x = whole_x < d->in_width ? whole_x : d->in_width;
            const int32_t rows = p->inside ? end_y - first_y : whole_y - y;
            const int32_t columns = p->inside ? end_x - first_x : whole_x - x;
            const float share = 1 / ((float)rows * (float)columns);
            for (int32_t iy = first_y; iy < end_y; iy++)
                for (int32_t ix = first_x; ix < end_x; ix++) {
                    float *to = dx + ((int64_t)iy * d->in_width + ix) * p->block;
                    for (int32_t c = 0; c < p->block; c++) to[c] += dy[c] * share;
                }
        }
}

static void average_planes(void *context, int64_t begin, int64_t end) {
    const planes *p = context;
    for (int64_t plane = begin; plane < end; plane++)
        average_plane(p->d, p, p->dy + plane * p->out_pixels * p->block, p->dx + plane * p->in_pixels * p->block);
}

static ck_status average(const ck_pool_desc *desc, const float *dy, float *dx, int32_t inside) {
    planes p = {.dy = dy, .dx = dx, .inside = inside};
    const ck_status status = measure(desc, &p);
    if (status != CK_OK) return status;
    if (!dy || !dx) return CK_INVALID_ARGUMENT;
    ck_run_ranges(desc->threads, p.count, p.in_pixels * p.block, average_planes, &p);
    return CK_OK;
}

ck_status ck_average_pool_backward(const ck_pool_desc *desc, const float *dy, float *dx) {
    return average(desc, dy, dx, 0);
}

ck_status ck_average_pool_inside_backward(const ck_pool_desc *desc, const float *dy, float *dx) {
    return average(desc, dy, dx, 1);
}

static void share_planes(void *context, int64_t begin, int64_t end) {
    const planes *p = context;
    for (int64_t plane = begin; plane < end; plane++) {
        float share[64];
        for (int32_t i = 0; i < p->block; i++) share[i] = p->dy[plane * p->block + i] / (float)p->in_pixels;
        float *to = p->dx + plane * p->in_pixels * p->block;
        for (int64_t i = 0; i < p->in_pixels; i++, to += p->block) memcpy(to, share, (size_t)p->block * sizeof *to);
    }
}

ck_status ck_global_average_pool_backward(const float *dy, int32_t n, int32_t c, int32_t h, int32_t w, float *dx,
                                          int32_t threads) {
    if (!dy || !dx) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(n, c, h, w, threads);
    if (status == CK_OK) status = ck_init();
    if (status != CK_OK) return status;
    planes p = {.block = ck_block(), .in_pixels = (int64_t)h * w, .dy = dy, .dx = dx};
    ck_run_ranges(threads, (int64_t)n * ck_blocks(c, p.block), p.in_pixels * p.block, share_planes, &p);
    return CK_OK;
}
