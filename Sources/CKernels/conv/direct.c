/* Direct convolution on NCHWc: any kernel, stride, padding and dilation.
 *
 * A thread takes a run of output rows. It copies the input rows they need, padding included, into a buffer
 *     [channel block][row][padded width][V]
 * so that the panel kernel never meets an edge; the copy is under 1 % of the multiply-adds from 64 channels up. Then,
 * panel by panel, every row of the run is one call: the panel's weights come from memory once a run. Without padding
 * the picture itself serves as the buffer.
 *
 * Groups narrower than a channel block, of as many channels out as in, have a kernel of their own (isa/narrow.inc);
 * other narrow ones are merged to whole blocks with zeros between them. Results of few pixels have a file of their own
 * (conv/direct_gathered.c). */
#include <stdio.h>
#include <string.h>

#include "conv/algorithms.h"
#include "conv/direct_gathered.h"

typedef struct params {
    int32_t narrow; /* channels of a group, where a block holds several groups; 0 otherwise */
} params;
CK_PARAMETERS(params)

enum { BUFFER_BYTES = 320 << 10 };

static int needs_copy(const ck_conv_plan *plan) { return plan->d.pad_height > 0 || plan->d.pad_width > 0; }

static int32_t padded_width(const ck_conv_plan *plan) {
    const ck_conv_desc *d = &plan->d;
    return (plan->out_width - 1) * d->stride_width + d->dilation_width * (d->kernel_width - 1) + 1;
}

static int32_t rows_for(const ck_conv_plan *plan, int32_t out_rows) {
    const ck_conv_desc *d = &plan->d;
    return (out_rows - 1) * d->stride_height + d->dilation_height * (d->kernel_height - 1) + 1;
}

/* Output rows a thread handles at once: as many as keep the buffer within a third of a common L2. */
static int32_t rows_a_run(const ck_conv_plan *plan) {
    const size_t row_bytes = (size_t)plan->in_blocks / plan->groups * padded_width(plan) * plan->block * 4;
    int32_t rows = 1;
    while (rows < plan->out_height && rows_for(plan, rows + 1) * row_bytes <= BUFFER_BYTES) rows++;
    return rows;
}

static size_t buffer_floats(const ck_conv_plan *plan) {
    if (!needs_copy(plan)) return 0;
    return (size_t)plan->in_blocks / plan->groups * rows_for(plan, rows_a_run(plan)) * padded_width(plan) * plan->block;
}

static int applicable(const ck_conv_plan *plan) {
    return plan->d.src_layout == CK_NCHWC && !(plan->d.epilogue & CK_MAX_POOL_3X3_S2);
}

/* Channels of a group if a block holds several whole groups of both sides, otherwise 0. */
static int32_t narrow_width(const ck_conv_plan *plan) {
    const int32_t width = plan->d.in_channels / plan->d.groups;
    const int fits = plan->d.groups > 1 && plan->d.in_channels == plan->d.out_channels && plan->block % width == 0;
    return fits && width < plan->block ? width : 0;
}

static void choose(ck_conv_plan *plan) {
    const int32_t narrow = narrow_width(plan);
    set_own(plan, (params){narrow});
    if (narrow) { /* every block stands for itself */
        plan->groups = plan->in_blocks;
        plan->panel_blocks = 1;
        return;
    }
    plan->groups = ck_merge_groups(&plan->d, plan->block);
    const int32_t together = ck_direct_has_few_pixels(plan) ? plan->out_height * plan->out_width : plan->out_width;
    plan->panel_blocks = ck_panel_width(plan->kernels, together, plan->out_blocks / plan->groups);
}

static int gathers(const ck_conv_plan *plan) { return !own(plan)->narrow && ck_direct_gathers(plan); }

static double cost(const ck_conv_plan *plan) {
    const double taps = (double)plan->d.kernel_height * plan->d.kernel_width;
    if (own(plan)->narrow) /* a load, then a shuffle and a multiply-add a channel */
        return taps * (0.5 + 0.75 * own(plan)->narrow) * plan->out_blocks * plan->out_height * plan->out_width *
               plan->d.batch;
    if (ck_direct_has_few_pixels(plan)) return ck_gathered_cost(plan);
    const double steps = (double)plan->in_blocks / plan->groups * plan->block * taps;
    const double row = ck_panel_cycles(plan->kernels, plan->out_width, plan->panel_blocks) / plan->panel_blocks;
    return 1.08 * steps * row * plan->out_blocks * plan->out_height * plan->d.batch;
}

static int32_t packing_order(const ck_conv_plan *plan) { return own(plan)->narrow; }

static size_t packed_size(const ck_conv_plan *plan) {
    if (!own(plan)->narrow) return ck_pack_panels_size(plan);
    return (size_t)plan->out_blocks * plan->d.kernel_height * plan->d.kernel_width * own(plan)->narrow * plan->block *
           4;
}

static size_t workspace_size(const ck_conv_plan *plan) {
    return (gathers(plan) ? ck_gathered_floats(plan) : buffer_floats(plan)) * 4 * plan->threads;
}

void ck_pad_rows(const ck_conv_plan *plan, const float *src, int32_t first, int32_t count, int32_t left, int32_t wide,
                 float *buffer) {
    const ck_conv_desc *d = &plan->d;
    const int32_t v = plan->block, inside = d->in_width < wide - left ? d->in_width : wide - left;
    for (int32_t b = 0; b < plan->in_blocks / plan->groups; b++)
        for (int32_t r = 0; r < count; r++, buffer += (ptrdiff_t)wide * v) {
            const int32_t y = first + r;
            if (y < 0 || y >= d->in_height || inside <= 0) {
                memset(buffer, 0, (size_t)wide * v * 4);
                continue;
            }
            const float *row = src + ((ptrdiff_t)b * d->in_height + y) * d->in_width * v;
            memset(buffer, 0, (size_t)left * v * 4);
            memcpy(buffer + (ptrdiff_t)left * v, row, (size_t)inside * v * 4);
            memset(buffer + (ptrdiff_t)(left + inside) * v, 0, (size_t)(wide - left - inside) * v * 4);
        }
}

/* Rows row...row+count of y of one image and group, panels panel...panel_end. */
typedef struct stretch {
    int32_t image, group, row, count;
    int64_t panel, panel_end;
} stretch;

/* The input rows of a stretch, padding included: (in block, row, column, V) with these strides in floats. */
typedef struct source {
    const float *first;
    ptrdiff_t row_stride, block_stride;
} source;

/* From the picture, or from a copy with zeros around. */
static source find_source(const ck_conv_plan *plan, const ck_conv_args *args, const stretch *s, float *buffer) {
    const ck_conv_desc *d = &plan->d;
    const ptrdiff_t row = (ptrdiff_t)d->in_width * plan->block, plane = d->in_height * row;
    const ptrdiff_t block =
        (ptrdiff_t)s->image * plan->in_blocks + (ptrdiff_t)s->group * (plan->in_blocks / plan->groups);
    const float *src = (const float *)args->src + block * plane;
    if (!needs_copy(plan)) return (source){src + (ptrdiff_t)s->row * d->stride_height * row, row, plane};
    const int32_t rows = rows_for(plan, s->count), wide = padded_width(plan);
    ck_pad_rows(plan, src, s->row * d->stride_height - d->pad_height, rows, d->pad_width, wide, buffer);
    return (source){buffer, (ptrdiff_t)wide * plan->block, (ptrdiff_t)rows * wide * plan->block};
}

/* A channel block of narrow groups, which is a group of its own here. */
static void run_narrow(const ck_conv_plan *plan, const ck_conv_args *args, const stretch *s, source from) {
    const ck_conv_desc *d = &plan->d;
    const int32_t v = plan->block;
    const ptrdiff_t weights = (ptrdiff_t)d->kernel_height * d->kernel_width * own(plan)->narrow * v;
    ck_narrow_row job = {.rows = d->kernel_height,
                         .columns = d->kernel_width,
                         .width = own(plan)->narrow,
                         .pixels = plan->out_width,
                         .row_stride = d->dilation_height * from.row_stride,
                         .column_stride = (ptrdiff_t)d->dilation_width * v,
                         .pixel_stride = (ptrdiff_t)d->stride_width * v,
                         .weights = (const float *)args->packed + s->group * weights,
                         .bias = args->bias ? args->bias + (ptrdiff_t)s->group * v : NULL,
                         .relu = !!(d->epilogue & CK_RELU)};
    for (int32_t r = 0; r < s->count; r++) {
        const ptrdiff_t line = ((ptrdiff_t)s->image * plan->out_blocks + s->group) * plan->out_height + s->row + r;
        const ptrdiff_t at = line * plan->out_width * v;
        job.src = from.first + (ptrdiff_t)r * d->stride_height * from.row_stride;
        job.dst = args->dst + at;
        job.residual = args->residual ? args->residual + at : NULL;
        plan->kernels->narrow_row(&job);
    }
}

static void run_panels(const ck_conv_plan *plan, const ck_conv_args *args, const stretch *s, source from) {
    const ck_conv_desc *d = &plan->d;
    const int32_t v = plan->block, in_blocks = plan->in_blocks / plan->groups,
                  out_blocks = plan->out_blocks / plan->groups;
    const ptrdiff_t out_row = (ptrdiff_t)plan->out_width * v, out_plane = plan->out_height * out_row;
    const ptrdiff_t steps = (ptrdiff_t)in_blocks * v * d->kernel_height * d->kernel_width;
    ck_panel p = {.outer = {in_blocks, d->kernel_height, 1},
                  .outer_stride = {from.block_stride, d->dilation_height * from.row_stride, 0},
                  .run = d->kernel_width * v, /* the kernel's columns are adjacent: one long run */
                  .pixels = plan->out_width,
                  .pixel_stride = d->stride_width * v,
                  .dst_block = out_plane,
                  .relu = !!(d->epilogue & CK_RELU)};
    if (d->dilation_width > 1) {
        p.outer[2] = d->kernel_width;
        p.outer_stride[2] = (ptrdiff_t)d->dilation_width * v;
        p.run = v;
    }
    for (int64_t panel = s->panel; panel < s->panel_end; panel++) {
        int32_t first;
        ck_panel_at(out_blocks, plan->panel_blocks, (int32_t)panel, &first, &p.blocks);
        const ptrdiff_t block = (ptrdiff_t)s->group * out_blocks + first;
        p.weights = (const float *)args->packed + block * v * steps;
        p.bias = args->bias ? args->bias + block * v : NULL;
        for (int32_t r = 0; r < s->count; r++) {
            const ptrdiff_t at = ((ptrdiff_t)s->image * plan->out_blocks + block) * out_plane + (s->row + r) * out_row;
            p.src = from.first + (ptrdiff_t)r * d->stride_height * from.row_stride;
            p.dst = args->dst + at;
            p.residual = args->residual ? args->residual + at : NULL;
            plan->kernels->panel(&p);
        }
    }
}

/* Narrow groups go through a run of rows together: the 1x1 layers around them split the pixels, so that a thread finds
 * in its own L2 what it wrote. */
static int32_t together(const ck_conv_plan *plan) { return own(plan)->narrow ? plan->groups : 1; }

typedef struct job {
    const ck_conv_plan *plan;
    const ck_conv_args *args;
    int64_t rows; /* of all images and groups, those that go together counted once */
    ck_grid grid;
} job;

static void run_part(void *context, int64_t part, int32_t worker) {
    const job *j = context;
    const ck_conv_plan *plan = j->plan;
    const int32_t most = rows_a_run(plan), units = together(plan);
    const int32_t panels = ck_panel_count(plan->out_blocks / plan->groups, plan->panel_blocks);
    float *buffer = (float *)j->args->workspace + worker * buffer_floats(plan);
    int64_t row, end;
    stretch s;
    ck_split(j->rows, part / j->grid.deep, j->grid.across, &row, &end);
    ck_split(panels, part % j->grid.deep, j->grid.deep, &s.panel, &s.panel_end);
    while (row < end) {
        const int32_t y = (int32_t)(row % plan->out_height), unit = (int32_t)(row / plan->out_height) * units;
        int64_t count = plan->out_height - y;
        if (count > end - row) count = end - row;
        if (count > most) count = most;
        s.row = y;
        s.count = (int32_t)count;
        for (int32_t i = unit; i < unit + units; i++) {
            s.image = i / plan->groups;
            s.group = i % plan->groups;
            const source from = find_source(plan, j->args, &s, buffer);
            (own(plan)->narrow ? run_narrow : run_panels)(plan, j->args, &s, from);
        }
        row += count;
    }
}

static ck_status run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    if (gathers(plan)) {
        ck_gathered_run(plan, args, batch);
        return CK_OK;
    }
    const int32_t panels = ck_panel_count(plan->out_blocks / plan->groups, plan->panel_blocks);
    job j = {plan, args, (int64_t)batch * plan->groups / together(plan) * plan->out_height, {1, 1}};
    j.grid = ck_choose_grid(plan->threads, j.rows, panels, packed_size(plan));
    ck_run_parts(plan->threads, j.grid.across * j.grid.deep, run_part, &j);
    return CK_OK;
}

/* [block][y][x][channel of the group][V outputs], zeros for outputs that only fill up the last block. */
static void pack_narrow(const ck_conv_plan *plan, const float *oihw, const float *scale, float *packed) {
    const ck_filter_view view = ck_view_filter(plan, oihw, scale);
    const int32_t width = own(plan)->narrow, v = plan->block;
    for (int32_t block = 0; block < plan->out_blocks; block++)
        for (int32_t y = 0; y < plan->d.kernel_height; y++)
            for (int32_t x = 0; x < plan->d.kernel_width; x++)
                for (int32_t c = 0; c < width; c++)
                    for (int32_t k = block * v; k < (block + 1) * v; k++, packed++) {
                        *packed = 0;
                        if (k >= plan->d.out_channels) continue;
                        *packed = view.base[k / width * view.group_stride + k % width * view.k_stride +
                                            c * view.c_stride + y * view.y_stride + x * view.x_stride];
                        if (scale) *packed *= scale[k];
                    }
}

static void pack(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed) {
    if (own(plan)->narrow)
        pack_narrow(plan, oihw, scale, packed);
    else
        ck_pack_panels(plan, oihw, scale, packed);
}

static void describe(const ck_conv_plan *plan, char *text, size_t size) {
    if (own(plan)->narrow) {
        snprintf(text, size, " groups of %d, %d rows a run", own(plan)->narrow, rows_a_run(plan));
        return;
    }
    if (gathers(plan)) {
        snprintf(text, size, " %dx%d, pixels gathered", ck_tile_pixels(plan->kernels, plan->panel_blocks),
                 plan->panel_blocks * plan->block);
        return;
    }
    snprintf(text, size, " %dx%d, %d rows a run", ck_tile_pixels(plan->kernels, plan->panel_blocks),
             plan->panel_blocks * plan->block, rows_a_run(plan));
}

const ck_conv_algorithm ck_conv_direct = {.id = CK_DIRECT,
                                          .name = "direct",
                                          .applicable = applicable,
                                          .choose = choose,
                                          .cost = cost,
                                          .packed_size = packed_size,
                                          .workspace_size = workspace_size,
                                          .pack = pack,
                                          .packing_order = packing_order,
                                          .run = run,
                                          .describe = describe};
