/* Direct convolution of results of few pixels: a slice of input channels at a time, gathered tap by tap.
 *
 * Rows of 7 pixels fill register tiles badly, and each of them would read its panel's weights from L2. Here the pixels
 * that a tap of the kernel meets stand side by side for the whole result,
 *     [channel block][tap][pixel][V]
 * and a slice is so few blocks that a panel's weights for it stay in L1 over all pixels. Between slices the sums are in
 * dst. */
#include "conv/direct_gathered.h"

#include <string.h>

enum { MOST_PIXELS = 64, PARTS = 2 /* a thread's: each of them gathers */ };

static int32_t pixels(const ck_conv_plan *plan) { return plan->out_height * plan->out_width; }
static int32_t taps(const ck_conv_plan *plan) { return plan->d.kernel_height * plan->d.kernel_width; }
static ptrdiff_t tap_floats(const ck_conv_plan *plan) { return (ptrdiff_t)pixels(plan) * plan->block; }
static int32_t panels(const ck_conv_plan *plan) { return ck_panel_count(plan->out_blocks, plan->panel_blocks); }

int ck_direct_has_few_pixels(const ck_conv_plan *plan) {
    return plan->kernels->cuts_deep && plan->groups == 1 && taps(plan) > 1 && pixels(plan) <= MOST_PIXELS;
}

/* More threads than panels are better used by rows. */
int ck_direct_gathers(const ck_conv_plan *plan) {
    return ck_direct_has_few_pixels(plan) && plan->threads <= (plan->out_blocks + 1) / 2;
}

double ck_gathered_cost(const ck_conv_plan *plan) {
    const double steps = (double)plan->in_blocks * plan->block * taps(plan);
    const double all = ck_panel_cycles(plan->kernels, pixels(plan), plan->panel_blocks) / plan->panel_blocks;
    return steps * plan->d.batch * (1.15 * all * plan->out_blocks + 2.0 * pixels(plan) / plan->block);
}

static int32_t slice_blocks(const ck_conv_plan *plan) { return ck_slice_blocks(plan, taps(plan)); }

size_t ck_gathered_floats(const ck_conv_plan *plan) {
    return ck_round_up((size_t)slice_blocks(plan) * (size_t)taps(plan) * (size_t)tap_floats(plan), 16);
}

/* Outputs of a row whose tap, `offset` columns from the first output's left edge, is inside the picture. */
static void inside(const ck_conv_desc *d, int32_t out_width, int32_t offset, int32_t *begin, int32_t *end) {
    const int32_t step = d->stride_width;
    *begin = offset < 0 ? (-offset + step - 1) / step : 0;
    *end = offset < d->in_width ? (d->in_width - offset + step - 1) / step : 0;
    if (*end > out_width) *end = out_width;
    if (*begin > *end) *begin = *end;
}

/* One tap of one channel block. */
static void gather_tap(const ck_conv_plan *plan, const float *block, int32_t ky, int32_t kx, float *dst) {
    const ck_conv_desc *d = &plan->d;
    const int32_t v = plan->block, width = plan->out_width, offset = kx * d->dilation_width - d->pad_width;
    int32_t begin, end;
    inside(d, width, offset, &begin, &end);
    for (int32_t y = 0; y < plan->out_height; y++, dst += (ptrdiff_t)width * v) {
        const int32_t row = y * d->stride_height - d->pad_height + ky * d->dilation_height;
        const int is_inside = row >= 0 && row < d->in_height;
        const int32_t first = is_inside ? begin : width, last = is_inside ? end : width;
        memset(dst, 0, (size_t)first * v * 4);
        const float *src = block + ((ptrdiff_t)row * d->in_width + offset) * v;
        for (int32_t x = first; x < last; x++)
            memcpy(dst + (ptrdiff_t)x * v, src + (ptrdiff_t)x * d->stride_width * v, (size_t)v * 4);
        memset(dst + (ptrdiff_t)last * v, 0, (size_t)(width - last) * v * 4);
    }
}

/* Blocks begin...end of an image. */
static void gather(const ck_conv_plan *plan, const float *image, int32_t begin, int32_t end, float *dst) {
    const ptrdiff_t plane = (ptrdiff_t)plan->d.in_height * plan->d.in_width * plan->block;
    for (int32_t b = begin; b < end; b++)
        for (int32_t tap = 0; tap < taps(plan); tap++, dst += tap_floats(plan))
            gather_tap(plan, image + b * plane, tap / plan->d.kernel_width, tap % plan->d.kernel_width, dst);
}

typedef struct job {
    const ck_conv_plan *plan;
    const ck_conv_args *args;
    int32_t deep; /* shares of the panels */
} job;

/* One slice, which is gathered at p->src, through one panel; `next` is the panel after it. The residual is added with
 * the first slice: it may lie where the sums go. */
static void run_panel(const job *j, ck_panel *p, int64_t image, int32_t from, int32_t panel, int32_t next) {
    const ck_conv_plan *plan = j->plan;
    const int32_t v = plan->block, blocks = p->outer[0] / taps(plan);
    const ptrdiff_t step = (ptrdiff_t)taps(plan) * v * v, filters = step * plan->in_blocks; /* of an output block */
    int32_t first, after, count;
    ck_panel_at(plan->out_blocks, plan->panel_blocks, next, &after, &count);
    p->fetch = (const char *)((const float *)j->args->packed + after * filters + from * step * count);
    p->fetch_bytes = (size_t)(blocks * step * count) * 4;
    ck_panel_at(plan->out_blocks, plan->panel_blocks, panel, &first, &p->blocks);
    p->weights = (const float *)j->args->packed + first * filters + from * step * p->blocks;
    const ptrdiff_t at = (image * plan->out_blocks + first) * tap_floats(plan);
    p->dst = j->args->dst + at;
    p->accumulate = from > 0;
    p->bias = from == 0 && j->args->bias ? j->args->bias + (ptrdiff_t)first * v : NULL;
    p->residual = from == 0 && j->args->residual ? j->args->residual + at : NULL;
    p->relu = from + blocks == plan->in_blocks && (plan->d.epilogue & CK_RELU);
    plan->kernels->panel(p);
}

/* One share of the panels for one image. */
static void run_part(void *context, int64_t part, int32_t worker) {
    const job *j = context;
    const ck_conv_plan *plan = j->plan;
    const int64_t image = part / j->deep;
    const ptrdiff_t picture = (ptrdiff_t)plan->in_blocks * plan->d.in_height * plan->d.in_width * plan->block;
    float *buffer = (float *)j->args->workspace + worker * ck_gathered_floats(plan);
    int64_t panel, end;
    ck_split(panels(plan), part % j->deep, j->deep, &panel, &end);
    ck_panel p = {.src = buffer,
                  .outer = {0, 1, 1},
                  .outer_stride = {tap_floats(plan), 0, 0},
                  .run = plan->block,
                  .pixels = pixels(plan),
                  .pixel_stride = plan->block,
                  .dst_block = tap_floats(plan)};
    const int32_t slice = slice_blocks(plan);
    for (int32_t from = 0, to; from < plan->in_blocks; from = to) {
        to = from + slice < plan->in_blocks ? from + slice : plan->in_blocks;
        gather(plan, (const float *)j->args->src + image * picture, from, to, buffer);
        p.outer[0] = (to - from) * taps(plan);
        for (int64_t i = panel; i < end; i++)
            run_panel(j, &p, image, from, (int32_t)i, (int32_t)(i + 1 < end ? i + 1 : panel));
    }
}

void ck_gathered_run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    const int32_t most = plan->threads > 1 ? PARTS * plan->threads : 1;
    const int32_t wanted = (most + batch - 1) / batch;
    job j = {plan, args, wanted < panels(plan) ? wanted : panels(plan)};
    ck_run_parts(plan->threads, (int64_t)batch * j.deep, run_part, &j);
}
