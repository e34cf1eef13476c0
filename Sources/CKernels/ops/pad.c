/* A frame around each map, and its removal. A thread takes a range of rows of the larger map, counted through all
 * (image, channel block) planes. */
#include <string.h>

#include "ops/ops.h"

typedef struct frame {
    const float *src;
    float *dst, value;
    int32_t channels, block, blocks, height, width, top, left, out_height, out_width;
} frame;

/* One pixel of the frame: surplus channels stay zero. */
static void fill(const frame *f, int32_t block, float *to, int64_t pixels) {
    for (int64_t p = 0; p < pixels; p++)
        for (int32_t c = 0; c < f->block; c++) to[p * f->block + c] = block * f->block + c < f->channels ? f->value : 0;
}

static void pad_rows(void *context, int64_t begin, int64_t end) {
    const frame *f = context;
    for (; begin < end; begin++) {
        const int64_t plane = begin / f->out_height;
        const int32_t y = (int32_t)(begin % f->out_height) - f->top, block = (int32_t)(plane % f->blocks);
        float *to = f->dst + begin * f->out_width * f->block;
        if (y < 0 || y >= f->height) {
            fill(f, block, to, f->out_width);
            continue;
        }
        const int64_t inner = (int64_t)f->width * f->block;
        fill(f, block, to, f->left);
        memcpy(to + f->left * f->block, f->src + (plane * f->height + y) * inner, (size_t)inner * sizeof *to);
        fill(f, block, to + f->left * f->block + inner, f->out_width - f->left - f->width);
    }
}

static void crop_rows(void *context, int64_t begin, int64_t end) {
    const frame *f = context;
    for (; begin < end; begin++) {
        const int64_t plane = begin / f->height, y = begin % f->height + f->top, inner = (int64_t)f->width * f->block;
        const float *from = f->src + ((plane * f->out_height + y) * f->out_width + f->left) * f->block;
        memcpy(f->dst + begin * inner, from, (size_t)inner * sizeof *from);
    }
}

static ck_status prepare(const ck_pad_desc *d, frame *f) {
    if (!d || d->top < 0 || d->left < 0 || d->bottom < 0 || d->right < 0) return CK_INVALID_ARGUMENT;
    const int64_t height = (int64_t)d->height + d->top + d->bottom, width = (int64_t)d->width + d->left + d->right;
    if (height > INT32_MAX || width > INT32_MAX) return CK_INVALID_ARGUMENT;
    ck_status status = ck_check_blocked(d->batch, d->channels, d->height, d->width, d->threads);
    if (status == CK_OK) status = ck_check_blocked(d->batch, d->channels, (int32_t)height, (int32_t)width, d->threads);
    if (status == CK_OK) status = ck_init();
    if (status != CK_OK) return status;
    f->channels = d->channels;
    f->block = ck_block();
    f->blocks = ck_blocks(d->channels, f->block);
    f->height = d->height, f->width = d->width, f->top = d->top, f->left = d->left;
    f->out_height = (int32_t)height, f->out_width = (int32_t)width;
    return CK_OK;
}

ck_status ck_pad(const ck_pad_desc *desc, const float *src, float value, float *dst) {
    frame f = {.src = src, .dst = dst, .value = value};
    const ck_status status = prepare(desc, &f);
    if (status != CK_OK) return status;
    if (!src || !dst) return CK_INVALID_ARGUMENT;
    const int64_t rows = (int64_t)desc->batch * f.blocks * f.out_height;
    ck_run_ranges(desc->threads, rows, (int64_t)f.out_width * f.block, pad_rows, &f);
    return CK_OK;
}

ck_status ck_crop(const ck_pad_desc *desc, const float *src, float *dst) {
    frame f = {.src = src, .dst = dst};
    const ck_status status = prepare(desc, &f);
    if (status != CK_OK) return status;
    if (!src || !dst) return CK_INVALID_ARGUMENT;
    const int64_t rows = (int64_t)desc->batch * f.blocks * f.height;
    ck_run_ranges(desc->threads, rows, (int64_t)f.width * f.block, crop_rows, &f);
    return CK_OK;
}
