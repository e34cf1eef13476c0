/* Weight gradient on NCHWc, straight from its definition, for any kernel, stride, padding and dilation:
 *
 *     dw[k][c][i][j] = sum over (image, y, x) of dy[k][y][x] * x[c][y * stride + i * dilation - pad][...]
 *
 * For a tap (i, j), a panel of output blocks and one input block it is one call of the outer-product kernel over the
 * pixels whose x lies inside the picture: padding adds nothing, so nothing is copied. Pixels are taken in chunks whose
 * dy stays in L1 while all input blocks and taps pass by. */
#include <stdio.h>

#include "conv/algorithms.h"
#include "conv/weights.h"

typedef struct params {
    ck_weight_split split;
} params;
CK_PARAMETERS(params)

enum { CHUNK_PIXELS = 208 };

static int applicable(const ck_conv_plan *plan) { return plan->d.src_layout == CK_NCHWC; }

static void choose(ck_conv_plan *plan) {
    plan->groups = ck_merge_groups(&plan->d, plan->block);
    plan->panel_blocks = CK_WEIGHT_PANEL;
    set_own(plan, (params){ck_split_weights(plan, plan->d.batch)});
}

static double cost(const ck_conv_plan *plan) {
    const double cells =
        (double)plan->out_blocks * ck_weight_blocks(plan) * plan->block * plan->d.kernel_height * plan->d.kernel_width;
    const double pixels = (double)plan->d.batch * plan->out_height * plan->out_width;
    return 1.15 * cells * pixels / 2;
}

static size_t copy_floats(const ck_conv_plan *plan) { return ck_round_up(ck_weight_sums(plan), 16); }
static size_t workspace_size(const ck_conv_plan *plan) { return 4 * copy_floats(plan) * own(plan)->split.images; }

/* A 1x1 convolution with stride 1 is one line of pixels a picture; else a line is a row. */
static int flat(const ck_conv_plan *plan) {
    const ck_conv_desc *d = &plan->d;
    return d->kernel_height == 1 && d->kernel_width == 1 && d->stride_height == 1 && d->stride_width == 1 &&
           d->pad_height == 0 && d->pad_width == 0;
}

/* Images n0...n1, output rows y0...y1 and columns x0...x1. With `flat`, all pixels are columns of row 0. */
typedef struct chunk {
    int32_t n0, n1, y0, y1, x0, x1;
    int32_t accumulate; /* to the sums of earlier chunks */
} chunk;

/* What a part computes: images, panels (over all groups), input blocks. */
typedef struct share {
    int64_t n, n_end, panel, panel_end, block, block_end;
} share;

/* The outputs begin...end of low...high whose input at tap `tap` lies inside 0...in - 1. */
static void clip(int32_t low, int32_t high, int32_t stride, int32_t offset, int32_t in, int32_t *begin, int32_t *end) {
    const int32_t first = offset < 0 ? (-offset + stride - 1) / stride : 0;
    const int32_t last = in - 1 - offset < 0 ? -1 : (in - 1 - offset) / stride;
    *begin = low > first ? low : first;
    *end = high < last + 1 ? high : last + 1;
    if (*end < *begin) *end = *begin;
}

/* One chunk of one panel (over all groups) and input block. */
static void run_cell(const ck_conv_job *job, const chunk *at, int64_t index, int32_t block, float *sums) {
    const ck_conv_plan *plan = job->plan;
    const ck_conv_args *args = job->args;
    const int32_t group = (int32_t)(index / ck_weight_panels(plan)), panel = (int32_t)(index % ck_weight_panels(plan));
    const ck_conv_desc *d = &plan->d;
    const int32_t v = plan->block, real = d->in_channels - (group * ck_weight_blocks(plan) + block) * v;
    const int32_t in_width = flat(plan) ? d->in_height * d->in_width : d->in_width;
    const int32_t in_height = flat(plan) ? 1 : d->in_height;
    const ptrdiff_t x_plane = (ptrdiff_t)d->in_height * d->in_width * v;
    const ptrdiff_t dy_plane = (ptrdiff_t)plan->out_height * plan->out_width * v;
    const ptrdiff_t dy_row = flat(plan) ? dy_plane : (ptrdiff_t)plan->out_width * v;
    int32_t first, count;
    float *dst = sums + ck_weight_cell(plan, group, panel, block, &first, &count);
    const float *x = (const float *)args->src +
                     ((ptrdiff_t)at->n0 * plan->in_blocks + group * ck_weight_blocks(plan) + block) * x_plane;
    const float *dy = args->grad + ((ptrdiff_t)at->n0 * plan->out_blocks +
                                    (ptrdiff_t)group * (plan->out_blocks / plan->groups) + first) *
                                       dy_plane;
    ck_outer o = {.x_stride = {plan->in_blocks * x_plane, (ptrdiff_t)d->stride_height * in_width * v},
                  .dy_stride = {plan->out_blocks * dy_plane, dy_row},
                  .pixel_stride = d->stride_width * v,
                  .rows = real < v ? real : v,
                  .blocks = count,
                  .dy_block = dy_plane,
                  .accumulate = at->accumulate};
    for (int32_t i = 0; i < d->kernel_height; i++)
        for (int32_t j = 0; j < d->kernel_width; j++, dst += (ptrdiff_t)v * count * v) {
            const int32_t down = i * d->dilation_height - d->pad_height, right = j * d->dilation_width - d->pad_width;
            int32_t y, y_end, column, column_end;
            clip(at->y0, at->y1, d->stride_height, down, in_height, &y, &y_end);
            clip(at->x0, at->x1, d->stride_width, right, in_width, &column, &column_end);
            o.trips[0] = column < column_end ? at->n1 - at->n0 : 0;
            o.trips[1] = y_end - y;
            o.pixels = column_end - column;
            o.x = x + ((ptrdiff_t)(y * d->stride_height + down) * in_width + column * d->stride_width + right) * v;
            o.dy = dy + y * dy_row + (ptrdiff_t)column * v;
            o.dst = dst;
            if (o.trips[0] == 0 || o.trips[1] == 0) o.x = x, o.dy = dy; /* nothing is read */
            plan->kernels->outer(&o);
        }
}

static void run_images(const ck_conv_job *job, const share *s, float *sums) {
    const ck_conv_plan *plan = job->plan;
    const int32_t width = flat(plan) ? plan->out_height * plan->out_width : plan->out_width;
    const int32_t height = flat(plan) ? 1 : plan->out_height;
    const int64_t pixels = (int64_t)width * height;
    const int32_t images = pixels < CHUNK_PIXELS ? (int32_t)(CHUNK_PIXELS / pixels) : 1;
    const int32_t row_parts = (int32_t)((pixels + CHUNK_PIXELS - 1) / CHUNK_PIXELS);
    const int32_t rows = row_parts < height ? row_parts : height;
    const int32_t columns = (width + CHUNK_PIXELS - 1) / CHUNK_PIXELS;
    chunk at = {0};
    for (int64_t n = s->n; n < s->n_end; n += images)
        for (int32_t cut = 0; cut < rows * columns; cut++, at.accumulate = 1) {
            int64_t y0, y1, x0, x1;
            ck_split(height, cut / columns, rows, &y0, &y1);
            ck_split(width, cut % columns, columns, &x0, &x1);
            at.n0 = (int32_t)n, at.n1 = (int32_t)(n + images < s->n_end ? n + images : s->n_end);
            at.y0 = (int32_t)y0, at.y1 = (int32_t)y1, at.x0 = (int32_t)x0, at.x1 = (int32_t)x1;
            for (int64_t p = s->panel; p < s->panel_end; p++)
                for (int64_t b = s->block; b < s->block_end; b++) run_cell(job, &at, p, (int32_t)b, sums);
        }
}

static int32_t copies(const ck_conv_plan *plan, int32_t batch) {
    return own(plan)->split.images < batch ? own(plan)->split.images : batch;
}

static void run_part(void *context, int64_t part, int32_t worker) {
    const ck_conv_job *job = context;
    const ck_conv_plan *plan = job->plan;
    const ck_weight_split split = own(plan)->split;
    const int64_t copy = part / (split.panels * split.blocks);
    share s;
    (void)worker;
    ck_split(job->batch, copy, copies(plan, job->batch), &s.n, &s.n_end);
    ck_split((int64_t)plan->groups * ck_weight_panels(plan), part / split.blocks % split.panels, split.panels, &s.panel,
             &s.panel_end);
    ck_split(ck_weight_blocks(plan), part % split.blocks, split.blocks, &s.block, &s.block_end);
    run_images(job, &s, (float *)job->args->workspace + copy * copy_floats(plan));
}

static ck_status run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    ck_conv_job job = {plan, args, batch};
    const int32_t count = copies(plan, batch);
    ck_run_parts(plan->threads, count * own(plan)->split.panels * own(plan)->split.blocks, run_part, &job);
    ck_store_weights(plan, args, args->workspace, count, copy_floats(plan));
    return CK_OK;
}

static void describe(const ck_conv_plan *plan, char *text, size_t size) {
    snprintf(text, size, " outer products, %d x %d x %d parts", own(plan)->split.images, own(plan)->split.panels,
             own(plan)->split.blocks);
}

const ck_conv_algorithm ck_conv_weight_direct = {.id = CK_DIRECT,
                                                 .name = "direct",
                                                 .applicable = applicable,
                                                 .choose = choose,
                                                 .cost = cost,
                                                 .packed_size = ck_nothing_packed,
                                                 .workspace_size = workspace_size,
                                                 .run = run,
                                                 .describe = describe};
