/* Winograd convolution, 3x3 and stride 1, fused so that the transformed data never leaves the cache.
 *
 *     tiles  V[point][in block][tile][V]  <- input transform of m + 2 squared patches
 *     panel  M[point][out block][tile][V] <- for every point: V[point] x U[point], a small matrix product
 *     output transform of M, bias, residual, ReLU, store
 *
 * Two ways to share the work. With small filters the transformed ones, U, are stored, and every thread takes tiles of
 * its own through all panels. With large filters U would be 4 times the weights and stream from memory, so the plain
 * 9 taps are kept and transformed in chunks of input channels that stay in L2; there all threads share V, and each
 * takes panels of its own. (Three passes over memory instead of this are what made Winograd lose on CPUs:
 * arXiv:1809.07851.) */
#include <math.h>
#include <stdio.h>

#include "conv/algorithms.h"
#include "conv/prefetch.h"
#include "conv/tiles.h"

typedef struct params {
    int32_t tile;          /* m */
    int32_t on_the_fly;    /* filters are transformed in run */
    int32_t chunk_blocks;  /* on the fly: input blocks whose filters are transformed at once */
    int32_t tiles_a_block; /* tiles whose transforms are held at once */
} params;
CK_PARAMETERS(params)

enum { STORED_MOST = 4 << 20, SHARED_TILES = 128 };

static int32_t groups(const ck_conv_plan *plan) { return (own(plan)->tile + 2) / 2; }
static int32_t group_points(const ck_conv_plan *plan) { return 2 * (own(plan)->tile + 2); }
static int32_t points(const ck_conv_plan *plan) { return (own(plan)->tile + 2) * (own(plan)->tile + 2); }
static int32_t channels(const ck_conv_plan *plan) { return plan->in_blocks * plan->block; }

static int64_t count_tiles(const ck_conv_plan *plan, int32_t batch) {
    return ck_tile_count(plan, own(plan)->tile, batch);
}

/* Planes start an odd number of cache lines apart: at a power of two they would all fall into the same cache sets. */
static ptrdiff_t odd_lines(ptrdiff_t vectors, int32_t v) { return (vectors | 1) * v; }
static ptrdiff_t v_point(const ck_conv_plan *plan) {
    return odd_lines((ptrdiff_t)plan->in_blocks * own(plan)->tiles_a_block, plan->block);
}
static ptrdiff_t m_point(const ck_conv_plan *plan) {
    return odd_lines((ptrdiff_t)plan->panel_blocks * own(plan)->tiles_a_block, plan->block);
}

static size_t stored_bytes(const ck_conv_plan *plan) {
    return (size_t)points(plan) * channels(plan) * plan->out_blocks * plan->block * 4;
}

/* Up to four tiles, F(4): filter transform and product are one kernel, and U does not exist. Its 24 sums want 32
 * registers. */
static int is_fused(const ck_conv_plan *plan) {
    return own(plan)->on_the_fly && own(plan)->tile == 4 && own(plan)->tiles_a_block <= 4 &&
           plan->kernels->tile_pixels1 >= 16;
}

/* On the fly, how the filters of a panel are cut: a group of points of a few input blocks at a time. The fewer the
 * tiles, the more the transform costs beside the product, and the closer its result should stay; the more tiles, the
 * more it costs to add to M between chunks. */
static void choose_chunk(ck_conv_plan *plan) {
    const int32_t tiles = own(plan)->tiles_a_block, v = plan->block;
    params p = *own(plan);
    if (is_fused(plan)) {
        plan->panel_blocks = 1;
        p.chunk_blocks = plan->in_blocks < 2 ? 1 : 2;
    } else {
        plan->panel_blocks = plan->out_blocks >= 2 ? 2 : 1;
        const int32_t bytes = group_points(plan) * v * plan->panel_blocks * v * 4; /* of one block of channels */
        const int32_t room = tiles <= 8 ? 26 << 10 : 104 << 10;
        p.chunk_blocks = room / bytes < 1 ? 1 : room / bytes < plan->in_blocks ? room / bytes : plan->in_blocks;
    }
    set_own(plan, p);
}
static ptrdiff_t u_point(const ck_conv_plan *plan) {
    return odd_lines((ptrdiff_t)own(plan)->chunk_blocks * plan->block * plan->panel_blocks, plan->block);
}

static int applicable(const ck_conv_plan *plan) {
    const ck_conv_desc *d = &plan->d;
    return d->kernel_height == 3 && d->kernel_width == 3 && d->stride_height == 1 && d->stride_width == 1 &&
           d->dilation_height == 1 && d->dilation_width == 1 && d->groups == 1 && d->src_layout == CK_NCHWC &&
           !(d->epilogue & CK_MAX_POOL_3X3_S2);
}

static void choose(ck_conv_plan *plan, int32_t tile) {
    params p = {.tile = tile};
    set_own(plan, p);
    const int64_t tiles = count_tiles(plan, plan->d.batch);
    const size_t stored = stored_bytes(plan);
    p.on_the_fly = stored > STORED_MOST;
    if (p.on_the_fly) {
        const int64_t blocks = (tiles + SHARED_TILES - 1) / SHARED_TILES;
        p.tiles_a_block = (int32_t)((tiles + blocks - 1) / blocks);
        set_own(plan, p);
        choose_chunk(plan);
        return;
    }
    const int64_t mine = (tiles + plan->threads - 1) / plan->threads;
    const int32_t unit = plan->kernels->tile_pixels2;
    const size_t room = stored <= 640 << 10 ? (860 << 10) - stored : 640 << 10;
    int32_t most = (int32_t)(room / ((size_t)points(plan) * 4 * (channels(plan) + 2 * plan->block)));
    most = most < unit ? unit : most / unit * unit;
    p.tiles_a_block = (int32_t)(mine < most ? mine : most);
    plan->panel_blocks = ck_panel_width(plan->kernels, p.tiles_a_block, plan->out_blocks);
    set_own(plan, p);
}
static void choose2(ck_conv_plan *plan) { choose(plan, 2); }
static void choose4(ck_conv_plan *plan) { choose(plan, 4); }

static double cost(const ck_conv_plan *plan) {
    const double tiles = (double)count_tiles(plan, plan->d.batch), in = plan->in_blocks, out = plan->out_blocks,
                 e = points(plan);
    /* Fused: six rows of 6 (tiles + 2) multiply-adds or so, two a cycle, for each input channel. */
    const double fused = 18 * (own(plan)->tiles_a_block + 2) / (double)own(plan)->tiles_a_block;
    const double unfused = e / own(plan)->tiles_a_block / plan->panel_blocks *
                           ck_panel_cycles(plan->kernels, own(plan)->tiles_a_block, plan->panel_blocks);
    const double product = (is_fused(plan) ? fused : unfused) * tiles * in * plan->block * out;
    const double transforms = tiles * e * (3.2 * in + 3 * out);
    const double filters = own(plan)->on_the_fly && !is_fused(plan)
                               ? ceil(tiles / own(plan)->tiles_a_block) * in * plan->block * out * e * 1.2
                               : 0;
    /* With 16 registers the panel kernel loads as often as it multiplies: measured on Zen 3. */
    const double slower = plan->kernels->tile_pixels1 >= 16 ? 1.05 : 1.3;
    return slower * (product + transforms + filters);
}

static size_t packed_size(const ck_conv_plan *plan) {
    if (!own(plan)->on_the_fly) return stored_bytes(plan);
    return (size_t)9 * channels(plan) * plan->out_blocks * plan->block * 4;
}

/* Whether every thread transforms the input of all tiles for itself. That repeats work, but with few tiles little, and
 * saves the barrier and the fetching of half of V from the other thread's cache, which on machines whose cores do not
 * share an L3 slice doubles the time of a layer. */
static int owns_input(const ck_conv_plan *plan) {
    return own(plan)->tiles_a_block <= 32 && plan->threads <= CK_KEEPERS;
}

typedef struct buffers { /* sizes in floats */
    size_t v, m, scratch, u;
} buffers;

static buffers buffer_sizes(const ck_conv_plan *plan) {
    buffers b;
    b.v = (size_t)points(plan) * v_point(plan);
    b.m = (size_t)points(plan) * m_point(plan);
    b.scratch =
        (size_t)(own(plan)->tile + 2) * (own(plan)->tile * ck_tile_columns(plan, own(plan)->tile) + 2) * plan->block;
    b.u = own(plan)->on_the_fly ? (size_t)group_points(plan) * u_point(plan) : 0;
    return b;
}

static size_t workspace_size(const ck_conv_plan *plan) {
    const buffers b = buffer_sizes(plan);
    const size_t each = b.m + b.scratch + b.u;
    const int shared = own(plan)->on_the_fly && !owns_input(plan);
    return 4 * (shared ? b.v + plan->threads * each : plan->threads * (each + b.v));
}

/* ---- packing */

/* (channels c...c+V-1, 9 taps, panel's outputs) of one panel. */
static void pack_taps(const ck_conv_plan *plan, const ck_filter_view *view, int32_t first, int32_t blocks, int32_t c,
                      float *dst) {
    const int32_t v = plan->block, width = blocks * v;
    for (int32_t last = c + v; c < last; c++)
        for (int32_t tap = 0; tap < 9; tap++, dst += width)
            ck_pack_outputs(view, (ck_filter_place){0, first * v, c, tap / 3, tap % 3}, width, dst);
}

static void filter_transform(const ck_conv_plan *plan, const ck_winograd_filter *f) {
    (own(plan)->tile == 4 ? plan->kernels->winograd4_filter : plan->kernels->winograd2_filter)(f);
}

/* One input block of one panel. */
static void pack_part(void *context, int64_t part, int32_t worker) {
    const ck_packing *p = context;
    const ck_conv_plan *plan = p->plan;
    int32_t first, blocks;
    (void)worker;
    ck_panel_at(plan->out_blocks, plan->panel_blocks, (int32_t)part / plan->in_blocks, &first, &blocks);
    const int32_t v = plan->block, in = channels(plan), c = (int32_t)part % plan->in_blocks * v, width = blocks * v;
    if (own(plan)->on_the_fly) {
        pack_taps(plan, &p->view, first, blocks, c, p->packed + ((ptrdiff_t)first * v * in + c * width) * 9);
        return;
    }
    float taps[16 * 9 * 4 * 16] __attribute__((aligned(64)));
    pack_taps(plan, &p->view, first, blocks, c, taps);
    float *panel = p->packed + (ptrdiff_t)first * v * in * points(plan);
    for (int32_t group = 0; group < groups(plan); group++) {
        const ptrdiff_t point = (ptrdiff_t)in * width;
        const ck_winograd_filter f = {.group = group,
                                      .src = taps,
                                      .channels = v,
                                      .n = width,
                                      .dst = panel + c * width + group * group_points(plan) * point,
                                      .dst_point = point};
        filter_transform(plan, &f);
    }
}

static void pack(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed) {
    const int32_t panels = ck_panel_count(plan->out_blocks, plan->panel_blocks);
    ck_pack_parts(plan, oihw, scale, packed, (int64_t)panels * plan->in_blocks, pack_part);
}

/* ---- running */

/* The same pixels of the next channel block, `plane` floats on. */
static void fetch_rows(const ck_winograd_input *in, int32_t m, int32_t columns, ptrdiff_t plane, int32_t v) {
    const int32_t left = in->x0 < 0 ? 0 : in->x0, right = in->x0 + columns < in->width ? in->x0 + columns : in->width;
    for (int32_t r = 0; r < m + 2; r++)
        if (in->rows[r]) ck_fetch_read(in->rows[r] + plane + (ptrdiff_t)left * v, (ptrdiff_t)(right - left) * v);
}

/* A block of transformed tiles: (point, in block, tile from `origin` on, V). */
typedef struct transformed {
    float *v;
    int64_t origin;
} transformed;

/* Tiles first...end of input block b to V. */
static void input_tiles(const ck_conv_plan *plan, const ck_conv_args *args, int32_t b, int64_t first, int64_t end,
                        transformed to, float *scratch) {
    const ck_conv_desc *d = &plan->d;
    const int32_t v = plan->block, m = own(plan)->tile;
    const ptrdiff_t row_floats = (ptrdiff_t)d->in_width * v;
    while (first < end) {
        const ck_tile_run s = ck_tile_run_at(plan, own(plan)->tile, first, end);
        const float *picture =
            (const float *)args->src + ((ptrdiff_t)s.image * plan->in_blocks + b) * d->in_height * row_floats;
        ck_winograd_input in = {
            .width = d->in_width, .x0 = s.column * m - d->pad_width, .tiles = s.count, .scratch = scratch};
        for (int32_t r = 0; r < m + 2; r++) {
            const int32_t y = s.row * m - d->pad_height + r;
            in.rows[r] = y >= 0 && y < d->in_height ? picture + y * row_floats : NULL;
        }
        in.dst = to.v + ((ptrdiff_t)b * own(plan)->tiles_a_block + (first - to.origin)) * v;
        in.dst_point = v_point(plan);
        if (b + 1 < plan->in_blocks) fetch_rows(&in, m, s.count * m + 2, d->in_height * row_floats, v);
        (m == 4 ? plan->kernels->winograd4_input : plan->kernels->winograd2_input)(&in);
        first += s.count;
    }
}

/* The pixels that output_tiles will write, and the residuals it will read. */
static void fetch_output(const ck_conv_plan *plan, const ck_conv_args *args, int32_t first, int32_t blocks,
                         int64_t begin, int64_t end) {
    const int32_t v = plan->block, m = own(plan)->tile;
    const ptrdiff_t row_floats = (ptrdiff_t)plan->out_width * v;
    for (int64_t tile = begin; tile < end;) {
        const ck_tile_run s = ck_tile_run_at(plan, own(plan)->tile, tile, end);
        const int32_t left = plan->out_height - s.row * m, rows = left < m ? left : m, column = s.column * m;
        const int32_t columns = plan->out_width - column < s.count * m ? plan->out_width - column : s.count * m;
        for (int32_t b = 0; b < blocks; b++)
            for (int32_t r = 0; r < rows; r++) {
                const ptrdiff_t plane = (ptrdiff_t)s.image * plan->out_blocks + first + b;
                const ptrdiff_t at = (plane * plan->out_height + s.row * m + r) * row_floats + (ptrdiff_t)column * v;
                ck_fetch_write(args->dst + at, (ptrdiff_t)columns * v);
                if (args->residual) ck_fetch_read(args->residual + at, (ptrdiff_t)columns * v);
            }
        tile += s.count;
    }
}

/* Output blocks first...first+blocks of tiles begin...end; M holds tiles from `begin` on. */
static void output_tiles(const ck_conv_plan *plan, const ck_conv_args *args, int32_t first, int32_t blocks,
                         int64_t begin, int64_t end, const float *m_buffer) {
    const int32_t v = plan->block, m = own(plan)->tile;
    const ptrdiff_t row_floats = (ptrdiff_t)plan->out_width * v;
    for (int64_t tile = begin; tile < end;) {
        const ck_tile_run s = ck_tile_run_at(plan, own(plan)->tile, tile, end);
        const int32_t left = plan->out_height - s.row * m;
        for (int32_t b = 0; b < blocks; b++) {
            const ptrdiff_t at =
                (((ptrdiff_t)s.image * plan->out_blocks + first + b) * plan->out_height + s.row * m) * row_floats +
                (ptrdiff_t)s.column * m * v;
            const ck_winograd_output out = {.src = m_buffer +
                                                   ((ptrdiff_t)b * own(plan)->tiles_a_block + (tile - begin)) * v,
                                            .src_point = m_point(plan),
                                            .tiles = s.count,
                                            .rows = left < m ? left : m,
                                            .width = plan->out_width - s.column * m,
                                            .dst = args->dst + at,
                                            .residual = args->residual ? args->residual + at : NULL,
                                            .row_stride = row_floats,
                                            .bias = args->bias ? args->bias + (ptrdiff_t)(first + b) * v : NULL,
                                            .relu = !!(plan->d.epilogue & CK_RELU)};
            (m == 4 ? plan->kernels->winograd4_output : plan->kernels->winograd2_output)(&out);
        }
        tile += s.count;
    }
}

/* Tiles begin...end of a block of transformed tiles, panels panel...panel_end. */
typedef struct cell {
    transformed from;
    int64_t begin, end, panel, panel_end;
} cell;

/* One panel's filters for some points and input blocks. */
typedef struct filters {
    const float *u;       /* (point from `first` on, input channel, blocks * V), points `stride` floats apart */
    ptrdiff_t stride;     /* floats */
    int32_t first, count; /* points */
    int32_t blocks;       /* output blocks */
    int32_t from, depth;  /* input blocks */
} filters;

/* M (point, out block, tile, V) = or, after the first input blocks, += V x U for the tiles of a cell. */
static void multiply(const ck_conv_plan *plan, const cell *c, const filters *f, float *m_buffer, ck_stream *next) {
    const int32_t v = plan->block;
    const ptrdiff_t plane = (ptrdiff_t)own(plan)->tiles_a_block * v;
    ck_panel p = {.outer = {f->depth, 1, 1},
                  .outer_stride = {plane, 0, 0},
                  .run = v,
                  .pixel_stride = v,
                  .pixels = (int32_t)(c->end - c->begin),
                  .blocks = f->blocks,
                  .dst_block = plane,
                  .accumulate = f->from > 0};
    for (int32_t e = 0; e < f->count; e++) {
        p.src = c->from.v + (f->first + e) * v_point(plan) + f->from * plane + (c->begin - c->from.origin) * v;
        p.weights = f->u + e * f->stride;
        p.dst = m_buffer + (f->first + e) * m_point(plan);
        if (next) ck_fetch(next);
        plan->kernels->panel(&p);
    }
}

/* Tiles begin...end through all panels, with stored filters. */
static void run_tiles(const ck_conv_plan *plan, const ck_conv_args *args, int64_t begin, int64_t end, float *buffer) {
    const buffers sizes = buffer_sizes(plan);
    float *v_buffer = buffer, *m_buffer = v_buffer + sizes.v, *scratch = m_buffer + sizes.m;
    const int32_t panels = ck_panel_count(plan->out_blocks, plan->panel_blocks), in = channels(plan);
    const int64_t count = (end - begin + own(plan)->tiles_a_block - 1) / own(plan)->tiles_a_block;
    filters f = {.count = points(plan), .depth = plan->in_blocks};
    for (int64_t part = 0; part < count; part++) {
        cell c;
        ck_split(end - begin, part, count, &c.begin, &c.end);
        c.begin += begin, c.end += begin;
        c.from = (transformed){v_buffer, c.begin};
        for (int32_t b = 0; b < plan->in_blocks; b++) input_tiles(plan, args, b, c.begin, c.end, c.from, scratch);
        for (int32_t panel = 0; panel < panels; panel++) {
            int32_t k;
            ck_panel_at(plan->out_blocks, plan->panel_blocks, panel, &k, &f.blocks);
            fetch_output(plan, args, k, f.blocks, c.begin, c.end);
            f.u = (const float *)args->packed + (ptrdiff_t)k * plan->block * in * points(plan);
            f.stride = (ptrdiff_t)in * f.blocks * plan->block;
            multiply(plan, &c, &f, m_buffer, NULL);
            output_tiles(plan, args, k, f.blocks, c.begin, c.end, m_buffer);
        }
    }
}

/* The same where transform and product are one: chunks of input channels whose taps stay in L1 over the six rows. The
 * cell has all tiles of its block. */
static void run_fused(const ck_conv_plan *plan, const ck_conv_args *args, const cell *c, float *m_buffer) {
    const int32_t v = plan->block, in = channels(plan), chunk = own(plan)->chunk_blocks;
    ck_winograd_fused f = {.tiles = (int32_t)(c->end - c->begin),
                           .v_point = v_point(plan),
                           .v_block = (ptrdiff_t)own(plan)->tiles_a_block * v,
                           .dst_point = m_point(plan)};
    for (int64_t panel = c->panel; panel < c->panel_end; panel++) {
        f.taps = (const float *)args->packed + panel * v * in * 9;
        fetch_output(plan, args, (int32_t)panel, 1, c->begin, c->end);
        for (int32_t from = 0; from < plan->in_blocks; from += chunk) {
            f.blocks = from + chunk < plan->in_blocks ? chunk : plan->in_blocks - from;
            f.next = f.taps + (ptrdiff_t)f.blocks * v * 9 * v;
            f.accumulate = from > 0;
            for (f.row = 0; f.row < 6; f.row++) {
                f.v = c->from.v + (c->begin - c->from.origin) * v + f.row * 6 * f.v_point + from * f.v_block;
                f.dst = m_buffer + f.row * 6 * f.dst_point;
                plan->kernels->winograd4_fused(&f);
            }
            f.taps = f.next;
        }
        output_tiles(plan, args, (int32_t)panel, 1, c->begin, c->end, m_buffer);
    }
}

/* One panel of a cell: the filters of a chunk of input blocks, a group of points at a time, to U; then their product.
 */
static void run_on_the_fly(const ck_conv_plan *plan, const ck_conv_args *args, const cell *c, float *m_buffer,
                           float *u_buffer) {
    const int32_t v = plan->block, in = channels(plan), chunk = own(plan)->chunk_blocks, count = group_points(plan);
    for (int64_t panel = c->panel; panel < c->panel_end; panel++) {
        filters f = {.u = u_buffer, .stride = u_point(plan), .count = count};
        int32_t k;
        ck_panel_at(plan->out_blocks, plan->panel_blocks, (int32_t)panel, &k, &f.blocks);
        const int32_t width = f.blocks * v;
        const float *src = (const float *)args->packed + (ptrdiff_t)k * v * in * 9;
        fetch_output(plan, args, k, f.blocks, c->begin, c->end);
        for (; f.from < plan->in_blocks; f.from += chunk) {
            f.depth = f.from + chunk < plan->in_blocks ? chunk : plan->in_blocks - f.from;
            const ptrdiff_t chunk_floats = (ptrdiff_t)f.depth * v * 9 * width;
            ck_stream next = {(const char *)(src + chunk_floats), (chunk_floats * 4 / points(plan) + 63) / 64 * 64};
            for (int32_t group = 0; group < groups(plan); group++) {
                const ck_winograd_filter transform = {.group = group,
                                                      .src = src,
                                                      .channels = f.depth * v,
                                                      .n = width,
                                                      .dst = u_buffer,
                                                      .dst_point = u_point(plan)};
                filter_transform(plan, &transform);
                f.first = group * count;
                multiply(plan, c, &f, m_buffer, &next);
            }
            src += chunk_floats;
        }
        output_tiles(plan, args, k, f.blocks, c->begin, c->end, m_buffer);
    }
}

/* Filters on the fly: a block of tiles is cut into cells, of panels, and of tiles too where there are more threads than
 * panels. */
typedef struct fly {
    const ck_conv_plan *plan;
    const ck_conv_args *args;
    int64_t tiles, blocks; /* of tiles */
    ck_grid grid;
    buffers sizes;
    int64_t first, last; /* the block whose shared V is filled; unused where threads own theirs */
    ck_kept filled;      /* where they do: the block in a worker's V */
} fly;

/* Items item...end of V for the block of tiles to.origin...last, which are counted (input block, tile). */
static void fill_input(const fly *f, int64_t last, int64_t item, int64_t end, transformed to, float *scratch) {
    const int64_t tiles = last - to.origin;
    while (item < end) {
        const int64_t begin = item % tiles, wanted = end - item, now = wanted < tiles - begin ? wanted : tiles - begin;
        const int64_t first = to.origin + begin;
        input_tiles(f->plan, f->args, (int32_t)(item / tiles), first, first + now, to, scratch);
        item += now;
    }
}

/* A worker's memory: M, scratch, U and, where it has one of its own, V. */
static float *memory_of(const fly *f, int32_t worker) {
    const int own = owns_input(f->plan);
    const size_t each = f->sizes.m + f->sizes.scratch + f->sizes.u + (own ? f->sizes.v : 0);
    return (float *)f->args->workspace + (own ? 0 : f->sizes.v) + worker * each;
}

/* Cell `index` of the block of tiles from.origin...last. */
static void run_cell(const fly *f, transformed from, int64_t last, int64_t index, float *memory) {
    const ck_conv_plan *plan = f->plan;
    const int32_t panels = ck_panel_count(plan->out_blocks, plan->panel_blocks);
    cell c = {.from = from};
    ck_split(last - from.origin, index / f->grid.deep, f->grid.across, &c.begin, &c.end);
    ck_split(panels, index % f->grid.deep, f->grid.deep, &c.panel, &c.panel_end);
    if (c.begin >= c.end) return;
    c.begin += from.origin, c.end += from.origin;
    if (is_fused(plan))
        run_fused(plan, f->args, &c, memory);
    else
        run_on_the_fly(plan, f->args, &c, memory, memory + f->sizes.m + f->sizes.scratch);
}

/* Part (block of tiles, cell) with a V of the worker's own, which an earlier part may have filled. */
static void run_alone(void *context, int64_t part, int32_t worker) {
    fly *f = context;
    float *memory = memory_of(f, worker), *scratch = memory + f->sizes.m;
    transformed to = {.v = scratch + f->sizes.scratch + f->sizes.u};
    const int64_t cells = f->grid.across * f->grid.deep, block = part / cells;
    int64_t last;
    ck_split(f->tiles, block, f->blocks, &to.origin, &last);
    if (!ck_keeps(&f->filled, worker, block))
        fill_input(f, last, 0, f->plan->in_blocks * (last - to.origin), to, scratch);
    run_cell(f, to, last, part % cells, memory);
}

/* A share of the V that all workers read. */
static void fill_shared(void *context, int64_t part, int32_t worker) {
    const fly *f = context;
    int64_t item, end;
    ck_split(f->plan->in_blocks * (f->last - f->first), part, f->plan->threads, &item, &end);
    fill_input(f, f->last, item, end, (transformed){f->args->workspace, f->first}, memory_of(f, worker) + f->sizes.m);
}

static void run_shared(void *context, int64_t index, int32_t worker) {
    const fly *f = context;
    run_cell(f, (transformed){f->args->workspace, f->first}, f->last, index, memory_of(f, worker));
}

static ck_status run_by_panels(const ck_conv_plan *plan, const ck_conv_args *args, int64_t tiles) {
    const int32_t panels = ck_panel_count(plan->out_blocks, plan->panel_blocks);
    const int64_t count = (tiles + own(plan)->tiles_a_block - 1) / own(plan)->tiles_a_block;
    const int64_t a_block = (tiles + count - 1) / count;
    /* With more threads than panels, tiles are cut as well: each group of them transforms the panel's filters again. */
    const int64_t share = a_block * panels / plan->threads, most = plan->kernels->tile_pixels2;
    const int64_t unit = is_fused(plan) ? a_block : share < 2 ? 2 : share < most ? share : most;
    const int64_t tile_groups = (a_block + unit - 1) / unit;
    fly f = {plan, args, tiles, count, .sizes = buffer_sizes(plan)};
    f.grid = ck_choose_grid(plan->threads, plan->threads > panels ? tile_groups : 1, panels, 1 << 30);
    if (owns_input(plan)) {
        const int32_t most = CK_PARTS_A_THREAD * plan->threads;
        if (f.grid.across == 1 && count < most) f.grid.deep = panels < most ? panels : most;
        const int64_t cells = f.grid.across * f.grid.deep;
        ck_run_parts(plan->threads, cells * count, run_alone, &f);
        return CK_OK;
    }
    const int32_t cells = f.grid.across * f.grid.deep;
    for (int64_t block = 0; block < count; block++) {
        ck_split(tiles, block, count, &f.first, &f.last);
        ck_run_parts(plan->threads, plan->threads, fill_shared, &f);
        ck_run_parts(plan->threads, cells, run_shared, &f);
    }
    return CK_OK;
}

/* Stored filters: every part has tiles of its own, through all panels. */
typedef struct stored {
    const ck_conv_plan *plan;
    const ck_conv_args *args;
    int64_t tiles, parts;
} stored;

static void run_stored(void *context, int64_t part, int32_t worker) {
    const stored *s = context;
    const buffers sizes = buffer_sizes(s->plan);
    int64_t begin, end;
    ck_split(s->tiles, part, s->parts, &begin, &end);
    run_tiles(s->plan, s->args, begin, end, (float *)s->args->workspace + worker * (sizes.v + sizes.m + sizes.scratch));
}

static ck_status run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    const int64_t tiles = count_tiles(plan, batch);
    if (own(plan)->on_the_fly) return run_by_panels(plan, args, tiles);
    stored s = {plan, args, tiles, tiles < plan->threads ? tiles : plan->threads};
    ck_run_parts(plan->threads, s.parts, run_stored, &s);
    return CK_OK;
}

static void describe(const ck_conv_plan *plan, char *text, size_t size) {
    snprintf(text, size, " %dx%d, %d tiles a block, filters %s", ck_tile_pixels(plan->kernels, plan->panel_blocks),
             plan->panel_blocks * plan->block, own(plan)->tiles_a_block,
             own(plan)->on_the_fly ? "on the fly" : "stored");
}

static int32_t packing_order(const ck_conv_plan *plan) { return own(plan)->on_the_fly; }

const ck_conv_algorithm ck_conv_winograd2 = {.id = CK_WINOGRAD_2,
                                             .name = "winograd f2x2",
                                             .rounds = 1,
                                             .applicable = applicable,
                                             .choose = choose2,
                                             .cost = cost,
                                             .packed_size = packed_size,
                                             .workspace_size = workspace_size,
                                             .pack = pack,
                                             .packing_order = packing_order,
                                             .run = run,
                                             .describe = describe};
const ck_conv_algorithm ck_conv_winograd4 = {.id = CK_WINOGRAD_4,
                                             .name = "winograd f4x4",
                                             .rounds = 1,
                                             .applicable = applicable,
                                             .choose = choose4,
                                             .cost = cost,
                                             .packed_size = packed_size,
                                             .workspace_size = workspace_size,
                                             .pack = pack,
                                             .packing_order = packing_order,
                                             .run = run,
                                             .describe = describe};
