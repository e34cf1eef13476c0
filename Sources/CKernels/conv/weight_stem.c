/* Weight gradient of the first convolution: few input channels, read as planes (see conv/stem.c).
 *
 * In a plane the kernel's columns are adjacent floats, so that one call of the outer-product kernel gives a row of taps
 *     sums[panel][channel][kernel row][kernel column][panel width * V] += x[row][x * stride + column] * dy[row][x]
 * for one row of dy. Every thread has rows and sums of its own. */
#include <stdio.h>
#include <string.h>

#include "conv/algorithms.h"
#include "conv/stem.h"
#include "conv/weights.h"

enum { ROWS_A_RUN = 4 };

static void choose(ck_conv_plan *plan) {
    plan->groups = 1;
    plan->panel_blocks = CK_WEIGHT_PANEL;
}

static int32_t steps(const ck_conv_plan *plan) {
    return plan->d.in_channels * plan->d.kernel_height * plan->d.kernel_width;
}

static double cost(const ck_conv_plan *plan) {
    return 1.4 * steps(plan) * plan->out_blocks * (double)plan->out_width * plan->out_height * plan->d.batch / 2;
}

static size_t sums_floats(const ck_conv_plan *plan) { return (size_t)steps(plan) * plan->out_blocks * plan->block; }
static size_t planes_floats(const ck_conv_plan *plan) {
    return ck_round_up((size_t)plan->d.in_channels * ck_stem_rows(plan, ROWS_A_RUN) * ck_stem_width(plan), 16);
}

static size_t workspace_size(const ck_conv_plan *plan) {
    return 4 * (sums_floats(plan) + planes_floats(plan)) * plan->threads;
}

/* One row of dy: `src` is its first input row in planes of `rows` rows. */
static void run_row(const ck_conv_plan *plan, const float *src, int32_t rows, const float *dy, int32_t accumulate,
                    float *sums) {
    const ck_conv_desc *d = &plan->d;
    const int32_t wide = ck_stem_width(plan), panels = ck_weight_panels(plan);
    const ptrdiff_t plane = (ptrdiff_t)plan->out_height * plan->out_width * plan->block;
    ck_outer o = {.trips = {1, 1},
                  .pixels = plan->out_width,
                  .pixel_stride = d->stride_width,
                  .rows = d->kernel_width,
                  .dy_block = plane,
                  .dst = sums,
                  .accumulate = accumulate};
    for (int32_t panel = 0; panel < panels; panel++) {
        int32_t first;
        ck_panel_at(plan->out_blocks, CK_WEIGHT_PANEL, panel, &first, &o.blocks);
        o.dy = dy + first * plane;
        for (int32_t c = 0; c < d->in_channels; c++)
            for (int32_t i = 0; i < d->kernel_height; i++) {
                o.x = src + ((ptrdiff_t)c * rows + i) * wide;
                plan->kernels->outer(&o);
                o.dst += (ptrdiff_t)d->kernel_width * o.blocks * plan->block;
            }
    }
}

/* Rows row...end of all images. */
static void run_rows(const ck_conv_plan *plan, const ck_conv_args *args, int64_t row, int64_t end, float *sums,
                     float *planes) {
    const ptrdiff_t row_floats = (ptrdiff_t)plan->out_width * plan->block;
    for (int32_t accumulate = 0; row < end;) {
        const int32_t image = (int32_t)(row / plan->out_height), y = (int32_t)(row % plan->out_height);
        int64_t count = plan->out_height - y < ROWS_A_RUN ? plan->out_height - y : ROWS_A_RUN;
        if (count > end - row) count = end - row;
        const int32_t rows = ck_stem_rows(plan, (int32_t)count);
        ck_stem_fill(plan, args, image, y * plan->d.stride_height - plan->d.pad_height, rows, ck_stem_width(plan),
                     planes);
        for (int32_t r = 0; r < count; r++, accumulate = 1)
            run_row(plan, planes + (ptrdiff_t)r * plan->d.stride_height * ck_stem_width(plan), rows,
                    args->grad + ((ptrdiff_t)image * plan->out_blocks * plan->out_height + y + r) * row_floats,
                    accumulate, sums);
        row += count;
    }
}

/* dw (K, C, KH, KW) from the copies of the sums. */
static void store(const ck_conv_plan *plan, const float *sums, int32_t copies, int32_t accumulate, float *dw) {
    const int32_t n = steps(plan);
    for (int32_t panel = 0; panel < ck_weight_panels(plan); panel++) {
        int32_t first, count;
        ck_panel_at(plan->out_blocks, CK_WEIGHT_PANEL, panel, &first, &count);
        const int32_t k0 = first * plan->block, width = count * plan->block;
        for (int32_t k = 0; k < width && k0 + k < plan->d.out_channels; k++)
            for (int32_t s = 0; s < n; s++) {
                const float *from = sums + (ptrdiff_t)k0 * n + (ptrdiff_t)s * width + k;
                float sum = *from;
                for (int32_t copy = 1; copy < copies; copy++) sum += from[copy * sums_floats(plan)];
                float *to = dw + (ptrdiff_t)(k0 + k) * n + s;
                *to = accumulate ? *to + sum : sum;
            }
    }
}

/* Parts of the batch, each with sums of its own. */
static int32_t parts(const ck_conv_plan *plan, int32_t batch) {
    const int64_t rows = (int64_t)batch * plan->out_height;
    return rows < plan->threads ? (int32_t)rows : plan->threads;
}

static void run_part(void *context, int64_t part, int32_t worker) {
    const ck_conv_job *j = context;
    const ck_conv_plan *plan = j->plan;
    float *sums = j->args->workspace, *planes = sums + sums_floats(plan) * plan->threads;
    int64_t row, end;
    ck_split((int64_t)j->batch * plan->out_height, part, parts(plan, j->batch), &row, &end);
    run_rows(plan, j->args, row, end, sums + part * sums_floats(plan), planes + worker * planes_floats(plan));
}

static ck_status run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    ck_conv_job job = {plan, args, batch};
    ck_run_parts(plan->threads, parts(plan, batch), run_part, &job);
    store(plan, args->workspace, parts(plan, batch), args->accumulate, args->dst);
    return CK_OK;
}

static void describe(const ck_conv_plan *plan, char *text, size_t size) {
    snprintf(text, size, " outer products, %d taps a row", (int)plan->d.kernel_width);
}

const ck_conv_algorithm ck_conv_weight_stem = {.id = CK_STEM,
                                               .name = "stem",
                                               .applicable = ck_stem_applicable,
                                               .choose = choose,
                                               .cost = cost,
                                               .packed_size = ck_nothing_packed,
                                               .workspace_size = workspace_size,
                                               .run = run,
                                               .describe = describe};
