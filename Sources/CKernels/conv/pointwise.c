/* 1x1 convolution without padding, stride 1 or 2: a matrix product straight on NCHWc.
 *
 * With stride 1 a picture is one row of H * W pixels; with stride 2 every output row is a row of pixels two apart.
 * A thread takes a chunk of pixels whose inputs stay in L2 and runs all its panels over it, so that the activations
 * come from memory once and the weights once a chunk. */
#include <stdio.h>

#include "conv/algorithms.h"

enum { CHUNK_BYTES = 384 << 10 };

static int applicable(const ck_conv_plan *plan) {
    const ck_conv_desc *d = &plan->d;
    return d->kernel_height == 1 && d->kernel_width == 1 && d->pad_height == 0 && d->pad_width == 0 && d->groups == 1 &&
           d->src_layout == CK_NCHWC && d->stride_height <= 2 && d->stride_height == d->stride_width &&
           !(d->epilogue & CK_MAX_POOL_3X3_S2);
}

static int32_t line_pixels(const ck_conv_plan *plan) {
    return plan->d.stride_height == 1 ? plan->out_height * plan->out_width : plan->out_width;
}

static int32_t lines(const ck_conv_plan *plan) { return plan->d.stride_height == 1 ? 1 : plan->out_height; }

static void choose(ck_conv_plan *plan) {
    plan->panel_blocks = ck_panel_width(plan->kernels, line_pixels(plan), plan->out_blocks);
}

static double cost(const ck_conv_plan *plan) {
    const double line = ck_panel_cycles(plan->kernels, line_pixels(plan), plan->panel_blocks) / plan->panel_blocks;
    return 1.05 * line * lines(plan) * plan->in_blocks * plan->block * plan->out_blocks * plan->d.batch;
}

static size_t workspace_size(const ck_conv_plan *plan) { return 0 * (size_t)plan->threads; }

/* Pixels begin...end of one line, panels begin...end. */
static void run_line(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t line, int32_t begin,
                     int32_t end, int64_t panel_begin, int64_t panel_end) {
    const ck_conv_desc *d = &plan->d;
    const int32_t v = plan->block, stride = d->stride_width;
    const ptrdiff_t plane = (ptrdiff_t)d->in_height * d->in_width * v,
                    out_plane = (ptrdiff_t)plan->out_height * plan->out_width * v;
    ck_panel p = {.outer = {plan->in_blocks, 1, 1},
                  .outer_stride = {plane, 0, 0},
                  .run = v,
                  .pixel_stride = stride * v,
                  .pixels = end - begin,
                  .dst_block = out_plane,
                  .relu = !!(d->epilogue & CK_RELU)};
    p.src = (const float *)args->src + image * plan->in_blocks * plane + (ptrdiff_t)line * stride * d->in_width * v +
            (ptrdiff_t)begin * stride * v;
    const ptrdiff_t at = image * plan->out_blocks * out_plane + ((ptrdiff_t)line * plan->out_width + begin) * v;
    for (int64_t panel = panel_begin; panel < panel_end; panel++) {
        int32_t first;
        ck_panel_at(plan->out_blocks, plan->panel_blocks, (int32_t)panel, &first, &p.blocks);
        p.weights = (const float *)args->packed + (ptrdiff_t)first * v * plan->in_blocks * v;
        p.bias = args->bias ? args->bias + (ptrdiff_t)first * v : NULL;
        p.dst = args->dst + at + first * out_plane;
        p.residual = args->residual ? args->residual + at + first * out_plane : NULL;
        plan->kernels->panel(&p);
    }
}

/* A line of pixels is cut into `chunks` of whole register tiles; the panels are cut into `deep` shares. */
typedef struct job {
    const ck_conv_plan *plan;
    const ck_conv_args *args;
    int64_t items; /* chunks of all lines of all images */
    int32_t tile, tiles, chunks, deep;
} job;

/* One chunk through one share of the panels. The shares come one after the other, so that a thread stays with one. */
static void run_part(void *context, int64_t part, int32_t worker) {
    const job *j = context;
    const ck_conv_plan *plan = j->plan;
    const int64_t item = part % j->items, line = item / j->chunks;
    int64_t first, last, panel, panel_end;
    (void)worker;
    ck_split(j->tiles, item % j->chunks, j->chunks, &first, &last);
    ck_split(ck_panel_count(plan->out_blocks, plan->panel_blocks), part / j->items, j->deep, &panel, &panel_end);
    const int32_t pixels = line_pixels(plan), end = (int32_t)last * j->tile;
    run_line(plan, j->args, (int32_t)(line / lines(plan)), (int32_t)(line % lines(plan)), (int32_t)first * j->tile,
             end < pixels ? end : pixels, panel, panel_end);
}

static ck_status run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    const int32_t panels = ck_panel_count(plan->out_blocks, plan->panel_blocks), pixels = line_pixels(plan);
    const int32_t tile = ck_tile_pixels(plan->kernels, plan->panel_blocks), tiles = (pixels + tile - 1) / tile;
    const int64_t bytes_a_tile = (int64_t)plan->in_blocks * plan->block * 4 * tile;
    int64_t chunks = (tiles * bytes_a_tile + CHUNK_BYTES - 1) / CHUNK_BYTES;
    const int64_t all_lines = (int64_t)batch * lines(plan);
    if (all_lines * chunks < plan->threads)
        chunks = (plan->threads + all_lines - 1) / all_lines;
    else if (all_lines < plan->threads)
        chunks = (chunks + plan->threads - 1) / plan->threads * plan->threads;
    if (chunks > tiles) chunks = tiles;
    const ck_grid grid = ck_choose_grid(plan->threads, all_lines * chunks, panels, ck_pack_panels_size(plan));
    job j = {plan, args, all_lines * chunks, tile, tiles, (int32_t)chunks, grid.deep};
    ck_run_parts(grid.across * grid.deep, j.items * j.deep, run_part, &j);
    return CK_OK;
}

static void pack(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed) {
    ck_pack_panels(plan, oihw, scale, packed);
}

static void describe(const ck_conv_plan *plan, char *text, size_t size) {
    snprintf(text, size, " %dx%d", ck_tile_pixels(plan->kernels, plan->panel_blocks), plan->panel_blocks * plan->block);
}

const ck_conv_algorithm ck_conv_pointwise = {.id = CK_POINTWISE,
                                             .name = "pointwise",
                                             .applicable = applicable,
                                             .choose = choose,
                                             .cost = cost,
                                             .packed_size = ck_pack_panels_size,
                                             .workspace_size = workspace_size,
                                             .pack = pack,
                                             .run = run,
                                             .describe = describe};
