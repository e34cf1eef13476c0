/* Winograd with tiles of two sizes: transforms and products of a block of tiles, and how a team shares them. */
#include "conv/prefetch.h"
#include "conv/tiled.h"

/* ---- input */

/* Where the values of a phase are along one dimension, for a tile whose outputs begin at `start`. In the data gradient
 * pixel 2 q + parity of dx meets the kernel's outer taps if parity and padding are both odd or both even, and otherwise
 * the middle one. */
typedef struct values {
    int32_t first, step;
} values;

static values values_at(const ck_tile_scheme *s, int32_t phase, int32_t start, int32_t pad) {
    if (!s->transposed) return (values){start * s->stride - pad + phase, s->stride};
    return (values){start + (phase == 0 ? (pad + 1) / 2 - 1 : pad / 2), 1};
}

/* One pair of phases of one run of tiles; `plane` is the pair's first. */
static void input_run(const ck_conv_plan *plan, const float *picture, const ck_tile_block *block,
                      const ck_tile_run *run, int32_t row_phase, int32_t column_phase, int32_t plane, float *v_at,
                      float *scratch) {
    const ck_conv_desc *d = &plan->d;
    const ck_tile_scheme *s = own(plan)->scheme;
    const int32_t v = plan->block, small_rows = ck_kind_small_rows(run->kind);
    const int32_t small_columns = ck_kind_small_columns(run->kind);
    const ck_tile_phase *down = &s->phase[row_phase], *along = &s->phase[column_phase];
    const values y = values_at(s, row_phase, ck_tile_start(&block->tiling->rows, run->row), d->pad_height);
    const values x = values_at(s, column_phase, ck_tile_start(&block->tiling->columns, run->column), d->pad_width);
    const ptrdiff_t point = ck_tiled_v_plane(plan);
    plane += small_rows * s->planes + small_columns;
    ck_tile_input in = {.row_points = small_rows ? down->small : down->big,
                        .column_points = small_columns ? along->small : along->big,
                        .width = d->in_width,
                        .x0 = x.first,
                        .step = x.step,
                        .tile_values = s->big - small_columns,
                        .tiles = run->count,
                        .dst = v_at + plane * point + (ptrdiff_t)run->slot * v,
                        .dst_row = s->planes * point,
                        .dst_point = point,
                        .scratch = scratch};
    for (int32_t r = 0; r < down->points - small_rows; r++) {
        const int32_t row = y.first + r * y.step;
        in.rows[r] = row >= 0 && row < d->in_height ? picture + (ptrdiff_t)row * d->in_width * v : NULL;
    }
    plan->kernels->tile_input(&in);
}

/* What the run covers of the next channel block, whose picture this is. */
static void fetch_rows(const ck_conv_plan *plan, const float *picture, const ck_tile_block *block,
                       const ck_tile_run *run) {
    const ck_conv_desc *d = &plan->d;
    const ck_tile_scheme *s = own(plan)->scheme;
    const ck_tile_line *rows = &block->tiling->rows, *columns = &block->tiling->columns;
    const int32_t y = values_at(s, 0, ck_tile_start(rows, run->row), d->pad_height).first;
    const int32_t bottom = values_at(s, 0, ck_tile_start(rows, run->row + 1), d->pad_height).first + 2;
    const int32_t x = values_at(s, 0, ck_tile_start(columns, run->column), d->pad_width).first;
    const int32_t right = values_at(s, 0, ck_tile_start(columns, run->column + run->count), d->pad_width).first + 2;
    const int32_t left = x < 0 ? 0 : x, width = (right < d->in_width ? right : d->in_width) - left;
    for (int32_t row = y < 0 ? 0 : y; row < bottom && row < d->in_height; row++)
        ck_fetch_read(picture + ((ptrdiff_t)row * d->in_width + left) * plan->block, (ptrdiff_t)width * plan->block);
}

void ck_tiled_input(const ck_conv_plan *plan, const ck_conv_args *args, int32_t b, const ck_tile_block *block,
                    int64_t first, int64_t end, float *v, float *scratch) {
    const ck_conv_desc *d = &plan->d;
    const ck_tile_scheme *s = own(plan)->scheme;
    const ptrdiff_t picture_floats = (ptrdiff_t)d->in_height * d->in_width * plan->block;
    float *v_at = v + (ptrdiff_t)b * own(plan)->tiles_a_block * plan->block;
    while (first < end) {
        const ck_tile_run run = ck_tile_run_at(block, first, end);
        const float *picture = (const float *)args->src + ((ptrdiff_t)run.image * plan->in_blocks + b) * picture_floats;
        if (b + 1 < plan->in_blocks) fetch_rows(plan, picture + picture_floats, block, &run);
        int32_t row = 0;
        for (int32_t rp = 0; rp < s->phases; row += s->phase[rp++].points) {
            int32_t column = 0;
            for (int32_t cp = 0; cp < s->phases; column += s->phase[cp++].points)
                input_run(plan, picture, block, &run, rp, cp, row * s->planes + column, v_at, scratch);
        }
        first += run.count;
    }
}

/* ---- products */

/* Kinds of tiles that have point (row, column) in a pair of phases: from first to end, or none. */
typedef struct kinds {
    int32_t first, end;
} kinds;

static int has_point(const ck_tile_phase *phase, int32_t point, int small) {
    return point >= phase->first + small && point < phase->first + phase->points;
}

/* Whether the pictures have tiles of this kind at all. */
static int exists(const ck_tiling *t, int32_t kind) {
    const ck_tile_line *rows = &t->rows, *columns = &t->columns;
    return (ck_kind_small_rows(kind) ? rows->bigs < rows->count : rows->bigs > 0) &&
           (ck_kind_small_columns(kind) ? columns->bigs < columns->count : columns->bigs > 0);
}

static kinds kinds_at(const ck_tiling *t, const ck_tile_phase *down, const ck_tile_phase *along, int32_t row,
                      int32_t column) {
    kinds k = {.first = CK_TILE_KINDS};
    for (int32_t kind = 0; kind < CK_TILE_KINDS; kind++) {
        if (!exists(t, kind)) continue;
        if (!has_point(down, row, ck_kind_small_rows(kind)) || !has_point(along, column, ck_kind_small_columns(kind)))
            continue;
        if (kind < k.first) k.first = kind;
        k.end = kind + 1;
    }
    return k;
}

static void add_segment(const ck_tile_scheme *s, int32_t row, int32_t rp, int32_t cp, ck_tile_product *product) {
    const ck_tile_phase *down = &s->phase[rp], *along = &s->phase[cp];
    const int32_t row_offset = rp ? s->phase[0].points : 0, column_offset = cp ? s->phase[0].points : 0;
    const int32_t i = product->segments++, column = product->column - along->first;
    product->plane[i] = (row_offset + row - down->first) * s->planes + column_offset + column;
    product->filter_row[i] = down->filter + (row - down->first) * down->step;
    product->filter_column[i] = along->filter + column * along->step;
    product->filter_step[i] = along->step;
}

/* Products of points column...column+points: pairs of phases that have the same kinds of tiles go together, whichever
 * this block has: the order of the sums must not depend on it. The first pair has all tiles that there are, so what
 * comes after it adds. */
static int32_t add_products(const ck_tile_scheme *s, const ck_tile_block *block, int32_t row, int32_t column,
                            int32_t points, ck_tile_product *products) {
    int32_t count = 0;
    kinds of[CK_TILE_PRODUCTS];
    for (int32_t pair = 0; pair < s->phases * s->phases; pair++) {
        const int32_t rp = pair / s->phases, cp = pair % s->phases;
        const kinds k = kinds_at(block->tiling, &s->phase[rp], &s->phase[cp], row, column);
        if (k.first >= k.end || block->start[k.first] == block->start[k.end]) continue;
        const int32_t tile = block->start[k.first], tiles = block->start[k.end] - tile;
        int32_t at = 0;
        while (at < count && (of[at].first != k.first || of[at].end != k.end)) at++;
        of[at] = k;
        if (at == count)
            products[count++] =
                (ck_tile_product){.column = column, .points = points, .tile = tile, .tiles = tiles, .adds = at > 0};
        add_segment(s, row, rp, cp, &products[at]);
    }
    return count;
}

/* Columns of points that every pair of phases treats alike: up to which from `column` on. */
static int32_t same_columns(const ck_tile_scheme *s, int32_t column) {
    int32_t end = column + 1;
    for (; end < s->points; end++)
        for (int32_t p = 0; p < s->phases; p++)
            if (end == s->phase[p].first || end == s->phase[p].first + 1)
                return end; /* phases end where others begin */
    return end;
}

int32_t ck_tile_products(const ck_conv_plan *plan, const ck_tile_block *block, int32_t row,
                         ck_tile_product products[CK_TILE_PRODUCTS]) {
    const ck_tile_scheme *s = own(plan)->scheme;
    const int32_t plain = block->start[2] - block->start[1] == block->start[CK_TILE_KINDS]; /* no small tiles */
    int32_t count = 0;
    for (int32_t column = 0, end; column < s->points; column = end) {
        end = plain && s->phases == 1 ? s->points : same_columns(s, column);
        count += add_products(s, block, row, column, end - column, products + count);
    }
    return count;
}

/* ---- output */

/* The pixels that output will write, and the residuals it will read. */
static void fetch_output(const ck_conv_plan *plan, const ck_conv_args *args, int32_t first, int32_t blocks,
                         const ck_tile_block *block) {
    const ck_tile_line *rows = &block->tiling->rows, *columns = &block->tiling->columns;
    const int32_t v = plan->block, spread = ck_tiled_spread(plan);
    const ptrdiff_t row_floats = (ptrdiff_t)plan->out_width * v;
    for (int64_t tile = block->begin; tile < block->end;) {
        const ck_tile_run run = ck_tile_run_at(block, tile, block->end);
        const int32_t x = ck_tile_start(columns, run.column) * spread, y = ck_tile_start(rows, run.row) * spread;
        const int32_t right = ck_tile_start(columns, run.column + run.count) * spread;
        const int32_t bottom = ck_tile_start(rows, run.row + 1) * spread;
        const ptrdiff_t floats = (ptrdiff_t)((right < plan->out_width ? right : plan->out_width) - x) * v;
        for (int32_t b = 0; b < blocks; b++)
            for (int32_t row = y; row < bottom && row < plan->out_height; row++) {
                const ptrdiff_t plane = (ptrdiff_t)run.image * plan->out_blocks + first + b;
                const ptrdiff_t at = (plane * plan->out_height + row) * row_floats + (ptrdiff_t)x * v;
                ck_fetch_write(args->dst + at, floats);
                if (args->residual) ck_fetch_read(args->residual + at, floats);
            }
        tile += run.count;
    }
}

/* Every which pixel of the result a run gives in one dimension: all of them, or in the data gradient those that a phase
 * has (see values_at). */
static int32_t output_parity(const ck_tile_scheme *s, int32_t phase, int32_t pad) {
    return s->transposed ? (pad + phase) % 2 : 0;
}

/* One pair of phases of one run of tiles, output block `out_block`; `m` is its first product in the panel. */
static void output_run(const ck_conv_plan *plan, const ck_conv_args *args, const ck_tile_block *block,
                       const ck_tile_run *run, int32_t row_phase, int32_t column_phase, int32_t out_block,
                       const float *m, float *scratch) {
    const ck_tile_scheme *s = own(plan)->scheme;
    const ck_tile_phase *down = &s->phase[row_phase], *along = &s->phase[column_phase];
    const int32_t v = plan->block, spread = ck_tiled_spread(plan);
    const int32_t small_rows = ck_kind_small_rows(run->kind), small_columns = ck_kind_small_columns(run->kind);
    const int32_t y =
        ck_tile_start(&block->tiling->rows, run->row) * spread + output_parity(s, row_phase, plan->d.pad_height);
    const int32_t x = ck_tile_start(&block->tiling->columns, run->column) * spread +
                      output_parity(s, column_phase, plan->d.pad_width);
    const int32_t rows = (plan->out_height - y + spread - 1) / spread, most = s->big - small_rows;
    const int32_t width = (plan->out_width - x + spread - 1) / spread;
    const ptrdiff_t point = ck_tiled_m_point(plan), plane = (ptrdiff_t)run->image * plan->out_blocks + out_block;
    const ptrdiff_t at = ((plane * plan->out_height + y) * plan->out_width + x) * v;
    if (rows <= 0 || width <= 0) return;
    const ck_tile_output out = {.row_points = small_rows ? down->small : down->big,
                                .column_points = small_columns ? along->small : along->big,
                                .src =
                                    m + ((down->first + small_rows) * s->points + along->first + small_columns) * point,
                                .src_row = s->points * point,
                                .src_point = point,
                                .tiles = run->count,
                                .rows = rows < most ? rows : most,
                                .width = width,
                                .dst = args->dst + at,
                                .residual = args->residual ? args->residual + at : NULL,
                                .row_stride = (ptrdiff_t)spread * plan->out_width * v,
                                .column_stride = (ptrdiff_t)spread * v,
                                .bias = args->bias ? args->bias + (ptrdiff_t)out_block * v : NULL,
                                .relu = !!(plan->d.epilogue & CK_RELU),
                                .scratch = scratch};
    plan->kernels->tile_output(&out);
}

/* Output blocks first...first+blocks of a block of tiles. */
static void output_tiles(const ck_conv_plan *plan, const ck_conv_args *args, int32_t first, int32_t blocks,
                         const ck_tile_block *block, const float *m, float *scratch) {
    const ck_tile_scheme *s = own(plan)->scheme;
    const int32_t phases = s->transposed ? s->phases : 1;
    for (int64_t tile = block->begin; tile < block->end;) {
        const ck_tile_run run = ck_tile_run_at(block, tile, block->end);
        for (int32_t b = 0; b < blocks; b++) {
            const float *at = m + ((ptrdiff_t)b * own(plan)->tiles_a_block + run.slot) * plan->block;
            for (int32_t pair = 0; pair < phases * phases; pair++)
                output_run(plan, args, block, &run, pair / phases, pair % phases, first + b, at, scratch);
        }
        tile += run.count;
    }
}

/* ---- a block of tiles through panels */

/* The products of all rows of points, and the calls of the kernel that make them for one panel. */
typedef struct products {
    int32_t count[9];
    ck_tile_product list[9][CK_TILE_PRODUCTS];
    ck_product call[9][CK_TILE_PRODUCTS];
} products;

/* Where rows of U are: from row `first` on, and that of the tap of odd pixels. */
typedef struct filters {
    const float *rows, *odd;
    int32_t first;
    ptrdiff_t point; /* floats between the points of a row */
} filters;

/* The calls of one row of points, from the first input block on. */
static void prepare_row(const ck_conv_plan *plan, products *all, int32_t row, const float *v, int32_t width,
                        const filters *u, float *m) {
    const ck_tile_scheme *s = own(plan)->scheme;
    const ptrdiff_t block = (ptrdiff_t)own(plan)->tiles_a_block * plan->block;
    const int32_t odd_row = s->phases == 2 ? s->phase[1].filter : -1;
    for (int32_t i = 0; i < all->count[row]; i++) {
        const ck_tile_product *one = &all->list[row][i];
        ck_product *p = &all->call[row][i];
        *p = (ck_product){.points = one->points,
                          .segments = one->segments,
                          .tiles = one->tiles,
                          .width = width,
                          .accumulate = one->adds,
                          .v_block = block,
                          .u_ahead = own(plan)->on_the_fly ? 0 : u->point,
                          .m = m + (row * s->points + one->column) * ck_tiled_m_point(plan) + one->tile * plan->block,
                          .m_point = ck_tiled_m_point(plan),
                          .m_block = block};
        for (int32_t k = 0; k < one->segments; k++) {
            const ptrdiff_t skip = (one->filter_row[k] - u->first) * s->filters * u->point;
            p->v[k] = v + one->plane[k] * ck_tiled_v_plane(plan) + one->tile * plan->block;
            p->v_point[k] = ck_tiled_v_plane(plan);
            p->u[k] = (one->filter_row[k] == odd_row ? u->odd : u->rows + skip) + one->filter_column[k] * u->point;
            p->u_point[k] = one->filter_step[k] * u->point;
        }
    }
}

/* One row of points: M = or += V x U over the next `depth` input blocks. */
static void multiply_row(const ck_conv_plan *plan, products *all, int32_t row, int32_t depth) {
    for (int32_t i = 0; i < all->count[row]; i++) {
        ck_product *p = &all->call[row][i];
        p->blocks = depth;
        plan->kernels->product(p);
        p->accumulate = 1;
        for (int32_t k = 0; k < p->segments; k++) p->v[k] += depth * p->v_block;
    }
}

/* One of the steps in which filters are transformed on the fly: a group of rows of U, and the rows of points that it
 * completes. */
typedef struct step {
    int32_t group, first, end, is_odd;
} step;

/* The row of odd pixels' tap comes first, because other rows are used with it. */
static step step_at(const ck_tile_scheme *s, int32_t i) {
    step at = {.group = s->phases == 1 ? i : (i + s->groups - 1) % s->groups, .is_odd = s->phases == 2 && i == 0};
    at.first = at.is_odd && !s->transposed ? s->points : s->group[at.group];
    at.end = at.is_odd ? s->points : s->group[at.group + 1];
    return at;
}

/* Filters on the fly: taps of a few input blocks become a group of rows of U in L1, which is used at once. */
static void panel_on_the_fly(const ck_conv_plan *plan, products *all, const float *taps, int32_t width, const float *v,
                             float *m, float *u_buffer) {
    const ck_tile_scheme *s = own(plan)->scheme;
    const ptrdiff_t block_floats = (ptrdiff_t)plan->block * 9 * width * plan->block, point = ck_tiled_u_point(plan);
    float *odd = u_buffer + 2 * s->filters * point;
    for (int32_t i = 0; i < s->groups; i++) {
        const step at = step_at(s, i);
        const filters u = {u_buffer, odd, at.first, point};
        for (int32_t row = at.first; row < at.end; row++) prepare_row(plan, all, row, v, width, &u, m);
    }
    ck_tile_filter f = {.points = s->phase[0].big, .dst_row = s->filters * point, .dst_point = point};
    for (int32_t from = 0; from < plan->in_blocks; from += own(plan)->chunk_blocks) {
        const int32_t left = plan->in_blocks - from,
                      depth = left < own(plan)->chunk_blocks ? left : own(plan)->chunk_blocks;
        f.src = taps + from * block_floats;
        f.count = (ptrdiff_t)depth * plan->block * width;
        ck_stream next = {(const char *)(f.src + depth * block_floats),
                          (depth * block_floats * 4 / s->groups + 63) / 64 * 64};
        for (int32_t i = 0; i < s->groups; i++) {
            const step at = step_at(s, i);
            f.group = at.group;
            f.dst = at.is_odd ? odd : u_buffer;
            plan->kernels->tile_filter(&f);
            ck_fetch(&next);
            for (int32_t row = at.first; row < at.end; row++) multiply_row(plan, all, row, depth);
        }
    }
}

static void panel_stored(const ck_conv_plan *plan, products *all, const float *packed, int32_t width, const float *v,
                         float *m) {
    const ck_tile_scheme *s = own(plan)->scheme;
    const ptrdiff_t point = (ptrdiff_t)ck_tiled_channels(plan) * width * plan->block;
    const filters u = {packed, packed + (s->filters - 1) * s->filters * point, 0, point};
    for (int32_t row = 0; row < s->points; row++) {
        prepare_row(plan, all, row, v, width, &u, m);
        multiply_row(plan, all, row, plan->in_blocks);
    }
}

static void run_block(const ck_conv_plan *plan, const ck_conv_args *args, const ck_tile_block *block, int64_t panel,
                      int64_t panel_end, const float *v, float *m, float *u, float *scratch) {
    const ck_tile_scheme *s = own(plan)->scheme;
    const ptrdiff_t floats = (ptrdiff_t)plan->block * ck_tiled_channels(plan) * /* of an output block */
                             (own(plan)->on_the_fly ? 9 : ck_squared(s->filters));
    products all;
    for (int32_t row = 0; row < s->points; row++) all.count[row] = ck_tile_products(plan, block, row, all.list[row]);
    for (; panel < panel_end; panel++) {
        int32_t k, width;
        ck_panel_at(plan->out_blocks, plan->panel_blocks, (int32_t)panel, &k, &width);
        fetch_output(plan, args, k, width, block);
        const float *packed = (const float *)args->packed + k * floats;
        if (own(plan)->on_the_fly)
            panel_on_the_fly(plan, &all, packed, width, v, m, u);
        else
            panel_stored(plan, &all, packed, width, v, m);
        output_tiles(plan, args, k, width, block, m, scratch);
    }
}

/* ---- a team */

typedef struct job {
    const ck_conv_plan *plan;
    const ck_conv_args *args;
    ck_tiling tiling;
    ck_tiled_buffers sizes;
    int64_t tiles, blocks; /* all tiles, and the blocks they are cut into */
    int32_t cells;         /* groups of panels */
    ck_kept filled;        /* with more cells than one: the block whose input a worker has in V */
    ck_tile_block block;   /* the one that all share at the moment */
    int32_t groups;        /* that its tiles are cut into, where there are more threads than panels */
} job;

static ck_tile_block block_at(const job *j, int64_t index) {
    int64_t begin, end;
    const int64_t unit = own(j->plan)->unit;
    ck_split((j->tiles + unit - 1) / unit, index, j->blocks, &begin, &end);
    begin *= unit, end *= unit;
    return ck_tile_block_at(&j->tiling, begin, end < j->tiles ? end : j->tiles);
}

/* A worker's own buffers. */
typedef struct memory {
    float *v, *m, *u, *scratch;
} memory;

static memory memory_of(const job *j, int32_t worker) {
    const ck_tiled_buffers *s = &j->sizes;
    const int own = ck_tiled_owns_input(j->plan);
    float *at = (float *)j->args->workspace;
    memory mine = {.v = own ? at + worker * (s->v + s->m + s->u + s->scratch) : at};
    mine.m = own ? mine.v + s->v : at + s->v + worker * (s->m + s->u + s->scratch);
    mine.u = mine.m + s->m;
    mine.scratch = mine.u + s->u;
    return mine;
}

/* A block of tiles by one thread: its input, unless an earlier part left it there, then a group of panels. */
static void run_alone(void *context, int64_t part, int32_t worker) {
    job *j = context;
    const memory mine = memory_of(j, worker);
    const int64_t index = part / j->cells;
    const ck_tile_block block = block_at(j, index);
    int64_t panel, end;
    ck_split(ck_panel_count(j->plan->out_blocks, j->plan->panel_blocks), part % j->cells, j->cells, &panel, &end);
    if (j->cells == 1 || !ck_keeps(&j->filled, worker, index))
        for (int32_t b = 0; b < j->plan->in_blocks; b++)
            ck_tiled_input(j->plan, j->args, b, &block, block.begin, block.end, mine.v, mine.scratch);
    run_block(j->plan, j->args, &block, panel, end, mine.v, mine.m, mine.u, mine.scratch);
}

/* A group of the shared block's tiles: a block of its own, with a share of every plane of V. */
static ck_tile_block group_at(const job *j, int64_t index, float **v) {
    int64_t begin, end;
    ck_split(j->block.end - j->block.begin, index, j->groups, &begin, &end);
    *v += begin * j->plan->block;
    return ck_tile_block_at(&j->tiling, j->block.begin + begin, j->block.begin + end);
}

/* One channel block of its input. */
static void fill_shared(void *context, int64_t part, int32_t worker) {
    const job *j = context;
    const memory mine = memory_of(j, worker);
    for (int32_t i = 0; i < j->groups; i++) {
        float *v = mine.v;
        const ck_tile_block group = group_at(j, i, &v);
        ck_tiled_input(j->plan, j->args, (int32_t)part, &group, group.begin, group.end, v, mine.scratch);
    }
}
/* One panel. */
static void run_shared(void *context, int64_t part, int32_t worker) {
    const job *j = context;
    const memory mine = memory_of(j, worker);
    float *v = mine.v;
    const ck_tile_block group = group_at(j, part % j->groups, &v);
    run_block(j->plan, j->args, &group, part / j->groups, part / j->groups + 1, v, mine.m, mine.u, mine.scratch);
}

ck_status ck_tiled_run(const ck_conv_plan *plan, const ck_conv_args *args, int32_t batch) {
    job j = {.plan = plan, .args = args, .tiling = ck_tiled_tiling(plan), .sizes = ck_tiled_sizes(plan), .cells = 1};
    const int32_t threads = plan->threads, panels = ck_panel_count(plan->out_blocks, plan->panel_blocks);
    j.tiles = ck_tiling_count(&j.tiling, batch);
    j.blocks = (j.tiles + own(plan)->tiles_a_block - 1) / own(plan)->tiles_a_block;
    if (ck_tiled_owns_input(plan)) {
        /* With few blocks threads share a block's panels, and each transforms its input. In small groups: whoever has
         * the faster core at the moment takes more of them. */
        const int32_t cells = CK_PARTS_A_THREAD * threads;
        if (own(plan)->on_the_fly && j.blocks < 4 * threads) j.cells = panels < cells ? panels : cells;
        ck_run_parts(threads, j.blocks * j.cells, run_alone, &j);
        return CK_OK;
    }
    for (int64_t index = 0; index < j.blocks; index++) {
        j.block = block_at(&j, index);
        const int64_t wanted = (threads + panels - 1) / panels, tiles = j.block.end - j.block.begin;
        j.groups = (int32_t)(wanted < tiles ? wanted : tiles);
        ck_run_parts(threads, plan->in_blocks, fill_shared, &j);
        ck_run_parts(threads, (int64_t)panels * j.groups, run_shared, &j);
    }
    return CK_OK;
}
