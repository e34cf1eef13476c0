/* The first convolution: few input channels, read from plain NCHW floats or from the NHWC bytes of pictures.
 *
 * Input rows, padding included, are laid out as planes [channel][row][padded width]; then the kernel's columns are
 * adjacent floats and a panel walks (channel, kernel row) with runs of kernel-width steps: 147 for 7x7 on RGB. Bytes
 * become normalised floats on the way (byte * scale + shift), so no float picture is ever stored.
 *
 * With CK_MAX_POOL_3X3_S2 the convolution's rows go to a ring of three, and each pair of new ones gives a pooled row:
 * the 112 x 112 x 64 tensor between the two (3.2 MB a picture) never exists. */
#include <stdio.h>
#include <string.h>

#include "conv/stem.h"

enum { CHANNELS_MOST = 8, ROWS_A_RUN = 4 };

static int pooled(const ck_conv_plan *plan) { return !!(plan->d.epilogue & CK_MAX_POOL_3X3_S2); }
static int32_t pooled_size(int32_t size) { return (size + 2 - 3) / 2 + 1; }
static int32_t steps(const ck_conv_plan *plan) {
    return plan->d.in_channels * plan->d.kernel_height * plan->d.kernel_width;
}

int ck_stem_applicable(const ck_conv_plan *plan) {
    const ck_conv_desc *d = &plan->d;
    return d->src_layout != CK_NCHWC && d->in_channels <= CHANNELS_MOST && d->groups == 1 && d->dilation_height == 1 &&
           d->dilation_width == 1;
}

static void choose(ck_conv_plan *plan) {
    plan->panel_blocks = ck_panel_width(plan->kernels, plan->out_width, plan->out_blocks);
}

static double cost(const ck_conv_plan *plan) {
    return 1.2 * steps(plan) * ck_panel_cycles(plan->kernels, plan->out_width, plan->panel_blocks) /
           plan->panel_blocks * plan->out_blocks * plan->out_height * plan->d.batch;
}

static size_t packed_size(const ck_conv_plan *plan) { return (size_t)steps(plan) * plan->out_blocks * plan->block * 4; }

/* Floats, each a whole number of cache lines. */
static size_t planes_floats(const ck_conv_plan *plan) {
    return ck_round_up((size_t)plan->d.in_channels * ck_stem_rows(plan, ROWS_A_RUN) * ck_stem_width(plan), 16);
}
static size_t ring_floats(const ck_conv_plan *plan) {
    return pooled(plan) ? (size_t)3 * plan->out_blocks * plan->out_width * plan->block : 0;
}

static size_t workspace_size(const ck_conv_plan *plan) {
    return 4 * (planes_floats(plan) + ring_floats(plan)) * plan->threads;
}

static void pack(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed) {
    const ck_filter_view view = ck_view_filter(plan, oihw, scale);
    const int32_t v = plan->block, panels = ck_panel_count(plan->out_blocks, plan->panel_blocks);
    float *dst = packed;
    for (int32_t panel = 0; panel < panels; panel++) {
        int32_t first, blocks;
        ck_panel_at(plan->out_blocks, plan->panel_blocks, panel, &first, &blocks);
        for (int32_t c = 0; c < plan->d.in_channels; c++)
            for (int32_t y = 0; y < plan->d.kernel_height; y++)
                for (int32_t x = 0; x < plan->d.kernel_width; x++)
                    for (int32_t k = first * v; k < (first + blocks) * v; k++)
                        *dst++ = k < view.k ? ck_filter_at(&view, 1, 0, k, c, y, x) : 0;
    }
}

void ck_stem_fill(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t first, int32_t count,
                  float *planes) {
    const ck_conv_desc *d = &plan->d;
    const int32_t wide = ck_stem_width(plan), left = d->pad_width;
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

/* One output row, all panels. `src` is the row's first input row in planes of `rows` rows. */
static void run_row(const ck_conv_plan *plan, const ck_conv_args *args, const float *src, int32_t rows, float *dst,
                    const float *residual, ptrdiff_t block_stride) {
    const int32_t v = plan->block, wide = ck_stem_width(plan),
                  panels = ck_panel_count(plan->out_blocks, plan->panel_blocks);
    ck_panel p = {.src = src,
                  .outer = {plan->d.in_channels, plan->d.kernel_height, 1},
                  .outer_stride = {(ptrdiff_t)rows * wide, wide, 0},
                  .run = plan->d.kernel_width,
                  .pixel_stride = plan->d.stride_width,
                  .pixels = plan->out_width,
                  .dst_block = block_stride,
                  .relu = !!(plan->d.epilogue & CK_RELU)};
    for (int32_t panel = 0; panel < panels; panel++) {
        int32_t first;
        ck_panel_at(plan->out_blocks, plan->panel_blocks, panel, &first, &p.blocks);
        p.weights = (const float *)args->packed + (ptrdiff_t)first * v * steps(plan);
        p.bias = args->bias ? args->bias + (ptrdiff_t)first * v : NULL;
        p.dst = dst + first * block_stride;
        p.residual = residual ? residual + first * block_stride : NULL;
        plan->kernels->panel(&p);
    }
}

/* Output rows y...end of one image. */
static void run_plain(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t y, int32_t end,
                      float *planes) {
    const int32_t v = plan->block;
    const ptrdiff_t plane = (ptrdiff_t)plan->out_height * plan->out_width * v;
    while (y < end) {
        const int32_t count = end - y < ROWS_A_RUN ? end - y : ROWS_A_RUN, rows = ck_stem_rows(plan, count);
        ck_stem_fill(plan, args, image, y * plan->d.stride_height - plan->d.pad_height, rows, planes);
        for (int32_t r = 0; r < count; r++, y++) {
            const ptrdiff_t at = image * plan->out_blocks * plane + (ptrdiff_t)y * plan->out_width * v;
            run_row(plan, args, planes + (ptrdiff_t)r * plan->d.stride_height * ck_stem_width(plan), rows,
                    args->dst + at, args->residual ? args->residual + at : NULL, plane);
        }
    }
}

/* Pooled rows y...end of one image: convolution rows 2y - 1...2y + 1 give row y. */
static void run_pooled(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t y, int32_t end,
                       float *planes, float *ring) {
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
                filled_to = next + ROWS_A_RUN < last ? next + ROWS_A_RUN : last;
                rows = ck_stem_rows(plan, filled_to - filled_from);
                ck_stem_fill(plan, args, image, next * plan->d.stride_height - plan->d.pad_height, rows, planes);
            }
            run_row(plan, args, planes + (ptrdiff_t)(next - filled_from) * plan->d.stride_height * ck_stem_width(plan),
                    rows, ring + next % 3 * slot, NULL, row_floats);
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

static ck_status run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    const int32_t height = pooled(plan) ? pooled_size(plan->out_height) : plan->out_height;
    const int64_t rows = (int64_t)batch * height;
    const int32_t threads = rows < plan->threads ? (int32_t)rows : plan->threads;
    const size_t mine = planes_floats(plan) + ring_floats(plan);
#pragma omp parallel num_threads(threads)
    for (int32_t part = ck_thread(); part < threads; part += ck_team()) {
        float *planes = (float *)args->workspace + ck_thread() * mine;
        int64_t row, end;
        ck_split(rows, part, threads, &row, &end);
        while (row < end) {
            const int32_t image = (int32_t)(row / height), y = (int32_t)(row % height);
            const int32_t last = end - row < height - y ? y + (int32_t)(end - row) : height;
            if (pooled(plan))
                run_pooled(plan, args, image, y, last, planes, planes + planes_floats(plan));
            else
                run_plain(plan, args, image, y, last, planes);
            row += last - y;
        }
    }
    return CK_OK;
}

static void describe(const ck_conv_plan *plan, char *text, size_t size) {
    snprintf(text, size, " %dx%d%s", ck_tile_pixels(plan->kernels, plan->panel_blocks),
             plan->panel_blocks * plan->block, pooled(plan) ? " + max pool" : "");
}

const ck_conv_algorithm ck_conv_stem = {
    CK_STEM, ck_stem_applicable, choose, cost, packed_size, workspace_size, pack, run, describe};
