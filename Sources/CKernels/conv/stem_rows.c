/* What the algorithms of the first convolution share: input rows as planes, threads, and the max pool.
 *
 * Input rows, padding included, are laid out as planes [channel][row][padded width]; bytes become normalized floats on
 * the way (byte * scale + shift), so no float picture is ever stored.
 *
 * With CK_MAX_POOL_3X3_S2 the convolution's rows go to a ring of three, and each pair of new ones gives a pooled row:
 * the 112 x 112 x 64 tensor between the two (3.2 MB a picture) never exists. */
#include <stdio.h>
#include <string.h>

#include "conv/stem.h"

enum { CHANNELS_MOST = 8, ROWS_A_PART = 14 };

static int32_t pooled_size(int32_t size) { return (size + 2 - 3) / 2 + 1; }

int ck_stem_applicable(const ck_conv_plan *plan) {
    const ck_conv_desc *d = &plan->d;
    return d->src_layout != CK_NCHWC && d->in_channels <= CHANNELS_MOST && d->groups == 1 && d->dilation_height == 1 &&
           d->dilation_width == 1;
}

static size_t ring_floats(const ck_conv_plan *plan) {
    return ck_stem_pooled(plan) ? (size_t)3 * plan->out_blocks * plan->out_width * plan->block : 0;
}

size_t ck_stem_workspace(const ck_conv_plan *plan, const ck_stem_method *method) {
    return 4 * (method->floats(plan) + ring_floats(plan)) * plan->threads;
}

void ck_stem_fill(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t first, int32_t count,
                  int32_t wide, float *planes) {
    const ck_conv_desc *d = &plan->d;
    const int32_t left = d->pad_width;
    int32_t inside = d->in_width < wide - left ? d->in_width : wide - left;
    if (inside < 0) inside = 0;
    const ptrdiff_t pixels = (ptrdiff_t)d->in_height * d->in_width;
    for (int32_t c = 0; c < d->in_channels; c++)
        for (int32_t r = 0; r < count; r++, planes += wide) {
            const int32_t y = first + r;
            memset(planes, 0, (size_t)(left < wide ? left : wide) * 4);
            if (y < 0 || y >= d->in_height || inside == 0) {
                memset(planes, 0, (size_t)wide * 4);
                continue;
            }
            float *dst = planes + left;
            if (d->src_layout == CK_NCHW) {
                const float *src = (const float *)args->src + ((ptrdiff_t)image * d->in_channels + c) * pixels;
                memcpy(dst, src + (ptrdiff_t)y * d->in_width, (size_t)inside * 4);
            } else {
                const uint8_t *src = (const uint8_t *)args->src +
                                     ((ptrdiff_t)image * pixels + (ptrdiff_t)y * d->in_width) * d->in_channels;
                const ck_byte_row row = {.src = src + c,
                                         .step = d->in_channels,
                                         .count = inside,
                                         .scale = args->src_scale[c],
                                         .shift = args->src_shift[c],
                                         .dst = dst};
                plan->kernels->byte_row(&row);
            }
            memset(dst + inside, 0, (size_t)(wide - left - inside) * 4);
        }
}

typedef struct job {
    const ck_conv_plan *plan;
    const ck_conv_args *args;
    const ck_stem_method *method;
    int64_t rows; /* of dst, of all images */
    int32_t height, parts;
} job;

/* Output rows y...end of one image. */
static void run_plain(const job *j, int32_t image, int32_t y, int32_t end, float *memory) {
    const ck_conv_plan *plan = j->plan;
    const ck_stem_method *method = j->method;
    const ck_conv_args *args = j->args;
    const ptrdiff_t row = (ptrdiff_t)plan->out_width * plan->block, plane = plan->out_height * row;
    while (y < end) {
        const int32_t count = end - y < method->rows_a_run ? end - y : method->rows_a_run;
        method->fill(plan, args, image, y * plan->d.stride_height - plan->d.pad_height, ck_stem_rows(plan, count),
                     memory);
        for (int32_t r = 0; r < count; r++, y++) {
            const ptrdiff_t at = image * plan->out_blocks * plane + y * row;
            const float *residual = args->residual ? args->residual + at : NULL;
            const ck_stem_row made = {memory, r, ck_stem_rows(plan, count), args->dst + at, residual, plane};
            method->row(plan, args, &made);
        }
    }
}

/* Pooled rows y...end of one image: convolution rows 2y - 1...2y + 1 give row y. */
static void run_pooled(const job *j, int32_t image, int32_t y, int32_t end, float *memory, float *ring) {
    const ck_conv_plan *plan = j->plan;
    const ck_stem_method *method = j->method;
    const ck_conv_args *args = j->args;
    const int32_t v = plan->block, out_width = pooled_size(plan->out_width);
    const ptrdiff_t row_floats = (ptrdiff_t)plan->out_width * v, slot = plan->out_blocks * row_floats;
    const ptrdiff_t plane = (ptrdiff_t)pooled_size(plan->out_height) * out_width * v;
    int32_t next = 2 * y - 1 < 0 ? 0 : 2 * y - 1, filled_from = 0, filled_to = 0, rows = 0;
    for (; y < end; y++) {
        const int32_t low = 2 * y - 1 < 0 ? 0 : 2 * y - 1,
                      high = 2 * y + 2 < plan->out_height ? 2 * y + 2 : plan->out_height;
        for (; next < high; next++) {
            if (next >= filled_to) {
                const int32_t last = 2 * end < plan->out_height ? 2 * end : plan->out_height;
                filled_from = next;
                filled_to = next + method->rows_a_run < last ? next + method->rows_a_run : last;
                rows = ck_stem_rows(plan, filled_to - filled_from);
                method->fill(plan, args, image, next * plan->d.stride_height - plan->d.pad_height, rows, memory);
            }
            const ck_stem_row made = {memory, next - filled_from, rows, ring + next % 3 * slot, NULL, row_floats};
            method->row(plan, args, &made);
        }
        for (int32_t b = 0; b < plan->out_blocks; b++) {
            const float *sources[3];
            for (int32_t r = low; r < high; r++) sources[r - low] = ring + r % 3 * slot + b * row_floats;
            const ck_pool_row row = {.rows = sources,
                                     .count = high - low,
                                     .width = plan->out_width,
                                     .kernel = 3,
                                     .stride = 2,
                                     .pad = 1,
                                     .out_width = out_width,
                                     .dst = args->dst + (image * (ptrdiff_t)plan->out_blocks + b) * plane +
                                            (ptrdiff_t)y * out_width * v};
            plan->kernels->pool_row(&row);
        }
    }
}

static void run_part(void *context, int64_t part, int32_t worker) {
    const job *j = context;
    const ck_conv_plan *plan = j->plan;
    const size_t own = j->method->floats(plan);
    float *memory = (float *)j->args->workspace + worker * (own + ring_floats(plan));
    int64_t row, end;
    ck_split(j->rows, part, j->parts, &row, &end);
    while (row < end) {
        const int32_t image = (int32_t)(row / j->height), y = (int32_t)(row % j->height);
        const int32_t last = end - row < j->height - y ? y + (int32_t)(end - row) : j->height;
        if (ck_stem_pooled(plan))
            run_pooled(j, image, y, last, memory, memory + own);
        else
            run_plain(j, image, y, last, memory);
        row += last - y;
    }
}

ck_status ck_stem_run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch, const ck_stem_method *method) {
    const int32_t height = ck_stem_pooled(plan) ? pooled_size(plan->out_height) : plan->out_height;
    job j = {plan, args, method, (int64_t)batch * height, height, plan->threads};
    const int64_t parts = j.rows / ROWS_A_PART, most = CK_PARTS_A_THREAD * (int64_t)plan->threads;
    if (parts > j.parts) j.parts = (int32_t)(parts < most ? parts : most);
    if (j.rows < j.parts) j.parts = (int32_t)j.rows;
    ck_run_parts(plan->threads, j.parts, run_part, &j);
    return CK_OK;
}

void ck_stem_describe(const ck_conv_plan *plan, char *text, size_t size) {
    snprintf(text, size, " %dx%d%s", ck_tile_pixels(plan->kernels, plan->panel_blocks),
             plan->panel_blocks * plan->block, ck_stem_pooled(plan) ? " + max pool" : "");
}
