/* Checks of attention's description, and the two products that it is made of. */
#include "ops/attention.h"

#include <math.h>

ck_status ck_check_attention(const ck_attention_desc *d, ck_attention *a) {
    if (!d || d->channels < 1 || d->heads < 1 || d->channels % d->heads || !(d->scale >= 0) || d->threads < 0)
        return CK_INVALID_ARGUMENT;
    if (d->channels > INT32_MAX / 3) return CK_OUT_OF_MEMORY;
    ck_status status = ck_check_blocked(d->batch, 3 * d->channels, d->height, d->width, d->threads);
    if (status != CK_OK) return status;
    const int32_t size = d->channels / d->heads;
    if (size % 16) return CK_UNSUPPORTED;
    if ((int64_t)d->height * d->width > INT32_MAX / 64) return CK_OUT_OF_MEMORY;
    *a = (ck_attention){.kernels = ck_active(&status),
                        .batch = d->batch,
                        .heads = d->heads,
                        .threads = ck_threads(d->threads),
                        .height = d->height,
                        .width = d->width};
    if (!a->kernels) return status;
    a->block = a->kernels->block;
    a->head_blocks = size / a->block;
    a->blocks = d->channels / a->block;
    a->plane = (ptrdiff_t)d->height * d->width * a->block;
    a->scale = (float)(d->scale > 0 ? d->scale : 1 / sqrt(size));
    return CK_OK;
}

void ck_multiply_panels(const ck_kernels *kernels, const float *src, ptrdiff_t src_block, int32_t in_blocks,
                        int32_t pixels, const float *weights, int32_t out_blocks, float *dst, ptrdiff_t dst_block) {
    const int32_t v = kernels->block;
    ck_panel p = {.src = src,
                  .outer = {in_blocks, 1, 1},
                  .outer_stride = {src_block, 0, 0},
                  .run = v,
                  .pixel_stride = v,
                  .pixels = pixels,
                  .dst_block = dst_block};
    for (int32_t b = 0; b < out_blocks; b += p.blocks) {
        p.blocks = out_blocks - b > 1 ? 2 : 1;
        p.weights = weights + (ptrdiff_t)b * v * in_blocks * v;
        p.dst = dst + b * dst_block;
        kernels->panel(&p);
    }
}

/* A sum over a large map in one row of float32 would lose digits that softmax then magnifies. */
enum { OUTER_PIXELS = 128 };

void ck_outer_panels(const ck_kernels *kernels, const float *x, ptrdiff_t x_block, int32_t in_blocks, int32_t pixels,
                     const float *dy, ptrdiff_t dy_block, int32_t out_blocks, float *dst) {
    const int32_t v = kernels->block;
    ck_outer job = {.trips = {1, 1}, .pixel_stride = v, .rows = v, .dy_block = dy_block};
    for (int32_t first = 0; first < pixels; first += OUTER_PIXELS) {
        job.accumulate = first > 0;
        job.pixels = pixels - first < OUTER_PIXELS ? pixels - first : OUTER_PIXELS;
        for (int32_t b = 0; b < out_blocks; b += job.blocks) {
            job.blocks = out_blocks - b > 1 ? 2 : 1;
            job.dy = dy + b * dy_block + (ptrdiff_t)first * v;
            for (int32_t i = 0; i < in_blocks; i++) {
                job.x = x + i * x_block + (ptrdiff_t)first * v;
                job.dst = dst + ((ptrdiff_t)b * in_blocks + (ptrdiff_t)i * job.blocks) * v * v;
                kernels->outer(&job);
            }
        }
    }
}
