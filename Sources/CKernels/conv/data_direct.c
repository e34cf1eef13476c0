/* Data gradient of a strided convolution on NCHWc, for any kernel, stride and padding without dilation.
 *
 * Pixel y of dx meets only the taps i with (y + pad - i) divisible by the stride: with t = 0, 1, ...
 *     i = phase + stride * t,   row of dy = (y + pad) / stride - t,   phase = (y + pad) % stride
 * and likewise along the row. So dx falls into stride * stride phases, each a stride-1 convolution of dy with its own
 * taps: a 3x3 kernel at stride 2 into 1, 2, 2 and 4 of them, and no product with a zero is computed.
 *
 * A thread takes a run of rows of dx, copies the rows of dy they need with zeros around as conv/direct.c does, and for
 * a panel and a row writes the phases of the row side by side to scratch; from there they are dealt out to dx. Packed:
 * [phase][group][panel][in block][row tap][column tap][V][panel width * V], taps by rising row of dy. */
#include <stdio.h>
#include <string.h>

#include "conv/algorithms.h"

enum { BUFFER_BYTES = 320 << 10 };

/* One dimension of one phase. */
typedef struct phase {
    int32_t first;  /* first pixel of dx in it */
    int32_t pixels; /* how many there are */
    int32_t taps;
    int32_t source; /* first row (column) of dy that `first` reads; may be negative */
} phase;

static int32_t phase_taps(int32_t kernel, int32_t stride, int32_t index) {
    return index < kernel ? (kernel - index + stride - 1) / stride : 0;
}

static phase phase_at(int32_t size, int32_t kernel, int32_t stride, int32_t pad, int32_t index) {
    phase p = {.first = ((index - pad) % stride + stride) % stride, .taps = phase_taps(kernel, stride, index)};
    p.pixels = p.first < size ? (size - p.first + stride - 1) / stride : 0;
    p.source = (p.first + pad) / stride - p.taps + 1;
    return p;
}

static phase column_phase(const ck_conv_plan *plan, int32_t index) {
    const ck_conv_desc *d = &plan->d;
    return phase_at(plan->out_width, d->kernel_width, d->stride_width, d->pad_width, index);
}

/* Columns of dy that are needed: first...end, of which some may lie outside. */
static void columns(const ck_conv_plan *plan, int32_t *first, int32_t *end) {
    *first = 0;
    *end = plan->d.in_width;
    for (int32_t x = 0; x < plan->d.stride_width; x++) {
        const phase p = column_phase(plan, x);
        if (p.taps == 0 || p.pixels == 0) continue;
        if (p.source < *first) *first = p.source;
        if (p.source + p.pixels - 1 + p.taps > *end) *end = p.source + p.pixels - 1 + p.taps;
    }
}

/* Rows of dy that rows y...y+count of dx may need: first...end. */
static void source_rows(const ck_conv_plan *plan, int32_t y, int32_t count, int32_t *first, int32_t *end) {
    const ck_conv_desc *d = &plan->d;
    const int32_t most = phase_taps(d->kernel_height, d->stride_height, 0);
    *first = (y + d->pad_height) / d->stride_height - most + 1;
    *end = (y + count - 1 + d->pad_height) / d->stride_height + 1;
}

static int32_t in_blocks(const ck_conv_plan *plan) { return plan->in_blocks / plan->groups; }
static int32_t out_blocks(const ck_conv_plan *plan) { return plan->out_blocks / plan->groups; }

static size_t row_floats(const ck_conv_plan *plan) {
    int32_t first, end;
    columns(plan, &first, &end);
    return (size_t)(end - first) * plan->block;
}

static int32_t rows_a_run(const ck_conv_plan *plan) {
    const size_t bytes = (size_t)in_blocks(plan) * row_floats(plan) * 4;
    int32_t rows = plan->d.stride_height;
    for (; rows < plan->out_height; rows += plan->d.stride_height) {
        int32_t first, end;
        source_rows(plan, 0, rows + plan->d.stride_height, &first, &end);
        if ((end - first + 1) * bytes > BUFFER_BYTES) break;
    }
    return rows;
}

static size_t buffer_floats(const ck_conv_plan *plan) {
    int32_t first, end;
    source_rows(plan, 0, rows_a_run(plan), &first, &end);
    return (size_t)(end - first + 1) * in_blocks(plan) * row_floats(plan);
}
/* Phases of one row of a panel, and the row itself. */
static int32_t phase_pixels(const ck_conv_plan *plan) {
    return (plan->out_width + plan->d.stride_width - 1) / plan->d.stride_width;
}
static size_t scratch_floats(const ck_conv_plan *plan) {
    return ((size_t)plan->d.stride_width * plan->panel_blocks * phase_pixels(plan) + plan->out_width) * plan->block;
}

/* Larger strides than any network has are left to im2col: packing looks at every pair of phases. */
enum { MOST_PHASES = 64 };

static int applicable(const ck_conv_plan *plan) {
    const ck_conv_desc *d = &plan->d;
    return d->src_layout == CK_NCHWC && d->dilation_height == 1 && d->dilation_width == 1 &&
           d->stride_height * d->stride_width <= MOST_PHASES;
}

static void choose(ck_conv_plan *plan) {
    plan->groups = ck_merge_groups(&plan->d, plan->block);
    plan->panel_blocks = ck_panel_width(plan->kernels, phase_pixels(plan), out_blocks(plan));
}

static double cost(const ck_conv_plan *plan) {
    const double steps = (double)in_blocks(plan) * plan->block * plan->d.kernel_height * plan->d.kernel_width;
    const double row = ck_panel_cycles(plan->kernels, phase_pixels(plan), plan->panel_blocks) / plan->panel_blocks;
    return 1.15 * steps * row * plan->out_blocks * (plan->out_height / (double)plan->d.stride_height) * plan->d.batch;
}

static size_t thread_floats(const ck_conv_plan *plan) {
    return ck_round_up(buffer_floats(plan) + scratch_floats(plan), 16);
}
static size_t workspace_size(const ck_conv_plan *plan) { return 4 * thread_floats(plan) * plan->threads; }

/* ---- packing */

/* Steps of one phase of one panel, and where its weights start. */
static ptrdiff_t phase_steps(const ck_conv_plan *plan, int32_t y, int32_t x) {
    const ck_conv_desc *d = &plan->d;
    return (ptrdiff_t)in_blocks(plan) * plan->block * phase_taps(d->kernel_height, d->stride_height, y) *
           phase_taps(d->kernel_width, d->stride_width, x);
}
static ptrdiff_t phase_offset(const ck_conv_plan *plan, int32_t y, int32_t x) {
    ptrdiff_t steps = 0;
    for (int32_t i = 0; i < y * plan->d.stride_width + x; i++)
        steps += phase_steps(plan, i / plan->d.stride_width, i % plan->d.stride_width);
    return steps * plan->out_blocks * plan->block;
}

/* Phase (y, x) of the panel of output blocks first...first+count of group g. */
static void pack_phase(const ck_packing *p, int32_t y, int32_t x, int32_t g, int32_t first, int32_t count) {
    const ck_conv_plan *plan = p->plan;
    const ck_conv_desc *d = &plan->d;
    const int32_t v = plan->block, width = count * v, channels = in_blocks(plan) * v;
    const int32_t rows = phase_taps(d->kernel_height, d->stride_height, y);
    const int32_t cols = phase_taps(d->kernel_width, d->stride_width, x);
    float *dst =
        p->packed + phase_offset(plan, y, x) + ((ptrdiff_t)g * out_blocks(plan) + first) * v * phase_steps(plan, y, x);
    for (int32_t b = 0; b < channels; b += v)
        for (int32_t r = rows - 1; r >= 0; r--)
            for (int32_t q = cols - 1; q >= 0; q--) {
                /* The view is turned round: its tap 0 is the kernel's last. */
                const int32_t i = d->kernel_height - 1 - (y + d->stride_height * r);
                const int32_t j = d->kernel_width - 1 - (x + d->stride_width * q);
                for (int32_t c = b; c < b + v; c++, dst += width)
                    ck_pack_outputs(&p->view, (ck_filter_place){g, first * v, c, i, j}, width, dst);
            }
}

static void pack_part(void *context, int64_t part, int32_t worker) {
    const ck_packing *p = context;
    const ck_conv_plan *plan = p->plan;
    const int32_t panels = ck_panel_count(out_blocks(plan), plan->panel_blocks), g = (int32_t)(part / panels);
    int32_t first, count;
    (void)worker;
    ck_panel_at(out_blocks(plan), plan->panel_blocks, (int32_t)(part % panels), &first, &count);
    for (int32_t y = 0; y < plan->d.stride_height; y++)
        for (int32_t x = 0; x < plan->d.stride_width; x++) pack_phase(p, y, x, g, first, count);
}

static void pack(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed) {
    const int32_t panels = ck_panel_count(out_blocks(plan), plan->panel_blocks);
    ck_pack_parts(plan, oihw, scale, packed, (int64_t)panels * plan->groups, pack_part);
}

/* ---- running */

/* One row of one block: phase x of it lies at scratch + x * phase_stride. */
static void deal_out(const ck_conv_plan *plan, const float *scratch, ptrdiff_t phase_stride, float *row) {
    const size_t v = (size_t)plan->block;
    for (int32_t x = 0; x < plan->d.stride_width; x++) {
        const phase p = column_phase(plan, x);
        const float *from = scratch + x * phase_stride;
        for (int32_t q = 0; q < p.pixels; q++)
            memcpy(row + (p.first + (size_t)q * plan->d.stride_width) * v, from + q * v, v * 4);
    }
}

/* Rows y...y+count of dx of one image and group, panels panel...panel_end. */
typedef struct stretch {
    int32_t image, group, y, count;
    int64_t panel, panel_end;
} stretch;

/* Rows of dy with zeros around, (in block, row from `first` on, column from `left` on, V), and scratch behind them. */
typedef struct rows_of_dy {
    const float *buffer;
    float *scratch; /* (phase, panel block, pixel, V), then one row of dx */
    int32_t first, count, left;
    ptrdiff_t wide; /* floats of a row */
} rows_of_dy;

/* All phases of row `r` of a panel, whose first output block is `block`, to scratch. */
static void run_phases(const ck_conv_plan *plan, const float *packed, const rows_of_dy *from, int32_t r,
                       ptrdiff_t block, int32_t blocks) {
    const ck_conv_desc *d = &plan->d;
    const int32_t v = plan->block, down = (r + d->pad_height) % d->stride_height;
    const int32_t base = (r + d->pad_height) / d->stride_height;
    const ptrdiff_t block_stride = (ptrdiff_t)phase_pixels(plan) * v;
    ck_panel p = {.outer = {in_blocks(plan), phase_taps(d->kernel_height, d->stride_height, down), 1},
                  .outer_stride = {from->count * from->wide, from->wide, 0},
                  .pixel_stride = v,
                  .blocks = blocks,
                  .dst = from->scratch,
                  .dst_block = block_stride};
    for (int32_t x = 0; x < d->stride_width; x++, p.dst += blocks * block_stride) {
        const phase across = column_phase(plan, x);
        p.pixels = across.pixels;
        p.run = across.taps * v;
        if (p.pixels == 0) continue;
        if (p.outer[1] == 0 || p.run == 0) {
            memset(p.dst, 0, (size_t)(blocks * block_stride) * 4);
            continue;
        }
        p.src = from->buffer + (base - p.outer[1] + 1 - from->first) * from->wide +
                (ptrdiff_t)(across.source - from->left) * v;
        p.weights = packed + phase_offset(plan, down, x) + block * v * phase_steps(plan, down, x);
        plan->kernels->panel(&p);
    }
}

static void run_rows(const ck_conv_plan *plan, const ck_conv_args *args, const stretch *s, float *buffer) {
    const ck_conv_desc *d = &plan->d;
    const int32_t v = plan->block;
    const ptrdiff_t out_row = (ptrdiff_t)plan->out_width * v, block_stride = (ptrdiff_t)phase_pixels(plan) * v;
    const ptrdiff_t plane = (ptrdiff_t)d->in_height * d->in_width * v;
    rows_of_dy from = {.buffer = buffer, .scratch = buffer + buffer_floats(plan), .wide = (ptrdiff_t)row_floats(plan)};
    int32_t end, right;
    source_rows(plan, s->y, s->count, &from.first, &end);
    columns(plan, &from.left, &right);
    from.count = end - from.first;
    ck_pad_rows(plan,
                (const float *)args->src +
                    ((ptrdiff_t)s->image * plan->in_blocks + (ptrdiff_t)s->group * in_blocks(plan)) * plane,
                from.first, from.count, -from.left, (int32_t)(from.wide / v), buffer);
    for (int64_t panel = s->panel; panel < s->panel_end; panel++) {
        int32_t first, blocks;
        ck_panel_at(out_blocks(plan), plan->panel_blocks, (int32_t)panel, &first, &blocks);
        const ptrdiff_t block = (ptrdiff_t)s->group * out_blocks(plan) + first, phase_stride = blocks * block_stride;
        float *row = from.scratch + d->stride_width * phase_stride;
        for (int32_t r = s->y; r < s->y + s->count; r++) {
            run_phases(plan, args->packed, &from, r, block, blocks);
            for (int32_t b = 0; b < blocks; b++) {
                const ptrdiff_t at =
                    (((ptrdiff_t)s->image * plan->out_blocks + block + b) * plan->out_height + r) * out_row;
                deal_out(plan, from.scratch + b * block_stride, phase_stride, args->residual ? row : args->dst + at);
                if (!args->residual) continue;
                const ck_addition sum = {
                    .a = row, .b = args->residual + at, .y = args->dst + at, .count = (size_t)out_row};
                plan->kernels->add(&sum);
            }
        }
    }
}

typedef struct job {
    const ck_conv_plan *plan;
    const ck_conv_args *args;
    int64_t items; /* `stride` rows each, of all images and groups */
    ck_grid grid;
} job;

static void run_part(void *context, int64_t part, int32_t worker) {
    const job *j = context;
    const ck_conv_plan *plan = j->plan;
    const int32_t stride = plan->d.stride_height, height = plan->out_height, units = (height + stride - 1) / stride;
    const int32_t panels = ck_panel_count(out_blocks(plan), plan->panel_blocks), most = rows_a_run(plan) / stride;
    float *buffer = (float *)j->args->workspace + worker * thread_floats(plan);
    int64_t item, end;
    stretch s;
    ck_split(j->items, part / j->grid.deep, j->grid.across, &item, &end);
    ck_split(panels, part % j->grid.deep, j->grid.deep, &s.panel, &s.panel_end);
    while (item < end) {
        const int32_t unit = (int32_t)(item % units), plane = (int32_t)(item / units);
        int64_t count = units - unit;
        if (count > end - item) count = end - item;
        if (count > most) count = most;
        s.image = plane / plan->groups;
        s.group = plane % plan->groups;
        s.y = unit * stride;
        s.count = s.y + count * stride < height ? (int32_t)count * stride : height - s.y;
        run_rows(plan, j->args, &s, buffer);
        item += count;
    }
}

static ck_status run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    const int32_t panels = ck_panel_count(out_blocks(plan), plan->panel_blocks), stride = plan->d.stride_height;
    job j = {plan, args, (int64_t)batch * plan->groups * ((plan->out_height + stride - 1) / stride), {1, 1}};
    j.grid = ck_choose_grid(plan->threads, j.items, panels, ck_pack_panels_size(plan));
    ck_run_parts(plan->threads, j.grid.across * j.grid.deep, run_part, &j);
    return CK_OK;
}

static void describe(const ck_conv_plan *plan, char *text, size_t size) {
    snprintf(text, size, " by phases, %dx%d, %d rows a run", ck_tile_pixels(plan->kernels, plan->panel_blocks),
             plan->panel_blocks * plan->block, rows_a_run(plan));
}

const ck_conv_algorithm ck_conv_data_direct = {.id = CK_DIRECT,
                                               .name = "direct",
                                               .applicable = applicable,
                                               .choose = choose,
                                               .cost = cost,
                                               .packed_size = ck_pack_panels_size,
                                               .workspace_size = workspace_size,
                                               .pack = pack,
                                               .run = run,
                                               .describe = describe};
