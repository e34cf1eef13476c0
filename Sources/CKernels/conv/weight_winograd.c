/* Weight gradient of a 3x3 convolution with stride 1 by Winograd F(3x3, 4x4): a quarter of the multiplications.
 *
 *     tiles  V[point][in block][tile][V]   <- the forward pass's input transform of x
 *            W[point][out block][tile][V]  <- transform of dy, 4x4 to 6x6
 *     cell   M[point][V in][panel out]     <- for every point: outer products of V and W, summed over the tiles
 *            sums of 9 taps                <- += G^T M G
 *
 * A cell is one input block by one output panel: its 36 sums stay in L2, so that M as a whole, four times the size of
 * the filters, never exists. A block of tiles is as large as keeps V and W within reach of the L3 cache: the more
 * tiles, the less the last step costs. */
#include <stdio.h>

#include "conv/algorithms.h"
#include "conv/prefetch.h"
#include "conv/tiles.h"
#include "conv/weights.h"

typedef struct params {
    ck_weight_split split;
    int32_t tiles_a_block; /* tiles whose transforms are held at once */
} params;
CK_PARAMETERS(params)

enum { TILE = 4, POINTS = 36, TAPS = 9, TILES_MOST = 128, TILES_LEAST = 16, ROOM = 6 << 20 };

static int32_t share(int32_t count, int32_t parts) { return (count + parts - 1) / parts; }

/* Blocks of V and W that a part holds. */
static int32_t own_inputs(const ck_conv_plan *plan) { return share(plan->in_blocks, own(plan)->split.blocks); }
static int32_t own_outputs(const ck_conv_plan *plan) {
    return share(ck_weight_panels(plan), own(plan)->split.panels) * CK_WEIGHT_PANEL;
}
/* Odd numbers of vectors: see conv/winograd.c. */
static ptrdiff_t v_point(const ck_conv_plan *plan) {
    return (((ptrdiff_t)own_inputs(plan) * own(plan)->tiles_a_block) | 1) * plan->block;
}
static ptrdiff_t w_point(const ck_conv_plan *plan) {
    return (((ptrdiff_t)own_outputs(plan) * own(plan)->tiles_a_block) | 1) * plan->block;
}
static size_t cell_floats(const ck_conv_plan *plan) {
    return (size_t)POINTS * CK_WEIGHT_PANEL * plan->block * plan->block;
}
static size_t scratch_floats(const ck_conv_plan *plan) {
    return (size_t)(TILE + 2) * (TILE * ck_tile_columns(plan, TILE) + 2) * plan->block;
}
static size_t part_floats(const ck_conv_plan *plan) {
    return ck_round_up((size_t)POINTS * (v_point(plan) + w_point(plan)) + cell_floats(plan) + scratch_floats(plan), 16);
}
static size_t copy_floats(const ck_conv_plan *plan) { return ck_round_up(ck_weight_sums(plan), 16); }

static int applicable(const ck_conv_plan *plan) {
    const ck_conv_desc *d = &plan->d;
    return d->kernel_height == 3 && d->kernel_width == 3 && d->stride_height == 1 && d->stride_width == 1 &&
           d->dilation_height == 1 && d->dilation_width == 1 && d->groups == 1 && d->src_layout == CK_NCHWC;
}

/* How many parts the tiles of a batch may be cut into. */
static int32_t tile_parts(const ck_conv_plan *plan, int32_t batch) {
    const int64_t parts = ck_tile_count(plan, TILE, batch) / TILES_LEAST;
    return parts < 1 ? 1 : parts > plan->threads ? plan->threads : (int32_t)parts;
}

static void choose(ck_conv_plan *plan) {
    plan->groups = 1;
    plan->panel_blocks = CK_WEIGHT_PANEL;
    params p = {.split = ck_split_weights(plan, tile_parts(plan, plan->d.batch))};
    set_own(plan, p);
    const int64_t tiles = (ck_tile_count(plan, TILE, plan->d.batch) + p.split.images - 1) / p.split.images;
    const size_t one = (size_t)POINTS * 4 * plan->block * (own_inputs(plan) + own_outputs(plan));
    int64_t most = (int64_t)(ROOM / one);
    most = most < TILES_LEAST ? TILES_LEAST : most > TILES_MOST ? TILES_MOST : most;
    const int64_t rounds = (tiles + most - 1) / most;
    p.tiles_a_block = (int32_t)((tiles + rounds - 1) / rounds);
    set_own(plan, p);
}

static double cost(const ck_conv_plan *plan) {
    const double tiles = (double)ck_tile_count(plan, TILE, plan->d.batch), in = plan->in_blocks, out = plan->out_blocks;
    const double cells = in * plan->block * out;
    const double product = 1.15 * POINTS * cells * tiles / 2;
    const double transforms = 2.0 * POINTS * tiles * (in * own(plan)->split.panels + out * own(plan)->split.blocks);
    const double taps = 2.0 * POINTS * cells * tiles / own(plan)->tiles_a_block;
    return product + transforms + taps;
}

static size_t workspace_size(const ck_conv_plan *plan) {
    const ck_weight_split s = own(plan)->split;
    return 4 * (copy_floats(plan) * s.images + part_floats(plan) * s.images * s.panels * s.blocks);
}

/* Rows y...y+count of a plane, NULL where there are none. */
static void take_rows(const float *plane, int32_t y, int32_t count, int32_t height, ptrdiff_t row, const float **rows) {
    for (int32_t r = 0; r < count; r++) rows[r] = y + r >= 0 && y + r < height ? plane + (y + r) * row : NULL;
}

/* Asks for the next block's rows while this one's are transformed. */
static void fetch_rows(const float *const *rows, int32_t count, ptrdiff_t plane, ptrdiff_t from, ptrdiff_t floats) {
    for (int32_t r = 0; r < count; r++)
        if (rows[r]) ck_fetch_read(rows[r] + plane + from, floats);
}

/* What a part computes: tiles, panels, input blocks. */
typedef struct part {
    int64_t tile, tile_end, panel, panel_end, block, block_end;
    float *memory, *sums;
} part;

/* A part's transformed data. */
typedef struct transforms {
    float *v;          /* (36 points, input block, tile, V) */
    float *w;          /* (36 points, output block from first_out on, tile, V) */
    float *m;          /* (36 points, V input channels, panel width * V): one cell */
    int32_t first_out; /* output block */
} transforms;

/* Tiles first...end of the part's input blocks of x (N, C/V, H, W, V) to V. */
static void transform_x(const ck_conv_plan *plan, const float *x, const part *p, int64_t first, int64_t end, float *v,
                        float *scratch) {
    const ck_conv_desc *d = &plan->d;
    const ptrdiff_t row = (ptrdiff_t)d->in_width * plan->block, plane = d->in_height * row;
    for (int64_t tile = first; tile < end;) {
        const ck_tile_run s = ck_tile_run_at(plan, TILE, tile, end);
        for (int64_t b = p->block; b < p->block_end; b++) {
            ck_winograd_input in = {.width = d->in_width,
                                    .x0 = s.column * TILE - d->pad_width,
                                    .tiles = s.count,
                                    .dst =
                                        v + ((b - p->block) * own(plan)->tiles_a_block + (tile - first)) * plan->block,
                                    .dst_point = v_point(plan),
                                    .scratch = scratch};
            take_rows(x + ((ptrdiff_t)s.image * plan->in_blocks + b) * plane, s.row * TILE - d->pad_height, TILE + 2,
                      d->in_height, row, in.rows);
            if (b + 1 < p->block_end)
                fetch_rows(in.rows, TILE + 2, plane, (ptrdiff_t)s.column * TILE * plan->block,
                           (ptrdiff_t)(s.count == ck_tile_columns(plan, TILE) ? d->in_width : s.count) * plan->block);
            plan->kernels->winograd4_input(&in);
        }
        tile += s.count;
    }
}

/* Tiles first...end of output blocks out...out_end to W. */
static void transform_dy(const ck_conv_plan *plan, const float *dy, int64_t first, int64_t end, int32_t out,
                         int32_t out_end, float *w) {
    const ptrdiff_t row = (ptrdiff_t)plan->out_width * plan->block, plane = plan->out_height * row;
    for (int64_t tile = first; tile < end;) {
        const ck_tile_run s = ck_tile_run_at(plan, TILE, tile, end);
        for (int32_t k = out; k < out_end; k++) {
            ck_winograd_input in = {.width = plan->out_width,
                                    .x0 = s.column * TILE,
                                    .tiles = s.count,
                                    .dst = w + ((ptrdiff_t)(k - out) * own(plan)->tiles_a_block + (tile - first)) *
                                                   plan->block,
                                    .dst_point = w_point(plan)};
            take_rows(dy + ((ptrdiff_t)s.image * plan->out_blocks + k) * plane, s.row * TILE, TILE, plan->out_height,
                      row, in.rows);
            if (k + 1 < out_end)
                fetch_rows(in.rows, TILE, plane, (ptrdiff_t)s.column * TILE * plan->block,
                           (ptrdiff_t)(s.count == ck_tile_columns(plan, TILE) ? plan->out_width : s.count) *
                               plan->block);
            plan->kernels->winograd4_gradient(&in);
        }
        tile += s.count;
    }
}

/* The products of a block of `tiles` tiles; accumulate: to the sums of earlier blocks. */
static void multiply(const ck_conv_plan *plan, const part *p, const transforms *t, int32_t tiles, int32_t accumulate) {
    for (int64_t panel = p->panel; panel < p->panel_end; panel++)
        for (int64_t b = p->block; b < p->block_end; b++) {
            int32_t first, count;
            float *dst = p->sums + ck_weight_cell(plan, 0, (int32_t)panel, (int32_t)b, &first, &count);
            const ptrdiff_t point = (ptrdiff_t)plan->block * count * plan->block;
            ck_outer o = {.x = t->v + (b - p->block) * own(plan)->tiles_a_block * plan->block,
                          .dy = t->w + (ptrdiff_t)(first - t->first_out) * own(plan)->tiles_a_block * plan->block,
                          .trips = {1, 1},
                          .pixels = tiles,
                          .pixel_stride = plan->block,
                          .rows = plan->block,
                          .blocks = count,
                          .dy_block = (ptrdiff_t)own(plan)->tiles_a_block * plan->block,
                          .dst = t->m};
            for (int32_t e = 0; e < POINTS; e++, o.x += v_point(plan), o.dy += w_point(plan), o.dst += point)
                plan->kernels->outer(&o);
            const ck_winograd_taps taps = {
                .src = t->m, .dst = dst, .point = point, .vectors = plan->block * count, .accumulate = accumulate};
            plan->kernels->winograd4_taps(&taps);
        }
}

static void run_tiles(const ck_conv_plan *plan, const ck_conv_args *args, const part *p) {
    transforms t = {.v = p->memory};
    t.w = t.v + POINTS * v_point(plan);
    t.m = t.w + POINTS * w_point(plan);
    int32_t last, count;
    ck_panel_at(plan->out_blocks, CK_WEIGHT_PANEL, (int32_t)p->panel, &t.first_out, &count);
    ck_panel_at(plan->out_blocks, CK_WEIGHT_PANEL, (int32_t)p->panel_end - 1, &last, &count);
    for (int64_t tile = p->tile; tile < p->tile_end; tile += own(plan)->tiles_a_block) {
        const int64_t end =
            tile + own(plan)->tiles_a_block < p->tile_end ? tile + own(plan)->tiles_a_block : p->tile_end;
        transform_x(plan, args->src, p, tile, end, t.v, t.m + cell_floats(plan));
        transform_dy(plan, args->grad, tile, end, t.first_out, last + count, t.w);
        multiply(plan, p, &t, (int32_t)(end - tile), tile > p->tile);
    }
}

static int32_t copies(const ck_conv_plan *plan, int32_t batch) {
    const int32_t possible = tile_parts(plan, batch);
    return own(plan)->split.images < possible ? own(plan)->split.images : possible;
}

static void run_part(void *context, int64_t index, int32_t worker) {
    const ck_conv_job *j = context;
    const ck_conv_plan *plan = j->plan;
    const ck_weight_split s = own(plan)->split;
    const int64_t copy = index / (s.panels * s.blocks);
    float *sums = j->args->workspace;
    part p = {.memory = sums + copy_floats(plan) * s.images + part_floats(plan) * worker,
              .sums = sums + copy * copy_floats(plan)};
    ck_split(ck_tile_count(plan, TILE, j->batch), copy, copies(plan, j->batch), &p.tile, &p.tile_end);
    ck_split(ck_weight_panels(plan), index / s.blocks % s.panels, s.panels, &p.panel, &p.panel_end);
    ck_split(ck_weight_blocks(plan), index % s.blocks, s.blocks, &p.block, &p.block_end);
    if (p.panel < p.panel_end && p.block < p.block_end) run_tiles(plan, j->args, &p);
}

static ck_status run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    ck_conv_job job = {plan, args, batch};
    const int32_t count = copies(plan, batch);
    ck_run_parts(plan->threads, count * own(plan)->split.panels * own(plan)->split.blocks, run_part, &job);
    ck_store_weights(plan, args, args->workspace, count, copy_floats(plan));
    return CK_OK;
}

static void describe(const ck_conv_plan *plan, char *text, size_t size) {
    snprintf(text, size, " %d tiles, %d x %d x %d parts", own(plan)->tiles_a_block, own(plan)->split.images,
             own(plan)->split.panels, own(plan)->split.blocks);
}

const ck_conv_algorithm ck_conv_weight_winograd = {.id = CK_WINOGRAD_4,
                                                   .name = "winograd f4x4",
                                                   .rounds = 1,
                                                   .applicable = applicable,
                                                   .choose = choose,
                                                   .cost = cost,
                                                   .packed_size = ck_nothing_packed,
                                                   .workspace_size = workspace_size,
                                                   .run = run,
                                                   .describe = describe};
