/* F(4x4, 3x3) in integers, exact: four times fewer products than direct.
 *
 *     B^T   4  0 -5  0  1  0      G   6  0  0      A^T  1  1  1  1  1  0
 *           0 -4 -4  1  1  0         -4 -4 -4           0  1 -1  2 -2  0
 *           0  4 -4 -1  1  0         -4  4 -4           0  1  1  4  4  0
 *           0 -2 -1  2  1  0          1  2  4           0  1 -1  8 -8  4
 *           0  2 -1 -2  1  0          1 -2  4
 *           0  4  0 -5  0  1          0  0  6
 *
 * With the denominators left out, A^T (G g G^T . B^T d B) A = 576 y. Bytes d transform to numbers of -20,400 to 20,400,
 * 8-bit filters g to 18,432 at most: both fit 16 bits, and no step rounds. Sums may leave 32 bits: they are right
 * modulo 2^32. 576 = 64 * 9, and 9 has an inverse modulo 2^32, so that 64 y is known modulo 2^32 and y modulo 2^26: it
 * is exact while -2^25 <= y < 2^25, which a bound on the weights' sums guarantees when they are packed.
 *
 * A thread takes a run of tiles: transforms them, for all channels, to [point][tile][channel] of 16 bits, and then,
 * panel by panel, multiplies point by point and transforms the sums back. Where one run has all tiles, all threads
 * transform it, and each takes panels. */
#include <string.h>

#include "conv/tiles.h"
#include "int8/plan.h"

enum { POINTS = 36, BUFFER_BYTES = 288 << 10, FEWEST_TILES = 16, MOST_OF_L1 = 12 << 10 };

static int applicable(const ck_int8_plan *plan) {
    const ck_conv_desc *d = &plan->shape->d;
    return d->kernel_height == 3 && d->kernel_width == 3 && d->stride_height == 1 && d->stride_width == 1 &&
           d->dilation_height == 1 && d->dilation_width == 1 && 255 * (int64_t)plan->weight_sum < 1 << 25;
}

/* ---- filters: (panel, point, pair of input channels, block, V, 2) */

static size_t packed_size(const ck_int8_plan *plan) {
    return (size_t)plan->shape->out_blocks * plan->shape->block * POINTS * plan->channels * sizeof(int16_t);
}

static void transform_filter(const int32_t g[9], int32_t u[POINTS]) {
    static const int32_t rows[6][3] = {{6, 0, 0}, {-4, -4, -4}, {-4, 4, -4}, {1, 2, 4}, {1, -2, 4}, {0, 0, 6}};
    int32_t half[6][3];
    for (int i = 0; i < 6; i++)
        for (int x = 0; x < 3; x++) half[i][x] = rows[i][0] * g[x] + rows[i][1] * g[3 + x] + rows[i][2] * g[6 + x];
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++)
            u[6 * i + j] = half[i][0] * rows[j][0] + half[i][1] * rows[j][1] + half[i][2] * rows[j][2];
}

static void pack_panel(const ck_int8_plan *plan, const int8_t *oihw, int32_t first, int32_t blocks, void *to) {
    int16_t *const packed = to;
    const int32_t width = blocks * plan->shape->block;
    const ptrdiff_t point = (ptrdiff_t)plan->channels * width;
    for (int32_t c = 0; c < plan->channels; c++)
        for (int32_t k = 0; k < width; k++) {
            int32_t g[9], u[POINTS];
            for (int32_t tap = 0; tap < 9; tap++)
                g[tap] = ck_int8_weight(plan, oihw, first * plan->shape->block + k, c, tap);
            transform_filter(g, u);
            int16_t *at = packed + ((ptrdiff_t)(c / 2) * width + k) * 2 + c % 2;
            for (int32_t e = 0; e < POINTS; e++) at[e * point] = (int16_t)u[e];
        }
}

/* ---- the tiles of a part, and its buffers */

typedef struct job {
    const ck_int8_plan *plan;
    const ck_int8_args *args;
    int64_t tiles, items;
    int32_t most; /* tiles of an item */
    int32_t shares;
    char *own; /* behind the transformed tiles: what each thread has for itself */
} job;

static size_t input_bytes(const ck_int8_plan *plan, int64_t tiles) {
    return ck_round_up((size_t)POINTS * tiles * plan->channels * sizeof(int16_t), 64);
}

static size_t sums_bytes(const ck_int8_plan *plan, int64_t tiles) {
    return ck_round_up((size_t)POINTS * tiles * plan->shape->panel_blocks * plan->shape->block * sizeof(int32_t), 64);
}

static size_t columns_bytes(const ck_int8_plan *plan, int64_t tiles) {
    return (size_t)6 * (4 * tiles + 2) * plan->shape->block * sizeof(int16_t);
}

/* Transformed tiles and sums stay in L2; as many items for one thread as for another. */
static void cut(job *j, int32_t batch) {
    const ck_int8_plan *plan = j->plan;
    const int64_t a_tile = (int64_t)(input_bytes(plan, 64) + sums_bytes(plan, 64)) / 64;
    int64_t most = BUFFER_BYTES / a_tile;
    if (most < FEWEST_TILES) most = FEWEST_TILES;
    j->tiles = ck_tile_count(plan->shape, 4, batch);
    const int64_t threads = plan->shape->threads;
    int64_t items = (j->tiles + most - 1) / most;
    if (items > 1) items = (items + threads - 1) / threads * threads;
    j->most = (int32_t)((j->tiles + items - 1) / items);
    j->items = (j->tiles + j->most - 1) / j->most;
    j->shares = j->items > 1 ? 1 : ck_int8_shares(plan, 1);
}

/* Of one thread: sums, columns. */
static size_t own_bytes(const ck_int8_plan *plan, int64_t tiles) {
    return sums_bytes(plan, tiles) + ck_round_up(columns_bytes(plan, tiles), 64);
}

/* The transformed tiles of the items that are worked on at a time. */
static size_t inputs_bytes(const job *j) {
    return input_bytes(j->plan, j->most) * (size_t)(j->shares > 1 ? 1 : j->plan->shape->threads);
}

/* Of a full batch or of fewer images, whose parts may be larger. */
static size_t workspace_size(const ck_int8_plan *plan) {
    size_t largest = 0;
    for (int32_t batch = 1; batch <= plan->shape->d.batch; batch++) {
        job j = {.plan = plan};
        cut(&j, batch);
        const size_t bytes = inputs_bytes(&j) + own_bytes(plan, j.most) * (size_t)plan->shape->threads;
        if (bytes > largest) largest = bytes;
    }
    return largest;
}

/* ---- running */

/* Of channel blocks begin...end-1. */
static void transform_run(const job *j, ck_tile_run run, int64_t begin, int64_t end, int16_t *to, int16_t *columns) {
    const ck_conv_plan *shape = j->plan->shape;
    const ck_conv_desc *d = &shape->d;
    const ptrdiff_t row = (ptrdiff_t)d->in_width * shape->block;
    ck_short_winograd_input in = {.width = d->in_width,
                                  .x0 = 4 * run.column - d->pad_width,
                                  .tiles = run.count,
                                  .dst_point = (ptrdiff_t)j->most * j->plan->channels,
                                  .dst_tile = j->plan->channels,
                                  .scratch = columns};
    for (int64_t b = begin; b < end; b++) {
        const uint8_t *map = j->args->src + ((ptrdiff_t)run.image * shape->in_blocks + b) * d->in_height * row;
        for (int32_t i = 0; i < 6; i++) {
            const int32_t y = 4 * run.row - d->pad_height + i;
            in.rows[i] = y < 0 || y >= d->in_height ? NULL : map + y * row;
        }
        in.dst = to + b * shape->block;
        shape->kernels->short_winograd_input(&in);
    }
}

static void restore_run(const job *j, ck_tile_run run, const int32_t *sums, int32_t block) {
    const ck_conv_plan *shape = j->plan->shape;
    const int32_t v = shape->block, y = 4 * run.row, x = 4 * run.column;
    const ptrdiff_t map = ((ptrdiff_t)run.image * shape->out_blocks + block) * shape->out_height;
    const ck_short_winograd_output out = {
        .src = sums,
        .src_point = (ptrdiff_t)j->most * v,
        .tiles = run.count,
        .rows = shape->out_height - y < 4 ? shape->out_height - y : 4,
        .width = shape->out_width - x,
        .row_stride = (ptrdiff_t)shape->out_width * v,
        .to = ck_int8_result(j->plan, j->args, block, ((map + y) * shape->out_width + x) * v)};
    shape->kernels->short_winograd_output(&out);
}

/* All points of one panel: the sums of block b, point e to sums + (b * 36 + e) * most * V. */
static void multiply_points(const job *j, int32_t count, const int16_t *in, const int16_t *filters, int32_t blocks,
                            int32_t *sums) {
    const ck_conv_plan *shape = j->plan->shape;
    const ptrdiff_t channels = j->plan->channels, plane = (ptrdiff_t)j->most * shape->block;
    ck_word_panel p = {.outer = {1, 1},
                       .run = (int32_t)channels / 2,
                       .pixels = count,
                       .columns = count,
                       .pixel_stride = channels / 2,
                       .blocks = blocks,
                       .fetches_next = channels * blocks * shape->block * 2 <= MOST_OF_L1,
                       .dst_block = POINTS * plane};
    for (int32_t e = 0; e < POINTS; e++) {
        p.src = in + e * (ptrdiff_t)j->most * channels;
        p.weights = filters + e * channels * blocks * shape->block;
        p.sums = sums + e * plane;
        shape->kernels->short_panel(&p);
    }
}

/* What a thread has for itself. */
typedef struct own_memory {
    int32_t *sums;
    int16_t *columns;
} own_memory;

static own_memory own_memory_of(const job *j, int32_t worker) {
    char *sums = j->own + (size_t)worker * own_bytes(j->plan, j->most), *columns = sums + sums_bytes(j->plan, j->most);
    return (own_memory){(int32_t *)(void *)sums, (int16_t *)(void *)columns};
}

/* Some channel blocks of the only item. */
static void transform_part(void *context, int64_t part, int32_t worker) {
    const job *j = context;
    int16_t *const in = j->args->workspace, *const columns = own_memory_of(j, worker).columns;
    for (int64_t t = 0; t < j->tiles;) {
        const ck_tile_run run = ck_tile_run_at(j->plan->shape, 4, t, j->tiles);
        transform_run(j, run, part, part + 1, in + t * j->plan->channels, columns);
        t += run.count;
    }
}

static void run_part(void *context, int64_t part, int32_t worker) {
    const job *j = context;
    const ck_int8_plan *plan = j->plan;
    const ck_conv_plan *shape = plan->shape;
    const int64_t first = part % j->items * j->most, rest = j->tiles - first,
                  end = rest < j->most ? j->tiles : first + j->most;
    const own_memory own = own_memory_of(j, worker);
    int16_t *in = j->args->workspace;
    if (j->shares == 1) {
        in += (size_t)worker * input_bytes(plan, j->most) / sizeof *in;
        for (int64_t t = first; t < end;) {
            const ck_tile_run run = ck_tile_run_at(shape, 4, t, end);
            transform_run(j, run, 0, shape->in_blocks, in + (t - first) * plan->channels, own.columns);
            t += run.count;
        }
    }
    int64_t panel, panel_end;
    ck_split(ck_panel_count(shape->out_blocks, shape->panel_blocks), part / j->items, j->shares, &panel, &panel_end);
    for (; panel < panel_end; panel++) {
        int32_t k, blocks;
        ck_panel_at(shape->out_blocks, shape->panel_blocks, (int32_t)panel, &k, &blocks);
        multiply_points(j, (int32_t)(end - first), in,
                        (const int16_t *)j->args->packed + (ptrdiff_t)k * shape->block * POINTS * plan->channels,
                        blocks, own.sums);
        for (int32_t b = 0; b < blocks; b++)
            for (int64_t t = first; t < end;) {
                const ck_tile_run run = ck_tile_run_at(shape, 4, t, end);
                restore_run(j, run, own.sums + ((ptrdiff_t)b * POINTS * j->most + (t - first)) * shape->block, k + b);
                t += run.count;
            }
    }
}

static void run(const ck_int8_plan *plan, const ck_int8_args *args, int32_t batch) {
    job j = {.plan = plan, .args = args};
    cut(&j, batch);
    j.own = (char *)args->workspace + inputs_bytes(&j);
    if (j.shares > 1) ck_run_parts(plan->shape->threads, plan->shape->in_blocks, transform_part, &j);
    ck_run_parts(plan->shape->threads, j.items * j.shares, run_part, &j);
}

const ck_int8_algorithm ck_int8_winograd = {.id = CK_WINOGRAD_4,
                                            .word = 2,
                                            .name = "winograd f4x4",
                                            .applicable = applicable,
                                            .packed_size = packed_size,
                                            .workspace_size = workspace_size,
                                            .pack_panel = pack_panel,
                                            .run = run};
