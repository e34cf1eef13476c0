/* Winograd with tiles of two sizes, fused so that transformed data stays in the caches: choosing and packing.
 *
 * Stride 1: F(4, 3) with F(3, 3), and F(5, 3) with F(4, 3), in either direction. 14 = 4 + 4 + 3 + 3 takes 22^2 products
 * an input and output channel, 5 + 5 + 4 takes 20^2, four tiles of 4 take 24^2; 7 = 4 + 3 takes 11^2 instead of 12^2.
 *
 * Stride 2: the two taps on even pixels (counted from the padding on) and the one on odd pixels are convolutions at
 * stride 1, F(4, 2) and F(4, 1), and outputs come from points in the same way in both; so they are added before that,
 * as in conv/stem_winograd.c. In either direction 4 outputs take 5 + 4 products instead of 12, in both 81 instead of
 * 144. Of the odd pixels' tap all points are the tap itself, so U has 6 rows and columns.
 *
 * With small filters U is stored and every part of the work has tiles of its own; with large ones the plain taps are
 * kept and transformed a few rows of points of a few channels at a time, and parts have panels of their own. */
#include "conv/tiled.h"

#include <math.h>
#include <stdio.h>

static const ck_tile_scheme scheme43 = {
    .big = 4,
    .stride = 1,
    .points = 6,
    .filters = 6,
    .groups = 3,
    .group = {0, 2, 4, 6},
    .planes = 6,
    .phases = 1,
    .phase = {{.big = CK_POINTS_6, .small = CK_POINTS_5, .points = 6, .step = 1}},
};
static const ck_tile_scheme scheme54 = {
    .big = 5,
    .stride = 1,
    .points = 7,
    .filters = 7,
    .groups = 4,
    .group = {0, 1, 3, 5, 7},
    .planes = 7,
    .phases = 1,
    .phase = {{.big = CK_POINTS_7, .small = CK_POINTS_7B, .points = 7, .step = 1}},
};
static const ck_tile_scheme scheme_phases = {
    .big = 4,
    .stride = 2,
    .points = 5,
    .filters = 6,
    .groups = 4,
    .group = {0, 1, 3, 5, 6},
    .planes = 9,
    .phases = 2,
    .phase = {{.big = CK_PHASE_5, .small = CK_PHASE_4, .points = 5, .step = 1},
              {.big = CK_PHASE_4, .small = CK_PHASE_3, .first = 1, .points = 4, .filter = 5}},
};
/* The data gradient at stride 2: dx falls into pixels that meet two taps a dimension, F(4, 2), and pixels that meet
 * one, for which dy is multiplied as it is. */
static const ck_tile_scheme scheme_transposed = {
    .big = 4,
    .stride = 2,
    .points = 9,
    .filters = 6,
    .groups = 4,
    .group = {0, 1, 3, 5, 6},
    .planes = 9,
    .phases = 2,
    .transposed = 1,
    .phase = {{.big = CK_PHASE_5, .small = CK_PHASE_4, .points = 5, .step = 1},
              {.big = CK_VALUES_4, .small = CK_VALUES_3, .first = 5, .points = 4, .filter = 5}},
};

static int applicable(const ck_conv_plan *plan, int32_t stride) {
    const ck_conv_desc *d = &plan->d;
    return d->kernel_height == 3 && d->kernel_width == 3 && d->stride_height == stride && d->stride_width == stride &&
           d->dilation_height == 1 && d->dilation_width == 1 && d->groups == 1 && d->src_layout == CK_NCHWC &&
           !(d->epilogue & CK_MAX_POOL_3X3_S2);
}
static int applicable1(const ck_conv_plan *plan) { return applicable(plan, 1); }
static int applicable2(const ck_conv_plan *plan) { return applicable(plan, 2); }

static size_t stored_bytes(const ck_conv_plan *plan) {
    return (size_t)ck_squared(own(plan)->scheme->filters) * ck_tiled_channels(plan) * plan->out_blocks * plan->block *
           4;
}

/* ---- the cost, in cycles as they were measured on Zen 3 */

/* Transforming all filters on the fly, once. */
static double filter_cycles(const ck_conv_plan *plan) {
    return 1.4 * ck_tiled_channels(plan) * plan->out_blocks * ck_squared(own(plan)->scheme->filters);
}

/* V of one tile, and the tiles whose V stays in L2 while the panels pass over it. */
static double input_bytes(const ck_conv_plan *plan) {
    return 4.0 * ck_squared(own(plan)->scheme->planes) * ck_tiled_channels(plan);
}
static int64_t near_tiles(const ck_conv_plan *plan) {
    return (int64_t)(0.9 * (double)ck_cache_share(plan->caches.l2, plan->threads) / input_bytes(plan));
}

/* What a tile costs beyond arithmetic if its V comes from L3 for every panel. */
static double far_cycles(const ck_conv_plan *plan) {
    return input_bytes(plan) * ck_panel_count(plan->out_blocks, plan->panel_blocks) / 20;
}

/* Products of one block of tiles for one panel of `width` blocks. On the fly, where calls are short, a step takes a
 * multiply-add's latency at least, and a call a mispredicted branch or a few. With stored filters blocks depend on the
 * number of threads, on which the choice must not: a file of packed weights serves any. */
static double product_cycles(const ck_conv_plan *plan, int64_t tiles, int32_t width) {
    enum { POINT = 40 };
    const double latency = own(plan)->on_the_fly ? 4 : 1.5, call = own(plan)->on_the_fly ? 65 : 0;
    const double steps = ck_tiled_channels(plan);
    const double chunks = ceil(plan->in_blocks / (double)own(plan)->chunk_blocks);
    const ck_tiling tiling = ck_tiled_tiling(plan);
    const ck_tile_block block = ck_tile_block_at(&tiling, 0, tiles);
    double cycles = 0;
    for (int32_t row = 0; row < own(plan)->scheme->points; row++) {
        ck_tile_product products[CK_TILE_PRODUCTS];
        const int32_t count = ck_tile_products(plan, &block, row, products);
        for (int32_t i = 0; i < count; i++) {
            const int32_t most = ck_tile_pixels(plan->kernels, width), n = products[i].tiles;
            const int32_t calls = (n + most - 1) / most;
            const double each = (double)n / calls;
            const double step = fmax(fmax(0.55 * each * width, 0.55 * (each + width)), latency);
            cycles += products[i].points * calls * (products[i].segments * steps * step + POINT * chunks);
            cycles += call * chunks;
        }
    }
    return cycles;
}

static double cost(const ck_conv_plan *plan) {
    const ck_tile_scheme *s = own(plan)->scheme;
    const ck_tiling tiling = ck_tiled_tiling(plan);
    const double tiles = (double)ck_tiling_count(&tiling, plan->d.batch), in = plan->in_blocks, out = plan->out_blocks;
    const double blocks = ceil(tiles / own(plan)->tiles_a_block);
    const int64_t a_block = (int64_t)ceil(tiles / blocks);
    const double product =
        product_cycles(plan, a_block, plan->panel_blocks) * tiles / a_block * out / plan->panel_blocks;
    const double transforms = tiles * (4.5 * ck_squared(s->planes) * in + 3.5 * ck_squared(s->points) * out);
    const double runs = (double)plan->d.batch * tiling.rows.count * 2;
    const double calls = runs * (150 * ck_squared(s->phases) * in + 100 * out);
    const double filters = blocks * (own(plan)->on_the_fly ? filter_cycles(plan) : (double)stored_bytes(plan) / 32);
    const double streamed = a_block > near_tiles(plan) ? tiles * far_cycles(plan) : 0;
    /* The other estimates leave out what this one counts. Where it was not measured, on 32 registers, the estimate
     * leaves it to `measure`. */
    const double scale = ck_tile_pixels(plan->kernels, 1) < 16 ? 0.85 : 2;
    return scale * (product + transforms + calls + filters + streamed);
}

/* ---- block sizes */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* What all threads share; without an L3 their L2s serve each other. */
static size_t shared_bytes(const ck_conv_plan *plan) {
    return plan->caches.l3.bytes ? plan->caches.l3.bytes : 4 * plan->caches.l2.bytes;
}

/* V and M of one tile. */
static size_t tile_bytes(const ck_conv_plan *plan) {
    const ck_tile_scheme *s = own(plan)->scheme;
    return 4 * (size_t)plan->block *
           (ck_squared(s->planes) * (size_t)plan->in_blocks + ck_squared(s->points) * (size_t)plan->panel_blocks);
}

/* U stored: V and M of a block take three fifths of L2, U streams through the rest. */
static void choose_stored(ck_conv_plan *plan, ck_tiled_params *p, int64_t tiles) {
    const int32_t unit = ck_tile_pixels(plan->kernels, plan->panel_blocks);
    const int64_t mine = (tiles + plan->threads - 1) / plan->threads;
    const int64_t fits = (int64_t)(ck_cache_share(plan->caches.l2, plan->threads) * 6 / 10 / tile_bytes(plan));
    /* A thread's share in one block where it fits: cut at whole register tiles there could be a block more than
     * threads. */
    const int64_t most = mine <= fits ? mine : least(mine, fits < unit ? unit : fits / unit * unit);
    p->unit = most >= 2 * unit && mine > fits ? unit : 1;
    p->tiles_a_block = (int32_t)((most + p->unit - 1) / p->unit * p->unit);
    p->chunk_blocks = plan->in_blocks;
}

/* U on the fly: a group of its rows, which is used at once, takes some three fifths of L1. V of a block lies in L2, or
 * where transforming the filters for so few tiles costs more, in a third of L3. */
static void choose_on_the_fly(ck_conv_plan *plan, ck_tiled_params *p, int64_t tiles) {
    const ck_tile_scheme *s = p->scheme;
    const size_t row = 4 * (size_t)s->filters * plan->block * plan->panel_blocks * plan->block;
    const int64_t fits = (int64_t)(plan->caches.l1.bytes * 6 / 10 / (row * (s->phases + 1)));
    p->chunk_blocks = (int32_t)least(fits < 1 ? 1 : fits, plan->in_blocks);
    int64_t most = (int64_t)(shared_bytes(plan) / 3 / tile_bytes(plan));
    most = least(tiles, most < 16 ? 16 : most > 256 ? 256 : most);
    const int64_t near = near_tiles(plan);
    const double each = filter_cycles(plan), far = far_cycles(plan) + each / (double)most;
    if (near >= 8 && near < most && each / (double)near < far) most = near; /* fewer make small register tiles */
    const int64_t blocks = (tiles + most - 1) / most;
    p->tiles_a_block = (int32_t)((tiles + blocks - 1) / blocks);
    p->unit = 1;
}

static void choose(ck_conv_plan *plan, const ck_tile_scheme *scheme) {
    ck_tiled_params p = {.scheme = scheme};
    plan->panel_blocks = plan->out_blocks >= 2 ? 2 : 1;
    set_own(plan, p);
    const ck_tiling tiling = ck_tiled_tiling(plan);
    const int64_t tiles = ck_tiling_count(&tiling, plan->d.batch);
    /* A network has some ten such layers: larger ones would push each other's U out to memory. */
    p.on_the_fly = stored_bytes(plan) > shared_bytes(plan) / 8;
    (p.on_the_fly ? choose_on_the_fly : choose_stored)(plan, &p, tiles);
    set_own(plan, p);
}
static void choose43(ck_conv_plan *plan) { choose(plan, &scheme43); }
static void choose54(ck_conv_plan *plan) { choose(plan, &scheme54); }
static void choose_phases(ck_conv_plan *plan) { choose(plan, &scheme_phases); }
static void choose_transposed(ck_conv_plan *plan) { choose(plan, &scheme_transposed); }

/* Whether every part transforms the input it needs for itself. On the fly that repeats work, but with few tiles little,
 * and saves the wait for the others and the fetching of V from their caches. */
int ck_tiled_owns_input(const ck_conv_plan *plan) {
    return !own(plan)->on_the_fly || (own(plan)->tiles_a_block <= 32 && plan->threads <= CK_KEEPERS);
}

static size_t packed_size(const ck_conv_plan *plan) {
    if (!own(plan)->on_the_fly) return stored_bytes(plan);
    return (size_t)9 * ck_tiled_channels(plan) * plan->out_blocks * plan->block * 4;
}

ck_tiled_buffers ck_tiled_sizes(const ck_conv_plan *plan) {
    const ck_tile_scheme *s = own(plan)->scheme;
    const ck_tiling tiling = ck_tiled_tiling(plan);
    const size_t columns = (size_t)tiling.columns.count, v = (size_t)plan->block;
    const size_t input = 7 * (s->big * columns + 3) * v, output = 5 * 7 * columns * v;
    return (ck_tiled_buffers){
        .v = (size_t)ck_squared(s->planes) * ck_tiled_v_plane(plan),
        .m = (size_t)ck_squared(s->points) * ck_tiled_m_point(plan),
        .u = own(plan)->on_the_fly ? (size_t)(s->phases + 1) * s->filters * ck_tiled_u_point(plan) : 0,
        .scratch = input > output ? input : output,
    };
}

static size_t workspace_size(const ck_conv_plan *plan) {
    const ck_tiled_buffers b = ck_tiled_sizes(plan);
    const size_t each = b.m + b.scratch + b.u;
    return 4 * (ck_tiled_owns_input(plan) ? plan->threads * (each + b.v) : b.v + plan->threads * each);
}

/* ---- packing */

/* (channels c...c+V-1, blocks of the panel, 9 taps, V outputs) of one panel. */
static void pack_taps(const ck_conv_plan *plan, const ck_filter_view *view, int32_t first, int32_t blocks, int32_t c,
                      float *dst) {
    const int32_t v = plan->block;
    for (int32_t last = c + v; c < last; c++)
        for (int32_t k = first * v; k < (first + blocks) * v; k += v)
            for (int32_t tap = 0; tap < 9; tap++, dst += v)
                ck_pack_outputs(view, (ck_filter_place){0, k, c, tap / 3, tap % 3}, v, dst);
}

/* One input block of one panel. */
static void pack_part(void *context, int64_t part, int32_t worker) {
    const ck_packing *p = context;
    const ck_conv_plan *plan = p->plan;
    const ck_tile_scheme *s = own(plan)->scheme;
    int32_t first, blocks;
    (void)worker;
    ck_panel_at(plan->out_blocks, plan->panel_blocks, (int32_t)part / plan->in_blocks, &first, &blocks);
    const int32_t v = plan->block, in = ck_tiled_channels(plan), c = (int32_t)part % plan->in_blocks * v;
    const int32_t width = blocks * v;
    if (own(plan)->on_the_fly) {
        pack_taps(plan, &p->view, first, blocks, c, p->packed + ((ptrdiff_t)first * v * in + c * width) * 9);
        return;
    }
    float taps[16 * 9 * 4 * 16] __attribute__((aligned(64)));
    pack_taps(plan, &p->view, first, blocks, c, taps);
    float *panel = p->packed + (ptrdiff_t)first * v * in * ck_squared(s->filters) + c * width;
    const ptrdiff_t point = (ptrdiff_t)in * width;
    for (int32_t group = 0; group < s->groups; group++) {
        const ck_tile_filter f = {.points = s->phase[0].big,
                                  .group = group,
                                  .src = taps,
                                  .count = (ptrdiff_t)v * blocks,
                                  .dst = panel + s->group[group] * s->filters * point,
                                  .dst_row = s->filters * point,
                                  .dst_point = point};
        plan->kernels->tile_filter(&f);
    }
}

static void pack(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed) {
    const int32_t panels = ck_panel_count(plan->out_blocks, plan->panel_blocks);
    ck_pack_parts(plan, oihw, scale, packed, (int64_t)panels * plan->in_blocks, pack_part);
}

static int32_t packing_order(const ck_conv_plan *plan) { return own(plan)->on_the_fly; }

static void describe(const ck_conv_plan *plan, char *text, size_t size) {
    snprintf(text, size, " %dx%d, %d tiles a block, filters %s", ck_tile_pixels(plan->kernels, plan->panel_blocks),
             plan->panel_blocks * plan->block, own(plan)->tiles_a_block,
             own(plan)->on_the_fly ? "on the fly" : "stored");
}

/* The four differ in their number, name, shapes and scheme. */
#define CK_TILED(number, title, takes, choose_scheme)                                                                  \
    {                                                                                                                  \
        .id = number, .name = title, .rounds = 1, .applicable = takes, .choose = choose_scheme, .cost = cost,          \
        .packed_size = packed_size, .workspace_size = workspace_size, .pack = pack, .packing_order = packing_order,    \
        .run = ck_tiled_run, .describe = describe                                                                      \
    }
const ck_conv_algorithm ck_conv_winograd43 = CK_TILED(CK_WINOGRAD_4_3, "winograd f4x4 f3x3", applicable1, choose43);
const ck_conv_algorithm ck_conv_winograd54 = CK_TILED(CK_WINOGRAD_5_4, "winograd f5x5 f4x4", applicable1, choose54);
const ck_conv_algorithm ck_conv_winograd_stride2 =
    CK_TILED(CK_WINOGRAD_STRIDE_2, "winograd stride 2", applicable2, choose_phases);
const ck_conv_algorithm ck_conv_data_stride2 =
    CK_TILED(CK_WINOGRAD_STRIDE_2, "winograd stride 2", applicable2, choose_transposed);
#undef CK_TILED
