/* 1x1 convolution without padding, stride 1 or 2: a matrix product straight on NCHWc.
 *
 * With stride 1 a picture is one row of H * W pixels. A thread takes a chunk of pixels whose inputs stay in L2 and runs
 * its panels over it, so that the activations come from memory once and the weights once a chunk. A panel whose weights
 * do not fit half of L1 is cut into slices of input channels, each of which passes over all pixels of the chunk before
 * the next one: the sums go back to dst in between. While a slice runs, the next one is asked for.
 *
 * With stride 2 the pixels of a chunk are gathered first, side by side. Where weights may stream (kernels.h: cuts_deep)
 * every output row is a row of pixels two apart instead, and nothing is cut. */
#include <stdio.h>
#include <string.h>

#include "conv/algorithms.h"

typedef struct parameters {
    int32_t slice_blocks; /* input blocks of a slice */
} parameters;

CK_PARAMETERS(parameters)

static int applicable(const ck_conv_plan *plan) {
    const ck_conv_desc *d = &plan->d;
    return d->kernel_height == 1 && d->kernel_width == 1 && d->pad_height == 0 && d->pad_width == 0 && d->groups == 1 &&
           d->src_layout == CK_NCHWC && d->stride_height <= 2 && d->stride_height == d->stride_width &&
           !(d->epilogue & CK_MAX_POOL_3X3_S2);
}

static int gathers(const ck_conv_plan *plan) { return plan->d.stride_height > 1 && plan->kernels->cuts_deep; }

/* A line of pixels at equal distances, and how many of them make a picture. */
static int32_t line_pixels(const ck_conv_plan *plan) {
    const int whole = plan->d.stride_height == 1 || gathers(plan);
    return whole ? plan->out_height * plan->out_width : plan->out_width;
}
static int32_t lines(const ck_conv_plan *plan) { return plan->out_height * plan->out_width / line_pixels(plan); }

static int32_t tile_pixels(const ck_conv_plan *plan) { return ck_tile_pixels(plan->kernels, plan->panel_blocks); }
static int32_t tiles(const ck_conv_plan *plan) {
    return (line_pixels(plan) + tile_pixels(plan) - 1) / tile_pixels(plan);
}

/* Chunks of a line: their inputs take three quarters of L2, and of a large one no more than of 512 KiB. */
static int64_t least_chunks(const ck_conv_plan *plan) {
    enum { MOST = 384 << 10 };
    const int64_t bytes = (int64_t)plan->in_blocks * plan->block * 4 * tile_pixels(plan) * tiles(plan);
    const int64_t share = (int64_t)ck_cache_share(plan->caches.l2, plan->threads) / 4 * 3;
    const int64_t room = share < MOST ? share : MOST;
    return (bytes + room - 1) / room;
}

/* Tiles of the longest chunk. */
static int32_t most_tiles(const ck_conv_plan *plan) {
    const int64_t chunks = least_chunks(plan) < tiles(plan) ? least_chunks(plan) : tiles(plan);
    return (int32_t)((tiles(plan) + chunks - 1) / chunks);
}

static int32_t slice_blocks(const ck_conv_plan *plan) {
    return plan->kernels->cuts_deep ? ck_slice_blocks(plan, 1) : plan->in_blocks;
}

static void choose(ck_conv_plan *plan) {
    plan->panel_blocks = ck_panel_width(plan->kernels, line_pixels(plan), plan->out_blocks);
    set_own(plan, (parameters){slice_blocks(plan)});
}

static double cost(const ck_conv_plan *plan) {
    const double line = ck_panel_cycles(plan->kernels, line_pixels(plan), plan->panel_blocks) / plan->panel_blocks;
    return 1.05 * line * lines(plan) * plan->in_blocks * plan->block * plan->out_blocks * plan->d.batch;
}

/* Floats of a thread's gathered chunk. */
static size_t chunk_floats(const ck_conv_plan *plan) {
    if (!gathers(plan)) return 0;
    return ck_round_up((size_t)plan->in_blocks * plan->block * most_tiles(plan) * tile_pixels(plan), 16);
}

static size_t workspace_size(const ck_conv_plan *plan) { return 4 * chunk_floats(plan) * plan->threads; }

/* Output pixels begin...end of an image's input, to [block][pixel][V]. */
static void gather(const ck_conv_plan *plan, const float *image, int32_t begin, int32_t end, float *dst) {
    const int32_t v = plan->block, stride = plan->d.stride_width, width = plan->out_width;
    const ptrdiff_t row = (ptrdiff_t)plan->d.stride_height * plan->d.in_width * v;
    for (int32_t b = 0; b < plan->in_blocks; b++, image += (ptrdiff_t)plan->d.in_height * plan->d.in_width * v)
        for (int32_t y = begin / width, x = begin % width, left = end - begin; left > 0; y++, x = 0) {
            const int32_t count = width - x < left ? width - x : left;
            const float *src = image + y * row + (ptrdiff_t)x * stride * v;
            for (int32_t i = 0; i < count; i++, dst += v) memcpy(dst, src + (ptrdiff_t)i * stride * v, (size_t)v * 4);
            left -= count;
        }
}

/* One panel over the pixels of a chunk, slice by slice, with the weights from the packed number `at` on; those from
 * `next` on come afterwards. The residual is added with the first slice: it may lie where the sums go. */
static void run_panel(const ck_conv_plan *plan, ck_panel *p, const void *packed, ptrdiff_t at, ptrdiff_t next) {
    const float *src = p->src, *bias = p->bias, *residual = p->residual;
    const int32_t relu = p->relu, width = p->blocks * plan->block;
    for (int32_t b = 0; b < plan->in_blocks; b += p->outer[0]) {
        const int32_t left = plan->in_blocks - b;
        p->outer[0] = own(plan)->slice_blocks < left ? own(plan)->slice_blocks : left;
        const int last = p->outer[0] == left;
        p->src = src + b * p->outer_stride[0];
        p->accumulate = b > 0;
        p->bias = b > 0 ? NULL : bias;
        p->residual = b > 0 ? NULL : residual;
        p->relu = last && relu;
        if (plan->d.packed_type == CK_BF16)
            p->bf16 = (const uint16_t *)packed + at;
        else
            p->weights = (const float *)packed + at;
        at += (ptrdiff_t)p->outer[0] * plan->block * width;
        p->fetch = (const char *)packed + (last ? next : at) * ck_packed_bytes(plan);
        p->fetch_bytes = (size_t)own(plan)->slice_blocks * plan->block * width * ck_packed_bytes(plan);
        plan->kernels->panel(p);
    }
    p->src = src;
    p->relu = relu;
}

/* Panels begin...end, of a share that goes through another chunk afterwards. */
typedef struct panels {
    int64_t begin, end, share_begin, share_end;
} panels;

/* Pixels begin...end of one line, the panels of a part. */
static void run_line(const ck_conv_plan *plan, const ck_conv_args *args, int32_t image, int32_t line, int32_t begin,
                     int32_t end, const panels *part, float *buffer) {
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
    p.src = (const float *)args->src + image * plan->in_blocks * plane;
    if (gathers(plan)) {
        gather(plan, p.src, begin, end, buffer);
        p.src = buffer;
        p.outer_stride[0] = (ptrdiff_t)p.pixels * v;
        p.pixel_stride = v;
    } else {
        p.src += ((ptrdiff_t)line * stride * d->in_width + (ptrdiff_t)begin * stride) * v;
    }
    const ptrdiff_t at = image * plan->out_blocks * out_plane + ((ptrdiff_t)line * plan->out_width + begin) * v;
    for (int64_t panel = part->begin; panel < part->end; panel++) {
        int32_t first, next, count;
        ck_panel_at(plan->out_blocks, plan->panel_blocks, (int32_t)panel, &first, &p.blocks);
        const int64_t after = panel + 1 < part->share_end ? panel + 1 : part->share_begin;
        ck_panel_at(plan->out_blocks, plan->panel_blocks, (int32_t)after, &next, &count);
        const ptrdiff_t steps = (ptrdiff_t)plan->in_blocks * v * v;
        p.bias = args->bias ? args->bias + (ptrdiff_t)first * v : NULL;
        p.dst = args->dst + at + first * out_plane;
        p.residual = args->residual ? args->residual + at + first * out_plane : NULL;
        run_panel(plan, &p, args->packed, first * steps, next * steps);
    }
}

/* A line of pixels is cut into `chunks` of whole register tiles; the panels are cut into `deep` shares, and each of
 * these into `pieces`. */
typedef struct job {
    const ck_conv_plan *plan;
    const ck_conv_args *args;
    int64_t items; /* chunks of all lines of all images */
    int32_t chunks, deep, pieces;
} job;

/* One chunk through one piece of the panels. The shares come one after the other, so that a thread stays with one, and
 * the pieces of a share together, because they read the same pixels. */
static void run_part(void *context, int64_t part, int32_t worker) {
    const job *j = context;
    const ck_conv_plan *plan = j->plan;
    const int64_t item = part / j->pieces % j->items, line = item / j->chunks, share = part / j->pieces / j->items;
    int64_t first, last;
    panels p;
    ck_split(tiles(plan), item % j->chunks, j->chunks, &first, &last);
    ck_split(ck_panel_count(plan->out_blocks, plan->panel_blocks), share, j->deep, &p.share_begin, &p.share_end);
    ck_split(p.share_end - p.share_begin, part % j->pieces, j->pieces, &p.begin, &p.end);
    p.begin += p.share_begin, p.end += p.share_begin;
    const int32_t tile = tile_pixels(plan), pixels = line_pixels(plan), end = (int32_t)last * tile;
    run_line(plan, j->args, (int32_t)(line / lines(plan)), (int32_t)(line % lines(plan)), (int32_t)first * tile,
             end < pixels ? end : pixels, &p, (float *)j->args->workspace + worker * chunk_floats(plan));
}

static ck_status run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    const int32_t panels = ck_panel_count(plan->out_blocks, plan->panel_blocks);
    int64_t chunks = least_chunks(plan);
    const int64_t all_lines = (int64_t)batch * lines(plan);
    if (all_lines * chunks < plan->threads)
        chunks = (plan->threads + all_lines - 1) / all_lines;
    else if (all_lines < plan->threads)
        chunks = (chunks + plan->threads - 1) / plan->threads * plan->threads;
    if (chunks > tiles(plan)) chunks = tiles(plan);
    const ck_grid grid = ck_choose_grid(plan->threads, all_lines * chunks, panels, ck_pack_panels_size(plan));
    job j = {plan, args, all_lines * chunks, (int32_t)chunks, grid.deep, 1};
    const int64_t parts = j.items * j.deep, wanted = CK_PARTS_A_THREAD * plan->threads;
    /* Gathered pixels are gathered for each piece. */
    if (plan->threads > 1 && parts < wanted && !gathers(plan)) {
        const int64_t pieces = (wanted + parts - 1) / parts, most = panels / j.deep;
        j.pieces = (int32_t)(pieces < most ? pieces : most);
    }
    ck_run_parts(grid.across * grid.deep, parts * j.pieces, run_part, &j);
    return CK_OK;
}

static void pack(const ck_conv_plan *plan, const float *oihw, const float *scale, void *packed) {
    ck_pack_panels(plan, oihw, scale, packed);
}

static void describe(const ck_conv_plan *plan, char *text, size_t size) {
    snprintf(text, size, " %dx%d, %d channels at a time%s", tile_pixels(plan), plan->panel_blocks * plan->block,
             own(plan)->slice_blocks * plan->block, plan->d.packed_type == CK_BF16 ? ", bf16 weights" : "");
}

const ck_conv_algorithm ck_conv_pointwise = {.id = CK_POINTWISE,
                                             .name = "pointwise",
                                             .packs_bf16 = 1,
                                             .applicable = applicable,
                                             .choose = choose,
                                             .cost = cost,
                                             .packed_size = ck_pack_panels_size,
                                             .workspace_size = workspace_size,
                                             .pack = pack,
                                             .run = run,
                                             .describe = describe};
